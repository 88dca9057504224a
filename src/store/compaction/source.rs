//! What a compaction is given: the sealed log as it was when it began.

use super::CompactionError;
use crate::ring::PartitionId;
use crate::store::key_file::{EntryKind, KeyEntry, KeyFile, KeyFileError};
use crate::store::sealed::SealedSegment;
use crate::store::{Disk, Holder, LostRecord, Place, Reader, Sequence};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The sealed log as it was when a compaction began. What is sealed since holds only later records.
pub(super) struct Source<D: Disk> {
    pub(super) disk: Arc<D>,
    pub(super) reader: Reader<D>,
    /// Ascending by number.
    pub(super) sealed: Vec<SealedSegment>,
    /// Every record up to here is sealed.
    pub(super) through: Sequence,
    /// Hints that the checkpoint says are open: an opening will look for them.
    pub(super) hints: BTreeSet<Sequence>,
    /// Segments in which damage was found.
    pub(super) shunned: BTreeSet<u32>,
    /// Segments with records that cannot be read and do not count: compacted first.
    pub(super) condemned: BTreeSet<u32>,
    /// Bytes of a usual segment.
    pub(super) segment_bytes: u64,
    /// Key files that are open.
    pub(super) key_files: BTreeMap<u32, KeyFile<D>>,
}

/// Is this the record that the key's slot says?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The partition.
    pub partition: PartitionId,
    /// Whose record it is.
    pub holder: Holder,
    /// Where it lies.
    pub place: Place,
}

impl Question {
    pub(super) fn about(segment: u32, entry: &KeyEntry) -> Question {
        Question { partition: entry.partition, holder: Holder::Key(entry.key.clone()), place: place_of(segment, entry) }
    }
}

impl From<&LostRecord> for Question {
    fn from(lost: &LostRecord) -> Question {
        Question { partition: lost.partition, holder: lost.holder.clone(), place: lost.place }
    }
}

impl<D: Disk> Source<D> {
    /// The key file of a sealed segment, as the manifest knows it.
    pub(super) fn key_file(&mut self, segment: u32) -> Result<KeyFile<D>, CompactionError> {
        if let Some(file) = self.key_files.get(&segment) {
            return Ok(file.clone());
        }
        let damaged = |error| CompactionError::of_key_file(segment, error);
        let another = || damaged(KeyFileError::Damaged { segment, what: "not the one the manifest speaks of" });
        let sealed = self.sealed.iter().find(|sealed| sealed.segment == segment).ok_or_else(another)?;
        let seal = self.reader.codec().keys().seal(sealed.data_key);
        let file = KeyFile::open(self.disk.clone(), segment, sealed.generation, seal).map_err(damaged)?;
        if sealed.key_file != file.summary().into() {
            return Err(another());
        }
        self.key_files.insert(segment, file.clone());
        Ok(file)
    }
}

/// Where the record of an entry lies.
pub(super) fn place_of(segment: u32, entry: &KeyEntry) -> Place {
    Place { segment, offset: entry.offset, length: entry.length }
}

/// May a slot say a record of this kind?
pub(in crate::store) fn may_fill_a_slot(kind: EntryKind) -> bool {
    matches!(kind, EntryKind::Live | EntryKind::LiveWithLeftover | EntryKind::GoneWithLeftover)
}
