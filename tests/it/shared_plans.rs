//! Brokers of shared plans allow few channels; homing makes do with what was agreed upon.

use homing::{
    broker::{Broker, Message, Route},
    config::Settings,
    domain::{
        event::{CONTENT_TYPE_DEFAULT, Event},
        id::EventId,
        topic::Topic,
    },
};

use crate::support::broker::{Corner, Publisher};

const EVENTS: u32 = 400;

/// Goal: more publishes at once than the connection has channels wait for their turn, and all of them
/// are confirmed. Method: 400 at once over 8 channels; the topology is declared over the same ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_wait_for_the_few_channels_that_there_are() {
    let corner = Corner::new(&[]);
    let text =
        format!("[broker]\nurl = \"{}/?channel_max=8\"\nnew_queue_wait = \"0s\"", corner.url);
    let settings = Settings::from_toml(&text).expect("the settings make sense");
    let broker = Broker::new(&settings.broker, corner.topology.clone()).expect("they make sense");
    let mut publishing = tokio::task::JoinSet::new();
    for number in 0..EVENTS {
        let event = Event {
            id: EventId::from(uuid::Uuid::now_v7()),
            topic: Topic::new("t").expect("a topic"),
            content_type: CONTENT_TYPE_DEFAULT.to_owned(),
            content_encoding: None,
            body: number.to_string().into(),
        };
        let (broker, outgoing) = (broker.clone(), Message::of_event(event).outgoing());
        publishing.spawn(async move { broker.publish(&outgoing, Route::Events).await });
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
    let publisher = Publisher::new(&corner).await;
    assert_eq!(publisher.depth(&corner.topology.names().primary()).await, EVENTS);
    broker.close().await;
}
