//! The state of a delivery in words: from its records, the parking queue, and its circuit.

use super::{
    view::{DeliveryTimeline, Lookup, Parked, RecordView},
    words,
};
use homing_delivery::{circuits, parking::Entry};
use homing_domain::{
    circuit::StateName,
    record::{AttemptEvent, NextState, Record},
    report::{with_operand, with_option},
    time::UnixMillis,
    verdict::ParkReason,
};

/// The known facts of one delivery.
pub(super) struct Timeline<'a> {
    /// The oldest first.
    pub(super) records: Vec<&'a Record>,
    /// Its entry in the parking queue, if it was found.
    pub(super) parked: Option<&'a Entry>,
    /// The look among what is parked.
    pub(super) lookup: Option<&'a Lookup>,
}

/// The state of a delivery.
enum DeliveryState {
    Delivered(UnixMillis),
    NotWanted(UnixMillis),
    Waits(Option<UnixMillis>),
    Held {
        since: UnixMillis,
        /// Parked then.
        until: UnixMillis,
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

    /// True if nothing follows any more.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state(), DeliveryState::Delivered(_) | DeliveryState::NotWanted(_))
    }

    /// The last record counts; an entry in the parking queue outweighs the log, unless it was
    /// delivered since.
    fn state(&self) -> DeliveryState {
        let parked = self.parked.map(|entry| DeliveryState::Parked {
            reason: entry.reason,
            since: entry.parked_ms,
            is_there: Some(true),
        });
        match (self.records.last(), parked) {
            (Some(last), _) if last.next_state == NextState::Done => {
                DeliveryState::Delivered(ended(last))
            }
            (Some(last), _) if last.next_state == NextState::NotWanted => {
                DeliveryState::NotWanted(ended(last))
            }
            (Some(_) | None, Some(parked)) => parked,
            (Some(last), None) => match last.next_state {
                NextState::Parked(reason) => {
                    let since = Some(ended(last));
                    DeliveryState::Parked { reason, since, is_there: self.is_there() }
                }
                NextState::Held(until) => {
                    DeliveryState::Held { since: self.held_since(last), until }
                }
                next_state @ (NextState::Done | NextState::NotWanted | NextState::Waits(_)) => {
                    DeliveryState::Waits(next_state.due())
                }
            },
            (None, None) => DeliveryState::Waits(None),
        }
    }

    /// The first of the records without an attempt that end with `last`.
    fn held_since(&self, last: &Record) -> UnixMillis {
        let is_hold = |record: &&&Record| matches!(record.next_state, NextState::Held(_));
        let holds = self.records.iter().rev().take_while(is_hold);
        holds.last().map_or(last.started(), |first| first.started())
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
    let subscription = recipient
        .map(|(subscription, _)| subscription)
        .or(known.parked.and_then(|entry| entry.subscription_id));
    let delivery = recipient
        .map(|(_, delivery)| delivery)
        .or(known.parked.and_then(|entry| entry.delivery_id));
    let (word, next, due) = match &state {
        DeliveryState::Delivered(_) => ("delivered", None, None),
        DeliveryState::NotWanted(_) => ("not_wanted", None, None),
        DeliveryState::Waits(due) => ("waits", waiting(*due, circuit.as_ref(), now), *due),
        DeliveryState::Held { until, .. } => {
            ("held", Some(holding(circuit.as_ref(), *until, now)), None)
        }
        DeliveryState::Parked { .. } => ("parked", blocking(circuit.as_ref(), now), None),
    };
    let is_gone = matches!(&state, DeliveryState::Parked { is_there: Some(false), .. });
    let command = (word == "parked" && !is_gone).then(|| {
        let of = subscription.map(|id| format!(" --subscription {id}")).unwrap_or_default();
        with_option("homing parked replay", "--event", event) + &of
    });
    DeliveryTimeline {
        subscription,
        delivery,
        url,
        state: word,
        summary: summary(&state, known),
        next,
        due: due.map(|due| due.to_string()),
        command,
        circuit,
        parked: known.parked.map(Parked::from),
        attempts: known.records.iter().map(|record| RecordView::from(*record)).collect(),
    }
}

fn summary(state: &DeliveryState, known: &Timeline<'_>) -> String {
    let last = last_attempt(known);
    let attempts = match &last {
        Some((attempt, _)) => format!("at attempt {attempt}"),
        None => "without a known attempt".to_owned(),
    };
    let failed = last.map(|(attempt, what)| format!("; attempt {attempt}: {what}"));
    let failed = failed.unwrap_or_else(|| ", without a known attempt".to_owned());
    match state {
        DeliveryState::Delivered(at) => format!("delivered at {at}, {attempts}"),
        DeliveryState::NotWanted(at) => {
            format!("was not sent: at {at} its subscription no longer matched")
        }
        DeliveryState::Waits(_) => {
            let why = skipped(known).map(|why| format!("; then held without an attempt: {why}"));
            format!("waits{failed}{}", why.unwrap_or_default())
        }
        DeliveryState::Held { since, .. } => {
            let why = skipped(known).map(|why| format!(": {why}")).unwrap_or_default();
            format!("held since {since}{why}{failed}")
        }
        DeliveryState::Parked { reason, since, is_there } => {
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
fn skipped<'a>(known: &Timeline<'a>) -> Option<&'a str> {
    match &known.records.last()?.happened {
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
        ParkReason::Cancelled => "its handler cancelled it",
        ParkReason::TooLarge => "it is larger than `worker.max_event_bytes`",
        ParkReason::Unreadable => "it cannot be read",
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
            "was due at {due}: it is about to be attempted, or its endpoint is busy, or \
             no worker takes due deliveries (`homing status` shows the retry queue)"
        )
    };
    Some(match blocking(circuit, now) {
        Some(blocking) => format!("{due}; {blocking}"),
        None => due,
    })
}

/// The event that a delivery in a held queue waits for.
fn holding(circuit: Option<&circuits::View>, until: UnixMillis, now: UnixMillis) -> String {
    let next = blocking(circuit, now)
        .unwrap_or_else(|| "its circuit is closed: it is sent in its turn".to_owned());
    let beside = circuit.and_then(|circuit| circuit.held).map(|held| match held {
        1 => "; 1 delivery is held for its URL".to_owned(),
        held => format!("; {held} deliveries are held for its URL, the oldest is sent first"),
    });
    format!("{next}{}; parked at {until} where it still waits then", beside.unwrap_or_default())
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
