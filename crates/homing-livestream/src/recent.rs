//! Hits seen recently, so that those repeated after a reconnect are dropped.

use std::collections::{HashSet, VecDeque};

use super::record::HitId;

/// A bounded set; the oldest are forgotten first.
#[derive(Debug)]
pub struct Recent {
    max_ids: usize,
    ids: HashSet<HitId>,
    order: VecDeque<HitId>,
}

impl Recent {
    /// An empty set for at most `max_ids` ids.
    #[must_use]
    pub fn new(max_ids: usize) -> Self {
        Self { max_ids, ids: HashSet::new(), order: VecDeque::new() }
    }

    /// Adds `id`; returns true if it was new.
    pub fn insert(&mut self, id: HitId) -> bool {
        if self.max_ids == 0 {
            return true;
        }
        if !self.ids.insert(id) {
            return false;
        }
        if self.order.len() >= self.max_ids
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        self.order.push_back(id);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_hits_are_known_and_the_oldest_is_forgotten() {
        let mut recent = Recent::new(2);
        let id = |low| HitId { high: 1, low };
        assert!(recent.insert(id(1)));
        assert!(recent.insert(id(2)));
        assert!(!recent.insert(id(1)));
        assert!(recent.insert(id(3)));
        assert!(recent.insert(id(1)), "forgotten");
        assert!(!recent.insert(id(3)));
        assert_eq!((recent.ids.len(), recent.order.len()), (2, 2));
    }

    #[test]
    fn nothing_is_remembered_where_nothing_may_be() {
        let mut recent = Recent::new(0);
        assert!(
            recent.insert(HitId { high: 1, low: 1 }) && recent.insert(HitId { high: 1, low: 1 })
        );
    }
}
