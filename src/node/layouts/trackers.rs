//! How far every node has come with the versions.

use crate::base::NodeId;
use crate::replication::LayoutTracker;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use xxhash_rust::xxh3::Xxh3;

/// Nothing is older than the first version: everyone has acknowledged it, and is complete in it, from the start.
const FIRST: LayoutTracker = LayoutTracker { acknowledged: 1, synced: 1, sync_acknowledged: 1 };

/// A tracker for each node. Nodes without one stand at the first version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Trackers(BTreeMap<NodeId, LayoutTracker>);

/// One of the three numbers of a tracker.
pub(super) type Part = fn(&LayoutTracker) -> u64;

/// Did a merge teach anything?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Learnt {
    Nothing,
    Something,
}

impl Trackers {
    pub(super) fn of(&self, node: NodeId) -> LayoutTracker {
        self.0.get(&node).copied().unwrap_or(FIRST)
    }

    /// Takes the greater of each part.
    pub(super) fn raise(&mut self, node: NodeId, to: LayoutTracker) -> Learnt {
        let old = self.of(node);
        let new = LayoutTracker {
            acknowledged: old.acknowledged.max(to.acknowledged),
            synced: old.synced.max(to.synced),
            sync_acknowledged: old.sync_acknowledged.max(to.sync_acknowledged),
        };
        if new == old {
            return Learnt::Nothing;
        }
        self.0.insert(node, new);
        Learnt::Something
    }

    /// Is any part of the node's tracker less than this?
    pub(super) fn is_behind(&self, node: NodeId, than: LayoutTracker) -> bool {
        let own = self.of(node);
        own.acknowledged < than.acknowledged
            || own.synced < than.synced
            || own.sync_acknowledged < than.sync_acknowledged
    }

    /// The least that any of these nodes has come to.
    pub(super) fn least(&self, nodes: &BTreeSet<NodeId>, part: Part) -> u64 {
        nodes.iter().map(|node| part(&self.of(*node))).min().unwrap_or(0)
    }

    /// Forgets all other nodes.
    pub(super) fn keep(&mut self, nodes: impl Fn(NodeId) -> bool) {
        self.0.retain(|node, _| nodes(*node));
    }

    /// Those of these nodes, as they are sent.
    pub(super) fn of_all(&self, nodes: &BTreeSet<NodeId>) -> BTreeMap<NodeId, LayoutTracker> {
        nodes.iter().map(|node| (*node, self.of(*node))).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The same for equal trackers, on every machine.
pub(super) fn hash(trackers: &BTreeMap<NodeId, LayoutTracker>) -> u64 {
    let mut hash = Xxh3::new();
    for (node, tracker) in trackers {
        for number in [node.0, tracker.acknowledged, tracker.synced, tracker.sync_acknowledged] {
            hash.update(&number.to_le_bytes());
        }
    }
    hash.digest()
}
