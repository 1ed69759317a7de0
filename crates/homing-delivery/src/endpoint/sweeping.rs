//! The task that drops what is kept for too long. It ends with its owner.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{task::JoinSet, time::sleep};

/// An owner's task, once it has begun.
#[derive(Default)]
pub(super) struct Sweeping(Mutex<JoinSet<()>>);

impl Sweeping {
    /// Has `owner` swept in each interval from now on, if it is not yet.
    pub(super) fn begin<T: Send + Sync + 'static>(
        &self,
        owner: &Arc<T>,
        interval: Duration,
        sweep: fn(&T),
    ) {
        let mut task = self.0.lock();
        if task.is_empty() {
            task.spawn(sweep_while_there(Arc::downgrade(owner), interval, sweep));
        }
    }
}

async fn sweep_while_there<T>(owner: Weak<T>, interval: Duration, sweep: fn(&T)) {
    loop {
        sleep(interval).await;
        let Some(owner) = owner.upgrade() else { return };
        sweep(&owner);
    }
}
