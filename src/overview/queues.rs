//! The queues with their depths and next due times.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use homing_broker::{
    Broker,
    error::BrokerError,
    topology::{Depth, Names, QueueKind, QueueSpec, State},
};
use homing_delivery::worker::layout;
use homing_domain::{
    activity::Due,
    report::duration,
    text::Word,
    time::{UnixMillis, iso8601},
    url::EndpointUrl,
};
use homing_store::{HeldSlot, Store};

/// The purpose of a queue, in the order of a message's life.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[schema(as = StatusQueueKind)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// New events.
    Primary,
    /// Deliveries that are due.
    Retry,
    /// Deliveries that wait.
    Wait,
    /// Deliveries that wait for their endpoint.
    Held,
    /// Parked messages.
    Parked,
    /// Messages without a route.
    Unrouted,
    /// Events that can be sent again.
    Archive,
    /// The lock of a source.
    Lock,
}

/// A queue.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = StatusQueue)]
pub struct Queue {
    /// Its name at the broker.
    pub name: String,
    /// Its purpose.
    pub kind: Kind,
    /// The same in words.
    pub holds: String,
    /// The time that messages stay; only in wait queues.
    pub wait_ms: Option<u64>,
    /// `present`, `missing`, `different` (other arguments) or `left over`.
    #[serde(deserialize_with = "homing_domain::text::word")]
    #[schema(value_type = String)]
    pub state: Word,
    /// Ready, without those in flight.
    pub messages: Option<u32>,
    /// The number of consumers.
    pub consumers: Option<u32>,
    /// The next due time that workers reported; only in wait queues that hold messages.
    #[serde(rename = "next_due", alias = "next_due_ms", with = "iso8601::option", default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_due_ms: Option<UnixMillis>,
    /// The URL whose deliveries it holds; only in held queues that a URL has.
    pub url: Option<String>,
    /// The time since when the URL has it.
    #[serde(rename = "since", alias = "since_ms", with = "iso8601::option", default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since_ms: Option<UnixMillis>,
}

/// The URL that has a held queue.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    queue: String,
    url: EndpointUrl,
    since: UnixMillis,
}

impl Owner {
    /// The owners of the queues of `slots`.
    pub(super) fn of(slots: Vec<HeldSlot>, names: &Names) -> Vec<Self> {
        let owner = |HeldSlot { slot, url, since }| {
            url.map(|url| Self { queue: names.held(slot), url, since })
        };
        slots.into_iter().filter_map(owner).collect()
    }
}

/// All queues at `broker`, in the order of a message's life; with those that are left over, which
/// only the store knows.
///
/// # Errors
///
/// [`BrokerError`]; changes nothing.
pub async fn queues(broker: &Broker, store: Option<&dyn Store>) -> Result<Vec<Queue>, BrokerError> {
    let findings = broker.inspect(&[]).await?;
    let mut states: BTreeMap<_, _> =
        findings.into_iter().map(|finding| (finding.name, finding.state)).collect();
    let names = broker.topology().names();
    let (primary, unrouted) = (names.primary_queues(), names.unrouted());
    let mut queues: Vec<_> = broker
        .topology()
        .queues()
        .iter()
        .map(|spec| {
            let state = states.remove(&spec.name).unwrap_or(State::Missing);
            Queue::new((&spec.name, wait(spec)), kind(spec, &primary, &unrouted), &state)
        })
        .collect();
    let left_over = match store {
        Some(store) => layout::left_over(broker, store).await?,
        None => Vec::new(),
    };
    for (name, depth) in left_over {
        let wait = names.wait_of(&name);
        let kind = Kind::of_left_over(names, &name);
        queues.push(Queue::new((&name, wait), kind, &State::LeftOver(depth)));
    }
    queues.sort_by_key(|queue| (queue.kind, queue.wait_ms));
    Ok(queues)
}

fn kind(spec: &QueueSpec, primary: &[String], unrouted: &str) -> Kind {
    match &spec.kind {
        QueueKind::Deliver { .. } if primary.contains(&spec.name) => Kind::Primary,
        QueueKind::Deliver { .. } => Kind::Retry,
        QueueKind::Wait { .. } => Kind::Wait,
        QueueKind::Held { .. } => Kind::Held,
        QueueKind::Keep { .. } if spec.name == unrouted => Kind::Unrouted,
        QueueKind::Keep { .. } => Kind::Parked,
        QueueKind::Archive(_) => Kind::Archive,
        QueueKind::Lock => Kind::Lock,
    }
}

fn wait(spec: &QueueSpec) -> Option<Duration> {
    match &spec.kind {
        QueueKind::Wait { wait, .. } => Some(*wait),
        QueueKind::Deliver { .. }
        | QueueKind::Held { .. }
        | QueueKind::Keep { .. }
        | QueueKind::Archive(_)
        | QueueKind::Lock => None,
    }
}

impl Queue {
    fn new((name, wait): (&str, Option<Duration>), kind: Kind, state: &State) -> Self {
        let (state, depth): (_, Option<Depth>) = match state {
            State::Present(depth) | State::Unchecked(depth) => ("present", *depth),
            State::Former(depth) => ("present", Some(*depth)),
            State::Missing | State::Refused(_) => ("missing", None),
            State::Different(_) => ("different", None),
            State::LeftOver(depth) | State::Superseded { depth, .. } => ("left over", Some(*depth)),
        };
        let holds = match kind {
            Kind::Primary => "new events",
            Kind::Retry => "due deliveries",
            Kind::Wait => "waits",
            Kind::Held => "waits for its endpoint",
            Kind::Parked => "given up, on the way into the store",
            Kind::Unrouted => "had no route",
            Kind::Archive => "events to send again",
            Kind::Lock => "lock of a source",
        };
        Self {
            name: name.to_owned(),
            kind,
            holds: wait
                .map_or_else(|| holds.to_owned(), |wait| format!("{holds} {}", duration(wait))),
            wait_ms: wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            state,
            messages: depth.map(|depth| depth.messages),
            consumers: depth.map(|depth| depth.consumers),
            next_due_ms: None,
            url: None,
            since_ms: None,
        }
    }

    /// False for a held queue that no URL has and that is empty, of which there are many.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.kind != Kind::Held || self.messages != Some(0) || self.url.is_some()
    }

    /// Sets the URL that has it.
    pub(super) fn learn_owner(&mut self, owners: &[Owner]) {
        let Some(owner) = owners.iter().find(|owner| owner.queue == self.name) else { return };
        self.holds = format!("waits for {}", owner.url.as_str());
        self.url = Some(owner.url.as_str().to_owned());
        self.since_ms = Some(owner.since);
    }

    /// Sets the next due time of its wait.
    pub(super) fn learn_due(&mut self, dues: &[Due]) {
        if self.messages.is_none_or(|messages| messages == 0) {
            return;
        }
        let of_this = |due: &&Due| self.wait_ms.map(u128::from) == Some(due.wait.as_millis());
        self.next_due_ms = dues.iter().find(of_this).map(|due| due.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(wait_ms: Option<u64>, messages: u32) -> Queue {
        Queue {
            name: "q".to_owned(),
            kind: Kind::Wait,
            holds: "waits".to_owned(),
            wait_ms,
            state: "present",
            messages: Some(messages),
            consumers: Some(0),
            next_due_ms: None,
            url: None,
            since_ms: None,
        }
    }

    #[test]
    fn a_due_time_belongs_to_the_wait_queue_of_its_length_if_that_holds_messages() {
        let at = UnixMillis::new(7);
        let dues = [Due { wait: Duration::from_millis(50), at }];
        let learnt = |mut queue: Queue| {
            queue.learn_due(&dues);
            queue.next_due_ms
        };
        assert_eq!(learnt(queue(Some(50), 1)), Some(at));
        assert_eq!(learnt(queue(Some(50), 0)), None);
        assert_eq!(learnt(queue(Some(60), 1)), None);
        assert_eq!(learnt(queue(None, 1)), None);
    }
}
