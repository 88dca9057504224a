//! What a key file says of one record.

use crate::base::Key;
use crate::ring::PartitionId;
use crate::store::Sequence;
use std::cmp::{Ordering, Reverse};

/// What a key file says of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyEntry {
    /// Whose state the record changes.
    pub(crate) partition: PartitionId,
    /// The key.
    pub(crate) key: Key,
    /// The record's rank.
    pub(crate) sequence: Sequence,
    /// First byte of the record's frame in the segment.
    pub(crate) offset: u32,
    /// Bytes of the whole frame.
    pub(crate) length: u32,
    /// What the record adds to its partition's hash (PROTOCOL R20).
    pub(crate) entry_hash: u64,
    /// What kind of record.
    pub(crate) kind: EntryKind,
}

/// What kind of record an entry stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// An object with versions, without a leftover when it was written.
    Live,
    /// An object with versions and a leftover.
    LiveWithLeftover,
    /// An object with neither.
    Gone,
    /// An object without a version, with a leftover.
    GoneWithLeftover,
    /// A hint.
    Hint,
}

/// All of an entry but its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) partition: PartitionId,
    pub(super) sequence: Sequence,
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) entry_hash: u64,
    pub(super) kind: EntryKind,
}

impl KeyEntry {
    pub(super) fn new(key: Key, facts: Facts) -> KeyEntry {
        let Facts { partition, sequence, offset, length, entry_hash, kind } = facts;
        KeyEntry { partition, key, sequence, offset, length, entry_hash, kind }
    }
}

/// The order of a key file: by key, then the highest sequence first; of two copies the later in the segment first.
pub(super) fn order(a: (&[u8], Facts), b: (&[u8], Facts)) -> Ordering {
    let rank = |facts: Facts| Reverse((facts.sequence, facts.offset));
    a.0.cmp(b.0).then_with(|| rank(a.1).cmp(&rank(b.1)))
}
