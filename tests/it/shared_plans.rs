//! Brokers of shared plans allow few channels; homing makes do with what was agreed upon.

use std::time::Duration;

use homing::config::Settings;
use homing_broker::{Broker, Message, Outgoing, Route};
use homing_domain::{
    event::{CONTENT_TYPE_DEFAULT, Event},
    id::EventId,
    topic::Topic,
};

use crate::support::{
    broker::{Corner, Publisher},
    node::Node,
    process::Site,
};

const EVENTS: u32 = 400;
/// Each has publishers of its own: together they want more channels than there are.
const QUEUES: u32 = 32;

/// The waits of as many queues, too long to end during a test.
fn waits() -> Vec<Duration> {
    (1..=QUEUES)
        .map(|number| Duration::from_hours(1) + Duration::from_secs(number.into()))
        .collect()
}

fn route(number: u32) -> Route {
    let queue = usize::try_from(number % QUEUES).expect("few");
    Route::Wait(*waits().get(queue).expect("a wait for each queue"))
}

async fn published(corner: &Corner) -> u32 {
    let publisher = Publisher::new(corner).await;
    let mut depth = 0;
    for wait in waits() {
        depth += publisher.depth(&corner.topology.names().wait(wait)).await;
    }
    depth
}

fn event(number: u32) -> Outgoing {
    let event = Event {
        id: EventId::from(uuid::Uuid::now_v7()),
        topic: Topic::new("t").expect("a topic"),
        content_type: CONTENT_TYPE_DEFAULT.to_owned(),
        content_encoding: None,
        body: number.to_string().into(),
    };
    Message::of_event(event).outgoing()
}

/// Goal: publishers that find no channel wait for their turn, and all of their messages are confirmed.
/// Method: 32 queues, each with two publishers, and 8 channels; the topology is declared over the same
/// ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_wait_for_the_few_channels_that_there_are() {
    let corner = Corner::new(&waits());
    let text =
        format!("[broker]\nurl = \"{}/?channel_max=8\"\nnew_queue_wait = \"0s\"", corner.url);
    let settings = Settings::from_toml(&text).expect("the settings make sense");
    let broker = Broker::new(&settings.broker, corner.topology.clone()).expect("they make sense");
    let mut publishing = tokio::task::JoinSet::new();
    for number in 0..EVENTS {
        let (broker, outgoing) = (broker.clone(), event(number));
        publishing.spawn(async move { broker.publish(&outgoing, route(number)).await });
    }

    for published in publishing.join_all().await {
        published.expect("it was confirmed");
    }

    // Looking and listening have their own few.
    let mut looks = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (broker, queue) = (broker.clone(), corner.topology.names().primary());
        looks.spawn(async move { broker.depth(&queue).await });
    }
    for looked in looks.join_all().await {
        looked.expect("it waited for its turn");
    }
    assert_eq!(published(&corner).await, EVENTS);
    broker.close().await;
}

/// Goal: the topology can be planned, made and checked over few channels, although each look at what is
/// missing costs one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topology_is_planned_made_and_checked_over_few_channels() {
    let site = Site::new(&[1_000, 2_000, 3_000], "");
    let few = format!("{}/?channel_max=8", site.corner.url);
    let run = |command: &str| site.run(&["topology", command, "--broker", &few]);
    let planned = run("plan");
    let objects = site.corner.topology.queues().len() + 4;
    assert!(planned.contains(&format!("apply would create {objects} objects")), "{planned}");
    assert_eq!(run("apply").matches("created ").count(), objects);
    assert!(run("check").contains("Everything is as it should be."));
}

/// Goal: a limit of channels that the broker sets for the user, and shows only by ending the connection
/// that asks for one more, is learned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_limit_of_channels_is_learned() {
    let node = Node::start("few-channels").await;
    node.ctl(&["set_user_limits", "guest", "{\"max-channels\": 8}"]).await;
    let corner = Corner::at(node.url.clone(), &waits());
    let text = format!("[broker]\nurl = \"{}\"\nnew_queue_wait = \"0s\"", corner.url);
    let settings = Settings::from_toml(&text).expect("the settings make sense");
    let broker = Broker::new(&settings.broker, corner.topology.clone()).expect("they make sense");
    for round in ["learning", "knowing"] {
        let mut publishing = tokio::task::JoinSet::new();
        for number in 0..EVENTS {
            let (broker, outgoing) = (broker.clone(), event(number));
            publishing.spawn(async move {
                match round {
                    "learning" => broker.publish_until_confirmed(&outgoing, route(number)).await,
                    _ => broker.publish(&outgoing, route(number)).await,
                }
            });
        }
        for published in publishing.join_all().await {
            published.unwrap_or_else(|error| panic!("{round}: {}", error.report()));
        }
    }
    broker.close().await;
}
