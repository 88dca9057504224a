//! Sealing: a finished segment gets its key file, and recovery need not scan it any more.
//!
//! In this order, each step durable before the next: key file and checkpoint, their names, the manifest.
//! Cut short anywhere, the segment is still tail, and what was written for it is written again.

use super::checkpoint::{Checkpoint, checkpoint_name, remove_if_there};
use super::identity::{Identity, sync_names};
use super::key_file::{KeyFileSummary, write_key_file};
use super::sealed::{KeyFileStamp, SealedLog};
use super::{AppendError, Disk, DiskError, DiskErrorKind, Log};

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sealing {
    /// One segment is sealed.
    Done,
    /// No segment is finished, or its records are not durable yet.
    Idle,
    /// The disk is full, or no file can be opened: the segment stays tail for now.
    NoSpace,
}

impl From<KeyFileSummary> for KeyFileStamp {
    fn from(summary: KeyFileSummary) -> Self {
        KeyFileStamp { entries: summary.entries, bytes: summary.bytes, checksum: summary.checksum }
    }
}

impl<D: Disk> Log<D> {
    /// Seals the oldest finished segment. One step of bounded length: it may be called as often and as
    /// rarely as one likes.
    pub(super) fn seal_next(&mut self) -> Result<Sealing, AppendError> {
        if self.finished.front().is_none_or(|tail| tail.highest() > self.durable) {
            return Ok(Sealing::Idle);
        }
        match self.seal_oldest() {
            Ok(()) => Ok(Sealing::Done),
            Err(DiskError { kind: DiskErrorKind::Full | DiskErrorKind::TooManyOpenFiles, .. }) => Ok(Sealing::NoSpace),
            Err(error) => Err(self.poison(error)),
        }
    }

    /// Seals everything that is finished into the identity that is about to be written. For a log whose manifest
    /// was lost and that has been compacted: only together do its segments count.
    pub(super) fn seal_found(&mut self) -> Result<(), DiskError> {
        let mut sealed = SealedLog::default();
        while let Some(tail) = self.finished.pop_front() {
            self.tracker.apply(&tail.steps);
            sealed.through = sealed.through.max(tail.highest());
            sealed.first_tail = tail.segment + 1;
            let key_file = write_key_file(&*self.disk, &mut tail.run.joined())?;
            sealed.put(tail.sealed(key_file.into()));
        }
        sealed.checkpoint = Some(Checkpoint::of(&self.tracker, sealed.through).write(&*self.disk)?);
        sync_names(&*self.disk)?;
        self.identity.sealed = sealed;
        Ok(())
    }

    fn seal_oldest(&mut self) -> Result<(), DiskError> {
        let Some(tail) = self.finished.front_mut() else { return Ok(()) };
        // Taken, so that another attempt after a full disk does not play them twice.
        self.tracker.apply(&std::mem::take(&mut tail.steps));
        let key_file = write_key_file(&*self.disk, &mut tail.run.joined())?;
        let SealedLog { through, checkpoint: old, .. } = self.identity.sealed;
        let through = through.max(tail.highest());
        let new = match old {
            Some(stamp) if stamp.sequence == through => stamp,
            _ => Checkpoint::of(&self.tracker, through).write(&*self.disk)?,
        };
        sync_names(&*self.disk)?;
        let mut next = Identity { durable: self.durable, ..self.identity.clone() };
        next.sealed.put(tail.sealed(key_file.into()));
        next.sealed.through = through;
        next.sealed.first_tail = tail.segment + 1;
        next.sealed.checkpoint = Some(new);
        next.replace(&*self.disk)?;
        self.identity = next;
        self.finished.pop_front();
        match old {
            Some(stamp) if stamp != new => remove_if_there(&*self.disk, &checkpoint_name(stamp.sequence)),
            _ => Ok(()),
        }
    }
}
