//! The declared topology.

use super::*;
use crate::consume::Lane;

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
            ("x-message-ttl", ArgumentValue::Number(u32::MAX.into())),
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
            QueueKind::Keep { .. } | QueueKind::Archive(_) | QueueKind::Lock => continue,
        };
        assert!(queues[..index].iter().any(|earlier| earlier.name == *target), "{target}");
    }
}

#[test]
fn the_first_shard_has_the_name_of_the_only_queue() {
    let waits = [Duration::from_secs(9)];
    let one: Vec<_> = Topology::new("p", waits).queues().into_iter().map(|it| it.name).collect();
    let topology = Topology::new("p", waits).with_shards(3);
    let three: Vec<_> = topology.queues().into_iter().map(|it| it.name).collect();
    assert_eq!(one[2..4], ["p.v1.retry", "p.v1.primary"]);
    assert_eq!(
        three[2..8],
        [
            "p.v1.retry",
            "p.v1.retry.1",
            "p.v1.retry.2",
            "p.v1.primary",
            "p.v1.primary.1",
            "p.v1.primary.2"
        ]
    );
    assert!(one.contains(&"p.v1.wait.9000".to_owned()), "{one:?}");
    assert!(three.contains(&"p.v2.wait.9000".to_owned()), "{three:?}");
    let wait = topology.queues().into_iter().find(|queue| queue.name == "p.v2.wait.9000");
    let arguments = wait.expect("it is declared").arguments();
    let text = |text: &str| ArgumentValue::Text(text.to_owned());
    assert!(arguments.contains(&("x-dead-letter-exchange", text("p.v1.route"))), "{arguments:?}");
    assert!(arguments.contains(&("x-dead-letter-routing-key", text("p.v1.retry"))));
}

#[test]
fn shards_beyond_those_in_force_are_learned_from_the_store() {
    let topology = Topology::new("p", []).with_shards(2);
    let known = ["p.v1.primary", "p.v1.primary.1", "p.v1.primary.2", "p.v1.retry.3", "p.v1.held.4"];
    topology.learn(&known.map(str::to_owned));
    topology.learn(&["q.v1.primary.7".to_owned(), "p.v1.primary.x".to_owned()]);
    assert_eq!(topology.left_over_shards(Lane::Primary), ["p.v1.primary.2"]);
    assert_eq!(topology.left_over_shards(Lane::Retry), ["p.v1.retry.3"]);
    assert_eq!(topology.left_over_shards(Lane::Held(4)), [""; 0]);
    assert_eq!(topology.left_over(), ["p.v1.held.4", "p.v1.primary.2", "p.v1.retry.3"]);
    topology.forget("p.v1.primary.2");
    assert_eq!(topology.left_over_shards(Lane::Primary), [""; 0]);
}

#[test]
fn the_parts_of_workers_have_every_shard_once() {
    for (shards, parts) in [(1, 1), (4, 2), (5, 2), (3, 3), (64, 7)] {
        let parts: Vec<ShardPart> =
            (1..=parts).map(|part| format!("{part}/{parts}").parse().expect("a part")).collect();
        for shard in 0..shards {
            let takers = parts.iter().filter(|part| part.has(shard)).count();
            assert_eq!(takers, 1, "{shard} of {shards} for {parts:?}");
        }
        assert!(parts.iter().all(|part| (0..shards).any(|shard| part.has(shard))));
    }
    for wrong in ["", "0/2", "3/2", "1/0", "2", "1/2/3", "-1/2", "a/b", "ALL"] {
        assert!(wrong.parse::<ShardPart>().is_err(), "{wrong}");
    }
    assert_eq!(
        ["all", "1/1", "2/3"].map(|text| text.parse::<ShardPart>().unwrap().to_string()),
        ["all", "all", "2/3"]
    );
}

#[test]
fn the_archive_stays_within_its_bounds_and_is_no_route_for_deliveries() {
    let retention = Retention { keep: Duration::from_hours(24), max_bytes: 1 << 30 };
    let topology = Topology::new("p", []).with_archive(Some(retention));
    let archive = topology.queues().pop().expect("there are queues");
    assert_eq!(archive.name, "p.v1.archive");
    let text = |text: &str| ArgumentValue::Text(text.to_owned());
    assert_eq!(
        archive.arguments(),
        [
            ("x-max-age", text("86400s")),
            ("x-max-length-bytes", ArgumentValue::Number(1_040_187_392)),
            ("x-queue-leader-locator", text("balanced")),
            ("x-queue-type", text("stream")),
            ("x-stream-max-segment-size-bytes", ArgumentValue::Number(33_554_432)),
        ]
    );
    assert!(!topology.takes("p.v1.archive"));
    assert!(topology.variable_queues().contains(&archive.name));
    let exchanges = topology.exchanges_by_name();
    assert!(exchanges.contains(&"p.v1.primary".to_owned()), "{exchanges:?}");
    assert!(!exchanges.contains(&"p.v1.retry".to_owned()), "{exchanges:?}");

    let without = Topology::new("p", []);
    without.learn(&["p.v1.archive".to_owned()]);
    assert_eq!(without.left_over(), ["p.v1.archive"]);
}
