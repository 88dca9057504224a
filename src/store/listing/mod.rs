//! Floor 2: the keys of a store in order, a page at a time.
//!
//! ```text
//!  Log::key_snapshot()  -->  KeyLister::page(snapshot, query)  -->  keys, and how far they are complete
//!  (on the thread of the log)       (on any other thread)
//! ```
//!
//! Owns: which segments a page is made of, the key files that are open for it, the merge. Must not know: clocks,
//! quorums, values. Invariant: every key whose newest durable record at the instant of the snapshot is an object
//! with a version, and whose partition was not dropped since, is on the page, if it lies in the range that the page
//! says it is complete in; no key twice.
//!
//! What a page costs. A snapshot: a copy of the list of sealed segments (100 bytes each), a look at each partition, and at most 2,048 entries
//! of the segment being written. A page: a look-up and a block (16 KiB) for each key file, a binary search in each
//! piece of 2,048 entries of what is not sealed, and then what is returned and passed over: deletes, superseded
//! records, keys of partitions not asked for. It does not grow with the number of keys. Memory: one block of each key
//! file while a page is made, and the index of each (40 bytes for about 600 keys) for as long as the segment lives.
//! No filter is asked: it answers for one key, not for a range.

mod lister;
mod page;
mod snapshot;
#[cfg(test)]
mod tests;

pub use lister::{KeyLister, ListError, MAX_OPEN_KEY_FILES};
pub use page::{KeyPage, KeyQuery, Reach};
pub use snapshot::KeySnapshot;
