//! Where operators change the layout: what is staged at this node, what it means, and the way to put it in force.

use super::control_handle::ControlHandle;
use super::http::CoreHandle;
use super::membership::Members;
use super::transfer_estimate::TransferEstimate;
use crate::base::NodeId;
use crate::membership::Identity;
use crate::node::{ApplyError, Transfers};
use crate::replication::LayoutTracker;
use crate::ring::{Change, ChangeError, ChangePlan, Departure, Layout, LayoutNode, Staged};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// One node's desk. What is staged lies there until it is applied, aborted or the node restarts; other nodes know nothing of
/// it. Two operators at two desks do not get in each other's way before one of them applies: the other is told then.
#[derive(Debug)]
pub struct LayoutDesk {
    control: ControlHandle,
    members: watch::Receiver<Arc<Members>>,
    /// What this node holds, to judge sizes by.
    core: CoreHandle,
    fill_bytes_per_second: u64,
    staged: Mutex<Option<Staged>>,
}

/// What an operator asks for: nodes by name or id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "lowercase", deny_unknown_fields)]
pub enum ChangeRequest {
    /// A member that owns nothing becomes an owner.
    Join {
        /// Which.
        node: String,
        /// Where it stands; what it says of itself without this.
        zone: Option<String>,
        /// Its share; what it says of itself without this.
        capacity: Option<u32>,
    },
    /// An owner gives up all it has.
    Leave {
        /// Which.
        node: String,
        /// It never comes back: nobody waits for it.
        #[serde(default)]
        dead: bool,
    },
    /// A member takes an owner's place.
    Replace {
        /// Who goes.
        node: String,
        /// Who comes.
        by: String,
        /// The old one never comes back: nobody waits for it.
        #[serde(default)]
        dead: bool,
    },
    /// An owner's share.
    Weight {
        /// Whose.
        node: String,
        /// At least 1.
        capacity: u32,
    },
    /// Where an owner stands.
    Zone {
        /// Which.
        node: String,
        /// Where.
        zone: String,
    },
    /// N.
    Replicas {
        /// How many.
        replicas: usize,
    },
}

/// The layouts as this node knows them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LayoutReport {
    /// The newest.
    pub layout: Layout,
    /// The versions that writes go to.
    pub live: Vec<u64>,
    /// The version that reads go by.
    pub reading: u64,
    /// The version that every node has acknowledged.
    pub settled: u64,
    /// Whether data are transferred.
    pub transfers: Transfers,
    /// How far each node has come.
    pub nodes: Vec<NodeProgress>,
    /// What is staged here.
    pub staged: Option<Staged>,
}

/// How far a node has come with the layouts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeProgress {
    /// Its name.
    pub name: String,
    /// It routes by this version.
    pub acknowledged: u64,
    /// Its data of this version are complete.
    pub synced: u64,
    /// It reads by this version.
    pub sync_acknowledged: u64,
}

/// Why a request of an operator is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// No such node.
    #[error("there is no node {name:?}; there are {known}")]
    Unknown {
        /// As asked for.
        name: String,
        /// Those that could have been meant.
        known: String,
    },
    /// The change is impossible.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// It is not in force.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The node is ending.
    #[error("this node is ending; ask another")]
    Ending,
}

impl LayoutDesk {
    /// With nothing on it. What this node holds, sizes are judged by.
    pub(super) fn new(
        control: ControlHandle,
        members: watch::Receiver<Arc<Members>>,
        core: CoreHandle,
        fill_bytes_per_second: u64,
    ) -> LayoutDesk {
        LayoutDesk { control, members, core, fill_bytes_per_second, staged: Mutex::new(None) }
    }

    /// The layouts as they are.
    pub fn report(&self) -> LayoutReport {
        let members = self.members();
        let layouts = &members.view.layouts;
        LayoutReport {
            layout: Layout::clone(layouts.newest()),
            live: layouts.versions.iter().map(|layout| layout.version).collect(),
            reading: layouts.reading().version,
            settled: layouts.settled,
            transfers: layouts.transfers,
            nodes: members.trackers.iter().map(|(node, tracker)| progress(&members, *node, tracker)).collect(),
            staged: self.staged().clone(),
        }
    }

    /// Adds a change to those that are staged.
    pub fn stage(&self, request: &ChangeRequest) -> Result<(), DeskError> {
        let members = self.members();
        let layout = members.view.layouts.newest();
        let change = change_of(&members, layout, request)?;
        let mut staged = self.staged();
        // What was staged on an older version is void, and is said to be when it is looked at.
        staged.get_or_insert_with(|| Staged::on(layout)).stage(layout, change)?;
        Ok(())
    }

    /// Forgets what is staged.
    pub fn abort(&self) {
        *self.staged() = None;
    }

    /// What the staged changes mean.
    pub fn plan(&self) -> Result<ChangePlan, DeskError> {
        let (layout, next) = self.planned()?;
        let partitions = layout.partitioning.count() as usize;
        let estimate = TransferEstimate::of(&self.core.status().holdings, partitions, self.fill_bytes_per_second);
        let estimates = estimate.as_ref().map(TransferEstimate::for_plan).unwrap_or_default();
        Ok(ChangePlan::of(&layout, &next, &estimates))
    }

    /// Puts them in force, if the version that they were staged on still is. The number of the new version.
    pub async fn apply(&self) -> Result<u64, DeskError> {
        let (layout, next) = self.planned()?;
        let version = next.version;
        self.control.apply(layout.version, next).await.ok_or(DeskError::Ending)??;
        self.abort();
        Ok(version)
    }

    /// Stops the transfers of changes in the whole cluster, or lets them go on.
    pub async fn order(&self, transfers: Transfers) -> Result<(), DeskError> {
        self.control.order(transfers).await.ok_or(DeskError::Ending)
    }

    fn planned(&self) -> Result<(Arc<Layout>, Layout), DeskError> {
        let layout = Arc::clone(self.members().view.layouts.newest());
        let staged = self.staged().clone().ok_or(ChangeError::NothingStaged)?;
        let next = staged.plan(&layout)?;
        Ok((layout, next))
    }

    fn members(&self) -> Arc<Members> {
        Arc::clone(&self.members.borrow())
    }

    /// Whoever panicked with the desk in hand has left it as it was: every change of it is one assignment.
    fn staged(&self) -> std::sync::MutexGuard<'_, Option<Staged>> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn progress(members: &Members, node: NodeId, tracker: &LayoutTracker) -> NodeProgress {
    let LayoutTracker { acknowledged, synced, sync_acknowledged } = *tracker;
    let layouts = &members.view.layouts.versions;
    let known = layouts.iter().rev().find_map(|layout| layout.node(node)).map(|node| node.name.clone());
    NodeProgress { name: known.unwrap_or_else(|| node.to_string()), acknowledged, synced, sync_acknowledged }
}

fn change_of(members: &Members, layout: &Layout, request: &ChangeRequest) -> Result<Change, DeskError> {
    let declared = |dead: bool| if dead { Departure::Dead } else { Departure::Alive };
    Ok(match request {
        ChangeRequest::Join { node, zone, capacity } => {
            let mut node = newcomer(members, layout, node)?;
            node.zone = zone.clone().unwrap_or(node.zone);
            node.capacity = capacity.unwrap_or(node.capacity);
            Change::Join { node }
        }
        ChangeRequest::Leave { node, dead } => Change::Leave { node: owner(layout, node)?, declared: declared(*dead) },
        ChangeRequest::Replace { node, by, dead } => {
            let (old, new) = (owner(layout, node)?, newcomer(members, layout, by)?);
            Change::Replace { old, new, declared: declared(*dead) }
        }
        ChangeRequest::Weight { node, capacity } => Change::Weight { node: owner(layout, node)?, capacity: *capacity },
        ChangeRequest::Zone { node, zone } => Change::Zone { node: owner(layout, node)?, zone: zone.clone() },
        ChangeRequest::Replicas { replicas } => Change::Replicas(*replicas),
    })
}

/// A node of the layout.
fn owner(layout: &Layout, name: &str) -> Result<NodeId, DeskError> {
    let found = layout.node_named(name).or_else(|| name.parse().ok().and_then(|id| layout.node(id)));
    found.map(|node| node.id).ok_or_else(|| {
        let mut known: Vec<&str> = layout.nodes.iter().map(|node| node.name.as_str()).collect();
        known.sort_unstable();
        DeskError::Unknown { name: name.into(), known: known.join(", ") }
    })
}

/// A member that is not in the layout, as it says of itself.
fn newcomer(members: &Members, layout: &Layout, name: &str) -> Result<LayoutNode, DeskError> {
    let id = name.parse::<NodeId>().ok();
    let all: Vec<&Identity> = members.members.values().map(|member| &*member.identity).collect();
    let fits = |identity: &Identity| identity.name == name || Some(identity.node) == id;
    let outside: Vec<&Identity> = all.iter().copied().filter(|identity| layout.node(identity.node).is_none()).collect();
    // One that is in the layout is refused by name when it is staged.
    let found = outside.iter().chain(&all).copied().find(|identity| fits(identity));
    let identity = found.ok_or_else(|| {
        let known: Vec<&str> = outside.iter().map(|identity| identity.name.as_str()).collect();
        let known = if known.is_empty() { "none outside the layout".into() } else { known.join(", ") };
        DeskError::Unknown { name: name.into(), known }
    })?;
    Ok(LayoutNode {
        id: identity.node,
        name: identity.name.clone(),
        zone: identity.zone.clone(),
        capacity: identity.capacity,
        address: identity.peer_address.clone(),
        membership_address: identity.membership_address.clone(),
    })
}
