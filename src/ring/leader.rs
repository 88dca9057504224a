//! Who comes first in each row. The first primary is asked first, so each node leads its share of the
//! partitions it holds. Re-ordering a row moves no data.

#![allow(clippy::indexing_slicing, reason = "every index is a node or a partition of the table that is planned")]

use super::LayoutError;
use super::order::RingOrder;
use std::collections::VecDeque;

/// A choice of leaders in the making.
struct Leaders<'a> {
    rows: &'a [Vec<usize>],
    order: &'a RingOrder,
    of: Vec<Option<usize>>,
    led: Vec<usize>,
    least: Vec<usize>,
    most: Vec<usize>,
    /// For `a * nodes + b`: how many rows a leads that b could lead.
    passable: Vec<u32>,
}

/// Orders each row: its leader, then the others in ring order. `before` holds the previous leaders.
pub(super) fn arrange(
    rows: &[Vec<usize>],
    load: &[usize],
    before: &[Option<usize>],
    order: &RingOrder,
) -> Result<Vec<Vec<usize>>, LayoutError> {
    let copies = rows.first().map_or(1, Vec::len).max(1);
    let mut leaders = Leaders {
        rows,
        order,
        of: vec![None; rows.len()],
        led: vec![0; load.len()],
        least: load.iter().map(|held| held / copies).collect(),
        most: load.iter().map(|held| held.div_ceil(copies)).collect(),
        passable: vec![0; load.len() * load.len()],
    };
    leaders.keep(before);
    leaders.choose();
    leaders.even_out()?;
    Ok(leaders.ordered())
}

impl Leaders<'_> {
    /// Whoever led a row before and still holds it leads it again, up to its share.
    fn keep(&mut self, before: &[Option<usize>]) {
        for (partition, leader) in before.iter().enumerate() {
            let still = leader.filter(|leader| self.rows[partition].contains(leader));
            if let Some(leader) = still.filter(|&leader| self.led[leader] < self.most[leader]) {
                self.lead(partition, leader);
            }
        }
    }

    /// Rows without a leader get the one furthest below its share, the ring breaking ties.
    fn choose(&mut self) {
        for partition in 0..self.rows.len() {
            if self.of[partition].is_some() {
                continue;
            }
            let row = self.rows[partition].iter().copied();
            let wish =
                |&node: &usize| (self.led[node] as i64 - self.most[node] as i64, self.order.rank(partition, node));
            if let Some(leader) = row.min_by_key(wish) {
                self.lead(partition, leader);
            }
        }
    }

    /// First nobody leads more than its share rounded up, then nobody less than its share rounded down.
    fn even_out(&mut self) -> Result<(), LayoutError> {
        while self.led.iter().zip(&self.most).any(|(led, most)| led > most) {
            self.pass_along(
                |leaders, node| leaders.led[node] > leaders.most[node],
                |leaders, node| leaders.led[node] < leaders.most[node],
            )?;
        }
        while self.led.iter().zip(&self.least).any(|(led, least)| led < least) {
            self.pass_along(
                |leaders, node| leaders.led[node] > leaders.least[node],
                |leaders, node| leaders.led[node] < leaders.least[node],
            )?;
        }
        Ok(())
    }

    /// Passes one lead along the shortest chain of nodes from one that may give to one that may take.
    fn pass_along(
        &mut self,
        gives: impl Fn(&Self, usize) -> bool,
        takes: impl Fn(&Self, usize) -> bool,
    ) -> Result<(), LayoutError> {
        let nodes = self.led.len();
        let mut before: Vec<Option<usize>> = vec![None; nodes];
        let mut queue: VecDeque<usize> = (0..nodes).filter(|&node| gives(self, node)).collect();
        let mut seen: Vec<bool> = (0..nodes).map(|node| gives(self, node)).collect();
        while let Some(node) = queue.pop_front() {
            if takes(self, node) {
                self.hand_over(&before, node);
                return Ok(());
            }
            for next in 0..nodes {
                if !seen[next] && self.passable[node * nodes + next] > 0 {
                    seen[next] = true;
                    before[next] = Some(node);
                    queue.push_back(next);
                }
            }
        }
        Err(LayoutError::Stuck)
    }

    /// Each node of the chain that ends in `end` takes the lead of one row from the node before it.
    fn hand_over(&mut self, before: &[Option<usize>], mut end: usize) {
        while let Some(giver) = before[end] {
            let wish = |&partition: &usize| (self.order.rank(partition, end), partition);
            let led = (0..self.rows.len()).filter(|&partition| self.of[partition] == Some(giver));
            if let Some(partition) = led.filter(|&partition| self.rows[partition].contains(&end)).min_by_key(wish) {
                self.count(partition, giver, u32::saturating_sub);
                self.led[giver] -= 1;
                self.lead(partition, end);
            }
            end = giver;
        }
    }

    fn lead(&mut self, partition: usize, leader: usize) {
        self.of[partition] = Some(leader);
        self.led[leader] += 1;
        self.count(partition, leader, u32::saturating_add);
    }

    fn count(&mut self, partition: usize, leader: usize, change: fn(u32, u32) -> u32) {
        for &other in self.rows[partition].iter().filter(|&&other| other != leader) {
            let passable = &mut self.passable[leader * self.led.len() + other];
            *passable = change(*passable, 1);
        }
    }

    fn ordered(self) -> Vec<Vec<usize>> {
        let leading = |partition: usize, node: usize| self.of[partition] == Some(node);
        let place = |partition: usize, node: usize| (!leading(partition, node), self.order.rank(partition, node));
        let mut rows = self.rows.to_vec();
        for (partition, row) in rows.iter_mut().enumerate() {
            row.sort_by_key(|&node| place(partition, node));
        }
        rows
    }
}
