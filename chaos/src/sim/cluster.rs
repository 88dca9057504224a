//! The cluster's identity and its one layout.

use super::swarm::Swarm;
use dunlin::base::{ClusterId, NodeId, Random};
use dunlin::membership::Identity;
use dunlin::node::{LiveLayouts, PeerState, View};
use dunlin::ring::{Layout, LayoutNode, Partitioning};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Plans the layout of a run.
pub(super) fn layout_of(swarm: &Swarm, random: &mut Random) -> Arc<Layout> {
    let partitioning = Partitioning::new(swarm.partitions).expect("the swarm draws powers of two");
    let nodes = (0..swarm.nodes)
        .map(|number| LayoutNode {
            id: NodeId(random.u64()),
            name: format!("n{number}"),
            zone: "one".into(),
            capacity: 1,
            address: format!("n{number}:1"),
            membership_address: format!("n{number}:2"),
        })
        .collect();
    let cluster = ClusterId(u128::from(random.u64()));
    Arc::new(Layout::first(cluster, partitioning, swarm.replicas, nodes).expect("the swarm draws possible clusters"))
}

/// The layout that a run begins with: of all nodes, or in runs with changes of the first so many of them.
pub(super) fn first_layout(swarm: &Swarm, all: &Arc<Layout>) -> Arc<Layout> {
    if swarm.first_nodes >= all.nodes.len() {
        return Arc::clone(all);
    }
    let nodes = all.nodes.iter().take(swarm.first_nodes).cloned().collect();
    let first = Layout::first(all.cluster, all.partitioning, swarm.replicas, nodes);
    Arc::new(first.expect("fewer nodes than in a possible layout are possible"))
}

/// What a node believes when it takes these processes, by the node's number, for up. Others are down.
pub(super) fn view_of(layout: &Arc<Layout>, me: usize, up: &[Option<u64>]) -> Arc<View> {
    let state = |number: usize| match up.get(number) {
        Some(Some(epoch)) => PeerState::Up { epoch: *epoch },
        _ => PeerState::Down,
    };
    let others = layout.nodes.iter().enumerate().filter(|(number, _)| *number != me);
    let peers: BTreeMap<NodeId, PeerState> = others.map(|(number, node)| (node.id, state(number))).collect();
    Arc::new(View { me: layout.nodes[me].id, layouts: Arc::new(LiveLayouts::only(layout.clone())), peers })
}

/// What a node's detector says of it.
pub(super) fn identity_of(layout: &Layout, node: usize) -> Identity {
    let me = &layout.nodes[node];
    Identity {
        node: me.id,
        cluster: layout.cluster,
        name: me.name.clone(),
        peer_address: me.address.clone(),
        membership_address: me.membership_address.clone(),
        http_address: String::new(),
        zone: me.zone.clone(),
        capacity: me.capacity,
        version: String::new(),
        actor: 0,
        layout_version: layout.version,
        layout_hash: layout.hash(),
    }
}
