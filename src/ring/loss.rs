//! What the loss of one node, or of one zone, would do before, during and after a change.

use super::{Layout, PartitionId};
use crate::base::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How many copies a request needs of a row; no row needs more than it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    /// R; without it, a majority.
    pub(super) reads: Option<usize>,
    /// W; without it, a majority.
    pub(super) writes: Option<usize>,
}

/// How many partitions something would hurt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Harm {
    /// Too few copies are left to read from.
    pub reads: usize,
    /// Too few are left to write to.
    pub writes: usize,
    /// None is left that is whole.
    pub copies: usize,
}

/// The partitions that would be hurt in addition to those that are hurt already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// With the old rows alone.
    pub before: Harm,
    /// While copies are under way: reads need the old row, writes both, and only the old row is whole.
    pub during: Harm,
    /// With the new rows alone.
    pub after: Harm,
}

/// The losses of every node and every zone.
#[derive(Default)]
pub(super) struct Losses {
    pub(super) nodes: BTreeMap<NodeId, Loss>,
    pub(super) zones: BTreeMap<String, Loss>,
}

/// The state of one partition in one phase.
#[derive(Clone, Copy)]
struct State {
    reads: bool,
    writes: bool,
    copies: bool,
}

/// The state of one partition in all three.
struct States([State; 3]);

impl Needs {
    /// R, for a row of `copies`.
    pub(super) fn reads(self, copies: usize) -> usize {
        self.reads.unwrap_or(copies / 2 + 1).min(copies)
    }

    fn writes(self, copies: usize) -> usize {
        self.writes.unwrap_or(copies / 2 + 1).min(copies)
    }

    fn states(self, old: &[NodeId], new: &[NodeId], up: impl Fn(&NodeId) -> bool) -> States {
        let living = |row: &[NodeId]| row.iter().filter(|node| up(node)).count();
        let state = |row: &[NodeId]| State {
            reads: living(row) >= self.reads(row.len()),
            writes: living(row) >= self.writes(row.len()),
            copies: living(row) > 0,
        };
        let (before, after) = (state(old), state(new));
        let during = State { writes: before.writes && after.writes, ..before };
        States([before, during, after])
    }
}

impl Loss {
    fn add(&mut self, with: &States, without: &States) {
        let phases = [&mut self.before, &mut self.during, &mut self.after];
        for ((harm, with), without) in phases.into_iter().zip(with.0).zip(without.0) {
            harm.reads += usize::from(with.reads && !without.reads);
            harm.writes += usize::from(with.writes && !without.writes);
            harm.copies += usize::from(with.copies && !without.copies);
        }
    }

    /// Does it hurt nothing at any time?
    pub fn is_harmless(&self) -> bool {
        *self == Self::default()
    }
}

impl Losses {
    /// Takes away every node and every zone, one at a time. Those declared dead are gone already.
    pub(super) fn of(from: &Layout, to: &Layout, needs: Needs) -> Self {
        let mut losses = Self::default();
        for partition in to.partitioning.all() {
            losses.count(from, to, needs, partition);
        }
        losses
    }

    fn count(&mut self, from: &Layout, to: &Layout, needs: Needs, partition: PartitionId) {
        let (old, new) = (from.primaries(partition), to.primaries(partition));
        let lives = |node: &NodeId| !to.dead.contains(node);
        let touched: BTreeSet<NodeId> = old.iter().chain(new).copied().filter(lives).collect();
        let with = needs.states(old, new, lives);
        for &node in &touched {
            let without = needs.states(old, new, |other| lives(other) && *other != node);
            self.nodes.entry(node).or_default().add(&with, &without);
        }
        let zones: BTreeSet<&str> = touched.iter().filter_map(|&node| zone_of(from, to, node)).collect();
        for zone in zones {
            let up = |node: &NodeId| lives(node) && zone_of(from, to, *node) != Some(zone);
            let loss = self.zones.entry(zone.to_owned()).or_default();
            loss.add(&with, &needs.states(old, new, up));
        }
    }
}

/// Where the node stands: as the new layout says, which only corrects the old one.
fn zone_of<'a>(from: &'a Layout, to: &'a Layout, node: NodeId) -> Option<&'a str> {
    to.node(node).or_else(|| from.node(node)).map(|node| node.zone.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::layout::testing::{layout, nodes, zoned};

    const MAJORITY: Needs = Needs { reads: None, writes: None };

    #[test]
    fn three_copies_in_three_zones_survive_any_one_loss() {
        let nodes = zoned(&[2, 2, 2]);
        let from = layout(32, 3, nodes[..5].to_vec());
        let to = from.change(nodes, 3).unwrap();
        let losses = Losses::of(&from, &to, MAJORITY);
        assert_eq!((losses.nodes.len(), losses.zones.len()), (6, 3));
        assert!(losses.nodes.values().chain(losses.zones.values()).all(Loss::is_harmless));
    }

    #[test]
    fn in_one_zone_everything_is_lost_with_it() {
        let layout = layout(32, 3, nodes(4));
        let losses = Losses::of(&layout, &layout, MAJORITY);
        let all = Harm { reads: 32, writes: 32, copies: 32 };
        assert_eq!(losses.zones["z0"], Loss { before: all, during: all, after: all });
        assert!(losses.nodes.values().all(Loss::is_harmless));
    }

    #[test]
    fn while_copies_are_under_way_only_the_old_rows_are_whole() {
        let nodes = nodes(2);
        let from = layout(8, 1, nodes[..1].to_vec());
        let to = from.change(nodes.clone(), 2).unwrap();
        let loss = Losses::of(&from, &to, MAJORITY).nodes[&nodes[0].id];
        let all = Harm { reads: 8, writes: 8, copies: 8 };
        assert_eq!(loss, Loss { before: all, during: all, after: Harm { copies: 0, ..all } });
        let newcomer = Losses::of(&from, &to, MAJORITY).nodes[&nodes[1].id];
        assert_eq!(newcomer.during, Harm { reads: 0, writes: 8, copies: 0 });
    }

    #[test]
    fn beside_the_dead_one_more_loss_takes_the_quorum() {
        let nodes = nodes(4);
        let from = layout(32, 3, nodes.clone());
        let to = from.change(nodes[1..].to_vec(), 3).unwrap().declaring_dead([nodes[0].id]).unwrap();
        let losses = Losses::of(&from, &to, MAJORITY);
        assert!(!losses.nodes.contains_key(&nodes[0].id));
        let shared = |node: NodeId| from.partitions_of(nodes[0].id).filter(|&p| from.is_primary(p, node)).count();
        for (&node, loss) in &losses.nodes {
            assert_eq!((loss.before.reads, loss.during.reads), (shared(node), shared(node)));
            assert_eq!(loss.after, Harm::default());
        }
    }
}
