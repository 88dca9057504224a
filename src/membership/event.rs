//! What goes into a detector and what comes out.

use super::identity::{Identity, IdentityError};
use crate::base::NodeId;
use bytes::Bytes;

/// Something happened to this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DetectorInput {
    /// A datagram came.
    Datagram {
        /// Who sent it, as the transport has proved.
        sender: NodeId,
        /// Where an answer would reach the sender.
        from: String,
        /// Its content; anything at all.
        bytes: Bytes,
    },
    /// A whole full-sync message, request or answer, came over a stream.
    FullSync {
        /// Who sent it, as the transport has proved.
        sender: NodeId,
        /// Where an answer would reach the sender.
        from: String,
        /// Its content; anything at all.
        bytes: Bytes,
    },
    /// The deadline passed.
    Tick,
    /// This node now says this of itself.
    UpdateIdentity(Identity),
    /// This node leaves: it says so, then only answers.
    Leave,
}

/// Something to do for the detector. All sends are best effort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DetectorEffect {
    /// Send one datagram, at most [`super::MAX_DATAGRAM_BYTES`].
    SendDatagram {
        /// The receiver's address.
        to: String,
        /// The content.
        bytes: Bytes,
    },
    /// Send one message over a stream, at most [`super::MAX_FULL_SYNC_BYTES`].
    SendFullSync {
        /// The receiver's address.
        to: String,
        /// The content.
        bytes: Bytes,
    },
    /// The members changed; [`super::Detector::members`] shows how they are now.
    Changed(Vec<MemberEvent>),
    /// An identity update was refused; nothing changed.
    UpdateRefused(IdentityError),
}

/// A change of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberEvent {
    /// Alive, and never heard of before.
    Joined(NodeId),
    /// Alive again.
    Alive(NodeId),
    /// Suspected; still reachable.
    Suspect(NodeId),
    /// Down.
    Down(NodeId),
    /// It left.
    Left(NodeId),
    /// It says something new of itself: addresses, layout, actor.
    IdentityChanged(NodeId),
    /// Two processes claim this node's id, as after copying a data directory. For an operator.
    Conflict {
        /// The contested id; perhaps this node's own.
        node: NodeId,
        /// The incarnation at which both were seen.
        incarnation: u64,
        /// The membership address known before.
        held: String,
        /// The membership address just heard.
        heard: String,
    },
    /// Another process holds this node's id and would not let go. The detector is silent from now on;
    /// the driver must stop the node.
    IdentityLost,
}

/// What was refused, since the start. None of it changes any state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Messages that could not be decoded: garbage, too long, another format.
    pub malformed: u64,
    /// Messages of another cluster.
    pub foreign_cluster: u64,
    /// Messages that said they were of another node than the one that sent them.
    pub false_sender: u64,
    /// Records that named an identity this node does not hold; it asks the member for the whole.
    pub unresolved: u64,
    /// Members not taken in because [`super::MAX_MEMBERS`] are known.
    pub members_refused: u64,
    /// Indirect pings not made because too many are under way.
    pub relays_refused: u64,
    /// Suspicions and verdicts about this node that it refuted.
    pub refutations: u64,
}
