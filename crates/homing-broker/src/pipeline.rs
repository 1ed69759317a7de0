//! A bounded number of messages that are published at once until the broker owns them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use super::{Broker, error::BrokerError, message::Outgoing, publish::Route};

/// Takes messages while few enough are unconfirmed; all of them are confirmed when
/// [`finish`](Self::finish) returns.
///
/// A message that the broker does not confirm in time, or whose connection is lost, is published
/// again, so it may be there twice and is never lost, unless the process ends first. What the broker
/// will never take is dropped and logged.
pub struct Pipeline {
    broker: Broker,
    messages: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    max_bytes: usize,
    publishing: TaskTracker,
    given_up: Arc<GivenUp>,
}

/// The number of messages that were not confirmed when homing stopped, logged at the end.
#[derive(Default)]
struct GivenUp(AtomicUsize);

impl Drop for GivenUp {
    fn drop(&mut self) {
        let messages = *self.0.get_mut();
        if messages > 0 {
            warn!(messages, "broker.unconfirmed: given up at the end of the process");
        }
    }
}

impl Broker {
    /// A pipeline to the events exchange, with at most `max_messages` messages and `max_bytes`
    /// bytes unconfirmed.
    #[must_use]
    pub fn pipeline(&self, max_messages: usize, max_bytes: usize) -> Pipeline {
        Pipeline {
            broker: self.clone(),
            messages: Arc::new(Semaphore::new(max_messages.max(1))),
            bytes: Arc::new(Semaphore::new(max_bytes.max(1))),
            max_bytes: max_bytes.max(1),
            publishing: TaskTracker::new(),
            given_up: Arc::default(),
        }
    }
}

impl Pipeline {
    /// Starts to publish a message; waits for room.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Closed`]: homing has stopped; the message is not published.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the message is not taken.
    pub async fn publish(&self, message: Outgoing) -> Result<(), BrokerError> {
        let closed = |_| BrokerError::Closed;
        // A message that is larger than the bound takes all of it.
        let bytes = message.body.len().clamp(1, self.max_bytes);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let one = Arc::clone(&self.messages).acquire_owned().await.map_err(closed)?;
        let room = Arc::clone(&self.bytes).acquire_many_owned(bytes).await.map_err(closed)?;
        if self.broker.closing.is_cancelled() {
            return Err(BrokerError::Closed);
        }
        let (broker, given_up) = (self.broker.clone(), Arc::clone(&self.given_up));
        let publishing = async move {
            let _places = (one, room);
            match broker.publish_until_confirmed(&message, Route::Events).await {
                Ok(()) => {}
                Err(refused) if refused.is_final() => {
                    error!(
                        event.id = message.id,
                        error = refused.report(),
                        "broker.never_takes: the message is dropped"
                    );
                }
                Err(_stopping) => {
                    given_up.0.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        self.broker.tasks.spawn(self.publishing.track_future(publishing));
        Ok(())
    }

    /// Waits until everything is confirmed, however long that takes.
    ///
    /// # Cancel safety
    ///
    /// If dropped, the rest is still published as long as the broker connection lives.
    pub async fn finish(self) {
        self.publishing.close();
        self.publishing.wait().await;
    }
}
