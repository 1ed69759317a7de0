//! Walks through the parked messages that take a while: counted, replayed or dropped on a task of
//! their own, with a page that shows how far they are.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

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

/// Walks that are remembered, and those that may be waiting or under way.
const MAX_REMEMBERED: usize = 20;
const MAX_UNENDED: usize = 4;

/// What a walk does.
#[derive(Clone, Debug)]
pub(super) enum BulkAction {
    /// Counts what matches, so that a person can say yes to doing this with it.
    Preview(Filter, Action),
    /// Does it, with so many at most.
    Act(Filter, Action, Option<u32>),
    /// Sends again what was parked to spare this endpoint.
    ReplaySpared(EndpointUrl),
}

/// Which messages.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub(super) selection: Selection,
    /// The same as a query of the list.
    pub(super) query: String,
    /// The same in words.
    pub(super) told: String,
}

/// How a walk stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum JobStatus {
    /// Another one is under way.
    Waits,
    Runs,
    Done,
    /// A person broke it off.
    Stopped,
    Failed(String),
}

/// One walk.
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

    /// How it stands, and how far it has come.
    pub(super) fn state(&self) -> (JobStatus, Tally) {
        self.lock().clone()
    }

    pub(super) fn is_over(&self) -> bool {
        !matches!(self.lock().0, JobStatus::Waits | JobStatus::Runs)
    }

    /// Whether it removes messages for ever, or asks whether to.
    pub(super) fn drops(&self) -> bool {
        matches!(
            &self.action,
            BulkAction::Preview(_, Action::Drop) | BulkAction::Act(_, Action::Drop, _)
        )
    }

    /// Breaks it off between two messages.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    fn stands(&self, stand: JobStatus) {
        self.lock().0 = stand;
    }

    fn has_come(&self, tally: Tally) -> ControlFlow<()> {
        self.lock().1 = tally;
        if self.stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn lock(&self) -> MutexGuard<'_, (JobStatus, Tally)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The walks of this process.
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

    /// Begins a walk; its id.
    ///
    /// # Errors
    ///
    /// [`ErrorPage`]: too many are under way.
    pub(super) fn begin(&self, job: BulkJob) -> Result<Uuid, ErrorPage> {
        let job = Arc::new(job);
        let id = job.id;
        {
            let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
            let unended = list.iter().filter(|job| !job.is_over()).count();
            if unended >= MAX_UNENDED {
                let why = format!(
                    "{unended} walks through the parked messages wait or are under way; one goes at a time."
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
            // What homing's end breaks off is as it was, message by message.
            stopping.run_until_cancelled(run(&api, &job)).await;
        });
        Ok(id)
    }

    /// A walk that is remembered.
    pub(super) fn find(&self, id: &str) -> Option<Arc<BulkJob>> {
        let id = Uuid::parse_str(id).ok()?;
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().find(|job| job.id == id).cloned()
    }

    /// Those that are not over, the oldest first.
    pub(super) fn unended(&self) -> Vec<Arc<BulkJob>> {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().filter(|job| !job.is_over()).cloned().collect()
    }
}

async fn run(api: &Api, job: &BulkJob) {
    let turn = loop {
        if job.stop.is_cancelled() {
            return job.stands(JobStatus::Stopped);
        }
        if let Some(turn) = api.scan().await {
            break turn;
        }
    };
    job.stands(JobStatus::Runs);
    let ended = act(api, job).await;
    drop(turn);
    job.stands(match ended {
        Ok(()) if job.stop.is_cancelled() => JobStatus::Stopped,
        Ok(()) => JobStatus::Done,
        Err(why) => JobStatus::Failed(why),
    });
}

async fn act(api: &Api, job: &BulkJob) -> Result<(), String> {
    let (parking, circuits) = (&api.parts().parking, &api.parts().circuits);
    let (choice, action, limit) = match &job.action {
        BulkAction::Preview(choice, _) => (choice, Action::Count, None),
        BulkAction::Act(choice, action, limit) => (choice, *action, *limit),
        BulkAction::ReplaySpared(url) => {
            let told = |tally| job.has_come(tally);
            let replayed = circuits.replay_parked_by_circuit_while(parking, url, told).await;
            return replayed.map(drop).map_err(|error| match error {
                CircuitReplayError::Store(_) => "the store does not do its part".to_owned(),
                CircuitReplayError::Broker(error) => failed(&error),
            });
        }
    };
    let acted = parking.act_while(action, &choice.selection, limit, |tally| job.has_come(tally));
    match acted.await {
        Ok(tally) => {
            job.lock().1 = tally;
            Ok(())
        }
        Err(error) => Err(failed(&error)),
    }
}

fn failed(error: &BrokerError) -> String {
    tracing::error!(error = error.report(), "dashboard.walk_failed");
    error.summary().to_owned()
}
