//! Sources: every record of a stream becomes an event, over as few connects as possible.

use std::time::Duration;

use homing::process::Role;
use homing_domain::{
    delivery::Delivery,
    event::Event,
    id::EventId,
    source::{Reset, SourceStatus},
    topic::Topic,
};
use livestream_simulator::Refusal;
use serde_json::json;
use tokio::time::Instant;

use crate::support::{
    eventually, holds,
    installation::Installation,
    livestream::{RECONNECT_WAIT, Service, Tap, id, record},
    process::Site,
    receiver::Receiver,
};

const HIT: &[u8] = include_bytes!("../samples/livestream-hit.json");
const BOTH: [Role; 2] = [Role::Source, Role::Worker];

#[tokio::test]
async fn a_hit_arrives_byte_for_byte_with_its_exact_id() {
    let service = Service::new().await;
    let installation = Installation::with(&[1_000], &service.settings(1)).await;
    let receiver = Receiver::accepting().await;
    let draft = json!({"url": receiver.url("/"), "topics": ["livestream.*"]});
    let subscription = installation.subscribe(draft).await.subscription.id;
    let running = installation.start_as(&BOTH);
    service.simulator.send(HIT);

    let arrived = receiver.wait_for(1).await.remove(0);
    assert_eq!(arrived.body, HIT);
    assert_eq!(arrived.header("x-homing-topic"), Some("livestream.examplecomprod"));
    let id = EventId::new("2948027281753079808-4948646782672799561").expect("an id");
    let topic = Topic::new("livestream.examplecomprod").expect("a topic");
    let content_type = "application/json".to_owned();
    let (content_encoding, body) = (None, HIT.into());
    let event = Event { id, topic, content_type, content_encoding, body };
    let progress = homing_domain::delivery::Progress::default();
    let delivery = Delivery::new(event.into(), subscription, progress);
    assert_eq!(arrived.id(), delivery.id().to_string(), "it is made of the event's id");
    running.stop().await;
    assert_eq!(service.statuses(), [200]);
    installation.assert_nothing_waits().await;
}

#[tokio::test]
async fn what_comes_again_around_a_reconnect_is_published_once() {
    let service = Service::new().await;
    let installation = Installation::with(&[1_000], &service.settings(1)).await;
    let mut tap = Tap::new(&installation.corner).await;
    let running = installation.start_as(&[Role::Source]);
    service.wait_for_connections(1).await;
    (0..500).for_each(|number| service.simulator.send(record(number)));
    tap.wait_for(0..500).await;
    let dropped = Instant::now();
    service.simulator.drop_connections();
    (500..600).for_each(|number| service.simulator.send(record(number)));
    tap.wait_for(500..600).await;

    assert!(dropped.elapsed() >= RECONNECT_WAIT);
    running.stop().await;
    assert_eq!(service.statuses(), [200, 200]);
    assert_eq!((tap.ids.len(), tap.repeated()), (600, vec![]));
    assert_eq!(service.simulator.sent(), 620, "twenty came again");
}

#[tokio::test]
async fn a_process_that_is_killed_is_followed_by_another_after_the_wait() {
    let service = Service::new().await;
    let site = Site::new(&[1_000], &service.settings(1));
    site.run(&["topology", "apply"]);
    let mut tap = Tap::new(&site.corner).await;
    let first = site.spawn(site.command(&["run", "--role", "source"]));
    service.wait_for_connections(1).await;
    let _second = site.spawn(site.command(&["run", "--role", "source"]));
    (0..1_000).for_each(|number| service.simulator.send(record(number)));
    tap.wait_for(0..1_000).await;
    assert_eq!(service.statuses(), [200], "the second one has to wait");

    first.kill_9();
    let killed = Instant::now();
    service.wait_for_connections(0).await;
    (1_000..2_000).for_each(|number| service.simulator.send(record(number)));
    service.wait_for_connections(1).await;
    assert!(killed.elapsed() >= RECONNECT_WAIT, "{:?}", killed.elapsed());
    tap.wait_for(0..2_000).await;

    assert_eq!(service.statuses(), [200, 200]);
    assert_eq!(tap.ids.len(), 2_000, "nothing but what the service sent");
    // The service repeats the last twenty of a lost connection, which only the first process knew.
    let around: Vec<_> = (980..1_000).map(id).collect();
    let repeated = tap.repeated();
    assert!(repeated.iter().all(|id| around.iter().any(|known| known == id)), "{repeated:?}");
    println!("{} records, {} came twice around the switch", tap.ids.len(), repeated.len());
}

#[tokio::test]
async fn all_connections_of_a_process_that_is_killed_are_taken_over_together() {
    let service = Service::new().await;
    let site = Site::new(&[1_000], &service.settings(8));
    site.run(&["topology", "apply"]);
    let first = site.spawn(site.command(&["run", "--role", "source"]));
    service.wait_for_connections(8).await;
    let _second = site.spawn(site.command(&["run", "--role", "source"]));
    // The second one has looked for free ones, and found none.
    tokio::time::sleep(RECONNECT_WAIT).await;
    first.kill_9();
    service.wait_for_connections(0).await;
    service.wait_for_connections(8).await;

    assert_eq!(service.statuses(), [200; 16]);
    let connects = service.simulator.connects();
    let taken_within = connects[15].at - connects[8].at;
    // A pause of a quarter of the lock's fence, times the connections so far, took 18 s and more.
    assert!(taken_within < Duration::from_secs(16), "{taken_within:?}");
}

#[tokio::test]
async fn connections_spread_over_processes_and_never_exceed_what_is_allowed() {
    let service = Service::new().await;
    let installation = Installation::with(&[1_000], &service.settings(4)).await;
    let one = installation.start_as(&[Role::Source]);
    let other = installation.start_as(&[Role::Source]);
    service.wait_for_connections(4).await;
    assert_eq!(service.statuses(), [200; 4]);
    let queries = service.simulator.connects();
    assert!(queries.iter().all(|connect| connect.query == "maxConnections=4"));

    // A process that stops leaves its connections to the other, which has some of its own.
    one.stop().await;
    service.wait_for_connects(queries.len() + 1).await;
    service.wait_for_connections(4).await;
    let taken_over = service.simulator.connects().len() - queries.len();
    assert!((1..=3).contains(&taken_over), "{taken_over} of 4 were taken over");
    other.stop().await;
    assert!(service.statuses().iter().all(|status| *status == 200), "{:?}", service.statuses());
}

#[tokio::test]
async fn a_source_can_be_paused_resumed_and_reset() {
    let service = Service::new().await;
    let installation = Installation::with(&[1_000], &service.settings(1)).await;
    let source_admin = &installation.parts.source_admin;
    let running = installation.start_as(&[Role::Source]);
    service.wait_for_connections(1).await;

    assert_eq!(source_admin.pause("main").await.expect("it is there").state, "paused");
    service.wait_for_connections(0).await;
    // The process writes that down after it has hung up.
    eventually(async || {
        let connected = source_admin.get("main").await.expect("it is there").connected;
        holds(connected == 0, format!("{connected} connections are open"))
    })
    .await;
    let view = source_admin.reset("main", Reset::Largest).await.expect("it is there");
    assert_eq!((view.reset, view.connected), (Some(Reset::Largest), 0));
    // Longer than a source that is not paused waits.
    tokio::time::sleep(RECONNECT_WAIT * 2).await;
    assert_eq!(service.statuses(), [200]);
    assert_eq!(source_admin.resume("main").await.expect("it is there").state, "running");
    service.wait_for_connections(1).await;
    service.simulator.drop_connections();
    service.wait_for_connects(3).await;
    running.stop().await;
    let queries: Vec<_> =
        service.simulator.connects().into_iter().map(|connect| connect.query).collect();
    assert_eq!(queries, ["", "reset=largest", ""]);
}

#[tokio::test]
async fn what_the_service_refuses_for_good_is_not_tried_again_until_it_is_resumed() {
    let service = Service::new().await;
    let installation = Installation::with(&[1_000], &service.settings(1)).await;
    let body = r#"{"error_description":"no contract"}"#.to_owned();
    service.simulator.refuse(&Refusal { status: 403, body }, 1);
    let running = installation.start_as(&[Role::Source]);
    let store = &installation.parts.store;
    eventually(async || {
        let source = store.source("main").await.expect("the store answers");
        holds(source.status != SourceStatus::Running, "it goes on")
    })
    .await;
    running.stop().await;

    let again = installation.start_as(&[Role::Source]);
    // Longer than a source that is not stopped waits.
    tokio::time::sleep(RECONNECT_WAIT * 2).await;
    let view = installation.parts.source_admin.get("main").await.expect("it is there");
    assert_eq!(
        (view.state, view.reason.as_deref()),
        ("stopped", Some("answered 403: no contract"))
    );
    assert_eq!(service.statuses(), [403]);
    installation.parts.source_admin.resume("main").await.expect("it is there");
    service.wait_for_connections(1).await;
    again.stop().await;
    assert_eq!(service.statuses(), [403, 200]);
}
