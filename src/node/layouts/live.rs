//! The live versions as the shards see them.

use crate::base::NodeId;
use crate::ring::{Layout, PartitionId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Most versions live at once: a change is refused while so many are. An ordinary change has two; one more is kept for a
/// change that declares a node dead, so that one whose new node has died for good can be mended.
pub const MAX_LIVE_LAYOUTS: usize = 3;

/// What shards route by: immutable, replaced as a whole. All of it is durable before it is published.
///
/// Writes go to a quorum in each of `versions`, reads to one of `reading`. There is always at least one version, and
/// `reading` is one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveLayouts {
    /// Grows with every change of anything below; 1 at the start of the process.
    pub revision: u64,
    /// The live versions, ascending and without a gap.
    pub versions: Vec<Arc<Layout>>,
    /// Versions that have ended, and whose partitions may not have been given up yet. Empty once they have.
    pub ending: Vec<Arc<Layout>>,
    /// The number of the version to read by.
    pub reading: u64,
    /// Every node that counts has acknowledged this version. It may lie outside of `versions`.
    pub settled: u64,
    /// This node has acknowledged this version: what it owns by later ones alone it must first give up, for whatever is
    /// here of it is from another time. It may lie outside of `versions`, and is no reason to publish.
    pub acknowledged: u64,
    /// Whether replicas fill.
    pub transfers: Transfers,
}

/// What becomes of the transfers of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transfers {
    /// They go on.
    #[default]
    Running,
    /// An operator has stopped them, until they are told to go on. Requests are served as before.
    Paused,
}

impl LiveLayouts {
    /// One version alone, settled: a cluster at rest.
    pub fn only(layout: Arc<Layout>) -> Self {
        let version = layout.version;
        let (versions, ending) = (vec![layout], Vec::new());
        let transfers = Transfers::Running;
        Self { revision: 1, versions, ending, reading: version, settled: version, acknowledged: version, transfers }
    }

    /// The version in force: whose nodes decide the next one.
    pub fn newest(&self) -> &Arc<Layout> {
        self.versions.last().expect("there is always a live version")
    }

    /// The oldest live version: requests of an older one are refused.
    pub fn oldest(&self) -> &Arc<Layout> {
        self.versions.first().expect("there is always a live version")
    }

    /// The version to read by.
    pub fn reading(&self) -> &Arc<Layout> {
        self.version(self.reading).unwrap_or_else(|| self.oldest())
    }

    /// The live version of this number.
    pub fn version(&self, number: u64) -> Option<&Arc<Layout>> {
        self.versions.iter().find(|layout| layout.version == number)
    }

    /// Has every node that counts acknowledged the newest version? Exchanges begun from then on make a partition
    /// complete in it.
    pub fn is_settled(&self) -> bool {
        self.settled >= self.newest().version
    }

    /// Does the node own the partition in any live version?
    pub fn is_replica(&self, partition: PartitionId, node: NodeId) -> bool {
        self.versions.iter().any(|layout| layout.is_primary(partition, node))
    }

    /// The owners of a partition in any live version: those of the version to read by first, each once.
    pub fn replicas(&self, partition: PartitionId) -> Vec<NodeId> {
        let mut replicas = self.reading().primaries(partition).to_vec();
        for node in self.versions.iter().flat_map(|layout| layout.primaries(partition)) {
            if !replicas.contains(node) {
                replicas.push(*node);
            }
        }
        replicas
    }

    /// The oldest live version in which the node owns the partition.
    pub fn owned_since(&self, partition: PartitionId, node: NodeId) -> Option<u64> {
        self.versions.iter().find(|layout| layout.is_primary(partition, node)).map(|layout| layout.version)
    }

    /// Did the node own the partition in a version that has ended, and owns it in no live one?
    pub fn gives_up(&self, partition: PartitionId, node: NodeId) -> bool {
        self.ending.iter().any(|layout| layout.is_primary(partition, node)) && !self.is_replica(partition, node)
    }

    /// Is the node declared dead? Nothing it still coordinates is taken, and nobody waits for it.
    pub fn declared_dead(&self, node: NodeId) -> bool {
        declared_dead(&self.versions, node)
    }

    /// The nodes of all live versions, the dead included.
    pub fn members(&self) -> BTreeSet<NodeId> {
        members(&self.versions)
    }

    /// Those who count: nodes of a live version that are not declared dead.
    pub fn counted(&self) -> BTreeSet<NodeId> {
        counted(&self.versions)
    }
}

/// The nodes of these versions.
pub(super) fn members(versions: &[Arc<Layout>]) -> BTreeSet<NodeId> {
    versions.iter().flat_map(|layout| &layout.nodes).map(|node| node.id).collect()
}

/// Did one of these versions declare the node dead, and does none since contain it again?
pub(super) fn declared_dead(versions: &[Arc<Layout>], node: NodeId) -> bool {
    let verdict = |layout: &Arc<Layout>| match layout.node(node) {
        Some(_) => Some(Verdict::Member),
        None => layout.dead.contains(&node).then_some(Verdict::Dead),
    };
    versions.iter().rev().find_map(verdict) == Some(Verdict::Dead)
}

/// Those whose trackers are waited for.
pub(super) fn counted(versions: &[Arc<Layout>]) -> BTreeSet<NodeId> {
    members(versions).into_iter().filter(|node| !declared_dead(versions, *node)).collect()
}

#[derive(PartialEq)]
enum Verdict {
    Member,
    Dead,
}
