//! Who owns a key, and the planning of a table.

use super::samples::{key, partition_of};
use super::{Case, Operation, operation};
use dunlin::base::{ClusterId, NodeId};
use dunlin::ring::{Layout, LayoutNode, Partitioning, preference};
use std::hint::black_box;

/// The cases.
pub const CASES: &[Case] = &[
    case("partition of a key", 1000, partition),
    case("primaries of a partition", 1000, primaries),
    case("preference list, all up", 1000, || prefer(None)),
    case("preference list, one down", 1000, || prefer(Some(NodeId(3)))),
    case("plan a first layout, 3 nodes", 2, || plan(3)),
    case("plan a first layout, 30 nodes", 2, || plan(30)),
    case("plan a first layout, 300 nodes", 1, || plan(300)),
];

const fn case(name: &'static str, rounds: u32, prepare: fn() -> Operation) -> Case {
    Case { group: "placement", name, rounds, prepare }
}

/// A layout of 1024 partitions, N = 3, over as many zones.
pub(crate) fn layout(nodes: u64) -> Layout {
    Layout::first(ClusterId(1), Partitioning::default(), 3, (1..=nodes).map(layout_node).collect())
        .expect("the nodes differ")
}

fn layout_node(number: u64) -> LayoutNode {
    LayoutNode {
        id: NodeId(number),
        name: format!("n{number}"),
        zone: format!("z{}", number % 3),
        capacity: 100,
        address: format!("n{number}:7401"),
        membership_address: format!("n{number}:7402"),
    }
}

fn partition() -> Operation {
    let key = key(1);
    operation(move || partition_of(black_box(&key)))
}

fn primaries() -> Operation {
    let (layout, partition) = (layout(30), partition_of(&key(1)));
    operation(move || black_box(&layout).primaries(black_box(partition)).len())
}

/// Of the partition whose second primary may be down: with three nodes beside it everyone is a primary or a fallback.
fn prefer(down: Option<NodeId>) -> Operation {
    let layout = layout(5);
    let second = |partition| layout.primaries(partition).get(1) == Some(&NodeId(3));
    let partition =
        layout.partitioning.all().find(|partition| second(*partition)).expect("each node is second somewhere");
    operation(move || preference(black_box(&layout), black_box(partition), |node| Some(node) != down))
}

fn plan(nodes: u64) -> Operation {
    operation(move || layout(black_box(nodes)))
}
