//! The segment that a compaction writes.

use super::CompactionError;
use crate::base::{Mutation, broken};
use crate::store::codec::{Codec, Stored};
use crate::store::frame::{FrameHeader, Seat, put_again};
use crate::store::identity::sync_names;
use crate::store::key_file::{KeyEntry, KeyRun, key_file_name, write_key_file};
use crate::store::sealed::SealedSegment;
use crate::store::segment::{Origin, SEGMENT_HEADER_BYTES, SegmentHeader, segment_name, unfinished_name};
use crate::store::{Disk, Sequence};
use std::sync::Arc;

/// Bytes gathered before they are written: few calls, and little memory.
const WRITE_BYTES: usize = 1 << 20;

/// A segment being written. It has another name until its contents are durable: what a crash leaves of it is
/// told from a segment of the log whatever its header has come to.
pub(super) struct Output<F> {
    number: u32,
    generation: u64,
    /// What was sealed when it was begun.
    through: Sequence,
    file: F,
    end: u32,
    pending: Vec<u8>,
    run: KeyRun,
    sequences: Option<(Sequence, Sequence)>,
    bytes: u64,
    codec: Arc<Codec>,
}

impl<F> Output<F> {
    pub(super) fn create<D: Disk<File = F>>(
        disk: &D,
        (number, generation): (u32, u64),
        through: Sequence,
        codec: Arc<Codec>,
    ) -> Result<Self, CompactionError> {
        let file = disk.create(&unfinished_name(number)).map_err(CompactionError::of_write)?;
        Ok(Output {
            number,
            generation,
            through,
            file,
            end: SEGMENT_HEADER_BYTES as u32,
            pending: Vec::new(),
            run: KeyRun::new(number, generation, codec.current_seal()),
            sequences: None,
            bytes: 0,
            codec,
        })
    }

    /// Adds a record, verified at its old place, under its own sequence.
    pub(super) fn put<D: Disk<File = F>>(
        &mut self,
        disk: &D,
        entry: &KeyEntry,
        header: FrameHeader,
        payload: &Stored,
    ) -> Result<(), CompactionError> {
        let mut header = header;
        if broken(Mutation::CompactByPosition) {
            header.sequence = Sequence(self.through.0 + self.run.len() as u64 + 1);
        }
        let seat = Seat { segment: self.number, generation: self.generation, offset: self.end };
        let place = put_again(&self.codec, &mut self.pending, seat, &header, payload);
        self.end = self.end.checked_add(place.length).ok_or(CompactionError::Full)?;
        self.bytes += u64::from(place.length);
        let sequence = header.sequence;
        let (lowest, highest) = self.sequences.unwrap_or((sequence, sequence));
        self.sequences = Some((lowest.min(sequence), highest.max(sequence)));
        self.run.push(&KeyEntry { sequence, offset: place.offset, length: place.length, ..entry.clone() });
        if self.pending.len() >= WRITE_BYTES { self.flush(disk) } else { Ok(()) }
    }

    /// Makes it a segment with a key file, durable as a whole. It counts once the manifest lists it.
    pub(super) fn finish<D: Disk<File = F>>(mut self, disk: &D) -> Result<SealedSegment, CompactionError> {
        self.flush(disk)?;
        let header = SegmentHeader {
            segment: self.number,
            generation: self.generation,
            first: self.sequences.map_or(Sequence(0), |(lowest, _)| lowest),
            durable_before: self.through,
            predecessor: 0,
            predecessor_end: 0,
            cut_after: Sequence(u64::MAX),
            origin: Origin::Compacted,
            data_key: self.run.seal().number,
        };
        let written = disk.write_at(&self.file, 0, &header.encode());
        let sync = || if broken(Mutation::CompactBeforeDurable) { Ok(()) } else { disk.sync(&self.file) };
        let named = || disk.rename(&unfinished_name(self.number), &segment_name(self.number));
        written.and_then(|()| sync()).and_then(|()| named()).map_err(CompactionError::of_write)?;
        let key_file = write_key_file(disk, &mut self.run).map_err(CompactionError::of_write)?;
        sync_names(disk).map_err(CompactionError::of_write)?;
        Ok(SealedSegment {
            segment: self.number,
            generation: self.generation,
            end: self.end,
            sequences: self.sequences,
            records: self.run.len() as u64,
            bytes: self.bytes,
            key_file: key_file.into(),
            data_key: self.run.seal().number,
        })
    }

    fn flush<D: Disk<File = F>>(&mut self, disk: &D) -> Result<(), CompactionError> {
        let at = u64::from(self.end) - self.pending.len() as u64;
        disk.write_at(&self.file, at, &self.pending).map_err(CompactionError::of_write)?;
        self.pending.clear();
        Ok(())
    }
}

/// Takes away what was written of an output, as far as the disk lets us: an opening removes the rest.
pub(super) fn remove_output<D: Disk>(disk: &D, number: u32) {
    for name in [unfinished_name(number), segment_name(number), key_file_name(number)] {
        let _ = disk.remove(&name);
    }
}
