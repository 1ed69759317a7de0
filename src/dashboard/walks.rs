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

use super::frame::Trouble;
use crate::{
    api::Api,
    broker::error::BrokerError,
    clock,
    domain::{time::UnixMillis, url::EndpointUrl},
    parking::{Action, Selection, Tally},
    switchboard::SpareError,
};

/// Walks that are remembered, and those that may be waiting or under way.
const REMEMBERED_MAX: usize = 20;
const UNENDED_MAX: usize = 4;

/// What a walk does.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// Counts what matches, so that a person can say yes to doing this with it.
    Preview(Choice, Action),
    /// Does it, with so many at most.
    Act(Choice, Action, Option<u32>),
    /// Sends again what was parked to spare this endpoint.
    ReplaySpared(EndpointUrl),
}

/// Which messages.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) selection: Selection,
    /// The same as a query of the list.
    pub(super) query: String,
    /// The same in words.
    pub(super) told: String,
}

/// How a walk stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stand {
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
pub(super) struct Walk {
    pub(super) id: Uuid,
    pub(super) deed: Deed,
    pub(super) began: UnixMillis,
    state: Mutex<(Stand, Tally)>,
    stop: CancellationToken,
}

impl Walk {
    pub(super) fn new(deed: Deed) -> Self {
        let state = Mutex::new((Stand::Waits, Tally::default()));
        let (id, began, stop) = (clock::new_id(), clock::now(), CancellationToken::new());
        Self { id, deed, began, state, stop }
    }

    /// How it stands, and how far it has come.
    pub(super) fn state(&self) -> (Stand, Tally) {
        self.lock().clone()
    }

    pub(super) fn is_over(&self) -> bool {
        !matches!(self.lock().0, Stand::Waits | Stand::Runs)
    }

    /// Whether it removes messages for ever, or asks whether to.
    pub(super) fn drops(&self) -> bool {
        matches!(&self.deed, Deed::Preview(_, Action::Drop) | Deed::Act(_, Action::Drop, _))
    }

    /// Breaks it off between two messages.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    fn stands(&self, stand: Stand) {
        self.lock().0 = stand;
    }

    fn has_come(&self, tally: Tally) -> ControlFlow<()> {
        self.lock().1 = tally;
        if self.stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn lock(&self) -> MutexGuard<'_, (Stand, Tally)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The walks of this process.
pub(super) struct Walks {
    api: Api,
    tasks: TaskTracker,
    stop: CancellationToken,
    list: Mutex<VecDeque<Arc<Walk>>>,
}

impl Walks {
    pub(super) fn new(api: Api, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { api, tasks, stop, list: Mutex::default() }
    }

    /// Begins a walk; its id.
    ///
    /// # Errors
    ///
    /// [`Trouble`]: too many are under way.
    pub(super) fn begin(&self, walk: Walk) -> Result<Uuid, Trouble> {
        let walk = Arc::new(walk);
        let id = walk.id;
        {
            let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
            let unended = list.iter().filter(|walk| !walk.is_over()).count();
            if unended >= UNENDED_MAX {
                let why = format!(
                    "{unended} walks through the parked messages wait or are under way; one goes at a time."
                );
                return Err(Trouble::new(StatusCode::SERVICE_UNAVAILABLE, why));
            }
            while list.len() >= REMEMBERED_MAX
                && let Some(oldest) = list.iter().position(|walk| walk.is_over())
            {
                list.remove(oldest);
            }
            list.push_back(Arc::clone(&walk));
        }
        let stopping = self.stop.child_token();
        let api = self.api.clone();
        self.tasks.spawn(async move {
            // What homing's end breaks off is as it was, message by message.
            stopping.run_until_cancelled(run(&api, &walk)).await;
        });
        Ok(id)
    }

    /// A walk that is remembered.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Walk>> {
        let id = Uuid::parse_str(id).ok()?;
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().find(|walk| walk.id == id).cloned()
    }

    /// Those that are not over, the oldest first.
    pub(super) fn unended(&self) -> Vec<Arc<Walk>> {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().filter(|walk| !walk.is_over()).cloned().collect()
    }
}

async fn run(api: &Api, walk: &Walk) {
    let turn = loop {
        if walk.stop.is_cancelled() {
            return walk.stands(Stand::Stopped);
        }
        if let Some(turn) = api.walk().await {
            break turn;
        }
    };
    walk.stands(Stand::Runs);
    let ended = act(api, walk).await;
    drop(turn);
    walk.stands(match ended {
        Ok(()) if walk.stop.is_cancelled() => Stand::Stopped,
        Ok(()) => Stand::Done,
        Err(why) => Stand::Failed(why),
    });
}

async fn act(api: &Api, walk: &Walk) -> Result<(), String> {
    let (parking, switchboard) = (&api.parts().parking, &api.parts().switchboard);
    let (choice, action, limit) = match &walk.deed {
        Deed::Preview(choice, _) => (choice, Action::Count, None),
        Deed::Act(choice, action, limit) => (choice, *action, *limit),
        Deed::ReplaySpared(url) => {
            let told = |tally| walk.has_come(tally);
            let replayed = switchboard.replay_spared_while(parking, url, told).await;
            return replayed.map(drop).map_err(|error| match error {
                SpareError::Store(_) => "the store does not do its part".to_owned(),
                SpareError::Broker(error) => failed(&error),
            });
        }
    };
    let acted = parking.act_while(action, &choice.selection, limit, |tally| walk.has_come(tally));
    match acted.await {
        Ok(tally) => {
            walk.lock().1 = tally;
            Ok(())
        }
        Err(error) => Err(failed(&error)),
    }
}

fn failed(error: &BrokerError) -> String {
    tracing::error!(error = error.told(), "dashboard.walk_failed");
    error.in_short().to_owned()
}
