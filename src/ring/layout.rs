//! Who owns what (interim shape; the ring work replaces this file).

use super::PartitionId;
use crate::base::{Key, NodeId};
use serde::{Deserialize, Serialize};

/// A versioned table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Version.
    pub version: u64,
    /// N.
    pub replicas: usize,
    /// Rows: primaries first, then fallbacks.
    pub rows: Vec<Vec<NodeId>>,
}

impl Layout {
    /// The key's partition.
    pub fn partition_of(&self, key: &Key) -> PartitionId {
        let bits = (self.rows.len().max(1) as u64).trailing_zeros();
        PartitionId(key.hash64().checked_shr(64 - bits).unwrap_or(0) as u32)
    }
    /// The first N of the row.
    pub fn primaries(&self, partition: PartitionId) -> &[NodeId] {
        self.rows.get(partition.0 as usize).map_or(&[], |row| row.get(..self.replicas.min(row.len())).unwrap_or(row))
    }
    /// The others, in ring order.
    pub fn fallbacks(&self, partition: PartitionId) -> &[NodeId] {
        self.rows.get(partition.0 as usize).and_then(|row| row.get(self.replicas..)).unwrap_or(&[])
    }
}
