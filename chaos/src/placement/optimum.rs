//! The least that a change can move, whatever the planner does.
//!
//! A fair table is a flow: each partition sends its copies through its zones (within what a zone may hold of one
//! partition) to nodes, each node takes its share rounded down or up, and so does each zone. A copy that was not there
//! before costs one. A flow is cheapest if and only if its residual graph has no cycle of negative cost. So the table
//! at hand is mended by such cycles until none is left, and what it then moves is the least that any fair table moves,
//! with whatever roundings suit best.
//!
//! The graph here has nodes, zones and one hub in place of partitions: a copy of some partition passing from a to b is
//! an arc a → b, and who may take one more than it has, or one less, is joined to its zone, as zones are to the hub.

use super::shares::{Shares, rounded_down, rounded_up};
use dunlin::ring::Layout;

/// What an arc between two nodes can cost, plus one.
const COSTS: usize = 3;

/// The least possible, and whether it was proved to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Least {
    /// Copies transferred by the best table found.
    pub moves: usize,
    /// Does no fair table transfer less?
    pub proved: bool,
}

/// The fewest copies that any fair table of `to`'s nodes would transfer, coming from `from`.
pub fn least_moves(from: &Layout, to: &Layout) -> Least {
    let mut flow = Flow::of(from, to);
    loop {
        let Some(cycle) = flow.negative_cycle() else { return Least { moves: flow.moved(), proved: true } };
        if !flow.turn(&cycle) {
            return Least { moves: flow.moved(), proved: false };
        }
    }
}

/// A table with the bounds it must keep.
struct Flow {
    shares: Shares,
    nodes: usize,
    /// The holders of each partition.
    rows: Vec<Vec<usize>>,
    /// Did the node hold the partition before? By partition, then node.
    before: Vec<bool>,
    load: Vec<usize>,
    zone_load: Vec<usize>,
    /// How many partitions stand behind each arc between nodes, by cost.
    counts: Vec<[u32; COSTS]>,
}

impl Flow {
    fn of(from: &Layout, to: &Layout) -> Self {
        let nodes = to.nodes.len();
        let place = |id| to.nodes.binary_search_by_key(&id, |node| node.id).ok();
        let rows_of = |layout: &Layout| -> Vec<Vec<usize>> {
            let row = |partition| layout.primaries(partition).iter().filter_map(|&id| place(id)).collect();
            layout.partitioning.all().map(row).collect()
        };
        let shares = Shares::of(to);
        let rows = rows_of(to);
        let mut before = vec![false; rows.len() * nodes];
        for (partition, row) in rows_of(from).iter().enumerate() {
            row.iter().for_each(|node| before[partition * nodes + node] = true);
        }
        let (mut load, mut zone_load) = (vec![0; nodes], vec![0; shares.zones.len()]);
        for &node in rows.iter().flatten() {
            load[node] += 1;
            zone_load[shares.zone_of[node]] += 1;
        }
        let mut flow = Self { shares, nodes, rows, before, load, zone_load, counts: vec![[0; COSTS]; nodes * nodes] };
        for partition in 0..flow.rows.len() {
            flow.count(partition, |count| *count += 1);
        }
        flow
    }

    /// Copies that are where they were not.
    fn moved(&self) -> usize {
        let new = |(partition, row): (usize, &Vec<usize>)| row.iter().filter(|&&n| !self.had(partition, n)).count();
        self.rows.iter().enumerate().map(new).sum()
    }

    fn had(&self, partition: usize, node: usize) -> bool {
        self.before[partition * self.nodes + node]
    }

    /// What it costs that the partition's copy passes from one node to another; nothing if it must not.
    fn cost(&self, partition: usize, from: usize, to: usize) -> Option<i32> {
        let row = &self.rows[partition];
        if !row.contains(&from) || row.contains(&to) {
            return None;
        }
        let (left, entered) = (self.shares.zone_of[from], self.shares.zone_of[to]);
        let held = |zone: usize| row.iter().filter(|&&node| self.shares.zone_of[node] == zone).count();
        let allowed = left == entered
            || (held(left) > self.shares.per_row[left].0 && held(entered) < self.shares.per_row[entered].1);
        allowed.then(|| i32::from(!self.had(partition, to)) - i32::from(!self.had(partition, from)))
    }

    fn count(&mut self, partition: usize, change: impl Fn(&mut u32)) {
        for from in self.rows[partition].clone() {
            for to in 0..self.nodes {
                if let Some(cost) = self.cost(partition, from, to) {
                    change(&mut self.counts[from * self.nodes + to][(cost + 1) as usize]);
                }
            }
        }
    }

    /// Nodes come first, then zones, then the hub.
    fn hub(&self) -> usize {
        self.nodes + self.shares.zones.len()
    }

    /// The cheapest arc between two places of the graph.
    fn arc(&self, from: usize, to: usize) -> Option<i32> {
        let (nodes, hub) = (self.nodes, self.hub());
        let fair = |share: f64, load: usize| (load > rounded_down(share), load < rounded_up(share));
        let free = |may: bool| may.then_some(0);
        match (from < nodes, to < nodes) {
            (true, true) => {
                (-1..).zip(&self.counts[from * nodes + to]).find(|(_, count)| **count > 0).map(|(cost, _)| cost)
            }
            // The node keeps one more than it has.
            (true, false) if to == nodes + self.shares.zone_of[from] => {
                free(fair(self.shares.nodes[from], self.load[from]).1)
            }
            (false, true) if from == nodes + self.shares.zone_of[to] => {
                free(fair(self.shares.nodes[to], self.load[to]).0)
            }
            (false, false) if to == hub && from != hub => {
                free(fair(self.shares.zones[from - nodes], self.zone_load[from - nodes]).1)
            }
            (false, false) if from == hub && to != hub => {
                free(fair(self.shares.zones[to - nodes], self.zone_load[to - nodes]).0)
            }
            _ => None,
        }
    }

    /// A cycle of negative cost with few steps, by Bellman and Ford from everywhere at once; the first place is also
    /// the last.
    fn negative_cycle(&self) -> Option<Vec<usize>> {
        let places = self.hub() + 1;
        let arcs: Vec<(usize, usize, i32)> = (0..places)
            .flat_map(|from| (0..places).filter_map(move |to| Some((from, to, self.arc(from, to)?))))
            .collect();
        let (mut length, mut before) = (vec![0; places], vec![None; places]);
        for _ in 0..=places {
            let mut better = false;
            for &(from, to, cost) in &arcs {
                if length[from] + cost < length[to] {
                    length[to] = length[from] + cost;
                    before[to] = Some(from);
                    better = true;
                }
            }
            if !better {
                return None;
            }
            // A cycle among the last steps is negative, and found early it is short.
            if let Some(cycle) = cycle_in(&before) {
                return Some(cycle);
            }
        }
        None
    }

    /// Passes one copy along every step of the cycle, or does nothing and says so. The shortest cycle can always be
    /// turned: if it passed one partition twice, it would be two shorter ones, of which one is negative. One that is not
    /// the shortest may fail.
    fn turn(&mut self, cycle: &[usize]) -> bool {
        let mut done: Vec<(usize, usize, usize)> = Vec::new();
        let between_nodes = cycle.windows(2).map(|step| (step[0], step[1]));
        for (from, to) in between_nodes.filter(|(from, to)| *from < self.nodes && *to < self.nodes).collect::<Vec<_>>()
        {
            let wanted = self.arc(from, to);
            let cheapest = |partition: &usize| wanted.is_some() && self.cost(*partition, from, to) == wanted;
            let fresh = |partition: &usize| done.iter().all(|(used, ..)| used != partition);
            let Some(partition) = (0..self.rows.len()).filter(fresh).find(cheapest) else {
                done.into_iter().rev().for_each(|(partition, from, to)| self.pass(partition, to, from));
                return false;
            };
            self.pass(partition, from, to);
            done.push((partition, from, to));
        }
        !done.is_empty()
    }

    fn pass(&mut self, partition: usize, from: usize, to: usize) {
        self.count(partition, |count| *count -= 1);
        self.rows[partition].retain(|&node| node != from);
        self.rows[partition].push(to);
        self.count(partition, |count| *count += 1);
        self.load[from] -= 1;
        self.load[to] += 1;
        self.zone_load[self.shares.zone_of[from]] -= 1;
        self.zone_load[self.shares.zone_of[to]] += 1;
    }
}

/// A cycle among these predecessors, from its first place to the same place again.
fn cycle_in(before: &[Option<usize>]) -> Option<Vec<usize>> {
    let mut seen = vec![usize::MAX; before.len()];
    for start in 0..before.len() {
        let mut place = start;
        while seen[place] == usize::MAX {
            seen[place] = start;
            let Some(previous) = before[place] else { break };
            place = previous;
        }
        if seen[place] == start && before[place].is_some() {
            let mut cycle = vec![place];
            let mut at = before[place]?;
            while at != place {
                cycle.push(at);
                at = before[at]?;
            }
            cycle.push(place);
            cycle.reverse();
            return Some(cycle);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin::base::{ClusterId, NodeId};
    use dunlin::ring::{LayoutNode, Partitioning, moves};

    fn nodes(places: std::ops::Range<u64>) -> Vec<LayoutNode> {
        let node = |place: u64| LayoutNode {
            id: NodeId(place),
            name: format!("n{place}"),
            zone: format!("z{}", place % 2),
            capacity: 1,
            address: format!("n{place}:1"),
            membership_address: format!("n{place}:2"),
        };
        places.map(node).collect()
    }

    #[test]
    fn a_table_planned_without_regard_to_the_last_is_mended_to_the_least() {
        let first = |nodes| Layout::first(ClusterId(1), Partitioning::new(64).unwrap(), 3, nodes).unwrap();
        let from = first(nodes(0..9));
        // Fair, but planned as if nothing were there: this is what the bound must see through.
        let (careless, careful) = (first(nodes(0..10)), from.change(nodes(0..10), 3).unwrap());
        let least = least_moves(&from, &careful);
        assert_eq!(least, least_moves(&from, &careless));
        assert!(least.proved && least.moves == moves(&from, &careful).len());
        assert!(moves(&from, &careless).len() > least.moves);
    }

    #[test]
    fn the_same_nodes_need_no_move() {
        let from = Layout::first(ClusterId(1), Partitioning::new(64).unwrap(), 3, nodes(0..7)).unwrap();
        let other = Layout::first(ClusterId(1), Partitioning::new(64).unwrap(), 3, nodes(1..8)).unwrap();
        let back = other.change(nodes(0..7), 3).unwrap();
        assert_eq!(least_moves(&from, &back), Least { moves: 0, proved: true });
    }
}
