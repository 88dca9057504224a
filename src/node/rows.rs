//! Who must have a write, in every live version of the layout.

use super::shard::Shard;
use crate::base::NodeId;
use crate::replication::{Failure, Options, Sloppiness, TallyRow};
use crate::ring::{Layout, PartitionId};

impl Shard {
    /// The owners in each version and how many of them must have the write; or why it cannot begin.
    pub(super) fn rows_of(&self, partition: PartitionId, options: &Options) -> Result<Vec<TallyRow>, Failure> {
        let replicas = self.replicas(partition);
        let row = |layout: &Layout| {
            let owners = layout.primaries(partition);
            let Some(required) = options.w.of(owners.len()) else {
                return Err(Failure::QuorumTooLarge { replicas: owners.len() });
            };
            let reachable = self.reachable(partition, owners, &replicas, options.sloppiness);
            if reachable < required {
                return Err(Failure::TooFewReplicas { required, reachable });
            }
            Ok(TallyRow { version: layout.version, required, replicas: owners.to_vec() })
        };
        self.view.layouts.versions.iter().map(|layout| row(layout)).collect()
    }

    /// How many nodes could hold a copy that counts for these owners.
    fn reachable(
        &self,
        partition: PartitionId,
        owners: &[NodeId],
        replicas: &[NodeId],
        sloppiness: Sloppiness,
    ) -> usize {
        let fallbacks = self.view.layout().fallbacks(partition).iter().filter(|node| !replicas.contains(node));
        let stand_ins = fallbacks.filter(|node| sloppiness == Sloppiness::Sloppy && self.may_stand_in(**node));
        owners.iter().chain(stand_ins).filter(|node| self.view.is_up(**node)).count()
    }

    /// May this node hold hints? One that is in no newest layout leaves, or has never come, and nobody would miss it.
    pub(super) fn may_stand_in(&self, node: NodeId) -> bool {
        self.view.layouts.newest().node(node).is_some()
    }

    /// The owners in any live version.
    pub(super) fn replicas(&self, partition: PartitionId) -> Vec<NodeId> {
        self.view.layouts.replicas(partition)
    }

    /// Does this node own the partition in any live version?
    pub(super) fn is_replica(&self, partition: PartitionId) -> bool {
        self.view.layouts.is_replica(partition, self.me.node)
    }
}
