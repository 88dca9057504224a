//! Records that are lost while the node runs (PROTOCOL R8).
//!
//! ```text
//! Damaged -> nothing is minted, the partitions do not count   Renew -->
//! Renewed -> a new actor; clocks made void, counters at 0      (Reset) -->
//! Lost    -> once a clock is void: its lost keys go            (empty objects) -->
//! ```
//!
//! The partition fills from the other replicas like any other; docs/damage.md has the whole story. Each prefix of
//! these records is safe: until the last is durable the store's marker `doubted` tells the next opening to verify.

use super::appends::After;
use super::shard::{Minting, Shard, Turn};
use crate::base::Key;
use crate::causal::{Actor, DotSet, Object};
use crate::ring::PartitionId;
use crate::store::{Body, Holder, LostRecord, Place, Published, Sequence};
use std::collections::BTreeSet;

impl Shard {
    pub(super) fn found_damaged(&mut self, partitions: &BTreeSet<PartitionId>) {
        self.minting = Minting::Stopped;
        partitions.iter().for_each(|partition| self.replica(*partition).found_damaged());
    }

    /// Whatever keys on (node, actor) sees a new one. Sessions in which this node receives end here, those in which
    /// it is the source end when its answers name the new actor (PROTOCOL R2).
    pub(super) fn renewed(&mut self, turn: &mut Turn<'_>, actor: Actor) {
        self.me.actor = actor;
        self.minting = Minting::Allowed;
        self.abort_all_sessions(turn);
        self.replicas.values_mut().for_each(|replica| replica.renew());
        self.void_damaged(turn);
    }

    /// Voids the clocks of damaged partitions, once nothing is minted any more under the actor of before. What is
    /// acknowledged under the new actor is behind these records in the log.
    pub(super) fn void_damaged(&mut self, turn: &mut Turn<'_>) {
        if self.minting == Minting::Stopped {
            return;
        }
        let partitions: Vec<PartitionId> = self.replicas.keys().copied().collect();
        for partition in partitions {
            let Some(reset) = self.replica(partition).take_reset() else { continue };
            self.forget_pulled(partition);
            self.forget_leaving(partition);
            self.void_writes(turn, partition);
            self.append(turn, partition, reset, Published::default(), After::Nothing);
        }
    }

    /// Takes lost records out of the tables: an empty record of each key, so that no older one can be taken for the
    /// newest at an opening.
    pub(super) fn bury(&mut self, turn: &mut Turn<'_>, lost: &[LostRecord]) {
        for LostRecord { partition, holder, place, entry_hash } in lost {
            if self.minting == Minting::Stopped || !self.is_current(*partition, holder, *place) {
                continue;
            }
            match holder {
                Holder::Key(key) => self.bury_key(turn, *partition, key, (*place, *entry_hash)),
                Holder::Hint(sequence) => self.bury_hint(turn, *partition, *sequence),
            }
        }
    }

    fn bury_key(&mut self, turn: &mut Turn<'_>, partition: PartitionId, key: &Key, (place, entry_hash): (Place, u64)) {
        let replica = self.replica(partition);
        // A record on its way replaces the lost one without this, or fails, and is then told again.
        if replica.is_damaged() || replica.pending_object(key).is_some() {
            return;
        }
        let body = Body::Object { key: key.clone(), object: Object::default(), dots: DotSet::EMPTY, minted: None };
        self.append(turn, partition, body, Published { place: Some(place), entry_hash }, After::Nothing);
    }

    /// A hint that cannot be read is a copy lost: nothing is left to hand over.
    fn bury_hint(&mut self, turn: &mut Turn<'_>, partition: PartitionId, hint: Sequence) {
        for target in self.hints.targets_of(hint) {
            self.append(turn, partition, Body::HintDone { hint, target }, Published::default(), After::Nothing);
        }
    }
}
