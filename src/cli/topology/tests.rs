//! The words for each state of a queue.

use homing_broker::topology::Topology;

use super::*;

fn row(name: &str, state: State) -> Row {
    let topology = Topology::new("homing", []);
    Row::of(Finding { name: name.to_owned(), state }, topology.names())
}

#[test]
fn a_policy_is_named_with_what_it_does() {
    let depth = Some(Depth { messages: 0, consumers: 0 });
    let mut row = row("homing.v2.parked", State::Present(depth));
    let policed =
        serde_json::json!({"name": row.name, "policy": "blanket", "operator_policy": "o"});
    let policed: Policed = serde_json::from_value(policed).unwrap();
    row.endanger(&policed, &[Danger { key: "expires", what: "deletes the queue" }]);
    assert_eq!(row.detail, "policy `blanket` and `o`: `expires` deletes the queue");
    assert_eq!(row.tone, Tone::Bad);
}

#[test]
fn a_shard_without_a_consumer_is_wrong_where_another_has_one() {
    let shards = ["homing.v1.primary", "homing.v1.primary.1"].map(str::to_owned);
    let of = |consumers: [u32; 2]| {
        let depth = |consumers| Some(Depth { messages: 0, consumers });
        let mut rows = [0, 1].map(|at| row(&shards[at], State::Present(depth(consumers[at]))));
        blame_unconsumed(&shards, &mut rows);
        rows.map(|row| row.tone == Tone::Bad)
    };
    assert_eq!(of([1, 1]), [false, false]);
    assert_eq!(of([2, 0]), [false, true]);
    assert_eq!(of([0, 0]), [false, false]);
}

#[test]
fn every_state_says_what_to_do() {
    let depth = |messages| Depth { messages, consumers: 0 };
    let rows = [
        row("homing.v1.events (exchange)", State::Present(None)),
        row("homing.v2.unrouted", State::Present(Some(depth(2)))),
        row("homing.v1.retry", State::Present(Some(depth(2)))),
        row("homing.v1.primary", State::Missing),
        row(
            "homing.v1.wait.5",
            State::Different("inequivalent arg 'x': received 1 but current is 2".to_owned()),
        ),
        row("homing.v1.wait.6", State::LeftOver(depth(7))),
        row("homing.v1.wait.7", State::LeftOver(depth(0))),
        row("homing.v1.wait.8", State::LeftOver(Depth { messages: 0, consumers: 1 })),
        row("homing.v1.retry.8", State::LeftOver(Depth { messages: 9, consumers: 1 })),
        row("homing.v1.retry.9", State::LeftOver(Depth { messages: 0, consumers: 1 })),
    ];
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    write(&rows, &mut Output::new(&mut stdout, &mut stderr)).unwrap();
    insta::assert_snapshot!(String::from_utf8(stdout).unwrap(), @"
    NAME                         MESSAGES  CONSUMERS  STATE
    homing.v1.events (exchange)                       present
    homing.v2.unrouted                  2          0  unrouted: these had no route when they were published
    homing.v1.retry                     2          0  present
    homing.v1.primary                                 missing: `homing topology apply` creates it
    homing.v1.wait.5                                  different: inequivalent arg 'x': received 1 but current is 2; drain and delete it, or use another `broker.prefix`
    homing.v1.wait.6                    7          0  left over: the settings do not need it; delete it once its messages have left it
    homing.v1.wait.7                    0          0  left over: the settings do not need it; once `rabbitmqctl list_queues name messages` has 0 for it as well, `rabbitmqctl delete_queue homing.v1.wait.7` deletes it
    homing.v1.wait.8                    0          1  left over: the settings do not need it; it has a consumer, so leave it
    homing.v1.retry.8                   9          1  left over: the settings do not need it; a running worker empties it
    homing.v1.retry.9                   0          1  left over: the settings do not need it; once `rabbitmqctl list_queues name messages` has 0 for it as well, `rabbitmqctl delete_queue homing.v1.retry.9` deletes it
    ");
    let bad = rows.iter().filter(|row| row.tone == Tone::Bad).count();
    assert_eq!(bad, 8);
    assert_eq!(announced(&rows), "apply would create 1 object");
    assert_eq!(announced(&[]), "apply would create nothing");
}
