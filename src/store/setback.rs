//! Why an opening stops half-way.

use super::key_file::{KeyFileError, key_file_name};
use super::verdict::Care;
use super::{DiskError, DiskErrorKind, OpenError, ReadError};

/// Why an opening stops half-way.
#[derive(Debug)]
pub(super) enum Setback {
    /// It cannot go on.
    Failed(OpenError),
    /// The sealed log is damaged: begin again with more care. The error stands for it if that is no use.
    Doubt(Care, OpenError),
}

impl Setback {
    /// A record that the sealed log says is there cannot be read.
    pub(super) fn record(error: ReadError) -> Setback {
        match error {
            ReadError::Disk(error) if error.kind != DiskErrorKind::Failed => Setback::Failed(error.into()),
            error => Setback::Doubt(Care::Resetting, error.into()),
        }
    }

    /// A key file cannot be read.
    pub(super) fn key_file(error: KeyFileError) -> Setback {
        let damaged = |error| Setback::Doubt(Care::Checking, OpenError::Disk(error));
        match error {
            KeyFileError::Disk(error) if is_damage(&error) => damaged(error),
            KeyFileError::Disk(error) => Setback::Failed(error.into()),
            KeyFileError::Damaged { segment, what } => damaged(DiskError {
                kind: DiskErrorKind::Failed,
                operation: "read",
                file: key_file_name(segment).0,
                detail: what.into(),
            }),
            KeyFileError::UnknownFormat { segment, format } => {
                Setback::Failed(OpenError::UnknownFormat { file: key_file_name(segment).0, format })
            }
        }
    }
}

/// Does the disk say that what was written is not there any more?
pub(super) fn is_damage(error: &DiskError) -> bool {
    matches!(error.kind, DiskErrorKind::NotFound | DiskErrorKind::Failed)
}

impl<E: Into<OpenError>> From<E> for Setback {
    fn from(error: E) -> Self {
        Setback::Failed(error.into())
    }
}
