//! Which records a compaction has moved, and where.

use super::CompactionError;
use super::copy::key_file_failed;
use super::source::{Source, place_of};
use crate::store::key_file::{EntryKind, KeyEntry, KeyFile, KeySource, Merge};
use crate::store::sealed::SealedSegment;
use crate::store::{Disk, Holder, Moved};
use std::collections::BTreeSet;

/// Entries looked at for one list: bounds what the node does at once.
const ENTRIES_AT_ONCE: usize = 1024;

/// The key files of the inputs beside the output's: equal sequences are copies. Nothing of it need be held
/// in memory.
pub(super) struct Relocations<D: Disk> {
    output: u32,
    merge: Merge<'static, D>,
    copied: Option<KeyEntry>,
}

impl<D: Disk> Relocations<D> {
    pub(super) fn of(
        source: &mut Source<D>,
        inputs: &BTreeSet<u32>,
        output: &SealedSegment,
    ) -> Result<Self, CompactionError> {
        let failed = |error| CompactionError::of_key_file(output.segment, error);
        let seal = source.reader.codec().keys().seal(output.data_key);
        let own = KeyFile::open(source.disk.clone(), output.segment, output.generation, seal).map_err(failed)?;
        let mut sources = vec![KeySource::File(own.iter_from(&[]))];
        for segment in inputs {
            sources.push(KeySource::File(source.key_file(*segment)?.iter_from(&[])));
        }
        let merge = Merge::new(sources).map_err(key_file_failed)?;
        Ok(Relocations { output: output.segment, merge, copied: None })
    }

    /// The next of them, perhaps none yet; no list once there are no more.
    pub(super) fn next(&mut self) -> Result<Option<Vec<Moved>>, CompactionError> {
        let mut moved = Vec::new();
        for looked_at in 0..ENTRIES_AT_ONCE {
            let Some((segment, entry)) = self.merge.next().map_err(key_file_failed)? else {
                return Ok((looked_at > 0).then_some(moved));
            };
            if segment == self.output {
                self.copied = Some(entry);
            } else {
                moved.extend(self.copied.as_ref().and_then(|copy| self.moved(segment, &entry, copy)));
            }
        }
        Ok(Some(moved))
    }

    fn moved(&self, segment: u32, entry: &KeyEntry, copy: &KeyEntry) -> Option<Moved> {
        let identity = |entry: &KeyEntry| (entry.key.clone(), entry.partition, entry.sequence);
        let holder = match entry.kind {
            EntryKind::Hint => Holder::Hint(entry.sequence),
            _ => Holder::Key(entry.key.clone()),
        };
        let (from, to) = (place_of(segment, entry), place_of(self.output, copy));
        (identity(entry) == identity(copy)).then_some(Moved { partition: entry.partition, holder, from, to })
    }
}
