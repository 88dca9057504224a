//! Makes pages, and keeps key files open between them.

use super::page::Merge;
use super::{KeyPage, KeyQuery, KeySnapshot};
use crate::ring::PartitionId;
use crate::store::key_file::{Descriptor, KeyFile, KeyFileError, NewestCursor};
use crate::store::sealed::SealedSegment;
use crate::store::{Disk, DiskErrorKind};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most key files whose descriptors are kept: at 64 MiB a segment they cover 8 GiB. Those beyond are opened for each
/// block that is read (about 5 us more).
pub const MAX_OPEN_KEY_FILES: usize = 128;

/// Lists keys, on any thread. One for each store: it remembers what it has opened.
pub struct KeyLister<D: Disk> {
    disk: Arc<D>,
    open: Mutex<BTreeMap<u32, Open<D>>>,
}

/// A key file whose index is in memory.
struct Open<D: Disk> {
    generation: u64,
    descriptor: Descriptor,
    file: KeyFile<D>,
}

/// Why there is no page. Nothing of it is known: an error is never "no keys".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// A segment of the snapshot has been compacted away: take another snapshot.
    #[error("a segment of the snapshot is gone")]
    Stale,
    /// A key file cannot be read; the next opening mends it.
    #[error("{0}")]
    Unreadable(String),
}

impl<D: Disk> KeyLister<D> {
    /// A lister of the store in this directory.
    pub fn new(disk: Arc<D>) -> Self {
        KeyLister { disk, open: Mutex::default() }
    }

    /// The keys of a snapshot that are asked for and in a partition that is `wanted`.
    pub fn page(
        &self,
        snapshot: &KeySnapshot,
        query: &KeyQuery,
        wanted: &dyn Fn(PartitionId) -> bool,
    ) -> Result<KeyPage, ListError> {
        self.forget_all_but(snapshot);
        let made = self.make(snapshot, query, wanted);
        made.map_err(|error| match error {
            KeyFileError::Disk(error) if error.kind == DiskErrorKind::NotFound => ListError::Stale,
            error => {
                // Whichever it is: it may be written anew.
                self.lock().clear();
                ListError::Unreadable(error.to_string())
            }
        })
    }

    fn make(
        &self,
        snapshot: &KeySnapshot,
        query: &KeyQuery,
        wanted: &dyn Fn(PartitionId) -> bool,
    ) -> Result<KeyPage, KeyFileError> {
        let start = query.from.as_ref().max(query.prefix.as_ref());
        let mut cursors = Vec::with_capacity(snapshot.sealed.len() + snapshot.pieces.len());
        for sealed in &snapshot.sealed {
            cursors.push(NewestCursor::of_file(self.key_file(snapshot, sealed)?, start));
        }
        cursors.extend(snapshot.pieces.iter().map(|piece| NewestCursor::of_run(Arc::clone(piece), start)));
        let counts = |partition, sequence| wanted(partition) && snapshot.keeps(partition, sequence);
        Merge::new(cursors)?.page(query, &counts)
    }

    /// The key file of a sealed segment, as the manifest knows it.
    fn key_file(&self, snapshot: &KeySnapshot, sealed: &SealedSegment) -> Result<KeyFile<D>, KeyFileError> {
        let (descriptor, known) = {
            let open = self.lock();
            let kept = open.values().filter(|open| open.descriptor == Descriptor::Kept).count();
            let descriptor = if kept < MAX_OPEN_KEY_FILES { Descriptor::Kept } else { Descriptor::PerRead };
            let known = open.get(&sealed.segment).filter(|open| open.generation == sealed.generation);
            (descriptor, known.map(|open| open.file.clone()))
        };
        // One that was written anew since is another.
        if let Some(file) = known.filter(|file| sealed.key_file == file.summary().into()) {
            return Ok(file);
        }
        let (segment, generation) = (sealed.segment, sealed.generation);
        // Without the lock: others list from what is open.
        let seal = snapshot.codec.keys().seal(sealed.data_key);
        let file = KeyFile::open_as(self.disk.clone(), segment, generation, seal, descriptor)?;
        if sealed.key_file != file.summary().into() {
            return Err(KeyFileError::Damaged { segment, what: "not the one the manifest speaks of" });
        }
        self.lock().insert(segment, Open { generation, descriptor, file: file.clone() });
        Ok(file)
    }

    /// Closes what is compacted away. A higher number than any of the snapshot's is of a later one.
    fn forget_all_but(&self, snapshot: &KeySnapshot) {
        let listed = |segment: &u32| snapshot.sealed.binary_search_by_key(segment, |sealed| sealed.segment).is_ok();
        let highest = snapshot.sealed.last().map_or(0, |sealed| sealed.segment);
        self.lock().retain(|segment, _| *segment > highest || listed(segment));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Open<D>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
