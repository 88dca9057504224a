//! A node in parts: one for each shard, each told by itself.

use crate::base::{ClusterId, NodeId, Now, Time, WallTime};
use crate::causal::Actor;
use crate::node::{Effect, Input, LiveLayouts, Node, NodeOptions, Timings, View};
use crate::replication::Message;
use crate::ring::{Layout, LayoutNode, PartitionId, Partitioning};
use crate::store::{KeyQuery, Opening, Recovered};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const SHARDS: usize = 2;

fn parts() -> Vec<Node> {
    let node = LayoutNode {
        id: NodeId(1),
        name: "a".into(),
        zone: String::new(),
        capacity: 1,
        address: "127.0.0.1:1".into(),
        membership_address: "127.0.0.1:2".into(),
    };
    let layout = Layout::first(ClusterId(1), Partitioning::new(4).unwrap(), 1, vec![node]).unwrap();
    let view = Arc::new(View {
        me: NodeId(1),
        layouts: Arc::new(LiveLayouts::only(Arc::new(layout))),
        peers: BTreeMap::new(),
    });
    let recovered = Recovered {
        actor: Actor(1),
        opening: Opening::New,
        tables: BTreeMap::new(),
        hints: BTreeMap::new(),
        complete_by_default: true,
        findings: Vec::new(),
    };
    let options = NodeOptions { node: NodeId(1), epoch: 1, shards: SHARDS, seed: 1, timings: Timings::default() };
    let parts = Node::new(options, view, recovered).into_parts();
    assert_eq!(parts.len(), SHARDS);
    parts
}

fn tell(part: &mut Node, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    part.handle(Now { time: Time(1), wall: WallTime(1) }, input, &mut effects);
    effects
}

fn asked_for(partitions: &[u32]) -> Input {
    let query = KeyQuery { prefix: Default::default(), from: Default::default(), limit: 10 };
    let partitions = partitions.iter().copied().map(PartitionId).collect();
    Input::Message { from: NodeId(2), message: Message::List { request: 5, query, partitions } }
}

fn listed(effects: &[Effect]) -> Vec<(u64, Vec<u32>)> {
    let of = |effect: &Effect| match effect {
        Effect::List { id, partitions, .. } => Some((*id, partitions.iter().map(|partition| partition.0).collect())),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

#[test]
fn only_the_first_asks_for_a_new_actor() {
    let mut parts = parts();
    let damage = Input::Damaged(BTreeSet::from([PartitionId(1)]));
    let renewals: Vec<usize> = parts
        .iter_mut()
        .rev()
        .map(|part| {
            let effects = tell(part, damage.clone());
            effects.iter().filter(|effect| matches!(effect, Effect::Renew)).count()
        })
        .collect();
    assert_eq!(renewals, [0, 1]);
}

/// The first has the listings; damage is told to the shard that has the partition.
#[test]
fn a_page_is_of_no_partition_that_another_shard_knows_to_be_damaged() {
    let mut parts = parts();
    let begun = listed(&tell(&mut parts[0], asked_for(&[0, 1, 2, 3])));
    assert_eq!(begun.iter().map(|(_, partitions)| partitions.as_slice()).collect::<Vec<_>>(), [[0, 1, 2, 3]]);
    tell(&mut parts[1], Input::Damaged(BTreeSet::from([PartitionId(3)])));
    assert_eq!(listed(&tell(&mut parts[0], asked_for(&[2, 3])))[0].1, [2]);
    let effects = tell(&mut parts[0], Input::Listed { id: begun[0].0, page: None });
    let refused = effects.iter().find_map(|effect| match effect {
        Effect::Send { message: Message::Listed { request: 5, refused, .. }, .. } => Some(refused.clone()),
        _ => None,
    });
    assert_eq!(refused, Some(vec![PartitionId(3)]));
}
