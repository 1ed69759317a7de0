//! Looking for queues that may exist.

use super::{
    Broker, channels,
    denial::Reply,
    error::BrokerError,
    topology::{Depth, depth_on},
};

/// The queues that exist, and those that certainly do not.
#[derive(Debug, Default)]
pub struct Found {
    /// Those that exist, in the order in which they were named.
    pub present: Vec<(String, Depth)>,
    /// Those that do not exist. The broker logs each.
    pub missing: Vec<String>,
}

impl Broker {
    /// Looks for `queues`. One that the broker refuses to look at is in neither list.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]: the connection is lost, or there is none.
    pub async fn find(&self, queues: Vec<String>) -> Result<Found, BrokerError> {
        let mut found = Found::default();
        for queue in queues {
            let connection = self.control.open().await?;
            // The broker closes a channel that checks for a missing queue.
            let channel = channels::open(&connection).await?;
            match depth_on(&channel, &queue).await {
                Ok(depth) => found.present.push((queue, depth)),
                Err(error) if error.reply().is_some_and(Reply::is_unknown_queue) => {
                    found.missing.push(queue);
                }
                Err(error) if error.reply().is_some() => {}
                // Others may not answer either, and each takes as long.
                Err(BrokerError::TimedOut { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}
