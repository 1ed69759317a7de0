//! A pool of channels in confirm mode.

use std::sync::Arc;

use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult};
use lapin::{Channel, options::ConfirmSelectOptions};

use super::{
    connection::Link,
    error::{BrokerError, ROUND_TRIP_DEADLINE, within},
};

/// Channels that publish; one publish at a time on each.
#[derive(Clone)]
pub(super) struct Channels(Pool<ConfirmChannels>);

pub(super) type PooledChannel = Object<ConfirmChannels>;

pub(super) struct ConfirmChannels {
    link: Arc<Link>,
}

impl Manager for ConfirmChannels {
    type Type = Channel;
    type Error = BrokerError;

    async fn create(&self) -> Result<Channel, BrokerError> {
        let connection = self.link.open().await?;
        let opened = connection.create_channel();
        let channel =
            within(connection.as_ref(), ROUND_TRIP_DEADLINE, "opening a channel", opened).await?;
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
    pub(super) fn new(link: Arc<Link>, channels_max: usize) -> Self {
        let pool = Pool::builder(ConfirmChannels { link }).max_size(channels_max).build();
        // Building fails only for time-outs without a runtime; we set none.
        Self(pool.unwrap_or_else(|_| unreachable!("a pool without time-outs can be built")))
    }

    /// A channel that nobody else uses; dropping it gives it back to the pool.
    pub(super) async fn get(&self) -> Result<PooledChannel, BrokerError> {
        self.0.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(_)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => BrokerError::Closed,
        })
    }

    pub(super) fn close(&self) {
        self.0.close();
    }
}
