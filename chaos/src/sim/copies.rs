//! Which nodes have a durable record of which write: what an acknowledgement claims, seen from below.

use dunlin::causal::{Dot, DotSet};
use dunlin::ring::PartitionId;
use dunlin::store::{Body, Record};
use std::collections::{BTreeMap, BTreeSet};

/// Nodes by dot, as their logs answered. A lost disk is not taken off: the acknowledgement it gave counts
/// against the disks that may be lost.
#[derive(Debug, Default)]
pub(super) struct Copies(BTreeMap<(PartitionId, Dot), BTreeSet<usize>>);

impl Copies {
    /// A record has become durable at a node.
    pub(super) fn durable(&mut self, node: usize, record: &Record) {
        let (dots, versions) = match &record.body {
            Body::Object { object, dots, .. } => (dots, object.versions.as_slice()),
            Body::Hint(hint) => (&hint.dots, hint.state.versions.as_slice()),
            Body::Join { dots } => (dots, &[][..]),
            _ => return,
        };
        for dot in dots.dots().chain(versions.iter().map(|version| version.dot)) {
            self.0.entry((record.partition, dot)).or_default().insert(node);
        }
    }

    /// A node has opened its log and found these dots in it, durable from now on.
    pub(super) fn recovered(&mut self, node: usize, partition: PartitionId, dots: &DotSet) {
        for dot in dots.dots() {
            self.0.entry((partition, dot)).or_default().insert(node);
        }
    }

    /// On how many nodes the one live dot of an acknowledged put is durable; none if it left no value.
    pub(super) fn of(&self, partition: PartitionId, live: &DotSet) -> Option<usize> {
        let dot = live.dots().next()?;
        Some(self.0.get(&(partition, dot)).map_or(0, BTreeSet::len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin::causal::Actor;

    #[test]
    fn a_node_counts_once() {
        let dot = Dot { actor: Actor(1), counter: 1 };
        let record = Record { partition: PartitionId(0), body: Body::Join { dots: dot.into() } };
        let mut copies = Copies::default();
        copies.durable(0, &record);
        copies.durable(0, &record);
        assert_eq!(copies.of(PartitionId(0), &dot.into()), Some(1));
        copies.durable(2, &record);
        assert_eq!(copies.of(PartitionId(0), &dot.into()), Some(2));
        assert_eq!(copies.of(PartitionId(1), &dot.into()), Some(0));
        assert_eq!(copies.of(PartitionId(0), &DotSet::EMPTY), None);
    }
}
