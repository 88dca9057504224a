//! Floor 2: the sorted key file beside each sealed segment.
//!
//! Owns: the file's format, its entries while a segment is written ([`KeyRun`]), looking up one key,
//! and reading many files as one ([`Merge`]). Must not know: the manifest, the index, which record of a
//! key counts. Invariant: what is read is what was written, or an error; never an entry less, never
//! another. Memory: per open file its list of blocks, per cursor one block.

mod block;
mod block_list;
mod cursor;
mod entry;
mod error;
mod filter;
mod layout;
mod merge;
mod name;
mod newest;
mod reader;
mod run;
mod shared_run;
mod summary;
#[cfg(test)]
mod tests;
mod varint;
mod writer;

pub(crate) use cursor::KeyCursor;
pub(crate) use entry::{EntryKind, KeyEntry};
pub(crate) use error::KeyFileError;
pub(crate) use merge::{KeySource, Merge};
pub(crate) use name::{key_file_name, segment_of_key_file};
pub(crate) use newest::{NewestCursor, NewestEntry};
pub(crate) use reader::{Descriptor, KeyFile};
pub(crate) use run::{KeyRun, RunCursor};
pub(crate) use shared_run::SharedRun;
pub(crate) use summary::KeyFileSummary;
pub(crate) use writer::write_key_file;
