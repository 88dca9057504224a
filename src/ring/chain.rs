//! Evening out: copies move along shortest chains of nodes until every node holds its quota.
//!
//! This is the minimum-cost-flow method of successive shortest paths on a graph of nodes. An arc a → b of
//! cost c says that some partition's copy may move from a to b and then c copies more must be transferred.
//! A table in which every row keeps as many old copies as it can has no cycle of negative cost, moving
//! along a cheapest chain makes none, and so the last table transfers the fewest copies its quotas allow.

#![allow(clippy::indexing_slicing, reason = "every index is a node or a partition of the table that is planned")]

use super::LayoutError;
use super::order::RingOrder;
use super::table::Table;

/// What an arc can cost; [`Table::cost`] plus one is the index.
const COSTS: usize = 3;

/// How many partitions stand behind each arc, by cost.
struct Arcs {
    nodes: usize,
    counts: Vec<[u32; COSTS]>,
}

/// The cheapest way found to a node: cost, then number of steps, and the node before.
#[derive(Clone, Copy)]
struct Reach {
    length: (i32, u32),
    before: Option<usize>,
}

impl Arcs {
    fn of(table: &Table<'_>) -> Self {
        let mut arcs = Self { nodes: table.nodes(), counts: vec![[0; COSTS]; table.nodes() * table.nodes()] };
        for partition in 0..table.rows().len() {
            arcs.each_of(table, partition, |count| *count += 1);
        }
        arcs
    }

    fn each_of(&mut self, table: &Table<'_>, partition: usize, mut change: impl FnMut(&mut u32)) {
        for &from in &table.rows()[partition] {
            for to in (0..self.nodes).filter(|&to| table.may_move(partition, from, to)) {
                let cost = table.cost(partition, from, to);
                change(&mut self.counts[from * self.nodes + to][(cost + 1) as usize]);
            }
        }
    }

    fn cheapest(&self, from: usize, to: usize) -> Option<i32> {
        let counts = &self.counts[from * self.nodes + to];
        (-1..).zip(counts).find(|(_, count)| **count > 0).map(|(cost, _)| cost)
    }

    /// The shortest chain from any node of `over` to any of `under`: cheapest, then fewest steps
    /// (a chain with needless steps could pass one partition twice). Bellman and Ford, since costs may be negative.
    fn shortest_chain(&self, over: &[bool], under: &[bool]) -> Option<Vec<usize>> {
        let start = |&over: &bool| over.then_some(Reach { length: (0, 0), before: None });
        let mut reached: Vec<Option<Reach>> = over.iter().map(start).collect();
        for _ in 0..self.nodes {
            if !self.relax(&mut reached) {
                break;
            }
        }
        let ends = (0..self.nodes).filter(|&node| under[node]);
        let (_, end) = ends.filter_map(|node| Some((reached[node]?.length, node))).min()?;
        let mut chain = vec![end];
        while let Some(before) = reached[chain[chain.len() - 1]].and_then(|reach| reach.before) {
            chain.push(before);
            if chain.len() > self.nodes {
                return None; // A cycle of negative cost: there is none while the invariant above holds.
            }
        }
        chain.reverse();
        Some(chain)
    }

    fn relax(&self, reached: &mut [Option<Reach>]) -> bool {
        let mut better = false;
        for from in 0..self.nodes {
            let Some(Reach { length: (cost, steps), .. }) = reached[from] else { continue };
            for (to, known) in reached.iter_mut().enumerate() {
                let Some(arc) = self.cheapest(from, to) else { continue };
                let length = (cost + arc, steps + 1);
                if known.is_none_or(|known| length < known.length) {
                    *known = Some(Reach { length, before: Some(from) });
                    better = true;
                }
            }
        }
        better
    }
}

/// Moves copies until every node holds its quota. All rows must be complete.
///
/// # Errors
/// [`LayoutError::Stuck`] if quotas and zones contradict each other, which [`super::quota`] rules out.
pub(super) fn even_out(table: &mut Table<'_>, quotas: &[usize], order: &RingOrder) -> Result<(), LayoutError> {
    let mut arcs = Arcs::of(table);
    loop {
        let over: Vec<bool> = table.load().iter().zip(quotas).map(|(load, quota)| load > quota).collect();
        let under: Vec<bool> = table.load().iter().zip(quotas).map(|(load, quota)| load < quota).collect();
        if !over.contains(&true) {
            return Ok(());
        }
        let chain = arcs.shortest_chain(&over, &under).ok_or(LayoutError::Stuck)?;
        let (first, last) = (chain[0], chain[chain.len() - 1]);
        // A single step stays the shortest chain until one of its ends is served.
        let times = match chain.len() {
            2 => (table.load()[first] - quotas[first]).min(quotas[last] - table.load()[last]),
            _ => 1,
        };
        for step in chain.windows(2) {
            pass_on(table, &mut arcs, order, (step[0], step[1]), times)?;
        }
    }
}

/// Moves up to `times` partitions one step, the cheapest only, those first that the ring would rather
/// have at `to`.
fn pass_on(
    table: &mut Table<'_>,
    arcs: &mut Arcs,
    order: &RingOrder,
    (from, to): (usize, usize),
    times: usize,
) -> Result<(), LayoutError> {
    let cost = arcs.cheapest(from, to).ok_or(LayoutError::Stuck)?;
    let mut candidates: Vec<(u16, usize)> = (0..table.rows().len())
        .filter(|&partition| table.may_move(partition, from, to) && table.cost(partition, from, to) == cost)
        .map(|partition| (order.rank(partition, to), partition))
        .collect();
    candidates.sort_unstable();
    for (_, partition) in candidates.into_iter().take(times) {
        arcs.each_of(table, partition, |count| *count -= 1);
        table.shift(partition, from, to);
        arcs.each_of(table, partition, |count| *count += 1);
    }
    Ok(())
}
