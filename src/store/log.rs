//! The writing end: batches of records, one write and one sync each.

use super::frame::{Entry, MAX_FRAME_BYTES, Seat};
use super::identity::{Durability, Ending, Identity, marker_name, put_marker, sync_names};
use super::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use super::{Disk, DiskError, DiskErrorKind, Place, Reader, Record, Sequence};
use crate::base::{Mutation, broken};
use std::sync::Arc;

/// Longest batch: offsets in a segment are 32 bits.
const MAX_BATCH_BYTES: usize = u32::MAX as usize - SEGMENT_HEADER_BYTES - SEGMENT_ROUNDING;

/// A segment made for one long batch is rounded up to whole pages.
const SEGMENT_ROUNDING: usize = 4096;

/// The one writer of a data directory.
pub struct Log<D: Disk> {
    pub(super) disk: Arc<D>,
    pub(super) reader: Reader<D>,
    pub(super) identity: Identity,
    pub(super) settings: Settings,
    pub(super) phase: Phase,
    pub(super) active: Option<Active<D::File>>,
    /// A segment whose making ran out of space half-way; taken up again by the next batch that needs one.
    pub(super) unfinished: Option<(u32, Arc<D::File>)>,
    pub(super) next_segment: u32,
    /// The last sequence in the log.
    pub(super) last: Sequence,
    /// Everything up to here is synced.
    pub(super) durable: Sequence,
    /// The segment before the active one, and where its good part ends.
    pub(super) predecessor: (u32, u32),
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
    segment: u32,
    generation: u64,
    file: Arc<F>,
    end: u32,
    bytes: u32,
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
    /// opened to make it; places and sequences are in the batch's order.
    pub fn append(&mut self, records: &[Record]) -> Result<Vec<(Place, Sequence)>, AppendError> {
        let mut next = self.last.0;
        let entries: Vec<Entry> = records
            .iter()
            .map(|record| {
                next += 1;
                Entry::of(Sequence(next), record)
            })
            .collect();
        let places = self.write(&entries)?;
        if self.settings.durability == Durability::Fsync {
            self.sync()?;
        }
        Ok(places.into_iter().zip(entries.iter().map(|entry| entry.sequence)).collect())
    }

    /// Ends cleanly: everything synced, and said so in the identity.
    pub fn close(mut self) -> Result<(), DiskError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.durable < self.last {
            self.sync().map_err(|error| match error {
                AppendError::Poisoned(error) => error,
                AppendError::Full => unexpected_full(),
            })?;
        }
        self.identity.ending = Ending::Clean;
        self.identity.durable = self.last;
        self.identity.replace(&*self.disk)
    }

    /// Writes entries as one piece into one segment, not yet synced.
    pub(super) fn write(&mut self, entries: &[Entry]) -> Result<Vec<Place>, AppendError> {
        if let Some(error) = &self.failed {
            return Err(AppendError::Poisoned(error.clone()));
        }
        let total: usize = entries.iter().map(Entry::frame_bytes).sum();
        if total > MAX_BATCH_BYTES || entries.iter().any(|entry| entry.frame_bytes() > MAX_FRAME_BYTES) {
            return Err(AppendError::Full);
        }
        let Some((first, last)) = entries.first().zip(entries.last()) else { return Ok(Vec::new()) };
        if self.active.as_ref().is_none_or(|active| active.bytes - active.end < total as u32) {
            self.roll(first.sequence, total)?;
        }
        let durable = self.durable;
        let active = self.active.as_mut().expect("a roll leaves an active segment");
        let (mut bytes, mut places) = (Vec::with_capacity(total), Vec::with_capacity(entries.len()));
        for entry in entries {
            let offset = active.end + bytes.len() as u32;
            let seat = Seat { segment: active.segment, generation: active.generation, offset };
            places.push(entry.put(&mut bytes, seat, durable));
        }
        match self.disk.write_at(&active.file, u64::from(active.end), &bytes) {
            Ok(()) => {
                active.end += bytes.len() as u32;
                self.last = self.last.max(last.sequence);
                Ok(places)
            }
            Err(error) => Err(self.poison(error)),
        }
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

    /// The segment being written; 0 for none.
    pub(super) fn newest(&self) -> u32 {
        self.active.as_ref().map_or(0, |active| active.segment)
    }

    /// Begins a new segment with room for `batch` bytes. The one before is synced first: durability is
    /// a prefix of the log (PROTOCOL R12d).
    pub(super) fn roll(&mut self, first: Sequence, batch: usize) -> Result<(), AppendError> {
        let (segment, file) = self.begin_segment()?;
        let bytes = segment_size(self.settings.segment_bytes, batch);
        self.unless_full(self.disk.allocate(&file, u64::from(bytes)))?;
        if self.durable < self.last && !broken(Mutation::DiskNoPrefix) {
            self.sync()?;
        }
        let generation = generation(self.settings.nonce, segment);
        let (predecessor, predecessor_end) =
            self.active.as_ref().map_or(self.predecessor, |active| (active.segment, active.end));
        let header = SegmentHeader {
            segment,
            generation,
            first,
            durable_before: self.durable,
            predecessor,
            predecessor_end,
            cut_after: self.last,
        };
        let written = self.disk.write_at(&file, 0, &header.encode()).and_then(|()| self.disk.sync(&file));
        written.and_then(|()| sync_names(&*self.disk)).map_err(|error| self.poison(error))?;
        if self.phase == Phase::Serving {
            // Until this is on disk the segment counts for nothing, and the one before goes on.
            let next = Identity { newest: segment, durable: self.durable, ..self.identity.clone() };
            self.unless_full(next.replace(&*self.disk))?;
            self.identity = next;
        }
        self.unfinished = None;
        self.reader.admit(segment, generation, Some(file.clone()));
        self.active = Some(Active { segment, generation, file, end: SEGMENT_HEADER_BYTES as u32, bytes });
        Ok(())
    }

    /// The file of the next segment: a new one, or the one that could not be finished.
    fn begin_segment(&mut self) -> Result<(u32, Arc<D::File>), AppendError> {
        if let Some((segment, file)) = &self.unfinished {
            return Ok((*segment, file.clone()));
        }
        let segment = self.next_segment;
        let created = self.disk.create(&segment_name(segment));
        let file = Arc::new(self.unless_full(created)?);
        self.next_segment += 1;
        self.unfinished = Some((segment, file.clone()));
        Ok((segment, file))
    }

    /// A full disk, or no descriptor for a new file, stops the batch, anything else the log.
    fn unless_full<T>(&mut self, result: Result<T, DiskError>) -> Result<T, AppendError> {
        result.map_err(|error| match error.kind {
            DiskErrorKind::Full | DiskErrorKind::TooManyOpenFiles => AppendError::Full,
            _ => self.poison(error),
        })
    }

    /// Leaves word for the next opening, as far as the disk still lets us.
    fn poison(&mut self, error: DiskError) -> AppendError {
        // Best effort: this disk has just failed, and the caller ends the process in any case.
        let _ = put_marker(&*self.disk, &marker_name());
        self.failed = Some(error.clone());
        AppendError::Poisoned(error)
    }
}

/// Bytes of a new segment: a batch longer than a segment gets one of its own size.
fn segment_size(usual: u32, batch: usize) -> u32 {
    let needed = (SEGMENT_HEADER_BYTES + batch).next_multiple_of(SEGMENT_ROUNDING);
    u32::try_from(needed).unwrap_or(u32::MAX).max(usual)
}

/// A number that no earlier file of this name is likely to have had.
fn generation(nonce: u64, segment: u32) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(&segment.to_le_bytes(), nonce)
}

/// A full disk where there should be room.
pub(super) fn unexpected_full() -> DiskError {
    DiskError { kind: DiskErrorKind::Full, operation: "sync", file: "log".into(), detail: "no space".into() }
}
