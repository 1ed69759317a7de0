//! Undo: for ten seconds after a change of an endpoint, its page offers to take it back.
//!
//! The page's address has the instant of the change, the state before it, and the reason for that,
//! as the transaction found them that made the change. What is undone is that change alone, in the
//! transaction that finds it to be the last one, and it is on record as every other. What was sent
//! meanwhile stays sent; a probe is an attempt, which nothing takes back.

use std::time::Duration;

use super::{
    fields::{Fields, Wrong},
    layout::ErrorPage,
    links::link,
    words::instant,
};
use homing_delivery::circuits::View;
use homing_domain::{
    circuit::{CircuitState, Reason, StateName, Turn},
    clock,
    time::UnixMillis,
    url::EndpointUrl,
};
use homing_store::Intervention;

/// The time for which it is offered ...
const OFFERED: Duration = Duration::from_secs(10);
/// ... and taken: the form has a way to go.
const TAKEN: Duration = Duration::from_secs(15);
/// No probe is due later: the longest `circuit.probe_interval`.
const LATEST_PROBE: Duration = Duration::from_hours(30 * 24);

/// A change that was just made, and what its page says.
pub(super) struct Done {
    pub(super) said: &'static str,
    /// The fields of the form that undoes it; none: it cannot be undone, or not any more.
    pub(super) undo: Vec<(&'static str, String)>,
    /// Seconds for which this is shown.
    pub(super) seconds: u64,
}

impl Done {
    /// From the address that the form of the change led to; `None`: that is too long ago.
    pub(super) fn of(fields: &Fields, view: &View) -> Option<Self> {
        let at: i64 = fields.text("at").parse().ok()?;
        let passed = clock::now().since(UnixMillis::new(at));
        let left = OFFERED.checked_sub(passed).filter(|left| !left.is_zero())?;
        let said = match fields.text("done") {
            "disabled" => "Disabled: nothing is sent to it, and its deliveries are held.",
            "enabled" => "Enabled: attempts begin slowly, and what is held is sent.",
            "paused" => "Paused: its deliveries are held, and at the end one is tried.",
            "probed" => {
                "A probe is due: the oldest delivery that is held is sent, or the next one that \
                 comes due. It is an attempt, and cannot be taken back."
            }
            "undone" => "Undone: its circuit is what it was before.",
            "unchanged" => "Nothing was changed: its circuit was in another state by then.",
            _ => return None,
        };
        let is_last = instant(&view.since) == Some(UnixMillis::new(at));
        let undo = if fields.given("was").is_some() && is_last {
            let names = ["at", "was", "why", "probe"];
            names.map(|name| (name, fields.text(name).to_owned())).into()
        } else {
            Vec::new()
        };
        Some(Self { said, undo, seconds: left.as_secs().max(1) })
    }
}

/// False if the circuit was in a state in which an intervention does nothing.
pub(super) fn has_effect(intervention: Intervention, (after, change): &Turn) -> bool {
    match intervention {
        Intervention::Pause(_) => change.is_some(),
        Intervention::Probe => after.state.name() == StateName::Open,
        // The circuit is in the state that was asked for, by this form or another.
        Intervention::Enable
        | Intervention::Disable
        | Intervention::Restore { .. }
        | Intervention::Gone
        | Intervention::DisableByEndpoint => true,
    }
}

/// The address of an endpoint's page after a form, with what leads back if that turned its circuit.
pub(super) fn address(url: &EndpointUrl, done: &str, (after, change): &Turn) -> String {
    let at = if change.is_some() { after.since } else { clock::now() }.get().to_string();
    let mut pairs = vec![("url", url.as_str()), ("done", done), ("at", at.as_str())];
    let Some(change) = change.filter(|_| done != "undone") else { return link("/endpoint", pairs) };
    let probe = match change.from {
        CircuitState::Open { probe_at } => probe_at.get().to_string(),
        CircuitState::Closed | CircuitState::Frozen => String::new(),
    };
    // A circuit that never turned is closed as one that was enabled.
    let why = serde_json::to_string(&change.former.unwrap_or(Reason::Enabled)).unwrap_or_default();
    pairs.extend([("was", change.from.name().as_str()), ("why", why.as_str())]);
    pairs.extend((!probe.is_empty()).then_some(("probe", probe.as_str())));
    link("/endpoint", pairs)
}

/// The intervention that takes the change of a form back.
pub(super) fn intervention(fields: &Fields) -> Result<Intervention, ErrorPage> {
    let mut wrong = Wrong::default();
    let at: Option<i64> = fields.get("at", &mut wrong);
    let was: Option<StateName> = fields.get("was", &mut wrong);
    let why: Option<Reason> = serde_json::from_str(fields.text("why")).ok();
    let (Some(since), Some(was), Some(reason)) = (at.map(UnixMillis::new), was, why) else {
        return Err(ErrorPage::bad_request("This form names no change."));
    };
    let now = clock::now();
    if now.since(since) > TAKEN {
        return Err(ErrorPage::bad_request(
            "Nothing was undone: a change can be undone for ten seconds. The buttons on the \
             endpoint's page make another one.",
        ));
    }
    let state = match was {
        StateName::Closed => CircuitState::Closed,
        StateName::Frozen => CircuitState::Frozen,
        StateName::Open => {
            let probe_at = fields.get("probe", &mut wrong).map_or(now, UnixMillis::new);
            CircuitState::Open { probe_at: probe_at.min(now.plus(LATEST_PROBE)) }
        }
    };
    Ok(Intervention::Restore { changed: since, state, reason })
}

/// The answer to a form that comes too late: something else has changed the circuit.
pub(super) fn overtaken() -> ErrorPage {
    ErrorPage::bad_request("Nothing was undone: the circuit has changed again since.")
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, extract::FromRequest, http::Request};

    use super::*;
    use homing_domain::circuit::Circuit;

    async fn read(address: &str) -> Fields {
        let request = Request::get(address).body(Body::empty()).unwrap();
        Fields::from_request(request, &()).await.unwrap()
    }

    #[tokio::test]
    async fn a_change_leads_back_to_the_state_and_the_reason_before_it() {
        let (url, now) = ("https://example.com/a".parse().unwrap(), clock::now());
        let (gone, _) = Circuit::new(now.minus(Duration::from_secs(60))).gone(now.minus(OFFERED));
        let enabled = gone.enable(now);
        let fields = read(&address(&url, "enabled", &enabled)).await;
        let done = Done::of(&fields, &View::of(&url, &enabled.0)).unwrap();
        assert!(done.said.starts_with("Enabled") && done.undo.len() == 4);
        let expected = Intervention::Restore {
            changed: enabled.0.since,
            state: CircuitState::Frozen,
            reason: Reason::Gone,
        };
        assert_eq!(intervention(&fields).unwrap(), expected);
        let (later, _) = enabled.0.disable(now.plus(Duration::from_secs(1)));
        assert!(Done::of(&fields, &View::of(&url, &later)).unwrap().undo.is_empty());
        // A form that changed nothing, because a colleague was faster, undoes nothing of theirs.
        let fields = read(&address(&url, "disabled", &later.disable(now))).await;
        assert!(Done::of(&fields, &View::of(&url, &later)).unwrap().undo.is_empty());
        assert!(intervention(&fields).is_err());
    }

    #[tokio::test]
    async fn an_open_circuit_gets_its_probe_back_and_a_probe_is_not_undone() {
        let (url, now) = ("https://example.com/a".parse().unwrap(), clock::now());
        let probe_at = now.plus(Duration::from_secs(500));
        let (open, _) = Circuit::new(now.minus(OFFERED)).pause(probe_at, now.minus(OFFERED));
        let fields = read(&address(&url, "disabled", &open.disable(now))).await;
        let Intervention::Restore { state, reason, .. } = intervention(&fields).unwrap() else {
            panic!("another intervention");
        };
        assert_eq!((state, reason), (CircuitState::Open { probe_at }, Reason::Disabled));
        let probed = open.probe_now(now);
        let fields = read(&address(&url, "probed", &probed)).await;
        assert!(Done::of(&fields, &View::of(&url, &probed.0)).unwrap().undo.is_empty());
    }

    #[test]
    fn a_pause_or_a_probe_of_a_circuit_in_another_state_says_so() {
        let now = clock::now();
        let closed = Circuit::new(now);
        let paused = closed.pause(now, now);
        let pause = Intervention::Pause(now);
        assert!(has_effect(pause, &paused) && !has_effect(pause, &paused.0.pause(now, now)));
        let probe = Intervention::Probe;
        assert!(has_effect(probe, &paused.0.probe_now(now)));
        assert!(!has_effect(probe, &closed.probe_now(now)));
        assert!(has_effect(Intervention::Enable, &closed.enable(now)));
    }

    #[tokio::test]
    async fn after_ten_seconds_nothing_is_offered() {
        let url = "https://example.com/a".parse().unwrap();
        let before = Circuit::new(clock::now().minus(Duration::from_secs(100)));
        let disabled = before.disable(clock::now().minus(Duration::from_secs(20)));
        let fields = read(&address(&url, "disabled", &disabled)).await;
        assert!(Done::of(&fields, &View::of(&url, &disabled.0)).is_none());
        let refused = intervention(&fields).unwrap_err();
        assert!(format!("{refused:?}").contains("ten seconds"), "{refused:?}");
    }
}
