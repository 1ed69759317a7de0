//! The bare loop, as a process of its own: the same libraries with nothing around them.
//!
//! It consumes with lapin, posts with reqwest or hyper, and acks with `multiple` up to the lowest
//! message that is not done, every five milliseconds. No headers, signature, log, circuit, limit
//! per URL, deadline or reconnecting; a message is never parsed. With `--republish` it publishes
//! what was not accepted to a queue, and waits for the confirm, before it counts it as done.

mod client;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions,
    },
    types::FieldTable,
};
use reqwest::Url;
use tokio::sync::{Semaphore, mpsc};

use client::Client;
pub(crate) use client::Library;

/// As `worker.max_in_flight` allows one lane.
const PREFETCH: u16 = 512;
const COALESCE: Duration = Duration::from_millis(5);

/// The work of the loop.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The library that posts.
    #[arg(long)]
    pub(crate) library: Library,
    #[arg(long)]
    pub(crate) broker: String,
    #[arg(long)]
    pub(crate) queue: String,
    /// Every event is posted to all of them.
    #[arg(long)]
    pub(crate) url: Vec<String>,
    /// Requests at once.
    #[arg(long, default_value_t = 64)]
    pub(crate) at_once: usize,
    /// The queue for what was not accepted.
    #[arg(long)]
    pub(crate) republish: Option<String>,
    /// A certificate authority, in PEM.
    #[arg(long)]
    pub(crate) ca: Option<std::path::PathBuf>,
}

struct Loop {
    client: Client,
    urls: Vec<Url>,
    republish: Option<(Channel, String)>,
    places: Arc<Semaphore>,
    done: mpsc::Sender<u64>,
}

/// Runs until the process is killed.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let connect = || Connection::connect(&arguments.broker, ConnectionProperties::default());
    let (consuming, publishing) = (connect().await?, connect().await?);
    let channel = consuming.create_channel().await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let (done, answered) = mpsc::channel(usize::from(PREFETCH));
    let republish = match arguments.republish {
        None => None,
        Some(queue) => {
            let channel = publishing.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Some((channel, queue))
        }
    };
    let bare = Arc::new(Loop {
        client: Client::new(arguments.library, arguments.ca)?,
        urls: arguments.url.iter().map(|url| url.parse()).collect::<Result<_, _>>()?,
        republish,
        places: Arc::new(Semaphore::new(arguments.at_once)),
        done,
    });
    tokio::spawn(ack(channel.clone(), answered));
    let queue = arguments.queue.as_str();
    let options = BasicConsumeOptions::default();
    let mut messages =
        channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
    while let Some(message) = messages.next().await {
        let message = message?;
        tokio::spawn(Arc::clone(&bare).deliver(message.delivery_tag, message.data.into()));
    }
    Ok(())
}

impl Loop {
    async fn deliver(self: Arc<Self>, tag: u64, body: Bytes) {
        let mut posts: Vec<_> = Vec::with_capacity(self.urls.len());
        for url in &self.urls {
            posts.push(self.post(url, body.clone()));
        }
        futures_util::future::join_all(posts).await;
        self.done.send(tag).await.expect("it is acked");
    }

    async fn post(&self, url: &Url, body: Bytes) {
        let _place = self.places.acquire().await;
        let accepted = self.client.post(url, body.clone()).await.unwrap_or_default();
        if !accepted && let Some((channel, queue)) = &self.republish {
            let persistent = BasicProperties::default().with_delivery_mode(2);
            let options = BasicPublishOptions::default();
            let sent =
                channel.basic_publish("".into(), queue.as_str().into(), options, &body, persistent);
            sent.await.expect("it is sent").await.expect("it is confirmed");
        }
    }
}

async fn ack(channel: Channel, mut answered: mpsc::Receiver<u64>) {
    let (mut acked, mut above, mut batch) = (0, BTreeSet::new(), Vec::new());
    while answered.recv_many(&mut batch, usize::MAX).await > 0 {
        tokio::time::sleep(COALESCE).await;
        while let Ok(tag) = answered.try_recv() {
            batch.push(tag);
        }
        above.extend(batch.drain(..));
        let before = acked;
        while above.remove(&(acked + 1)) {
            acked += 1;
        }
        if acked > before {
            channel.basic_ack(acked, BasicAckOptions { multiple: true }).await.expect("it acks");
        }
    }
}
