//! Whether a delete still has something to hide.

use super::source::{Source, may_fill_a_slot};
use crate::base::{Mutation, broken};
use crate::store::Disk;
use crate::store::key_file::KeyEntry;
use std::collections::BTreeSet;

/// Most key files a compaction has open at once: with as many segments of 64 MiB a log holds 16 GiB, and a quarter of the
/// customary 1,024 descriptors of a process are taken.
pub const MAX_COMPACTION_KEY_FILES: usize = 256;

impl<D: Disk> Source<D> {
    /// Does a sealed segment other than `inputs` hold an older record of the key of this delete, which an
    /// opening would take for the newest if the delete were gone (PROTOCOL R12c)? Segments that are not
    /// sealed cannot: their records are later than all sealed ones. A segment that cannot be asked may.
    pub(super) fn is_older_elsewhere(&mut self, delete: &KeyEntry, inputs: &BTreeSet<u32>) -> bool {
        if broken(Mutation::CompactDropsDeletes) {
            return false;
        }
        let begins_before = |lowest| lowest < delete.sequence;
        let others: Vec<u32> = (self.sealed.iter())
            .filter(|sealed| sealed.sequences.is_some_and(|(lowest, _)| begins_before(lowest)))
            .map(|sealed| sealed.segment)
            .filter(|segment| !inputs.contains(segment))
            .collect();
        others.into_iter().any(|segment| self.may_hold_older(segment, delete))
    }

    fn may_hold_older(&mut self, segment: u32, delete: &KeyEntry) -> bool {
        if !self.key_files.contains_key(&segment) && self.key_files.len() >= MAX_COMPACTION_KEY_FILES {
            return true;
        }
        let Ok(file) = self.key_file(segment) else { return true };
        let is_older = |entry: &KeyEntry| {
            entry.partition == delete.partition && entry.sequence < delete.sequence && may_fill_a_slot(entry.kind)
        };
        file.may_contain(&delete.key) && file.get(&delete.key).map_or(true, |found| found.iter().any(is_older))
    }
}
