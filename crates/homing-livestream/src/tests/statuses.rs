//! Every row of the table of statuses.

use super::*;
use livestream_simulator::Refusal;

fn refusal(status: u16, body: &str) -> Refusal {
    Refusal { status, body: body.to_owned() }
}

/// The result of `times` responses with `status`: why it stopped, the statuses seen, the waits.
async fn answered(status: u16, times: usize) -> (Option<String>, Vec<u16>, Vec<u64>) {
    let bench = Bench::new(Behaviour::default());
    bench.simulator.refuse(&refusal(status, r#"{"error_description":"as documented"}"#), times);
    let stopped = bench.run_for(minutes(60)).await;
    (stopped, bench.statuses(), bench.notes.waits())
}

#[tokio::test(start_paused = true)]
async fn a_permanent_refusal_stops_the_source_with_its_reason() {
    for status in [400, 403, 404, 405, 406, 424, 505] {
        let (stopped, statuses, waits) = answered(status, 1).await;
        let stopped = stopped.unwrap();
        assert!(stopped.starts_with(&format!("answered {status}: as documented")), "{stopped}");
        assert_eq!(stopped.contains("must be enabled first"), status == 424);
        assert_eq!((statuses, waits), (vec![status], vec![]));
    }
}

#[tokio::test(start_paused = true)]
async fn waits_grow_while_the_service_is_overloaded() {
    for status in [429, 500, 502, 503, 504] {
        let (stopped, statuses, waits) = answered(status, 5).await;
        assert_eq!(stopped, None);
        assert_eq!(statuses, [status, status, status, status, status, 200]);
        for (wait, least) in waits.iter().zip([60, 120, 240, 300, 300]) {
            assert!((least..=least + least / 10).contains(wait), "{status}: {waits:?}");
        }
        assert_eq!(waits.len(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_waited_out_and_the_tenth_says_what_is_probably_wrong() {
    let (stopped, statuses, waits) = answered(409, 12).await;
    assert_eq!((stopped, statuses.len()), (None, 13));
    assert!(waits.iter().all(|wait| (60..=66).contains(wait)), "{waits:?}");

    let bench = Bench::new(Behaviour::default());
    bench.simulator.refuse(&refusal(409, r#"{"error_description":"1 of 1 in use"}"#), 12);
    bench.run_for(minutes(60)).await;
    let events = bench.notes.events.lock();
    let suspicious = events.iter().filter_map(|(_, events)| match events {
        ConnectionEvent::Waiting(_, Some(ended), streak) => {
            Some((ended.to_string(), streak.is_suspicious()))
        }
        ConnectionEvent::Waiting(_, None, _)
        | ConnectionEvent::Connecting
        | ConnectionEvent::Connected(_)
        | ConnectionEvent::Silent
        | ConnectionEvent::Renewing => None,
    });
    let suspicious: Vec<_> = suspicious.collect();
    assert_eq!(suspicious[8], ("answered 409: 1 of 1 in use".to_owned(), false));
    assert!(suspicious[9..].iter().all(|(_, suspicious)| *suspicious));
    assert_eq!(suspicious.len(), 12);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_is_renewed_once_and_at_once() {
    let bench = Bench::new(Behaviour::default());
    bench.simulator.refuse(&refusal(401, "not authorized"), 1);
    assert_eq!(bench.run_for(minutes(10)).await, None);
    assert_eq!(bench.statuses(), [401, 200]);
    assert_eq!((bench.simulator.tokens_given(), bench.notes.waits()), (2, vec![]));

    let bench = Bench::new(Behaviour::default());
    bench.simulator.refuse(&refusal(401, "not authorized"), 2);
    let stopped = bench.run_for(minutes(10)).await;
    assert_eq!(stopped.unwrap(), "answered 401: not authorized");
    assert_eq!((bench.statuses(), bench.simulator.tokens_given()), (vec![401, 401], 2));
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_followed_with_all_headers_and_the_query() {
    let settings = settings("max_connections = 3\nsmoothing = \"270s\"");
    let bench = Bench::with(Behaviour::default(), &settings, Notes::default());
    assert_eq!(bench.run_for(minutes(1)).await, None);
    let connects = bench.simulator.connects();
    assert_eq!(connects.len(), 1, "the redirect is not the stream");
    assert_eq!(connects[0].status, 200, "it wants token, key and gzip");
    assert_eq!(connects[0].query, "maxConnections=3&smoothing=1&smoothingBucketSize=270");
    let hosts: Vec<_> = bench.connects.lock().iter().map(|(_, to)| to.clone()).collect();
    assert_eq!(hosts, ["ims.test:80", "stream.test:80", "stream.test:80"]);
}

#[tokio::test(start_paused = true)]
async fn credentials_that_are_refused_stop_the_source() {
    let settings = settings("").clone();
    let unknown = LivestreamSettings { client_secret_file: "/nowhere/secret".into(), ..settings };
    let bench = Bench::with(Behaviour::default(), &unknown, Notes::default());
    let stopped = bench.run_for(minutes(1)).await.unwrap();
    assert!(
        stopped.starts_with("no token: cannot read `client_secret_file` /nowhere/secret: "),
        "{stopped}"
    );

    let mut empty = self::settings("");
    empty.client_secret.clear();
    let bench = Bench::with(Behaviour::default(), &empty, Notes::default());
    let stopped = bench.run_for(minutes(1)).await.unwrap();
    assert_eq!(stopped, "no token: the token service answered 400: invalid_client, who are you?");
    assert_eq!(bench.statuses(), Vec::<u16>::new());
}

#[tokio::test(start_paused = true)]
async fn a_missing_stream_stops_the_source_with_the_services_reason() {
    let behaviour = Behaviour { stream: "other".to_owned(), ..Behaviour::default() };
    let stopped = Bench::new(behaviour).run_for(minutes(1)).await.unwrap();
    assert!(
        stopped.starts_with("answered 404: there is no stream `simulated`; check"),
        "{stopped}"
    );
}
