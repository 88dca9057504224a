//! Ring order: for each partition, all nodes in the order in which the ring offers them.

use super::hasher::RingHasher;
use super::{LayoutError, LayoutNode, PartitionId, Partitioning};
use crate::base::NodeId;
use consistent_hash_ring::{Ring, RingBuilder};
use std::hash::{Hash, Hasher};

/// Points on the ring for a node of average capacity: enough that neighbours are well mixed.
const POINTS_PER_NODE: u64 = 128;

/// Most points on the ring. It inserts into a sorted vector, so its cost grows with the square.
const MAX_POINTS: u64 = 16_384;

/// For each partition the nodes (as indices) in ring order, and each node's rank in it.
pub(super) struct RingOrder {
    nodes: usize,
    order: Vec<u16>,
    rank: Vec<u16>,
}

/// A node on the ring, told apart from the hashes with which the ring finds further points.
#[derive(Clone, PartialEq, Eq)]
struct RingNode {
    id: NodeId,
    index: u16,
}

impl Hash for RingNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(b'n');
        state.write_u64(self.id.0);
    }
}

impl RingOrder {
    /// Asks the ring once per partition. Errors if two points of the ring fall on one place, since a
    /// node without any point would be searched for ever.
    pub(super) fn of(partitioning: Partitioning, nodes: &[LayoutNode]) -> Result<Self, LayoutError> {
        let ring = ring_of(nodes)?;
        let mut order = Vec::with_capacity(partitioning.count() as usize * nodes.len());
        let mut rank = vec![0; partitioning.count() as usize * nodes.len()];
        for (PartitionId(partition), ranks) in partitioning.all().zip(rank.chunks_mut(nodes.len())) {
            for (place, node) in ring.replicas(partition).enumerate() {
                order.push(node.index);
                if let Some(rank) = ranks.get_mut(usize::from(node.index)) {
                    *rank = place as u16;
                }
            }
        }
        Ok(Self { nodes: nodes.len(), order, rank })
    }

    /// All nodes in the ring order of the partition.
    pub(super) fn nodes_of(&self, partition: usize) -> impl Iterator<Item = usize> + '_ {
        self.order.iter().skip(partition * self.nodes).take(self.nodes).map(|&index| usize::from(index))
    }

    /// The place of the node in the ring order of the partition.
    pub(super) fn rank(&self, partition: usize, node: usize) -> u16 {
        self.rank.get(partition * self.nodes + node).copied().unwrap_or(u16::MAX)
    }
}

fn ring_of(nodes: &[LayoutNode]) -> Result<Ring<RingNode, RingHasher>, LayoutError> {
    let capacity: u64 = nodes.iter().map(|node| u64::from(node.capacity)).sum();
    let points = (POINTS_PER_NODE * nodes.len() as u64).min(MAX_POINTS);
    let weights = nodes.iter().map(|node| (points * u64::from(node.capacity) / capacity.max(1)).max(1) as usize);
    let members = nodes.iter().zip(0..).map(|(node, index)| RingNode { id: node.id, index });
    let expected: usize = weights.clone().sum();
    let ring = RingBuilder::new(RingHasher::default()).weighted_nodes_iter(members.zip(weights)).build();
    if ring.vnodes() == expected && ring.len() == nodes.len() { Ok(ring) } else { Err(LayoutError::RingCollision) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::layout::testing::nodes;

    #[test]
    fn every_node_has_one_place_in_every_order() {
        let order = RingOrder::of(Partitioning::new(64).unwrap(), &nodes(9)).unwrap();
        for partition in 0..64 {
            let mut seen: Vec<usize> = order.nodes_of(partition).collect();
            assert!(seen.iter().enumerate().all(|(rank, &node)| usize::from(order.rank(partition, node)) == rank));
            seen.sort_unstable();
            assert_eq!(seen, (0..9).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_tiny_capacity_beside_a_huge_one_still_has_a_point() {
        let mut nodes = nodes(3);
        nodes[0].capacity = u32::MAX;
        let order = RingOrder::of(Partitioning::new(16).unwrap(), &nodes).unwrap();
        assert_eq!(order.nodes_of(0).count(), 3);
    }
}
