//! A compaction and the log it is of: beginning, and the two changes of the manifest.

use super::output::remove_output;
use super::source::Source;
use super::{Compaction, CompactionError, CompactionOptions};
use crate::store::checkpoint::remove_if_there;
use crate::store::cipher::DataKeys;
use crate::store::identity::{Identity, sync_names};
use crate::store::key_file::key_file_name;
use crate::store::log::generation;
use crate::store::segment::{is_quarantine, segment_name};
use crate::store::{AppendError, Disk, DiskError, DiskErrorKind, Log};
use std::collections::{BTreeMap, BTreeSet};

/// What a log remembers of its compactions.
#[derive(Debug, Default)]
pub(in crate::store) struct Compacted {
    /// Segments that count no more; their files are still there for reads under way.
    retired: Vec<u32>,
    /// Segments in which damage was found: left alone until they were examined.
    shunned: BTreeSet<u32>,
    /// Segments with records that cannot be read and do not count.
    condemned: BTreeSet<u32>,
    /// The output that counts while the node is still told what has moved there.
    relocating: Option<u32>,
    /// Data keys that are out of the file, and with it out of this directory.
    dropped_keys: BTreeSet<u8>,
}

impl Compacted {
    /// May the node still take records of this segment for superseded that it will take for current?
    pub(in crate::store) fn is_relocating(&self, segment: u32) -> bool {
        self.relocating == Some(segment)
    }

    pub(in crate::store) fn condemn(&mut self, segment: u32) {
        self.shunned.remove(&segment);
        self.condemned.insert(segment);
    }
}

impl<D: Disk> Log<D> {
    /// Begins a compaction of what is sealed now; the files of the one before go. One at a time.
    pub fn begin_compaction(&mut self, options: CompactionOptions) -> Compaction<D> {
        self.remove_retired();
        self.drop_data_keys();
        self.compacted.relocating = None;
        let number = self.next_segment;
        self.next_segment += 1;
        let source = Source {
            disk: self.disk.clone(),
            reader: self.reader.clone(),
            sealed: self.identity.sealed.segments.clone(),
            through: self.identity.sealed.through,
            hints: self.tracker.hints.keys().copied().collect(),
            shunned: self.compacted.shunned.clone(),
            condemned: self.compacted.condemned.clone(),
            segment_bytes: u64::from(self.settings.segment_bytes),
            key_files: BTreeMap::new(),
        };
        Compaction::new(source, options, (number, generation(self.settings.nonce, number)))
    }

    /// Makes the output count, beside the inputs: of equal records that in the output does. Nothing happens
    /// before all is copied. `Full`: try again later, or give up.
    pub fn install(&mut self, compaction: &Compaction<D>) -> Result<(), AppendError> {
        let Some(output) = compaction.copied().and_then(|copied| copied.output.clone()) else { return Ok(()) };
        let (segment, generation) = (output.segment, output.generation);
        let mut next = Identity { durable: self.durable, ..self.identity.clone() };
        next.sealed.put(output);
        self.replace_manifest(next)?;
        self.compacted.relocating = Some(segment);
        self.reader.admit(segment, generation, None);
        Ok(())
    }

    /// The inputs count no more. Nothing happens unless the output is installed. `Full`: try again later; what
    /// is not retired is compacted once more.
    ///
    /// What has superseded their records is synced first, and the manifest says so: of a later loss of it an
    /// opening must make damage, not a torn tail.
    pub fn retire(&mut self, compaction: &Compaction<D>) -> Result<(), AppendError> {
        let Some(copied) = compaction.copied() else { return Ok(()) };
        let installed = |segment| self.identity.sealed.get(segment).is_some();
        if !copied.output.as_ref().is_none_or(|output| installed(output.segment)) {
            return Ok(());
        }
        if let Some(error) = &self.failed {
            return Err(AppendError::Poisoned(error.clone()));
        }
        if self.durable < self.last {
            self.sync()?;
        }
        let mut next = Identity { durable: self.durable, ..self.identity.clone() };
        next.sealed.segments.retain(|sealed| !copied.inputs.contains(&sealed.segment));
        self.replace_manifest(next)?;
        self.compacted.relocating = None;
        self.compacted.condemned.retain(|segment| !copied.inputs.contains(segment));
        self.compacted.retired.extend(&copied.inputs);
        Ok(())
    }

    /// Ends a compaction that cannot go on: its output goes, unless it is installed. A log whose disk has failed
    /// is poisoned.
    pub fn abandon(&mut self, compaction: Compaction<D>, why: CompactionError) -> Result<(), AppendError> {
        let ((number, _), inputs) = (compaction.number, compaction.inputs());
        drop(compaction);
        self.compacted.relocating = None;
        match why {
            CompactionError::Failed(error) => return Err(self.poison(error)),
            // Which of the inputs it is in, a key file that the disk cannot read does not say.
            CompactionError::Damaged(finding) if finding.segment == 0 => {
                self.compacted.shunned.extend(inputs);
            }
            CompactionError::Damaged(finding) => drop(self.compacted.shunned.insert(finding.segment)),
            CompactionError::Full => {}
        }
        if self.identity.sealed.get(number).is_none() {
            remove_output(&*self.disk, number);
        }
        Ok(())
    }

    pub(in crate::store) fn replace_manifest(&mut self, next: Identity) -> Result<(), AppendError> {
        if let Some(error) = &self.failed {
            return Err(AppendError::Poisoned(error.clone()));
        }
        match next.replace(&*self.disk) {
            Ok(()) => {
                self.identity = next;
                Ok(())
            }
            Err(DiskError { kind: DiskErrorKind::Full | DiskErrorKind::TooManyOpenFiles, .. }) => {
                Err(AppendError::Full)
            }
            Err(error) => Err(self.poison(error)),
        }
    }

    /// Takes away the files of retired segments, lowest first; those that the disk keeps, the next time.
    fn remove_retired(&mut self) {
        let mut retired = std::mem::take(&mut self.compacted.retired);
        retired.sort_unstable();
        for segment in retired {
            self.reader.forget(segment);
            let names = [segment_name(segment), key_file_name(segment)];
            if names.iter().any(|name| remove_if_there(&*self.disk, name).is_err()) {
                self.compacted.retired.push(segment);
            }
        }
    }

    /// Takes data keys out of the file under which nothing is encrypted any more, files of retired segments
    /// included: a lost manifest would have an opening read those. On a full disk, the next time.
    fn drop_data_keys(&mut self) {
        let keys = self.reader.codec().clone();
        let unused: BTreeSet<u8> = keys.keys().numbers().difference(&self.data_keys_in_use()).copied().collect();
        if unused.is_subset(&self.compacted.dropped_keys) || !self.compacted.retired.is_empty() || self.failed.is_some()
        {
            return;
        }
        match self.forget_data_keys(keys.keys(), &unused) {
            Ok(()) => {}
            Err(DiskError { kind: DiskErrorKind::Full | DiskErrorKind::TooManyOpenFiles, .. }) => {}
            // That the names were not synced is told only once: what was renamed before may be gone, too.
            Err(error) => drop(self.poison(error)),
        }
    }

    /// The data keys of all that is read: sealed segments, and the others, from which key files are still made. A
    /// segment made ahead has none yet.
    fn data_keys_in_use(&self) -> BTreeSet<u8> {
        let sealed = self.identity.sealed.segments.iter().map(|sealed| sealed.data_key);
        let tails = self.tails().map(|tail| tail.run.seal().number);
        sealed.chain(tails).chain([self.reader.codec().keys().current()]).collect()
    }

    fn forget_data_keys(&mut self, keys: &DataKeys, unused: &BTreeSet<u8>) -> Result<(), DiskError> {
        // Their headers are gone, and with them the numbers: whoever wants to look into them needs all there are.
        if self.disk.list()?.iter().any(is_quarantine) {
            return Ok(());
        }
        sync_names(&*self.disk)?;
        keys.remove(&*self.disk, unused)?;
        self.compacted.dropped_keys = unused.clone();
        Ok(())
    }
}
