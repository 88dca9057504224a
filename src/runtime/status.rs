//! What a node shows of itself and of the cluster as it sees it.

use super::membership::Members;
use crate::base::{Key, NodeId};
use crate::causal::Actor;
use crate::membership::Member;
use crate::node::{PartitionReport, Transfer, View};
use crate::ring::PartitionId;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Copies without progress for so long are a reason not to be ready: a source that is down is noticed within ten
/// seconds, and others are asked.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(60);

/// One instant of the cluster in the eyes of this node. The driver replaces it as a whole.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ClusterStatus {
    /// This node.
    pub node: NodeStatus,
    /// Every member known, this node among them.
    pub members: Vec<MemberStatus>,
    /// Version of the layout in force.
    pub layout_version: u64,
    /// P.
    pub partitions: u32,
    /// N.
    pub replicas: usize,
    /// Hints held, per node they are for.
    pub hints: Vec<HintStatus>,
    /// Partitions this node does not yet hold completely (PROTOCOL R6).
    pub partitions_filling: Vec<u32>,
    /// What other nodes have sent for such partitions since this process began, by node.
    pub transfers: Vec<TransferStatus>,
    /// For how many seconds nothing has come of them, although something should.
    pub transfer_idle_seconds: u64,
    /// May clients be sent here?
    pub ready: bool,
    /// If not ready: why, one sentence each.
    pub reasons: Vec<String>,
    /// The layout's table, by partition. Its length is a power of two.
    #[serde(skip)]
    pub rows: Arc<Vec<PartitionRow>>,
    /// What this node holds, by partition it is a primary of.
    #[serde(skip)]
    pub holdings: Arc<Vec<Holding>>,
    /// Which node wrote under which actor, by name, as far as gossip has told.
    #[serde(skip)]
    pub actors: Arc<BTreeMap<Actor, String>>,
}

/// A node by id and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// Its identity.
    #[serde(serialize_with = "as_text")]
    pub id: NodeId,
    /// Its configured name.
    pub name: String,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberStatus {
    /// Its configured name.
    pub name: String,
    /// Its identity.
    #[serde(serialize_with = "as_text")]
    pub id: NodeId,
    /// What this node believes of it.
    pub state: MemberState,
    /// SWIM's number, raised by the member alone.
    pub incarnation: u64,
    /// Where it can be reached.
    pub addresses: MemberAddresses,
    /// Its zone; empty if it has none.
    pub zone: String,
    /// Its share of the data, relative to the others.
    pub capacity: u64,
    /// The program's version it runs.
    pub version: String,
}

/// What is believed of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// It answers.
    Alive,
    /// It does not, and may yet refute.
    Suspect,
    /// It did not refute in time.
    Down,
    /// It said goodbye.
    Left,
}

/// A member's addresses, as `host:port`; empty if unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MemberAddresses {
    /// For replication.
    pub peer: String,
    /// For SWIM.
    pub membership: String,
    /// For clients.
    pub http: String,
}

/// Hints held for one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HintStatus {
    /// Whom they are for.
    #[serde(serialize_with = "as_text")]
    pub target: NodeId,
    /// How many.
    pub count: u64,
    /// Their size in the log, in bytes.
    pub bytes: u64,
}

/// What one node has sent for partitions that are copied here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TransferStatus {
    /// Its name.
    pub owner: String,
    /// Copies that are whole.
    pub copies: u64,
    /// Objects, all told.
    pub objects: u64,
    /// Their keys and values.
    pub bytes: u64,
    /// Copies that were begun again.
    pub retries: u64,
    /// Why the last of them had to be.
    pub last_error: Option<String>,
}

/// One row of the layout's table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionRow {
    /// The N replicas, first in its share first.
    pub primaries: Vec<NodeId>,
    /// Who stands in, in ring order.
    pub fallbacks: Vec<NodeId>,
}

/// One partition as this node holds it durably.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Holding {
    /// Which.
    pub partition: u32,
    /// Hash of its clock, shown in hex.
    #[serde(serialize_with = "as_hex")]
    pub clock: u64,
    /// Hash of its keys and live dots, shown in hex.
    #[serde(serialize_with = "as_hex")]
    pub data: u64,
    /// Does it count towards R (PROTOCOL R6)?
    pub complete: bool,
    /// Keys that have seen writes which the clock has not.
    pub leftovers: usize,
    /// Keys.
    pub keys: usize,
    /// Their records in the log.
    pub bytes: u64,
}

/// A node of a preference list, with whether it can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PreferredNode {
    /// Its configured name; its id if the name is unknown.
    pub name: String,
    /// Its identity.
    #[serde(serialize_with = "as_text")]
    pub id: NodeId,
    /// Does this node think it worth asking?
    pub up: bool,
}

impl ClusterStatus {
    /// The partition of a key: the top bits of its hash. None before there is a table.
    pub fn partition_of(&self, key: &Key) -> Option<usize> {
        let bits = self.rows.len().checked_ilog2()?;
        Some(key.hash64().checked_shr(u64::BITS - bits).unwrap_or(0) as usize)
    }

    /// These nodes with name and state.
    pub fn preferred(&self, nodes: &[NodeId]) -> Vec<PreferredNode> {
        nodes.iter().map(|id| self.preferred_node(*id)).collect()
    }

    /// A member's name; its id if it is not known.
    pub fn name_of(&self, id: NodeId) -> String {
        self.member(id).map_or_else(|| id.to_string(), |member| member.name.clone())
    }

    fn preferred_node(&self, id: NodeId) -> PreferredNode {
        let state = self.member(id).map(|member| member.state);
        let up = id == self.node.id || matches!(state, Some(MemberState::Alive | MemberState::Suspect));
        PreferredNode { name: self.name_of(id), id, up }
    }

    fn member(&self, id: NodeId) -> Option<&MemberStatus> {
        self.members.iter().find(|member| member.id == id)
    }
}

impl Default for NodeStatus {
    fn default() -> Self {
        NodeStatus { id: NodeId(0), name: String::new() }
    }
}

impl MemberState {
    /// Every state.
    pub const ALL: [MemberState; 4] = [MemberState::Alive, MemberState::Suspect, MemberState::Down, MemberState::Left];

    /// Its name in JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            MemberState::Alive => "alive",
            MemberState::Suspect => "suspect",
            MemberState::Down => "down",
            MemberState::Left => "left",
        }
    }
}

/// What a status is made of, beside the node's own.
#[derive(Debug)]
pub(super) struct StatusSource {
    pub(super) members: Arc<Members>,
    node: NodeStatus,
    rows: Arc<Vec<PartitionRow>>,
    rows_version: u64,
}

impl StatusSource {
    /// The layout's rows are made once for each version: they are long.
    pub(super) fn new(view: &Arc<View>, name: &str) -> Self {
        let rows = rows_of(view);
        let node = NodeStatus { id: view.me, name: name.to_owned() };
        let members = Arc::new(Members::none(Arc::clone(view)));
        Self { members, node, rows, rows_version: view.layout().version }
    }

    /// The cluster at this instant.
    pub(super) fn status(
        &mut self,
        view: &View,
        node: &crate::node::NodeStatus,
        holdings: Arc<Vec<Holding>>,
    ) -> ClusterStatus {
        if self.rows_version != view.layout().version {
            (self.rows, self.rows_version) = (rows_of(view), view.layout().version);
        }
        let members: Vec<MemberStatus> = self.members.members.values().map(member_status).collect();
        let actors =
            self.members.members.values().map(|m| (Actor(m.identity.actor), m.identity.name.clone())).collect();
        let transfers: Vec<TransferStatus> = node.transfers.iter().map(|of| self.transfer(of)).collect();
        let reasons = self.reasons(view, node, &transfers);
        ClusterStatus {
            node: self.node.clone(),
            transfers,
            transfer_idle_seconds: node.transfer_idle.as_secs(),
            members,
            layout_version: view.layout().version,
            partitions: view.layout().partitioning.count(),
            replicas: view.layout().replicas,
            hints: node
                .hints
                .iter()
                .map(|(target, held)| HintStatus { target: *target, count: held.0, bytes: held.1 })
                .collect(),
            partitions_filling: node.filling.iter().map(|partition| partition.0).collect(),
            ready: reasons.is_empty(),
            reasons,
            rows: Arc::clone(&self.rows),
            holdings,
            actors: Arc::new(actors),
        }
    }

    /// Why clients should be sent elsewhere: too few nodes for a quorum, or data still to be copied.
    fn reasons(&self, view: &View, node: &crate::node::NodeStatus, transfers: &[TransferStatus]) -> Vec<String> {
        let mut reasons = Vec::new();
        let (up, all) = (view.layout().nodes.iter().filter(|n| view.is_up(n.id)).count(), view.layout().nodes.len());
        let needed = view.layout().copies() / 2 + 1;
        if up < needed {
            reasons.push(format!("{up} of {all} nodes can be reached, a quorum needs {needed}"));
        }
        // What a later layout brings is asked of nobody yet.
        let filling = node.filling.iter().filter(|partition| view.layout().is_primary(**partition, view.me)).count();
        if filling > 0 {
            reasons.push(format!("{filling} partitions are being copied from other replicas"));
        }
        if node.transfer_idle >= TRANSFER_PATIENCE {
            reasons.push(stalled(node.transfer_idle, transfers));
        }
        reasons
    }

    fn transfer(&self, (owner, transfer): (&NodeId, &Transfer)) -> TransferStatus {
        let named = self.members.members.get(owner).map(|member| member.identity.name.clone());
        let Transfer { copies, objects, bytes, retries, last_error } = *transfer;
        let last_error = last_error.map(|error| error.to_string());
        TransferStatus {
            owner: named.unwrap_or_else(|| owner.to_string()),
            copies,
            objects,
            bytes,
            retries,
            last_error,
        }
    }
}

/// What stands in the way of copies that do not come on, as far as it is known.
fn stalled(idle: Duration, transfers: &[TransferStatus]) -> String {
    let errors = transfers.iter().filter_map(|of| Some(format!("{}: {}", of.owner, of.last_error.as_ref()?)));
    let errors: Vec<String> = errors.collect();
    let why = if errors.is_empty() { "no other replica offers its data".into() } else { errors.join("; ") };
    format!("nothing has been copied from other replicas for {} s ({why})", idle.as_secs())
}

fn rows_of(view: &View) -> Arc<Vec<PartitionRow>> {
    let layout = view.layout();
    let row = |partition| PartitionRow {
        primaries: layout.primaries(partition).to_vec(),
        fallbacks: layout.fallbacks(partition).to_vec(),
    };
    Arc::new(layout.partitioning.all().map(row).collect())
}

/// A partition's report as it is shown.
pub(super) fn holding(partition: PartitionId, report: &PartitionReport) -> Holding {
    Holding {
        partition: partition.0,
        clock: report.clock.hash64(),
        data: report.data_hash,
        complete: report.complete,
        leftovers: report.leftovers,
        keys: report.keys,
        bytes: report.bytes,
    }
}

fn member_status(member: &Member) -> MemberStatus {
    let identity = &member.identity;
    MemberStatus {
        name: identity.name.clone(),
        id: identity.node,
        state: match member.state {
            crate::membership::MemberState::Alive => MemberState::Alive,
            crate::membership::MemberState::Suspect => MemberState::Suspect,
            crate::membership::MemberState::Down => MemberState::Down,
            crate::membership::MemberState::Left => MemberState::Left,
        },
        incarnation: member.incarnation,
        addresses: MemberAddresses {
            peer: identity.peer_address.clone(),
            membership: identity.membership_address.clone(),
            http: identity.http_address.clone(),
        },
        zone: identity.zone.clone(),
        capacity: u64::from(identity.capacity),
        version: identity.version.clone(),
    }
}

fn as_hex<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{number:016x}"))
}

/// Identities are text in JSON: a 64-bit number does not survive many readers.
fn as_text<S: Serializer>(id: &NodeId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(partitions: usize) -> ClusterStatus {
        ClusterStatus { rows: Arc::new(vec![PartitionRow::default(); partitions]), ..ClusterStatus::default() }
    }

    #[test]
    fn a_keys_partition_is_the_top_bits_of_its_hash() {
        let key = Key::new("a").unwrap();
        assert_eq!(status(0).partition_of(&key), None);
        assert_eq!(status(1).partition_of(&key), Some(0));
        assert_eq!(status(1024).partition_of(&key), Some((key.hash64() >> 54) as usize));
    }

    #[test]
    fn a_stalled_transfer_is_told_with_what_its_sources_said() {
        let failed = TransferStatus { owner: "b".into(), last_error: Some("it is down".into()), ..Default::default() };
        let told = stalled(Duration::from_secs(75), &[TransferStatus::default(), failed]);
        assert_eq!(told, "nothing has been copied from other replicas for 75 s (b: it is down)");
        assert!(stalled(Duration::from_secs(60), &[]).contains("no other replica"));
    }

    #[test]
    fn suspicion_alone_keeps_a_member_up() {
        let members = MemberState::ALL.iter().zip(1u64..).map(|(state, id)| MemberStatus {
            name: format!("n{id}"),
            id: NodeId(id),
            state: *state,
            incarnation: 0,
            addresses: MemberAddresses::default(),
            zone: String::new(),
            capacity: 1,
            version: String::new(),
        });
        let status = ClusterStatus { members: members.collect(), ..status(1) };
        let up: Vec<bool> = status.preferred(&[1, 2, 3, 4, 5, 0].map(NodeId)).iter().map(|node| node.up).collect();
        assert_eq!(up, [true, true, false, false, false, true]);
    }
}
