//! A limit on lines of the log that would otherwise come for each of very many deliveries or
//! requests.

use std::{collections::HashMap, hash::Hash, time::Duration};

use tokio::time::Instant;

/// Between two lines about one key, and the time in which the lines about all keys are counted.
pub const LINE_INTERVAL: Duration = Duration::from_mins(1);

/// One line a minute about each key, and a bounded number a minute about all of them.
#[derive(Debug)]
pub struct LineLimit<K> {
    max_lines: usize,
    written: HashMap<K, Instant>,
}

impl<K: Eq + Hash> LineLimit<K> {
    /// At most `max_lines` lines in a minute.
    #[must_use]
    pub fn new(max_lines: usize) -> Self {
        Self { max_lines, written: HashMap::new() }
    }

    /// True if a line about `key` is due at `now`; then not again for a minute.
    pub fn is_due(&mut self, key: K, now: Instant) -> bool {
        self.written.retain(|_key, at| now.saturating_duration_since(*at) < LINE_INTERVAL);
        if self.written.len() >= self.max_lines || self.written.contains_key(&key) {
            return false;
        }
        self.written.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_line_a_minute_and_all_keys_a_bounded_number() {
        let mut limit = LineLimit::new(2);
        let begin = Instant::now();
        let due = |limit: &mut LineLimit<_>, key, seconds| {
            limit.is_due(key, begin + Duration::from_secs(seconds))
        };
        assert_eq!(
            ["a", "a", "b", "c"].map(|key| due(&mut limit, key, 0)),
            [true, false, true, false]
        );
        assert!(!due(&mut limit, "a", 59));
        assert_eq!(["c", "a", "b"].map(|key| due(&mut limit, key, 60)), [true, true, false]);
    }
}
