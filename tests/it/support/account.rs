//! The account: published and confirmed = delivered + parked + waiting, for every subscription.
//!
//! What was delivered is what the endpoint recorded and accepted; what waits is read from the broker,
//! message by message; what is parked is exported from the store, message by message. No count of
//! homing's own is taken.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use lapin::{options::BasicGetOptions, types::AMQPValue};

use super::{
    broker,
    load::{Published, number_in, number_of},
    process::Site,
    receiver::Recorded,
    rogue::Seen,
};

/// The expected deliveries of one subscription.
#[derive(Clone, Debug)]
pub(crate) struct Recipient {
    /// Its path at the endpoint, which names it here.
    pub path: &'static str,
    /// Its id.
    pub subscription: String,
    /// True if it wants the event of this number.
    pub wants: fn(u32) -> bool,
}

/// A request that the endpoint recorded.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub path: String,
    pub number: u32,
    pub attempt: u32,
    pub accepted: bool,
}

impl From<&Recorded> for Request {
    fn from(recorded: &Recorded) -> Self {
        let (path, attempt) = (recorded.path.clone(), recorded.attempt());
        let number = number_in(&recorded.body).expect("it is the load's");
        Self { path, number, attempt, accepted: recorded.accepted }
    }
}

impl From<&Seen> for Request {
    fn from(seen: &Seen) -> Self {
        let number = number_in(&seen.body).expect("it is the load's");
        Self { path: "/".to_owned(), number, attempt: seen.attempt, accepted: seen.accepted }
    }
}

/// A message that lies at the broker: in the parking queue or in another.
#[derive(Clone, Debug)]
struct Kept {
    number: u32,
    subscription: Option<String>,
    parked: bool,
}

/// The line of one subscription.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pub path: &'static str,
    pub expected: usize,
    pub delivered: usize,
    pub parked: usize,
    pub waiting: usize,
    /// Events that are nowhere.
    pub lost: Vec<u32>,
    /// Copies beyond the first: accepted again, or accepted and parked, and so on.
    pub duplicates: usize,
    /// Requests with the same event and attempt number as an earlier one.
    pub repeated: usize,
}

/// All lines, and how much was published.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub confirmed: usize,
    pub uncertain: usize,
    pub per_second: u64,
    pub lines: Vec<Line>,
}

impl Account {
    /// Nothing was lost, and no subscription saw more duplicates than `max_duplicates`. Prints the
    /// account of `fault`, after which deliveries resumed `within` this time.
    pub(crate) fn assert_whole(&self, fault: &str, within: Duration, max_duplicates: usize) {
        println!(
            "fault: {fault} | {} events | {} duplicates, {} requests repeated | resumed within \
             {:.1} s\n{self}",
            self.confirmed,
            self.duplicates(),
            self.repeated(),
            within.as_secs_f64()
        );
        for line in &self.lines {
            let Line { path, lost, duplicates, .. } = line;
            let some: Vec<_> = lost.iter().take(20).collect();
            assert!(lost.is_empty(), "{path}: {} events are nowhere: {some:?}\n{self}", lost.len());
            assert!(
                *duplicates <= max_duplicates,
                "{path}: {duplicates} duplicates; at most {max_duplicates}\n{self}"
            );
            assert_eq!(
                line.expected,
                line.delivered + line.parked + line.waiting,
                "{path}\n{self}"
            );
        }
    }

    fn duplicates(&self) -> usize {
        self.lines.iter().map(|line| line.duplicates).sum()
    }

    /// Requests that were sent more than once with the same attempt number, of all subscriptions.
    pub(crate) fn repeated(&self) -> usize {
        self.lines.iter().map(|line| line.repeated).sum()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { confirmed, uncertain, per_second, lines } = self;
        write!(f, "account: {confirmed} events confirmed, {per_second} per second")?;
        if *uncertain > 0 {
            write!(f, "; {uncertain} more without an answer")?;
        }
        for line in lines {
            let Line { path, expected, delivered, parked, waiting, .. } = line;
            write!(
                f,
                "\n  {path:<8} {expected:>6} = {delivered:>6} delivered + {parked:>5} parked"
            )?;
            write!(f, " + {waiting:>5} waiting; {} duplicates", line.duplicates)?;
            write!(f, ", {} requests repeated, {} lost", line.repeated, line.lost.len())?;
        }
        Ok(())
    }
}

/// Takes the account. Nothing may be on its way meanwhile.
pub(crate) async fn account(
    site: &Site,
    published: &Published,
    recipients: &[Recipient],
    requests: impl IntoIterator<Item: Into<Request>>,
) -> Account {
    let requests: Vec<Request> = requests.into_iter().map(Into::into).collect();
    let kept = kept(site).await;
    let seconds = published.took.as_secs().max(1);
    let lines =
        recipients.iter().map(|recipient| line(published, recipient, &requests, &kept)).collect();
    Account {
        confirmed: published.confirmed.len(),
        uncertain: published.uncertain.len(),
        per_second: published.confirmed.len() as u64 / seconds,
        lines,
    }
}

fn line(published: &Published, recipient: &Recipient, requests: &[Request], kept: &[Kept]) -> Line {
    let mut line = Line { path: recipient.path, ..Line::default() };
    let mut accepted: BTreeMap<u32, usize> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for request in requests.iter().filter(|request| request.path == recipient.path) {
        assert!(
            (recipient.wants)(request.number),
            "{}: not for this subscription: {request:?}",
            recipient.path
        );
        if !seen.insert((request.number, request.attempt)) {
            line.repeated += 1;
        }
        if request.accepted {
            *accepted.entry(request.number).or_default() += 1;
        }
    }
    // How often each waits and is parked.
    let mut at_broker: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for kept in kept {
        let its = kept.subscription.as_ref().is_none_or(|id| *id == recipient.subscription);
        if its && (recipient.wants)(kept.number) {
            let (waiting, parked) = at_broker.entry(kept.number).or_default();
            *(if kept.parked { parked } else { waiting }) += 1;
        }
    }
    let all = published.confirmed.union(&published.uncertain);
    for number in all.copied().filter(|number| (recipient.wants)(*number)) {
        let delivered = accepted.get(&number).copied().unwrap_or(0);
        let (waiting, parked) = at_broker.get(&number).copied().unwrap_or_default();
        line.duplicates += (delivered + waiting + parked).saturating_sub(1);
        if !published.confirmed.contains(&number) {
            continue;
        }
        line.expected += 1;
        match (delivered, parked, waiting) {
            (1.., _, _) => line.delivered += 1,
            (0, 1.., _) => line.parked += 1,
            (0, 0, 1..) => line.waiting += 1,
            (0, 0, 0) => line.lost.push(number),
        }
    }
    line
}

/// Everything that is parked in the store or lies in any queue of the site; all of it stays there.
async fn kept(site: &Site) -> Vec<Kept> {
    let corner = &site.corner;
    let connection = broker::connect(&corner.url).await.expect("the broker runs");
    let channel = connection.create_channel().await.expect("a channel opens");
    let mut kept: Vec<_> = site.parked().iter().map(in_store).collect();
    for queue in corner.topology.queues() {
        let parked = queue.name == corner.topology.names().parked();
        while let Some(message) = channel
            .basic_get(queue.name.as_str().into(), BasicGetOptions::default())
            .await
            .expect("the queue is there")
        {
            let properties = &message.delivery.properties;
            let id = properties.message_id().as_ref().expect("the publisher set it");
            let number = number_of(id.as_str()).expect("it is the load's");
            let headers = properties.headers().as_ref();
            let header = |name| headers.and_then(|headers| headers.inner().get(name));
            let named = match header("x-homing-subscriptions") {
                Some(AMQPValue::FieldArray(ids)) => ids.as_slice().iter().map(text).collect(),
                _ => vec![header("x-homing-subscription").and_then(text)],
            };
            let each = named.into_iter();
            kept.extend(each.map(|subscription| Kept { number, subscription, parked }));
        }
    }
    connection.close(200, "OK".into()).await.expect("everything goes back");
    kept
}

/// A line of an export.
fn in_store(line: &serde_json::Value) -> Kept {
    let number = line["id"].as_str().and_then(number_of).expect("it is the load's");
    let subscription = line["subscription"].as_str().map(str::to_owned);
    Kept { number, subscription, parked: true }
}

fn text(value: &AMQPValue) -> Option<String> {
    let AMQPValue::LongString(text) = value else { return None };
    Some(text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: u32, attempt: u32, accepted: bool) -> Request {
        Request { path: "/".to_owned(), number, attempt, accepted }
    }

    /// Goal: the account itself can fail. Method: one event of every fate, and one of none.
    #[test]
    fn the_account_finds_what_is_lost_and_what_is_there_twice() {
        let published = Published { confirmed: (0..6).collect(), ..Published::default() };
        let recipient = Recipient { path: "/", subscription: "s".to_owned(), wants: |_| true };
        let requests =
            [request(0, 1, true), request(0, 1, true), request(1, 1, false), request(5, 1, true)];
        let kept = |number, subscription: Option<&str>, parked| Kept {
            number,
            subscription: subscription.map(str::to_owned),
            parked,
        };
        let kept = [
            kept(1, Some("s"), true),
            kept(2, Some("s"), false),
            kept(3, None, false),
            kept(4, Some("another"), true),
            kept(5, Some("s"), true),
        ];
        let line = line(&published, &recipient, &requests, &kept);
        let Line { expected, delivered, parked, waiting, lost, duplicates, repeated, .. } = line;
        assert_eq!((expected, delivered, parked, waiting), (6, 2, 1, 2));
        assert_eq!((lost, duplicates, repeated), (vec![4], 2, 1));
    }
}
