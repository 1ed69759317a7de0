//! The state of a delivery in words: from its records, the parking queue, and its circuit.

use super::{
    view::{DeliveryTimeline, Lookup, Parked, RecordView},
    words,
};
use homing_delivery::{circuits, parking::Entry};
use homing_domain::{
    circuit::StateName,
    delivery_state::DeliveryState,
    id::EventId,
    record::{AttemptEvent, NextState, Record},
    report::{with_operand, with_option},
    time::UnixMillis,
    verdict::ParkReason,
};

/// The name of the state of what was parked and was replayed or dropped since.
const WAS_PARKED: &str = "was_parked";

/// The known facts of one delivery.
pub(super) struct Timeline<'a> {
    /// The oldest first.
    pub(super) records: Vec<&'a Record>,
    /// Its entry in the parking queue, if it was found.
    pub(super) parked: Option<&'a Entry>,
    /// The look among what is parked.
    pub(super) lookup: Option<&'a Lookup>,
}

/// The present state of a delivery.
enum Present {
    Delivered(UnixMillis),
    NotWanted(UnixMillis),
    Waits {
        since: Option<UnixMillis>,
        due: Option<UnixMillis>,
    },
    /// Its endpoint, or its handler, asked for that.
    NotBefore {
        since: UnixMillis,
        due: UnixMillis,
    },
    Throttled {
        since: UnixMillis,
        due: UnixMillis,
    },
    Held {
        since: UnixMillis,
        /// Parked then; `None`: its schedule says when.
        until: Option<UnixMillis>,
    },
    Parked {
        reason: ParkReason,
        since: Option<UnixMillis>,
        /// `None`: not known.
        is_there: Option<bool>,
    },
}

impl Timeline<'_> {
    /// The URL of its last attempt.
    pub(super) fn url(&self) -> Option<String> {
        self.records.iter().rev().find_map(|record| record.url.clone())
    }

    /// The last time that a wait without an attempt was seen to go on.
    fn as_of(&self) -> Option<UnixMillis> {
        self.last()?.as_of
    }

    /// The record of the latest step.
    fn last(&self) -> Option<&Record> {
        let records = self.records.iter().copied();
        records.reduce(|last, next| if next.is_later_than(last) { next } else { last })
    }

    /// True if nothing follows any more.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state(), Present::Delivered(_) | Present::NotWanted(_))
    }

    /// The last record counts; an entry in the parking queue outweighs the log, unless it was
    /// delivered since.
    fn state(&self) -> Present {
        let parked = self.parked.map(|entry| Present::Parked {
            reason: entry.reason,
            since: entry.parked_ms,
            is_there: Some(true),
        });
        let last = self.last();
        match (last.map(|last| (last, self.recorded(last))), parked) {
            (Some((_, done @ (Present::Delivered(_) | Present::NotWanted(_)))), _) => done,
            (Some(_) | None, Some(parked)) => parked,
            (Some((_, state)), None) => state,
            (None, None) => Present::Waits { since: None, due: None },
        }
    }

    /// The state after the last record.
    fn recorded(&self, last: &Record) -> Present {
        let since = match last.state() {
            DeliveryState::Held => last.hold.map(|hold| hold.since),
            DeliveryState::NotBefore | DeliveryState::Throttled => last.turn,
            DeliveryState::Delivered
            | DeliveryState::NotWanted
            | DeliveryState::Waits
            | DeliveryState::Parked => None,
        };
        let since = since.filter(|_| last.is_wait()).unwrap_or_else(|| ended(last));
        match last.next_state {
            NextState::Done => Present::Delivered(ended(last)),
            NextState::NotWanted => Present::NotWanted(ended(last)),
            NextState::Parked(reason) => {
                Present::Parked { reason, since: Some(ended(last)), is_there: self.is_there() }
            }
            NextState::Held(until) => Present::Held { since, until: Some(until) },
            NextState::Waits(_) if last.state() == DeliveryState::Held => {
                Present::Held { since, until: None }
            }
            NextState::Waits(due) => Present::Waits { since: Some(since), due: Some(due) },
            NextState::NotBefore(due) => Present::NotBefore { since, due },
            NextState::Throttled(due) => Present::Throttled { since, due },
        }
    }

    /// For a parked delivery without an entry: `false` if everything that is parked was looked at.
    fn is_there(&self) -> Option<bool> {
        self.lookup.filter(|lookup| lookup.is_complete()).map(|_| false)
    }
}

fn ended(record: &Record) -> UnixMillis {
    match &record.happened {
        AttemptEvent::Attempted(attempted) => record.started().plus(attempted.duration),
        AttemptEvent::NotAttempted(_) => record.started(),
    }
}

impl Present {
    fn name(&self) -> &'static str {
        let state = match self {
            Self::Delivered(_) => DeliveryState::Delivered,
            Self::NotWanted(_) => DeliveryState::NotWanted,
            Self::Waits { .. } => DeliveryState::Waits,
            Self::NotBefore { .. } => DeliveryState::NotBefore,
            Self::Throttled { .. } => DeliveryState::Throttled,
            Self::Held { .. } => DeliveryState::Held,
            Self::Parked { is_there: Some(false), .. } => return WAS_PARKED,
            Self::Parked { .. } => DeliveryState::Parked,
        };
        state.as_str()
    }

    fn since(&self) -> Option<UnixMillis> {
        match *self {
            Self::Delivered(since)
            | Self::NotWanted(since)
            | Self::NotBefore { since, .. }
            | Self::Throttled { since, .. }
            | Self::Held { since, .. } => Some(since),
            Self::Waits { since, .. } | Self::Parked { since, .. } => since,
        }
    }

    fn due(&self) -> Option<UnixMillis> {
        match *self {
            Self::Waits { due, .. } => due,
            Self::NotBefore { due, .. } | Self::Throttled { due, .. } => Some(due),
            Self::Delivered(_) | Self::NotWanted(_) | Self::Held { .. } | Self::Parked { .. } => {
                None
            }
        }
    }

    /// The next step, or a remedy.
    fn next(&self, circuit: Option<&circuits::View>, now: UnixMillis) -> Option<String> {
        match self {
            Self::Delivered(_) | Self::NotWanted(_) => None,
            Self::Waits { .. } | Self::NotBefore { .. } | Self::Throttled { .. } => {
                waiting(self.due(), circuit, now)
            }
            Self::Held { until, .. } => Some(holding(circuit, *until, now)),
            Self::Parked { .. } => blocking(circuit, now),
        }
    }
}

/// Builds the timeline of one delivery.
pub(super) fn build(
    known: &Timeline<'_>,
    url: Option<String>,
    circuit: Option<circuits::View>,
    now: UnixMillis,
) -> DeliveryTimeline {
    let state = known.state();
    let first = known.records.first();
    let recipient = first.and_then(|record| record.recipient);
    let event = first.map(|record| record.event.as_str());
    let event = event.or(known.parked.map(|entry| entry.event_id.as_str())).unwrap_or_default();
    let topic = first.map(|record| record.topic.as_str());
    let topic = topic.or(known.parked.and_then(|entry| entry.topic.as_deref()));
    let subscription = recipient
        .map(|(subscription, _)| subscription)
        .or(known.parked.and_then(|entry| entry.subscription_id));
    let delivery = recipient
        .map(|(_, delivery)| delivery)
        .or(known.parked.and_then(|entry| entry.delivery_id));
    let name = state.name();
    let command = (name == DeliveryState::Parked.as_str()).then(|| {
        let of = subscription.map(|id| format!(" --subscription {id}")).unwrap_or_default();
        with_option("homing parked replay", "--event", event) + &of
    });
    DeliveryTimeline {
        event: event.to_owned(),
        topic: topic.map(str::to_owned),
        subscription,
        delivery,
        former_version: subscription.zip(delivery).and_then(|(subscription, delivery)| {
            delivery.former_version(&EventId::new(event).ok()?, subscription)
        }),
        url,
        state: name,
        since: state.since().map(|since| since.to_string()),
        as_of: known.as_of().map(|as_of| as_of.to_string()),
        summary: summary(&state, known),
        next: state.next(circuit.as_ref(), now),
        due: state.due().map(|due| due.to_string()),
        command,
        circuit,
        parked: known.parked.map(Parked::from),
        attempts: known.records.iter().map(|record| RecordView::from(*record)).collect(),
    }
}

fn summary(state: &Present, known: &Timeline<'_>) -> String {
    let last = last_attempt(known);
    let attempts = match &last {
        Some((attempt, _)) => format!("at attempt {attempt}"),
        None => "without a known attempt".to_owned(),
    };
    let failed = last.map(|(attempt, what)| format!("; attempt {attempt}: {what}"));
    let failed = failed.unwrap_or_else(|| ", without a known attempt".to_owned());
    let why = skipped(known);
    let because_of = why.map(|why| format!(": {why}")).unwrap_or_default();
    let as_of = known.as_of().map(|as_of| format!(", as of {as_of}")).unwrap_or_default();
    match state {
        Present::Delivered(at) => format!("delivered at {at}, {attempts}"),
        Present::NotWanted(at) => {
            format!("was not sent: at {at} its subscription no longer matched")
        }
        Present::Waits { .. } => {
            let why = why.map(|why| format!("; then held without an attempt: {why}"));
            format!("waits{failed}{}", why.unwrap_or_default())
        }
        Present::NotBefore { due, .. } => {
            let who = if why.is_some() { "handler" } else { "endpoint" };
            format!("is not sent before {due}: its {who} asked for that{failed}")
        }
        Present::Throttled { since, .. } => {
            format!("throttled since {since}{as_of}{because_of}{failed}")
        }
        Present::Held { since, .. } => format!("held since {since}{as_of}{because_of}{failed}"),
        Present::Parked { reason, since, is_there } => {
            let at = since.map(|since| format!(" at {since}")).unwrap_or_default();
            let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
            let because = because(*reason);
            match is_there {
                Some(true) => format!("is parked{since} (`{reason}`: {because}){failed}"),
                Some(false) => format!(
                    "was parked{at} (`{reason}`: {because}){failed}. It is no longer in the \
                     parking queue: it was replayed, and is under way, or dropped"
                ),
                None => format!(
                    "was parked{at} (`{reason}`: {because}){failed}. It is not known \
                     whether it still is"
                ),
            }
        }
    }
}

/// The last attempt: its number, and its outcome in words.
fn last_attempt(known: &Timeline<'_>) -> Option<(u32, String)> {
    let recorded = known.records.iter().rev().find_map(|record| match &record.happened {
        AttemptEvent::Attempted(made) => {
            let what = words::outcome(&made.outcome, made.cause.as_deref());
            Some((made.attempt, what))
        }
        AttemptEvent::NotAttempted(_) => None,
    });
    let parked = || {
        let entry = known.parked.filter(|entry| entry.attempts > 0)?;
        Some((entry.attempts, words::outcome(entry.last_outcome.as_deref()?, None)))
    };
    recorded.or_else(parked)
}

/// The reason why nothing was attempted the last time.
fn skipped<'a>(known: &'a Timeline<'_>) -> Option<&'a str> {
    match &known.last()?.happened {
        AttemptEvent::NotAttempted(why) => Some(why),
        AttemptEvent::Attempted(_) => None,
    }
}

/// The meaning of a park reason.
fn because(reason: ParkReason) -> &'static str {
    match reason {
        ParkReason::Exhausted => "no wait of its schedule is left",
        ParkReason::CircuitOpen => "the schedule ended before its circuit closed again",
        ParkReason::Frozen => "its URL is frozen",
        ParkReason::EndpointSlow => {
            "the schedule ended before its endpoint, which was slow when it came, took it"
        }
        ParkReason::Gone => "the endpoint answered 410 Gone",
        ParkReason::Cancelled => "its endpoint aborted it, or its handler cancelled it",
        ParkReason::TooLarge => "it is larger than `worker.max_event_bytes`",
        ParkReason::Unreadable => "it cannot be read",
        ParkReason::Unverified => {
            "the endpoint of its subscription has not been verified (`homing subscriptions verify`)"
        }
        ParkReason::SubscriptionDeleted => "the subscription was deleted",
        ParkReason::RejectedByBroker => "the broker gave up redelivering it",
    }
}

/// The due time of a delivery that waits, and the effect of its circuit.
fn waiting(
    due: Option<UnixMillis>,
    circuit: Option<&circuits::View>,
    now: UnixMillis,
) -> Option<String> {
    let Some(due) = due else { return blocking(circuit, now) };
    let due = if due > now {
        format!("due at {due}")
    } else {
        format!(
            "was due at {due}: it is being attempted or about to be, or its endpoint is busy, or no \
             worker takes due deliveries (`homing status` shows the retry queue), or what became of \
             it was not recorded"
        )
    };
    Some(match blocking(circuit, now) {
        Some(blocking) => format!("{due}; {blocking}"),
        None => due,
    })
}

/// The event that a delivery in a held queue waits for.
fn holding(circuit: Option<&circuits::View>, until: Option<UnixMillis>, now: UnixMillis) -> String {
    let next = blocking(circuit, now).unwrap_or_else(|| match circuit {
        Some(_) => "its circuit is closed: it is sent in its turn".to_owned(),
        None => "it is sent when its endpoint can take it".to_owned(),
    });
    let beside = circuit.and_then(|circuit| circuit.held).map(|held| match held {
        1 => "; 1 delivery is held for its URL".to_owned(),
        held => format!("; {held} deliveries are held for its URL, the oldest is sent first"),
    });
    let until = until.map(|until| format!("; parked at {until} where it still waits then"));
    format!("{next}{}{}", beside.unwrap_or_default(), until.unwrap_or_default())
}

/// The effect of a circuit that is not closed.
fn blocking(circuit: Option<&circuits::View>, now: UnixMillis) -> Option<String> {
    let circuit = circuit?;
    let why = circuit.reason.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
    let (state, since) = (circuit.state, &circuit.since);
    if state == StateName::Open.as_str() {
        // Both are RFC 3339 in UTC, to the millisecond: texts sort as instants do.
        let now = now.to_string();
        let probe = match circuit.next_probe.as_deref().filter(|probe| **probe > *now) {
            Some(probe) => format!("next probe at {probe}"),
            None => "a probe is due now".to_owned(),
        };
        Some(format!(
            "its circuit is open since {since}{why}, {probe}; other deliveries are held until it \
             closes"
        ))
    } else if state == StateName::Frozen.as_str() {
        Some(format!(
            "its circuit is frozen since {since}{why}: nothing is sent until \
             `{}`",
            with_operand("homing endpoints enable", &circuit.url)
        ))
    } else {
        None
    }
}

/// A note if not all that is parked was looked at.
pub(super) fn lookup_note(lookup: &Lookup) -> Option<String> {
    match &lookup.error {
        Some(error) => Some(format!("what is parked could not be read: {error}")),
        None => lookup.arriving.note().map(|note| format!("more may be parked: {note}")),
    }
}
