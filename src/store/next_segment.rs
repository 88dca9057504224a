//! The file of a segment before the log writes to it: made under another name, ahead of need if there is time.

use super::checkpoint::remove_if_there;
use super::segment::{SEGMENT_HEADER_BYTES, segment_name, unfinished_name};
use super::{Disk, DiskError};
use std::sync::Arc;

/// A segment made for one long batch is rounded up to whole pages.
pub(super) const SEGMENT_ROUNDING: usize = 4096;

/// A file of zeros that will be a segment. An opening takes it away.
#[derive(Debug)]
pub(super) struct NextSegment<F> {
    pub(super) segment: u32,
    pub(super) file: Arc<F>,
    /// Length of the file.
    pub(super) bytes: u32,
}

impl<F> NextSegment<F> {
    /// Makes the file, backed by space; its name is not durable yet. Where there is no space nothing is left of it.
    pub(super) fn make<D: Disk<File = F>>(disk: &D, segment: u32, bytes: u32) -> Result<Self, DiskError> {
        let name = unfinished_name(segment);
        remove_if_there(disk, &name)?;
        let file = disk.create(&name)?;
        if let Err(error) = disk.allocate(&file, u64::from(bytes)) {
            // It would fill the disk further; the error that counts is the first.
            let _ = disk.remove(&name);
            return Err(error);
        }
        Ok(NextSegment { segment, file: Arc::new(file), bytes })
    }

    /// Has it room for a batch of so many bytes?
    pub(super) fn takes(&self, batch: usize) -> bool {
        batch <= self.bytes as usize - SEGMENT_HEADER_BYTES
    }

    /// Gives it the name of a segment; not durable yet.
    pub(super) fn name<D: Disk<File = F>>(&self, disk: &D) -> Result<(), DiskError> {
        disk.rename(&unfinished_name(self.segment), &segment_name(self.segment))
    }

    /// Takes that name away again.
    pub(super) fn unname<D: Disk<File = F>>(&self, disk: &D) -> Result<(), DiskError> {
        disk.rename(&segment_name(self.segment), &unfinished_name(self.segment))
    }

    /// Takes the file away, as far as the disk lets us.
    pub(super) fn discard<D: Disk<File = F>>(self, disk: &D) {
        // Otherwise the next opening does.
        let _ = disk.remove(&unfinished_name(self.segment));
    }
}

/// Bytes of a new segment: a batch longer than a segment gets one of its own size.
pub(super) fn segment_size(usual: u32, batch: usize) -> u32 {
    let needed = (SEGMENT_HEADER_BYTES + batch).next_multiple_of(SEGMENT_ROUNDING);
    u32::try_from(needed).unwrap_or(u32::MAX).max(usual)
}
