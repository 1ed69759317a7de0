//! The held queues of URLs, as operators see them.

use std::time::Duration;

use tokio::time::timeout;

use super::CircuitBreakers;
use homing_domain::{time::UnixMillis, url::EndpointUrl};
use homing_store::StoreError;

/// Time for one depth; the first that takes longer is the last that is asked for.
const DEPTH_DEADLINE: Duration = Duration::from_secs(2);

/// The held queue of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Its owner.
    pub(super) url: EndpointUrl,
    /// The time since when it has the queue.
    pub(super) since: UnixMillis,
    /// Deliveries in it, without those in flight; `None`: the broker does not answer.
    pub(super) messages: Option<u32>,
}

impl CircuitBreakers {
    /// The URLs that have a held queue, and how much is in it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. A broker that does not answer is none.
    pub(super) async fn held(&self) -> Result<Vec<Held>, StoreError> {
        let prefix = self.broker.topology().names().prefix();
        let mut all = Vec::new();
        let mut is_asked = true;
        for slot in self.store.held_slots(prefix).await? {
            let Some(url) = slot.url else { continue };
            let mut messages = None;
            if is_asked {
                messages = self.messages_held(slot.slot).await;
                is_asked = messages.is_some();
            }
            all.push(Held { url, since: slot.since, messages });
        }
        Ok(all)
    }

    /// The held queue of `url`, if it has one.
    ///
    /// # Errors
    ///
    /// As [`held`](Self::held).
    pub(super) async fn held_for(&self, url: &EndpointUrl) -> Result<Option<Held>, StoreError> {
        let prefix = self.broker.topology().names().prefix();
        let slots = self.store.held_slots(prefix).await?;
        let own = slots.into_iter().find(|slot| slot.url.as_ref() == Some(url));
        let Some(slot) = own else { return Ok(None) };
        let messages = self.messages_held(slot.slot).await;
        Ok(Some(Held { url: url.clone(), since: slot.since, messages }))
    }

    async fn messages_held(&self, slot: u16) -> Option<u32> {
        let queue = self.broker.topology().names().held(slot);
        let depth = timeout(DEPTH_DEADLINE, self.broker.depth(&queue)).await.ok()?.ok()?;
        Some(depth.map_or(0, |depth| depth.messages))
    }
}
