//! Is this write durable on enough distinct nodes?

use crate::base::{Mutation, NodeId, broken};
use crate::causal::Actor;
use std::collections::BTreeMap;

use super::Sloppiness;

/// Counts durable copies of one write by distinct node and disk. Pure: acknowledgements in, count out.
#[derive(Debug, Clone)]
pub struct WriteTally {
    required: usize,
    sloppiness: Sloppiness,
    /// Which disk of each node has it, and as what.
    copies: BTreeMap<NodeId, (Actor, Copy)>,
    /// The newest disk of each node that any acknowledger has helped to fill.
    refilled: BTreeMap<NodeId, Actor>,
    hint_acknowledgements: usize,
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
    /// A tally that needs `required` copies.
    pub fn new(required: usize, sloppiness: Sloppiness) -> Self {
        let (copies, refilled) = Default::default();
        Self { required, sloppiness, copies, refilled, hint_acknowledgements: 0 }
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

    /// Durable copies on distinct nodes.
    pub fn acks(&self) -> usize {
        if broken(Mutation::CountHintHolderTwice) {
            let primaries = self.copies.values().filter(|(_, copy)| *copy == Copy::Primary).count();
            return primaries + self.hint_acknowledgements;
        }
        self.counting().count()
    }

    /// How many of them are hints.
    pub fn hinted(&self) -> usize {
        self.counting().filter(|copy| *copy == Copy::Hint).count()
    }

    /// How many are needed.
    pub fn required(&self) -> usize {
        self.required
    }

    /// Enough copies.
    pub fn is_enough(&self) -> bool {
        self.acks() >= self.required
    }

    /// Has this node acknowledged?
    pub fn has(&self, node: NodeId) -> bool {
        self.copies.contains_key(&node)
    }

    fn counting(&self) -> impl Iterator<Item = Copy> + '_ {
        self.copies.iter().filter_map(|(node, (actor, copy))| {
            let lost = self.refilled.get(node).is_some_and(|newer| newer != actor) && !broken(Mutation::AckOldDisk);
            let counts = *copy == Copy::Primary || self.sloppiness == Sloppiness::Sloppy;
            (counts && !lost).then_some(*copy)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    #[test]
    fn a_node_counts_once_however_many_hints_it_holds() {
        let mut tally = WriteTally::new(3, Sloppiness::Sloppy);
        tally.acknowledge(A, Actor(1), Copy::Primary, &[]);
        tally.acknowledge(B, Actor(2), Copy::Hint, &[]);
        tally.acknowledge(B, Actor(2), Copy::Hint, &[]);
        tally.acknowledge(A, Actor(1), Copy::Hint, &[]);
        assert_eq!((tally.acks(), tally.hinted(), tally.is_enough()), (2, 1, false));
    }

    #[test]
    fn a_strict_write_counts_primaries_only() {
        let mut tally = WriteTally::new(2, Sloppiness::Strict);
        tally.acknowledge(A, Actor(1), Copy::Primary, &[]);
        tally.acknowledge(B, Actor(2), Copy::Hint, &[]);
        assert!(!tally.is_enough());
    }

    #[test]
    fn an_acknowledgement_of_a_lost_disk_counts_no_more() {
        let mut tally = WriteTally::new(2, Sloppiness::Sloppy);
        tally.acknowledge(A, Actor(1), Copy::Primary, &[]);
        tally.acknowledge(B, Actor(2), Copy::Primary, &[(A, Actor(9))]);
        assert_eq!(tally.acks(), 1, "B has helped A's new disk to fill, so A's old one is gone");
        tally.acknowledge(NodeId(3), Actor(3), Copy::Primary, &[]);
        assert!(tally.is_enough());
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn counting_a_hint_holder_twice_is_caught() {
        crate::base::mutation::activate(Some(Mutation::CountHintHolderTwice));
        let mut tally = WriteTally::new(3, Sloppiness::Sloppy);
        tally.acknowledge(B, Actor(2), Copy::Hint, &[]);
        tally.acknowledge(B, Actor(2), Copy::Hint, &[]);
        let acks = tally.acks();
        crate::base::mutation::activate(None);
        assert_ne!(acks, 1);
    }
}
