//! Backing up a data directory, whether its node runs or not (docs/backup.md).

use super::disk::{RealDisk, kind_of};
use super::identity::KEPT_FILES;
use super::join::JOINED_FILES;
use crate::store::{self, BackedUp, BackupError, DiskError, DiskErrorKind, FileName, Linked};
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a backup of the data directory `data` in `to`, which is made if it is not there, and must be empty. Files are
/// linked where both are on one file system, and copied otherwise. All of it is durable when this returns.
pub fn back_up(data: &Path, to: &Path) -> Result<BackedUp, BackupError> {
    let source = RealDisk::open_to_read(data)?;
    make(data, to).map_err(|error| failure("make", to, &error))?;
    let target = RealDisk::open(to)?;
    let beside: Vec<FileName> = KEPT_FILES.iter().chain(&JOINED_FILES).map(|name| FileName((*name).into())).collect();
    store::back_up(&source, &target, &beside, &mut |name| link(&source, &target, name))
}

/// Nobody but its owner reads a backup: it holds what the node does.
fn make(data: &Path, to: &Path) -> io::Result<()> {
    // Of a relative name without a slash the parent is empty.
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = fs::canonicalize(parent)?;
    if parent.starts_with(fs::canonicalize(data)?) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it lies in the data directory"));
    }
    match DirBuilder::new().mode(0o700).create(to) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}

fn link(source: &RealDisk, target: &RealDisk, name: &FileName) -> Result<Linked, DiskError> {
    match fs::hard_link(source.path().join(&name.0), target.path().join(&name.0)) {
        Ok(()) => Ok(Linked::Yes),
        Err(error) if kind_of(&error) == DiskErrorKind::Full => {
            Err(failure("link", &target.path().join(&name.0), &error))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Err(failure("link", Path::new(&name.0), &error)),
        // Another file system, one without links, somebody else's file, a file with too many names: it can be read.
        Err(_) => Ok(Linked::No),
    }
}

fn failure(operation: &'static str, path: &Path, error: &io::Error) -> DiskError {
    DiskError { kind: kind_of(error), operation, file: path.display().to_string(), detail: error.to_string() }
}
