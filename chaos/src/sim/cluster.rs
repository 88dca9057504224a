//! The cluster's identity and its one layout.

use super::swarm::Swarm;
use dunlin::base::{ClusterId, NodeId, Random};
use dunlin::node::{PeerState, View};
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
            address: String::new(),
            membership_address: String::new(),
        })
        .collect();
    let cluster = ClusterId(u128::from(random.u64()));
    Arc::new(Layout::first(cluster, partitioning, swarm.replicas, nodes).expect("the swarm draws possible clusters"))
}

/// What a node believes when it takes these nodes, by number, for up. Others are down.
pub(super) fn view_of(layout: &Arc<Layout>, me: usize, up: &[bool]) -> Arc<View> {
    let states = layout.nodes.iter().zip(up).enumerate().filter(|(number, _)| *number != me);
    let state = |up: bool| if up { PeerState::Up } else { PeerState::Down };
    let peers: BTreeMap<NodeId, PeerState> = states.map(|(_, (node, up))| (node.id, state(*up))).collect();
    Arc::new(View { me: layout.nodes[me].id, layout: layout.clone(), peers })
}
