//! What a change means before it is made: what moves, how long that takes, and what may fail meanwhile.

use super::loss::{Losses, Needs};
use super::quota::fair_shares;
use super::spread::Spread;
use super::{Layout, Loss, PartitionId, moves};
use crate::base::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What is known besides the two layouts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimates<'a> {
    /// Bytes of one copy of each partition, in order. Without them moves are told in partitions alone.
    pub bytes: Option<&'a [u64]>,
    /// Bytes per second that a node sends, and as many that it receives.
    pub pace: Option<u64>,
    /// R; without it, a majority of the copies.
    pub reads: Option<usize>,
    /// W; without it, a majority of the copies.
    pub writes: Option<usize>,
}

/// A number in the layout in force, and in the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step<T> {
    /// In force.
    pub before: T,
    /// Planned.
    pub after: T,
}

/// What a change means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangePlan {
    /// Versions.
    pub version: Step<u64>,
    /// Slices of the hash space.
    pub partitions: u32,
    /// Copies wanted of each partition.
    pub replicas: Step<usize>,
    /// Copies there are of each: fewer than wanted when nodes are fewer.
    pub copies: Step<usize>,
    /// Over how many zones the copies of a partition are spread, at least.
    pub spread: Step<usize>,
    /// Copies that are transferred.
    pub moves: usize,
    /// Bytes that are transferred, if sizes are known. What is written meanwhile comes on top.
    pub bytes: Option<u64>,
    /// How long the busiest node is busy at the pace, if both are known.
    pub seconds: Option<u64>,
    /// Every node of either version, by name.
    pub nodes: Vec<NodePlan>,
    /// Every zone of either version, by name.
    pub zones: Vec<ZonePlan>,
    /// Who sends to whom.
    pub links: Vec<Link>,
    /// What the dead took with them.
    pub risk: Risk,
}

/// What a change means for one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodePlan {
    /// Which.
    #[serde(with = "as_text")]
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Where it stands, or stood.
    pub zone: String,
    /// Its weight, or the one it had.
    pub capacity: u32,
    /// Was it declared dead?
    pub dead: bool,
    /// What it holds; nothing if it is not in that version.
    pub held: Step<Option<Held>>,
    /// Copies it must receive.
    pub receives: usize,
    /// Copies it may drop when the change is complete.
    pub drops: usize,
    /// Copies others take from it.
    pub sends: usize,
    /// Bytes it receives, if sizes are known.
    pub bytes_in: Option<u64>,
    /// Bytes it sends, if sizes are known.
    pub bytes_out: Option<u64>,
    /// What its loss would do; none if it is dead already.
    pub loss: Option<Loss>,
}

/// What a node holds and what would be fair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// Partitions it holds.
    pub partitions: usize,
    /// Its share by capacity, zones first.
    pub share: f64,
}

/// What a change means for one zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ZonePlan {
    /// Its name.
    pub name: String,
    /// Nodes in it.
    pub nodes: Step<usize>,
    /// Copies in it.
    pub copies: Step<usize>,
    /// Most copies of one partition in it.
    pub most: Step<usize>,
    /// What its loss would do.
    pub loss: Loss,
}

/// What one node sends to another. Any old primary that lives can serve; this is as if each copy came from the one
/// that has the least to send so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Who sends.
    #[serde(with = "as_text")]
    pub from: NodeId,
    /// Who receives.
    #[serde(with = "as_text")]
    pub to: NodeId,
    /// Copies.
    pub partitions: usize,
    /// Their bytes, if sizes are known.
    pub bytes: Option<u64>,
}

/// Partitions of which the dead held so much that something may be lost. Empty if nobody is declared dead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Risk {
    /// Some copies live, but fewer than are read: the latest writes may be gone.
    pub below_quorum: Vec<PartitionId>,
    /// No copy lives: everything is gone, unless one of the dead comes back.
    pub no_copy: Vec<PartitionId>,
}

impl ChangePlan {
    /// What going from one layout to the next of the same cluster means.
    pub fn of(from: &Layout, to: &Layout, estimates: &Estimates<'_>) -> Self {
        let needs = Needs { reads: estimates.reads, writes: estimates.writes };
        let losses = Losses::of(from, to, needs);
        let mut plan = Self {
            version: Step { before: from.version, after: to.version },
            partitions: to.partitioning.count(),
            replicas: Step { before: from.replicas, after: to.replicas },
            copies: Step { before: from.copies(), after: to.copies() },
            spread: Step { before: least_spread(from), after: least_spread(to) },
            moves: 0,
            bytes: estimates.bytes.map(|_| 0),
            seconds: None,
            nodes: node_plans(from, to, &losses, estimates),
            zones: zone_plans(from, to, &losses),
            links: Vec::new(),
            risk: Risk::of(from, to, needs),
        };
        plan.count_moves(from, to, estimates);
        let busiest = plan.nodes.iter().flat_map(|node| [node.bytes_in, node.bytes_out]).flatten().max();
        plan.seconds = busiest.zip(estimates.pace).map(|(bytes, pace)| bytes.div_ceil(pace.max(1)));
        plan.nodes.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        plan
    }

    /// Counts what every node receives and sends. The nodes are still in the order of their ids.
    fn count_moves(&mut self, from: &Layout, to: &Layout, estimates: &Estimates<'_>) {
        let mut links: BTreeMap<(NodeId, NodeId), Link> = BTreeMap::new();
        let mut sent: BTreeMap<NodeId, (u64, usize)> = BTreeMap::new();
        let bytes_of = |partition: PartitionId| {
            estimates.bytes.map(|bytes| bytes.get(partition.0 as usize).copied().unwrap_or_default())
        };
        for gain in moves(from, to) {
            let bytes = bytes_of(gain.partition);
            self.moves += 1;
            add(&mut self.bytes, bytes);
            if let Some(node) = self.node_mut(gain.node) {
                node.receives += 1;
                add(&mut node.bytes_in, bytes);
            }
            let living = from.primaries(gain.partition).iter().copied().filter(|node| !to.dead.contains(node));
            let Some(source) = living.min_by_key(|node| sent.get(node).copied().unwrap_or_default()) else { continue };
            let so_far = sent.entry(source).or_default();
            *so_far = (so_far.0.saturating_add(bytes.unwrap_or_default()), so_far.1 + 1);
            if let Some(node) = self.node_mut(source) {
                node.sends += 1;
                add(&mut node.bytes_out, bytes);
            }
            let unused = Link { from: source, to: gain.node, partitions: 0, bytes: bytes.map(|_| 0) };
            let link = links.entry((source, gain.node)).or_insert(unused);
            link.partitions += 1;
            add(&mut link.bytes, bytes);
        }
        for dropped in moves(to, from) {
            if let Some(node) = self.node_mut(dropped.node) {
                node.drops += 1;
            }
        }
        self.links = links.into_values().collect();
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut NodePlan> {
        let place = self.nodes.binary_search_by_key(&id, |node| node.id).ok()?;
        self.nodes.get_mut(place)
    }
}

impl Risk {
    fn of(from: &Layout, to: &Layout, needs: Needs) -> Self {
        let mut risk = Self::default();
        if to.dead.is_empty() {
            return risk;
        }
        for partition in from.partitioning.all() {
            let row = from.primaries(partition);
            match row.iter().filter(|node| !to.dead.contains(node)).count() {
                0 => risk.no_copy.push(partition),
                living if living < needs.reads(row.len()) => risk.below_quorum.push(partition),
                _ => {}
            }
        }
        risk
    }
}

fn add(sum: &mut Option<u64>, bytes: Option<u64>) {
    *sum = sum.zip(bytes).map(|(sum, bytes)| sum.saturating_add(bytes));
}

/// All nodes of both versions in the order of their ids, nothing moved yet.
fn node_plans(from: &Layout, to: &Layout, losses: &Losses, estimates: &Estimates<'_>) -> Vec<NodePlan> {
    let (before, after) = (held(from), held(to));
    let both: BTreeMap<NodeId, _> = from.nodes.iter().chain(&to.nodes).map(|node| (node.id, node)).collect();
    let plan = |(id, node): (NodeId, &super::LayoutNode)| NodePlan {
        id,
        name: node.name.clone(),
        zone: node.zone.clone(),
        capacity: node.capacity,
        dead: to.dead.contains(&id),
        held: Step { before: before.get(&id).copied(), after: after.get(&id).copied() },
        receives: 0,
        drops: 0,
        sends: 0,
        bytes_in: estimates.bytes.map(|_| 0),
        bytes_out: estimates.bytes.map(|_| 0),
        loss: (!to.dead.contains(&id)).then(|| losses.nodes.get(&id).copied().unwrap_or_default()),
    };
    both.into_iter().map(plan).collect()
}

fn held(layout: &Layout) -> BTreeMap<NodeId, Held> {
    let spread = Spread::of(&layout.nodes, layout.replicas);
    let shares = fair_shares(layout.partitioning.count() as usize, &layout.nodes, &spread);
    let mut held: BTreeMap<NodeId, Held> =
        layout.nodes.iter().zip(shares).map(|(node, share)| (node.id, Held { partitions: 0, share })).collect();
    for id in layout.partitioning.all().flat_map(|partition| layout.primaries(partition)) {
        if let Some(held) = held.get_mut(id) {
            held.partitions += 1;
        }
    }
    held
}

fn zone_plans(from: &Layout, to: &Layout, losses: &Losses) -> Vec<ZonePlan> {
    let names: BTreeSet<&str> = from.nodes.iter().chain(&to.nodes).map(|node| node.zone.as_str()).collect();
    let (before, after) = (zones_of(from), zones_of(to));
    let plan = |name: &str| {
        let (before, after) = (before.get(name).copied(), after.get(name).copied());
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        ZonePlan {
            name: name.to_owned(),
            nodes: Step { before: before.nodes, after: after.nodes },
            copies: Step { before: before.copies, after: after.copies },
            most: Step { before: before.most, after: after.most },
            loss: losses.zones.get(name).copied().unwrap_or_default(),
        }
    };
    names.into_iter().map(plan).collect()
}

/// One zone in one version.
#[derive(Clone, Copy, Default)]
struct ZoneCount {
    nodes: usize,
    copies: usize,
    most: usize,
}

fn zones_of(layout: &Layout) -> BTreeMap<&str, ZoneCount> {
    let mut zones: BTreeMap<&str, ZoneCount> = BTreeMap::new();
    layout.nodes.iter().for_each(|node| zones.entry(&node.zone).or_default().nodes += 1);
    for partition in layout.partitioning.all() {
        for (zone, held) in copies_by_zone(layout, partition) {
            let count = zones.entry(zone).or_default();
            count.copies += held;
            count.most = count.most.max(held);
        }
    }
    zones
}

fn copies_by_zone(layout: &Layout, partition: PartitionId) -> BTreeMap<&str, usize> {
    let mut held: BTreeMap<&str, usize> = BTreeMap::new();
    for node in layout.primaries(partition).iter().filter_map(|&id| layout.node(id)) {
        *held.entry(&node.zone).or_default() += 1;
    }
    held
}

fn least_spread(layout: &Layout) -> usize {
    layout.partitioning.all().map(|partition| copies_by_zone(layout, partition).len()).min().unwrap_or_default()
}

/// Node ids as their text: as numbers they exceed what many readers of JSON can hold.
mod as_text {
    use crate::base::NodeId;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &NodeId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NodeId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::layout::testing::{layout, nodes, zoned};

    #[test]
    fn a_join_is_told_by_node_link_bytes_and_time() {
        let all = nodes(4);
        let from = layout(64, 3, all[..3].to_vec());
        let to = from.change(all.clone(), 3).unwrap();
        let bytes = vec![100; 64];
        let estimates = Estimates { bytes: Some(&bytes), pace: Some(10), ..Estimates::default() };
        let plan = ChangePlan::of(&from, &to, &estimates);
        assert_eq!((plan.moves, plan.bytes, plan.seconds), (48, Some(4_800), Some(480)));
        let newcomer = plan.nodes.iter().find(|node| node.id == all[3].id).unwrap();
        assert_eq!((newcomer.receives, newcomer.bytes_in, newcomer.drops), (48, Some(4_800), 0));
        assert_eq!(newcomer.held, Step { before: None, after: Some(Held { partitions: 48, share: 48.0 }) });
        assert!(plan.nodes.iter().filter(|node| node.id != all[3].id).all(|node| node.drops == 16 && node.sends == 16));
        let link = |from: usize| Link { from: all[from].id, to: all[3].id, partitions: 16, bytes: Some(1_600) };
        assert_eq!(plan.links, [link(0), link(1), link(2)]);
        assert_eq!(plan.risk, Risk::default());
    }

    #[test]
    fn without_sizes_there_are_no_bytes_and_no_time() {
        let all = nodes(4);
        let from = layout(64, 3, all[..3].to_vec());
        let to = from.change(all, 3).unwrap();
        let plan = ChangePlan::of(&from, &to, &Estimates { pace: Some(10), ..Estimates::default() });
        assert_eq!((plan.moves, plan.bytes, plan.seconds), (48, None, None));
    }

    #[test]
    fn the_dead_send_nothing_and_what_they_alone_held_is_named() {
        let all = nodes(5);
        let from = layout(64, 3, all.clone());
        let dead = [all[0].id, all[1].id, all[2].id];
        let to = from.change(all[3..].to_vec(), 3).unwrap().declaring_dead(dead).unwrap();
        let plan = ChangePlan::of(&from, &to, &Estimates::default());
        let living = |&p: &PartitionId| from.primaries(p).iter().filter(|node| !dead.contains(node)).count();
        let with = |count: usize| from.partitioning.all().filter(|p| living(p) == count).collect::<Vec<_>>();
        assert!(!with(0).is_empty() && !with(1).is_empty());
        assert_eq!((plan.risk.no_copy, plan.risk.below_quorum), (with(0), with(1)));
        assert!(plan.links.iter().all(|link| !dead.contains(&link.from)));
        assert!(plan.nodes.iter().all(|node| node.dead == node.loss.is_none()));
        assert_eq!(plan.copies, Step { before: 3, after: 2 });
    }

    #[test]
    fn zones_are_told_with_their_copies() {
        let all = zoned(&[2, 2, 1]);
        let from = layout(64, 3, all[..4].to_vec());
        let to = from.change(all, 3).unwrap();
        let plan = ChangePlan::of(&from, &to, &Estimates::default());
        assert_eq!(plan.spread, Step { before: 2, after: 3 });
        let third = &plan.zones[2];
        assert_eq!((third.nodes, third.copies), (Step { before: 0, after: 1 }, Step { before: 0, after: 64 }));
        assert_eq!((plan.zones[0].most, plan.zones[0].copies.after), (Step { before: 2, after: 1 }, 64));
        // One zone held two copies of some partitions: while the change lasts its loss stops them.
        assert!(plan.zones[0].loss.during.reads > 0 && plan.zones[0].loss.after.reads == 0);
    }

    #[test]
    fn a_plan_survives_its_encoding() {
        let all = nodes(4);
        let from = layout(16, 3, all[..3].to_vec());
        let plan = ChangePlan::of(&from, &from.change(all, 3).unwrap(), &Estimates::default());
        let bytes = rmp_serde::to_vec_named(&plan).unwrap();
        assert_eq!(rmp_serde::from_slice::<ChangePlan>(&bytes).unwrap(), plan);
    }
}
