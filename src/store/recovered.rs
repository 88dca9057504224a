//! What an opening found and decided, for the node and for the operator.

use super::{DiskError, PartitionTable, Place, ReadError, Sequence};
use crate::base::{Key, NodeId};
use crate::causal::{Actor, DotSet, Outline};
use crate::ring::PartitionId;
use std::collections::BTreeMap;

/// The state of a store as its log gives it back. All of it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Under which new dots are minted.
    pub actor: Actor,
    /// Whether that actor is the one of before.
    pub opening: Opening,
    /// Partitions with at least one record.
    pub tables: BTreeMap<PartitionId, PartitionTable>,
    /// Hints with a target that has not got them yet.
    pub hints: BTreeMap<Sequence, RecoveredHint>,
    /// Partitions without a table are complete: born so, and never reset.
    pub complete_by_default: bool,
    /// What was cut, damaged or set aside.
    pub findings: Vec<Finding>,
}

/// How the store came to its actor (PROTOCOL R9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// A new directory.
    New,
    /// Every counter is proven: the actor of before.
    Kept,
    /// Something may be forgotten: a new actor.
    Renewed {
        /// What may be.
        reason: RenewalReason,
    },
}

/// Why a store that has records goes on under a new actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewalReason {
    /// Records or a segment that were durable are gone or unreadable. All partitions are reset.
    Damage,
    /// A write or sync failed in the last process, or an earlier repair was cut short. All partitions are reset.
    Poisoned,
    /// The directory is a copy of the one the log was written in. All partitions are reset.
    Copied,
    /// The directory is a backup. Clocks and data are those of an earlier instant, whole and in accord: clocks are
    /// kept, and all partitions fill again.
    Restored,
    /// The identity is missing, damaged or older than the log. All partitions are reset.
    IdentityLost,
    /// The machine restarted without a clean end, and writes were not synced. A suffix may be lost,
    /// clocks and data alike; nothing is reset.
    MachineRestart,
    /// The last write is torn. Damage to the last answered batch would look the same, so the counters
    /// are not proven; nothing is reset.
    TornTail,
}

impl RenewalReason {
    /// Must clocks shrink to what was read back intact (PROTOCOL R8)?
    pub fn resets(self) -> bool {
        !matches!(self, RenewalReason::Restored | RenewalReason::MachineRestart | RenewalReason::TornTail)
    }

    /// May others have counted on records that are gone? Then nothing here counts towards R until it was compared
    /// with theirs (PROTOCOL R6).
    pub fn fills(self) -> bool {
        self.resets() || self == RenewalReason::Restored
    }
}

/// A hint whose hand-off goes on after a restart. Its value stays on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredHint {
    /// The partition.
    pub partition: PartitionId,
    /// Targets that have not got it yet; never empty.
    pub targets: Vec<NodeId>,
    /// The key.
    pub key: Key,
    /// The dots whose effect it is.
    pub dots: DotSet,
    /// The state it holds, without the values: a fallback's next write of the key builds on it.
    pub outline: Outline,
    /// Where its record is; its length is what the hint costs.
    pub place: Place,
}

/// One thing that recovery saw and the operator should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// The segment; 0 when it is about none.
    pub segment: u32,
    /// First byte of it in the segment's file.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// The last write did not reach the disk whole. It was never durable, or looks as if; it was cut.
    TornTail,
    /// Bytes that are no record, in the midst of the log. The file is left as it is.
    DamagedBytes,
    /// The disk reports an error for these bytes.
    UnreadableBytes,
    /// Records that were durable are gone; `offset` is the first lost sequence, `bytes` how many.
    LostRecords,
    /// A segment that held answered records is gone, or its header is unreadable (it is then renamed).
    LostSegment,
    /// A segment that was begun and never answered for; removed.
    UnfinishedSegment,
    /// A segment that the manifest has done with, or does not know yet: compacted away, or a compaction
    /// that was not finished; removed.
    SpentSegment,
    /// The key file of this segment is gone or damaged; written anew from the segment.
    DamagedKeyFile,
    /// The checkpoint is gone or damaged; the whole log was read instead.
    DamagedCheckpoint,
}

impl Finding {
    /// A finding about a segment as a whole; 0 for none.
    pub(super) fn of_segment(kind: FindingKind, segment: u32) -> Finding {
        Finding { kind, segment, offset: 0, bytes: 0 }
    }
}

/// Why a store could not be opened. Nothing was changed that a later opening would miss.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the directory.
    #[error("the data directory is in use by another process")]
    Locked,
    /// A backup that was cut short.
    #[error("a backup that was not finished: files are missing; take another one")]
    UnfinishedBackup,
    /// A file of a later version of Dunlin.
    #[error("{file} has format {format}, which this version does not know; use the version that wrote it")]
    UnknownFormat {
        /// The file.
        file: String,
        /// The format it says it has.
        format: u32,
    },
    /// The directory is encrypted, and no key was given.
    #[error("the directory is encrypted, and no key is given (storage.encryption_key_file)")]
    KeyNeeded,
    /// The keys given are not those of the directory.
    #[error("none of the keys given (storage.encryption_key_file) opens data key {number} of the directory")]
    WrongKey {
        /// The first that does not open.
        number: u8,
    },
    /// Segments are there whose data key is not.
    #[error("segments are encrypted under data key {number}, which the file `keys` does not have; put that file back")]
    MissingKey {
        /// The data key.
        number: u8,
    },
    /// The file `keys` cannot be read.
    #[error("both copies in the file `keys` are damaged; put that file back")]
    DamagedKeys,
    /// Segments under all the data keys that have a number are still there.
    #[error("255 data keys are in use; let compaction encrypt the directory anew before another is drawn")]
    TooManyKeys,
    /// A record whose checksum fits and whose contents mean nothing: written by something else.
    #[error("record {} in segment {:08x} at {} is intact but not understood", sequence.0, place.segment, place.offset)]
    NotUnderstood {
        /// Which.
        sequence: Sequence,
        /// Where.
        place: Place,
    },
    /// A record was intact at the first look and not at the second.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk failed or is full.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
