//! Undo: for ten seconds after a change of an endpoint, its page offers to take it back.
//!
//! The page's address has the instant of the change and the state before it. What is undone is that
//! change alone, in the transaction that finds it to be the last one, and it is on record as every
//! other. A probe is an attempt, which nothing takes back.

use std::time::Duration;

use super::{
    fields::{Fields, Wrong},
    layout::ErrorPage,
    links::link,
    words::instant,
};
use homing_delivery::circuits::View;
use homing_domain::{
    circuit::{Circuit, CircuitState, Reason, StateName},
    clock,
    time::UnixMillis,
    url::EndpointUrl,
};
use homing_store::{CircuitChange, Intervention};

/// The time for which it is offered ...
const OFFERED: Duration = Duration::from_secs(10);
/// ... and taken: the form has a way to go.
const TAKEN: Duration = Duration::from_secs(15);

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
            _ => return None,
        };
        let is_last = instant(&view.since) == Some(UnixMillis::new(at));
        let undo = if fields.given("was").is_some() && is_last {
            let names = ["at", "was", "probe"];
            names.map(|name| (name, fields.text(name).to_owned())).into()
        } else {
            Vec::new()
        };
        Some(Self { said, undo, seconds: left.as_secs().max(1) })
    }
}

/// The address of an endpoint's page after a change that turned its circuit from `before` into
/// `after`.
pub(super) fn address(
    url: &EndpointUrl,
    done: &str,
    (before, after): (&Circuit, &Circuit),
) -> String {
    let has_turned = before.since != after.since;
    let at = if has_turned { after.since } else { clock::now() }.get().to_string();
    let probe = match before.state {
        CircuitState::Open { probe_at } => probe_at.get().to_string(),
        CircuitState::Closed | CircuitState::Frozen => String::new(),
    };
    let mut pairs = vec![("url", url.as_str()), ("done", done), ("at", at.as_str())];
    if has_turned && done != "undone" {
        pairs.push(("was", before.state.name().as_str()));
        pairs.extend((!probe.is_empty()).then_some(("probe", probe.as_str())));
    }
    link("/endpoint", pairs)
}

/// The intervention that takes the change of a form back, by the circuit's changes until now.
pub(super) fn intervention(
    fields: &Fields,
    changes: &[CircuitChange],
) -> Result<Intervention, ErrorPage> {
    let mut wrong = Wrong::default();
    let at: Option<i64> = fields.get("at", &mut wrong);
    let was: Option<StateName> = fields.get("was", &mut wrong);
    let Some((since, was)) = at.map(UnixMillis::new).zip(was) else {
        return Err(ErrorPage::bad_request("This form names no change."));
    };
    if clock::now().since(since) > TAKEN {
        return Err(ErrorPage::bad_request(
            "Nothing was undone: a change can be undone for ten seconds. The buttons on the \
             endpoint's page make another one.",
        ));
    }
    let state = match was {
        StateName::Closed => CircuitState::Closed,
        StateName::Frozen => CircuitState::Frozen,
        StateName::Open => {
            let probe_at = fields.get("probe", &mut wrong).map_or_else(clock::now, UnixMillis::new);
            CircuitState::Open { probe_at }
        }
    };
    let before = changes.iter().rev().find(|one| one.state.is_some() && one.at < since);
    let reason = before.filter(|one| one.state == Some(was)).and_then(|one| one.reason);
    let reason = reason.or_else(|| (was == StateName::Closed).then_some(Reason::Enabled));
    let Some(reason) = reason else {
        return Err(ErrorPage::bad_request(
            "Nothing was undone: it is not known any more why the circuit was in its former state.",
        ));
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

    async fn read(address: &str) -> Fields {
        let request = Request::get(address).body(Body::empty()).unwrap();
        Fields::from_request(request, &()).await.unwrap()
    }

    fn change(at: UnixMillis, state: StateName, reason: Reason) -> CircuitChange {
        CircuitChange { at, state: Some(state), reason: Some(reason) }
    }

    #[tokio::test]
    async fn a_change_leads_back_to_the_state_and_the_reason_before_it() {
        let (url, now) = ("https://example.com/a".parse().unwrap(), clock::now());
        let (gone, _) = Circuit::new(now.minus(Duration::from_secs(60))).gone(now.minus(OFFERED));
        let (enabled, _) = gone.enable(now);
        let fields = read(&address(&url, "enabled", (&gone, &enabled))).await;
        let done = Done::of(&fields, &View::of(&url, &enabled)).unwrap();
        assert!(done.said.starts_with("Enabled") && done.undo.len() == 3);
        let changes = [
            change(gone.since, StateName::Frozen, Reason::Gone),
            change(enabled.since, StateName::Closed, Reason::Enabled),
        ];
        let expected = Intervention::Restore {
            changed: enabled.since,
            state: CircuitState::Frozen,
            reason: Reason::Gone,
        };
        assert_eq!(intervention(&fields, &changes).unwrap(), expected);
        assert!(intervention(&fields, &[]).is_err(), "the reason is not known");
        let (later, _) = enabled.disable(now.plus(Duration::from_secs(1)));
        assert!(Done::of(&fields, &View::of(&url, &later)).unwrap().undo.is_empty());
    }

    #[tokio::test]
    async fn an_open_circuit_gets_its_probe_back_and_a_probe_is_not_undone() {
        let (url, now) = ("https://example.com/a".parse().unwrap(), clock::now());
        let probe_at = now.plus(Duration::from_secs(500));
        let (open, _) = Circuit::new(now.minus(OFFERED)).pause(probe_at, now.minus(OFFERED));
        let (disabled, _) = open.disable(now);
        let fields = read(&address(&url, "disabled", (&open, &disabled))).await;
        let changes = [change(open.since, StateName::Open, Reason::Disabled)];
        let Intervention::Restore { state, .. } = intervention(&fields, &changes).unwrap() else {
            panic!("another intervention");
        };
        assert_eq!(state, CircuitState::Open { probe_at });
        let (probed, _) = open.probe_now(now);
        let fields = read(&address(&url, "probed", (&open, &probed))).await;
        assert!(Done::of(&fields, &View::of(&url, &probed)).unwrap().undo.is_empty());
    }

    #[tokio::test]
    async fn after_ten_seconds_nothing_is_offered() {
        let url = "https://example.com/a".parse().unwrap();
        let before = Circuit::new(clock::now().minus(Duration::from_secs(100)));
        let (disabled, _) = before.disable(clock::now().minus(Duration::from_secs(20)));
        let fields = read(&address(&url, "disabled", (&before, &disabled))).await;
        assert!(Done::of(&fields, &View::of(&url, &disabled)).is_none());
        let refused = intervention(&fields, &[]).unwrap_err();
        assert!(format!("{refused:?}").contains("ten seconds"), "{refused:?}");
    }
}
