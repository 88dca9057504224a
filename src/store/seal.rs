//! Sealing: a finished segment gets its key file, and recovery need not scan it any more.
//!
//! In this order, each step durable before the next: key file and checkpoint, their names, the manifest. All but
//! the manifest is written elsewhere, while batches go on. Cut short anywhere, the segment is still tail, and what
//! was written for it is written again.

use super::checkpoint::{Checkpoint, checkpoint_name, remove_if_there};
use super::identity::{Identity, sync_names};
use super::key_file::{KeyFileSummary, write_key_file};
use super::sealed::{CheckpointStamp, KeyFileStamp, SealedLog, SealedSegment};
use super::tail::TailSegment;
use super::tracker::ClockTracker;
use super::{Disk, DiskError, Log, Sequence};
use std::sync::Arc;

/// The sealing of one segment. The log goes on meanwhile.
pub(super) struct Sealing {
    tail: Arc<TailSegment>,
    /// The state before the segment.
    before: Arc<ClockTracker>,
    through: Sequence,
    checkpoint: Option<CheckpointStamp>,
}

/// What the manifest is to say once the files are durable.
pub(super) struct Sealed {
    segment: SealedSegment,
    /// The state after the segment.
    after: ClockTracker,
    through: Sequence,
    checkpoint: CheckpointStamp,
}

impl From<KeyFileSummary> for KeyFileStamp {
    fn from(summary: KeyFileSummary) -> Self {
        KeyFileStamp { entries: summary.entries, bytes: summary.bytes, checksum: summary.checksum }
    }
}

impl Sealing {
    /// Writes key file and checkpoint, and makes them durable, names and all.
    pub(super) fn run<D: Disk>(&self, disk: &D) -> Result<Sealed, DiskError> {
        let mut after = ClockTracker::clone(&self.before);
        after.apply(&self.tail.steps);
        let key_file = write_key_file(disk, &mut self.tail.run.joined())?;
        let through = self.through.max(self.tail.highest());
        let checkpoint = match self.checkpoint {
            Some(stamp) if stamp.sequence == through => stamp,
            _ => Checkpoint::of(&after, through).write(disk)?,
        };
        sync_names(disk)?;
        Ok(Sealed { segment: self.tail.sealed(key_file.into()), after, through, checkpoint })
    }
}

impl<D: Disk> Log<D> {
    /// The sealing of the oldest finished segment, if its records are durable.
    pub(super) fn next_sealing(&self) -> Option<Sealing> {
        let tail = self.finished.front().filter(|tail| tail.highest() <= self.durable)?;
        let SealedLog { through, checkpoint, .. } = self.identity.sealed;
        Some(Sealing { tail: tail.clone(), before: self.tracker.clone(), through, checkpoint })
    }

    /// Lets the manifest say what has come of a sealing. Nothing happens if the log is not what the sealing began
    /// with: it is begun again.
    pub(super) fn install_sealing(&mut self, sealing: &Sealing, sealed: Sealed) -> Result<(), DiskError> {
        let is_oldest = self.finished.front().is_some_and(|tail| Arc::ptr_eq(tail, &sealing.tail));
        if !is_oldest || !Arc::ptr_eq(&self.tracker, &sealing.before) {
            return Ok(());
        }
        let Sealed { segment, after, through, checkpoint } = sealed;
        let mut next = Identity { durable: self.durable, ..self.identity.clone() };
        next.sealed.first_tail = segment.segment + 1;
        next.sealed.put(segment);
        next.sealed.through = through;
        next.sealed.checkpoint = Some(checkpoint);
        next.replace(&*self.disk)?;
        self.identity = next;
        self.tracker = Arc::new(after);
        self.finished.pop_front();
        match sealing.checkpoint {
            Some(old) if old != checkpoint => remove_if_there(&*self.disk, &checkpoint_name(old.sequence)),
            _ => Ok(()),
        }
    }

    /// Seals everything that is finished into the identity that is about to be written. For a log whose manifest
    /// was lost and that has been compacted: only together do its segments count.
    pub(super) fn seal_found(&mut self) -> Result<(), DiskError> {
        let mut sealed = SealedLog::default();
        let mut tracker = ClockTracker::clone(&self.tracker);
        while let Some(tail) = self.finished.pop_front() {
            tracker.apply(&tail.steps);
            sealed.through = sealed.through.max(tail.highest());
            sealed.first_tail = tail.segment + 1;
            let key_file = write_key_file(&*self.disk, &mut tail.run.joined())?;
            sealed.put(tail.sealed(key_file.into()));
        }
        sealed.checkpoint = Some(Checkpoint::of(&tracker, sealed.through).write(&*self.disk)?);
        sync_names(&*self.disk)?;
        self.tracker = Arc::new(tracker);
        self.identity.sealed = sealed;
        Ok(())
    }
}
