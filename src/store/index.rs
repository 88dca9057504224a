//! Which records hold a partition's keys: in memory, without key bytes.

use super::Place;
use std::collections::BTreeSet;
use std::ops::Bound;

/// One slot per key: the key's 64-bit hash and the place of its newest record. Several keys may share
/// a hash, so a reader compares the key it finds. Ordered by hash, so that a listing has no gaps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    slots: BTreeSet<(u64, Place)>,
}

impl Index {
    /// How many keys.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// No key at all.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Places that may hold a key of this hash: none means the key is absent, with no read.
    pub fn candidates(&self, hash: u64) -> impl Iterator<Item = Place> + '_ {
        self.slots.range((hash, FIRST)..=(hash, LAST)).map(|(_, place)| *place)
    }

    /// Is this place still a key's newest record?
    pub fn holds(&self, hash: u64, place: Place) -> bool {
        self.slots.contains(&(hash, place))
    }

    /// Adds a slot.
    pub fn insert(&mut self, hash: u64, place: Place) {
        self.slots.insert((hash, place));
    }

    /// Takes a slot away.
    pub fn remove(&mut self, hash: u64, place: Place) {
        self.slots.remove(&(hash, place));
    }

    /// Slots whose hash is at least `from`, ascending.
    pub fn from(&self, from: u64) -> impl Iterator<Item = (u64, Place)> + '_ {
        self.slots.range((Bound::Included((from, FIRST)), Bound::Unbounded)).copied()
    }
}

const FIRST: Place = Place { segment: 0, offset: 0, length: 0 };
const LAST: Place = Place { segment: u32::MAX, offset: u32::MAX, length: u32::MAX };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_share_a_hash_are_all_candidates() {
        let place = |offset| Place { segment: 1, offset, length: 8 };
        let mut index = Index::default();
        index.insert(5, place(0));
        index.insert(5, place(8));
        index.insert(6, place(16));
        assert_eq!(index.candidates(5).collect::<Vec<_>>(), [place(0), place(8)]);
        index.remove(5, place(0));
        assert_eq!(index.candidates(5).collect::<Vec<_>>(), [place(8)]);
        assert_eq!(index.from(6).collect::<Vec<_>>(), [(6, place(16))]);
    }
}
