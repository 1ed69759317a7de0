//! Queues that earlier settings left: their kind, and what an operator does about them.

use homing_broker::topology::{Depth, Names};

use super::Kind;

impl Kind {
    /// The kind of the queue `name`, which the settings do not need.
    #[must_use]
    pub fn of_left_over(names: &Names, name: &str) -> Self {
        if names.wait_of(name).is_some() {
            Self::Wait
        } else if names.is_primary(name) {
            Self::Primary
        } else if names.is_retry(name) {
            Self::Retry
        } else if name == names.archive() {
            Self::Archive
        } else {
            Self::Held
        }
    }
}

/// Advice for the queue `name`, which the settings do not need. Workers consume a shard even then.
#[must_use]
pub fn left_over_advice(names: &Names, name: &str, depth: Depth) -> String {
    if name == names.archive() {
        return format!(
            "`archive.enabled` is false, and it still takes every event; `rabbitmqctl delete_queue \
             {name}` deletes it with what it holds"
        );
    }
    let is_shard = names.is_shard(name);
    let advice = match depth {
        Depth { messages: 1.., .. } if is_shard => "a running worker empties it".to_owned(),
        Depth { consumers: 1.., .. } if !is_shard => "it has a consumer, so leave it".to_owned(),
        Depth { messages: 0, .. } => deletable(name),
        Depth { .. } => "delete it once its messages have left it".to_owned(),
    };
    format!("the settings do not need it; {advice}")
}

/// Advice for deleting a queue that seems to be empty. A depth does not count messages that were
/// dead-lettered and not yet taken, and none if the queue's leader does not answer; the broker's
/// list counts all of them.
#[must_use]
pub fn deletable(name: &str) -> String {
    format!(
        "once `rabbitmqctl list_queues name messages` has 0 for it as well, `rabbitmqctl \
         delete_queue {name}` deletes it"
    )
}
