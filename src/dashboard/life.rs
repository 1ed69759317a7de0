//! The life of a circuit as a strip: its states one after the other, and its probes.

use std::{fmt::Write, time::Duration};

use super::{
    chart::Shapes,
    words::{self, When},
};
use homing_domain::{circuit::StateName, time::UnixMillis};
use homing_store::CircuitChange;

/// The longest time that is shown.
const LONGEST: Duration = Duration::from_hours(7 * 24);
/// Units of the strip.
const WIDTH: f64 = 600.0;
const HEIGHT: u32 = 16;
/// Changes that are listed in words.
const LISTED: usize = 8;

/// A circuit's life.
pub(super) struct Life {
    pub(super) shapes: Shapes,
    /// The beginning of the strip.
    pub(super) begins: When,
    /// The last changes, the newest first: the instant, the state, and why.
    pub(super) changes: Vec<(When, &'static str, String)>,
}

impl Life {
    /// From its changes, the oldest first; `None`: there was none.
    pub(super) fn of(changes: &[CircuitChange], now: UnixMillis) -> Option<Self> {
        let first = changes.first()?;
        let begins = first.at.max(now.minus(LONGEST));
        let all = now.since(begins).as_secs_f64().max(1.0);
        let x = |at: UnixMillis| at.since(begins).as_secs_f64() / all * WIDTH;
        let mut shapes = String::new();
        let states = changes.iter().filter_map(|change| Some((change.at, change.state?)));
        // Many probes push the opening before them out of the store; only an open circuit is probed.
        let opened = first.state.is_none().then_some((first.at, StateName::Open));
        let states: Vec<_> = opened.into_iter().chain(states).collect();
        for (index, (at, state)) in states.iter().enumerate() {
            let until = states.get(index.saturating_add(1)).map_or(now, |(next, _)| *next);
            if until < begins {
                continue;
            }
            let (from, to) = (x(*at), x(until));
            let class = match state {
                StateName::Closed => "fill-good",
                StateName::Open => "fill-wait",
                StateName::Frozen => "fill-bad",
            };
            let (since, lasted) = (words::exact(*at), words::coarse(until.since(*at)));
            let state = state.as_str();
            let _infallible = write!(
                shapes,
                "<rect x=\"{from:.2}\" y=\"0\" width=\"{:.2}\" height=\"{HEIGHT}\" \
                 class=\"{class}\"><title>{state} from {since} for {lasted}</title></rect>",
                (to - from).max(1.5)
            );
        }
        for probe in changes.iter().filter(|change| change.state.is_none() && change.at >= begins) {
            let (at, text) = (x(probe.at), words::exact(probe.at));
            let _infallible = write!(
                shapes,
                "<rect x=\"{at:.2}\" y=\"0\" width=\"1.5\" height=\"{HEIGHT}\" class=\"fill-mark\">\
                 <title>probed at {text}</title></rect>"
            );
        }
        let listed = |change: &CircuitChange| {
            let why = change.reason.map(|reason| reason.to_string()).unwrap_or_default();
            let state = change.state.map_or("probed", StateName::as_str);
            (When::at(change.at), state, why)
        };
        let changes = changes.iter().rev().take(LISTED).map(listed).collect();
        Some(Self { shapes: Shapes::of(shapes), begins: When::at(begins), changes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_follow_each_other_and_probes_are_marks() {
        let at = |minutes: i64| UnixMillis::new(minutes * 60_000);
        let change = |minutes, state| CircuitChange { at: at(minutes), state, reason: None };
        let changes = [
            change(0, Some(StateName::Open)),
            change(10, None),
            change(30, Some(StateName::Closed)),
        ];
        let life = Life::of(&changes, at(60)).unwrap();
        insta::assert_snapshot!(life.shapes.to_string().replace("</rect>", "</rect>\n"), @r#"
        <rect x="0.00" y="0" width="300.00" height="16" class="fill-wait"><title>open from 1970-01-01 00:00:00.000 UTC for 30 min</title></rect>
        <rect x="300.00" y="0" width="300.00" height="16" class="fill-good"><title>closed from 1970-01-01 00:30:00.000 UTC for 30 min</title></rect>
        <rect x="100.00" y="0" width="1.5" height="16" class="fill-mark"><title>probed at 1970-01-01 00:10:00.000 UTC</title></rect>
        "#);
        let listed: Vec<_> = life.changes.iter().map(|(_, state, _)| *state).collect();
        assert_eq!(listed, ["closed", "probed", "open"]);
        assert!(Life::of(&[], at(60)).is_none());
        // Its opening is not in the store any more.
        let probed = Life::of(&changes[1..], at(60)).unwrap().shapes.to_string();
        let open = "width=\"240.00\" height=\"16\" class=\"fill-wait\"><title>open from";
        assert!(probed.contains(open) && probed.contains("fill-good"), "{probed}");
        // Of what was long ago, the part within a week is shown.
        let old = Life::of(&changes, at(60 + 8 * 24 * 60)).unwrap().shapes.to_string();
        assert_eq!(old.matches("<rect").count(), 1, "{old}");
    }
}
