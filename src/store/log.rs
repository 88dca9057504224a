//! The writing end: batches of records, one write and one sync each.

use super::compaction::Compacted;
use super::frame::{Entry, Seat};
use super::identity::{Durability, Ending, Identity, marker_name, put_marker, sync_names};
use super::job::{Jobs, Pace};
use super::next_segment::{Haste, NextSegment, SEGMENT_ROUNDING, Space, first_segment_size, segment_size, space_for};
use super::segment::{Origin, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::tail::TailSegment;
use super::tracker::ClockTracker;
use super::{Disk, DiskError, DiskErrorKind, Place, Reader, Record, Sequence};
use crate::base::{Mutation, broken};
use std::collections::VecDeque;
use std::sync::Arc;

/// Longest batch: offsets in a segment are 32 bits.
const MAX_BATCH_BYTES: usize = u32::MAX as usize - SEGMENT_HEADER_BYTES - SEGMENT_ROUNDING;

/// The one writer of a data directory.
pub struct Log<D: Disk> {
    pub(super) disk: Arc<D>,
    pub(super) reader: Reader<D>,
    pub(super) identity: Identity,
    pub(super) settings: Settings,
    pub(super) phase: Phase,
    pub(super) active: Option<Active<D::File>>,
    /// Segments to be sealed, oldest first: nothing is written to them any more. Each roll adds one, jobs take
    /// them away; more than a few are there only while the disk is full.
    pub(super) finished: VecDeque<Arc<TailSegment>>,
    /// All that is not per key, as of the end of the sealed log.
    pub(super) tracker: Arc<ClockTracker>,
    /// The next segment, made ahead or by a batch that then found no space.
    pub(super) ahead: Option<NextSegment<D::File>>,
    pub(super) jobs: Jobs,
    /// Of the segment that is being made.
    pub(super) haste: Haste,
    pub(super) pace: Pace,
    pub(super) next_segment: u32,
    /// The last sequence in the log.
    pub(super) last: Sequence,
    /// Bytes of all batches written since it was opened.
    pub(super) written_bytes: u64,
    /// Everything up to here is synced.
    pub(super) durable: Sequence,
    /// The segment before the active one, and where its good part ends.
    pub(super) predecessor: (u32, u32),
    pub(super) compacted: Compacted,
    pub(super) failed: Option<DiskError>,
}

/// What does not change while a log is open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) segment_bytes: u32,
    pub(super) durability: Durability,
    /// Where generations of new segments come from.
    pub(super) nonce: u64,
}

/// Whether the log is open yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Recovery writes its own records; the identity on disk is still the last process's.
    Recovering,
    /// Batches are answered for.
    Serving,
}

/// The segment being written.
pub(super) struct Active<F> {
    pub(super) tail: TailSegment,
    file: Arc<F>,
    /// Length of the file.
    pub(super) bytes: u32,
}

/// Why a batch is not in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No space, no descriptor for a new file, or a record or batch beyond the format's limits. Nothing of the batch is in the log,
    /// and the log goes on: later batches may succeed.
    #[error("no space for the batch")]
    Full,
    /// A write or sync failed: what of the batch is on disk is unknown, and so is what the system has
    /// dropped. The process must end; the next opening draws a new actor (PROTOCOL R17).
    #[error("the log is poisoned: {0}")]
    Poisoned(DiskError),
}

impl<D: Disk> Log<D> {
    /// Appends a batch: all of it or nothing. When this returns, it is as durable as the store was
    /// opened to make it; places and sequences are in the batch's order. Somebody should do the log's
    /// jobs ([`Log::next_job`]) meanwhile: a batch that begins a segment does them while too many segments wait.
    pub fn append(&mut self, records: &[Record]) -> Result<Vec<(Place, Sequence)>, AppendError> {
        let entries = Entry::all_after(self.reader.codec(), self.last, records);
        let before = self.newest();
        let places = self.write(&entries)?;
        if self.settings.durability == Durability::Fsync && !broken(Mutation::AnswerBeforeSync) {
            self.sync()?;
        }
        if self.newest() != before {
            self.catch_up()?;
        }
        Ok(places.into_iter().zip(entries.iter().map(|entry| entry.sequence)).collect())
    }

    /// Why the log is poisoned, if it is: the process must end.
    pub fn failure(&self) -> Option<&DiskError> {
        self.failed.as_ref()
    }

    /// Bytes of the frames written since it was opened, copies by compaction aside.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Ends cleanly: everything synced and sealed, and said so in the identity. If there is no space for
    /// sealing, or a job has not come back, the next opening has to scan.
    pub fn close(mut self) -> Result<(), DiskError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.durable < self.last {
            self.sync().map_err(poisoned_by)?;
        }
        let active = self.active.take().map(|active| active.tail).filter(|tail| tail.records > 0);
        self.finished.extend(active.map(Arc::new));
        self.do_jobs().map_err(poisoned_by)?;
        if let Some(ahead) = self.ahead.take() {
            ahead.discard(&*self.disk);
        }
        self.identity.ending = Ending::Clean;
        self.identity.durable = self.last;
        self.identity.replace(&*self.disk)
    }

    /// Writes entries as one piece into one segment, not yet synced.
    pub(super) fn write(&mut self, entries: &[Entry<'_>]) -> Result<Vec<Place>, AppendError> {
        if let Some(error) = &self.failed {
            return Err(AppendError::Poisoned(error.clone()));
        }
        let total: usize = entries.iter().map(Entry::frame_bytes).sum();
        if total > MAX_BATCH_BYTES || entries.iter().any(Entry::is_too_long) {
            return Err(AppendError::Full);
        }
        let Some((first, last)) = entries.first().zip(entries.last()) else { return Ok(Vec::new()) };
        if self.active.as_ref().is_none_or(|active| active.bytes - active.tail.end < total as u32) {
            self.roll(first.sequence, total)?;
        }
        let (durable, actor) = (self.durable, self.identity.actor);
        let active = self.active.as_mut().expect("a roll leaves an active segment");
        let TailSegment { segment, generation, end, .. } = active.tail;
        let (mut bytes, mut places) = (Vec::with_capacity(total + SEGMENT_ROUNDING), Vec::with_capacity(entries.len()));
        for entry in entries {
            let seat = Seat { segment, generation, offset: end + bytes.len() as u32 };
            places.push(entry.put(self.reader.codec(), &mut bytes, seat, durable));
        }
        bytes.resize(whole_pages(end, bytes.len(), active.bytes), 0);
        if let Err(error) = self.disk.write_at(&active.file, u64::from(end), &bytes) {
            return Err(self.poison(error));
        }
        for (entry, place) in entries.iter().zip(&places) {
            active.tail.note(actor, entry.sequence, entry.record, *place);
        }
        self.last = self.last.max(last.sequence);
        self.written_bytes += total as u64;
        Ok(places)
    }

    /// Makes everything written durable.
    pub(super) fn sync(&mut self) -> Result<(), AppendError> {
        let synced = self.active.as_ref().map_or(Ok(()), |active| self.disk.sync(&active.file));
        synced.map_err(|error| self.poison(error))?;
        // What recovery copies counts as durable only once all of it is.
        if self.phase == Phase::Serving {
            self.durable = self.last;
        }
        Ok(())
    }

    /// Segments that are not sealed, oldest first.
    pub(super) fn tails(&self) -> impl Iterator<Item = &TailSegment> {
        self.finished.iter().map(|tail| &**tail).chain(self.active.as_ref().map(|active| &active.tail))
    }

    /// The segment being written; 0 for none.
    pub(super) fn newest(&self) -> u32 {
        self.active.as_ref().map_or(0, |active| active.tail.segment)
    }

    /// Begins a new segment with room for `batch` bytes. The one before is synced first: durability is
    /// a prefix of the log (PROTOCOL R12d).
    pub(super) fn roll(&mut self, first: Sequence, batch: usize) -> Result<(), AppendError> {
        let next = self.take_next_segment(batch)?;
        if self.durable < self.last && !broken(Mutation::DiskNoPrefix) {
            self.sync()?;
        }
        let NextSegment { segment, ref file, bytes } = next;
        let generation = generation(self.settings.nonce, segment);
        let seal = self.reader.codec().current_seal();
        let (predecessor, predecessor_end) =
            self.active.as_ref().map_or(self.predecessor, |active| (active.tail.segment, active.tail.end));
        let header = SegmentHeader {
            segment,
            generation,
            first,
            durable_before: self.durable,
            predecessor,
            predecessor_end,
            cut_after: self.last,
            origin: Origin::Appended,
            data_key: seal.number,
        };
        let written = self.disk.write_at(file, 0, &header.encode()).and_then(|()| self.disk.sync(file));
        let named = written.and_then(|()| next.name(&*self.disk)).and_then(|()| sync_names(&*self.disk));
        named.map_err(|error| self.poison(error))?;
        if self.phase == Phase::Serving
            && let Err(refused) = self.count_segment(segment)
        {
            next.unname(&*self.disk).map_err(|error| self.poison(error))?;
            self.ahead = Some(next);
            return Err(refused);
        }
        self.reader.admit(segment, generation, Some(file.clone()));
        let next = Active { tail: TailSegment::new(segment, generation, seal), file: next.file, bytes };
        self.finished.extend(self.active.replace(next).map(|active| Arc::new(active.tail)));
        Ok(())
    }

    /// Until this is on disk a segment counts for nothing, and the one before goes on.
    fn count_segment(&mut self, segment: u32) -> Result<(), AppendError> {
        let next = Identity { newest: segment, durable: self.durable, ..self.identity.clone() };
        self.unless_full(next.replace(&*self.disk))?;
        self.identity = next;
        Ok(())
    }

    /// The file of the next segment: the one made ahead, if it is long enough.
    fn take_next_segment(&mut self, batch: usize) -> Result<NextSegment<D::File>, AppendError> {
        match self.ahead.take() {
            Some(next) if next.takes(batch) => {
                self.pace = Pace::JobsKeepUp;
                return Ok(next);
            }
            Some(short) => short.discard(&*self.disk),
            // One that is being made comes too late for its number.
            None => self.hurry(),
        }
        let Settings { segment_bytes, durability, .. } = self.settings;
        let (bytes, space) = match self.active {
            None => (first_segment_size(segment_bytes, batch), space_for(durability)),
            // The log is faster than its jobs: this batch waits for as little as can be.
            Some(_) => {
                self.pace = Pace::JobsAreLate;
                (segment_size(segment_bytes, batch), Space::Reserved)
            }
        };
        let made = NextSegment::make(&*self.disk, self.next_segment, bytes, space, &Haste::default());
        let made = self.unless_full(made)?;
        self.next_segment += 1;
        Ok(made)
    }

    /// A full disk, or no descriptor for a new file, stops the batch, anything else the log.
    fn unless_full<T>(&mut self, result: Result<T, DiskError>) -> Result<T, AppendError> {
        result.map_err(|error| match error.kind {
            DiskErrorKind::Full | DiskErrorKind::TooManyOpenFiles => AppendError::Full,
            _ => self.poison(error),
        })
    }

    /// Leaves word for the next opening, as far as the disk still lets us.
    pub(super) fn poison(&mut self, error: DiskError) -> AppendError {
        // Best effort: this disk has just failed, and the caller ends the process in any case.
        let _ = put_marker(&*self.disk, &marker_name());
        self.failed = Some(error.clone());
        AppendError::Poisoned(error)
    }
}

/// Bytes to write from `end` on for a batch of so many: up to the end of its last page, where the segment has that.
fn whole_pages(end: u32, batch: usize, segment_bytes: u32) -> usize {
    let batch_end = end as usize + batch;
    batch_end.next_multiple_of(SEGMENT_ROUNDING).min(segment_bytes as usize).max(batch_end) - end as usize
}

/// A number that no earlier file of this name is likely to have had.
pub(super) fn generation(nonce: u64, segment: u32) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(&segment.to_le_bytes(), nonce)
}

/// The disk's error behind a failed call that needs no space.
pub(super) fn poisoned_by(error: AppendError) -> DiskError {
    match error {
        AppendError::Poisoned(error) => error,
        AppendError::Full => {
            DiskError { kind: DiskErrorKind::Full, operation: "sync", file: "log".into(), detail: "no space".into() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_ends_with_a_page_or_with_the_segment() {
        assert_eq!(whole_pages(64, 100, 1 << 16), 4096 - 64);
        assert_eq!(whole_pages(8000, 192, 1 << 16), 192);
        assert_eq!(whole_pages(8000, 200, 1 << 16), 12288 - 8000);
        assert_eq!(whole_pages(8000, 200, 8300), 300);
        assert_eq!(whole_pages(8000, 300, 8300), 300);
    }
}
