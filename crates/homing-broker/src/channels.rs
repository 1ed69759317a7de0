//! Opens channels, and pools those that publish.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult};
use lapin::{Channel, Connection, ErrorKind, options::ConfirmSelectOptions};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tracing::warn;

use super::{
    connection::ManagedConnection,
    error::{BrokerError, ROUND_TRIP_DEADLINE, within},
};

/// The most channels that publish; queues beyond wait for each other.
const MAX_CHANNELS: usize = 64;
/// Pause before another try where the connection has no channel left.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Pause where the user has none left: the broker ended the connection for it.
const USER_LIMIT_PAUSE: Duration = Duration::from_secs(1);
/// Time without a refusal after which more channels are tried again: other processes may have ended.
const RESTORE_INTERVAL: Duration = Duration::from_secs(300);

/// Opens a channel. Where the connection has as many as were negotiated, waits for one to end.
///
/// # Errors
///
/// [`BrokerError`]; that of the limit after [`ROUND_TRIP_DEADLINE`].
pub(super) async fn open(connection: &Connection) -> Result<Channel, BrokerError> {
    open_retrying(connection, |error| is_limit(error) || error.is_of_a_channel()).await
}

/// Opens a channel; tries again after an error that is transient. One of a channel is: the client
/// took the end of an earlier channel of the same number for that of the new one. (No broker answers
/// the opening of a channel so.)
async fn open_retrying(
    connection: &Connection,
    is_transient: impl Fn(&BrokerError) -> bool,
) -> Result<Channel, BrokerError> {
    let deadline = Instant::now() + ROUND_TRIP_DEADLINE;
    loop {
        let opened = connection.create_channel();
        match within(connection, ROUND_TRIP_DEADLINE, "opening a channel", opened).await {
            Err(error) if is_transient(&error) && Instant::now() < deadline => {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            opened => return opened,
        }
    }
}

/// Returns true if the connection has as many channels as were negotiated.
fn is_limit(error: &BrokerError) -> bool {
    let BrokerError::Step { source, .. } = error else { return false };
    matches!(source.kind(), ErrorKind::ChannelsLimitReached)
}

/// Returns true if the user has as many channels as the broker allows over all its connections. The
/// broker closes the connection that opens another one.
fn is_limit_of_user(error: &BrokerError) -> bool {
    error.reply().is_some_and(|reply| reply.is_limit() && reply.text.contains("channels"))
}

/// Channels that publish, each for one group at a time.
pub(super) struct Channels {
    pool: Pool<ConfirmChannels>,
    /// One for each channel that may be in use.
    places: Arc<Semaphore>,
    removed: Mutex<Option<Removed>>,
    /// Channels that the latest connection may have.
    negotiated: Arc<AtomicUsize>,
}

/// Places that were removed because the broker allows fewer channels.
#[derive(Clone, Copy)]
struct Removed {
    count: usize,
    /// When the broker last refused a channel.
    at: Instant,
}

/// A channel in exclusive use; dropping it returns it to the pool.
pub(super) struct PooledChannel {
    channel: Object<ConfirmChannels>,
    _place: OwnedSemaphorePermit,
}

impl Deref for PooledChannel {
    type Target = Channel;

    fn deref(&self) -> &Channel {
        &self.channel
    }
}

impl PooledChannel {
    /// Closes the channel instead of giving it back.
    pub(super) fn close(self) {
        drop(Object::take(self.channel));
    }
}

struct ConfirmChannels {
    connection: Arc<ManagedConnection>,
    negotiated: Arc<AtomicUsize>,
}

impl Manager for ConfirmChannels {
    type Type = Channel;
    type Error = BrokerError;

    async fn create(&self) -> Result<Channel, BrokerError> {
        let connection = self.connection.open().await?;
        let negotiated = usize::from(connection.configuration().channel_max());
        self.negotiated.store(negotiated, Ordering::Relaxed);
        let channel = open_retrying(&connection, BrokerError::is_of_a_channel).await?;
        let selected = channel.confirm_select(ConfirmSelectOptions::default());
        within(&channel, ROUND_TRIP_DEADLINE, "turning on confirms", selected).await?;
        Ok(channel)
    }

    async fn recycle(&self, channel: &mut Channel, _: &Metrics) -> RecycleResult<BrokerError> {
        if channel.status().connected() {
            Ok(())
        } else {
            Err(RecycleError::Backend(BrokerError::Closed))
        }
    }
}

impl Channels {
    pub(super) fn new(connection: Arc<ManagedConnection>) -> Self {
        let negotiated = Arc::new(AtomicUsize::new(MAX_CHANNELS));
        let channels = ConfirmChannels { connection, negotiated: Arc::clone(&negotiated) };
        let pool = Pool::builder(channels).max_size(MAX_CHANNELS).build();
        // Building fails only for time-outs without a runtime; we set none.
        let pool = pool.unwrap_or_else(|_| unreachable!("a pool without time-outs can be built"));
        let places = Arc::new(Semaphore::new(MAX_CHANNELS));
        Self { pool, places, removed: Mutex::default(), negotiated }
    }

    /// Takes a channel from the pool. Waits as long as that takes; the callers that have something
    /// to publish have a deadline.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: no connection, or no channel on it.
    pub(super) async fn get(&self) -> Result<PooledChannel, BrokerError> {
        self.restore();
        loop {
            let place = Arc::clone(&self.places).acquire_owned().await;
            let place = place.map_err(|_closed| BrokerError::Closed)?;
            let error = match self.pool.get().await {
                Ok(channel) => return Ok(PooledChannel { channel, _place: place }),
                Err(PoolError::Backend(error)) => error,
                Err(
                    PoolError::Timeout(_)
                    | PoolError::Closed
                    | PoolError::NoRuntimeSpecified
                    | PoolError::PostCreateHook(_),
                ) => return Err(BrokerError::Closed),
            };
            let (pause, at_least) = if is_limit(&error) {
                // Channels that are being closed count, too: as many as were negotiated come back.
                (POLL_INTERVAL, self.negotiated.load(Ordering::Relaxed).saturating_sub(1))
            } else if is_limit_of_user(&error) {
                (USER_LIMIT_PAUSE, 1)
            } else {
                return Err(error);
            };
            self.remove(place, at_least.max(1));
            tokio::time::sleep(pause).await;
        }
    }

    /// Learns that there can be no channel beside those in use: removes `place` and those that are
    /// free, but for `at_least` in all.
    fn remove(&self, place: OwnedSemaphorePermit, at_least: usize) {
        let mut removed = self.removed.lock();
        let before = removed.map_or(0, |removed| removed.count);
        let room = MAX_CHANNELS.saturating_sub(at_least).saturating_sub(before);
        let mut count = self.places.forget_permits(room);
        if count < room {
            place.forget();
            count = count.saturating_add(1);
        }
        let count = before.saturating_add(count);
        *removed = Some(Removed { count, at: Instant::now() });
        if count > before {
            let channels = MAX_CHANNELS.saturating_sub(count);
            warn!(channels, "broker.few_channels: the broker allows no more to publish on");
        }
    }

    /// Restores what was removed, some minutes after the broker refused a channel.
    fn restore(&self) {
        let mut removed = self.removed.lock();
        if let Some(Removed { count, .. }) =
            removed.take_if(|removed| removed.at.elapsed() >= RESTORE_INTERVAL)
        {
            self.places.add_permits(count);
        }
    }

    pub(super) fn close(&self) {
        self.places.close();
        self.pool.close();
    }
}
