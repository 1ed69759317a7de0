//! A steady load of numbered events, from a publisher that knows which of them are confirmed.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use lapin::{
    BasicProperties, Channel, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::broker::{self, Corner};

/// Topics are `load.0` to `load.9`, by the last digit of the event's number.
pub(crate) const TOPICS: u32 = 10;

/// The pace of publishing, and how far it runs ahead of delivery.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    per_second: u32,
    /// The number delivered; `None`: it does not matter.
    delivered: Option<Arc<AtomicU32>>,
}

impl Pace {
    /// For as long as it takes.
    pub(crate) fn steady(per_second: u32) -> Self {
        Self { per_second, delivered: None }
    }

    /// A thousand a second; where the machine delivers fewer, no more than it will deliver in some
    /// seconds at the end.
    pub(crate) fn not_far_ahead_of(delivered: Arc<AtomicU32>) -> Self {
        Self { per_second: 1_000, delivered: Some(delivered) }
    }

    /// True if there may be one more than this many.
    fn allows(&self, recipient: u32) -> bool {
        let delivered = self.delivered.as_ref().map(|delivered| delivered.load(Ordering::Relaxed));
        delivered.is_none_or(|delivered| recipient < delivered + MAX_UNDELIVERED)
    }
}

/// Events that may be under way before there are more.
const MAX_UNDELIVERED: u32 = 3_000;
/// Confirms that may be due at one time.
const MAX_UNCONFIRMED: usize = 2_000;
/// Longer than any alarm that a test raises.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// The events that a load has published so far.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// Events that the broker has confirmed: homing must deliver every one of them.
    pub confirmed: BTreeSet<u32>,
    /// Events whose fate the publisher does not know: each may have been taken or not.
    pub uncertain: BTreeSet<u32>,
    pub began: Option<Instant>,
    /// From the beginning to the last confirm.
    pub took: Duration,
}

impl Published {
    /// The first number that was not used.
    pub(crate) fn next(&self) -> u32 {
        let last = |numbers: &BTreeSet<u32>| numbers.last().map_or(0, |last| last + 1);
        last(&self.confirmed).max(last(&self.uncertain))
    }

    /// Together with what a later load published.
    pub(crate) fn merge(&mut self, later: Self) {
        self.confirmed.extend(later.confirmed);
        self.uncertain.extend(later.uncertain);
        self.took += later.took;
    }
}

/// A publisher at work; ends when dropped.
pub(crate) struct Load {
    stop: CancellationToken,
    publishing: AbortOnDropHandle<Published>,
}

impl Load {
    /// Publishes to the events exchange of `corner`, beginning with the number `first`.
    pub(crate) fn start(corner: &Corner, pace: Pace, first: u32) -> Self {
        let stop = CancellationToken::new();
        let exchange = corner.topology.names().events();
        let source = Source { url: corner.url.clone(), exchange, pace, first, stop: stop.clone() };
        #[expect(clippy::disallowed_methods, reason = "aborted when dropped")]
        let publishing = AbortOnDropHandle::new(tokio::spawn(source.run()));
        Self { stop, publishing }
    }

    /// Ends it, and waits for the last confirms.
    pub(crate) async fn finish(self) -> Published {
        self.stop.cancel();
        self.publishing.await.expect("the publisher does not panic")
    }
}

struct Source {
    url: String,
    exchange: String,
    pace: Pace,
    first: u32,
    stop: CancellationToken,
}

impl Source {
    /// One connection after the other, without ever publishing a number twice: a repetition would
    /// be the publisher's, and would look like one of homing's.
    async fn run(self) -> Published {
        let mut published = Published { began: Some(Instant::now()), ..Published::default() };
        let mut next = self.first;
        while !self.stop.is_cancelled() {
            let connecting = tokio::time::timeout(Duration::from_secs(15), self.connect());
            if let Some(Ok(Ok((connection, channel)))) =
                self.stop.run_until_cancelled(connecting).await
            {
                self.publish(&channel, &mut next, &mut published).await;
                let _closed = tokio::time::timeout(
                    Duration::from_secs(2),
                    connection.close(200, "OK".into()),
                )
                .await;
            }
            // The pace of connecting again.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        published
    }

    async fn connect(&self) -> lapin::Result<(Connection, Channel)> {
        let connection = broker::connect(&self.url).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok((connection, channel))
    }

    /// Publishes until the connection fails or the end. The rate is that of the whole time since
    /// this began, so what a pause held up is made good.
    async fn publish(&self, channel: &Channel, next: &mut u32, published: &mut Published) {
        let mut unconfirmed = FuturesUnordered::new();
        let (first, started) = (*next, Instant::now());
        let mut usable = true;
        while usable && !self.stop.is_cancelled() {
            let due = started.elapsed().as_secs_f64() * f64::from(self.pace.per_second);
            let uncertain = u32::try_from(published.uncertain.len()).unwrap_or(u32::MAX);
            let recipient = next.saturating_sub(uncertain);
            let more = self.pace.allows(recipient) && unconfirmed.len() < MAX_UNCONFIRMED;
            if more && f64::from(*next - first) < due {
                let number = *next;
                *next += 1;
                let sending = tokio::time::timeout(ANSWER_DEADLINE, self.send(channel, number));
                if let Ok(Ok(confirm)) = sending.await {
                    unconfirmed.push(answered(number, confirm));
                } else {
                    published.uncertain.insert(number);
                    usable = false;
                }
                continue;
            }
            tokio::select! {
                Some((number, confirmed)) = unconfirmed.next() => {
                    usable = tell(published, number, confirmed);
                }
                // Until the next event is due.
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
        }
        while let Some((number, confirmed)) = unconfirmed.next().await {
            tell(published, number, confirmed);
        }
    }

    async fn send(
        &self,
        channel: &Channel,
        number: u32,
    ) -> lapin::Result<impl Future<Output = lapin::Result<lapin::Confirmation>> + use<>> {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(event_id(number).into());
        let confirm = channel
            .basic_publish(
                self.exchange.as_str().into(),
                format!("load.{}", number % TOPICS).into(),
                BasicPublishOptions::default(),
                format!("{{\"n\": {number}, \"filler\": \"{:<1000}\"}}", "").as_bytes(),
                properties,
            )
            .await?;
        Ok(confirm)
    }
}

/// The number of an event, and if it was confirmed.
async fn answered(
    number: u32,
    confirm: impl Future<Output = lapin::Result<lapin::Confirmation>>,
) -> (u32, bool) {
    let confirm = tokio::time::timeout(ANSWER_DEADLINE, confirm).await;
    (number, matches!(confirm, Ok(Ok(confirm)) if confirm.is_ack()))
}

fn tell(published: &mut Published, number: u32, confirmed: bool) -> bool {
    if confirmed {
        published.confirmed.insert(number);
        published.took = published.began.map_or(Duration::ZERO, |began| began.elapsed());
    } else {
        published.uncertain.insert(number);
    }
    confirmed
}

fn event_id(number: u32) -> String {
    format!("e{number}")
}

/// The number of the event with this id.
pub(crate) fn number_of(event_id: &str) -> Option<u32> {
    event_id.strip_prefix('e')?.parse().ok()
}

/// The number of the event with this body.
pub(crate) fn number_in(body: &[u8]) -> Option<u32> {
    serde_json::from_slice::<serde_json::Value>(body).ok()?.get("n")?.as_u64()?.try_into().ok()
}
