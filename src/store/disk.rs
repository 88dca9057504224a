//! The operating system in a dozen calls: what a store needs of a directory.

use std::fmt;

/// The name of a file in the data directory: letters, digits, `-` and `.` only; never built from a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(pub String);

/// What went wrong, as far as the store decides by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskErrorKind {
    /// No such file.
    NotFound,
    /// No space left: nothing of the call is on disk.
    Full,
    /// No file can be opened: the process or the machine has too many open. Nothing of the call is on disk.
    TooManyOpenFiles,
    /// Another process holds the directory.
    Locked,
    /// Permissions or a read-only file system.
    Refused,
    /// Anything else: the state of the written range is unknown.
    Failed,
}

/// A failed call, with the operating system's own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation} {file}: {detail}")]
pub struct DiskError {
    /// What the store can decide by.
    pub kind: DiskErrorKind,
    /// The call.
    pub operation: &'static str,
    /// The file, or the directory itself.
    pub file: String,
    /// The operating system's message.
    pub detail: String,
}

/// One directory. Two implementations: the real file system (`runtime::disk`) and the simulated one of
/// the chaos crate. Calls are synchronous: recovery and compaction are sequences.
///
/// Contract: after `sync` returns, all earlier writes to that file survive a crash, provided the file's
/// name does: a new, renamed or removed name survives only after `sync_dir`. Until then a crash may
/// keep, drop or tear any of it. After a failed `sync` nothing is known about un-synced writes.
pub trait Disk {
    /// An open file.
    type File;

    /// Creates a file that must not exist yet.
    fn create(&self, name: &FileName) -> Result<Self::File, DiskError>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &FileName) -> Result<Self::File, DiskError>;
    /// Makes the file `length` bytes long, zero-filled and backed by space; `Full` if there is none.
    fn allocate(&self, file: &Self::File, length: u64) -> Result<(), DiskError>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, file: &Self::File, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;
    /// Reads up to `length` bytes at `offset`; fewer only at the file's end.
    fn read_at(&self, file: &Self::File, offset: u64, length: usize) -> Result<Vec<u8>, DiskError>;
    /// The same, but only if it can be had without waiting for the device; else none.
    fn read_cached(&self, file: &Self::File, offset: u64, length: usize) -> Result<Option<Vec<u8>>, DiskError> {
        self.read_at(file, offset, length).map(Some)
    }
    /// fdatasync.
    fn sync(&self, file: &Self::File) -> Result<(), DiskError>;
    /// The file's length in bytes.
    fn len(&self, file: &Self::File) -> Result<u64, DiskError>;
    /// All file names of the directory, ascending.
    fn list(&self) -> Result<Vec<FileName>, DiskError>;
    /// Removes a name.
    fn remove(&self, name: &FileName) -> Result<(), DiskError>;
    /// Renames, replacing an existing `to`.
    fn rename(&self, from: &FileName, to: &FileName) -> Result<(), DiskError>;
    /// Makes created, renamed and removed names durable.
    fn sync_dir(&self) -> Result<(), DiskError>;
    /// Free bytes of the file system, and its size.
    fn free_space(&self) -> Result<(u64, u64), DiskError>;
    /// Takes the directory's lock for the life of this value; `Locked` if another process has it.
    fn lock(&self) -> Result<(), DiskError>;
    /// What tells this directory from a copy of it (inode, birth time); equal as long as it is the same one.
    fn identity(&self) -> Result<u64, DiskError>;
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
