//! Opens channels within the connection's limit, and pools those that publish.

use std::{ops::Deref, sync::Arc, time::Duration};

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
    open_retrying(connection, is_transient).await
}

/// Opens a channel; tries again after an error that is transient.
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

/// Returns true if another try may succeed: the connection has as many channels as were negotiated,
/// or the client took the end of an earlier channel of the same number for that of the new one. (No
/// broker answers the opening of a channel with an error of a channel.)
fn is_transient(error: &BrokerError) -> bool {
    is_limit(error) || error.is_of_a_channel()
}

/// Channels that publish; one publish at a time on each.
#[derive(Clone)]
pub(super) struct Channels {
    pool: Pool<ConfirmChannels>,
    places: Arc<Places>,
}

/// The channels that may be in use, bounded by the settings and by the connection.
struct Places {
    free: Arc<Semaphore>,
    count: Mutex<Count>,
}

struct Count {
    /// Places, free and taken.
    granted: usize,
    /// The present connection's limit.
    allowed: usize,
    /// The number that the present connection negotiated, less one.
    negotiated: usize,
    /// The configured number, or less where the broker is known to allow the user less.
    max_channels: usize,
    /// The configured number.
    configured: usize,
    /// When the broker last refused the user another channel.
    refused: Option<Instant>,
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
    link: Arc<ManagedConnection>,
    places: Arc<Places>,
}

impl Manager for ConfirmChannels {
    type Type = Channel;
    type Error = BrokerError;

    async fn create(&self) -> Result<Channel, BrokerError> {
        let connection = self.link.open().await?;
        let channel = open_retrying(&connection, BrokerError::is_of_a_channel).await;
        self.places.fit(&connection);
        if channel.as_ref().is_err_and(is_limit_of_user) {
            self.places.halve();
        }
        let channel = channel?;
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

impl Places {
    /// Learns the negotiated number of channels. One is kept for declaring the topology.
    fn fit(&self, connection: &Connection) {
        let agreed = usize::from(connection.configuration().channel_max());
        let mut count = self.count.lock();
        count.negotiated = agreed.saturating_sub(1).max(1);
        self.grant(&mut count);
    }

    /// Grants as many places as are allowed now. Those that are too many go when they are free.
    fn grant(&self, count: &mut Count) {
        count.allowed = count.negotiated.min(count.max_channels);
        if let Some(more @ 1..) = count.allowed.checked_sub(count.granted) {
            self.free.add_permits(more);
            count.granted = count.allowed;
        }
    }

    /// Doubles the number that the broker is believed to allow, some minutes after it refused one.
    fn restore(&self) {
        let mut count = self.count.lock();
        if count.refused.is_none_or(|at| at.elapsed() < RESTORE_INTERVAL) {
            return;
        }
        count.max_channels = count.max_channels.saturating_mul(2).min(count.configured);
        let is_restored = count.max_channels == count.configured;
        count.refused = (!is_restored).then(Instant::now);
        self.grant(&mut count);
    }

    /// Learns that the broker allows the user fewer. It does not say how many are left for this
    /// process, and the end of one connection fails every caller that waits for a channel on it.
    fn halve(&self) {
        const AT_ONCE: Duration = Duration::from_secs(1);
        let mut count = self.count.lock();
        if count.refused.is_some_and(|at| at.elapsed() < AT_ONCE) {
            return;
        }
        count.refused = Some(Instant::now());
        count.max_channels = (count.max_channels.min(count.granted) / 2).max(1);
        count.allowed = count.allowed.min(count.max_channels);
        warn!(
            channels = count.max_channels,
            "broker.few_channels: the broker allows the user no more"
        );
    }

    /// Removes `place` if more were granted than the connection allows.
    fn leave(&self, place: OwnedSemaphorePermit) {
        let mut count = self.count.lock();
        if count.granted > count.allowed {
            place.forget();
            count.granted -= 1;
        }
    }
}

impl Channels {
    pub(super) fn new(link: Arc<ManagedConnection>, max_channels: usize) -> Self {
        let free = Arc::new(Semaphore::new(max_channels));
        let count = Mutex::new(Count {
            granted: max_channels,
            allowed: max_channels,
            negotiated: max_channels,
            max_channels,
            configured: max_channels,
            refused: None,
        });
        let places = Arc::new(Places { free, count });
        let manager = ConfirmChannels { link, places: Arc::clone(&places) };
        let pool = Pool::builder(manager).max_size(max_channels).build();
        // Building fails only for time-outs without a runtime; we set none.
        let pool = pool.unwrap_or_else(|_| unreachable!("a pool without time-outs can be built"));
        Self { pool, places }
    }

    /// Takes a channel from the pool. Waits as long as that takes; the caller has a deadline.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: no connection, or no channel on it.
    pub(super) async fn get(&self) -> Result<PooledChannel, BrokerError> {
        self.places.restore();
        loop {
            let place = Arc::clone(&self.places.free).acquire_owned().await;
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
            if !is_limit(&error) && !is_limit_of_user(&error) {
                return Err(error);
            }
            // No room for another channel: this place is removed, and the caller waits for another
            // place.
            self.places.leave(place);
            let pause = if is_limit(&error) { POLL_INTERVAL } else { USER_LIMIT_PAUSE };
            tokio::time::sleep(pause).await;
        }
    }

    pub(super) fn close(&self) {
        self.places.free.close();
        self.pool.close();
    }
}
