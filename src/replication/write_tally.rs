//! Is this write durable on enough distinct nodes?

use crate::base::{Mutation, NodeId, broken};
use crate::causal::Actor;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::Sloppiness;

/// Counts durable copies of one write by distinct node and disk, in each live version of the layout. Pure:
/// acknowledgements in, count out.
#[derive(Debug, Clone)]
pub struct WriteTally {
    /// Never empty.
    rows: Vec<TallyRow>,
    sloppiness: Sloppiness,
    /// Which disk of each node has it, and as what.
    copies: BTreeMap<NodeId, (Actor, Copy)>,
    /// For whom each holder of a hint was asked to stand in.
    stand_ins: BTreeMap<NodeId, BTreeSet<NodeId>>,
    /// The newest disk of each node that any acknowledger has helped to fill.
    refilled: BTreeMap<NodeId, Actor>,
    hint_acknowledgements: usize,
}

/// The owners of the key in one live version of the layout, and how many of them must have the write. A replica that
/// moves and its replacement are one slot: each version counts its own, so nothing more is needed than at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TallyRow {
    /// The version.
    pub version: u64,
    /// Durable copies it needs.
    pub required: usize,
    /// Its owners.
    pub replicas: Vec<NodeId>,
}

/// What an acknowledged copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// A primary's own.
    Primary,
    /// A hint held for a primary.
    Hint,
}

impl WriteTally {
    /// A tally that needs enough copies in each of these rows, of which there is one at least.
    pub fn new(rows: Vec<TallyRow>, sloppiness: Sloppiness) -> Self {
        let (copies, stand_ins, refilled) = Default::default();
        Self { rows, sloppiness, copies, stand_ins, refilled, hint_acknowledgements: 0 }
    }

    /// This fallback is asked to hold a hint for these.
    pub fn stands_in(&mut self, fallback: NodeId, targets: impl IntoIterator<Item = NodeId>) {
        self.stand_ins.entry(fallback).or_default().extend(targets);
    }

    /// Versions before this one have ended: nobody reads by them any more.
    pub fn forget_before(&mut self, oldest: u64) {
        if self.rows.iter().any(|row| row.version >= oldest) {
            self.rows.retain(|row| row.version >= oldest);
        }
    }

    /// A durable acknowledgement. `refilled` names nodes whose earlier disk is lost: acknowledgements
    /// given by that disk count no more (PROTOCOL R5).
    pub fn acknowledge(&mut self, node: NodeId, actor: Actor, copy: Copy, refilled: &[(NodeId, Actor)]) {
        if copy == Copy::Hint {
            self.hint_acknowledgements += 1;
        }
        let known = self.copies.get(&node).map(|(_, copy)| *copy);
        if known != Some(Copy::Primary) {
            self.copies.insert(node, (actor, copy));
        }
        for (node, actor) in refilled {
            self.refilled.insert(*node, *actor);
        }
    }

    /// What this node acknowledged under another actor is lost.
    pub fn renewed(&mut self, node: NodeId, actor: Actor) {
        self.refilled.insert(node, actor);
    }

    /// Durable copies on distinct nodes, in the version that lacks most.
    pub fn acks(&self) -> usize {
        self.neediest().map_or(0, |row| self.acks_of(row))
    }

    /// How many of them are hints.
    pub fn hinted(&self) -> usize {
        self.neediest().map_or(0, |row| self.counting(row).filter(|copy| *copy == Copy::Hint).count())
    }

    /// Of how many owners there.
    pub fn replicas(&self) -> usize {
        self.neediest().map_or(0, |row| row.replicas.len())
    }

    /// How many are needed there.
    pub fn required(&self) -> usize {
        self.neediest().map_or(0, |row| row.required)
    }

    /// Enough copies in every version.
    pub fn is_enough(&self) -> bool {
        let mut counted = self.rows.iter().filter(|row| !broken(Mutation::WriteNewestOnly) || self.is_newest(row));
        counted.all(|row| self.acks_of(row) >= row.required)
    }

    /// Has this node acknowledged?
    pub fn has(&self, node: NodeId) -> bool {
        self.copies.contains_key(&node)
    }

    /// The row that lacks most copies, the first of equals.
    fn neediest(&self) -> Option<&TallyRow> {
        self.rows.iter().max_by_key(|row| (row.required.saturating_sub(self.acks_of(row)), Reverse(row.version)))
    }

    fn is_newest(&self, row: &TallyRow) -> bool {
        self.rows.iter().all(|other| other.version <= row.version)
    }

    fn acks_of(&self, row: &TallyRow) -> usize {
        if broken(Mutation::CountHintHolderTwice) {
            let primaries = self.copies.values().filter(|(_, copy)| *copy == Copy::Primary).count();
            return primaries + self.hint_acknowledgements;
        }
        self.counting(row).count()
    }

    /// A hint counts where one of those it is for is an owner.
    fn counting<'a>(&'a self, row: &'a TallyRow) -> impl Iterator<Item = Copy> + 'a {
        self.copies.iter().filter_map(|(node, (actor, copy))| {
            let lost = self.refilled.get(node).is_some_and(|newer| newer != actor) && !broken(Mutation::AckOldDisk);
            let counts = match copy {
                Copy::Primary => row.replicas.contains(node),
                Copy::Hint => self.sloppiness == Sloppiness::Sloppy && self.stands_in_for_one_of(row, *node),
            };
            (counts && !lost).then_some(*copy)
        })
    }

    fn stands_in_for_one_of(&self, row: &TallyRow, holder: NodeId) -> bool {
        self.stand_ins.get(&holder).is_some_and(|targets| targets.iter().any(|target| row.replicas.contains(target)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);
    const D: NodeId = NodeId(4);

    /// One version, whose owners are A, C and D; B is asked for hints for C.
    fn tally(required: usize, sloppiness: Sloppiness) -> WriteTally {
        let mut tally = WriteTally::new(vec![TallyRow { version: 1, required, replicas: vec![A, C, D] }], sloppiness);
        tally.stands_in(B, [C]);
        tally
    }

    #[test]
    fn a_node_counts_once_however_many_hints_it_holds() {
        let mut tally = tally(3, Sloppiness::Sloppy);
        tally.acknowledge(A, Actor(1), Copy::Primary, &[]);
        tally.acknowledge(B, Actor(2), Copy::Hint, &[]);
        tally.acknowledge(B, Actor(2), Copy::Hint, &[]);
        tally.acknowledge(A, Actor(1), Copy::Hint, &[]);
        assert_eq!((tally.acks(), tally.hinted(), tally.is_enough()), (2, 1, false));
    }

    #[test]
    fn a_strict_write_counts_primaries_only() {
        let mut tally = tally(2, Sloppiness::Strict);
        tally.acknowledge(A, Actor(1), Copy::Primary, &[]);
        tally.acknowledge(B, Actor(2), Copy::Hint, &[]);
        assert!(!tally.is_enough());
    }

    /// Rule: invariant 9. A, B and C own the key until now, A, B and D from now on.
    #[test]
    fn a_write_needs_its_quorum_in_every_live_version() {
        let row = |version, replicas: [NodeId; 3]| TallyRow { version, required: 2, replicas: replicas.to_vec() };
        let mut tally = WriteTally::new(vec![row(1, [A, B, C]), row(2, [A, B, D])], Sloppiness::Sloppy);
        tally.acknowledge(A, Actor(1), Copy::Primary, &[]);
        tally.acknowledge(C, Actor(3), Copy::Primary, &[]);
        assert_eq!((tally.acks(), tally.is_enough()), (1, false), "enough of the old version alone");
        tally.stands_in(NodeId(5), [D]);
        tally.acknowledge(NodeId(5), Actor(5), Copy::Hint, &[]);
        assert_eq!((tally.acks(), tally.hinted(), tally.is_enough()), (2, 0, true));
        let mut other = WriteTally::new(vec![row(1, [A, B, C]), row(2, [A, B, D])], Sloppiness::Strict);
        other.acknowledge(D, Actor(4), Copy::Primary, &[]);
        other.acknowledge(B, Actor(2), Copy::Primary, &[]);
        assert!(!other.is_enough(), "enough of the new version alone");
        other.forget_before(2);
        assert!(other.is_enough(), "the old version has ended");
    }

    #[test]
    fn while_n_changes_copies_are_told_of_one_version() {
        let row = |version, required, replicas: &[NodeId]| TallyRow { version, required, replicas: replicas.to_vec() };
        let mut tally = WriteTally::new(vec![row(1, 2, &[A, B, C]), row(2, 3, &[A, B, C, D])], Sloppiness::Sloppy);
        for (node, actor) in [(A, 1), (B, 2)] {
            tally.acknowledge(node, Actor(actor), Copy::Primary, &[]);
        }
        assert_eq!((tally.acks(), tally.required(), tally.replicas()), (2, 3, 4));
        for (node, actor) in [(C, 3), (D, 4)] {
            tally.acknowledge(node, Actor(actor), Copy::Primary, &[]);
        }
        assert_eq!((tally.acks(), tally.required(), tally.replicas()), (3, 2, 3));
    }

    #[test]
    fn an_acknowledgement_of_a_lost_disk_counts_no_more() {
        let mut tally = tally(2, Sloppiness::Sloppy);
        tally.acknowledge(A, Actor(1), Copy::Primary, &[]);
        tally.acknowledge(D, Actor(2), Copy::Primary, &[(A, Actor(9))]);
        assert_eq!(tally.acks(), 1, "D has helped A's new disk to fill, so A's old one is gone");
        tally.acknowledge(NodeId(3), Actor(3), Copy::Primary, &[]);
        assert!(tally.is_enough());
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn counting_a_hint_holder_twice_is_caught() {
        crate::base::mutation::activate(Some(Mutation::CountHintHolderTwice));
        let mut tally = tally(3, Sloppiness::Sloppy);
        tally.acknowledge(B, Actor(2), Copy::Hint, &[]);
        tally.acknowledge(B, Actor(2), Copy::Hint, &[]);
        let acks = tally.acks();
        crate::base::mutation::activate(None);
        assert_ne!(acks, 1);
    }
}
