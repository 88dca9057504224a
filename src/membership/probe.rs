//! Whom to probe next, and one probe under way. No clock here.

use crate::base::{NodeId, Random};

/// A probe under way: a direct ping, then indirect ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe {
    target: NodeId,
    sequence: u64,
}

impl Probe {
    /// A probe of `target` whose pings carry `sequence`.
    pub(super) fn new(target: NodeId, sequence: u64) -> Self {
        Self { target, sequence }
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

/// The order of probing: everyone once, in an order drawn anew for each lap. So the time until a dead
/// member is probed is bounded, and not everyone probes the same one at once.
#[derive(Debug, Default)]
pub(super) struct Lap {
    /// Who is still to be probed in this lap; the next is last.
    remaining: Vec<NodeId>,
}

impl Lap {
    /// The next to probe: someone of `reachable`, or nobody if that is empty.
    pub(super) fn next(&mut self, reachable: &[NodeId], random: &mut Random) -> Option<NodeId> {
        while let Some(node) = self.remaining.pop() {
            if reachable.contains(&node) {
                return Some(node);
            }
        }
        self.remaining = reachable.to_vec();
        random.shuffle(&mut self.remaining);
        self.remaining.pop()
    }

    /// A new member takes a random place in the current lap.
    pub(super) fn insert(&mut self, node: NodeId, random: &mut Random) {
        if self.remaining.contains(&node) {
            return;
        }
        let place = random.below(self.remaining.len() as u64 + 1) as usize;
        self.remaining.insert(place, node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Rule: between two laps everyone is probed exactly once, so no death stays unseen for longer
    /// than two laps.
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
