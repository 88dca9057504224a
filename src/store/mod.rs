//! Floor 2: the log-structured store of one data directory.
//!
//! Owns: record framing, segments, sealing, the index, recovery, the [`Disk`] it is generic over. Must not
//! know: peers, quorums, clients, threads. Invariant: durability is a prefix of the log; whatever an append
//! has answered survives any crash, and nothing is served that was read back but never synced.

mod audit;
mod backup;
mod checkpoint;
mod cipher;
mod claims;
mod codec;
mod compaction;
mod disk;
mod envelope;
mod examination;
mod frame;
mod gather;
mod identity;
mod index;
mod inspect;
mod job;
#[cfg_attr(not(test), expect(dead_code, reason = "looking up one key comes with compaction"))]
mod key_file;
mod latest;
mod listing;
mod log;
#[cfg(test)]
mod memory;
mod mend;
mod names;
mod next_segment;
mod open;
mod place;
mod reader;
mod recent;
mod record;
mod recovered;
mod recovery;
mod renewal;
mod scan;
mod seal;
mod sealed;
mod segment;
mod setback;
mod slot;
mod survey;
mod table;
mod tail;
mod tail_run;
mod tracker;
mod verdict;

pub use audit::Contradiction;
pub use backup::{BackedUp, BackupError, Linked, back_up};
pub use cipher::{Encryption, SecretKey};
pub use codec::{CodecOptions, Compression, CompressionRules};
pub use compaction::{
    Compaction, CompactionError, CompactionOptions, DEFAULT_LIVE_SHARE, MAX_COMPACTION_KEY_FILES, Progress, Question,
};
pub use disk::{Disk, DiskError, DiskErrorKind, FileName};
pub use examination::{Damage, Examination, Examined};
pub use identity::{Birth, Durability};
pub use index::Index;
pub use inspect::{
    Closed, Contents, Depth, InspectedIdentity, InspectedSealed, InspectedSegment, Inspection, Locked, inspect,
    inspect_encrypted,
};
pub use job::Job;
pub use listing::{KeyLister, KeyPage, KeyQuery, KeySnapshot, ListError, MAX_OPEN_KEY_FILES, Reach};
pub use log::{AppendError, Log};
#[cfg(test)]
pub(crate) use memory::MemoryDisk;
pub use names::is_store_file;
pub use open::{DEFAULT_SEGMENT_BYTES, OpenOptions, Opened, open};
pub use place::{Holder, LostRecord, Moved, Place, Sequence};
pub use reader::{DEFAULT_OPEN_SEGMENTS, ReadError, Reader};
pub use recent::RecentDots;
pub use record::{Body, HintBody, Record};
pub use recovered::{Finding, FindingKind, OpenError, Opening, Recovered, RecoveredHint, RenewalReason};
pub use table::{Leftover, PartitionTable, Published};
