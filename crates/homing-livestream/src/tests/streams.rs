//! The results of reading a stream.

use super::*;

const HIT: &[u8] = include_bytes!("../../../../tests/samples/livestream-hit.json");

#[tokio::test(start_paused = true)]
async fn records_come_out_as_they_went_in_wherever_the_stream_is_cut() {
    for chunk_bytes in [1, 2, 7, 1_000] {
        let behaviour = Behaviour { chunk_bytes, ..Behaviour::default() };
        let bench = Bench::new(behaviour);
        for number in 0..50 {
            bench.simulator.send(if number % 2 == 0 { HIT } else { b"{}" });
        }
        // Silence for a minute, which the service fills with blank lines.
        assert_eq!(bench.run_for(minutes(1)).await, None);
        let records = bench.notes.records.lock();
        assert_eq!(records.len(), 50);
        assert!(records.iter().step_by(2).all(|record| record == HIT));
        assert!(records.iter().skip(1).step_by(2).all(|record| record == "{}"));
        assert_eq!(bench.statuses(), [200]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_too_large_is_skipped_and_the_stream_goes_on() {
    let bench = Bench::new(Behaviour::default());
    bench.simulator.send(HIT);
    bench.simulator.send(vec![b'x'; 100_000]);
    bench.simulator.send(HIT);
    bench.run_for(minutes(1)).await;
    assert_eq!(*bench.notes.skipped.lock(), [100_001], "with its carriage return");
    assert_eq!(bench.notes.records.lock().len(), 2);
    assert_eq!(bench.statuses(), [200]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_while_nothing_can_be_taken() {
    let gate = Some(tokio::sync::Semaphore::new(10));
    let notes = Notes { gate, ..Notes::default() };
    let behaviour =
        Behaviour { rate: livestream_simulator::Rate::Unlimited, ..Behaviour::default() };
    let bench = Bench::with(behaviour, &settings(""), notes);
    let watching = async {
        tokio::time::sleep(minutes(1)).await;
        let sent = bench.simulator.sent();
        assert_eq!(bench.notes.records.lock().len(), 10);
        tokio::time::sleep(minutes(60)).await;
        assert_eq!(bench.simulator.sent(), sent, "the service waits");
        bench.notes.gate.as_ref().unwrap().add_permits(usize::try_from(sent).unwrap());
        tokio::time::sleep(minutes(1)).await;
        assert!(bench.simulator.sent() > sent);
        bench.stop.cancel();
        // Enough for what was read and not yet taken.
        bench.notes.gate.as_ref().unwrap().add_permits(100_000);
    };
    tokio::join!(bench.run_for(minutes(120)), watching);
    assert_eq!(bench.statuses(), [200], "a pause costs no connection");
}

#[tokio::test(start_paused = true)]
async fn silence_is_reported_and_causes_no_reconnect_unless_one_is_set() {
    let behaviour = Behaviour { blank_every: minutes(10_000), ..Behaviour::default() };
    let bench = Bench::new(behaviour.clone());
    bench.run_for(minutes(600)).await;
    assert_eq!(bench.statuses(), [200]);
    let silent = bench
        .notes
        .events
        .lock()
        .iter()
        .filter(|(_, events)| *events == ConnectionEvent::Silent)
        .count();
    assert_eq!(silent, 1);

    let Bench { reader, notes, simulator, stop, .. } = Bench::new(behaviour);
    let reader = Reader { max_idle: minutes(15), ..reader };
    let reading = reader.run(Duration::ZERO, notes.as_ref(), &stop);
    assert!(tokio::time::timeout(minutes(20), reading).await.is_err());
    assert_eq!(simulator.connects().len(), 2);
    let events = notes.events.lock();
    let lost = events.iter().find_map(|(_, events)| match events {
        ConnectionEvent::Waiting(_, Some(ended), _) => Some(ended.to_string()),
        ConnectionEvent::Waiting(_, None, _)
        | ConnectionEvent::Connecting
        | ConnectionEvent::Connected(_)
        | ConnectionEvent::Silent
        | ConnectionEvent::Renewing => None,
    });
    assert_eq!(lost.unwrap(), "connection lost: no byte for 900 s");
}

#[tokio::test(start_paused = true)]
async fn at_the_order_to_stop_the_connection_ends_and_what_was_read_is_delivered() {
    let gate = Some(tokio::sync::Semaphore::new(1));
    let bench =
        Bench::with(Behaviour::default(), &settings(""), Notes { gate, ..Notes::default() });
    for _ in 0..3 {
        bench.simulator.send(HIT);
    }
    let stopping = async {
        tokio::time::sleep(minutes(1)).await;
        assert_eq!((bench.simulator.connected(), bench.notes.records.lock().len()), (1, 1));
        bench.stop.cancel();
        tokio::time::sleep(minutes(1)).await;
        assert_eq!((bench.simulator.connected(), bench.notes.records.lock().len()), (0, 1));
        bench.notes.gate.as_ref().unwrap().add_permits(2);
    };
    let (stopped, ()) = tokio::join!(bench.run_for(minutes(10)), stopping);
    assert_eq!((stopped, bench.notes.records.lock().len()), (None, 3));
}
