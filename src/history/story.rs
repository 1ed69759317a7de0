//! How a delivery stands, in words: from its records, from the parking queue, and by its circuit.

use super::{
    RecordView,
    explain::{Looked, Parked, Story},
    words,
};
use crate::{
    domain::{
        circuit::StateName,
        record::{Record, Sequel, Trial},
        time::UnixMillis,
        verdict::ParkReason,
    },
    parking::Entry,
    report::{with_operand, with_option},
    switchboard,
};

/// What is known of one delivery.
pub(super) struct Told<'a> {
    /// The oldest first.
    pub(super) records: Vec<&'a Record>,
    /// How it is parked now, where it was found there.
    pub(super) parked: Option<&'a Entry>,
    /// How far the parking queue was looked through.
    pub(super) looked: Option<&'a Looked>,
}

/// How it stands.
enum Stand {
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

impl Told<'_> {
    /// Where it went last.
    pub(super) fn url(&self) -> Option<String> {
        self.records.iter().rev().find_map(|record| record.url.clone())
    }

    /// Whether nothing follows any more.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.stand(), Stand::Delivered(_) | Stand::NotWanted(_))
    }

    /// What came last counts; what is parked now is parked, whatever the log says, unless it was
    /// delivered since.
    fn stand(&self) -> Stand {
        let parked = self.parked.map(|entry| Stand::Parked {
            reason: entry.reason,
            since: entry.parked_ms,
            is_there: IsThere::Yes,
        });
        match (self.records.last(), parked) {
            (Some(last), _) if last.sequel == Sequel::Done => Stand::Delivered(ended(last)),
            (Some(last), _) if last.sequel == Sequel::NotWanted => Stand::NotWanted(ended(last)),
            (Some(_) | None, Some(parked)) => parked,
            (Some(last), None) => match last.sequel {
                Sequel::Parked(reason) => {
                    let since = Some(ended(last));
                    Stand::Parked { reason, since, is_there: self.whether_it_is_there() }
                }
                sequel @ (Sequel::Done | Sequel::NotWanted | Sequel::Waits(_)) => {
                    Stand::Waits(sequel.due())
                }
            },
            (None, None) => Stand::Waits(None),
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
    match &record.trial {
        Trial::Attempted(attempted) => record.started().plus(attempted.duration),
        Trial::NotAttempted(_) => record.started(),
    }
}

/// The story of one delivery.
pub(super) fn tell(
    told: &Told<'_>,
    url: Option<String>,
    circuit: Option<switchboard::View>,
    now: UnixMillis,
) -> Story {
    let stand = told.stand();
    let first = told.records.first();
    let owed = first.and_then(|record| record.owed);
    let event = first.map(|record| record.event.as_str());
    let event = event.or(told.parked.map(|entry| entry.event_id.as_str())).unwrap_or_default();
    let subscription = owed
        .map(|(subscription, _)| subscription)
        .or(told.parked.and_then(|entry| entry.subscription_id));
    let delivery =
        owed.map(|(_, delivery)| delivery).or(told.parked.and_then(|entry| entry.delivery_id));
    let (state, next, due) = match &stand {
        Stand::Delivered(_) => ("delivered", None, None),
        Stand::NotWanted(_) => ("not_wanted", None, None),
        Stand::Waits(due) => ("waits", waiting(*due, circuit.as_ref(), now), *due),
        Stand::Parked { .. } => ("parked", blocking(circuit.as_ref(), now), None),
    };
    let is_gone = matches!(&stand, Stand::Parked { is_there: IsThere::No, .. });
    let command = (state == "parked" && !is_gone).then(|| {
        let of = subscription.map(|id| format!(" --subscription {id}")).unwrap_or_default();
        with_option("homing parked replay", "--event", event) + &of
    });
    Story {
        subscription,
        delivery,
        url,
        state,
        summary: summary(&stand, told),
        next,
        due: due.map(|due| due.to_string()),
        command,
        circuit,
        parked: told.parked.map(Parked::from),
        attempts: told.records.iter().map(|record| RecordView::from(*record)).collect(),
    }
}

fn summary(stand: &Stand, told: &Told<'_>) -> String {
    let last = last_attempt(told);
    let attempts = match &last {
        Some((attempt, _)) => format!("at attempt {attempt}"),
        None => "without an attempt that is known".to_owned(),
    };
    let failed = last.map(|(attempt, what)| format!("; attempt {attempt}: {what}"));
    let failed = failed.unwrap_or_else(|| ", without an attempt that is known".to_owned());
    match stand {
        Stand::Delivered(at) => format!("delivered at {at}, {attempts}"),
        Stand::NotWanted(at) => format!("was not sent: at {at} its subscription did not want it"),
        Stand::Waits(_) => format!("waits{failed}{}", held(told)),
        Stand::Parked { reason, since, is_there } => {
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
fn last_attempt(told: &Told<'_>) -> Option<(u32, String)> {
    let recorded = told.records.iter().rev().find_map(|record| match &record.trial {
        Trial::Attempted(made) => {
            let what = words::outcome(&made.outcome, made.cause.as_deref());
            Some((made.attempt, what))
        }
        Trial::NotAttempted(_) => None,
    });
    let parked = || {
        let entry = told.parked.filter(|entry| entry.attempts > 0)?;
        Some((entry.attempts, words::outcome(entry.last_outcome.as_deref()?, None)))
    };
    recorded.or_else(parked)
}

/// Why nothing was attempted the last time.
fn held(told: &Told<'_>) -> String {
    match told.records.last().map(|record| &record.trial) {
        Some(Trial::NotAttempted(why)) => format!("; then held without an attempt: {why}"),
        Some(Trial::Attempted(_)) | None => String::new(),
    }
}

/// What a park reason means.
fn because(reason: ParkReason) -> &'static str {
    match reason {
        ParkReason::Exhausted => "no wait of its schedule is left",
        ParkReason::CircuitOpen => "the schedule ended while the circuit was open",
        ParkReason::Frozen => "its URL is frozen",
        ParkReason::Gone => "the endpoint answered 410 Gone",
        ParkReason::TooLarge => "it is larger than `worker.event_bytes_max`",
        ParkReason::Unreadable => "it cannot be read",
        ParkReason::SubscriptionDeleted => "the subscription was removed",
        ParkReason::RejectedByBroker => "the broker gave up redelivering it",
    }
}

/// When a delivery that waits goes on, and what its circuit will make of it.
fn waiting(
    due: Option<UnixMillis>,
    circuit: Option<&switchboard::View>,
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
fn blocking(circuit: Option<&switchboard::View>, now: UnixMillis) -> Option<String> {
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
pub(super) fn looked(looked: &Looked) -> Option<String> {
    let Looked { scanned, total, complete, error } = looked;
    match error {
        Some(error) => Some(format!("the parking queue could not be looked through: {error}")),
        None if !complete => Some(format!(
            "only {scanned} of {total} parked messages were looked at; `homing parked list --event \
             ID` looks at all"
        )),
        None => None,
    }
}
