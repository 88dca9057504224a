//! Everything that can happen to a node.

use super::LiveLayouts;
use crate::base::{Mutation, NodeId, broken};
use crate::causal::Actor;
use crate::replication::{Command, ListCommand, Message};
use crate::ring::{Layout, PartitionId};
use crate::store::{KeyPage, LostRecord, Moved, Place, Record, Sequence};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A client asks; the answer carries `request` back.
    Command {
        /// The driver's number, unique while it is open.
        request: u64,
        /// What the client asks.
        command: Command,
    },
    /// A client asks for a page of keys; the answer carries `request` back.
    List {
        /// The driver's number, unique among those of commands, too.
        request: u64,
        /// What the client asks.
        command: ListCommand,
    },
    /// The one answer to `Effect::List`.
    Listed {
        /// The request's number.
        id: u64,
        /// The page; none if the store could not be read.
        page: Option<KeyPage>,
    },
    /// A peer says something. The driver has authenticated `from`.
    Message {
        /// Who.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// The one answer to an append or a read.
    Store {
        /// Whose request it was.
        shard: usize,
        /// The request's number within the shard.
        id: u64,
        /// How it ended.
        answer: StoreAnswer,
    },
    /// Compaction has copied these records. When this returns, nothing in memory names their old places any
    /// more; reads that were under way may still fail there, and are made again.
    Relocated(Vec<Moved>),
    /// Records that count are lost: keys of these partitions, or hints. At once the partitions do not count any
    /// more, and nothing is minted before the answer to [`super::Effect::Renew`] (PROTOCOL R8).
    Damaged(BTreeSet<PartitionId>),
    /// The store goes on under this actor. Comes behind the answers to all appends made before it was asked.
    Renewed {
        /// Fresh: nothing has been minted under it.
        actor: Actor,
    },
    /// The records that [`Input::Damaged`] was about. Those that still count, of partitions whose clock is void by
    /// now, are taken out of the tables by records of their own; the others are left: tell again, until
    /// [`super::Node::is_current`] denies them all.
    Lost(Vec<LostRecord>),
    /// The disk's space has changed.
    Space(Space),
    /// The routing snapshot has changed.
    View(Arc<View>),
    /// The deadline the node named has come.
    Tick,
}

/// What the disk has room for. Told by the driver, so a little late: a disk may be full before it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Space {
    /// Anything.
    #[default]
    Plenty,
    /// Only the reserve is left: it is kept for deletes, repair and compaction. Puts are refused before a dot
    /// is minted (PROTOCOL R3).
    Reserve,
}

/// How a storage request ended. Appends are answered in the order they were made.
#[derive(Debug, Clone)]
pub enum StoreAnswer {
    /// The record is durable.
    Appended {
        /// Where it lies.
        place: Place,
        /// Its rank.
        sequence: Sequence,
    },
    /// It is not in the log. The driver fails every later append of the shard the same way, until the
    /// shard says [`super::Effect::Resume`]: what was built on a lost record is lost with it (PROTOCOL R3).
    AppendFailed,
    /// The record read; a cache of the driver may hold it, too.
    Read(Arc<Record>),
    /// It could not be read: damage or an I/O error, never "not found".
    ReadFailed,
}

/// Who can be reached and who owns what: immutable, replaced as a whole.
#[derive(Debug, Clone)]
pub struct View {
    /// This node.
    pub me: NodeId,
    /// The layout versions in force.
    pub layouts: Arc<LiveLayouts>,
    /// The other members.
    pub peers: BTreeMap<NodeId, PeerState>,
}

/// What routing needs to know of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// Alive, or only suspected, and connected: worth asking.
    Up {
        /// The random number of its process. Another one than before: that process has taken the requests it
        /// had with it.
        epoch: u64,
    },
    /// Believed down: skipped, hinted for.
    Down,
}

impl View {
    /// The layout that reads go by.
    pub fn layout(&self) -> &Arc<Layout> {
        if broken(Mutation::ReadUnsynced) {
            return self.layouts.newest();
        }
        self.layouts.reading()
    }

    /// Is this node worth asking? Oneself always is.
    pub fn is_up(&self, node: NodeId) -> bool {
        node == self.me || self.epoch_of(node).is_some()
    }

    /// The process of a peer that is up.
    pub(super) fn epoch_of(&self, node: NodeId) -> Option<u64> {
        match self.peers.get(&node) {
            Some(PeerState::Up { epoch }) => Some(*epoch),
            Some(PeerState::Down) | None => None,
        }
    }
}
