//! Where a record lies, its rank among all records of the store, and that it has moved.

use crate::base::Key;
use crate::ring::PartitionId;
use serde::{Deserialize, Serialize};

/// A record's place in the log. Changes when compaction moves the record; the sequence does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Number of the segment file.
    pub segment: u32,
    /// First byte of the record's frame in the segment: a multiple of 8.
    pub offset: u32,
    /// Bytes of the whole frame. A place from the index is rounded up: at most a quarter more.
    pub length: u32,
}

impl Place {
    /// Is it the same record's? Lengths may differ: the index rounds them up.
    pub fn is(&self, other: &Place) -> bool {
        (self.segment, self.offset) == (other.segment, other.offset)
    }
}

/// Store-wide number of a record, given when it is first appended, contiguous from 1 per store and kept
/// for ever; at recovery the highest per key wins (PROTOCOL R12). Also names a hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Sequence(pub u64);

/// Whose record one is: what the memory keeps its place under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A key's slot.
    Key(Key),
    /// An open hint, by the sequence of its record.
    Hint(Sequence),
}

/// A record that counts and that the disk does not give back as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostRecord {
    /// The partition.
    pub partition: PartitionId,
    /// Whose record it was.
    pub holder: Holder,
    /// Where it lay.
    pub place: Place,
    /// What it added to its partition's hash (PROTOCOL R20).
    pub entry_hash: u64,
}

impl LostRecord {
    /// The partition whose clock claims it. A hint is in no clock.
    pub fn damaged_partition(&self) -> Option<PartitionId> {
        matches!(self.holder, Holder::Key(_)).then_some(self.partition)
    }
}

/// Compaction has copied a record: whoever still has the old place takes the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// The partition.
    pub partition: PartitionId,
    /// Whose record it is.
    pub holder: Holder,
    /// Where it was.
    pub from: Place,
    /// Where it is, with the same contents and sequence.
    pub to: Place,
}
