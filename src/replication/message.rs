//! What nodes say to one another about data. One page: docs/replication.md.

use super::{Command, Outcome};
use crate::base::{Key, NodeId};
use crate::causal::{Actor, DotSet, Filled, Outline};
use crate::ring::PartitionId;
use crate::store::{KeyPage, KeyQuery};
use serde::{Deserialize, Serialize};

/// A message between two nodes. `request` and `session` are the sender's numbers; the answer carries
/// them back. Delivery is best effort: lost, late, repeated and re-ordered messages are all in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// A client's command for a key whose coordinator the receiver can be. The one message that must not
    /// be repeated: the receiver would carry it out twice. Transports send a message at most once.
    Forward {
        /// Sender's number.
        request: u64,
        /// The command, its time-out reduced to what is left.
        command: Command,
        /// Whether a filling replica should take it.
        claim: Claim,
    },
    /// The end of a forwarded command.
    Forwarded {
        /// As in the forward.
        request: u64,
        /// How it ended.
        outcome: Outcome,
    },
    /// Asks for a key's durable state.
    Read {
        /// Sender's number.
        request: u64,
        /// The key.
        key: Key,
        /// What the asker has already.
        known: Option<Known>,
        /// With values or without.
        want: Want,
        /// The layout version that the asker reads by.
        layout: u64,
    },
    /// Answers a read, from the durable state at one instant.
    ReadAnswer {
        /// As in the read.
        request: u64,
        /// The state.
        reply: ReadReply,
    },
    /// The whole filled state of a key, for the receiver to merge and make durable.
    Replicate {
        /// Sender's number; 0 wants no answer.
        request: u64,
        /// The key.
        key: Key,
        /// Its state.
        state: Filled,
        /// Dots whose effect the state is.
        dots: DotSet,
        /// Empty: the receiver is a primary. Else it holds a hint for these.
        hint_for: Vec<NodeId>,
        /// The newest layout version that the sender counts copies by.
        layout: u64,
    },
    /// Answers a replicate.
    Replicated {
        /// As in the replicate.
        request: u64,
        /// Durable, or why not.
        reply: StoreReply,
    },
    /// Which of these partitions' clocks differ from yours?
    ClockQuery {
        /// The asker's round.
        session: u64,
        /// The asker's clocks by hash.
        clocks: Vec<ClockEntry>,
    },
    /// The differing ones.
    ClockAnswer {
        /// As in the query.
        session: u64,
        /// Who answers: sessions die with the process or the actor (PROTOCOL R2).
        source: (Actor, u64),
        /// The answerer's durable clocks, where they differ.
        clocks: Vec<ClockReport>,
    },
    /// Asks for objects of one partition: of these dots, or with `listing_from` all from a key hash on.
    Pull {
        /// The asker's session.
        session: u64,
        /// The partition.
        partition: PartitionId,
        /// Dots the asker lacks.
        dots: DotSet,
        /// A full listing, from this hash on.
        listing_from: Option<u64>,
        /// The asker's actor if it is filling: an acknowledgement of an older one counts no more (R5).
        filling: Option<Actor>,
    },
    /// Objects of one partition, read from the durable state.
    Pulled {
        /// As in the pull.
        session: u64,
        /// The partition.
        partition: PartitionId,
        /// Who answers.
        source: (Actor, u64),
        /// The objects: in a listing, every key whose hash lies in the range covered.
        objects: Vec<PulledObject>,
        /// Dots asked for that the source cannot place: the asker needs a listing.
        unplaced: DotSet,
        /// Where the listing goes on; none at its end.
        next: Option<u64>,
        /// The source could not read some of it: the session ends without a join.
        failed: bool,
        /// As in the clock's report, but after the last object was read.
        voids: u32,
        /// Who would feel it if the asker took more at once.
        clients: Clients,
    },
    /// Asks for the next keys that the receiver holds in these partitions.
    List {
        /// Sender's number.
        request: u64,
        /// Which keys.
        query: KeyQuery,
        /// Of which partitions.
        partitions: Vec<PartitionId>,
    },
    /// Answers a list.
    Listed {
        /// As in the list.
        request: u64,
        /// The keys; none if they could not be read.
        page: Option<KeyPage>,
        /// Partitions asked for that the receiver is no complete replica of: their keys may be missing.
        refused: Vec<PartitionId>,
    },
    /// About layouts: for the node's control, not for a shard.
    Layout(super::LayoutMessage),
}

/// Which primaries may take a forwarded command (PROTOCOL R6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Claim {
    /// Complete ones only; others answer "not ready", nothing written.
    Complete,
    /// Any: no complete primary could be reached.
    Any,
}

/// The state an asker holds already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Hash of its live dots.
    pub live_hash: u64,
    /// Hash of its context.
    pub context_hash: u64,
}

/// Values, or only what decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Want {
    /// Versions with values.
    Values,
    /// Dots and context.
    Outline,
}

/// A replica's answer to a read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadReply {
    /// Exactly what the asker named (PROTOCOL R15).
    Same,
    /// The live dots are the asker's; the context differs.
    SameVersions {
        /// The replica's context.
        context: DotSet,
    },
    /// The state.
    State(Filled),
    /// The state without values.
    Outline(Outline),
    /// The replica is filling: it does not count (PROTOCOL R6). Nor does one to which the asker's layout is history.
    Filling,
    /// It could not be read: an error is never "not found".
    Failed,
}

/// Whether a state became durable at the receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreReply {
    /// fdatasync returned.
    Durable {
        /// The receiver's actor: which disk it is.
        actor: Actor,
        /// Filling nodes the receiver has served, with their new actor: an acknowledgement that such a
        /// node gave under another actor came from a disk lost since, and counts no more (PROTOCOL R5).
        refilled: Vec<(NodeId, Actor)>,
    },
    /// Not stored, for this reason.
    Refused(Refusal),
}

/// Why a state was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// No space, or the append failed.
    DiskFull,
    /// The hint budget is spent.
    HintsFull,
    /// Too much is waiting.
    Overloaded,
    /// The receiver cannot read what it holds of the key.
    Unreadable,
    /// The receiver is not what the sender takes it for under its layout, or that layout has ended.
    NotMine,
}

/// One clock in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockEntry {
    /// The partition.
    pub partition: PartitionId,
    /// Hash of the asker's durable clock.
    pub clock_hash: u64,
    /// Hash of the asker's data, if it is complete and has no leftovers there (PROTOCOL R20).
    pub data_hash: Option<u64>,
    /// Why the asker asks.
    pub need: ClockNeed,
}

/// What an asker needs of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClockNeed {
    /// The clock, if it differs.
    Difference,
    /// The clock in any case: the asker is filling and wants a full listing, or it is about to leave the partition and
    /// wants to know who has all it has (PROTOCOL R6).
    Listing,
}

/// Whether clients are served at a node now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Clients {
    /// Somebody waits for it, or has within the last second.
    Served,
    /// Nobody has.
    Absent,
}

/// One clock in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReport {
    /// The partition.
    pub partition: PartitionId,
    /// The durable clock now, before any object is read.
    pub clock: DotSet,
    /// Whether the source is complete there.
    pub complete: bool,
    /// Whether a key there has seen dots that the clock has not (PROTOCOL R12f): no pull of dots brings these.
    pub leftovers: bool,
    /// How often the clock there has become void in the source's process.
    pub voids: u32,
}

/// One object in a pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PulledObject {
    /// The key.
    pub key: Key,
    /// Its state, filled with the clock of the instant it was read.
    pub state: Filled,
    /// Dots asked for whose effect this is.
    pub dots: DotSet,
}
