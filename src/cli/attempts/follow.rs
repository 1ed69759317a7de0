//! `homing attempts --follow`
//!
//! Asks for the newest attempts again and again, and writes those that were not written yet. A
//! worker writes what it attempted within a second, so an attempt may come after one that began
//! later: ids of the last minute are remembered, and not only the newest.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::sleep;

use super::{took, verdict, what};
use crate::cli::{
    failure::{Exit, Failure},
    output::Output,
    run::Signals,
    target::Target,
    words,
};
use crate::history::RecordView;
use homing_domain::{clock, record::RecordId, subscription::MAX_DEADLINE, time::UnixMillis};
use homing_store::{MAX_PAGE_LIMIT, RecordPage};

const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// An attempt is in the log so long after it began, or is not shown: its deadline, and the time
/// that a worker takes to write it.
const LATE: Duration = MAX_DEADLINE.saturating_add(Duration::from_secs(15));
/// Pages of one look: what is beyond is not shown, which is said once.
const MAX_PAGES: usize = 20;

/// Writes attempts until a signal comes.
pub(super) async fn run(
    target: Target<'_>,
    page: RecordPage,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let following = async {
        let mut seen = Seen::from(page.filter.since.unwrap_or_else(clock::now));
        let mut was_cut = false;
        loop {
            match look(target, &page, &seen).await {
                Ok((mut found, is_cut)) => {
                    if is_cut && !was_cut {
                        output.notice("more attempts than are read at a time: some are not shown");
                    }
                    was_cut |= is_cut;
                    found.retain(|attempt| seen.is_new(attempt.id));
                    found.iter().rev().try_for_each(|attempt| write(attempt, output))?;
                    seen.forget(clock::now());
                }
                // A running homing may be back at the next look.
                Err(failure @ Failure::Remote(_)) => output.notice(failure.report()),
                Err(failure) => return Err(failure),
            }
            sleep(LOOK_INTERVAL).await;
        }
    };
    tokio::select! {
        ended = following => ended,
        () = signals.next() => Ok(Exit::Done),
    }
}

/// The attempts since what was forgotten, newest first; true: there are more than are read.
async fn look(
    target: Target<'_>,
    page: &RecordPage,
    seen: &Seen,
) -> Result<(Vec<RecordView>, bool), Failure> {
    let mut page = RecordPage { after: None, limit: MAX_PAGE_LIMIT, ..page.clone() };
    page.filter.since = Some(seen.since);
    let mut found = Vec::new();
    for _ in 0..MAX_PAGES {
        let view = target.attempts(&page).await?;
        found.extend(view.attempts);
        page.after = view.next;
        if page.after.is_none() {
            break;
        }
    }
    Ok((found, page.after.is_some()))
}

/// The attempts that were written.
struct Seen {
    /// None before this is asked for any more.
    since: UnixMillis,
    ids: BTreeSet<RecordId>,
}

impl From<UnixMillis> for Seen {
    fn from(since: UnixMillis) -> Self {
        Self { since, ids: BTreeSet::new() }
    }
}

impl Seen {
    /// Remembers an attempt; true: it was not seen before.
    fn is_new(&mut self, id: RecordId) -> bool {
        self.ids.insert(id)
    }

    /// Forgets what is too old to come again.
    fn forget(&mut self, now: UnixMillis) {
        self.since = self.since.max(now.minus(LATE));
        self.ids = self.ids.split_off(&RecordId::floor(self.since));
    }
}

/// `12:00:01 order.paid o-7 attempt 2, 12 ms, refused 503, wait https://…`
fn write(attempt: &RecordView, output: &mut Output<'_>) -> Result<(), Failure> {
    if output.json {
        return output.line_of_json(attempt);
    }
    let number = attempt.attempt.map(|number| format!(" attempt {number}")).unwrap_or_default();
    let facts = [took(attempt), what(attempt), verdict(attempt)];
    let facts: Vec<_> = facts.into_iter().filter(|fact| !fact.is_empty()).collect();
    let url = attempt.url.as_deref().unwrap_or_default();
    output.line(format_args!(
        "{} {} {}{number}: {} {url}",
        words::to_seconds(&attempt.started),
        attempt.topic,
        attempt.event,
        facts.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(at: i64, random: u8) -> RecordId {
        RecordId::new(UnixMillis::new(at), [random; 10])
    }

    #[test]
    fn an_attempt_is_shown_once_and_then_forgotten() {
        let mut seen = Seen::from(UnixMillis::new(1_000));
        assert!(seen.is_new(id(2_000, 1)));
        // It began before, and was written after.
        assert!(seen.is_new(id(1_500, 2)));
        assert!(!seen.is_new(id(2_000, 1)));
        seen.forget(UnixMillis::new(1_800).plus(LATE));
        assert_eq!(seen.since, UnixMillis::new(1_800));
        assert_eq!(seen.ids.len(), 1);
        assert!(!seen.is_new(id(2_000, 1)));
    }
}
