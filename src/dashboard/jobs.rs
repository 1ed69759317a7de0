//! Bulk jobs: scans of the parked messages that count, replay or drop on a task of their own, with
//! a page that shows their progress.

use std::{collections::VecDeque, ops::ControlFlow, sync::Arc};

use axum::http::StatusCode;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::layout::ErrorPage;
use crate::api::Api;
use homing_broker::error::BrokerError;
use homing_delivery::{
    circuits::CircuitReplayError,
    parking::{Action, Selection, Tally},
};
use homing_domain::{clock, time::UnixMillis, url::EndpointUrl};
use parking_lot::Mutex;

/// Jobs that are remembered, and those that may be waiting or running.
const MAX_REMEMBERED: usize = 20;
const MAX_UNENDED: usize = 4;

/// The action of a job.
#[derive(Clone, Debug)]
pub(super) enum BulkAction {
    /// Counts what matches, so that the visitor can confirm this action.
    Preview(Filter, Action),
    /// Acts on so many at most.
    Act(Filter, Action, Option<u32>),
    /// Replays the deliveries that this endpoint's circuit had parked.
    ReplayParkedByCircuit(EndpointUrl),
}

/// A selection of messages.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub(super) selection: Selection,
    /// The same as a query of the list.
    pub(super) query: String,
    /// The same in words.
    pub(super) description: String,
}

/// The status of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum JobStatus {
    /// Another one is running.
    Waits,
    Runs,
    Done,
    /// A visitor stopped it.
    Stopped,
    Failed(String),
}

impl JobStatus {
    pub(super) fn is_over(&self) -> bool {
        !matches!(self, Self::Waits | Self::Runs)
    }
}

/// One job.
#[derive(Debug)]
pub(super) struct BulkJob {
    pub(super) id: Uuid,
    pub(super) action: BulkAction,
    pub(super) began: UnixMillis,
    state: Mutex<(JobStatus, Tally)>,
    stop: CancellationToken,
}

impl BulkJob {
    pub(super) fn new(action: BulkAction) -> Self {
        let state = Mutex::new((JobStatus::Waits, Tally::default()));
        let (id, began, stop) = (clock::new_id(), clock::now(), CancellationToken::new());
        Self { id, action, began, state, stop }
    }

    /// Its status and progress now. A page asks once: another call may return another state.
    pub(super) fn state(&self) -> (JobStatus, Tally) {
        self.state.lock().clone()
    }

    fn is_over(&self) -> bool {
        self.state.lock().0.is_over()
    }

    /// True if it drops messages, or asks whether to.
    pub(super) fn drops(&self) -> bool {
        matches!(
            &self.action,
            BulkAction::Preview(_, Action::Drop) | BulkAction::Act(_, Action::Drop, _)
        )
    }

    /// Stops it between two messages.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    fn set_status(&self, status: JobStatus) {
        self.state.lock().0 = status;
    }

    fn set_progress(&self, tally: Tally) -> ControlFlow<()> {
        self.state.lock().1 = tally;
        if self.stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The jobs of this process.
pub(super) struct BulkJobs {
    api: Api,
    tasks: TaskTracker,
    stop: CancellationToken,
    list: Mutex<VecDeque<Arc<BulkJob>>>,
}

impl BulkJobs {
    pub(super) fn new(api: Api, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { api, tasks, stop, list: Mutex::default() }
    }

    /// Begins a job; returns its id.
    ///
    /// # Errors
    ///
    /// [`ErrorPage`]: too many are under way.
    pub(super) fn begin(&self, job: BulkJob) -> Result<Uuid, ErrorPage> {
        let job = Arc::new(job);
        let id = job.id;
        {
            let mut list = self.list.lock();
            let unended = list.iter().filter(|job| !job.is_over()).count();
            if unended >= MAX_UNENDED {
                let why = format!(
                    "{unended} jobs on the parked messages are waiting or running; only one runs at a time."
                );
                return Err(ErrorPage::new(StatusCode::SERVICE_UNAVAILABLE, why));
            }
            while list.len() >= MAX_REMEMBERED
                && let Some(oldest) = list.iter().position(|job| job.is_over())
            {
                list.remove(oldest);
            }
            list.push_back(Arc::clone(&job));
        }
        let stopping = self.stop.child_token();
        let api = self.api.clone();
        self.tasks.spawn(async move {
            // If homing ends, each message is either done or still parked.
            stopping.run_until_cancelled(run(&api, &job)).await;
        });
        Ok(id)
    }

    /// A remembered job.
    pub(super) fn find(&self, id: &str) -> Option<Arc<BulkJob>> {
        let id = Uuid::parse_str(id).ok()?;
        let list = self.list.lock();
        list.iter().find(|job| job.id == id).cloned()
    }

    /// Those that are not over, the oldest first.
    pub(super) fn unended(&self) -> Vec<Arc<BulkJob>> {
        let list = self.list.lock();
        list.iter().filter(|job| !job.is_over()).cloned().collect()
    }
}

async fn run(api: &Api, job: &BulkJob) {
    let turn = loop {
        if job.stop.is_cancelled() {
            return job.set_status(JobStatus::Stopped);
        }
        if let Some(turn) = api.scan().await {
            break turn;
        }
    };
    job.set_status(JobStatus::Runs);
    let ended = act(api, job).await;
    drop(turn);
    job.set_status(match ended {
        Ok(()) if job.stop.is_cancelled() => JobStatus::Stopped,
        Ok(()) => JobStatus::Done,
        Err(why) => JobStatus::Failed(why),
    });
}

async fn act(api: &Api, job: &BulkJob) -> Result<(), String> {
    let (parking, circuits) = (&api.parts().parking, &api.parts().circuits);
    let (filter, action, limit) = match &job.action {
        BulkAction::Preview(filter, _) => (filter, Action::Count, None),
        BulkAction::Act(filter, action, limit) => (filter, *action, *limit),
        BulkAction::ReplayParkedByCircuit(url) => {
            let progress = |tally| job.set_progress(tally);
            let replayed = circuits.replay_parked_by_circuit_while(parking, url, progress).await;
            return replayed.map(drop).map_err(|error| match error {
                CircuitReplayError::Store(_) => "the store is unavailable".to_owned(),
                CircuitReplayError::Broker(error) => failed(&error),
            });
        }
    };
    let acted =
        parking.act_while(action, &filter.selection, limit, |tally| job.set_progress(tally));
    match acted.await {
        Ok(tally) => {
            job.state.lock().1 = tally;
            Ok(())
        }
        Err(error) => Err(failed(&error)),
    }
}

fn failed(error: &BrokerError) -> String {
    tracing::error!(error = error.report(), "dashboard.job_failed");
    error.summary().to_owned()
}
