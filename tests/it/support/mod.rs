//! The ground of the tests: a broker, a database server, endpoints that record what they are sent, and homing itself
//! as a part of the test or as a process of its own.

pub(crate) mod account;
pub(crate) mod authority;
pub(crate) mod broker;
pub(crate) mod cluster;
pub(crate) mod contract;
pub(crate) mod database;
pub(crate) mod egress;
pub(crate) mod installation;
pub(crate) mod livestream;
pub(crate) mod load;
pub(crate) mod nginx;
pub(crate) mod node;
pub(crate) mod oauth_server;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod rogue;
pub(crate) mod scenario;
pub(crate) mod stage;

use std::{env, fmt::Display, panic::Location, path::PathBuf, thread, time::Duration};

use tokio::time::{Instant, sleep};

/// The longest wait of a test. Generous: the machine may be busy; nothing waits
/// this long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until `look` returns `Ok`, and returns what is in it. It looks again after 10 ms, later
/// every 100 ms.
///
/// # Panics
///
/// If that takes longer than [`PATIENCE`]: with the caller's place and the last `Err`.
#[track_caller]
pub(crate) fn eventually<T, E: Display>(
    look: impl AsyncFnMut() -> Result<T, E>,
) -> impl Future<Output = T> {
    within(PATIENCE, look)
}

/// As [`eventually`], for at most `limit`.
#[track_caller]
pub(crate) fn within<T, E: Display>(
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> impl Future<Output = T> {
    let caller = Location::caller();
    async move {
        let deadline = Instant::now() + limit;
        let mut pause = Duration::from_millis(10);
        loop {
            match look().await {
                Ok(found) => return found,
                Err(error) => {
                    assert!(Instant::now() < deadline, "{caller}: after {limit:?}: {error}");
                }
            }
            // The pause between two looks.
            sleep(pause).await;
            pause = (2 * pause).min(Duration::from_millis(100));
        }
    }
}

/// `Ok` if `condition` is true, else `error`: for [`eventually`].
pub(crate) fn holds<E>(condition: bool, error: E) -> Result<(), E> {
    if condition { Ok(()) } else { Err(error) }
}

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
