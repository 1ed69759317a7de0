//! Messages that are published at once are published in groups; no message has to do with another's fate.

use std::time::Duration;

use homing::config::Settings;
use homing_broker::{Broker, Message, Outgoing, Route, error::BrokerError};
use homing_domain::{
    event::{CONTENT_TYPE_DEFAULT, Event},
    id::EventId,
    topic::Topic,
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::support::{
    broker::{Corner, Publisher},
    node::Node,
};

fn event(id: &str, topic: &str, bytes: usize) -> Outgoing {
    let event = Event {
        id: EventId::new(id).expect("an id"),
        topic: Topic::new(topic).expect("a topic"),
        content_type: CONTENT_TYPE_DEFAULT.to_owned(),
        content_encoding: None,
        body: vec![b'x'; bytes].into(),
    };
    Message::of_event(event).outgoing()
}

fn broker(corner: &Corner, url: &str) -> Broker {
    let text = format!("[broker]\nurl = \"{url}\"\nnew_queue_wait = \"0s\"");
    let settings = Settings::from_toml(&text).expect("the settings make sense");
    Broker::new(&settings.broker, corner.topology.clone()).expect("they make sense")
}

/// Publishes all at once; the results, in the order of the messages.
async fn publish_at_once(
    broker: &Broker,
    messages: Vec<(Outgoing, Route)>,
) -> Vec<Result<(), BrokerError>> {
    let publishing = messages.iter().map(|(message, route)| broker.publish(message, *route));
    futures_util::future::join_all(publishing).await
}

/// Goal: a message that the broker refuses, and that ends the channel, fails alone. Method: a user who
/// may not publish to one topic, and messages that are too large, among others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_refuses_fails_alone() {
    const MESSAGES: usize = 500;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let further = folder.path().join("further.conf");
    std::fs::write(&further, "max_message_size = 3000\n").expect("it can be written");
    let variables = vec![("HOMING_BROKER_CONFIG", further.display().to_string())];
    let node = Node::start_with("groups", variables).await;
    let corner = Corner::at(node.url.clone(), &[]);
    let events = corner.topology.names().events();
    node.ctl(&["set_topic_permissions", "guest", &events, "^(?!denied)", ".*"]).await;
    let broker = broker(&corner, &corner.url);

    // The broker's words about these are cut off, or could be about a topic that is allowed.
    let long = format!("denied.{}", "x".repeat(230));
    let forged = "denied access to topic 'fine";
    let messages = (0..MESSAGES).map(|number| {
        let (topic, bytes) = match number {
            7 => (long.as_str(), 10),
            57 => (forged, 10),
            _ if number % 50 == 7 => ("denied", 10),
            _ if number % 50 == 13 => ("fine", 3_001),
            _ => ("fine", 1_000),
        };
        (event(&number.to_string(), topic, bytes), Route::Events)
    });
    let results = publish_at_once(&broker, messages.collect()).await;
    let mut confirmed = 0;
    for (number, result) in results.into_iter().enumerate() {
        match (number % 50, result) {
            (7, Err(error)) => assert!(error.is_denied(), "{}", error.report()),
            (13, Err(error)) => assert!(error.is_final(), "{}", error.report()),
            (7 | 13, Ok(())) => panic!("{number} was refused"),
            (_, result) => {
                result.unwrap_or_else(|error| panic!("{number}: {}", error.report()));
                confirmed += 1;
            }
        }
    }
    let publisher = Publisher::new(&corner).await;
    assert!(publisher.depth(&corner.topology.names().primary()).await >= confirmed);
    broker.close().await;
}

/// Goal: what is still to be written when the broker closes the channel costs no other group its
/// connection for good. Method: a denied message before more bytes than a socket takes at once,
/// beside groups on another channel, with a client that knows of no denial.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_a_refused_message_costs_no_other_its_connection() {
    const ROUNDS: usize = 40;
    let node = Node::start("refusals").await;
    let corner = Corner::at(node.url.clone(), &[]);
    let events = corner.topology.names().events();
    node.ctl(&["set_topic_permissions", "guest", &events, "^(?!denied)", ".*"]).await;
    for round in 0..ROUNDS {
        let broker = broker(&corner, &corner.url);
        broker.connect_to_publish().await.expect("it connects");
        let follow =
            (0..30).map(|number| (event(&format!("f{number}"), "fine", 60_000), Route::Events));
        let beside =
            (0..300).map(|number| (event(&format!("b{number}"), "fine", 10), Route::Retry));
        let refused = (event("refused", "denied", 10), Route::Events);
        let messages = std::iter::once(refused).chain(follow).chain(beside).collect();
        let mut results = publish_at_once(&broker, messages).await.into_iter();
        let refused = results.next().expect("a result").expect_err("it is denied");
        assert!(refused.is_denied(), "{round}: {}", refused.report());
        for (number, result) in results.enumerate() {
            result.unwrap_or_else(|error| panic!("{round}, {number}: {}", error.report()));
        }
        broker.close().await;
    }
}

/// Goal: a caller that gives up takes no other's message with it. Method: every third of many
/// publishes is dropped after a few milliseconds at most.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_gives_up_breaks_no_group() {
    const PUBLISHES: usize = 3_000;
    let corner = Corner::new(&[]);
    let broker = broker(&corner, &corner.url);
    broker.connect_to_publish().await.expect("it connects");
    let mut publishing = JoinSet::new();
    for number in 0..PUBLISHES {
        let broker = broker.clone();
        let patience = match number % 3 {
            0 => Duration::from_micros(fastrand::u64(0..5_000)),
            _ => Duration::MAX,
        };
        publishing.spawn(async move {
            let message = event(&number.to_string(), "t", 100);
            let published = timeout(patience, broker.publish(&message, Route::Events)).await;
            published.map_or(0, |published| published.map(|()| 1).expect("it was confirmed"))
        });
    }
    let confirmed: u32 = publishing.join_all().await.into_iter().sum();
    assert!(confirmed >= u32::try_from(PUBLISHES * 2 / 3).expect("a count"));
    let publisher = Publisher::new(&corner).await;
    assert!(publisher.depth(&corner.topology.names().primary()).await >= confirmed);
    broker.close().await;
}

/// Goal: the end of the process answers everyone, at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_at_the_end_is_answered() {
    let corner = Corner::new(&[]);
    let broker = broker(&corner, &corner.url);
    broker.connect_to_publish().await.expect("it connects");
    let mut publishing = JoinSet::new();
    for number in 0..2_000 {
        let broker = broker.clone();
        publishing.spawn(async move {
            let message = event(&number.to_string(), "t", 1_000);
            u32::from(broker.publish_until_confirmed(&message, Route::Events).await.is_ok())
        });
    }
    // The end comes amid the work, wherever that is.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let closing = Instant::now();
    broker.close().await;
    let confirmed: u32 = publishing.join_all().await.into_iter().sum();
    assert!(closing.elapsed() < Duration::from_secs(5), "{:?}", closing.elapsed());
    let publisher = Publisher::new(&corner).await;
    assert!(publisher.depth(&corner.topology.names().primary()).await >= confirmed);
}

/// Goal: what is denied again and again has no other message sent twice again and again. Method: a topic
/// that may not be published to, each time among others; what the broker got of these is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_topic_has_its_neighbours_sent_twice_at_most_once() {
    const ROUNDS: u32 = 5;
    const NEIGHBOURS: u32 = 100;
    let node = Node::start("denied").await;
    let corner = Corner::at(node.url.clone(), &[]);
    let events = corner.topology.names().events();
    node.ctl(&["set_topic_permissions", "guest", &events, "^(?!denied)", ".*"]).await;
    let broker = broker(&corner, &corner.url);
    broker.connect_to_publish().await.expect("it connects");
    for round in 0..ROUNDS {
        let messages = (0..=NEIGHBOURS).map(|number| {
            let topic = if number == NEIGHBOURS / 2 { "denied" } else { "fine" };
            (event(&format!("{round}-{number}"), topic, 10), Route::Events)
        });
        let results = publish_at_once(&broker, messages.collect()).await;
        let failed: Vec<_> = results.into_iter().filter_map(Result::err).collect();
        let [denied] = &failed[..] else { panic!("{failed:?}") };
        assert!(denied.is_denied(), "{}", denied.report());
    }
    let publisher = Publisher::new(&corner).await;
    let stored = publisher.depth(&corner.topology.names().primary()).await;
    assert!((ROUNDS * NEIGHBOURS..=(ROUNDS + 1) * NEIGHBOURS).contains(&stored), "{stored}");
    broker.close().await;
}

/// Goal: a topic that is denied keeps no others waiting. Method: many messages for one that is
/// known to be denied, mixed with others; the channels that end are counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_topic_ends_few_channels() {
    const MESSAGES: usize = 500;
    let node = Node::start("starving").await;
    let corner = Corner::at(node.url.clone(), &[]);
    let events = corner.topology.names().events();
    node.ctl(&["set_topic_permissions", "guest", &events, "^(?!denied)", ".*"]).await;
    let broker = broker(&corner, &corner.url);
    broker.connect_to_publish().await.expect("it connects");
    let denied = || (event("first", "denied", 10), Route::Events);
    let first = publish_at_once(&broker, vec![denied()]).await.remove(0);
    assert!(first.is_err_and(|error| error.is_denied()));

    let ended = async || {
        let counters = "[{_, _, _, _, Closed, _, _, _}] = \
             ets:lookup(connection_churn_metrics, node()), io:format(\"~p\", [Closed]).";
        let printed = node.ctl(&["eval", counters]).await;
        let digits = printed.split(|it: char| !it.is_ascii_digit()).next();
        digits.and_then(|it| it.parse::<usize>().ok()).expect("a number")
    };
    let before = ended().await;
    let messages = (0..MESSAGES).map(|number| {
        let topic = if number % 2 == 0 { "denied" } else { "fine" };
        (event(&number.to_string(), topic, 10), Route::Events)
    });
    let results = publish_at_once(&broker, messages.collect()).await;
    let during = ended().await - before;
    for (number, result) in results.into_iter().enumerate() {
        assert_eq!(result.is_ok(), number % 2 == 1, "{number}: {result:?}");
    }
    assert!((1..=MESSAGES / 20).contains(&during), "{during} channels ended");
    broker.close().await;
}
