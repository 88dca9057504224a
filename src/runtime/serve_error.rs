//! Why a node does not start, or ends.

use super::disk::kind_of;
use crate::store::{DiskErrorKind, OpenError, ReadError};
use std::io::{self, ErrorKind};
use std::path::Path;

/// Why a node ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Files or addresses the settings name cannot be used: starting again does not help.
    #[error("{0}")]
    Refused(String),
    /// A failed fsync: nothing is known about un-synced writes (PROTOCOL R17).
    #[error("the store is poisoned: {0}")]
    StorePoisoned(String),
    /// Another process has this node's identity: the two must not go on side by side.
    #[error("the node's identity is taken: {0}")]
    IdentityTaken(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl ServeError {
    /// A file or directory cannot be read or written. Whether starting again may help is the system's word: it does
    /// after a failed disk or with more descriptors, not without permission.
    pub(super) fn of_file(path: &Path, error: &io::Error) -> ServeError {
        let kind = kind_of(error);
        let said = format!("{}: {error}{}", path.display(), advice(kind));
        let wrong_name = matches!(
            error.kind(),
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::InvalidData
        );
        if wrong_name || kind == DiskErrorKind::Refused { ServeError::Refused(said) } else { ServeError::Failed(said) }
    }

    /// The store cannot be opened.
    pub(super) fn of_store(directory: &Path, error: &OpenError) -> ServeError {
        let kind = match error {
            OpenError::Disk(error) | OpenError::Read(ReadError::Disk(error)) => Some(error.kind),
            _ => None,
        };
        let said = format!("{}: {error}{}", directory.display(), kind.map_or("", advice));
        match (error, kind) {
            (OpenError::Disk(_) | OpenError::Read(_), kind) if kind != Some(DiskErrorKind::Refused) => {
                ServeError::Failed(said)
            }
            _ => ServeError::Refused(said),
        }
    }
}

/// What an operator can do about it, behind the system's words.
fn advice(kind: DiskErrorKind) -> &'static str {
    match kind {
        DiskErrorKind::Refused => {
            "; the node's user has to own the data directory and its files, on a file system that is not read-only"
        }
        DiskErrorKind::TooManyOpenFiles => "; raise the limit on open files (ulimit -Hn, LimitNOFILE=)",
        DiskErrorKind::Full => "; an opening needs space for a segment",
        DiskErrorKind::NotFound | DiskErrorKind::Locked | DiskErrorKind::Failed => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DiskError;
    use rustix::io::Errno;

    #[test]
    fn only_what_the_operator_has_to_mend_is_refused() {
        let refused = |errno: Errno| {
            let error = io::Error::from(errno);
            let of_file = ServeError::of_file(Path::new("/d/node"), &error);
            let disk =
                DiskError { kind: kind_of(&error), operation: "open", file: "f".into(), detail: error.to_string() };
            let of_store = ServeError::of_store(Path::new("/d"), &OpenError::Disk(disk));
            let said = of_store.to_string();
            assert!(said.starts_with("/d: open f: ") && said.contains(&error.to_string()), "{said}");
            (matches!(of_file, ServeError::Refused(_)), matches!(of_store, ServeError::Refused(_)))
        };
        for errno in [Errno::ACCESS, Errno::PERM, Errno::ROFS] {
            assert_eq!(refused(errno), (true, true), "{errno}");
        }
        for errno in [Errno::IO, Errno::MFILE, Errno::NOSPC] {
            assert_eq!(refused(errno), (false, false), "{errno}");
        }
        // A file that the settings name may be missing for good, one of the store's only by a fault.
        assert_eq!(refused(Errno::NOENT), (true, false));
    }

    #[test]
    fn a_later_version_s_file_is_refused() {
        let error = OpenError::UnknownFormat { file: "identity".into(), format: 99 };
        assert!(matches!(ServeError::of_store(Path::new("/d"), &error), ServeError::Refused(_)));
    }
}
