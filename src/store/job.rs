//! Work on the files of a log that no batch has to wait for.
//!
//! ```text
//!  Log::next_job --> Job::run --> Log::finish_job
//!   the log's owner   any thread   the log's owner, between two batches
//! ```
//!
//! Two kinds: the next segment is made before the active one is full, and a finished segment gets its key file and
//! its checkpoint. One job at a time. A job that never
//! comes back, because the process ends, costs nothing but the next opening's time.

use super::log::Settings;
use super::next_segment::{Haste, NextSegment, Space, space_for};
use super::seal::{Sealed, Sealing};
use super::{AppendError, Disk, DiskError, DiskErrorKind, Log};
use std::sync::Arc;

/// Most finished segments that wait for a job: beyond, batches wait for the oldest to be sealed. The next opening
/// scans them, at 64 MiB each in a second or two, and their keys are in memory until then.
pub(super) const MAX_UNSEALED: usize = 4;

/// Work for a log, to be done on any thread.
pub struct Job<D: Disk> {
    disk: Arc<D>,
    work: Work<D::File>,
}

enum Work<F> {
    /// Make the next segment; soon, once somebody waits.
    Make { segment: u32, bytes: u32, space: Space, haste: Haste, made: Option<Result<NextSegment<F>, DiskError>> },
    /// Seal the oldest finished segment.
    Seal { sealing: Sealing, sealed: Option<Result<Box<Sealed>, DiskError>> },
}

/// Whether jobs are done before the log needs what they make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    JobsKeepUp,
    /// The active segment had to be made by a batch: the next one is made the quick way.
    JobsAreLate,
}

/// Whether a log hands out a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Jobs {
    /// It does, if there is something to do.
    Free,
    /// One is under way.
    UnderWay,
    /// The last one met a full disk: the next one is handed out once this segment is not the newest any more.
    PutOff(u32),
}

impl<D: Disk> Job<D> {
    /// Does the work. What goes wrong is told by [`Log::finish_job`].
    pub fn run(&mut self) {
        match &mut self.work {
            Work::Make { segment, bytes, space, haste, made } => {
                *made = Some(make_durable(&*self.disk, *segment, *bytes, *space, haste));
            }
            Work::Seal { sealing, sealed } => *sealed = Some(sealing.run(&*self.disk).map(Box::new)),
        }
    }
}

/// With its length and its space synced: the first sync of a batch need not do that.
fn make_durable<D: Disk>(
    disk: &D,
    segment: u32,
    bytes: u32,
    space: Space,
    haste: &Haste,
) -> Result<NextSegment<D::File>, DiskError> {
    let next = NextSegment::make(disk, segment, bytes, space, haste)?;
    if space == Space::Reserved {
        disk.sync(&next.file)?;
    }
    Ok(next)
}

impl<D: Disk> Log<D> {
    /// The next thing to do. It must come back by [`Log::finish_job`]; until then there is no other.
    pub fn next_job(&mut self) -> Option<Job<D>> {
        let free = match self.jobs {
            Jobs::Free => true,
            Jobs::UnderWay => false,
            Jobs::PutOff(newest) => newest != self.newest(),
        };
        if !free || self.failed.is_some() {
            return None;
        }
        // Whoever waits for segments to be sealed does not wait for zeros as well.
        let work = if self.finished.len() <= MAX_UNSEALED && self.wants_next_segment() {
            self.next_segment += 1;
            let Settings { segment_bytes: bytes, durability, .. } = self.settings;
            let space = match self.pace {
                Pace::JobsKeepUp => space_for(durability),
                Pace::JobsAreLate => Space::Reserved,
            };
            self.haste = Haste::default();
            Work::Make { segment: self.next_segment - 1, bytes, space, haste: self.haste.clone(), made: None }
        } else {
            Work::Seal { sealing: self.next_sealing()?, sealed: None }
        };
        self.jobs = Jobs::UnderWay;
        Some(Job { disk: self.disk.clone(), work })
    }

    /// Takes over what a job has come to. One that was not run is handed out again. After a full disk, or without
    /// a descriptor for a new file, nothing is handed out until the next segment is begun; any other error
    /// poisons the log.
    pub fn finish_job(&mut self, job: Job<D>) -> Result<(), AppendError> {
        self.jobs = Jobs::Free;
        if let Some(error) = &self.failed {
            return Err(AppendError::Poisoned(error.clone()));
        }
        let done = match job.work {
            Work::Make { made, .. } => made.transpose().map(|made| self.take_over(made)),
            Work::Seal { sealing, sealed: Some(sealed) } => {
                sealed.and_then(|sealed| self.install_sealing(&sealing, *sealed))
            }
            Work::Seal { sealed: None, .. } => Ok(()),
        };
        match done {
            Ok(()) => Ok(()),
            Err(DiskError { kind: DiskErrorKind::Full | DiskErrorKind::TooManyOpenFiles, .. }) => {
                self.jobs = Jobs::PutOff(self.newest());
                Ok(())
            }
            Err(error) => Err(self.poison(error)),
        }
    }

    /// The job under way will never come back: whoever did it has panicked, and what it has done is unknown. As after
    /// a failed one, the process must end.
    pub fn lose_job(&mut self) -> AppendError {
        let (operation, file) = ("finish", "segment".to_owned());
        let detail = "the thread that makes and seals segments has panicked".to_owned();
        self.poison(DiskError { kind: DiskErrorKind::Failed, operation, file, detail })
    }

    /// Somebody waits for the job under way: it does what it must and no more.
    pub fn hurry(&self) {
        self.haste.call();
    }

    /// Do so many segments wait for a job that the one under way should be finished before the next append?
    pub fn is_behind(&self) -> bool {
        self.jobs == Jobs::UnderWay && self.finished.len() > MAX_UNSEALED
    }

    /// Does jobs until few segments wait for one. If one is under way elsewhere, its driver has to.
    pub(super) fn catch_up(&mut self) -> Result<(), AppendError> {
        while self.finished.len() > MAX_UNSEALED {
            let Some(job) = self.next_job() else { break };
            self.do_job(job)?;
        }
        Ok(())
    }

    /// Does all jobs there are, here and now: for a driver without a thread for them.
    pub fn do_jobs(&mut self) -> Result<(), AppendError> {
        while let Some(job) = self.next_job() {
            self.do_job(job)?;
        }
        Ok(())
    }

    fn do_job(&mut self, mut job: Job<D>) -> Result<(), AppendError> {
        job.run();
        self.finish_job(job)
    }

    /// Numbers ascend in the order of writing: what was made too late for its number is of no use.
    fn take_over(&mut self, made: Option<NextSegment<D::File>>) {
        let Some(made) = made else { return };
        if made.segment > self.newest() && self.ahead.is_none() {
            self.ahead = Some(made);
        } else {
            made.discard(&*self.disk);
        }
    }

    /// Half a segment is time enough to make the next one, and a log that is hardly written to does without.
    fn wants_next_segment(&self) -> bool {
        let half = self.active.as_ref().is_some_and(|active| active.tail.end > active.bytes / 2);
        half && self.ahead.is_none()
    }
}
