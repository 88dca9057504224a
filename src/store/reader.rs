//! Reading one record by its place, from any thread.

use super::checkpoint::remove_if_there;
use super::codec::{Codec, Undecodable};
use super::frame::{self, FRAME_HEADER_BYTES, Frame, FrameError, FrameHeader, MAX_FRAME_BYTES, Seat};
use super::identity::{doubt_name, put_marker};
use super::segment::segment_name;
use super::{Disk, DiskError, DiskErrorKind, Place, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Most segment files kept open, unless the driver allows more: at 64 MiB each they cover 16 GiB, with a quarter of the
/// customary 1,024 descriptors of a process. A read from another one opens it first (about 1 us).
pub const DEFAULT_OPEN_SEGMENTS: usize = 256;

/// Most places remembered of one segment where a record could not be read. That there is one is enough to have
/// all of it verified; which ones matters only where a checksum fits and the contents do not.
const MAX_SUSPECTS: usize = 256;

/// Reads records. Clones share one set of open files.
pub struct Reader<D: Disk> {
    disk: Arc<D>,
    codec: Arc<Codec>,
    segments: Arc<RwLock<Segments<D::File>>>,
}

/// Why a record could not be read. Never "not found": the place is known, so the record was there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The disk failed.
    #[error(transparent)]
    Disk(DiskError),
    /// The bytes are not the record that was written.
    #[error("segment {:08x}, offset {}, {} bytes: {what}", place.segment, place.offset, place.length)]
    Damaged {
        /// Where.
        place: Place,
        /// What is wrong with them.
        what: &'static str,
    },
}

/// A segment that can be read.
pub(super) struct OpenSegment<F> {
    pub(super) file: Arc<F>,
    pub(super) generation: u64,
}

struct Segments<F> {
    marker: Marker,
    /// Where a record could not be read back, by segment and offset, and nobody has looked closely yet.
    suspects: BTreeMap<u32, BTreeSet<u32>>,
    /// Where one cannot be, and does not count any more.
    settled: BTreeMap<u32, BTreeSet<u32>>,
    admitted: BTreeMap<u32, Admitted<F>>,
    /// Files that were opened so far: the time by which use is told. It stands still while none is, so that
    /// reading writes to no memory that other threads read.
    openings: u64,
    /// Files that are open now.
    open_files: usize,
    /// Most of them.
    max_open_files: usize,
}

struct Admitted<F> {
    generation: u64,
    file: Option<Arc<F>>,
    /// [`Segments::openings`] when it was last used.
    used: AtomicU64,
}

/// Whether the next opening is told to verify every record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marker {
    Absent,
    /// Until every suspect is settled.
    Put,
    /// Whatever is settled: some damage only an opening can deal with.
    Kept,
}

impl<D: Disk> Clone for Reader<D> {
    fn clone(&self) -> Self {
        Reader { disk: self.disk.clone(), codec: self.codec.clone(), segments: self.segments.clone() }
    }
}

impl<D: Disk> Reader<D> {
    pub(super) fn new(disk: Arc<D>, codec: Arc<Codec>) -> Self {
        let segments = Segments {
            marker: Marker::Absent,
            suspects: BTreeMap::new(),
            settled: BTreeMap::new(),
            admitted: BTreeMap::new(),
            openings: 0,
            open_files: 0,
            max_open_files: DEFAULT_OPEN_SEGMENTS,
        };
        Reader { disk, codec, segments: Arc::new(RwLock::new(segments)) }
    }

    /// From now on at most so many segment files are kept open, by all clones together, instead of
    /// [`DEFAULT_OPEN_SEGMENTS`]. One at least: the file that is read from.
    pub fn keep_open(&self, max_segments: usize) {
        self.change().max_open_files = max_segments.max(1);
    }

    /// How payloads are decoded, and encoded.
    pub(super) fn codec(&self) -> &Arc<Codec> {
        &self.codec
    }

    /// Reads and verifies the record at `place`. After a damaged one the next opening verifies all, and
    /// deals with what is lost (PROTOCOL R8).
    pub fn read(&self, place: Place) -> Result<Record, ReadError> {
        self.heed(place, self.read_again(place))
    }

    /// The same, for whoever looks closely: nothing comes of an error.
    pub(super) fn read_again(&self, place: Place) -> Result<Record, ReadError> {
        let record = self.frame_at(place, |frame, codec| frame.record(codec))?;
        record.map_err(|error| undecodable(place, error))
    }

    /// Reads and verifies the record at `place` if that takes no waiting for the device: none if its segment
    /// would have to be opened, or if the disk says that its bytes are not at hand.
    pub fn read_cached(&self, place: Place) -> Result<Option<Record>, ReadError> {
        let Some(OpenSegment { file, generation }) = self.opened(place.segment) else { return Ok(None) };
        let length = (place.length as usize).min(MAX_FRAME_BYTES);
        let bytes = match self.disk.read_cached(&file, u64::from(place.offset), length) {
            // Perhaps only what lies behind the frame is unreadable: whoever may wait reads exactly the frame.
            Err(error) if error.kind == DiskErrorKind::Failed => None,
            read => read.map_err(ReadError::Disk)?,
        };
        let Some(bytes) = bytes else { return Ok(None) };
        let frame = frame_in(place, generation, bytes.get(..frame_length(&bytes, place)).unwrap_or(&bytes));
        let record = frame.and_then(|frame| frame.record(&self.codec).map_err(|error| undecodable(place, error)));
        self.heed(place, record.map(Some))
    }

    /// Shows the frame at `place`, verified, to `see`.
    pub(super) fn read_frame<T>(
        &self,
        place: Place,
        see: impl FnOnce(&Frame<'_>, &Codec) -> T,
    ) -> Result<T, ReadError> {
        self.heed(place, self.frame_at(place, see))
    }

    fn frame_at<T>(&self, place: Place, see: impl FnOnce(&Frame<'_>, &Codec) -> T) -> Result<T, ReadError> {
        let (generation, bytes) = self.read_bytes(place)?;
        frame_in(place, generation, &bytes).map(|frame| see(&frame, &self.codec))
    }

    /// The bytes at `place`, and the generation of their segment.
    fn read_bytes(&self, place: Place) -> Result<(u64, Vec<u8>), ReadError> {
        let damaged = |what| ReadError::Damaged { place, what };
        if place.length as usize > MAX_FRAME_BYTES {
            return Err(damaged("longer than any record"));
        }
        let OpenSegment { file, generation } = self.file(place.segment)?.ok_or(damaged("no such segment"))?;
        let bytes = self.frame_bytes(&file, place).map_err(ReadError::Disk)?;
        Ok((generation, bytes))
    }

    /// The bytes of the frame at `place`, unverified. Its length may be rounded up, and what lies behind
    /// the frame may be unreadable: then exactly the frame is read.
    fn frame_bytes(&self, file: &D::File, place: Place) -> Result<Vec<u8>, DiskError> {
        let read = |length: usize| self.disk.read_at(file, u64::from(place.offset), length);
        let mut bytes = match read(place.length as usize) {
            Err(error) if error.kind == DiskErrorKind::Failed => read(FRAME_HEADER_BYTES)?,
            other => other?,
        };
        let length = frame_length(&bytes, place);
        if bytes.len() < length && bytes.len() == FRAME_HEADER_BYTES {
            return read(length);
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Remembers where the disk has not given back what was written, and leaves word for the next opening.
    fn heed<T>(&self, place: Place, read: Result<T, ReadError>) -> Result<T, ReadError> {
        let lost = match &read {
            Ok(_) => false,
            Err(ReadError::Damaged { .. }) => true,
            Err(ReadError::Disk(error)) => error.kind == DiskErrorKind::Failed,
        };
        if lost {
            let mut segments = self.change();
            // Not admitted, it was compacted away: whoever asks has the place of before.
            if segments.admitted.contains_key(&place.segment) && segments.suspect(place) {
                // Best effort: the read has failed in any case, and the next one of this record will, too.
                let _ = self.mark(&mut segments);
            }
        }
        read
    }

    /// Segments with records that could not be read, and that nobody has looked at closely yet.
    pub fn suspects(&self) -> Vec<u32> {
        self.look().suspects.keys().copied().collect()
    }

    /// Cannot be read, and does not count any more.
    pub(super) fn is_settled(&self, place: Place) -> bool {
        self.look().settled.get(&place.segment).is_some_and(|settled| settled.contains(&place.offset))
    }

    /// Where in a segment.
    pub(super) fn suspects_in(&self, segment: u32) -> BTreeSet<u32> {
        self.look().suspects.get(&segment).cloned().unwrap_or_default()
    }

    /// Whoever looked closely has found damage: the next opening has to verify until it is settled.
    pub(super) fn doubt(&self, segment: u32) -> Result<(), DiskError> {
        let mut segments = self.change();
        segments.suspects.entry(segment).or_default();
        self.mark(&mut segments)
    }

    /// The next opening has to deal with this segment, and nobody else can.
    pub fn leave_to_opening(&self, segment: u32) {
        let mut segments = self.change();
        segments.suspects.remove(&segment);
        segments.marker = Marker::Kept;
    }

    /// These suspects of a segment were looked at, and what is lost at these offsets does not count any more.
    pub(super) fn settle(
        &self,
        segment: u32,
        looked_at: &BTreeSet<u32>,
        lost: impl Iterator<Item = u32>,
    ) -> Result<(), DiskError> {
        let mut segments = self.change();
        let settled = segments.settled.entry(segment).or_default();
        settled.extend(lost);
        let settled = settled.clone();
        let rest = segments.suspects.entry(segment).or_default();
        rest.retain(|offset| !looked_at.contains(offset) && !settled.contains(offset));
        if rest.is_empty() {
            segments.suspects.remove(&segment);
        }
        if segments.suspects.is_empty() && segments.marker == Marker::Put {
            segments.marker = Marker::Absent;
            return remove_if_there(&*self.disk, &doubt_name());
        }
        Ok(())
    }

    /// Held by the lock, so that a marker is never taken away that another reader has just put.
    fn mark(&self, segments: &mut Segments<D::File>) -> Result<(), DiskError> {
        if segments.marker == Marker::Absent {
            put_marker(&*self.disk, &doubt_name())?;
            segments.marker = Marker::Put;
        }
        Ok(())
    }

    /// Makes a segment readable.
    pub(super) fn admit(&self, segment: u32, generation: u64, file: Option<Arc<D::File>>) {
        let mut segments = self.change();
        segments.forget(segment);
        segments.admitted.insert(segment, Admitted { generation, file: None, used: AtomicU64::new(0) });
        if let Some(file) = file {
            segments.keep(segment, file);
        }
    }

    /// Makes a segment unreadable: its file goes. Reads that have begun end as they would have.
    pub(super) fn forget(&self, segment: u32) {
        let mut segments = self.change();
        segments.forget(segment);
        segments.settled.remove(&segment);
    }

    /// The file of a segment and the generation its checksums are bound to; none if it is not admitted.
    pub(super) fn file(&self, segment: u32) -> Result<Option<OpenSegment<D::File>>, ReadError> {
        if let Some(open) = self.opened(segment) {
            return Ok(Some(open));
        }
        let Some(generation) = self.look().admitted.get(&segment).map(|admitted| admitted.generation) else {
            return Ok(None);
        };
        // Without the lock: others read from segments that are open.
        let file = Arc::new(self.disk.open(&segment_name(segment)).map_err(ReadError::Disk)?);
        self.change().keep(segment, file.clone());
        Ok(Some(OpenSegment { file, generation }))
    }

    fn opened(&self, segment: u32) -> Option<OpenSegment<D::File>> {
        let segments = self.look();
        let admitted = segments.admitted.get(&segment)?;
        let file = admitted.file.clone()?;
        if admitted.used.load(Ordering::Relaxed) != segments.openings {
            admitted.used.store(segments.openings, Ordering::Relaxed);
        }
        Some(OpenSegment { file, generation: admitted.generation })
    }

    fn look(&self) -> RwLockReadGuard<'_, Segments<D::File>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Segments<D::File>> {
        self.segments.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long the frame that begins with these bytes is, by its own header; never longer than its place.
fn frame_length(bytes: &[u8], place: Place) -> usize {
    FrameHeader::parse(bytes).map_or(place.length as usize, |header| header.frame_bytes().min(place.length as usize))
}

/// The frame that fills the bytes at `place`, verified.
fn frame_in(place: Place, generation: u64, bytes: &[u8]) -> Result<Frame<'_>, ReadError> {
    let damaged = |what| ReadError::Damaged { place, what };
    let seat = Seat { segment: place.segment, generation, offset: place.offset };
    frame::verify(seat, bytes).map_err(|error| match error {
        FrameError::Damaged => damaged("the checksum does not fit"),
        FrameError::UnknownFormat(_) => damaged("unknown record format"),
    })
}

fn undecodable(place: Place, why: Undecodable) -> ReadError {
    ReadError::Damaged { place, what: why.what() }
}

impl<F> Segments<F> {
    /// Notes a suspect; false if it is settled. Of many in one segment some are enough: all of it is looked at.
    fn suspect(&mut self, Place { segment, offset, .. }: Place) -> bool {
        if self.settled.get(&segment).is_some_and(|settled| settled.contains(&offset)) {
            return false;
        }
        let suspects = self.suspects.entry(segment).or_default();
        if suspects.len() < MAX_SUSPECTS {
            suspects.insert(offset);
        }
        true
    }

    fn forget(&mut self, segment: u32) {
        let file = self.admitted.remove(&segment).and_then(|admitted| admitted.file);
        self.open_files -= usize::from(file.is_some());
    }

    fn keep(&mut self, segment: u32, file: Arc<F>) {
        // Opened without the lock, it may be gone by now: a handle would keep its space.
        let Some(admitted) = self.admitted.get_mut(&segment) else { return };
        self.openings += 1;
        *admitted.used.get_mut() = self.openings;
        self.open_files += usize::from(admitted.file.replace(file).is_none());
        while self.open_files > self.max_open_files {
            self.close_oldest();
        }
    }

    fn close_oldest(&mut self) {
        let open = self.admitted.values_mut().filter(|admitted| admitted.file.is_some());
        if let Some(oldest) = open.min_by_key(|admitted| admitted.used.load(Ordering::Relaxed)) {
            oldest.file = None;
            self.open_files -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::cipher::DataKeys;
    use crate::store::codec::CompressionRules;
    use crate::store::memory::MemoryDisk;

    #[test]
    fn of_more_segments_than_may_be_open_the_one_not_read_for_longest_is_closed() {
        let disk = Arc::new(MemoryDisk::default());
        let codec = Codec::new(CompressionRules::default(), DataKeys::default());
        let reader = Reader::new(disk.clone(), Arc::new(codec));
        reader.keep_open(3);
        for segment in 1..=5 {
            disk.create(&segment_name(segment)).unwrap();
            reader.admit(segment, 0, None);
        }
        let read = |segments: &[u32]| {
            segments.iter().for_each(|segment| assert!(reader.file(*segment).unwrap().is_some()));
            let open = reader.look();
            open.admitted.iter().filter(|(_, admitted)| admitted.file.is_some()).map(|(segment, _)| *segment).collect()
        };
        let open: Vec<u32> = read(&[1, 2, 3]);
        assert_eq!(open, [1, 2, 3]);
        assert_eq!(read(&[1, 4]), [1, 3, 4]);
        reader.keep_open(1);
        assert_eq!(read(&[5]), [5]);
        assert_eq!(reader.look().open_files, 1);
    }
}
