//! The overview shows what the pool does: figures that workers kept, queues with what is due next.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    sync::Arc,
};

use homing::overview::{Kind, Overview};
use serde_json::{Value, json};

use crate::support::{
    broker::Raw,
    eventually,
    installation::Installation,
    process::Site,
    receiver::{Receiver, Reply},
};

/// Looks until what is seen is as wanted.
async fn wait_until(
    installation: &Installation,
    wanted: impl Fn(&Overview) -> bool,
) -> Arc<Overview> {
    let status_service = &installation.parts.status_service;
    eventually(async || {
        let overview = status_service.overview().await;
        if wanted(&overview) { Ok(overview) } else { Err(format!("{overview:#?}")) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_pool_did_is_seen_within_seconds() {
    let installation = Installation::new(&[600_000]).await;
    let receiver = Receiver::answering(|request| {
        Reply::status(match request.path.as_str() {
            "/well" => 200,
            "/gone" => 410,
            _ => 503,
        })
    })
    .await;
    for path in ["/well", "/gone", "/failing"] {
        let url = receiver.url(path);
        installation.subscribe(json!({"url": url, "topics": ["order.paid"]})).await;
    }
    let worker = installation.start();
    for id in ["e1", "e2", "e3"] {
        installation.publisher.publish(Raw::new("order.paid", id, "{}")).await;
    }
    let overview = wait_until(&installation, |overview| {
        let hour = overview.last_hour;
        // The fourth event is homing's own: an endpoint was frozen.
        let hour = (hour.events, hour.accepted, hour.parked);
        (hour, overview.parked) == ((4, 3, 3), Some(3))
    })
    .await;

    assert!(overview.is_sound() && overview.rates.events > 0.0, "{overview:#?}");
    // Deliveries after the first 410 found the URL frozen.
    let refused = overview.last_hour.refused;
    assert!((4..=6).contains(&refused), "{overview:#?}");
    assert_eq!(overview.subscriptions, Some(3));
    assert_eq!(overview.circuits.map(|counts| counts.frozen), Some(1));
    let [present] = overview.workers.as_slice() else { panic!("{overview:#?}") };
    assert!(present.alive && present.report.pid == std::process::id());
    let waiting = overview.queues.iter().find(|queue| queue.wait_ms == Some(600_000));
    let waiting = waiting.expect("the wait has a queue");
    assert_eq!((waiting.kind, waiting.messages), (Kind::Wait, Some(3)));
    let due = waiting.next_due_ms.expect("it is known when the next is due");
    let now = homing_domain::clock::now();
    assert!(due > now && due.since(now).as_secs() <= 600, "{due}");
    assert_eq!(overview.parked, Some(3));

    worker.stop().await;
    let gone = wait_until(&installation, |overview| overview.workers.is_empty()).await;
    assert_eq!(gone.last_hour.events, 4, "what a worker did stays when it goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_it_in_a_terminal_and_keeps_it_live() {
    let site = Site::new(&[50], "");
    site.run(&["topology", "apply"]);
    assert!(site.run(&["status"]).contains("\nworker  none is running"));
    let worker = site.start_writing_to(Stdio::null(), Stdio::null());
    site.wait_for_consumers(1).await;
    let receiver = Receiver::accepting().await;
    site.subscribe(&receiver.url("/"), "t", &[]);

    let mut command = site.command(&["--json", "status", "--watch=1"]);
    let mut watching = command.stdout(Stdio::piped()).spawn().expect("the program can be run");
    let mut lines = BufReader::new(watching.stdout.take().expect("it is piped")).lines();
    site.publisher().await.publish(Raw::new("t", "e", "{}")).await;
    let seen = tokio::task::spawn_blocking(move || {
        let overviews = lines.by_ref().map_while(Result::ok).take(90);
        let read = |line: String| serde_json::from_str::<Value>(&line).expect("a line of JSON");
        overviews.map(read).find(|overview| overview["last_hour"]["accepted"] == 1)
    });
    let overview = seen.await.expect("it does not panic").expect("the delivery is seen");
    assert_eq!(overview["workers"][0]["pid"], worker.id());
    assert_eq!(overview["minutes"].as_array().map(Vec::len), Some(60));
    let killed = std::process::Command::new("kill").arg(watching.id().to_string()).status();
    assert!(killed.expect("kill can be run").success());
    assert_eq!(watching.wait().expect("it ends").code(), Some(0), "a signal is a polite end");

    let text = site.run(&["status"]);
    let row = text.lines().find(|line| line.starts_with("delivered")).expect("a row");
    assert!(row.ends_with('1'), "{text}");
    assert!(text.contains(&format!("process {}: 0 in flight", worker.id())), "{text}");
}
