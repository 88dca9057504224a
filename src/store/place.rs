//! Where a record lies, and its rank among all records of the store.

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

/// Store-wide number of a record, given when it is first appended, contiguous from 1 per store and kept
/// for ever; at recovery the highest per key wins (PROTOCOL R12). Also names a hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Sequence(pub u64);
