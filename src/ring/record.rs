//! The layout as it is stored and sent: rows are indices into the nodes, one or two bytes each.

use super::layout::{Layout, LayoutError, LayoutNode};
use super::{Partitioning, Placement};
use crate::base::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};

/// The written form. Reading it back checks everything.
#[derive(Serialize, Deserialize)]
pub(super) struct LayoutRecord {
    version: u64,
    cluster: ClusterId,
    partitions: Partitioning,
    replicas: usize,
    nodes: Vec<LayoutNode>,
    rows: Vec<Vec<u16>>,
    /// Written only if there are any, so that other layouts keep their bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dead: Vec<NodeId>,
}

impl From<Layout> for LayoutRecord {
    fn from(layout: Layout) -> Self {
        let index = |id| layout.index_of(id).and_then(|index| u16::try_from(index).ok());
        // A node that is not in the layout gets an index that decoding refuses.
        let rows = layout.placement.rows().map(|row| row.iter().map(|&id| index(id).unwrap_or(u16::MAX)).collect());
        Self {
            rows: rows.collect(),
            version: layout.version,
            cluster: layout.cluster,
            partitions: layout.partitioning,
            replicas: layout.replicas,
            nodes: layout.nodes,
            dead: layout.dead,
        }
    }
}

impl TryFrom<LayoutRecord> for Layout {
    type Error = LayoutError;
    fn try_from(record: LayoutRecord) -> Result<Self, LayoutError> {
        let LayoutRecord { version, cluster, partitions: partitioning, replicas, nodes, rows, dead } = record;
        let placement = Placement::from_rows(replicas.min(nodes.len()), &nodes, &rows)?;
        let layout = Self { version, cluster, partitioning, replicas, nodes, placement, dead };
        layout.validate()?;
        Ok(layout)
    }
}
