//! What can happen to a keeper of layouts.

use super::live::Transfers;
use crate::base::NodeId;
use crate::replication::LayoutMessage;
use crate::ring::Layout;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayoutInput {
    /// A peer says something. The driver has authenticated `from`.
    Message {
        /// Who.
        from: NodeId,
        /// What.
        message: LayoutMessage,
    },
    /// An operator wants this layout to be the next version. Answered exactly once, by [`super::LayoutEffect::Applied`],
    /// unless the process ends before.
    Apply {
        /// The driver's number, unique while it is open.
        request: u64,
        /// The version the operator planned from.
        expected: u64,
        /// The next version.
        layout: Arc<Layout>,
    },
    /// An operator stops the transfers of changes in the whole cluster, or lets them go on.
    Transfers(Transfers),
    /// The oldest [`super::LayoutEffect::Persist`] not yet answered is durable.
    Persisted,
    /// On all shards every request begun under a revision older than this one has ended, and whatever
    /// `LiveLayouts::gives_up` names under this one is given up, durably. The driver says so once for each
    /// revision that its shards have taken, the first included; revisions may be passed over.
    Drained {
        /// A revision that was published.
        revision: u64,
    },
    /// This node is complete in all its partitions of the newest version of this revision, which was settled, by
    /// exchanges begun under that or an earlier settled revision of the same newest version. A node that owns none is
    /// complete once what only it had, hints for example, is taken from it.
    Complete {
        /// The revision under which that was seen.
        revision: u64,
        /// Its newest version.
        version: u64,
    },
    /// Who is up, this node left out or not. All of them, every time.
    Peers(BTreeSet<NodeId>),
    /// The deadline that the keeper named has come.
    Tick,
}

/// How long a keeper waits for what, each with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayoutTimings {
    /// Between two digests to a random peer: how late a lost message is made good.
    pub digest_interval: Duration,
    /// An attempt without a majority for so long has lost its messages, or its rivals are faster; it is made again
    /// after a random pause of up to as long. Well above a round trip and a sync.
    pub attempt_timeout: Duration,
    /// How long an operator waits for a majority.
    pub apply_timeout: Duration,
    /// A layout accepted for so long without word of the outcome has lost its proposer: its acceptor proposes
    /// it. Longer than `apply_timeout`, so as not to compete with one who is still at it.
    pub resolve_after: Duration,
}

impl Default for LayoutTimings {
    fn default() -> Self {
        Self {
            digest_interval: Duration::from_secs(1),
            attempt_timeout: Duration::from_millis(500),
            apply_timeout: Duration::from_secs(10),
            resolve_after: Duration::from_secs(15),
        }
    }
}
