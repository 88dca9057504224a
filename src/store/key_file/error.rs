//! Why a key file cannot be used.

use crate::store::DiskError;

/// Why a key file cannot be used. All but [`KeyFileError::Disk`] are mended by writing it anew from its segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyFileError {
    /// The disk failed; `NotFound` when there is no such file.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The bytes are not those that were written, or belong to another segment or generation.
    #[error("the key file of segment {segment:08x}: {what}")]
    Damaged {
        /// Whose key file.
        segment: u32,
        /// What is wrong.
        what: &'static str,
    },
    /// Intact, and of a format of a later version.
    #[error("the key file of segment {segment:08x} has format {format}, which this version does not know")]
    UnknownFormat {
        /// Whose key file.
        segment: u32,
        /// The format it says it has.
        format: u32,
    },
}
