//! Policies at the broker that are dangerous to queues.
//!
//! Source: RabbitMQ documentation, *Policies*; precedence of values:
//! `rabbit_quorum_queue:ra_machine_config`.

use serde_json::{Map, Value};

use super::{DELIVERY_LIMIT, QueueKind, Topology};

/// A key of a policy that breaks a promise of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Danger {
    /// Such as `expires`.
    pub key: &'static str,
    /// Its effect.
    pub what: &'static str,
}

/// The role of a queue, as far as policies are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Primary,
    Retry,
    Wait,
    Held,
    Keep,
    Archive,
    Lock,
    /// A queue of the first version that keeps messages, and that nothing protects.
    Former,
}

impl Topology {
    /// The dangerous keys of `policy`, the definition that is in force for `queue`. None for a
    /// queue that is not of this topology.
    #[must_use]
    pub fn dangers(&self, queue: &str, policy: &Map<String, Value>) -> Vec<Danger> {
        let Some(role) = self.role(queue) else { return Vec::new() };
        let danger = |(key, value): (&String, &Value)| danger(role, key, value);
        policy.iter().filter_map(danger).collect()
    }

    fn role(&self, queue: &str) -> Option<Role> {
        let names = self.names();
        if let Some(spec) = self.queues().into_iter().find(|spec| spec.name == queue) {
            return Some(match spec.kind {
                QueueKind::Deliver { .. } if names.is_primary(queue) => Role::Primary,
                QueueKind::Deliver { .. } => Role::Retry,
                QueueKind::Wait { .. } => Role::Wait,
                QueueKind::Held { .. } => Role::Held,
                QueueKind::Keep { .. } => Role::Keep,
                QueueKind::Archive(_) => Role::Archive,
                QueueKind::Lock => Role::Lock,
            });
        }
        let is_former =
            [names.former_parked(), names.former_unrouted()].iter().any(|it| it == queue);
        is_former.then_some(Role::Former)
    }
}

fn danger(role: Role, key: &str, value: &Value) -> Option<Danger> {
    let (key, what) = match (key, role) {
        ("expires", _) => ("expires", "deletes the queue with its messages"),
        ("message-ttl", Role::Wait) => ("message-ttl", "retries come early"),
        ("message-ttl", Role::Held) => {
            ("message-ttl", "what waits for its endpoint is parked early")
        }
        ("message-ttl", Role::Primary | Role::Retry) => {
            ("message-ttl", "what no worker takes in time is parked without an attempt")
        }
        ("message-ttl", Role::Keep) => {
            ("message-ttl", "where no worker runs, messages end where no consumer gets them")
        }
        ("message-ttl", Role::Former) => ("message-ttl", "deletes messages"),
        ("delivery-limit", Role::Primary | Role::Retry)
            if value.as_u64().is_none_or(|limit| limit < u64::from(DELIVERY_LIMIT)) =>
        {
            (
                "delivery-limit",
                "connections that are lost so often park what was sent ahead over them",
            )
        }
        ("delivery-limit", Role::Held) => {
            ("delivery-limit", "what waits for its endpoint is parked early")
        }
        ("delivery-limit", Role::Former) => ("delivery-limit", "deletes messages"),
        ("max-length", Role::Former) => ("max-length", "deletes messages"),
        ("max-length-bytes", Role::Former) => ("max-length-bytes", "deletes messages"),
        ("max-length", Role::Retry | Role::Wait | Role::Keep) => {
            ("max-length", "once it is full, deliveries stop")
        }
        ("max-length-bytes", Role::Retry | Role::Wait | Role::Keep) => {
            ("max-length-bytes", "once it is full, deliveries stop")
        }
        ("max-length", Role::Held) => {
            ("max-length", "once it is full, deliveries to its endpoint come late")
        }
        ("max-length-bytes", Role::Held) => {
            ("max-length-bytes", "once it is full, deliveries to its endpoint come late")
        }
        ("overflow", Role::Primary | Role::Retry | Role::Wait | Role::Held | Role::Keep)
            if value != "reject-publish" =>
        {
            ("overflow", "messages may get lost when a node dies, or when the queue is full")
        }
        (
            "dead-letter-strategy",
            Role::Primary | Role::Retry | Role::Wait | Role::Held | Role::Keep,
        ) if value != "at-least-once" => {
            ("dead-letter-strategy", "messages may get lost when a node dies")
        }
        _ => return None,
    };
    Some(Danger { key, what })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn keys(queue: &str, policy: Value) -> Vec<&'static str> {
        let topology = Topology::new("p", [Duration::from_secs(9)])
            .with_slots([("main", 1)])
            .with_held_queues(1);
        let Value::Object(policy) = policy else { unreachable!("a definition") };
        topology.dangers(queue, &policy).into_iter().map(|danger| danger.key).collect()
    }

    #[test]
    fn a_key_is_dangerous_where_it_breaks_a_promise() {
        let all = json!({
            "expires": 1, "message-ttl": 1, "delivery-limit": 1, "max-length": 1,
            "max-length-bytes": 1, "overflow": "drop-head", "queue-master-locator": "x",
        });
        let full = ["expires", "max-length", "max-length-bytes", "message-ttl", "overflow"];
        for queue in ["p.v1.wait.9000", "p.v2.parked", "p.v2.unrouted"] {
            assert_eq!(keys(queue, all.clone()), full, "{queue}");
        }
        let held = [&["delivery-limit"], &full[..]].concat();
        assert_eq!(keys("p.v1.held.0", all.clone()), held);
        let primary = ["delivery-limit", "expires", "message-ttl", "overflow"];
        assert_eq!(keys("p.v1.primary", all.clone()), primary);
        assert_eq!(keys("p.v1.retry", all.clone()), [&primary[..1], &full[..]].concat());
        assert_eq!(keys("p.v2.source.main.1", all.clone()), ["expires"]);
        let former = ["delivery-limit", "expires", "max-length", "max-length-bytes", "message-ttl"];
        assert_eq!(keys("p.v1.parked", all.clone()), former);
        assert_eq!(keys("other", all), [""; 0]);
    }

    #[test]
    fn what_agrees_with_homing_is_no_danger() {
        let policy = json!({"overflow": "reject-publish", "dead-letter-strategy": "at-least-once"});
        assert_eq!(keys("p.v2.parked", policy), [""; 0]);
        assert_eq!(keys("p.v1.primary", json!({"delivery-limit": 50})), [""; 0]);
    }
}
