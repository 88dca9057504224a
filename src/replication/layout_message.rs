//! What nodes say to one another about layouts. One page: docs/layout.md.

use crate::base::NodeId;
use crate::ring::Layout;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rank of one attempt to decide a version. Of two the higher round is the higher; at equal rounds the higher
/// node is. No node uses one twice: it is durable at its proposer before anyone hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ballot {
    /// Raised above every round seen.
    pub round: u64,
    /// Who proposes.
    pub proposer: NodeId,
}

/// How far one node has come with the versions. No part ever goes back, so two of them merge by the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutTracker {
    /// The node routes by this version, and none of its requests begun under an older newest one is open.
    pub acknowledged: u64,
    /// The node is complete in all its partitions of this version, by exchanges begun after everyone acknowledged it.
    pub synced: u64,
    /// The node reads by this version, and none of its requests begun under an older view is open.
    pub sync_acknowledged: u64,
}

/// What a node's layouts come to: equal summaries, equal layouts and trackers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutDigest {
    /// The oldest live version.
    pub oldest: u64,
    /// The newest version.
    pub newest: u64,
    /// The hash of the newest version.
    pub newest_hash: u64,
    /// A hash of the trackers of all members.
    pub trackers: u64,
    /// How often transfers were paused and resumed; of two the greater counts. Odd: they pause.
    pub pauses: u64,
}

/// What a node knows of the layouts. Whatever is in it is decided: a layout travels here only once it is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutNews {
    /// The sender's summary.
    pub digest: LayoutDigest,
    /// Live versions that the receiver lacks, as far as the sender knows; ascending, the last is the newest. None if
    /// it lacks none, or if nobody knows what it lacks: then it asks, by a digest.
    pub versions: Vec<Arc<Layout>>,
    /// The version the sender reads by.
    pub reading: u64,
    /// The trackers of the members of all live versions.
    pub trackers: BTreeMap<NodeId, LayoutTracker>,
}

/// A message between two nodes about layouts. Lost, late, repeated and re-ordered ones are all in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayoutMessage {
    /// Promise to take part in no lower attempt to decide this version.
    Prepare {
        /// The version to decide.
        version: u64,
        /// The attempt.
        ballot: Ballot,
    },
    /// Promised, durably.
    Promise {
        /// As in the prepare.
        version: u64,
        /// As in the prepare.
        ballot: Ballot,
        /// The layout accepted before, in the highest attempt that was.
        accepted: Option<(Ballot, Arc<Layout>)>,
    },
    /// Accept this layout as the next version, unless a higher attempt was promised.
    Accept {
        /// The version to decide.
        version: u64,
        /// The attempt.
        ballot: Ballot,
        /// The layout.
        layout: Arc<Layout>,
    },
    /// Accepted, durably.
    Accepted {
        /// As in the accept.
        version: u64,
        /// As in the accept.
        ballot: Ballot,
        /// The version that the acceptor read by then.
        reading: u64,
    },
    /// A higher attempt was promised.
    Refused {
        /// As in the question.
        version: u64,
        /// As in the question.
        ballot: Ballot,
        /// What the next attempt must be above.
        promised: Ballot,
    },
    /// This is what I have: answer with the news if you have other.
    Digest(LayoutDigest),
    /// What I know.
    State(LayoutNews),
}
