//! What a keeper of layouts asks of its driver.

use super::live::LiveLayouts;
use super::state::LayoutState;
use crate::base::NodeId;
use crate::replication::LayoutMessage;
use crate::ring::LayoutError;
use std::sync::Arc;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayoutEffect {
    /// Send to each of these, best effort.
    Send {
        /// Peers, never oneself.
        to: Vec<NodeId>,
        /// What.
        message: LayoutMessage,
    },
    /// Make this durable in place of the state before: exactly one [`super::LayoutInput::Persisted`] answers. There
    /// is never more than one unanswered. If it fails the process ends.
    Persist(LayoutState),
    /// Hand this to the shards, and say [`super::LayoutInput::Drained`] of it in time. Only the newest counts.
    Live(Arc<LiveLayouts>),
    /// Answers an [`super::LayoutInput::Apply`].
    Applied {
        /// As in the input.
        request: u64,
        /// In force, or why not.
        result: Result<(), ApplyError>,
    },
    /// For logs and metrics.
    Notice(LayoutNotice),
}

/// What an operator may want to read about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayoutNotice {
    /// This version is live here.
    Adopted {
        /// The version.
        version: u64,
    },
    /// This version has ended here.
    Ended {
        /// The version.
        version: u64,
    },
    /// Reads go by this version.
    Reading {
        /// The version.
        version: u64,
    },
    /// A peer has another layout under the same number, or of another cluster. It cannot be, short of a lost or copied
    /// disk; nothing is taken from that peer.
    Conflict {
        /// The peer.
        from: NodeId,
        /// The version.
        version: u64,
    },
    /// Peers remember more of this node than it does itself: its state was lost or set back. It must treat every
    /// partition of its as filling (PROTOCOL R6), unless its store is known to be whole.
    SetBack,
}

/// Why a layout is not in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Planned from a version that is not the newest: plan again.
    #[error("the layout in force is version {newest}: plan the change again from it")]
    Stale {
        /// The newest version.
        newest: u64,
    },
    /// Not the version after the newest, or of another cluster or partitioning.
    #[error("layout {version} cannot follow layout {newest} of this cluster")]
    Unrelated {
        /// Its number.
        version: u64,
        /// The newest version.
        newest: u64,
    },
    /// It breaks a rule of layouts.
    #[error(transparent)]
    Invalid(#[from] LayoutError),
    /// [`super::MAX_LIVE_LAYOUTS`] would be live, or one less and the change declares nobody dead: the last place is kept for one
    /// that does. Wait for the oldest to end.
    #[error(
        "the change before is still under way: wait until the older layout has ended, or declare the dead node dead"
    )]
    TooManyLive,
    /// This node is still giving up what it owned in an ended version: try again in a moment.
    #[error("an older layout is just ending on this node: try again in a moment")]
    Ending,
    /// This node is proposing another change: try again in a moment.
    #[error("this node is proposing another change: try again in a moment")]
    Busy,
    /// Another layout came into force under this number.
    #[error("another change came first: layout {version} has the hash {winner:016x}")]
    Lost {
        /// The number.
        version: u64,
        /// The hash of that layout.
        winner: u64,
    },
    /// No majority of the nodes in force answered in time, and none was asked to accept the change: it will not come
    /// into force unless it is applied again.
    #[error("no majority in time ({reachable} of {nodes} nodes answered): nothing has changed")]
    NoMajority {
        /// How many of the nodes in force answered the last attempt, this node included if it is one.
        reachable: usize,
        /// How many nodes are in force.
        nodes: usize,
    },
    /// Some nodes were asked to accept the change, and no majority is known to have. The outcome is unknown: it may still
    /// come into force, as soon as a majority can reach one another. Look at the layout before trying again.
    #[error(
        "the outcome is unknown ({reachable} of {nodes} nodes answered): the change may still come into force; look at \
         the layout before trying again"
    )]
    OutcomeUnknown {
        /// As above.
        reachable: usize,
        /// As above.
        nodes: usize,
    },
}
