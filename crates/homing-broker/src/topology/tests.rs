//! The declared topology.

use super::*;

#[test]
fn the_topology_is_what_the_documentation_says() {
    let topology = Topology::new("homing", [Duration::from_millis(84_800)]);
    let lines: Vec<_> = topology
        .queues()
        .into_iter()
        .map(|queue| {
            let arguments: Vec<_> = queue
                .arguments()
                .into_iter()
                .map(|(name, value)| match value {
                    ArgumentValue::Text(text) => format!("{name}={text:?}"),
                    ArgumentValue::Number(number) => format!("{name}={number}"),
                    ArgumentValue::Flag(flag) => format!("{name}={flag}"),
                })
                .collect();
            format!("{}\n    {}", queue.name, arguments.join("\n    "))
        })
        .take(5)
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    homing.v2.unrouted
        x-dead-letter-exchange=""
        x-dead-letter-routing-key="homing.v2.parked"
        x-dead-letter-strategy="at-least-once"
        x-delivery-limit=1000000
        x-overflow="reject-publish"
        x-queue-leader-locator="balanced"
        x-queue-type="quorum"
    homing.v2.parked
        x-dead-letter-exchange=""
        x-dead-letter-routing-key="homing.v2.unrouted"
        x-dead-letter-strategy="at-least-once"
        x-delivery-limit=1000000
        x-overflow="reject-publish"
        x-queue-leader-locator="balanced"
        x-queue-type="quorum"
    homing.v1.retry
        x-dead-letter-exchange=""
        x-dead-letter-routing-key="homing.v2.parked"
        x-dead-letter-strategy="at-least-once"
        x-delivery-limit=50
        x-overflow="reject-publish"
        x-queue-leader-locator="balanced"
        x-queue-type="quorum"
    homing.v1.primary
        x-dead-letter-exchange=""
        x-dead-letter-routing-key="homing.v2.parked"
        x-dead-letter-strategy="at-least-once"
        x-delivery-limit=50
        x-overflow="reject-publish"
        x-queue-leader-locator="balanced"
        x-queue-type="quorum"
    homing.v1.wait.1000
        x-dead-letter-exchange=""
        x-dead-letter-routing-key="homing.v1.retry"
        x-dead-letter-strategy="at-least-once"
        x-message-ttl=1000
        x-overflow="reject-publish"
        x-queue-leader-locator="balanced"
        x-queue-type="quorum"
    "#);
}

#[test]
fn a_slot_has_a_lock_that_is_no_route_for_events() {
    let topology = Topology::new("p", []).with_slots([("main", 1), ("main", 2)]);
    let locks: Vec<_> =
        topology.queues().into_iter().filter(|queue| queue.kind == QueueKind::Lock).collect();
    let names: Vec<_> = locks.iter().map(|lock| lock.name.as_str()).collect();
    assert_eq!(names, ["p.v2.source.main.1", "p.v2.source.main.2"]);
    assert!(
        locks[0].arguments().contains(&("x-single-active-consumer", ArgumentValue::Flag(true)))
    );
}

#[test]
fn a_held_queue_parks_what_waits_for_too_long_and_nothing_else() {
    let topology = Topology::new("p", []).with_held_queues(2);
    let is_held = |queue: &QueueSpec| matches!(queue.kind, QueueKind::Held { .. });
    let held: Vec<_> = topology.queues().into_iter().filter(is_held).collect();
    let names: Vec<_> = held.iter().map(|queue| queue.name.as_str()).collect();
    assert_eq!(names, ["p.v1.held.0", "p.v1.held.1"]);
    let text = |text: &str| ArgumentValue::Text(text.to_owned());
    assert_eq!(
        held[0].arguments(),
        [
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text("p.v2.parked")),
            ("x-dead-letter-strategy", text("at-least-once")),
            ("x-delivery-limit", ArgumentValue::Number(1_000_000)),
            ("x-message-ttl", ArgumentValue::Number(u32::MAX)),
            ("x-overflow", text("reject-publish")),
            ("x-queue-leader-locator", text("balanced")),
            ("x-queue-type", text("quorum")),
        ]
    );
}

#[test]
fn targets_are_declared_before_what_leads_to_them() {
    let queues = Topology::new("p", Some(Duration::from_secs(9))).with_held_queues(1).queues();
    for (index, queue) in queues.iter().enumerate() {
        let target = match &queue.kind {
            QueueKind::Deliver { dead_letters_to, .. }
            | QueueKind::Wait { dead_letters_to, .. }
            | QueueKind::Held { dead_letters_to } => dead_letters_to,
            // They lead to each other and to themselves, and hold nothing when declared.
            QueueKind::Keep { .. } | QueueKind::Lock => continue,
        };
        assert!(queues[..index].iter().any(|earlier| earlier.name == *target), "{target}");
    }
}
