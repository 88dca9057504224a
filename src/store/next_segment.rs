//! The file of a segment before the log writes to it: made under another name, ahead of need if there is time.

use super::checkpoint::remove_if_there;
use super::identity::Durability;
use super::segment::{SEGMENT_HEADER_BYTES, segment_name, unfinished_name};
use super::{Disk, DiskError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A segment made for one long batch is rounded up to whole pages. Batches are written as whole pages, too: a page
/// that is written in part would have to be read first, were it no longer in the page cache.
pub(super) const SEGMENT_ROUNDING: usize = 4096;

/// Longest first segment of an opening, for which the first batch has to wait: its zeros take 20 ms, those of 64 MiB up
/// to 300.
const FIRST_SEGMENT_BYTES: u32 = 8 << 20;

/// Zeros written at once. More take larger pieces of the page cache, which the system has to make first: ten times the
/// CPU at 1 MiB.
const ZEROED_AT_ONCE: usize = 64 << 10;

/// Zeros synced at once. The log's own syncs wait behind them at the device: for 10 ms, if it writes 100 MiB/s.
const ZEROS_SYNCED_AT_ONCE: usize = 1 << 20;

/// What the space of a new segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    /// There, and nothing more: it takes no time. The file system notes, at the sync that follows, each piece that is
    /// written for the first time, and writes that note as well.
    Reserved,
    /// Written once, with zeros, and durable: a sync then writes what is written, and nothing else.
    Zeroed,
}

/// A call to come to an end: whoever zeros a segment looks at it now and then.
#[derive(Debug, Clone, Default)]
pub(super) struct Haste(Arc<AtomicBool>);

impl Haste {
    pub(super) fn call(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_called(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What space serves syncs of this kind: where none is waited for, zeros would only be written twice.
pub(super) fn space_for(durability: Durability) -> Space {
    match durability {
        Durability::Fsync => Space::Zeroed,
        Durability::Os => Space::Reserved,
    }
}

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
    /// In haste not all of it is zeroed.
    pub(super) fn make<D: Disk<File = F>>(
        disk: &D,
        segment: u32,
        bytes: u32,
        space: Space,
        haste: &Haste,
    ) -> Result<Self, DiskError> {
        let name = unfinished_name(segment);
        remove_if_there(disk, &name)?;
        let file = disk.create(&name)?;
        let reserved = disk.allocate(&file, u64::from(bytes));
        let made = match space {
            Space::Reserved => reserved,
            Space::Zeroed => reserved.and_then(|()| zero(disk, &file, bytes, haste)),
        };
        if let Err(error) = made {
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

/// Writes zeros all over a file that holds nothing, or over its beginning.
fn zero<D: Disk>(disk: &D, file: &D::File, bytes: u32, haste: &Haste) -> Result<(), DiskError> {
    let zeros = vec![0; ZEROED_AT_ONCE.min(bytes as usize)];
    for at in (0..bytes as usize).step_by(ZEROED_AT_ONCE) {
        let piece = zeros.get(..bytes as usize - at).unwrap_or(&zeros);
        disk.write_at(file, at as u64, piece)?;
        if (at + piece.len()).is_multiple_of(ZEROS_SYNCED_AT_ONCE) {
            disk.sync(file)?;
            if haste.is_called() {
                return Ok(());
            }
        }
    }
    disk.sync(file)
}

/// Bytes of a new segment: a batch longer than a segment gets one of its own size.
pub(super) fn segment_size(usual: u32, batch: usize) -> u32 {
    let needed = (SEGMENT_HEADER_BYTES + batch).next_multiple_of(SEGMENT_ROUNDING);
    u32::try_from(needed).unwrap_or(u32::MAX).max(usual)
}

/// The same, for the first of an opening.
pub(super) fn first_segment_size(usual: u32, batch: usize) -> u32 {
    segment_size(usual.min(FIRST_SEGMENT_BYTES), batch)
}
