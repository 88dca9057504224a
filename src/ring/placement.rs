//! The placement table, and how the next one is planned.

use super::chain;
use super::leader;
use super::order::RingOrder;
use super::quota::quotas;
use super::spread::Spread;
use super::table::Table;
use super::{LayoutError, LayoutNode, PartitionId, Partitioning};
use crate::base::NodeId;

/// Most fallbacks kept in a row. A write needs a handful at most, and the table of 100 nodes would
/// otherwise be five times as long.
pub const MAX_FALLBACKS: usize = 16;

/// For every partition its primaries, then its fallbacks in ring order. All rows are equally long.
#[derive(Clone, PartialEq, Eq)]
pub struct Placement {
    primaries: usize,
    row_length: usize,
    nodes: Vec<NodeId>,
}

impl Placement {
    /// The nodes of a partition that own it, the leader first. Empty for a partition that does not exist.
    pub fn primaries(&self, partition: PartitionId) -> &[NodeId] {
        self.row(partition).get(..self.primaries).unwrap_or_default()
    }

    /// The nodes that stand in, in this order. Empty for a partition that does not exist.
    pub fn fallbacks(&self, partition: PartitionId) -> &[NodeId] {
        self.row(partition).get(self.primaries..).unwrap_or_default()
    }

    /// Primaries and fallbacks.
    pub fn row(&self, partition: PartitionId) -> &[NodeId] {
        let start = (partition.0 as usize).saturating_mul(self.row_length);
        self.nodes.get(start..).and_then(|rest| rest.get(..self.row_length)).unwrap_or_default()
    }

    /// Rows in the order of partitions.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[NodeId]> {
        self.nodes.chunks(self.row_length.max(1))
    }

    /// The table as it would be had the second of each pair always been in the place of the first. A plan that starts
    /// from it leaves the heir what it can of that place, roundings and leads included.
    pub(super) fn inherited(&self, heirs: &[(NodeId, NodeId)]) -> Self {
        let heir_of = |id: NodeId| heirs.iter().find(|(gone, _)| *gone == id).map_or(id, |(_, heir)| *heir);
        Self { nodes: self.nodes.iter().map(|&id| heir_of(id)).collect(), ..*self }
    }

    /// Takes rows from elsewhere: indices into `nodes`. They must be equally long and name nodes only;
    /// [`super::Layout::validate`] checks the rest.
    pub(super) fn from_rows(
        primaries: usize,
        nodes: &[LayoutNode],
        rows: &[impl AsRef<[u16]>],
    ) -> Result<Self, LayoutError> {
        let row_length = rows.first().map_or(0, |row| row.as_ref().len());
        let mut ids = Vec::with_capacity(rows.len() * row_length);
        for (row, partition) in rows.iter().zip((0..).map(PartitionId)) {
            if row.as_ref().len() != row_length {
                return Err(LayoutError::RowLength { partition });
            }
            for &index in row.as_ref() {
                ids.push(nodes.get(usize::from(index)).ok_or(LayoutError::UnknownNode { partition })?.id);
            }
        }
        Ok(Self { primaries, row_length, nodes: ids })
    }

    /// Plans the table of these nodes (sorted by id) so that it takes the fewest transfers from `before`.
    pub(super) fn plan(
        partitioning: Partitioning,
        replicas: usize,
        nodes: &[LayoutNode],
        before: Option<&Placement>,
    ) -> Result<Self, LayoutError> {
        let order = RingOrder::of(partitioning, nodes)?;
        let spread = Spread::of(nodes, replicas);
        let before = previous_rows(partitioning, nodes, before);
        let quotas = quotas(partitioning.count() as usize, nodes, &spread, &load_of(nodes.len(), &before.rows));

        let mut table = Table::new(&spread, &before.rows);
        keep(&mut table, &before.rows, &quotas);
        fill(&mut table, &quotas, &order);
        chain::even_out(&mut table, &quotas, &order)?;

        let rows = leader::arrange(table.rows(), table.load(), &before.leaders, &order)?;
        let with_fallbacks: Vec<Vec<u16>> = rows
            .into_iter()
            .zip(0..)
            .map(|(row, partition)| {
                let others = order.nodes_of(partition).filter(|node| !row.contains(node)).take(MAX_FALLBACKS);
                row.iter().copied().chain(others).map(|node| node as u16).collect()
            })
            .collect();
        Self::from_rows(spread.copies(), nodes, &with_fallbacks)
    }
}

/// The previous table in terms of the new nodes: those that left are not in it.
struct Before {
    rows: Vec<Vec<usize>>,
    leaders: Vec<Option<usize>>,
}

fn previous_rows(partitioning: Partitioning, nodes: &[LayoutNode], before: Option<&Placement>) -> Before {
    let index = |id: &NodeId| nodes.binary_search_by_key(id, |node| node.id).ok();
    let row = |partition| before.map_or(&[][..], |placement| placement.primaries(partition));
    Before {
        rows: partitioning.all().map(|partition| row(partition).iter().filter_map(index).collect()).collect(),
        leaders: partitioning.all().map(|partition| row(partition).first().and_then(index)).collect(),
    }
}

fn load_of(nodes: usize, rows: &[Vec<usize>]) -> Vec<usize> {
    let mut load = vec![0; nodes];
    for &node in rows.iter().flatten() {
        if let Some(held) = load.get_mut(node) {
            *held += 1;
        }
    }
    load
}

/// Every row keeps as many of its old copies as fit; where not all fit, those of crowded nodes go.
/// Taking any that fits keeps the most: what fits into a row is the independent set of a matroid.
fn keep(table: &mut Table<'_>, before: &[Vec<usize>], quotas: &[usize]) {
    let load = load_of(quotas.len(), before);
    let crowding: Vec<i64> = load.iter().zip(quotas).map(|(&load, &quota)| load as i64 - quota as i64).collect();
    for (partition, row) in before.iter().enumerate() {
        let mut row = row.clone();
        row.sort_by_key(|&node| crowding.get(node).copied());
        for node in row {
            if table.fits(partition, node) {
                table.put(partition, node);
            }
        }
    }
}

/// Empty slots go to the first node in ring order that is under its quota, or else to the first that fits.
fn fill(table: &mut Table<'_>, quotas: &[usize], order: &RingOrder) {
    for partition in 0..table.rows().len() {
        while table.lacks(partition) {
            let fitting = || order.nodes_of(partition).filter(|&node| table.fits(partition, node));
            let under_quota = |node: &usize| table.load().get(*node) < quotas.get(*node);
            let Some(node) = fitting().find(under_quota).or_else(|| fitting().next()) else { break };
            table.put(partition, node);
        }
    }
}
