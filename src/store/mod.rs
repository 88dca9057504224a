//! Floor 2: the log-structured store of one data directory.
//!
//! Owns: record framing, segments, the index, recovery, the [`Disk`] it is generic over. Must not know:
//! peers, quorums, clients, threads. Invariant: durability is a prefix of the log; whatever an append
//! has answered survives any crash, and nothing is served that was read back but never synced.

mod disk;
mod index;
mod place;
mod record;
mod table;

pub use disk::{Disk, DiskError, DiskErrorKind, FileName};
pub use index::Index;
pub use place::{Place, Sequence};
pub use record::{Body, HintBody, Record};
pub use table::{Leftover, PartitionTable, Published};
