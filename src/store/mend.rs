//! Looking closely at the sealed log, and writing anew what can be.

use super::cipher::DataKeys;
use super::identity::sync_names;
use super::key_file::{KeyFile, write_key_file};
use super::reader::OpenSegment;
use super::scan::{Framed, Scan, Span, Window};
use super::sealed::SealedSegment;
use super::segment::{Origin, SegmentHeader};
use super::setback::Setback;
use super::tail::TailSegment;
use super::verdict::{Care, lost_of, lost_records};
use super::{Disk, DiskError, DiskErrorKind, Finding, FindingKind, Log, OpenError, Reader, Record, Sequence};
use crate::causal::{Actor, Intervals};
use std::sync::Arc;

/// The frames of a sealed segment that count, each as it was written; nothing is decoded.
pub(super) struct SealedFrames {
    pub(super) frames: Vec<Framed>,
    /// Bytes that are no record, or that the disk would not give back.
    pub(super) findings: Vec<Finding>,
}

impl SealedFrames {
    /// Reads all of a segment. Those that `lost` says are lost stay so.
    pub(super) fn read<D: Disk>(
        disk: &D,
        reader: &Reader<D>,
        sealed: &SealedSegment,
        lost: &Intervals,
    ) -> Result<SealedFrames, OpenError> {
        let none = SealedFrames { frames: Vec::new(), findings: Vec::new() };
        let Some(OpenSegment { file, .. }) = reader.file(sealed.segment)? else { return Ok(none) };
        let limit = disk.len(&file)?.min(u64::from(sealed.end));
        let mut scan = Scan::run(disk, &file, &header_of(sealed), limit)?;
        scan.frames.retain(|framed| {
            let counts = sealed.sequences.is_some_and(|(from, to)| (from..=to).contains(&framed.sequence));
            counts && !lost.contains(framed.sequence.0)
        });
        let segment = sealed.segment;
        let note = |kind, span: &Span| Finding { kind, segment, offset: span.offset, bytes: span.bytes };
        let unreadable = scan.unreadable.iter().map(|span| note(FindingKind::UnreadableBytes, span));
        let bad = scan.bad.iter().map(|span| note(FindingKind::DamagedBytes, span));
        Ok(SealedFrames { findings: unreadable.chain(bad).collect(), frames: scan.frames })
    }

    /// Is every record there that was sealed? If not, how many are gone.
    pub(super) fn missing(&self, sealed: &SealedSegment) -> Option<Finding> {
        missing(sealed, self.frames.len() as u64)
    }

    /// Are they what the manifest counts?
    pub(super) fn are_counted(&self, sealed: &SealedSegment) -> bool {
        let bytes: u64 = self.frames.iter().map(|framed| u64::from(framed.place.length)).sum();
        let sequences = self.frames.iter().map(|framed| framed.sequence);
        let sequences = sequences.clone().min().zip(sequences.max());
        (self.frames.len() as u64, bytes, sequences) == (sealed.records, sealed.bytes, sealed.sequences)
    }
}

/// A sealed segment as its records give it back.
pub(super) struct ReadBack {
    pub(super) found: TailSegment,
    /// The sequences of its records.
    pub(super) sequences: Intervals,
    /// Bytes that are no record, or that the disk would not give back.
    pub(super) findings: Vec<Finding>,
}

impl ReadBack {
    /// Reads every record of a segment that counts, and shows it to `see`. Those that `lost` says are lost
    /// stay so.
    pub(super) fn read<D: Disk>(
        disk: &D,
        reader: &Reader<D>,
        sealed: &SealedSegment,
        lost: &Intervals,
        mut see: impl FnMut(&Record),
    ) -> Result<ReadBack, OpenError> {
        let SealedSegment { segment, generation, end, data_key, .. } = *sealed;
        let SealedFrames { frames, findings } = SealedFrames::read(disk, reader, sealed, lost)?;
        let mut back = ReadBack {
            found: TailSegment::new(segment, generation, reader.codec().keys().seal(data_key)),
            sequences: Intervals::default(),
            findings,
        };
        let Some(OpenSegment { file, .. }) = reader.file(segment)? else { return Ok(back) };
        let mut window = Window::new(disk, &file, disk.len(&file)?.min(u64::from(end)));
        for framed in &frames {
            let record = window.record(reader.codec(), framed, generation)?;
            let record = record.ok_or(OpenError::NotUnderstood { sequence: framed.sequence, place: framed.place })?;
            see(&record);
            // Whose counters count does not matter: only the key file comes of this.
            back.found.note(Actor(0), framed.sequence, &record, framed.place);
            back.sequences.insert(framed.sequence.0);
        }
        Ok(back)
    }

    /// Is every record there that was sealed? If not, how many are gone.
    pub(super) fn missing(&self, sealed: &SealedSegment) -> Option<Finding> {
        missing(sealed, self.found.records)
    }
}

fn missing(sealed: &SealedSegment, found: u64) -> Option<Finding> {
    let gone = sealed.records.checked_sub(found).filter(|gone| *gone > 0)?;
    let from = sealed.sequences.map_or(0, |(lowest, _)| lowest.0);
    Some(Finding { segment: sealed.segment, ..lost_records(from, from + gone - 1) })
}

/// Enough of the header to verify the frames; the rest says nothing about a sealed segment.
fn header_of(sealed: &SealedSegment) -> SegmentHeader {
    SegmentHeader {
        segment: sealed.segment,
        generation: sealed.generation,
        first: Sequence(0),
        durable_before: Sequence(0),
        predecessor: 0,
        predecessor_end: 0,
        cut_after: Sequence(0),
        origin: Origin::Appended,
        data_key: sealed.data_key,
    }
}

/// Reads a key file from end to end: is it the one the manifest speaks of, and intact? Of one whose data key is not known
/// blocks are not verified.
pub(super) fn key_file_is_sound<D: Disk>(
    disk: &Arc<D>,
    keys: &DataKeys,
    sealed: &SealedSegment,
) -> Result<bool, OpenError> {
    let read = || {
        let (disk, seal) = (disk.clone(), keys.seal(sealed.data_key));
        if seal.is_locked() {
            let summary = KeyFile::summary_of_locked(disk, sealed.segment, sealed.generation, seal)?;
            return Ok(sealed.key_file == summary.into());
        }
        let file = KeyFile::open(disk, sealed.segment, sealed.generation, seal)?;
        let mut cursor = file.iter_from(&[]);
        while cursor.next()?.is_some() {}
        Ok(sealed.key_file == file.summary().into())
    };
    match read().map_err(Setback::key_file) {
        Ok(sound) => Ok(sound),
        Err(Setback::Doubt(..)) => Ok(false),
        Err(Setback::Failed(error)) => Err(error),
    }
}

impl<D: Disk> Log<D> {
    /// Looks at the sealed log as closely as `care` demands; what is amiss is put right or, once clocks are
    /// to be reset, taken off the list.
    pub(super) fn mend(&mut self, care: Care) -> Result<Vec<Finding>, Setback> {
        let mut findings = Vec::new();
        if care == Care::Trusting {
            return Ok(findings);
        }
        for sealed in self.identity.sealed.segments.clone() {
            let sound = key_file_is_sound(&self.disk, self.reader.codec().keys(), &sealed)?;
            if sound && care < Care::Verifying {
                continue;
            }
            let back = ReadBack::read(&*self.disk, &self.reader, &sealed, &lost_of(&self.identity), |_| {})?;
            let missing = back.missing(&sealed);
            if missing.is_some() && care < Care::Resetting {
                return Err(Setback::Doubt(Care::Resetting, OpenError::Disk(incomplete(&sealed))));
            }
            if !sound {
                findings.push(Finding::of_segment(FindingKind::DamagedKeyFile, sealed.segment));
            }
            findings.extend(back.findings.iter().cloned());
            if missing.is_some() {
                self.give_up(&sealed, &back);
            }
            if !sound || missing.is_some() {
                self.replace_key_file(&back.found)?;
            }
            findings.extend(missing);
        }
        Ok(findings)
    }

    /// Notes as lost what a segment had and has no more. Not of a compacted one: between its records are the
    /// gaps of those that were dropped, and a list of all would not end.
    fn give_up(&mut self, sealed: &SealedSegment, back: &ReadBack) {
        if sealed.sequences.is_some_and(|(lowest, highest)| highest.0 - lowest.0 >= sealed.records) {
            return;
        }
        let mut lost = lost_of(&self.identity);
        lost.union(&self.identity.sealed.only_in(sealed).difference(&back.sequences));
        self.identity.lost = lost.ranges().collect();
    }

    /// Writes a key file of what was read back. The manifest that speaks of it follows; until then the old
    /// one speaks of another file, or of the same bytes.
    fn replace_key_file(&mut self, found: &TailSegment) -> Result<(), DiskError> {
        let summary = write_key_file(&*self.disk, &mut found.run.joined())?;
        sync_names(&*self.disk)?;
        self.identity.sealed.put(found.sealed(summary.into()));
        Ok(())
    }
}

fn incomplete(sealed: &SealedSegment) -> DiskError {
    DiskError {
        kind: DiskErrorKind::Failed,
        operation: "read",
        file: super::segment::segment_name(sealed.segment).0,
        detail: "records that were sealed are gone".into(),
    }
}
