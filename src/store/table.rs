//! One partition's durable state, as a reader may see it.

use super::claims::{self, Claims};
use super::{Body, Index, Place, RecentDots, Record};
use crate::base::Key;
use crate::causal::{Dot, DotSet, Object, entry_hash};
use std::collections::{BTreeMap, BTreeSet};

/// Clock, counter, slots, leftovers and recent dots of one partition, whole at one instant. The same
/// `publish` builds it at recovery and keeps it while the node runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionTable {
    /// Every dot whose effect is in the log.
    pub clock: DotSet,
    /// The store's own counter: the highest it has ever minted here (PROTOCOL R9).
    pub minted: u64,
    /// May count towards R and coordinate (PROTOCOL R6).
    pub complete: bool,
    /// Order-free hash of (key, live dots) (PROTOCOL R20).
    pub hash: u64,
    /// Where the keys are.
    pub index: Index,
    /// Keys that have seen dots the clock has not (PROTOCOL R12f), with these dots.
    pub leftovers: BTreeMap<Key, Leftover>,
    /// Keys with a leftover, each under one dot that it still misses: looked at when that dot comes.
    waiting: BTreeMap<Dot, BTreeSet<Key>>,
    /// Which key a recent dot belongs to.
    pub recent: RecentDots,
}

/// What one key has seen beyond the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The dots, as of when the key was last looked at: at least one of them the clock has not.
    pub dots: DotSet,
    /// The key's record.
    place: Place,
    /// Whether the record holds a live version: without one the slot goes with the leftover.
    keeps: Keeps,
}

/// What stays of a key once the clock covers its leftover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    LiveVersions,
    Nothing,
}

/// What a key's slot held before a record was published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Published {
    /// The place of the key's record until now, if it had one.
    pub place: Option<Place>,
    /// Its share of the partition's hash.
    pub entry_hash: u64,
}

impl PartitionTable {
    /// Plays one durable record. `before` is what the key's slot held (only for objects); returns what
    /// it holds now. Hints do not touch the table but for the own counter.
    pub fn publish(&mut self, record: &Record, place: Place, before: &Published) -> Published {
        let counter = claims::counter(&record.body);
        claims::play(&mut self.clock, &mut self.minted, &mut self.complete, &record.body, counter);
        match &record.body {
            Body::Object { key, object, dots, .. } => {
                self.remember(key, dots);
                let now = self.fill_slot(key, place, object, before);
                self.settle_leftovers(dots);
                now
            }
            Body::Join { dots } | Body::Void { dots, .. } => {
                self.settle_leftovers(dots);
                Published::default()
            }
            Body::Drop => {
                self.drop_keys();
                Published::default()
            }
            Body::Hint(_) | Body::HintDone { .. } | Body::Complete | Body::Reset { .. } => Published::default(),
        }
    }

    /// Without keys it has nothing to remember of them either.
    fn drop_keys(&mut self) {
        (self.hash, self.index, self.recent) = Default::default();
        (self.leftovers, self.waiting) = Default::default();
    }

    /// Takes what recovery has found the partition to claim. Leftovers come after it.
    pub(super) fn claim(&mut self, claims: Claims) {
        Claims { clock: self.clock, minted: self.minted, complete: self.complete, .. } = claims;
    }

    /// Puts a key with live versions in its slot, as its key file says; the slot was empty.
    pub(super) fn restore(&mut self, key_hash: u64, place: Place, entry_hash: u64) {
        self.index.insert(key_hash, place);
        self.hash ^= entry_hash;
    }

    /// Puts a key with a leftover in its slot, once the clock is known. `before` is what
    /// [`PartitionTable::restore`] has put there, if anything.
    pub(super) fn restore_leftover(&mut self, key: &Key, place: Place, object: &Object, before: &Published) {
        self.fill_slot(key, place, object, before);
    }

    /// Looks again at the keys that wait for one of these dots: the clock may cover their leftover now
    /// (PROTOCOL R12f). A key without a live version vanishes with it. Only those are looked at: during a
    /// full listing every key has a leftover, and each record moves the clock.
    fn settle_leftovers(&mut self, dots: &DotSet) {
        if self.waiting.is_empty() {
            return;
        }
        for (actor, counters) in dots.iter() {
            for (first, last) in counters.ranges() {
                let range = Dot { actor, counter: first }..=Dot { actor, counter: last };
                let come: Vec<Dot> = self.waiting.range(range).map(|(dot, _)| *dot).collect();
                let keys: Vec<Key> = come.iter().filter_map(|dot| self.waiting.remove(dot)).flatten().collect();
                keys.into_iter().for_each(|key| self.settle_leftover(key));
            }
        }
    }

    fn settle_leftover(&mut self, key: Key) {
        let Some(leftover) = self.leftovers.get_mut(&key) else { return };
        leftover.dots = leftover.dots.difference(&self.clock);
        let missing = leftover.dots.dots().next();
        match missing {
            Some(missing) => {
                self.waiting.entry(missing).or_default().insert(key);
            }
            None => {
                if leftover.keeps == Keeps::Nothing {
                    self.index.remove(key.hash64(), leftover.place);
                }
                self.leftovers.remove(&key);
            }
        }
    }

    /// The key's record is replaced: what it waited for is of no interest any more.
    fn drop_leftover(&mut self, key: &Key) {
        let Some(missing) = self.leftovers.remove(key).and_then(|leftover| leftover.dots.dots().next()) else { return };
        if let Some(keys) = self.waiting.get_mut(&missing) {
            keys.remove(key);
            if keys.is_empty() {
                self.waiting.remove(&missing);
            }
        }
    }

    /// The key's record was copied. Nothing happens if the slot says another place by now.
    pub fn relocate(&mut self, key: &Key, from: Place, to: Place) {
        let hash = key.hash64();
        if !self.index.holds(hash, from) {
            return;
        }
        self.index.remove(hash, from);
        self.index.insert(hash, to);
        if let Some(leftover) = self.leftovers.get_mut(key).filter(|leftover| leftover.place.is(&from)) {
            leftover.place = to;
        }
    }

    /// Remembers which key these dots belong to, forgetting the oldest.
    pub fn remember(&mut self, key: &Key, dots: &DotSet) {
        dots.dots().for_each(|dot| self.recent.arrived(dot, key));
    }

    /// Remembers dots that are older than all that are remembered, while there is room.
    pub(super) fn recall(&mut self, key: &Key, dots: &DotSet) {
        dots.dots().for_each(|dot| self.recent.recall(dot, key));
    }

    /// Forgets all of them.
    pub(super) fn forget_all_recent(&mut self) {
        self.recent = RecentDots::default();
    }

    /// Forgets the oldest recent dots above `limit`.
    pub fn forget_recent(&mut self, limit: usize) {
        self.recent.forget(limit);
    }

    fn fill_slot(&mut self, key: &Key, place: Place, object: &Object, before: &Published) -> Published {
        let hash = key.hash64();
        if let Some(old) = before.place {
            self.index.remove(hash, old);
        }
        self.drop_leftover(key);
        let entry_hash = entry_hash(key, &object.versions);
        self.hash ^= before.entry_hash ^ entry_hash;
        let dots = object.leftover.difference(&self.clock);
        if object.versions.is_empty() && dots.is_empty() {
            return Published::default();
        }
        self.index.insert(hash, place);
        let missing = dots.dots().next();
        if let Some(missing) = missing {
            let keeps = if object.versions.is_empty() { Keeps::Nothing } else { Keeps::LiveVersions };
            self.leftovers.insert(key.clone(), Leftover { dots, place, keeps });
            self.waiting.entry(missing).or_default().insert(key.clone());
        }
        Published { place: Some(place), entry_hash }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::HybridTime;
    use crate::causal::{Actor, Content, Version};
    use crate::ring::PartitionId;

    fn dot(actor: u64, counter: u64) -> Dot {
        Dot { actor: Actor(actor), counter }
    }

    fn dots<const COUNT: usize>(counters: [u64; COUNT]) -> DotSet {
        counters.into_iter().map(|counter| dot(9, counter)).collect()
    }

    /// Plays records at places of their own, without slots held before.
    fn play(table: &mut PartitionTable, bodies: Vec<Body>) {
        for (body, offset) in bodies.into_iter().zip(1..) {
            let place = Place { segment: 1, offset: offset * 8, length: 8 };
            table.publish(&Record { partition: PartitionId(0), body }, place, &Published::default());
        }
    }

    fn object(key: &'static str, live: Option<Dot>, leftover: DotSet) -> Body {
        let content = Content {
            value: bytes::Bytes::new(),
            content_type: String::new(),
            metadata: Vec::new(),
            written_at: HybridTime::default(),
            expires_at: None,
        };
        let versions: Vec<Version> = live.into_iter().map(|dot| Version { dot, content: content.clone() }).collect();
        let dots = versions.iter().map(|version| version.dot).collect();
        Body::Object { key: Key::new(key).unwrap(), object: Object { versions, leftover }, dots, minted: None }
    }

    #[test]
    fn a_key_without_versions_vanishes_when_the_clock_covers_its_leftover() {
        let mut table = PartitionTable::default();
        play(&mut table, vec![object("gone", None, dots([2, 5])), object("kept", Some(dot(1, 1)), dots([5]))]);
        assert_eq!((table.leftovers.len(), table.index.len()), (2, 2));
        play(&mut table, vec![Body::Join { dots: dots([2, 3]) }]);
        assert_eq!((table.leftovers.len(), table.index.len()), (2, 2), "5 is still missing");
        play(&mut table, vec![Body::Void { dots: dots([4, 5]), minted: 0 }]);
        assert_eq!((table.leftovers.len(), table.index.len()), (0, 1));
        assert!(table.waiting.is_empty());
    }

    #[test]
    fn a_record_s_own_dots_settle_the_leftovers_of_other_keys() {
        let mut table = PartitionTable::default();
        play(&mut table, vec![object("a", None, dots([1])), object("b", Some(dot(9, 1)), DotSet::EMPTY)]);
        assert!(table.leftovers.is_empty() && table.waiting.is_empty());
        assert_eq!(table.index.len(), 1);
    }

    #[test]
    fn a_moved_record_is_found_at_its_new_place_and_an_old_one_nowhere() {
        let mut table = PartitionTable::default();
        play(&mut table, vec![object("k", None, dots([7])), object("other", Some(dot(1, 1)), DotSet::EMPTY)]);
        let key = Key::new("k").unwrap();
        let place = |segment, offset| Place { segment, offset, length: 8 };
        let found = |table: &PartitionTable| table.index.candidates(key.hash64()).collect::<Vec<_>>();
        table.relocate(&key, place(1, 96), place(2, 8));
        assert_eq!(found(&table), [place(1, 8)], "superseded meanwhile");
        table.relocate(&key, place(1, 8), place(2, 8));
        assert_eq!(found(&table), [place(2, 8)]);
        play(&mut table, vec![Body::Join { dots: dots([7]) }]);
        assert_eq!(found(&table), [], "the leftover is settled: the slot goes, wherever the record is");
    }

    #[test]
    fn a_replaced_leftover_waits_for_nothing() {
        let mut table = PartitionTable::default();
        play(&mut table, vec![object("k", None, dots([1])), object("k", Some(dot(1, 1)), dots([7]))]);
        assert_eq!(table.waiting.keys().copied().collect::<Vec<_>>(), [dot(9, 7)]);
        play(&mut table, vec![object("k", Some(dot(1, 2)), DotSet::EMPTY)]);
        assert!(table.leftovers.is_empty() && table.waiting.is_empty());
    }
}
