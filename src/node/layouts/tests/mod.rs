//! The keeper of layouts: single steps, and whole clusters of them on a bad network.

mod simulation;
mod world;

use crate::base::{ClusterId, NodeId};
use crate::ring::{Layout, LayoutNode, Partitioning};
use std::sync::Arc;

fn node(id: u64) -> LayoutNode {
    LayoutNode {
        id: NodeId(id),
        name: format!("n{id}"),
        zone: String::new(),
        capacity: 1,
        address: format!("n{id}:1"),
        membership_address: format!("n{id}:2"),
    }
}

fn first(ids: &[u64]) -> Arc<Layout> {
    let nodes = ids.iter().map(|id| node(*id)).collect();
    Arc::new(Layout::first(ClusterId(7), Partitioning::new(2).unwrap(), 2, nodes).unwrap())
}
