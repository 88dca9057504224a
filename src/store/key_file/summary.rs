//! What the manifest keeps of a key file.

use super::layout::Footer;
use crate::store::Sequence;

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

impl Footer {
    /// What is kept of a file of so many bytes that ends with this footer.
    pub(super) fn summary(&self, bytes: u64, checksum: u32) -> KeyFileSummary {
        KeyFileSummary { entries: self.entries, bytes, checksum, lowest: self.lowest, highest: self.highest }
    }
}
