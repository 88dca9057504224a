//! Whom to probe next, and one probe under way. No clock here.

use crate::base::{NodeId, Random};

/// A probe under way: a direct ping, then indirect ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe {
    target: NodeId,
    sequence: u64,
    /// Relays asked that have not said that they live.
    silent_relays: Option<u32>,
}

impl Probe {
    /// A probe of `target` whose pings carry `sequence`.
    pub(super) fn new(target: NodeId, sequence: u64) -> Self {
        Self { target, sequence, silent_relays: None }
    }

    /// So many relays were asked.
    pub(super) fn asked(&mut self, relays: u32) {
        self.silent_relays = Some(relays);
    }

    /// A relay says that it lives and that the target has not answered it.
    pub(super) fn relay_lives(&mut self) {
        self.silent_relays = self.silent_relays.map(|silent| silent.saturating_sub(1));
    }

    /// How much a failure says against this node itself: a silent relay is as suspicious as a silent
    /// target. Where nobody could be asked, the failure alone.
    pub(super) fn doubts(&self) -> u32 {
        self.silent_relays.unwrap_or(1)
    }

    /// Who is probed.
    pub(super) fn target(&self) -> NodeId {
        self.target
    }

    /// The number its pings carry.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Is this acknowledgement of `node` the one waited for? Another node that now lives at the
    /// target's address does not answer for it, nor does an answer to an earlier probe.
    pub(super) fn is_answered_by(&self, node: NodeId, sequence: u64) -> bool {
        self.target == node && self.sequence == sequence
    }
}

/// The order of probing: everyone once per lap. A new lap is shuffled within its halves, so that not
/// everyone probes the same one at once, and yet nobody waits longer than one and a half laps.
#[derive(Debug, Default)]
pub(super) struct Lap {
    order: Vec<NodeId>,
    /// How many of `order` have had their turn.
    done: usize,
}

impl Lap {
    /// The next to probe: someone of `reachable`, which is sorted, or nobody if that is empty.
    pub(super) fn next(&mut self, reachable: &[NodeId], random: &mut Random) -> Option<NodeId> {
        if let Some(node) = self.advance(reachable) {
            return Some(node);
        }
        self.begin(reachable, random);
        self.advance(reachable)
    }

    /// A new member takes a random place in what remains of the lap.
    pub(super) fn insert(&mut self, node: NodeId, random: &mut Random) {
        if !self.order.contains(&node) {
            self.place(node, random);
        }
    }

    fn place(&mut self, node: NodeId, random: &mut Random) {
        let place = random.between(self.done as u64, self.order.len() as u64) as usize;
        self.order.insert(place, node);
    }

    fn advance(&mut self, reachable: &[NodeId]) -> Option<NodeId> {
        let remaining = self.order.get(self.done..).unwrap_or_default();
        let skipped = remaining.iter().position(|node| reachable.binary_search(node).is_ok())?;
        let found = remaining.get(skipped).copied();
        self.done += skipped + 1;
        found
    }

    fn begin(&mut self, reachable: &[NodeId], random: &mut Random) {
        self.done = 0;
        self.order.retain(|node| reachable.binary_search(node).is_ok());
        let mut sorted = self.order.clone();
        sorted.sort_unstable();
        let missing: Vec<NodeId> =
            reachable.iter().copied().filter(|node| sorted.binary_search(node).is_err()).collect();
        if missing.len() > self.order.len() {
            // Nearly a first lap: nobody has waited, so it may be shuffled whole.
            self.order.extend(missing);
            return random.shuffle(&mut self.order);
        }
        missing.into_iter().for_each(|node| self.place(node, random));
        let half = self.order.len().div_ceil(2);
        let (first, second) = self.order.split_at_mut(half);
        random.shuffle(first);
        random.shuffle(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Rule: nobody waits for longer than one and a half laps, whatever the shuffles.
    #[test]
    fn nobody_waits_longer_than_one_and_a_half_laps() {
        let (mut lap, mut random) = (Lap::default(), Random::from_seed(4));
        let everyone: Vec<NodeId> = (0..10).map(NodeId).collect();
        let mut last_turn = [0; 10];
        for turn in 1..=1000 {
            let node = lap.next(&everyone, &mut random).unwrap().0 as usize;
            assert!(turn - last_turn[node] <= 15, "node {node} waited {}", turn - last_turn[node]);
            last_turn[node] = turn;
        }
    }

    /// Rule: a lap visits everyone exactly once.
    #[test]
    fn every_lap_visits_everyone_once() {
        let (mut lap, mut random) = (Lap::default(), Random::from_seed(3));
        let everyone: Vec<NodeId> = (0..9).map(NodeId).collect();
        for _ in 0..5 {
            let visited: BTreeSet<NodeId> = (0..9).filter_map(|_| lap.next(&everyone, &mut random)).collect();
            assert_eq!(visited.len(), 9);
        }
    }

    /// Rule: who is no longer reachable is skipped, and an empty cluster has nobody to probe.
    #[test]
    fn unreachable_members_are_skipped() {
        let (mut lap, mut random) = (Lap::default(), Random::from_seed(3));
        lap.insert(NodeId(1), &mut random);
        assert_eq!(lap.next(&[NodeId(2)], &mut random), Some(NodeId(2)));
        assert_eq!(lap.next(&[], &mut random), None);
    }
}
