//! Bulk jobs: count, replay or drop parked deliveries on a task of their own, with a page that shows
//! their progress.

use std::{collections::VecDeque, ops::ControlFlow, sync::Arc};

use parking_lot::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::services::Services;
use homing_delivery::{
    circuits::CircuitReplayError,
    parking::{Action, ParkingError, Selection, Tally},
};
use homing_domain::{clock, time::UnixMillis, url::EndpointUrl};
use homing_store::StoreError;

/// Jobs that are remembered, and those that may be running.
const MAX_REMEMBERED: usize = 20;
const MAX_UNENDED: usize = 4;

/// The action of a job.
#[derive(Clone, Debug)]
pub(crate) enum BulkAction {
    /// Counts what matches, so that the visitor can confirm this action.
    Preview(Filter, Action),
    /// Acts on so many at most.
    Act(Filter, Action, Option<u32>),
    /// Replays the deliveries that this endpoint's circuit had parked.
    ReplayParkedByCircuit(EndpointUrl),
}

/// A selection of messages.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) selection: Selection,
    /// The same as a query of the list.
    pub(crate) query: String,
    /// The same in words.
    pub(crate) description: String,
}

/// The status of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobStatus {
    Runs,
    Done,
    /// A visitor stopped it.
    Stopped,
    Failed(String),
}

impl JobStatus {
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self, Self::Runs)
    }
}

/// One job.
#[derive(Debug)]
pub(crate) struct BulkJob {
    pub(crate) id: Uuid,
    pub(crate) action: BulkAction,
    pub(crate) began: UnixMillis,
    state: Mutex<(JobStatus, Tally)>,
    stop: CancellationToken,
}

impl BulkJob {
    fn new(action: BulkAction) -> Self {
        let state = Mutex::new((JobStatus::Runs, Tally::default()));
        let (id, began, stop) = (clock::new_id(), clock::now(), CancellationToken::new());
        Self { id, action, began, state, stop }
    }

    /// Its status and progress now. A page asks once: another call may return another state.
    pub(crate) fn state(&self) -> (JobStatus, Tally) {
        self.state.lock().clone()
    }

    fn is_over(&self) -> bool {
        self.state.lock().0.is_over()
    }

    /// True if it drops messages, or asks whether to.
    pub(crate) fn drops(&self) -> bool {
        matches!(
            &self.action,
            BulkAction::Preview(_, Action::Drop) | BulkAction::Act(_, Action::Drop, _)
        )
    }

    /// Stops it between two messages.
    pub(crate) fn stop(&self) {
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
pub(crate) struct BulkJobs {
    tasks: TaskTracker,
    stop: CancellationToken,
    list: Mutex<VecDeque<Arc<BulkJob>>>,
}

/// The reason why a job did not begin: so many are running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} jobs on the parked messages are running, as many as may at a time")]
pub(crate) struct TooManyJobs(usize);

impl BulkJobs {
    /// Jobs run on `tasks` until `stop`.
    pub(crate) fn new(tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { tasks, stop, list: Mutex::default() }
    }

    /// Begins a job over `services`, as whose actor's it is on record; returns its id.
    ///
    /// # Errors
    ///
    /// [`TooManyJobs`].
    pub(crate) fn begin(
        &self,
        services: Services,
        action: BulkAction,
    ) -> Result<Uuid, TooManyJobs> {
        let job = Arc::new(BulkJob::new(action));
        let id = job.id;
        {
            let mut list = self.list.lock();
            let unended = list.iter().filter(|job| !job.is_over()).count();
            if unended >= MAX_UNENDED {
                return Err(TooManyJobs(unended));
            }
            while list.len() >= MAX_REMEMBERED
                && let Some(oldest) = list.iter().position(|job| job.is_over())
            {
                list.remove(oldest);
            }
            list.push_back(Arc::clone(&job));
        }
        let stopping = self.stop.child_token();
        self.tasks.spawn(async move {
            // What is being acted on when homing ends is finished by a task of its own.
            stopping.run_until_cancelled(job.run(&services)).await;
        });
        Ok(id)
    }

    /// A remembered job.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<BulkJob>> {
        let id = Uuid::parse_str(id).ok()?;
        let list = self.list.lock();
        list.iter().find(|job| job.id == id).cloned()
    }

    /// Those that are not over, the oldest first.
    pub(crate) fn unended(&self) -> Vec<Arc<BulkJob>> {
        let list = self.list.lock();
        list.iter().filter(|job| !job.is_over()).cloned().collect()
    }
}

impl BulkJob {
    async fn run(&self, services: &Services) {
        let ended = self.act(services).await;
        self.set_status(match ended {
            Ok(()) if self.stop.is_cancelled() => JobStatus::Stopped,
            Ok(()) => JobStatus::Done,
            Err(why) => JobStatus::Failed(why),
        });
    }

    async fn act(&self, Services { parking, circuits, .. }: &Services) -> Result<(), String> {
        let progress = |tally| self.set_progress(tally);
        let (filter, action, limit) = match &self.action {
            BulkAction::Preview(filter, _) => (filter, Action::Count, None),
            BulkAction::Act(filter, action, limit) => (filter, *action, *limit),
            BulkAction::ReplayParkedByCircuit(url) => {
                let replayed = circuits.replay_parked_by_circuit_while(parking, url, progress);
                return replayed.await.map(drop).map_err(|error| match error {
                    CircuitReplayError::Store(error) => failed(&error.into()),
                    CircuitReplayError::Parking(error) => failed(&error),
                });
            }
        };
        let acted = parking.act_while(action, &filter.selection, limit, progress).await;
        self.state.lock().1 = acted.map_err(|error| failed(&error))?;
        Ok(())
    }
}

fn failed(error: &ParkingError) -> String {
    match error {
        ParkingError::Broker(error) => {
            tracing::error!(error = error.report(), "dashboard.job_failed");
            error.summary().to_owned()
        }
        ParkingError::Store(error @ StoreError::TooBroad { .. }) => error.to_string(),
        ParkingError::Unreadable(_) | ParkingError::NotRemoved { .. } => error.to_string(),
        ParkingError::Store(error) => {
            tracing::error!(error = error.report(), "dashboard.job_failed");
            "the store is unavailable".to_owned()
        }
    }
}
