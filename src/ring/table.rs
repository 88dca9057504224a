//! The table while it is planned: which nodes hold which partition, and what may still be put where.

#![allow(clippy::indexing_slicing, reason = "every index is counted from this table's own partitions, nodes and zones")]

use super::spread::Spread;

/// The primaries of every partition, as unordered rows of node indices, with what planning asks often.
pub(super) struct Table<'a> {
    spread: &'a Spread,
    rows: Vec<Vec<usize>>,
    holds: Vec<bool>,
    held_before: Vec<bool>,
    in_zone: Vec<usize>,
    spare: Vec<usize>,
    load: Vec<usize>,
}

impl<'a> Table<'a> {
    /// A table without any copy; `before` are the rows of the previous one, of nodes that still exist.
    pub(super) fn new(spread: &'a Spread, before: &[Vec<usize>]) -> Self {
        let (partitions, nodes) = (before.len(), spread.nodes());
        let mut held_before = vec![false; partitions * nodes];
        for (partition, row) in before.iter().enumerate() {
            for &node in row {
                held_before[partition * nodes + node] = true;
            }
        }
        Self {
            spread,
            rows: vec![Vec::with_capacity(spread.copies()); partitions],
            holds: vec![false; partitions * nodes],
            held_before,
            in_zone: vec![0; partitions * spread.zones()],
            spare: vec![0; partitions],
            load: vec![0; nodes],
        }
    }

    /// The number of nodes.
    pub(super) fn nodes(&self) -> usize {
        self.load.len()
    }

    /// The holders of each partition.
    pub(super) fn rows(&self) -> &[Vec<usize>] {
        &self.rows
    }

    /// Partitions held, by node.
    pub(super) fn load(&self) -> &[usize] {
        &self.load
    }

    /// Does the partition still lack a copy?
    pub(super) fn lacks(&self, partition: usize) -> bool {
        self.rows[partition].len() < self.spread.copies()
    }

    /// Does the node hold the partition?
    pub(super) fn holds(&self, partition: usize, node: usize) -> bool {
        self.holds[partition * self.nodes() + node]
    }

    /// May the node take a copy that the partition lacks, and the zones still come out right?
    pub(super) fn fits(&self, partition: usize, node: usize) -> bool {
        let zone = self.spread.zone_of(node);
        let held = self.in_zone(partition, zone);
        let spare_left = self.spare[partition] < self.spread.spare();
        !self.holds(partition, node)
            && (held < self.spread.floor(zone) || (held < self.spread.ceiling(zone) && spare_left))
    }

    /// May the partition's copy move between these nodes? Its row must be complete.
    pub(super) fn may_move(&self, partition: usize, from: usize, to: usize) -> bool {
        let (left, entered) = (self.spread.zone_of(from), self.spread.zone_of(to));
        let zones_allow = left == entered
            || (self.in_zone(partition, left) > self.spread.floor(left)
                && self.in_zone(partition, entered) < self.spread.ceiling(entered));
        zones_allow && self.holds(partition, from) && !self.holds(partition, to)
    }

    /// Copies to be transferred more (or fewer) if the partition's copy moves: moving on a copy that is
    /// not yet there costs nothing, and moving it home saves one.
    pub(super) fn cost(&self, partition: usize, from: usize, to: usize) -> i32 {
        let new = |node: usize| i32::from(!self.held_before[partition * self.nodes() + node]);
        new(to) - new(from)
    }

    /// Gives the node a copy of the partition, which it must not hold.
    pub(super) fn put(&mut self, partition: usize, node: usize) {
        let (slot, zone) = (partition * self.nodes() + node, self.spread.zone_of(node));
        let held = &mut self.in_zone[partition * self.spread.zones() + zone];
        self.spare[partition] += usize::from(*held >= self.spread.floor(zone));
        *held += 1;
        self.holds[slot] = true;
        self.rows[partition].push(node);
        self.load[node] += 1;
    }

    /// Moves a copy of the partition from a node that holds it to one that does not.
    pub(super) fn shift(&mut self, partition: usize, from: usize, to: usize) {
        self.take(partition, from);
        self.put(partition, to);
    }

    fn take(&mut self, partition: usize, node: usize) {
        let (slot, zone) = (partition * self.nodes() + node, self.spread.zone_of(node));
        let held = &mut self.in_zone[partition * self.spread.zones() + zone];
        *held -= 1;
        self.spare[partition] -= usize::from(*held >= self.spread.floor(zone));
        self.holds[slot] = false;
        self.rows[partition].retain(|&holder| holder != node);
        self.load[node] -= 1;
    }

    fn in_zone(&self, partition: usize, zone: usize) -> usize {
        self.in_zone[partition * self.spread.zones() + zone]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::layout::testing::zoned;

    #[test]
    fn a_copy_fits_only_where_the_other_zones_still_come_out_right() {
        // Four copies in three zones: one each, and one zone holds a second.
        let spread = Spread::of(&zoned(&[3, 3, 3]), 4);
        let mut table = Table::new(&spread, &[vec![]]);
        table.put(0, 0);
        table.put(0, 1);
        assert!(!table.fits(0, 2) && table.fits(0, 3));
        table.put(0, 3);
        assert!(!table.fits(0, 4), "the last copy belongs to the third zone");
        assert!(table.fits(0, 6) && table.lacks(0));
    }

    #[test]
    fn moving_costs_only_for_copies_that_are_not_there() {
        let spread = Spread::of(&zoned(&[3]), 1);
        let mut table = Table::new(&spread, &[vec![0]]);
        table.put(0, 0);
        assert_eq!(table.cost(0, 0, 1), 1);
        table.shift(0, 0, 1);
        assert_eq!((table.cost(0, 1, 2), table.cost(0, 1, 0)), (0, -1));
        assert_eq!(table.load(), [0, 1, 0]);
    }
}
