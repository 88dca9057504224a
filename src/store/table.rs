//! One partition's durable state, as a reader may see it.

use super::{Body, Index, Place, Record};
use crate::base::Key;
use crate::causal::{Dot, DotSet, Object, entry_hash};
use std::collections::BTreeMap;

/// Most recent dots remembered per partition. Beyond it the oldest are forgotten, and an exchange that
/// misses them falls back to a full listing: 1,024 keys of 100 bytes are 0.1 MiB per busy partition.
const MAX_RECENT_DOTS: usize = 1024;

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
    /// Which key a recent dot belongs to: how an exchange finds what a peer lacks.
    pub recent: BTreeMap<Dot, Key>,
    /// The dots of `recent` in order of arrival, oldest first, with their age.
    arrivals: BTreeMap<u64, Dot>,
    next_arrival: u64,
}

/// What one key has seen beyond the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The dots, the clock's own taken off.
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
        let mut now = Published::default();
        match &record.body {
            Body::Object { key, object, dots, minted } => {
                self.clock.union(dots);
                self.count(*minted);
                self.remember(key, dots);
                now = self.fill_slot(key, place, object, before);
            }
            Body::Join { dots } => self.clock.union(dots),
            Body::Void { dots, minted } => {
                self.clock.union(dots);
                self.count(Some(*minted));
            }
            Body::Hint(hint) => self.count(hint.minted),
            Body::HintDone { .. } => {}
            Body::Complete => self.complete = true,
            Body::Reset { clock } => {
                self.clock = clock.clone();
                self.complete = false;
            }
        }
        self.settle_leftovers();
        now
    }

    /// Looks again at the keys with a leftover: the clock may cover it now (PROTOCOL R12f). A key
    /// without a live version vanishes with it.
    fn settle_leftovers(&mut self) {
        let (clock, index) = (&self.clock, &mut self.index);
        self.leftovers.retain(|key, leftover| {
            leftover.dots = leftover.dots.difference(clock);
            let settled = leftover.dots.is_empty();
            if settled && leftover.keeps == Keeps::Nothing {
                index.remove(key.hash64(), leftover.place);
            }
            !settled
        });
    }

    /// Remembers which key these dots belong to, forgetting the oldest above [`MAX_RECENT_DOTS`].
    pub fn remember(&mut self, key: &Key, dots: &DotSet) {
        for dot in dots.dots() {
            if self.recent.insert(dot, key.clone()).is_none() {
                self.arrivals.insert(self.next_arrival, dot);
                self.next_arrival += 1;
            }
        }
        while self.arrivals.len() > MAX_RECENT_DOTS {
            if let Some((_, dot)) = self.arrivals.pop_first() {
                self.recent.remove(&dot);
            }
        }
    }

    fn count(&mut self, minted: Option<u64>) {
        self.minted = self.minted.max(minted.unwrap_or(0));
    }

    fn fill_slot(&mut self, key: &Key, place: Place, object: &Object, before: &Published) -> Published {
        let hash = key.hash64();
        if let Some(old) = before.place {
            self.index.remove(hash, old);
        }
        self.leftovers.remove(key);
        let entry_hash = entry_hash(key, &object.versions);
        self.hash ^= before.entry_hash ^ entry_hash;
        let dots = object.leftover.difference(&self.clock);
        if object.versions.is_empty() && dots.is_empty() {
            return Published::default();
        }
        self.index.insert(hash, place);
        if !dots.is_empty() {
            let keeps = if object.versions.is_empty() { Keeps::Nothing } else { Keeps::LiveVersions };
            self.leftovers.insert(key.clone(), Leftover { dots, place, keeps });
        }
        Published { place: Some(place), entry_hash }
    }
}
