//! What a new cluster shall be.

use super::birth::AUTHORITY_KEY_FILE;
use crate::base::{ClusterId, NodeId};
use crate::ring::{Layout, LayoutError, LayoutNode, Partitioning};
use crate::runtime::settings::HostPort;
use std::net::SocketAddr;

/// A cluster before its files are written.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Plan {
    pub(in crate::cli) cluster: ClusterId,
    /// N.
    pub(in crate::cli) replicas: usize,
    pub(in crate::cli) partitioning: Partitioning,
    /// In the operator's order.
    pub(in crate::cli) nodes: Vec<PlannedNode>,
    /// The name of the node that gets the authority's key, to let others in.
    pub(in crate::cli) issuer: Option<String>,
}

/// A node of the plan.
#[derive(Debug, Clone)]
pub(in crate::cli) struct PlannedNode {
    pub(in crate::cli) name: String,
    pub(in crate::cli) id: NodeId,
    pub(in crate::cli) zone: String,
    /// Where peers dial its data endpoint.
    pub(in crate::cli) address: HostPort,
    /// Where peers dial its membership endpoint.
    pub(in crate::cli) membership_address: HostPort,
    /// What its data endpoint is bound to.
    pub(in crate::cli) peer_listener: SocketAddr,
    /// What its membership endpoint is bound to.
    pub(in crate::cli) membership_listener: SocketAddr,
    /// What clients are served on.
    pub(in crate::cli) http_listener: SocketAddr,
}

impl Plan {
    /// A plan without nodes, under a new cluster id.
    pub(in crate::cli) fn new(replicas: usize, partitioning: Partitioning) -> Self {
        Self { cluster: ClusterId(rand::random()), replicas, partitioning, nodes: Vec::new(), issuer: None }
    }

    /// The first layout, as every node of the plan gets it.
    pub(in crate::cli) fn layout(&self) -> Result<Layout, LayoutError> {
        let node = |node: &PlannedNode| LayoutNode {
            id: node.id,
            name: node.name.clone(),
            zone: node.zone.clone(),
            capacity: 1,
            address: node.address.to_string(),
            membership_address: node.membership_address.to_string(),
        };
        Layout::first(self.cluster, self.partitioning, self.replicas, self.nodes.iter().map(node).collect())
    }
}

impl PlannedNode {
    /// The values of the node's configuration file that are not defaults, by knob.
    pub(super) fn settings(&self, plan: &Plan) -> Vec<(&'static str, String)> {
        let others = plan.nodes.iter().filter(|other| other.id != self.id);
        let seeds: Vec<String> = others.map(|other| other.membership_address.to_string()).take(MAX_SEEDS).collect();
        let mut settings = vec![
            ("node.name", self.name.clone()),
            ("node.http_address", self.http_listener.to_string()),
            ("node.peer_address", self.peer_listener.to_string()),
            ("node.advertise_address", self.address.to_string()),
            ("node.zone", self.zone.clone()),
            ("node.seeds", seeds.join(",")),
            ("node.pid_file", "pid".into()),
            ("cluster.id", plan.cluster.to_string()),
            ("cluster.partitions", plan.partitioning.count().to_string()),
            ("cluster.replicas", plan.replicas.to_string()),
            ("membership.address", self.membership_listener.to_string()),
        ];
        if plan.issuer.as_ref() == Some(&self.name) {
            settings.push(("tls.authority_key", AUTHORITY_KEY_FILE.into()));
        }
        settings
    }
}

/// Seeds written into a file: enough that some answer, few enough to read.
const MAX_SEEDS: usize = 16;
