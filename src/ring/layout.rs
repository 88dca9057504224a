//! The layout: a versioned list of nodes and the placement table that belongs to it.

use super::record::LayoutRecord;
use super::spread::Spread;
use super::{PartitionId, Partitioning, PartitioningError, Placement};
use crate::base::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use xxhash_rust::xxh3::Xxh3;

/// Most nodes of a layout. Planning counts pairs of nodes, and every node talks to every other.
pub const MAX_NODES: usize = 512;

/// Most replicas. Every write goes to all of them; more than this is a broadcast, not replication.
pub const MAX_REPLICAS: usize = 16;

/// Who owns what, in one version. Decoding validates: a layout that breaks its rules does not come in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "LayoutRecord", into = "LayoutRecord")]
pub struct Layout {
    /// 1 for the first layout, one more with every change.
    pub version: u64,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// How the hash space is cut; the same in all versions.
    pub partitioning: Partitioning,
    /// Copies wanted of every partition (N), 1 to [`MAX_REPLICAS`]. There are fewer when nodes are fewer.
    pub replicas: usize,
    /// The nodes, in the order of their ids.
    pub nodes: Vec<LayoutNode>,
    /// Where every partition lives.
    pub placement: Placement,
    /// Nodes of the version before that the operator declared dead, ascending; none of them is in this one. Nobody
    /// waits for what they say of the change, and nothing that they still coordinate is taken.
    pub dead: Vec<NodeId>,
}

/// A node as the layout knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutNode {
    /// Made with the node's data directory.
    pub id: NodeId,
    /// The operator's name for it, unique in the layout.
    pub name: String,
    /// What fails together: rack, room, region. Equal texts are one zone.
    pub zone: String,
    /// Weight of the node's share, at least 1; only the proportions matter.
    pub capacity: u32,
    /// Where peers reach it, `host:port`.
    pub address: String,
    /// Where membership reaches it, `host:port`.
    pub membership_address: String,
}

/// Why there is no such layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// No node at all.
    #[error("a layout needs at least one node")]
    NoNodes,
    /// More than [`MAX_NODES`].
    #[error("{0} nodes; at most {MAX_NODES} are allowed")]
    TooManyNodes(usize),
    /// Not 1 to [`MAX_REPLICAS`].
    #[error("{0} replicas; 1 to {MAX_REPLICAS} are allowed")]
    Replicas(usize),
    /// Capacity zero: such a node could never hold anything. Remove it instead.
    #[error("node {0:?} has capacity 0; at least 1 is required")]
    ZeroCapacity(String),
    /// A node without a name.
    #[error("node {0} has no name")]
    Nameless(NodeId),
    /// One id twice.
    #[error("two nodes have the id {0}")]
    DuplicateId(NodeId),
    /// One name twice.
    #[error("two nodes have the name {0:?}")]
    DuplicateName(String),
    /// Nodes are not in the order of their ids.
    #[error("the nodes are not in the order of their ids")]
    Unordered,
    /// Version 0 does not exist, and the last one has no successor.
    #[error("version {0} is not possible here")]
    Version(u64),
    /// The number of partitions is wrong.
    #[error(transparent)]
    Partitioning(#[from] PartitioningError),
    /// The table does not have one row for each partition.
    #[error("the placement table has {found} rows; {expected} are expected")]
    RowCount {
        /// Partitions.
        expected: u32,
        /// Rows.
        found: usize,
    },
    /// A row is shorter than its primaries, longer than the nodes, or not as long as the others.
    #[error("the row of partition {partition} has the wrong length")]
    RowLength {
        /// The row.
        partition: PartitionId,
    },
    /// A row names a node that is not in the layout.
    #[error("the row of partition {partition} names an unknown node")]
    UnknownNode {
        /// The row.
        partition: PartitionId,
    },
    /// A row names a node twice.
    #[error("the row of partition {partition} names a node twice")]
    RepeatedNode {
        /// The row.
        partition: PartitionId,
    },
    /// The primaries of a row share a zone although zones would allow them not to.
    #[error("the copies of partition {partition} are not spread over the zones")]
    CrowdedZone {
        /// The row.
        partition: PartitionId,
    },
    /// A node declared dead is in the layout, or they are not in order.
    #[error("node {0} cannot be declared dead: it is in the layout, or named twice")]
    Dead(NodeId),
    /// Two points of the hash ring coincide. With random ids this does not happen.
    #[error("two nodes collide on the hash ring; give one of them another id")]
    RingCollision,
    /// The planner found no way to even out: a defect of the planner, reported instead of a wrong table.
    #[error("the planner is stuck: please report the nodes of this layout")]
    Stuck,
}

impl Layout {
    /// Plans the first layout of a cluster. Nodes may come in any order.
    pub fn first(
        cluster: ClusterId,
        partitioning: Partitioning,
        replicas: usize,
        nodes: Vec<LayoutNode>,
    ) -> Result<Self, LayoutError> {
        Self::planned(1, cluster, partitioning, replicas, nodes, None)
    }

    /// Plans the next version from this one: other nodes, capacities, zones, addresses or another number
    /// of replicas. Transfers the fewest copies that the new shares allow.
    pub fn change(&self, nodes: Vec<LayoutNode>, replicas: usize) -> Result<Self, LayoutError> {
        self.change_replacing(nodes, replicas, &[])
    }

    /// The same, and of each pair the second takes the place of the first, which is not among `nodes`.
    pub(super) fn change_replacing(
        &self,
        nodes: Vec<LayoutNode>,
        replicas: usize,
        heirs: &[(NodeId, NodeId)],
    ) -> Result<Self, LayoutError> {
        let version = self.version.checked_add(1).ok_or(LayoutError::Version(self.version))?;
        let before = self.placement.inherited(heirs);
        Self::planned(version, self.cluster, self.partitioning, replicas, nodes, Some(&before))
    }

    /// The same, with these nodes of the version before declared dead.
    pub fn declaring_dead(mut self, dead: impl IntoIterator<Item = NodeId>) -> Result<Self, LayoutError> {
        self.dead = dead.into_iter().collect();
        self.dead.sort_unstable();
        self.validate()?;
        Ok(self)
    }

    fn planned(
        version: u64,
        cluster: ClusterId,
        partitioning: Partitioning,
        replicas: usize,
        mut nodes: Vec<LayoutNode>,
        before: Option<&Placement>,
    ) -> Result<Self, LayoutError> {
        nodes.sort_by_key(|node| node.id);
        check_nodes(&nodes, replicas)?;
        let placement = Placement::plan(partitioning, replicas, &nodes, before)?;
        let layout = Self { version, cluster, partitioning, replicas, nodes, placement, dead: Vec::new() };
        layout.validate()?;
        Ok(layout)
    }

    /// Checks everything that every node relies on. Decoding calls it; balance is not checked, since the
    /// table is data and not to be planned again.
    pub fn validate(&self) -> Result<(), LayoutError> {
        if self.version == 0 {
            return Err(LayoutError::Version(0));
        }
        check_nodes(&self.nodes, self.replicas)?;
        self.check_dead()?;
        let (expected, found) = (self.partitioning.count(), self.placement.rows().count());
        if found != expected as usize {
            return Err(LayoutError::RowCount { expected, found });
        }
        let spread = Spread::of(&self.nodes, self.replicas);
        self.partitioning.all().try_for_each(|partition| self.check_row(partition, &spread))
    }

    fn check_dead(&self) -> Result<(), LayoutError> {
        let twice = self.dead.iter().zip(self.dead.iter().skip(1)).find(|(id, next)| id >= next).map(|(id, _)| id);
        let there = self.dead.iter().find(|id| self.node(**id).is_some());
        there.or(twice).map_or(Ok(()), |id| Err(LayoutError::Dead(*id)))
    }

    fn check_row(&self, partition: PartitionId, spread: &Spread) -> Result<(), LayoutError> {
        let row = self.placement.row(partition);
        if self.primaries(partition).len() != self.copies() || row.len() > self.nodes.len() {
            return Err(LayoutError::RowLength { partition });
        }
        let places: Vec<usize> = row.iter().filter_map(|&id| self.index_of(id)).collect();
        if places.len() != row.len() {
            return Err(LayoutError::UnknownNode { partition });
        }
        if places.iter().collect::<BTreeSet<_>>().len() != row.len() {
            return Err(LayoutError::RepeatedNode { partition });
        }
        let primaries = places.get(..self.copies()).unwrap_or_default();
        if spread.allows(primaries) { Ok(()) } else { Err(LayoutError::CrowdedZone { partition }) }
    }

    /// A hash of the whole layout, the same on every machine: equal layouts have equal hashes. It reads
    /// the whole table, so keep the answer.
    pub fn hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        let mut number = |value: u64| hash.update(&value.to_le_bytes());
        number(self.version);
        number(self.cluster.0 as u64);
        number((self.cluster.0 >> 64) as u64);
        number(u64::from(self.partitioning.count()));
        number(self.replicas as u64);
        number(self.nodes.len() as u64);
        for node in &self.nodes {
            hash_node(&mut hash, node);
        }
        for row in self.placement.rows() {
            hash.update(&(row.len() as u64).to_le_bytes());
            row.iter().for_each(|id| hash.update(&id.0.to_le_bytes()));
        }
        self.dead.iter().for_each(|id| hash.update(&id.0.to_le_bytes()));
        hash.digest()
    }

    /// Copies there are of every partition: the replicas wanted, or all nodes if they are fewer.
    pub fn copies(&self) -> usize {
        self.replicas.min(self.nodes.len())
    }

    /// The node with this id.
    pub fn node(&self, id: NodeId) -> Option<&LayoutNode> {
        self.index_of(id).and_then(|index| self.nodes.get(index))
    }

    /// The node with this name.
    pub fn node_named(&self, name: &str) -> Option<&LayoutNode> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The nodes that own the partition, the leader first. Empty for a partition that does not exist.
    pub fn primaries(&self, partition: PartitionId) -> &[NodeId] {
        self.placement.primaries(partition)
    }

    /// The nodes that stand in for primaries, in this order, at most [`super::MAX_FALLBACKS`].
    pub fn fallbacks(&self, partition: PartitionId) -> &[NodeId] {
        self.placement.fallbacks(partition)
    }

    /// Does the node own the partition?
    pub fn is_primary(&self, partition: PartitionId, node: NodeId) -> bool {
        self.primaries(partition).contains(&node)
    }

    /// The partitions the node owns, in order. Reads the whole table.
    pub fn partitions_of(&self, node: NodeId) -> impl Iterator<Item = PartitionId> + '_ {
        self.partitioning.all().filter(move |&partition| self.is_primary(partition, node))
    }

    pub(super) fn index_of(&self, id: NodeId) -> Option<usize> {
        self.nodes.binary_search_by_key(&id, |node| node.id).ok()
    }
}

/// Counts, names, capacities, and the order by id on which look-up relies.
fn check_nodes(nodes: &[LayoutNode], replicas: usize) -> Result<(), LayoutError> {
    match nodes.len() {
        0 => return Err(LayoutError::NoNodes),
        1..=MAX_NODES => {}
        many => return Err(LayoutError::TooManyNodes(many)),
    }
    if !(1..=MAX_REPLICAS).contains(&replicas) {
        return Err(LayoutError::Replicas(replicas));
    }
    let mut names = BTreeSet::new();
    for node in nodes {
        if node.capacity == 0 {
            return Err(LayoutError::ZeroCapacity(node.name.clone()));
        }
        if node.name.is_empty() {
            return Err(LayoutError::Nameless(node.id));
        }
        if !names.insert(node.name.as_str()) {
            return Err(LayoutError::DuplicateName(node.name.clone()));
        }
    }
    for (node, next) in nodes.iter().zip(nodes.iter().skip(1)) {
        match node.id.cmp(&next.id) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => return Err(LayoutError::DuplicateId(node.id)),
            std::cmp::Ordering::Greater => return Err(LayoutError::Unordered),
        }
    }
    Ok(())
}

/// Texts with their length before them, so that no two layouts write the same bytes.
fn hash_node(hash: &mut Xxh3, node: &LayoutNode) {
    hash.update(&node.id.0.to_le_bytes());
    hash.update(&node.capacity.to_le_bytes());
    for text in [&node.name, &node.zone, &node.address, &node.membership_address] {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
}

impl std::fmt::Debug for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layout")
            .field("version", &self.version)
            .field("cluster", &self.cluster)
            .field("partitions", &self.partitioning.count())
            .field("replicas", &self.replicas)
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::base::Random;

    /// `count` nodes of one zone and equal capacity, sorted by their (random) ids.
    pub(in crate::ring) fn nodes(count: usize) -> Vec<LayoutNode> {
        zoned(&[count])
    }

    /// As many nodes as the numbers say in each zone, named and sorted zone by zone.
    pub(in crate::ring) fn zoned(sizes: &[usize]) -> Vec<LayoutNode> {
        let zones = sizes.iter().enumerate().flat_map(|(zone, &size)| std::iter::repeat_n(zone, size));
        let mut random = Random::from_seed(1);
        let mut ids: Vec<u64> = (0..sizes.iter().sum()).map(|_| random.u64()).collect();
        ids.sort_unstable();
        zones.zip(ids).enumerate().map(|(place, (zone, id))| node(id, &format!("n{place}"), zone)).collect()
    }

    /// A node of capacity 1.
    pub(in crate::ring) fn node(id: u64, name: &str, zone: usize) -> LayoutNode {
        LayoutNode {
            id: NodeId(id),
            name: name.into(),
            zone: format!("z{zone}"),
            capacity: 1,
            address: format!("{name}:7400"),
            membership_address: format!("{name}:7401"),
        }
    }

    /// A first layout.
    pub(in crate::ring) fn layout(partitions: u32, replicas: usize, nodes: Vec<LayoutNode>) -> Layout {
        Layout::first(ClusterId(1), Partitioning::new(partitions).unwrap(), replicas, nodes).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{layout, node, nodes, zoned};
    use super::*;

    #[test]
    fn a_layout_survives_its_encoding() {
        let layout = layout(64, 3, zoned(&[3, 2, 2]));
        let bytes = rmp_serde::to_vec(&layout).unwrap();
        let decoded: Layout = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(decoded, layout);
        assert_eq!(decoded.hash(), layout.hash());
    }

    #[test]
    fn decoding_refuses_what_validation_refuses() {
        let refusal = |change: fn(&mut Layout)| {
            let mut layout = layout(8, 3, nodes(5));
            change(&mut layout);
            rmp_serde::from_slice::<Layout>(&rmp_serde::to_vec(&layout).unwrap()).unwrap_err().to_string()
        };
        assert!(refusal(|l| l.nodes[2].capacity = 0).contains("capacity 0"));
        assert!(refusal(|l| l.nodes.truncate(3)).contains("unknown node"));
        assert!(refusal(|l| l.replicas = usize::MAX).contains("replicas"));
    }

    #[test]
    fn validation_refuses_each_broken_rule() {
        let good = layout(8, 2, zoned(&[2, 2]));
        let broken = |change: fn(&mut Layout)| {
            let mut layout = good.clone();
            change(&mut layout);
            layout.validate()
        };
        let partition = PartitionId(0);
        assert_eq!(broken(|_| {}), Ok(()));
        assert_eq!(broken(|l| l.version = 0), Err(LayoutError::Version(0)));
        assert_eq!(broken(|l| l.replicas = 0), Err(LayoutError::Replicas(0)));
        assert_eq!(broken(|l| l.replicas = 3), Err(LayoutError::RowLength { partition }));
        assert_eq!(broken(|l| l.nodes[1].capacity = 0), Err(LayoutError::ZeroCapacity("n1".into())));
        assert_eq!(broken(|l| l.nodes[1].name = "n0".into()), Err(LayoutError::DuplicateName("n0".into())));
        assert_eq!(broken(|l| l.nodes[1].name.clear()), Err(LayoutError::Nameless(l_id(1))));
        assert_eq!(broken(|l| l.nodes[1].id = l.nodes[0].id), Err(LayoutError::DuplicateId(l_id(0))));
        assert_eq!(broken(|l| l.nodes.swap(0, 1)), Err(LayoutError::Unordered));
        assert_eq!(broken(|l| l.nodes[3].id.0 += 1), Err(LayoutError::UnknownNode { partition }));
        let halved = |l: &mut Layout| l.partitioning = Partitioning::new(4).unwrap();
        assert_eq!(broken(halved), Err(LayoutError::RowCount { expected: 4, found: 8 }));
        let crowded = |l: &mut Layout| {
            let zones = ["z0", "z0", "z0", "z1"];
            l.nodes.iter_mut().zip(zones).for_each(|(node, zone)| node.zone = zone.into());
        };
        assert!(matches!(broken(crowded), Err(LayoutError::CrowdedZone { .. })));
    }

    fn l_id(place: usize) -> NodeId {
        zoned(&[2, 2])[place].id
    }

    #[test]
    fn the_dead_are_others_than_those_in_the_layout_and_named_once() {
        let layout = layout(8, 2, nodes(3));
        let there = layout.nodes[0].id;
        let declared = |dead: &[u64]| layout.clone().declaring_dead(dead.iter().copied().map(NodeId));
        assert_eq!(declared(&[9, 7]).unwrap().dead, [NodeId(7), NodeId(9)]);
        assert_ne!(declared(&[9]).unwrap().hash(), layout.hash());
        assert_eq!(declared(&[7, 7]), Err(LayoutError::Dead(NodeId(7))));
        assert_eq!(declared(&[there.0]), Err(LayoutError::Dead(there)));
        let bytes = rmp_serde::to_vec(&declared(&[9]).unwrap()).unwrap();
        assert_eq!(rmp_serde::from_slice::<Layout>(&bytes).unwrap().dead, [NodeId(9)]);
    }

    #[test]
    fn rows_that_repeat_a_node_or_differ_in_length_are_refused() {
        let nodes = nodes(3);
        let with = |rows: &[Vec<u16>]| {
            let mut layout = layout(2, 2, nodes.clone());
            layout.placement = Placement::from_rows(2, &nodes, rows)?;
            layout.validate()
        };
        let second = PartitionId(1);
        assert_eq!(with(&[vec![0, 1], vec![1, 1]]), Err(LayoutError::RepeatedNode { partition: second }));
        assert_eq!(with(&[vec![0, 1], vec![1]]), Err(LayoutError::RowLength { partition: second }));
        assert_eq!(with(&[vec![0, 1], vec![1, 3]]), Err(LayoutError::UnknownNode { partition: second }));
        assert_eq!(with(&[vec![0, 1], vec![1, 2]]), Ok(()));
    }

    #[test]
    fn the_hash_covers_every_field_of_a_node() {
        let base = layout(8, 2, nodes(3));
        let changes: [fn(&mut Layout); 8] = [
            |l| l.version += 1,
            |l| l.cluster = ClusterId(1 << 64),
            |l| l.replicas += 1,
            |l| l.nodes[0].name.push('x'),
            |l| l.nodes[0].zone.push('x'),
            |l| l.nodes[0].capacity += 1,
            |l| l.nodes[0].address.push('x'),
            |l| l.nodes[0].membership_address.push('x'),
        ];
        let mut seen = BTreeSet::from([base.hash()]);
        for change in changes {
            let mut other = base.clone();
            change(&mut other);
            assert!(seen.insert(other.hash()));
        }
    }

    #[test]
    fn nodes_are_found_by_id_and_name_and_nothing_else() {
        let layout = layout(8, 2, vec![node(9, "b", 0), node(4, "a", 0)]);
        assert_eq!(layout.nodes[0].name, "a");
        assert_eq!(layout.node(NodeId(9)), layout.node_named("b"));
        assert_eq!(layout.node(NodeId(5)), None);
        assert!(layout.primaries(PartitionId(8)).is_empty());
        assert!(layout.fallbacks(PartitionId(u32::MAX)).is_empty());
    }
}
