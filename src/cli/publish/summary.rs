//! The summary of a publish.

use serde::Serialize;

use super::wanted::Interest;
use crate::cli::{failure::Failure, output::Output, words};
use homing_broker::Message;
use homing_delivery::worker::{NotKnown, Wanted};
use homing_domain::id::EventId;

/// The results of the lines that were read.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    published: u64,
    /// Of the one event, where there was only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<EventId>,
    bad_lines: u64,
    /// The first of them.
    bad: Vec<BadLine>,
    /// Numbers of lines that may not be with the broker.
    unconfirmed: Vec<u64>,
    /// The last line that was read.
    pub(super) lines_read: u64,
    /// True if reading ended before the input did.
    pub(super) is_cut_short: bool,
    /// Published events that no subscription wants.
    #[serde(flatten)]
    pub(super) interest: Interest,
}

/// A line that is not an event.
#[derive(Debug, Serialize)]
struct BadLine {
    line: u64,
    why: String,
}

impl Summary {
    /// More bad lines than this are only counted.
    const MAX_BAD: usize = 1_000;

    pub(super) fn of_one(id: EventId, message: &Message, wanted: Result<Wanted, NotKnown>) -> Self {
        let mut summary = Self { lines_read: 1, ..Self::default() };
        summary.confirmed(id);
        summary.interest.add_one(message, wanted);
        summary
    }

    pub(super) fn confirmed(&mut self, id: EventId) {
        self.id = (self.published == 0).then_some(id);
        self.published = self.published.saturating_add(1);
    }

    pub(super) fn bad(&mut self, line: u64, why: String) {
        self.bad_lines = self.bad_lines.saturating_add(1);
        if self.bad.len() < Self::MAX_BAD {
            self.bad.push(BadLine { line, why });
        }
    }

    pub(super) fn unconfirmed(&mut self, line: u64) {
        self.unconfirmed.push(line);
        self.unconfirmed.sort_unstable();
        self.is_cut_short = true;
    }

    /// True if every line was published.
    pub(super) fn is_complete(&self) -> bool {
        self.bad_lines == 0 && self.unconfirmed.is_empty() && !self.is_cut_short
    }

    pub(super) fn write(&self, output: &mut Output<'_>) -> Result<(), Failure> {
        if output.json { output.document(self) } else { output.line(self.report()) }
    }

    /// `published 998, 2 bad lines (12, 500)`
    fn report(&self) -> String {
        const MAX_RUNS: usize = 20;
        let mut parts = vec![match &self.id {
            Some(id) => format!("published {} (id {id})", self.published),
            None => format!("published {}", self.published),
        }];
        if self.bad_lines > 0 {
            let lines: Vec<_> = self.bad.iter().map(|bad| bad.line).collect();
            let count = words::count(self.bad_lines, "bad line");
            parts.push(format!("{count} ({})", words::numbers(&lines, MAX_RUNS)));
        }
        if !self.unconfirmed.is_empty() {
            let lines = words::numbers(&self.unconfirmed, MAX_RUNS);
            parts.push(format!("{} not confirmed ({lines})", self.unconfirmed.len()));
        }
        if self.is_cut_short {
            parts.push(format!("nothing read after line {}", self.lines_read));
        }
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(count: u64) -> Summary {
        let mut summary = Summary { lines_read: count, ..Summary::default() };
        for number in 1..=count {
            summary.confirmed(EventId::new(&format!("e{number}")).unwrap());
        }
        summary
    }

    #[test]
    fn the_summary_names_the_lines_to_publish_again() {
        assert_eq!(published(1).report(), "published 1 (id e1)");
        assert_eq!(published(0).report(), "published 0");

        let mut summary = published(998);
        summary.bad(12, "x".to_owned());
        summary.bad(500, "x".to_owned());
        assert_eq!(summary.report(), "published 998, 2 bad lines (12, 500)");
        assert!(!summary.is_complete());

        let mut summary = published(20);
        for line in [9, 7, 8] {
            summary.unconfirmed(line);
        }
        let report = "published 20, 3 not confirmed (7-9), nothing read after line 20";
        assert_eq!(summary.report(), report);
    }
}
