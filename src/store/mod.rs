//! Floor 2: the log-structured store of one data directory.
//!
//! Owns: record framing, segments, the index, recovery, the [`Disk`] it is generic over. Must not know:
//! peers, quorums, clients, threads. Invariant: durability is a prefix of the log; whatever an append
//! has answered survives any crash, and nothing is served that was read back but never synced.

mod disk;
mod frame;
mod identity;
mod index;
mod inspect;
#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "the engine that opens by key files comes next"))]
mod key_file;
mod log;
#[cfg(test)]
mod memory;
mod open;
mod place;
mod reader;
mod record;
mod recovered;
mod replay;
mod scan;
mod segment;
mod survey;
mod table;
mod verdict;

pub use disk::{Disk, DiskError, DiskErrorKind, FileName};
pub use identity::{Birth, Durability};
pub use index::Index;
pub use inspect::{Closed, Contents, Depth, InspectedIdentity, InspectedSegment, Inspection, inspect};
pub use log::{AppendError, Log};
pub use open::{DEFAULT_SEGMENT_BYTES, OpenOptions, Opened, open};
pub use place::{Place, Sequence};
pub use reader::{ReadError, Reader};
pub use record::{Body, HintBody, Record};
pub use recovered::{Finding, FindingKind, OpenError, Opening, Recovered, RecoveredHint, RenewalReason};
pub use table::{Leftover, PartitionTable, Published};
