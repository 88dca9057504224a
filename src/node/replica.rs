//! One partition at one node: what is durable, and what the next write builds on.

use super::counting::{Counts, Mark};
use crate::base::{Key, Mutation, broken};
use crate::causal::{Actor, Dot, DotSet, Filled, Intervals, Object};
use crate::store::{Body, PartitionTable, Place, Published, Record};
use std::collections::BTreeMap;

/// A partition has two states joined by the log (PROTOCOL R1). The *durable* one is the table: every
/// read, answer, listing and clock that leaves the node is taken whole from it. The *pending* one has,
/// besides, the records appended and not yet durable; only the update step reads it.
#[derive(Debug, Default)]
pub(super) struct Replica {
    pub(super) table: PartitionTable,
    pending_clock: DotSet,
    /// Highest counter handed out, durable or not.
    minted: u64,
    /// Own dots burnt by a failed append that no record has voided yet (PROTOCOL R3).
    burnt: DotSet,
    keys: BTreeMap<Key, PendingKey>,
    /// Records appended and not yet answered.
    appended: usize,
    damage: Damage,
    keeps: Keeps,
    voids: u32,
    mark: Mark,
}

/// What is known of lost records, and how far the clock is from saying so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Damage {
    /// Nothing is lost that the clock claims.
    #[default]
    None,
    /// Something is. Nothing more is acknowledged here before the clock is void.
    Known,
    /// The record that voids the clock is on its way.
    Voiding,
}

/// What will be left of the keys in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Keeps {
    /// What is there.
    #[default]
    Keys,
    /// Nothing: the record that drops them is on its way, and whatever is appended now is behind it.
    Nothing,
}

/// A key with records on their way to the disk.
#[derive(Debug)]
struct PendingKey {
    object: Object,
    slot: Published,
    appended: usize,
}

/// What the update step knows of a key before it has looked on the disk.
#[derive(Debug)]
pub(super) enum Loaded {
    /// The pending object, stripped against the pending clock.
    Known(Object),
    /// It must be read: the durable record is the pending state.
    OnDisk(Vec<Place>),
}

impl Replica {
    /// `mark` tells others whether it counts.
    pub(super) fn new(table: PartitionTable, mark: Mark) -> Self {
        let (pending_clock, minted) = (table.clock.clone(), table.minted);
        let replica = Self { table, pending_clock, minted, mark, ..Self::default() };
        replica.show();
        replica
    }

    /// To be called after whatever may have changed whether it counts.
    fn show(&self) {
        self.mark.is(if self.counts() { Counts::Towards } else { Counts::Not });
    }

    /// What an update of `key` builds on.
    pub(super) fn pending(&self, key: &Key) -> Loaded {
        if let Some(pending) = self.keys.get(key) {
            return Loaded::Known(pending.object.clone());
        }
        if self.is_dropping() {
            return Loaded::Known(Object::default());
        }
        let candidates: Vec<Place> = self.table.index.candidates(key.hash64()).collect();
        if candidates.is_empty() { Loaded::Known(Object::default()) } else { Loaded::OnDisk(candidates) }
    }

    /// The key's pending object, if records of it are on their way.
    pub(super) fn pending_object(&self, key: &Key) -> Option<Object> {
        self.keys.get(key).map(|pending| pending.object.clone())
    }

    /// Fills an object of the pending state.
    pub(super) fn fill_pending(&self, object: Object) -> Filled {
        object.fill(&self.pending_clock)
    }

    /// Fills an object read from the durable state at this very instant.
    pub(super) fn fill_durable(&self, object: Object) -> Filled {
        let pending = broken(Mutation::ReadPendingClock) || broken(Mutation::ClockNewerThanObject);
        object.fill(if pending { &self.pending_clock } else { &self.table.clock })
    }

    /// The clock that exchanges show and join.
    pub(super) fn shown_clock(&self) -> &DotSet {
        if broken(Mutation::ExchangePendingClock) { &self.pending_clock } else { &self.table.clock }
    }

    pub(super) fn pending_clock(&self) -> &DotSet {
        &self.pending_clock
    }

    /// Keys with records on their way whose hash is in `from..=to`.
    pub(super) fn pending_keys(&self, from: u64, to: u64) -> impl Iterator<Item = &Key> {
        self.keys.keys().filter(move |key| (from..=to).contains(&key.hash64()))
    }

    /// Has it no object, durable or on its way?
    pub(super) fn is_bare(&self) -> bool {
        self.table.index.is_empty() && self.keys.is_empty()
    }

    /// May count towards R and coordinate (PROTOCOL R6).
    pub(super) fn counts(&self) -> bool {
        self.is_whole() || broken(Mutation::WipedCountsAtOnce) || broken(Mutation::ReadUnsynced)
    }

    /// Complete, and no record is known to be lost.
    pub(super) fn is_whole(&self) -> bool {
        self.table.complete && self.damage == Damage::None
    }

    /// Records are lost, and the clock still claims them.
    pub(super) fn is_damaged(&self) -> bool {
        self.damage != Damage::None
    }

    /// How often the clock has become void in this process. What was shown before says nothing of what is read after:
    /// an object that is here no more was given up, not superseded.
    pub(super) fn voids(&self) -> u32 {
        self.voids
    }

    /// Is what becomes durable here from now on behind the record that voids the clock, if there has to be one?
    pub(super) fn takes_writes(&self) -> bool {
        self.damage != Damage::Known
    }

    /// Records of this partition are lost.
    pub(super) fn found_damaged(&mut self) {
        self.damage = Damage::Known;
        self.show();
    }

    /// The store goes on under a new actor, which has minted nothing. Dots that the old one has burnt stay gaps.
    pub(super) fn renew(&mut self) {
        self.table.minted = 0;
        self.minted = 0;
        self.burnt = DotSet::EMPTY;
    }

    /// The record that voids the clock, if it has to be appended (PROTOCOL R8). It claims nothing: the dots of
    /// live versions come back with the first record of their keys (docs/decisions/0025).
    pub(super) fn take_reset(&mut self) -> Option<Body> {
        if self.damage != Damage::Known {
            return None;
        }
        if broken(Mutation::RepairKeepsClock) {
            self.damage = Damage::None;
            self.show();
            return None;
        }
        Some(Body::Reset { clock: DotSet::EMPTY })
    }

    /// Do the keys in the table count for nothing that is appended now?
    pub(super) fn is_dropping(&self) -> bool {
        self.keeps == Keeps::Nothing
    }

    /// May all keys go? Not before their clock is void, durably, nor while anything of them is on its way.
    pub(super) fn may_drop(&self) -> bool {
        self.is_settled() && !self.is_damaged() && self.table.clock.is_empty()
    }

    /// No record is on its way: pending and durable are the same.
    pub(super) fn is_settled(&self) -> bool {
        self.appended == 0
    }

    /// The next dot of `actor`. A crash before it is durable hands it out again, which is right: until
    /// then it has never left the node.
    pub(super) fn mint(&mut self, actor: Actor) -> Dot {
        self.minted += 1;
        Dot { actor, counter: self.minted }
    }

    /// The highest counter handed out.
    pub(super) fn minted(&self) -> u64 {
        self.minted
    }

    /// A record that closes the burnt dots, to be appended before anything else is minted.
    pub(super) fn take_void(&mut self) -> Option<Body> {
        if self.burnt.is_empty() {
            return None;
        }
        Some(Body::Void { dots: std::mem::take(&mut self.burnt), minted: self.minted })
    }

    /// The new state of `key`, stripped, as the record to append.
    pub(super) fn object_body(&self, key: &Key, state: Filled, dots: DotSet, minted: Option<u64>) -> Body {
        let mut clock = self.pending_clock.clone();
        let dots = if broken(Mutation::NoClockOnDelete) && state.versions.is_empty() { DotSet::EMPTY } else { dots };
        clock.union(&dots);
        Body::Object { key: key.clone(), object: state.strip(&clock), dots, minted }
    }

    /// Plays a record into the pending state. `slot` is what the durable state holds for its key.
    pub(super) fn append(&mut self, body: &Body, slot: Published) {
        self.appended += 1;
        let slot = if self.is_dropping() { Published::default() } else { slot };
        match body {
            Body::Object { key, object, dots, .. } => {
                self.pending_clock.union(dots);
                let pending =
                    self.keys.entry(key.clone()).or_insert(PendingKey { object: Object::default(), slot, appended: 0 });
                pending.object = object.clone();
                pending.appended += 1;
            }
            Body::Join { dots } | Body::Void { dots, .. } => self.pending_clock.union(dots),
            Body::Reset { clock } => {
                self.pending_clock.clone_from(clock);
                self.damage = Damage::Voiding;
                self.show();
            }
            Body::Drop => {
                self.pending_clock = DotSet::EMPTY;
                self.keeps = Keeps::Nothing;
            }
            Body::Hint(_) | Body::HintDone { .. } | Body::Complete => {}
        }
    }

    /// The oldest appended record is durable: it becomes visible to readers.
    pub(super) fn publish(&mut self, record: &Record, place: Place) {
        self.appended = self.appended.saturating_sub(1);
        match record.body {
            Body::Reset { .. } => {
                self.voids += 1;
                if self.damage == Damage::Voiding {
                    self.damage = Damage::None;
                }
            }
            Body::Drop => {
                self.voids += 1;
                self.keeps = Keeps::Keys;
            }
            _ => {}
        }
        let Some(key) = record.body.slot_key() else {
            self.table.publish(record, place, &Published::default());
            return self.show();
        };
        let before = self.keys.get(key).map(|pending| pending.slot.clone()).unwrap_or_default();
        let now = self.table.publish(record, place, &before);
        if let Some(pending) = self.keys.get_mut(key) {
            pending.slot = now;
            pending.appended -= 1;
            if pending.appended == 0 {
                self.keys.remove(key);
            }
        }
    }

    /// Compaction has copied a key's durable record.
    pub(super) fn relocate(&mut self, key: &Key, from: Place, to: Place) {
        self.table.relocate(key, from, to);
        let slot = self.keys.get_mut(key).map(|pending| &mut pending.slot);
        if let Some(place) = slot.and_then(|slot| slot.place.as_mut()).filter(|place| place.is(&from)) {
            *place = to;
        }
    }

    /// An append failed: everything behind it is void, and pending becomes durable again. Dots minted
    /// and lost are burnt, never handed out again (PROTOCOL R3).
    pub(super) fn void(&mut self, actor: Actor) {
        self.appended = 0;
        if self.damage == Damage::Voiding {
            self.damage = Damage::Known;
        }
        self.keeps = Keeps::Keys;
        self.keys.clear();
        self.pending_clock = self.table.clock.clone();
        let mut lost = Intervals::default();
        lost.insert_range(self.table.minted + 1, self.minted);
        self.burnt = DotSet::default();
        self.burnt.insert_all(actor, &lost);
    }
}
