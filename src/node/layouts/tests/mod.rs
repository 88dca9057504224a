//! The keeper of layouts: single steps, and whole clusters of them on a bad network.

mod agreement;
mod gossip;
mod simulation;
mod state;
mod trackers;
mod world;

use super::{LayoutEffect, LayoutInput, LayoutKeeper, LayoutState, LayoutTimings, LiveLayouts};
use crate::base::{ClusterId, NodeId, Now, Random, Time, WallTime};
use crate::replication::{LayoutMessage, LayoutTracker};
use crate::ring::{Layout, LayoutNode, Partitioning};
use std::sync::Arc;

fn node(id: u64) -> LayoutNode {
    LayoutNode {
        id: NodeId(id),
        name: format!("n{id}"),
        zone: String::new(),
        capacity: 1,
        address: format!("n{id}:1"),
        membership_address: format!("n{id}:2"),
    }
}

fn first(ids: &[u64]) -> Arc<Layout> {
    let nodes = ids.iter().map(|id| node(*id)).collect();
    Arc::new(Layout::first(ClusterId(7), Partitioning::new(2).unwrap(), 2, nodes).unwrap())
}

/// The layout after this one, of these nodes.
fn next(layout: &Layout, ids: &[u64]) -> Arc<Layout> {
    Arc::new(layout.change(ids.iter().map(|id| node(*id)).collect(), 2).unwrap())
}

/// One keeper, its disk as slow as the test wants.
struct Scene {
    keeper: LayoutKeeper,
    now: Time,
}

impl Scene {
    fn new(me: u64, state: LayoutState) -> Self {
        let keeper = LayoutKeeper::new(NodeId(me), LayoutTimings::default(), state, Random::from_seed(me));
        let mut scene = Self { keeper, now: Time(1) };
        // Peers are not known yet, so the first digest goes to nobody.
        let effects = scene.feed(LayoutInput::Tick);
        assert!(effects.is_empty() || is_persist(&effects), "{effects:?}");
        scene
    }

    fn of(me: u64, layout: &Arc<Layout>) -> Self {
        Self::new(me, LayoutState::new(Arc::clone(layout)))
    }

    /// What follows from an input.
    fn feed(&mut self, input: LayoutInput) -> Vec<LayoutEffect> {
        let mut effects = Vec::new();
        self.keeper.handle(Now { time: self.now, wall: WallTime(0) }, input, &mut effects);
        effects
    }

    /// What follows from an input and from the state being durable, as often as there is one.
    fn settle(&mut self, input: LayoutInput) -> Vec<LayoutEffect> {
        let mut effects = self.feed(input);
        let mut all = Vec::new();
        loop {
            let persist = effects.iter().any(|effect| matches!(effect, LayoutEffect::Persist(_)));
            all.extend(effects.into_iter().filter(|effect| !matches!(effect, LayoutEffect::Persist(_))));
            if !persist {
                return all;
            }
            effects = self.feed(LayoutInput::Persisted);
        }
    }

    fn hear(&mut self, from: u64, message: LayoutMessage) -> Vec<LayoutEffect> {
        self.settle(message_of(from, message))
    }

    fn live(&self) -> Arc<LiveLayouts> {
        Arc::clone(self.keeper.live())
    }

    fn versions(&self) -> Vec<u64> {
        self.live().versions.iter().map(|layout| layout.version).collect()
    }

    /// Time passes until it wants to be looked at.
    fn wait(&mut self) -> Vec<LayoutEffect> {
        self.now = self.now.max(self.keeper.deadline());
        self.settle(LayoutInput::Tick)
    }
}

fn message_of(from: u64, message: LayoutMessage) -> LayoutInput {
    LayoutInput::Message { from: NodeId(from), message }
}

fn send(to: &[u64], message: LayoutMessage) -> LayoutEffect {
    LayoutEffect::Send { to: to.iter().copied().map(NodeId).collect(), message }
}

fn is_persist(effects: &[LayoutEffect]) -> bool {
    matches!(effects, [LayoutEffect::Persist(_)])
}

fn tracker(all: u64) -> LayoutTracker {
    LayoutTracker { acknowledged: all, synced: all, sync_acknowledged: all }
}
