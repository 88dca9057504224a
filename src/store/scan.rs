//! Reading one segment from end to end, whatever is in it.

use super::codec::Codec;
use super::frame::{self, FRAME_ALIGNMENT, FRAME_HEADER_BYTES, Frame, FrameError, FrameHeader, Seat};
use super::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use super::{Disk, DiskError, DiskErrorKind, OpenError, Place, Record, Sequence};
use crate::base::{Mutation, broken};

/// Bytes read at once: large enough that calls cost nothing, small enough to stay in the processor's cache.
const WINDOW_BYTES: usize = 1 << 20;

/// Stretches of zeros are passed over in steps of this.
const PAGE_BYTES: usize = 4096;

/// What cannot be read is tried again in pieces of this size, so that one bad sector costs no other.
const SECTOR_BYTES: u64 = 512;

/// Everything recovery needs to know of one segment.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Valid frames in order of their offset.
    pub(super) frames: Vec<Framed>,
    /// The highest durable marker in them.
    pub(super) durable: Sequence,
    /// Bytes that are neither a frame nor the zeros behind the last one.
    pub(super) bad: Vec<Span>,
    /// Bytes the disk would not give back.
    pub(super) unreadable: Vec<Span>,
}

/// A valid frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Framed {
    pub(super) sequence: Sequence,
    pub(super) place: Place,
}

impl Framed {
    /// Where the frame lies in a file of this generation.
    fn seat(&self, generation: u64) -> Seat {
        Seat { segment: self.place.segment, generation, offset: self.place.offset }
    }

    /// Where the last of these frames of one segment ends.
    pub(super) fn end(frames: &[Framed]) -> u64 {
        let ends = frames.iter().map(|framed| u64::from(framed.place.offset) + u64::from(framed.place.length));
        ends.max().unwrap_or(0)
    }
}

/// A range of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// A stretch of a file in memory.
pub(super) struct Window<'a, D: Disk> {
    disk: &'a D,
    file: &'a D::File,
    /// Nothing at or behind this offset is looked at.
    limit: u64,
    start: u64,
    bytes: Vec<u8>,
    unreadable: Vec<Span>,
}

impl Scan {
    /// Looks for frames from the header to `limit`. After a bad one the search goes on: frames behind
    /// it tell damage from a torn tail, and are worth keeping.
    pub(super) fn run<D: Disk>(
        disk: &D,
        file: &D::File,
        header: &SegmentHeader,
        limit: u64,
    ) -> Result<Scan, OpenError> {
        let mut scan = Scan { durable: header.durable_before, ..Scan::default() };
        let mut window = Window::new(disk, file, limit);
        let mut offset = SEGMENT_HEADER_BYTES as u64;
        let (mut gap, mut written) = (None, 0);
        while offset + FRAME_HEADER_BYTES as u64 <= limit {
            let seat = Seat { segment: header.segment, generation: header.generation, offset: offset as u32 };
            match window.frame(seat)? {
                Ok(Frame { header: found, .. }) => {
                    scan.bad.extend(gap.take().map(|from| Span { offset: from, bytes: offset - from }));
                    scan.durable = scan.durable.max(found.durable_before);
                    let length = found.frame_bytes() as u32;
                    let place = Place { segment: seat.segment, offset: seat.offset, length };
                    scan.frames.push(Framed { sequence: found.sequence, place });
                    offset += u64::from(length);
                }
                Err(FrameError::UnknownFormat(format)) => {
                    let file = segment_name(header.segment).0;
                    return Err(OpenError::UnknownFormat { file, format: format.into() });
                }
                Err(FrameError::Damaged) if broken(Mutation::TruncateAtFirstBadRecord) => break,
                Err(FrameError::Damaged) => {
                    let from = *gap.get_or_insert(offset);
                    let zeros = window.zeros_at(offset)?;
                    offset += if zeros > 0 { zeros } else { FRAME_ALIGNMENT as u64 };
                    if zeros == 0 {
                        written = offset.min(limit) - from;
                    }
                }
            }
        }
        // Zeros behind the last frame are room not yet used; anything else is a tail torn or damaged.
        scan.bad.extend(gap.filter(|_| written > 0).map(|from| Span { offset: from, bytes: written }));
        scan.unreadable = window.unreadable;
        Ok(scan)
    }
}

impl<'a, D: Disk> Window<'a, D> {
    pub(super) fn new(disk: &'a D, file: &'a D::File, limit: u64) -> Self {
        Window { disk, file, limit, start: 0, bytes: Vec::new(), unreadable: Vec::new() }
    }

    /// The record of a frame that is in a file of this generation; none if it cannot be verified or understood.
    pub(super) fn record(
        &mut self,
        codec: &Codec,
        framed: &Framed,
        generation: u64,
    ) -> Result<Option<Record>, DiskError> {
        let frame = self.frame(framed.seat(generation))?;
        Ok(frame.ok().and_then(|frame| frame.record(codec).ok()))
    }

    /// The frame at a seat; the outer error is the disk's.
    pub(super) fn frame(&mut self, seat: Seat) -> Result<Result<Frame<'_>, FrameError>, DiskError> {
        let offset = u64::from(seat.offset);
        let Some(header) = FrameHeader::parse(self.get(offset, FRAME_HEADER_BYTES)?) else {
            return Ok(Err(FrameError::Damaged));
        };
        if offset + header.frame_bytes() as u64 > self.limit {
            return Ok(Err(FrameError::Damaged));
        }
        Ok(frame::verify(seat, self.get(offset, header.frame_bytes())?))
    }

    /// How many zeros begin at `offset`: a whole page, one alignment, or none.
    fn zeros_at(&mut self, offset: u64) -> Result<u64, DiskError> {
        for length in [PAGE_BYTES, FRAME_ALIGNMENT] {
            let bytes = self.get(offset, length)?;
            if bytes.len() == length && bytes.iter().all(|byte| *byte == 0) {
                return Ok(length as u64);
            }
        }
        let rest = self.get(offset, FRAME_ALIGNMENT)?;
        Ok(if rest.iter().all(|byte| *byte == 0) { FRAME_ALIGNMENT as u64 } else { 0 })
    }

    /// `length` bytes at `offset`, fewer at the limit.
    fn get(&mut self, offset: u64, length: usize) -> Result<&[u8], DiskError> {
        let length = length.min(usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX));
        let held = self.start..self.start + self.bytes.len() as u64;
        if !(held.start <= offset && offset + length as u64 <= held.end) {
            let most = usize::try_from(self.limit.saturating_sub(offset)).unwrap_or(usize::MAX);
            self.bytes = self.load(offset, length.max(WINDOW_BYTES).min(most))?;
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        Ok(self.bytes.get(from..).map(|bytes| bytes.get(..length).unwrap_or(bytes)).unwrap_or_default())
    }

    /// Reads; what the disk refuses to give becomes zeros, and is noted.
    fn load(&mut self, offset: u64, length: usize) -> Result<Vec<u8>, DiskError> {
        match self.disk.read_at(self.file, offset, length) {
            Err(error) if error.kind == DiskErrorKind::Failed => {}
            other => return other,
        }
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = offset + bytes.len() as u64;
            let piece = ((SECTOR_BYTES - at % SECTOR_BYTES) as usize).min(length - bytes.len());
            match self.disk.read_at(self.file, at, piece) {
                Ok(read) if read.len() == piece => bytes.extend(read),
                Ok(read) => {
                    bytes.extend(read);
                    break;
                }
                Err(error) if error.kind == DiskErrorKind::Failed => {
                    self.unreadable.push(Span { offset: at, bytes: piece as u64 });
                    bytes.resize(bytes.len() + piece, 0);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }
}
