//! Playing the log into tables and hints.

use super::{Body, HintBody, PartitionTable, Place, Published, Record, RecoveredHint, Sequence};
use crate::base::{Key, Mutation, broken};
use crate::causal::{Actor, DotSet, Object};
use crate::ring::PartitionId;
use std::collections::BTreeMap;

/// The state that the records played so far amount to.
pub(super) struct Replay {
    actor: Actor,
    tables: BTreeMap<PartitionId, PartitionTable>,
    hints: BTreeMap<Sequence, RecoveredHint>,
    slots: BTreeMap<(PartitionId, Key), Slot>,
    /// What a partition's table is before its first record.
    blank: PartitionTable,
}

/// What a key's newest record holds.
#[derive(Default)]
struct Slot {
    published: Published,
    live: DotSet,
}

impl Replay {
    /// `blank` is a partition's table before its first record; counters count for `actor` alone.
    pub(super) fn new(actor: Actor, blank: PartitionTable) -> Self {
        Replay { actor, tables: BTreeMap::new(), hints: BTreeMap::new(), slots: BTreeMap::new(), blank }
    }

    /// Plays one record; they must come in ascending order of their sequences.
    pub(super) fn play(&mut self, sequence: Sequence, mut record: Record, place: Place) {
        self.count_own_only(&mut record.body);
        let table = self.tables.entry(record.partition).or_insert_with(|| self.blank.clone());
        match &record.body {
            Body::Object { key, object, .. } => {
                let slot = self.slots.entry((record.partition, key.clone())).or_default();
                slot.published = table.publish(&record, place, &slot.published);
                slot.live = live(object);
            }
            _ => {
                table.publish(&record, place, &Published::default());
            }
        }
        match record.body {
            Body::Hint(hint) => self.hold(record.partition, sequence, hint, place),
            Body::HintDone { hint, target } => self.hand_over(hint, target),
            _ => {}
        }
    }

    /// Every partition's clock as PROTOCOL R8 allows it: the dots of live versions that are there.
    pub(super) fn reduced_clocks(&self) -> BTreeMap<PartitionId, DotSet> {
        if broken(Mutation::DamageKeepClock) || broken(Mutation::DamageSubtractLive) {
            return self.tables.iter().map(|(partition, table)| (*partition, table.clock.clone())).collect();
        }
        let mut clocks: BTreeMap<PartitionId, DotSet> =
            self.tables.keys().map(|partition| (*partition, DotSet::EMPTY)).collect();
        for ((partition, _), slot) in &self.slots {
            clocks.entry(*partition).or_default().union(&slot.live);
        }
        clocks
    }

    /// The tables and the hints that are still open.
    pub(super) fn finish(self) -> (BTreeMap<PartitionId, PartitionTable>, BTreeMap<Sequence, RecoveredHint>) {
        let (mut tables, hints) = (self.tables, self.hints);
        if broken(Mutation::CounterFromHints) {
            for (partition, table) in &mut tables {
                let held = hints.values().filter(|hint| hint.partition == *partition);
                table.minted =
                    held.filter_map(|hint| hint.dots.of(self.actor)).map(|own| own.highest()).max().unwrap_or(0);
            }
        }
        (tables, hints)
    }

    /// A counter belongs to the actor that minted it (PROTOCOL R9).
    fn count_own_only(&self, body: &mut Body) {
        let own = |dots: &DotSet| dots.of(self.actor).is_some() && !broken(Mutation::CounterReuse);
        match body {
            Body::Object { dots, minted, .. } if !own(dots) => *minted = None,
            Body::Hint(HintBody { dots, minted, .. }) if !own(dots) => *minted = None,
            Body::Void { dots, minted } if !own(dots) => *minted = 0,
            _ => {}
        }
    }

    fn hold(&mut self, partition: PartitionId, sequence: Sequence, hint: HintBody, place: Place) {
        let outline = hint.state.outline();
        let HintBody { targets, key, dots, .. } = hint;
        if !targets.is_empty() {
            self.hints.insert(sequence, RecoveredHint { partition, targets, key, dots, outline, place });
        }
    }

    fn hand_over(&mut self, hint: Sequence, target: crate::base::NodeId) {
        if let Some(held) = self.hints.get_mut(&hint) {
            held.targets.retain(|open| *open != target);
            if held.targets.is_empty() {
                self.hints.remove(&hint);
            }
        }
    }
}

fn live(object: &Object) -> DotSet {
    object.versions.iter().map(|version| version.dot).collect()
}
