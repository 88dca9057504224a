//! What a node knows of the layouts, all of it durable.

use super::acceptor::Acceptor;
use super::live::{MAX_LIVE_LAYOUTS, Transfers, counted, members};
use super::trackers::Trackers;
use crate::base::NodeId;
use crate::ring::{Layout, MAX_NODES};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The durable state of a [`super::LayoutKeeper`]. Decoding validates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct LayoutState {
    /// The live versions, ascending, without a gap, at least one.
    pub(super) versions: Vec<Arc<Layout>>,
    /// Versions that have ended here, until this node has given up what it owned in them alone.
    pub(super) ending: Vec<Arc<Layout>>,
    /// The version read by; never goes back.
    pub(super) reading: u64,
    pub(super) trackers: Trackers,
    pub(super) acceptor: Acceptor,
    /// How often transfers were paused and resumed, in the whole cluster; odd while they pause.
    pub(super) pauses: u64,
}

/// A state as it is read.
#[derive(Deserialize)]
struct Unchecked {
    versions: Vec<Arc<Layout>>,
    ending: Vec<Arc<Layout>>,
    reading: u64,
    trackers: Trackers,
    acceptor: Acceptor,
    #[serde(default)]
    pauses: u64,
}

/// Why bytes are no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutStateError {
    /// None, or more than [`MAX_LIVE_LAYOUTS`].
    #[error("{0} live layouts; 1 to {MAX_LIVE_LAYOUTS} are expected")]
    Count(usize),
    /// The versions do not follow one another, or belong to different clusters.
    #[error("layout {0} does not follow the one before it")]
    Order(u64),
    /// What is read by is not live.
    #[error("layout {0} is read by and is not live")]
    Reading(u64),
    /// More trackers than there can be nodes.
    #[error("{0} trackers: there cannot be so many nodes")]
    Trackers(usize),
}

impl LayoutState {
    /// The state of a node that knows this layout and nothing else: the first of a new cluster, or the one given to
    /// a node that is about to join.
    pub fn new(layout: Arc<Layout>) -> Self {
        Self {
            reading: layout.version,
            versions: vec![layout],
            ending: Vec::new(),
            trackers: Trackers::default(),
            acceptor: Acceptor::default(),
            pauses: 0,
        }
    }

    /// Whether replicas fill.
    pub(super) fn transfers(&self) -> Transfers {
        if self.pauses.is_multiple_of(2) { Transfers::Running } else { Transfers::Paused }
    }

    /// An operator's order. Whoever gives the one in force changes nothing.
    pub(super) fn order(&mut self, transfers: Transfers) {
        if self.transfers() != transfers {
            self.pauses = self.pauses.saturating_add(1);
        }
    }

    /// The version in force.
    pub fn newest(&self) -> &Arc<Layout> {
        self.versions.last().expect("there is always a live version")
    }

    /// The live versions, ascending.
    pub fn versions(&self) -> &[Arc<Layout>] {
        &self.versions
    }

    pub(super) fn oldest(&self) -> u64 {
        self.versions.first().map_or(0, |layout| layout.version)
    }

    pub(super) fn version(&self, number: u64) -> Option<&Arc<Layout>> {
        self.versions.iter().find(|layout| layout.version == number)
    }

    pub(super) fn members(&self) -> BTreeSet<NodeId> {
        members(&self.versions)
    }

    /// What everyone who counts has acknowledged.
    pub(super) fn settled(&self) -> u64 {
        self.trackers.least(&counted(&self.versions), |tracker| tracker.acknowledged)
    }

    /// Can it be the version after the newest?
    pub(super) fn follows(&self, layout: &Layout) -> bool {
        follows(self.newest(), layout)
    }

    /// Is the node in no live version, or in the newest only? Then nobody who knows less counts it, and it has to
    /// take over what the others read by.
    pub(super) fn is_newcomer(&self, node: NodeId) -> bool {
        let older = self.versions.len().saturating_sub(1);
        self.versions.iter().take(older).all(|layout| layout.node(node).is_none())
    }

    /// Does what the trackers allow: reads by the newest version, ends old ones.
    ///
    /// Only the newest is ever gone over to, and not by who has accepted a next one. Otherwise old nodes could come
    /// to read by a version, and end those before it, while a node new in the next version, whom they do not count
    /// yet, still reads by an older one (docs/layout.md, "Two changes at once").
    pub(super) fn advance(&mut self) {
        let newest = self.newest().version;
        let counted = counted(&self.versions);
        let free = self.acceptor.accepted.is_none();
        if free && self.trackers.least(&counted, |tracker| tracker.synced) >= newest {
            self.reading = newest;
        }
        // One end at a time: with a version those who were in it alone stop counting, and that is to be seen first.
        if self.ending.is_empty() {
            self.end_before(self.trackers.least(&counted, |tracker| tracker.sync_acknowledged));
        }
    }

    /// Ends the versions older than this one. The newest never ends.
    pub(super) fn end_before(&mut self, version: u64) {
        let version = version.min(self.newest().version);
        let (ended, live) = std::mem::take(&mut self.versions).into_iter().partition(|l| l.version < version);
        self.versions = live;
        self.ending.extend::<Vec<_>>(ended);
        self.reading = self.reading.max(self.oldest());
    }

    /// Is there room for another version, and is nothing half given up? A partition that this node owned in an ended
    /// version and would own again in the next could otherwise look complete there.
    pub(super) fn can_adopt(&self) -> bool {
        self.ending.is_empty() && self.versions.len() < MAX_LIVE_LAYOUTS
    }

    /// Takes the version after the newest. What was promised about it is done with.
    pub(super) fn adopt(&mut self, layout: Arc<Layout>) {
        self.versions.push(layout);
        self.acceptor = Acceptor::default();
    }

    /// Takes others' live versions, all newer than its own, in place of its own.
    pub(super) fn replace(&mut self, versions: Vec<Arc<Layout>>) {
        self.ending.append(&mut self.versions);
        self.versions = versions;
        self.acceptor = Acceptor::default();
        self.reading = self.reading.max(self.oldest());
    }

    /// What was owned in these versions and no live one is given up.
    pub(super) fn given_up(&mut self, ended: &[Arc<Layout>]) {
        let newest = ended.last().map_or(0, |layout| layout.version);
        self.ending.retain(|layout| layout.version > newest);
    }

    /// Forgets the trackers of others who have left.
    pub(super) fn forget_strangers(&mut self, me: NodeId) {
        let members = self.members();
        self.trackers.keep(|node| node == me || members.contains(&node));
    }

    fn check(self) -> Result<Self, LayoutStateError> {
        if !(1..=MAX_LIVE_LAYOUTS).contains(&self.versions.len()) {
            return Err(LayoutStateError::Count(self.versions.len()));
        }
        let accepted = self.acceptor.accepted.iter().map(|(_, layout)| layout);
        let chain: Vec<&Arc<Layout>> = self.versions.iter().chain(accepted).collect();
        let broken = chain.windows(2).find_map(|pair| match pair {
            [before, after] if !follows(before, after) => Some(after.version),
            _ => None,
        });
        let overlap = self.ending.iter().find(|layout| layout.version >= self.oldest()).map(|layout| layout.version);
        if let Some(version) = broken.or(overlap) {
            return Err(LayoutStateError::Order(version));
        }
        if self.version(self.reading).is_none() {
            return Err(LayoutStateError::Reading(self.reading));
        }
        if self.trackers.len() > MAX_LIVE_LAYOUTS * MAX_NODES + 1 {
            return Err(LayoutStateError::Trackers(self.trackers.len()));
        }
        Ok(self)
    }
}

/// Is the second the next version of the first, as far as that can be told?
pub(super) fn follows(before: &Layout, after: &Layout) -> bool {
    before.version.checked_add(1) == Some(after.version)
        && before.cluster == after.cluster
        && before.partitioning == after.partitioning
}

impl TryFrom<Unchecked> for LayoutState {
    type Error = LayoutStateError;
    fn try_from(read: Unchecked) -> Result<Self, LayoutStateError> {
        let Unchecked { versions, ending, reading, trackers, acceptor, pauses } = read;
        LayoutState { versions, ending, reading, trackers, acceptor, pauses }.check()
    }
}
