//! The ground of the tests: a broker, a database server, endpoints that record what they are sent, and homing itself
//! as a part of the test or as a process of its own.

pub(crate) mod account;
pub(crate) mod broker;
pub(crate) mod cluster;
pub(crate) mod contract;
pub(crate) mod database;
pub(crate) mod installation;
pub(crate) mod livestream;
pub(crate) mod load;
pub(crate) mod node;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod rogue;
pub(crate) mod stage;

use std::{env, path::PathBuf, thread, time::Duration};

/// The longest wait of a test. Generous: the machine may be busy; nothing waits
/// this long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Waits in a `drop`, where nothing can be awaited: on a thread of its own. `None`: it panicked.
pub(crate) fn wait_for<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let waiting = thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be built").block_on(work)
    });
    waiting.join().ok()
}

/// Where `make test` put the clients.
#[expect(clippy::disallowed_methods, reason = "this is how `make test` names the folder")]
pub(crate) fn clients() -> PathBuf {
    env::var("HOMING_TEST_CLIENTS")
        .expect("HOMING_TEST_CLIENTS is not set: run `make test`, which fetches the clients")
        .into()
}
