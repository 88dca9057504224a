//! How the copies of one partition spread over zones.

use super::LayoutNode;
use std::collections::BTreeMap;

/// The zone of each node, and how many copies of one partition each zone holds: between `floor` and
/// `ceiling`, which differ by at most one. A zone with few nodes holds as many as it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spread {
    zone_of: Vec<usize>,
    floor: Vec<usize>,
    ceiling: Vec<usize>,
    copies: usize,
    spare: usize,
}

impl Spread {
    /// The spread of `min(replicas, nodes)` copies over the zones of `nodes`.
    pub(super) fn of(nodes: &[LayoutNode], replicas: usize) -> Self {
        let copies = replicas.min(nodes.len());
        let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
        for node in nodes {
            *zones.entry(&node.zone).or_default() += 1;
        }
        let names: Vec<&str> = zones.keys().copied().collect();
        let zone_of = nodes.iter().filter_map(|node| names.binary_search(&node.zone.as_str()).ok()).collect();
        let held_at = |most: usize| zones.values().map(|&size| size.min(most)).sum::<usize>();
        // The smallest allowance per zone that has room for all copies.
        let most = (1..=copies).find(|&most| held_at(most) >= copies).unwrap_or(copies);
        let limit = |most: usize| zones.values().map(|&size| size.min(most)).collect::<Vec<_>>();
        let floor = limit(most.saturating_sub(1));
        let spare = copies - floor.iter().sum::<usize>();
        Self { zone_of, floor, ceiling: limit(most), copies, spare }
    }

    /// Copies of each partition.
    pub(super) fn copies(&self) -> usize {
        self.copies
    }

    /// The number of zones.
    pub(super) fn zones(&self) -> usize {
        self.floor.len()
    }

    /// The number of nodes.
    pub(super) fn nodes(&self) -> usize {
        self.zone_of.len()
    }

    /// The zone of a node; a number below [`Spread::zones`].
    pub(super) fn zone_of(&self, node: usize) -> usize {
        self.zone_of.get(node).copied().unwrap_or_default()
    }

    /// Fewest copies of a partition in this zone.
    pub(super) fn floor(&self, zone: usize) -> usize {
        self.floor.get(zone).copied().unwrap_or_default()
    }

    /// Most copies of a partition in this zone.
    pub(super) fn ceiling(&self, zone: usize) -> usize {
        self.ceiling.get(zone).copied().unwrap_or_default()
    }

    /// How many zones hold one copy more than their floor.
    pub(super) fn spare(&self) -> usize {
        self.spare
    }

    /// Does this row of primaries, complete and of distinct nodes, spread as it must?
    pub(super) fn allows(&self, row: &[usize]) -> bool {
        let held = |zone: usize| row.iter().filter(|&&node| self.zone_of(node) == zone).count();
        (0..self.zones()).all(|zone| (self.floor(zone)..=self.ceiling(zone)).contains(&held(zone)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::layout::testing::zoned;

    fn bounds(zones: &[usize], replicas: usize) -> Vec<(usize, usize)> {
        let spread = Spread::of(&zoned(zones), replicas);
        (0..spread.zones()).map(|zone| (spread.floor(zone), spread.ceiling(zone))).collect()
    }

    #[test]
    fn with_zones_enough_a_zone_holds_at_most_one_copy() {
        assert_eq!(bounds(&[2, 2, 2, 2], 3), [(0, 1); 4]);
    }

    #[test]
    fn with_fewer_zones_than_copies_every_zone_holds_some() {
        assert_eq!(bounds(&[3, 3], 3), [(1, 2); 2]);
        assert_eq!(bounds(&[3, 3, 3], 4), [(1, 2); 3]);
    }

    #[test]
    fn a_zone_too_small_leaves_its_copies_to_others() {
        assert_eq!(bounds(&[1, 1, 9], 5), [(1, 1), (1, 1), (2, 3)]);
    }

    #[test]
    fn more_replicas_than_nodes_means_a_copy_on_every_node() {
        assert_eq!(Spread::of(&zoned(&[2, 1]), 5).copies(), 3);
    }
}
