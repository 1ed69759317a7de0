//! Hits seen recently, so that those repeated after a reconnect are dropped.
//!
//! The id of a hit can, rarely, be that of another one (Adobe, *Live Stream*): only a record with
//! the same bytes is a repetition.

use std::{
    collections::{HashMap, VecDeque, hash_map::RandomState},
    hash::BuildHasher,
};

use super::record::HitId;

/// The records of one id that are remembered at most.
const MAX_OF_ID: usize = 8;

/// A bounded set; the oldest are forgotten first.
#[derive(Debug)]
pub struct Recent {
    max_ids: usize,
    /// The hashes of the records that had an id.
    ids: HashMap<HitId, Vec<u64>>,
    order: VecDeque<HitId>,
    hasher: RandomState,
}

/// A record, compared with those seen recently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Its id is new.
    Never,
    /// The same bytes had this id.
    Same,
    /// Only other bytes had this id.
    Other,
}

impl Recent {
    /// An empty set for at most `max_ids` ids.
    #[must_use]
    pub fn new(max_ids: usize) -> Self {
        let (ids, order) = (HashMap::new(), VecDeque::new());
        Self { max_ids, ids, order, hasher: RandomState::new() }
    }

    /// Remembers `record`, and says if it was seen.
    pub fn insert(&mut self, id: HitId, record: &[u8]) -> Seen {
        if self.max_ids == 0 {
            return Seen::Never;
        }
        let hash = self.hasher.hash_one(record);
        if let Some(known) = self.ids.get_mut(&id) {
            if known.contains(&hash) {
                return Seen::Same;
            }
            if known.len() < MAX_OF_ID {
                known.push(hash);
            }
            return Seen::Other;
        }
        if self.order.len() >= self.max_ids
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        self.ids.insert(id, vec![hash]);
        self.order.push_back(id);
        Seen::Never
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_hits_are_known_and_the_oldest_is_forgotten() {
        let mut recent = Recent::new(2);
        let mut insert = |low| recent.insert(HitId { high: 1, low }, b"{}");
        let new = [1, 2, 1, 3, 1, 3].map(|low| insert(low) == Seen::Never);
        assert_eq!(new, [true, true, false, true, true, false], "the first was forgotten");
        assert_eq!((recent.ids.len(), recent.order.len()), (2, 2));
    }

    #[test]
    fn another_record_with_the_same_id_is_no_repetition() {
        let mut recent = Recent::new(2);
        let id = HitId { high: 1, low: 1 };
        assert_eq!(recent.insert(id, b"one"), Seen::Never);
        assert_eq!(recent.insert(id, b"two"), Seen::Other);
        assert_eq!(
            (recent.insert(id, b"one"), recent.insert(id, b"two")),
            (Seen::Same, Seen::Same)
        );
        for number in 0..100_u8 {
            assert_eq!(recent.insert(id, &[number]), Seen::Other);
        }
        assert_eq!(recent.ids[&id].len(), MAX_OF_ID);
    }

    #[test]
    fn nothing_is_remembered_where_nothing_may_be() {
        let mut recent = Recent::new(0);
        let id = HitId { high: 1, low: 1 };
        assert_eq!([recent.insert(id, b""), recent.insert(id, b"")], [Seen::Never; 2]);
    }
}
