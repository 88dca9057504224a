//! Everything a node asks of its driver.

use crate::base::NodeId;
use crate::replication::{Message, Outcome};
use crate::ring::PartitionId;
use crate::store::{KeyQuery, Place, Record};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send to each of these, best effort: encoded once, lost without a word if it must be.
    Send {
        /// To whom.
        to: Vec<NodeId>,
        /// What.
        message: Message,
    },
    /// Append and make durable. Answered once by `Input::Store` with this shard and id, in
    /// order of the shard's appends.
    Append {
        /// Whose request it is.
        shard: usize,
        /// The request's number within the shard.
        id: u64,
        /// What.
        record: Record,
    },
    /// Read a record. Answered once; at once if the page cache has it, else in any order.
    Read {
        /// Whose request it is.
        shard: usize,
        /// The request's number within the shard.
        id: u64,
        /// Where.
        place: Place,
        /// Whether it is worth keeping in memory.
        reuse: Reuse,
    },
    /// List the store's keys of these partitions. Answered once by `Input::Listed`, in any order. What is listed is
    /// the state of an instant after this: an append answered before is in it.
    List {
        /// The request's number.
        id: u64,
        /// Which keys.
        query: KeyQuery,
        /// Keys of other partitions are left out.
        partitions: Vec<PartitionId>,
    },
    /// After a failed append: everything voided has been noted; appends from here on are new.
    Resume {
        /// Which shard.
        shard: usize,
    },
    /// Go on under a fresh actor, durably: `Log::renew`, in order behind all appends asked for so far. Answered
    /// by `Input::Renewed`, if the disk is full then as soon as it has room; one answer may stand for several.
    Renew,
    /// The requests that this shard had begun under earlier revisions of the layouts have ended, and the clocks of
    /// partitions gained and lost are void, durably. Said once for each revision.
    Drained {
        /// Which shard.
        shard: usize,
        /// [`super::LiveLayouts::revision`].
        revision: u64,
    },
    /// All partitions that this shard owns by the version count towards R (PROTOCOL R6). Said once for each newest
    /// version.
    Filled {
        /// Which shard.
        shard: usize,
        /// The revision under which that was seen; it is settled.
        revision: u64,
        /// Its newest version.
        version: u64,
    },
    /// Answer a client, exactly once per command.
    Answer {
        /// The command's number.
        request: u64,
        /// How it ended.
        outcome: Outcome,
    },
    /// Something worth counting or logging.
    Notice(Notice),
}

/// What is to be expected of a record that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// A client reads it, and may do so again.
    Likely,
    /// It is about to be replaced, or it is one of many that are looked through.
    Unlikely,
}

/// What logs, metrics and coverage counters are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the name says what happened; metrics carry the help text")]
pub enum Notice {
    CommandForwarded,
    FallbackCoordinated,
    HintStored,
    HintRefused,
    HintDrained,
    ReadRepaired,
    ReadHedged,
    ReadAnsweredSame,
    ExchangeStarted,
    ExchangeByDots,
    ExchangeByListing,
    ExchangeAborted,
    ExchangeJoined,
    PartitionCompleted,
    DeleteVanished,
    SiblingsMade,
    /// Another replica's siblings of a key do not fit one record together with this one's. Until a client
    /// settles them the replicas differ.
    ObjectTooLarge,
    AppendFailed,
    StaleAcknowledgementDropped,
    DataHashesDiffer,
    /// A dot of this node's own actor is known that its counter has not reached: the store was set back. It
    /// mints no more in that partition until it is opened under a new actor (PROTOCOL R9).
    CounterBehind,
    Overloaded,
    ReadFailed,
    /// The keys of a partition that this node no longer owns are gone.
    PartitionDropped,
    /// A hint for a node that is no owner any more goes to all owners (PROTOCOL R5).
    HintInherited,
    /// Records were lost while the node ran: it mints under a new actor from here on.
    ActorRenewed,
    /// A partition's clock was made void because records of it are lost; it fills from the other replicas.
    PartitionVoided,
}
