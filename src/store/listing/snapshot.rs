//! What a listing is made from: the segments of one instant.

use crate::ring::PartitionId;
use crate::store::codec::Codec;
use crate::store::key_file::SharedRun;
use crate::store::sealed::SealedSegment;
use crate::store::{Disk, Log, Sequence};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All entries of a log at one instant, shared with it. Segments that are compacted away meanwhile make it stale:
/// their key files go when the next compaction begins.
#[derive(Debug, Clone)]
pub struct KeySnapshot {
    /// Ascending by number.
    pub(super) sealed: Vec<SealedSegment>,
    /// What is not sealed.
    pub(super) pieces: Vec<Arc<SharedRun>>,
    /// Opens key files that are encrypted.
    pub(super) codec: Arc<Codec>,
    /// Up to which record the keys of a partition were dropped.
    dropped: BTreeMap<PartitionId, Sequence>,
}

impl KeySnapshot {
    /// Does a key's record of this sequence count, if it is the key's newest?
    pub(super) fn keeps(&self, partition: PartitionId, sequence: Sequence) -> bool {
        self.dropped.get(&partition).is_none_or(|dropped| sequence > *dropped)
    }
}

impl<D: Disk> Log<D> {
    /// The entries of now. Everything that an append has been answered for is in it.
    pub fn key_snapshot(&self) -> KeySnapshot {
        KeySnapshot {
            sealed: self.identity.sealed.segments.clone(),
            pieces: self.tails().flat_map(|tail| tail.run.shared()).collect(),
            codec: self.reader.codec().clone(),
            dropped: self.dropped(),
        }
    }

    fn dropped(&self) -> BTreeMap<PartitionId, Sequence> {
        let sealed = self.tracker.partitions.iter().map(|(partition, claims)| (*partition, claims.dropped));
        let tails = self.tails().flat_map(|tail| tail.steps.dropped());
        // What is later in the log comes later here.
        sealed.filter(|(_, dropped)| *dropped > Sequence(0)).chain(tails).collect()
    }
}
