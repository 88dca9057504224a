//! The state of everything that is not per key, carried along with the log.

use super::claims::Claims;
use super::{Birth, Body, Record, Sequence};
use crate::base::NodeId;
use crate::causal::{Actor, DotSet};
use crate::ring::PartitionId;
use std::collections::BTreeMap;

/// Clocks, counters, completeness and open hints, as of one sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClockTracker {
    /// Whose counters count.
    pub(super) actor: Actor,
    /// What a partition is before its first record.
    pub(super) birth: Birth,
    /// Partitions with a record.
    pub(super) partitions: BTreeMap<PartitionId, Claims>,
    /// Targets that have not got the hint of this sequence yet; never empty.
    pub(super) hints: BTreeMap<Sequence, Vec<NodeId>>,
}

/// What a stretch of the log does to a tracker: as good as its records, played one by one, and no
/// larger than the clocks they touch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Steps {
    partitions: BTreeMap<PartitionId, PartitionSteps>,
    /// Hints of the stretch that it leaves open.
    held: BTreeMap<Sequence, Vec<NodeId>>,
    /// Targets that got an older hint.
    handed_over: Vec<(Sequence, NodeId)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct PartitionSteps {
    claims: Claims,
    since: Since,
}

/// What the claims of a stretch stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Since {
    /// What was claimed before.
    #[default]
    Before,
    /// A reset: what was claimed before is void.
    Reset,
}

impl ClockTracker {
    pub(super) fn new(actor: Actor, birth: Birth) -> Self {
        ClockTracker { actor, birth, partitions: BTreeMap::new(), hints: BTreeMap::new() }
    }

    /// Goes on by a stretch.
    pub(super) fn apply(&mut self, steps: &Steps) {
        let blank = Claims { complete: self.birth == Birth::Complete, ..Claims::default() };
        for (partition, PartitionSteps { claims, since }) in &steps.partitions {
            let now = self.partitions.entry(*partition).or_insert_with(|| blank.clone());
            if *since == Since::Reset {
                (now.clock, now.complete) = (DotSet::EMPTY, false);
            }
            now.clock.union(&claims.clock);
            now.minted = now.minted.max(claims.minted);
            now.complete |= claims.complete;
        }
        self.hints.extend(steps.held.iter().map(|(hint, targets)| (*hint, targets.clone())));
        steps.handed_over.iter().for_each(|(hint, target)| hand_over(&mut self.hints, *hint, *target));
    }
}

impl Steps {
    /// Adds a record of a log whose owner is `actor`; they must come in ascending order.
    pub(super) fn note(&mut self, actor: Actor, sequence: Sequence, record: &Record) {
        let steps = self.partitions.entry(record.partition).or_default();
        steps.claims.play(actor, &record.body);
        match &record.body {
            Body::Reset { .. } => steps.since = Since::Reset,
            Body::Hint(hint) if !hint.targets.is_empty() => {
                self.held.insert(sequence, hint.targets.clone());
            }
            Body::HintDone { hint, target } if self.held.contains_key(hint) => {
                hand_over(&mut self.held, *hint, *target);
            }
            Body::HintDone { hint, target } => self.handed_over.push((*hint, *target)),
            _ => {}
        }
    }
}

fn hand_over(hints: &mut BTreeMap<Sequence, Vec<NodeId>>, hint: Sequence, target: NodeId) {
    if let Some(open) = hints.get_mut(&hint) {
        open.retain(|other| *other != target);
        if open.is_empty() {
            hints.remove(&hint);
        }
    }
}
