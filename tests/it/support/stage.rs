//! The stage on which faults happen: a worker process, a steady load, and endpoints of every kind,
//! so that at any moment there are messages in every queue.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use lapin::{options::QueueDeclareOptions, types::FieldTable};
use tokio::time::Instant;

use super::{
    account::{Account, Recipient, account},
    broker::{self, Corner, Publisher},
    holds,
    installation::millis,
    load::{Load, Pace, Published, TOPICS},
    process::{Process, Site},
    receiver::{Receiver, Recorded, Reply},
    within,
};

/// Deliveries in flight in one worker, half of them for each lane: the bound on what can be
/// repeated by one crash, for each subscription.
pub(crate) const MAX_IN_FLIGHT: usize = 128;
/// The schedule of all subscriptions but `/later`, in milliseconds.
const WAITS: [u64; 4] = [200, 400, 800, 1_600];
/// The only wait of `/later`: its deliveries wait until the end.
const LATER: Duration = Duration::from_secs(3_600);
/// The longest wait for deliveries under way at the end of a test.
const SETTLE: Duration = Duration::from_secs(300);

/// A worker's surroundings.
pub(crate) struct Stage {
    pub site: Site,
    pub receiver: Receiver,
    /// Requests at `/well`.
    delivered: Arc<AtomicU32>,
    recipients: Vec<Recipient>,
}

type Wants = fn(u32) -> bool;

fn wants_all(_: u32) -> bool {
    true
}

/// Accepts everything; fails the first attempt of everything; is down every other second and a half;
/// is dead; fails and comes back in an hour.
const SUBSCRIPTIONS: [(&str, &str, Wants); 5] = [
    ("/well", "load.#", wants_all),
    ("/flaky", "load.1", |number| number % TOPICS == 1),
    ("/phases", "load.2", |number| number % TOPICS == 2),
    ("/dead", "load.3", |number| number % TOPICS == 3),
    ("/later", "load.4", |number| number % TOPICS == 4),
];

fn reply(request: &Recorded, started: Instant) -> Reply {
    let down = (request.at - started).as_millis() / 1_500 % 2 == 1;
    let accepts = match request.path.as_str() {
        "/well" => true,
        "/flaky" => request.attempt() > 1,
        "/phases" => !down,
        _ => false,
    };
    Reply::status(if accepts { 200 } else { 503 })
}

impl Stage {
    /// At the broker with this URL.
    pub(crate) async fn at(url: String) -> Self {
        Self::with(url, "").await
    }

    /// With further settings.
    pub(crate) async fn with(url: String, further: &str) -> Self {
        let started = Instant::now();
        let delivered = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&delivered);
        let receiver = Receiver::answering(move |request| {
            counted.fetch_add(u32::from(request.path == "/well"), Ordering::Relaxed);
            reply(request, started)
        });
        let receiver = receiver.await;
        let waits: Vec<_> = millis(&WAITS).into_iter().chain([LATER]).collect();
        let further = format!(
            "worker.max_in_flight = {MAX_IN_FLIGHT}\n\
             schedule.custom.later = [\"{}s\"]\n\
             log.level = \"info,homing_telemetry::log_events=warn,lapin=off,sqlx=warn\"\n{further}",
            LATER.as_secs()
        );
        let site = Site::at(Corner::at(url, &waits), &WAITS, &further);
        site.run(&["topology", "apply"]);
        let recipients = SUBSCRIPTIONS.into_iter().map(|(path, topic, wants)| {
            let later: &[_] = if path == "/later" { &["--schedule", "later"] } else { &[] };
            let subscription = site.subscribe(&receiver.url(path), topic, later);
            Recipient { path, subscription, wants }
        });
        let recipients = recipients.collect();
        Self { site, receiver, delivered, recipients }
    }

    pub(crate) fn load(&self) -> Load {
        self.load_at(self.pace())
    }

    pub(crate) fn load_at(&self, pace: Pace) -> Load {
        Load::start(&self.site.corner, pace, 0)
    }

    /// A load that goes on where another one ended.
    pub(crate) fn load_after(&self, published: &Published) -> Load {
        Load::start(&self.site.corner, self.pace(), published.next())
    }

    fn pace(&self) -> Pace {
        Pace::not_far_ahead_of(Arc::clone(&self.delivered))
    }

    /// Waits until `/well` has accepted `count` requests more than now.
    pub(crate) async fn wait_for_more(&self, count: usize) {
        let before = self.receiver.count_at("/well");
        within(SETTLE, async || {
            let more = self.receiver.count_at("/well") - before;
            let failure = || format!("deliveries stopped after {more}:\n{}", self.end_of_log());
            if more >= count { Ok(()) } else { Err(failure()) }
        })
        .await;
    }

    /// The longest time without a request at `/well` from `since` on.
    pub(crate) fn longest_silence(&self, since: Instant) -> Duration {
        let requests = self.receiver.requests_at("/well");
        let mut times: Vec<_> = requests.iter().map(|request| request.at).collect();
        times.sort_unstable();
        let after = times.partition_point(|at| *at < since).saturating_sub(1);
        let times = times.get(after..).unwrap_or_default();
        let pairs = times.iter().zip(times.iter().skip(1));
        let silences = pairs.map(|(earlier, later)| *later - (*earlier).max(since));
        silences.max().unwrap_or_else(|| since.elapsed())
    }

    /// The same once there were some more requests, so that a silence that goes on is seen.
    pub(crate) async fn silence_after_more(&self, since: Instant) -> Duration {
        self.wait_for_more(50).await;
        self.longest_silence(since)
    }

    /// Waits until nothing moves, stops the worker, and takes the account.
    pub(crate) async fn account(&self, load: Load, worker: Process) -> Account {
        self.account_of(&load.finish().await, worker).await
    }

    /// The same for loads that have ended.
    pub(crate) async fn account_of(&self, published: &Published, mut worker: Process) -> Account {
        self.wait_until_quiet().await;
        worker.terminate();
        assert_eq!(worker.ended().await.code(), Some(0), "the worker stops politely");
        self.account_now(published).await
    }

    /// The account while no worker runs.
    pub(crate) async fn account_now(&self, published: &Published) -> Account {
        account(&self.site, published, &self.recipients, &self.receiver.requests()).await
    }

    /// Occurrences of `text` in the workers' log.
    pub(crate) fn logged(&self, text: &str) -> usize {
        fs::read_to_string(self.site.log()).map_or(0, |log| log.matches(text).count())
    }

    /// The end of the workers' log.
    pub(crate) fn end_of_log(&self) -> String {
        let log = fs::read_to_string(self.site.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
    }

    /// Waits until all queues are there, and both lanes consume.
    pub(crate) async fn wait_for_queues(&self, limit: Duration) {
        let names = self.site.corner.topology.names();
        within(limit, async || {
            for queue in [names.primary(), names.retry(), names.unrouted()] {
                let consumed = queue != names.unrouted();
                let consumers = consumers(&self.site.corner.url, &queue).await;
                let is_there = consumers.is_some_and(|consumers| !consumed || consumers == 1);
                holds(is_there, format!("`{queue}`: {consumers:?} consumers"))?;
            }
            Ok::<_, String>(())
        })
        .await;
    }

    /// Waits until no queue but those in which messages are meant to stay holds anything.
    pub(crate) async fn wait_until_quiet(&self) {
        const LOOKS: u32 = 10;
        let corner = &self.site.corner;
        let stays = [corner.topology.names().parked(), corner.topology.names().wait(LATER)];
        let publisher = Publisher::new(corner).await;
        let (mut quiet, mut seen) = (0, 0);
        within(SETTLE, async || {
            let mut moving = Vec::new();
            for queue in corner.topology.queues() {
                let depth = publisher.depth(&queue.name).await;
                // The busy waits above a second are for endpoints that take too few.
                if depth > 0 && !stays.contains(&queue.name) {
                    moving.push((queue.name, depth));
                }
            }
            let requests = self.receiver.count();
            let still = moving.is_empty() && requests == seen;
            (quiet, seen) = (if still { quiet + 1 } else { 0 }, requests);
            if quiet >= LOOKS {
                return Ok(());
            }
            let silent = self.receiver.requests().last().map(|last| last.at.elapsed());
            let log = self.end_of_log();
            Err(format!("{moving:?} do not settle; last request {silent:?} ago\n{log}"))
        })
        .await;
    }
}

/// Consumers of `queue`; `None`: it is not there.
async fn consumers(url: &str, queue: &str) -> Option<u32> {
    let connection = broker::connect(url).await.ok()?;
    let channel = connection.create_channel().await.ok()?;
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    let queue = channel.queue_declare(queue.into(), options, FieldTable::default()).await.ok();
    let consumers = queue.map(|queue| queue.consumer_count());
    connection.close(200, "OK".into()).await.ok()?;
    consumers
}
