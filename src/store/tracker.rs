//! The state of everything that is not per key, carried along with the log.

use super::claims::Claims;
use super::{Birth, Body, Record, Sequence};
use crate::base::{Mutation, NodeId, broken};
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
    /// Whose counters count: the owner as of its last record.
    owner: Option<Actor>,
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
    /// A reset or a drop: what was claimed before is void.
    Reset,
}

impl ClockTracker {
    pub(super) fn new(actor: Actor, birth: Birth) -> Self {
        ClockTracker { actor, birth, partitions: BTreeMap::new(), hints: BTreeMap::new() }
    }

    /// Goes on under a new owner, which has minted nothing yet (PROTOCOL R9).
    pub(super) fn renew(&mut self, actor: Actor) {
        self.actor = actor;
        self.partitions.values_mut().for_each(|claims| claims.minted = 0);
    }

    /// Does a key's record of this sequence count, if it is the key's newest? Not if its partition was dropped since.
    pub(super) fn keeps(&self, partition: PartitionId, sequence: Sequence) -> bool {
        let claims = self.partitions.get(&partition);
        claims.is_none_or(|claims| sequence > claims.dropped) || broken(Mutation::DropForgotten)
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
            // What an owner before has minted is nothing to this one (PROTOCOL R9).
            let minted = if steps.owner == Some(self.actor) { claims.minted } else { 0 };
            now.minted = now.minted.max(minted);
            now.complete |= claims.complete;
            now.dropped = now.dropped.max(claims.dropped);
        }
        self.hints.extend(steps.held.iter().map(|(hint, targets)| (*hint, targets.clone())));
        steps.handed_over.iter().for_each(|(hint, target)| hand_over(&mut self.hints, *hint, *target));
    }
}

impl Steps {
    /// Partitions that the stretch has dropped, and where.
    pub(super) fn dropped(&self) -> impl Iterator<Item = (PartitionId, Sequence)> + '_ {
        let all = self.partitions.iter().map(|(partition, steps)| (*partition, steps.claims.dropped));
        all.filter(|(_, dropped)| *dropped > Sequence(0))
    }

    /// Adds a record of a log whose owner is `actor`; they must come in ascending order.
    pub(super) fn note(&mut self, actor: Actor, sequence: Sequence, record: &Record) {
        if self.owner.replace(actor).is_some_and(|before| before != actor) {
            self.partitions.values_mut().for_each(|steps| steps.claims.minted = 0);
        }
        let steps = self.partitions.entry(record.partition).or_default();
        steps.claims.play(actor, &record.body);
        match &record.body {
            Body::Reset { .. } => steps.since = Since::Reset,
            Body::Drop => (steps.since, steps.claims.dropped) = (Since::Reset, sequence),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Key, Random};
    use crate::causal::{Dot, Filled, Object};
    use crate::store::HintBody;

    const OWN: Actor = Actor(7);

    fn record(random: &mut Random, sequence: u64) -> Record {
        let actor = if random.chance(0.7) { OWN } else { Actor(8) };
        let counter = random.between(1, 30);
        let dots = DotSet::from(Dot { actor, counter });
        let key = Key::new("k").unwrap();
        let body = match random.below(9) {
            0 | 1 => Body::Object { key, object: Object::default(), dots, minted: Some(counter) },
            2 => Body::Join { dots },
            3 => Body::Void { dots, minted: counter },
            4 => {
                let targets = (0..random.below(3)).map(NodeId).collect();
                Body::Hint(HintBody { targets, key, state: Filled::default(), dots, minted: Some(counter) })
            }
            5 => Body::HintDone { hint: Sequence(random.below(sequence) + 1), target: NodeId(random.below(2)) },
            6 => Body::Complete,
            7 => Body::Drop,
            _ => Body::Reset { clock: dots },
        };
        Record { partition: PartitionId(random.below(3) as u32), body }
    }

    #[test]
    fn stretches_amount_to_their_records_one_by_one() {
        for seed in 0..300 {
            let random = &mut Random::from_seed(seed);
            let birth = if random.chance(0.5) { Birth::Complete } else { Birth::Filling };
            let mut singly = ClockTracker::new(OWN, birth);
            let mut by_stretch = singly.clone();
            let mut stretch = Steps::default();
            for sequence in 1..60 {
                let record = record(random, sequence);
                let mut one = Steps::default();
                one.note(OWN, Sequence(sequence), &record);
                singly.apply(&one);
                stretch.note(OWN, Sequence(sequence), &record);
                if random.chance(0.2) {
                    by_stretch.apply(&std::mem::take(&mut stretch));
                }
            }
            by_stretch.apply(&stretch);
            assert_eq!(by_stretch, singly, "seed {seed}");
        }
    }

    #[test]
    fn a_reset_voids_what_was_claimed_before() {
        let dots = |counter| DotSet::from(Dot { actor: OWN, counter });
        let note = |steps: &mut Steps, at, body| {
            steps.note(OWN, Sequence(at), &Record { partition: PartitionId(0), body });
        };
        let mut tracker = ClockTracker::new(OWN, Birth::Complete);
        let mut before = Steps::default();
        note(&mut before, 1, Body::Void { dots: dots(5), minted: 5 });
        tracker.apply(&before);
        let mut after = Steps::default();
        note(&mut after, 2, Body::Join { dots: dots(9) });
        note(&mut after, 3, Body::Reset { clock: dots(2) });
        tracker.apply(&after);
        let expected = Claims { clock: dots(2), minted: 5, complete: false, dropped: Sequence(0) };
        assert_eq!(tracker.partitions[&PartitionId(0)], expected);
    }
}
