//! Changes of the layout: operators who ask for them, and what each node keeps of them on its disk.

use super::checkers::Broken;
use super::world::{Happening, Phase, World};
use dunlin::node::{
    ApplyError, ControlInput, LayoutKeeper, LayoutNotice, LayoutState, LayoutTimings, LiveLayouts, Transfers,
};
use dunlin::replication::LayoutMessage;
use dunlin::ring::{Layout, LayoutNode};
use std::sync::Arc;
use std::time::Duration;

/// Share of the changes with which an operator pauses transfers, or lets them go on.
const PAUSES: f64 = 0.1;

impl World {
    /// A keeper that goes on from what the node's disk has.
    pub(super) fn keeper(&mut self, node: usize) -> LayoutKeeper {
        let (me, state) = (self.layout.nodes[node].id, self.stations[node].layouts.clone());
        LayoutKeeper::new(me, LayoutTimings::default(), state, self.layout_random.fork())
    }

    /// What a process routes by at first.
    pub(super) fn first_layouts(&mut self, node: usize) -> Arc<LiveLayouts> {
        Arc::clone(self.keeper(node).live())
    }

    /// One operator's change, then the next some time later.
    pub(super) fn change_layout(&mut self) {
        let Some(mean) = self.swarm.layout_changes.filter(|_| self.phase == Phase::Storm) else { return };
        let nodes = self.swarm.nodes as u64;
        // Now and then two operators at once.
        let operators = if self.layout_random.chance(0.2) { 2 } else { 1 };
        for _ in 0..operators {
            let node = self.layout_random.below(nodes) as usize;
            self.ask_for_change(node);
        }
        if self.layout_random.chance(PAUSES) {
            let (node, paused) = (self.layout_random.below(nodes) as usize, self.layout_random.chance(0.5));
            self.order_transfers(node, if paused { Transfers::Paused } else { Transfers::Running });
        }
        let delay = Duration::from_micros(self.layout_random.below(mean.as_micros() as u64 * 2 + 1));
        self.after(delay, Happening::ChangeLayout);
    }

    fn order_transfers(&mut self, node: usize, order: Transfers) {
        self.note(node, "transfers", u64::from(order == Transfers::Paused), 0);
        self.tally.count(&format!("layout: transfers {order:?}"));
        self.control_later(node, ControlInput::Transfers(order));
    }

    /// Operators who have paused something do not forget it.
    pub(super) fn resume_transfers(&mut self, node: usize) {
        let running = self.stations[node].running.as_ref();
        let view = running.and_then(|running| running.control.as_ref()).map(|control| control.view());
        if self.phase == Phase::Calm && view.is_some_and(|view| view.layouts.transfers == Transfers::Paused) {
            self.order_transfers(node, Transfers::Running);
        }
    }

    fn ask_for_change(&mut self, node: usize) {
        let Some(control) = self.stations[node].running.as_ref().and_then(|running| running.control.as_ref()) else {
            return;
        };
        let newest = Arc::clone(control.view().layouts.newest());
        let Some(layout) = self.draw_change(&newest) else { return };
        self.next_change += 1;
        self.note(node, "change", layout.version, layout.hash());
        self.tally.count("layout: change asked for");
        let (request, expected) = (self.next_change, newest.version);
        let input = ControlInput::Apply { request, expected, layout: Arc::new(layout) };
        self.control_later(node, input);
    }

    /// Joins, leaves, replacements, other weights, another N; never fewer nodes than copies.
    fn draw_change(&mut self, from: &Layout) -> Option<Layout> {
        if self.swarm.changes_replicas() && self.layout_random.chance(0.3) {
            let replicas = self.layout_random.between(1, self.swarm.most_replicas as u64) as usize;
            let possible = replicas != from.replicas && replicas <= from.nodes.len();
            return possible.then(|| from.change(from.nodes.clone(), replicas).ok()).flatten();
        }
        let outside: Vec<LayoutNode> =
            self.layout.nodes.iter().filter(|node| from.node(node.id).is_none()).cloned().collect();
        let mut nodes = from.nodes.clone();
        let random = &mut self.layout_random;
        let joins = random.pick(&outside).cloned();
        let leaves = random.below(nodes.len() as u64) as usize;
        match (random.below(4), joins) {
            (0 | 1, Some(joins)) => nodes.push(joins),
            (2, Some(joins)) => nodes[leaves] = joins,
            (3, _) => nodes[leaves].capacity = random.between(1, 3) as u32,
            _ if nodes.len() > from.replicas => {
                nodes.remove(leaves);
            }
            _ => return None,
        }
        from.change(nodes, from.replicas).ok()
    }

    /// Hands an input to a node's control, in its own turn.
    pub(super) fn control_later(&mut self, node: usize, input: ControlInput) {
        let boot = self.stations[node].boot;
        self.after(Duration::ZERO, Happening::Control { node, boot, input: Box::new(input) });
    }

    /// A peer's message about layouts is for the control.
    pub(super) fn hear_of_layouts(&mut self, to: usize, from: usize, message: LayoutMessage) {
        let from = self.layout.nodes[from].id;
        self.control(to, ControlInput::Layout { from, message });
    }

    /// A state reaches the disk after a while; a node that ends before has never had it.
    pub(super) fn persist_layouts(&mut self, node: usize, state: Box<LayoutState>) {
        let (boot, delay) = (self.stations[node].boot, self.storage_delay(node));
        self.after(delay, Happening::LayoutsDurable { node, boot, state });
    }

    pub(super) fn layouts_durable(&mut self, node: usize, boot: u64, state: LayoutState) {
        if self.is_current(node, boot) {
            self.note(node, "layouts durable", state.newest().version, 0);
            self.stations[node].layouts = state;
            self.control(node, ControlInput::Persisted);
        }
    }

    pub(super) fn change_answered(&mut self, node: usize, request: u64, result: &Result<(), ApplyError>) {
        self.note(node, "change answered", request, u64::from(result.is_ok()));
        self.tally.count(match result {
            Ok(()) => "layout: change applied",
            Err(ApplyError::Stale { .. } | ApplyError::Lost { .. }) => "layout: another operator was first",
            Err(ApplyError::TooManyLive | ApplyError::Ending | ApplyError::Busy) => "layout: change refused for now",
            Err(ApplyError::NoMajority { .. }) => "layout: no majority",
            Err(ApplyError::OutcomeUnknown { .. }) => "layout: outcome unknown",
            Err(ApplyError::Unrelated { .. } | ApplyError::Invalid(_)) => {
                return self.breaks("changes are possible", format!("node {node}: {result:?}"));
            }
        });
    }

    pub(super) fn layout_notice(&mut self, node: usize, notice: LayoutNotice) {
        match notice {
            LayoutNotice::Conflict { .. } | LayoutNotice::SetBack => {
                self.breaks("P9 safe membership", format!("node {node}: {notice:?}"));
            }
            LayoutNotice::Adopted { version } => self.note_layout(node, "layout: adopted", version),
            LayoutNotice::Ended { version } => self.note_layout(node, "layout: ended", version),
            LayoutNotice::Reading { version } => self.note_layout(node, "layout: reads go over", version),
        }
    }

    fn note_layout(&mut self, node: usize, kind: &'static str, version: u64) {
        self.note(node, kind, version, 0);
        self.tally.count(kind);
    }

    /// The newest layout that any running node goes by.
    pub(super) fn newest_layout(&self) -> Arc<Layout> {
        let newest = self.views().map(|(_, view)| view.layouts.newest()).max_by_key(|layout| layout.version);
        newest.cloned().unwrap_or_else(|| Arc::clone(&self.first))
    }

    /// P9: every change has come to its end at every node: one version alone, nothing left of what was lost.
    pub(super) fn unfinished_changes(&self) -> Vec<Broken> {
        if self.swarm.layout_changes.is_none() {
            return Vec::new();
        }
        let newest = self.newest_layout();
        let mut broken = Vec::new();
        let mut says = |node: usize, what: String| {
            broken.push(Broken { promise: "P9 safe membership", what: format!("node {node}: {what}") });
        };
        for (node, view) in self.views() {
            let LiveLayouts { versions, ending, .. } = &*view.layouts;
            let numbers: Vec<u64> = versions.iter().map(|layout| layout.version).collect();
            if numbers != [newest.version] || !ending.is_empty() {
                says(node, format!("versions {numbers:?} are live, the newest is {}", newest.version));
            }
        }
        for (node, station) in self.stations.iter().enumerate() {
            let id = self.layout.nodes[node].id;
            let Some(running) = &station.running else { continue };
            for partition in newest.partitioning.all().filter(|partition| !newest.is_primary(*partition, id)) {
                let keys = running.process.holding(partition).map_or(0, |holding| holding.keys);
                if keys > 0 {
                    says(node, format!("{keys} keys of partition {partition}, which it does not own"));
                }
            }
        }
        broken
    }
}
