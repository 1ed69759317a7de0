//! How a delivery stands, in words: from its records, from the parking queue, and by its circuit.

use super::{
    RecordView,
    explain::{DeliveryTimeline, Lookup, Parked},
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

/// What is known of one delivery.
pub(super) struct Timeline<'a> {
    /// The oldest first.
    pub(super) records: Vec<&'a Record>,
    /// How it is parked now, where it was found there.
    pub(super) parked: Option<&'a Entry>,
    /// How far the parking queue was looked through.
    pub(super) looked: Option<&'a Lookup>,
}

/// How it stands.
enum DeliveryState {
    Delivered(UnixMillis),
    NotWanted(UnixMillis),
    Waits(Option<UnixMillis>),
    Parked { reason: ParkReason, since: Option<UnixMillis>, is_there: IsThere },
}

/// Whether what was parked is parked still.
enum IsThere {
    Yes,
    No,
    Unknown,
}

impl Timeline<'_> {
    /// Where it went last.
    pub(super) fn url(&self) -> Option<String> {
        self.records.iter().rev().find_map(|record| record.url.clone())
    }

    /// Whether nothing follows any more.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state(), DeliveryState::Delivered(_) | DeliveryState::NotWanted(_))
    }

    /// What came last counts; what is parked now is parked, whatever the log says, unless it was
    /// delivered since.
    fn state(&self) -> DeliveryState {
        let parked = self.parked.map(|entry| DeliveryState::Parked {
            reason: entry.reason,
            since: entry.parked_ms,
            is_there: IsThere::Yes,
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
                    DeliveryState::Parked { reason, since, is_there: self.whether_it_is_there() }
                }
                next_state @ (NextState::Done | NextState::NotWanted | NextState::Waits(_)) => {
                    DeliveryState::Waits(next_state.due())
                }
            },
            (None, None) => DeliveryState::Waits(None),
        }
    }

    fn whether_it_is_there(&self) -> IsThere {
        match self.looked {
            Some(looked) if looked.complete => IsThere::No,
            Some(_) | None => IsThere::Unknown,
        }
    }
}

fn ended(record: &Record) -> UnixMillis {
    match &record.happened {
        AttemptEvent::Attempted(attempted) => record.started().plus(attempted.duration),
        AttemptEvent::NotAttempted(_) => record.started(),
    }
}

/// The story of one delivery.
pub(super) fn tell(
    told: &Timeline<'_>,
    url: Option<String>,
    circuit: Option<circuits::View>,
    now: UnixMillis,
) -> DeliveryTimeline {
    let state = told.state();
    let first = told.records.first();
    let recipient = first.and_then(|record| record.recipient);
    let event = first.map(|record| record.event.as_str());
    let event = event.or(told.parked.map(|entry| entry.event_id.as_str())).unwrap_or_default();
    let subscription = recipient
        .map(|(subscription, _)| subscription)
        .or(told.parked.and_then(|entry| entry.subscription_id));
    let delivery =
        recipient.map(|(_, delivery)| delivery).or(told.parked.and_then(|entry| entry.delivery_id));
    let (word, next, due) = match &state {
        DeliveryState::Delivered(_) => ("delivered", None, None),
        DeliveryState::NotWanted(_) => ("not_wanted", None, None),
        DeliveryState::Waits(due) => ("waits", waiting(*due, circuit.as_ref(), now), *due),
        DeliveryState::Parked { .. } => ("parked", blocking(circuit.as_ref(), now), None),
    };
    let is_gone = matches!(&state, DeliveryState::Parked { is_there: IsThere::No, .. });
    let command = (word == "parked" && !is_gone).then(|| {
        let of = subscription.map(|id| format!(" --subscription {id}")).unwrap_or_default();
        with_option("homing parked replay", "--event", event) + &of
    });
    DeliveryTimeline {
        subscription,
        delivery,
        url,
        state: word,
        summary: summary(&state, told),
        next,
        due: due.map(|due| due.to_string()),
        command,
        circuit,
        parked: told.parked.map(Parked::from),
        attempts: told.records.iter().map(|record| RecordView::from(*record)).collect(),
    }
}

fn summary(state: &DeliveryState, told: &Timeline<'_>) -> String {
    let last = last_attempt(told);
    let attempts = match &last {
        Some((attempt, _)) => format!("at attempt {attempt}"),
        None => "without an attempt that is known".to_owned(),
    };
    let failed = last.map(|(attempt, what)| format!("; attempt {attempt}: {what}"));
    let failed = failed.unwrap_or_else(|| ", without an attempt that is known".to_owned());
    match state {
        DeliveryState::Delivered(at) => format!("delivered at {at}, {attempts}"),
        DeliveryState::NotWanted(at) => {
            format!("was not sent: at {at} its subscription did not want it")
        }
        DeliveryState::Waits(_) => format!("waits{failed}{}", held(told)),
        DeliveryState::Parked { reason, since, is_there } => {
            let at = since.map(|since| format!(" at {since}")).unwrap_or_default();
            let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
            let because = because(*reason);
            match is_there {
                IsThere::Yes => format!("is parked{since} (`{reason}`: {because}){failed}"),
                IsThere::No => format!(
                    "was parked{at} (`{reason}`: {because}){failed}. It is not in the parking \
                     queue any more: it was replayed, and is on its way, or dropped"
                ),
                IsThere::Unknown => format!(
                    "was parked{at} (`{reason}`: {because}){failed}. Whether it still is was \
                     not found out"
                ),
            }
        }
    }
}

/// The last attempt: its number, and what came of it in words.
fn last_attempt(told: &Timeline<'_>) -> Option<(u32, String)> {
    let recorded = told.records.iter().rev().find_map(|record| match &record.happened {
        AttemptEvent::Attempted(made) => {
            let what = words::outcome(&made.outcome, made.cause.as_deref());
            Some((made.attempt, what))
        }
        AttemptEvent::NotAttempted(_) => None,
    });
    let parked = || {
        let entry = told.parked.filter(|entry| entry.attempts > 0)?;
        Some((entry.attempts, words::outcome(entry.last_outcome.as_deref()?, None)))
    };
    recorded.or_else(parked)
}

/// Why nothing was attempted the last time.
fn held(told: &Timeline<'_>) -> String {
    match told.records.last().map(|record| &record.happened) {
        Some(AttemptEvent::NotAttempted(why)) => format!("; then held without an attempt: {why}"),
        Some(AttemptEvent::Attempted(_)) | None => String::new(),
    }
}

/// What a park reason means.
fn because(reason: ParkReason) -> &'static str {
    match reason {
        ParkReason::Exhausted => "no wait of its schedule is left",
        ParkReason::CircuitOpen => "the schedule ended while the circuit was open",
        ParkReason::Frozen => "its URL is frozen",
        ParkReason::Gone => "the endpoint answered 410 Gone",
        ParkReason::TooLarge => "it is larger than `worker.max_event_bytes`",
        ParkReason::Unreadable => "it cannot be read",
        ParkReason::SubscriptionDeleted => "the subscription was removed",
        ParkReason::RejectedByBroker => "the broker gave up redelivering it",
    }
}

/// When a delivery that waits goes on, and what its circuit will make of it.
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
            "was due at {due}: it is about to be attempted, or its endpoint has its hands full, or \
             no worker takes due deliveries (`homing status` shows the retry queue)"
        )
    };
    Some(match blocking(circuit, now) {
        Some(blocking) => format!("{due}; {blocking}"),
        None => due,
    })
}

/// What the circuit of the URL stands in the way of.
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
            "its circuit is open since {since}{why}, {probe}; what is no probe is held at the next \
             step of its schedule"
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

/// What is not known because the parking queue was not looked through.
pub(super) fn looked(looked: &Lookup) -> Option<String> {
    let Lookup { scanned, total, complete, error } = looked;
    match error {
        Some(error) => Some(format!("the parking queue could not be looked through: {error}")),
        None if !complete => Some(format!(
            "only {scanned} of {total} parked messages were looked at; `homing parked list --event \
             ID` looks at all"
        )),
        None => None,
    }
}
