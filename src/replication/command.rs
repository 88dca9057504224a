//! What a client asks of the cluster, and what it is answered.

use crate::base::{HybridTime, Key, NodeId, WallTime};
use crate::causal::{DotSet, Filled, bytes_of};
use crate::store::{KeyPage, KeyQuery};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// One request about one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The key.
    pub key: Key,
    /// What to do.
    pub operation: Operation,
    /// How many must take part, how long to wait.
    pub options: Options,
}

/// One request for a page of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListCommand {
    /// Which keys, and how many at most: 1 to [`super::MAX_PAGE_KEYS`].
    pub query: KeyQuery,
    /// Of these `r` and the time-out count.
    pub options: Options,
}

/// Get, put or delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Read the live versions.
    Get,
    /// Write a version, or with `content: None` delete.
    Write {
        /// The new version; none deletes.
        content: Option<NewContent>,
        /// The client's context: supersede exactly this. None: what the coordinator itself sees.
        seen: Option<DotSet>,
        /// Checked against a quorum read before anything is written.
        condition: Condition,
    },
}

/// A version before it is minted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewContent {
    /// The bytes.
    pub value: Bytes,
    /// As the client gave it.
    pub content_type: String,
    /// `Dunlin-Meta-*` pairs, ascending by name.
    pub metadata: Vec<(String, String)>,
    /// Time to live in milliseconds from the moment of the write.
    pub ttl_ms: Option<u64>,
}

impl NewContent {
    /// How long it is: value, type and metadata.
    pub fn bytes(&self) -> usize {
        bytes_of(&self.value, &self.content_type, &self.metadata)
    }
}

/// A precondition on the live dots (RFC 9110, best effort in an eventual namespace).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// None.
    Always,
    /// `If-Match: "t", ...`: the live dots hash to one of these.
    LiveHashIn(Vec<u64>),
    /// `If-Match: *`: there is a live version.
    Exists,
    /// `If-None-Match: *`: there is none.
    Absent,
}

/// How many replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quorum {
    /// More than half of N.
    Majority,
    /// N.
    All,
    /// This many, 1..=N.
    Count(u8),
}

/// May fallbacks stand in for primaries that cannot be reached?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sloppiness {
    /// Yes: a durable hint counts.
    Sloppy,
    /// No: only primaries count.
    Strict,
}

/// The knobs of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Replicas a read asks.
    pub r: Quorum,
    /// Durable copies a write waits for.
    pub w: Quorum,
    /// Whether fallbacks count.
    pub sloppiness: Sloppiness,
    /// How long the client waits, in milliseconds.
    pub timeout_ms: u64,
}

impl Quorum {
    /// How many of `replicas` that is; none if more than there are, or zero.
    pub fn of(self, replicas: usize) -> Option<usize> {
        match self {
            Quorum::Majority => Some(replicas / 2 + 1),
            Quorum::All => Some(replicas),
            Quorum::Count(count) => Some(usize::from(count)).filter(|count| (1..=replicas).contains(count)),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { r: Quorum::Majority, w: Quorum::Majority, sloppiness: Sloppiness::Sloppy, timeout_ms: 2_000 }
    }
}

/// How a command ended. Every command is answered exactly once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// A read: the merged state; no version means not found.
    Read(ReadResult),
    /// A write that is durable on enough nodes.
    Written(WriteResult),
    /// A page of a listing: keys of which some replica holds a version. Not every one of them need be there to a
    /// reader, and none that is there is missing.
    Listed(KeyPage),
    /// The condition did not hold; nothing was written.
    PreconditionFailed {
        /// Hash of the live dots there are.
        live_hash: u64,
    },
    /// No success.
    Failed(Failure),
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadResult {
    /// Live versions and context, merged from all who answered.
    pub state: Filled,
    /// How many answers counted.
    pub answers: usize,
    /// N.
    pub replicas: usize,
    /// How many of the answers came from fallbacks.
    pub hinted: usize,
}

/// What a write did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteResult {
    /// Whether the key had no live version before, as the coordinator saw it.
    pub created: bool,
    /// What the answer's token covers: what this write superseded, and its own dot (PROTOCOL R4).
    pub context: DotSet,
    /// The live dots the client knows of now: its own, none after a delete.
    pub live: DotSet,
    /// Durable copies on distinct nodes.
    pub acks: usize,
    /// N.
    pub replicas: usize,
    /// How many of the copies are hints.
    pub hinted: usize,
    /// When it was written.
    pub written_at: HybridTime,
    /// When it expires.
    pub expires_at: Option<WallTime>,
}

/// Why a command did not succeed, and whether anything may have been written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// Too few replicas could be reached to begin with; nothing was written.
    TooFewReplicas {
        /// How many are needed.
        required: usize,
        /// How many can be reached.
        reachable: usize,
    },
    /// A write began and too few acknowledged in time: it may or may not survive.
    OutcomeUnknown {
        /// How many are needed.
        required: usize,
        /// How many acknowledged.
        acks: usize,
        /// The node the write was passed on to, if that is who went away or stayed silent.
        coordinator: Option<NodeId>,
    },
    /// A read got too few answers in time.
    ReadTimeout {
        /// How many are needed.
        required: usize,
        /// How many answered.
        answers: usize,
    },
    /// `r` or `w` is above N.
    QuorumTooLarge {
        /// N.
        replicas: usize,
    },
    /// The node sheds load; nothing was written.
    Overloaded,
    /// The node is not ready for this key; nothing was written.
    NotReady,
    /// The disk's reserve is reached; nothing was written.
    DiskFull,
    /// The write would leave more siblings than allowed; nothing was written.
    TooManySiblings {
        /// The limit.
        limit: usize,
    },
    /// The write would leave siblings too long for one record; nothing was written.
    SiblingsTooLarge {
        /// The limit on their bytes together.
        limit: usize,
    },
}

impl Failure {
    /// Is it certain that nothing was written? Then another node may be tried (PROTOCOL R18).
    pub fn nothing_written(&self) -> bool {
        !matches!(self, Failure::OutcomeUnknown { .. })
    }
}
