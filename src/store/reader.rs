//! Reading one record by its place, from any thread.

use super::frame::{self, FrameError, MAX_FRAME_BYTES, Seat};
use super::identity::{doubt_name, put_marker};
use super::segment::segment_name;
use super::{Disk, DiskError, DiskErrorKind, Place, Record};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most segment files kept open: at 64 MiB each they cover 16 GiB, with a quarter of the customary 1,024
/// descriptors of a process.
const MAX_OPEN_FILES: usize = 256;

/// Reads records. Clones share one set of open files.
pub struct Reader<D: Disk> {
    disk: Arc<D>,
    segments: Arc<Mutex<Segments<D::File>>>,
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
    doubt: Doubt,
    generations: BTreeMap<u32, u64>,
    files: BTreeMap<u32, (Arc<F>, u64)>,
    uses: u64,
}

/// Whether the next opening has been told to verify every record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    None,
    Told,
}

impl<D: Disk> Clone for Reader<D> {
    fn clone(&self) -> Self {
        Reader { disk: self.disk.clone(), segments: self.segments.clone() }
    }
}

impl<D: Disk> Reader<D> {
    pub(super) fn new(disk: Arc<D>) -> Self {
        let segments = Segments { doubt: Doubt::None, generations: BTreeMap::new(), files: BTreeMap::new(), uses: 0 };
        Reader { disk, segments: Arc::new(Mutex::new(segments)) }
    }

    /// Reads and verifies the record at `place`. After a damaged one the next opening verifies all, and
    /// deals with what is lost (PROTOCOL R8).
    pub fn read(&self, place: Place) -> Result<Record, ReadError> {
        let damaged = |what| ReadError::Damaged { place, what };
        let payload = self.read_payload(place)?;
        frame::decode(&payload).ok_or(damaged("the checksum fits, the contents are not a record"))
    }

    /// The verified payload of the frame at `place`.
    pub(super) fn read_payload(&self, place: Place) -> Result<Vec<u8>, ReadError> {
        let damaged = |what| ReadError::Damaged { place, what };
        if place.length as usize > MAX_FRAME_BYTES {
            return Err(damaged("longer than any record"));
        }
        let OpenSegment { file, generation } = self.file(place.segment)?.ok_or(damaged("no such segment"))?;
        let read = self.disk.read_at(&file, u64::from(place.offset), place.length as usize);
        let bytes = read.map_err(|error| {
            if error.kind == DiskErrorKind::Failed {
                self.doubt();
            }
            ReadError::Disk(error)
        })?;
        let seat = Seat { segment: place.segment, generation, offset: place.offset };
        match frame::verify(seat, &bytes) {
            Ok((_, payload)) => Ok(payload.to_vec()),
            Err(FrameError::Damaged) => {
                self.doubt();
                Err(damaged("the checksum does not fit"))
            }
            Err(FrameError::UnknownFormat(_)) => Err(damaged("unknown record format")),
        }
    }

    /// Leaves word for the next opening, once.
    fn doubt(&self) {
        let told = std::mem::replace(&mut self.lock().doubt, Doubt::Told);
        if told == Doubt::None {
            // Best effort: the read has failed in any case, and the next one of this record will, too.
            let _ = put_marker(&*self.disk, &doubt_name());
        }
    }

    /// Makes a segment readable.
    pub(super) fn admit(&self, segment: u32, generation: u64, file: Option<Arc<D::File>>) {
        let mut segments = self.lock();
        segments.generations.insert(segment, generation);
        if let Some(file) = file {
            segments.keep(segment, file);
        }
    }

    /// The file of a segment and the generation its checksums are bound to; none if it is not admitted.
    pub(super) fn file(&self, segment: u32) -> Result<Option<OpenSegment<D::File>>, ReadError> {
        let mut segments = self.lock();
        let Some(generation) = segments.generations.get(&segment).copied() else { return Ok(None) };
        if let Some(file) = segments.used(segment) {
            return Ok(Some(OpenSegment { file, generation }));
        }
        let file = Arc::new(self.disk.open(&segment_name(segment)).map_err(ReadError::Disk)?);
        segments.keep(segment, file.clone());
        Ok(Some(OpenSegment { file, generation }))
    }

    fn lock(&self) -> MutexGuard<'_, Segments<D::File>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> Segments<F> {
    fn used(&mut self, segment: u32) -> Option<Arc<F>> {
        self.uses += 1;
        let (file, used) = self.files.get_mut(&segment)?;
        *used = self.uses;
        Some(file.clone())
    }

    fn keep(&mut self, segment: u32, file: Arc<F>) {
        self.uses += 1;
        self.files.insert(segment, (file, self.uses));
        if self.files.len() > MAX_OPEN_FILES {
            let oldest = self.files.iter().min_by_key(|(_, (_, used))| *used).map(|(segment, _)| *segment);
            oldest.and_then(|segment| self.files.remove(&segment));
        }
    }
}
