//! Redirects: which are followed, and where the token goes.

use super::*;

/// A bench whose service at `host` redirects every request for the stream `to` this place.
fn redirecting(host: &str, to: &str, changed: &str) -> Bench {
    let behaviour = Behaviour { redirects_to: Some(to.to_owned()), ..Behaviour::default() };
    let url = format!("http://{host}/api/1/stream/simulated").parse().unwrap();
    let settings = LivestreamSettings { url, ..settings(changed) };
    Bench::with(behaviour, &settings, Notes::default())
}

fn hosts(bench: &Bench) -> Vec<String> {
    let connects = bench.connects.lock();
    let streams = connects.iter().filter(|(_, to)| !to.starts_with("ims."));
    streams.map(|(_, to)| to.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_token_goes_to_hosts_of_the_same_domain_and_to_named_ones() {
    for (to, named) in [
        ("http://node7.example.test/elsewhere/1/stream/simulated", ""),
        ("http://a.live.example.test:8000/elsewhere/1/stream/simulated", ""),
        ("http://live.example.test/elsewhere/1/stream/simulated", ""),
        ("http://other.test/elsewhere/1/stream/simulated", "redirect_hosts = [\"other.test\"]"),
    ] {
        let bench = redirecting("live.example.test", to, named);
        assert_eq!(bench.run_for(minutes(1)).await, None, "{to}");
        assert_eq!(bench.statuses(), [200], "{to}");
        assert_eq!(hosts(&bench).len(), 2, "{to}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_other_origin_gets_the_token() {
    for to in [
        "http://other.test/elsewhere/1/stream/simulated",
        "http://example.test/elsewhere/1/stream/simulated",
        "http://badexample.test/elsewhere/1/stream/simulated",
        "http://live.example.test:8000/elsewhere/1/stream/simulated",
    ] {
        let bench = redirecting("live.example.test", to, "");
        let stopped = bench.run_for(minutes(1)).await.unwrap();
        assert!(stopped.contains("add its host to `redirect_hosts`"), "{to}: {stopped}");
        assert_eq!(hosts(&bench), ["live.example.test:80"], "no other was asked");
    }
    // Of two words, the last one is no domain of the service's own.
    let bench = redirecting("stream.test", "http://other.test/x", "");
    assert!(bench.run_for(minutes(1)).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_redirects_is_waited_out() {
    let bench = redirecting("stream.test", "http://stream.test/api/1/stream/simulated", "");
    assert_eq!(bench.run_for(minutes(4)).await, None);
    let waits = bench.notes.waits();
    assert_eq!(waits.len(), 4, "{waits:?}");
    let events = bench.notes.events.lock();
    let why = events.iter().find_map(|(_, event)| match event {
        ConnectionEvent::Waiting(_, Some(ended), _) => Some(ended.to_string()),
        ConnectionEvent::Waiting(_, None, _)
        | ConnectionEvent::Connecting
        | ConnectionEvent::Connected(_)
        | ConnectionEvent::Silent
        | ConnectionEvent::Renewing => None,
    });
    assert!(why.unwrap().contains("redirected more than 5 times"));
}
