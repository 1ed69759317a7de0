//! Sources over days, as the service sees them.

use std::collections::HashSet;

use super::*;
use crate::record::Facts;
use livestream_simulator::Rate;

#[tokio::test(start_paused = true)]
async fn a_day_with_a_loss_every_hour_has_24_reconnects_and_no_conflict() {
    let behaviour = Behaviour { rate: Rate::PerSecond(0.1), ..Behaviour::default() };
    let bench = Bench::new(behaviour);
    let mut losses = Vec::new();
    let day = async {
        for _hour in 1..=24 {
            tokio::time::sleep(minutes(60)).await;
            assert_eq!(bench.simulator.connected(), 1);
            bench.simulator.drop_connections();
            losses.push(Instant::now());
        }
        tokio::time::sleep(minutes(5)).await;
        bench.stop.cancel();
    };
    let (stopped, ()) = tokio::join!(bench.run_for(minutes(25 * 60)), day);

    assert_eq!(stopped, None);
    let connects = bench.simulator.connects();
    assert_eq!(bench.statuses(), [200; 25]);
    for (loss, connect) in losses.iter().zip(&connects[1..]) {
        let gap = connect.at - *loss;
        assert!((60..=67).contains(&gap.as_secs()), "{gap:?}");
    }
    // The token of a day is renewed before it ends, once.
    assert_eq!(bench.simulator.tokens_given(), 2);
    let records = bench.notes.records.lock();
    let hits: HashSet<_> = records.iter().filter_map(|record| Facts::of(record).hit).collect();
    let repeated = records.len() - hits.len();
    assert_eq!(u64::try_from(records.len()).unwrap(), bench.simulator.sent());
    assert!(repeated <= 24 * 20, "{repeated} came again around the reconnects");
    let made = 24.0 * 3_600.0 * 0.1;
    assert!(f64::from(u32::try_from(hits.len()).unwrap()) >= made, "{} hits", hits.len());
}

#[tokio::test(start_paused = true)]
async fn a_connect_sooner_than_the_rule_is_refused() {
    let bench = Bench::new(Behaviour::default());
    let Bench { reader, notes, stop, .. } = bench;
    let hasty = Reader { waits: Waits { reconnect: Duration::from_secs(10), ..WAITS }, ..reader };
    let simulator = bench.simulator;
    let losing = async {
        tokio::time::sleep(minutes(1)).await;
        simulator.drop_connections();
        tokio::time::sleep(minutes(3)).await;
        stop.cancel();
    };
    tokio::join!(hasty.run(Duration::ZERO, notes.as_ref(), &stop), losing);
    let statuses: Vec<_> = simulator.connects().iter().map(|connect| connect.status).collect();
    assert!(statuses.contains(&409), "the simulator remembers: {statuses:?}");
    assert_eq!(statuses.last(), Some(&200));
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_sent_once_and_only_at_an_operators_request() {
    let notes = Notes { reset: Mutex::new(Some(Reset::Largest)), ..Notes::default() };
    let bench = Bench::with(Behaviour::default(), &settings(""), notes);
    let refusal = livestream_simulator::Refusal { status: 503, body: String::new() };
    bench.simulator.refuse(&refusal, 1);
    let losing = async {
        for _ in 0..3 {
            tokio::time::sleep(minutes(10)).await;
            bench.simulator.drop_connections();
        }
        tokio::time::sleep(minutes(10)).await;
        bench.stop.cancel();
    };
    tokio::join!(bench.run_for(minutes(60)), losing);
    let queries: Vec<_> = bench
        .simulator
        .connects()
        .into_iter()
        .map(|connect| (connect.status, connect.query))
        .collect();
    let none = (200, String::new());
    let reset = |status| (status, "reset=largest".to_owned());
    assert_eq!(queries, [reset(503), reset(200), none.clone(), none.clone(), none]);
}
