//! Why a compaction does not go on.

use crate::store::key_file::KeyFileError;
use crate::store::{DiskError, DiskErrorKind, Finding, FindingKind, ReadError};

/// Why a compaction does not go on. The log holds what it held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompactionError {
    /// No space, or no descriptor: it may succeed later.
    #[error("no space for a compaction's output")]
    Full,
    /// A segment cannot be read; it stays as it is.
    #[error("segment {:08x} is damaged", .0.segment)]
    Damaged(Finding),
    /// A write or sync failed: the process must end, as after a failed append.
    #[error(transparent)]
    Failed(DiskError),
}

impl CompactionError {
    /// The output could not be written.
    pub(super) fn of_write(error: DiskError) -> CompactionError {
        if is_short(&error) { CompactionError::Full } else { CompactionError::Failed(error) }
    }

    /// A record of this segment could not be read.
    pub(super) fn of_read(segment: u32, error: ReadError) -> CompactionError {
        match error {
            ReadError::Disk(error) if is_short(&error) => CompactionError::Full,
            ReadError::Disk(_) => CompactionError::about(FindingKind::UnreadableBytes, segment, 0, 0),
            ReadError::Damaged { place, .. } => CompactionError::about(
                FindingKind::DamagedBytes,
                segment,
                u64::from(place.offset),
                u64::from(place.length),
            ),
        }
    }

    /// The key file of this segment could not be read.
    pub(super) fn of_key_file(segment: u32, error: KeyFileError) -> CompactionError {
        match error {
            KeyFileError::Disk(error) if is_short(&error) => CompactionError::Full,
            _ => CompactionError::about(FindingKind::DamagedKeyFile, segment, 0, 0),
        }
    }

    fn about(kind: FindingKind, segment: u32, offset: u64, bytes: u64) -> CompactionError {
        CompactionError::Damaged(Finding { kind, segment, offset, bytes })
    }
}

fn is_short(error: &DiskError) -> bool {
    matches!(error.kind, DiskErrorKind::Full | DiskErrorKind::TooManyOpenFiles)
}
