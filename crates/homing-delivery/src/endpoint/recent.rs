//! Values by key, kept as long as they are used.

use std::{collections::HashMap, hash::Hash, time::Duration};

use tokio::time::Instant;

/// A value that was not used for so long is dropped.
pub(super) const MAX_UNUSED: Duration = Duration::from_mins(10);
/// Values are checked for unused ones this often.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_mins(1);

/// At most so many values; of more, the one that was not used for the longest time is dropped.
pub(super) struct Recent<K, V> {
    max: usize,
    values: HashMap<K, (V, Instant)>,
}

impl<K: Copy + Eq + Hash, V: Clone> Recent<K, V> {
    /// Nothing yet.
    pub(super) fn new(max: usize) -> Self {
        Self { max, values: HashMap::new() }
    }

    /// The value of `key`, which is used now.
    pub(super) fn find(&mut self, key: K, now: Instant) -> Option<V> {
        let (value, used) = self.values.get_mut(&key)?;
        *used = now;
        Some(value.clone())
    }

    /// Keeps `value`, if `key` has none; returns the one that it has.
    pub(super) fn keep(&mut self, key: K, value: V, now: Instant) -> V {
        if self.values.len() >= self.max && !self.values.contains_key(&key) {
            let oldest = self.values.iter().min_by_key(|(_, (_, used))| *used);
            let oldest = oldest.map(|(key, _)| *key);
            oldest.and_then(|key| self.values.remove(&key));
        }
        self.values.entry(key).or_insert((value, now)).0.clone()
    }

    /// Drops what is not used.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.values.retain(|_, (_, used)| now.duration_since(*used) < MAX_UNUSED);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    #[cfg(test)]
    pub(super) fn has(&self, key: K) -> bool {
        self.values.contains_key(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_too_many_the_one_that_was_unused_for_longest_is_dropped() {
        let mut recent = Recent::new(2);
        for key in [1, 2] {
            recent.keep(key, "kept", Instant::now());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(recent.find(1, Instant::now()), Some("kept"));
        assert_eq!(recent.keep(1, "another", Instant::now()), "kept");
        recent.keep(3, "kept", Instant::now());
        assert_eq!(
            (recent.len(), recent.has(1), recent.has(2), recent.has(3)),
            (2, true, false, true)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_used_is_swept() {
        let mut recent = Recent::new(9);
        for key in [1, 2] {
            recent.keep(key, (), Instant::now());
        }
        tokio::time::advance(MAX_UNUSED / 2).await;
        recent.find(1, Instant::now());
        tokio::time::advance(MAX_UNUSED / 2).await;
        recent.sweep(Instant::now());
        assert_eq!((recent.has(1), recent.has(2)), (true, false));
    }
}
