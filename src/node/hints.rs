//! Writes held for primaries that could not be reached. A hint is a copy: it goes only when its target
//! says that it is durable there (PROTOCOL R5).

use super::appends::{After, Apply};
use super::loads::{HintUse, Look, UpdateStep};
use super::shard::{Shard, Turn};
use super::timers::Timer;
use super::{Notice, Timings};
use crate::base::{Key, Mutation, NodeId, Time, broken};
use crate::causal::{Filled, Outline};
use crate::replication::{Message, StoreReply};
use crate::ring::PartitionId;
use crate::store::{Body, HintBody, Place, Published, RecoveredHint, Sequence};
use std::collections::{BTreeMap, BTreeSet};

/// Hints on their way to one target at a time: a returning node is refilled steadily, not flooded.
const MAX_DRAINING_PER_TARGET: usize = 64;

/// The hints of one shard. Values stay on disk.
#[derive(Debug, Default)]
pub(super) struct Hints {
    hints: BTreeMap<Sequence, Hint>,
    by_key: BTreeMap<Key, BTreeSet<Sequence>>,
    /// Appended and not durable yet, by append: a fallback's next write of the key builds on them.
    appended: BTreeMap<u64, (Key, Outline)>,
    /// Hints each target still needs and that are not on their way to it.
    queues: BTreeMap<NodeId, BTreeSet<Sequence>>,
    /// On their way: by request, to whom, since when.
    draining: BTreeMap<u64, (Sequence, NodeId, Time)>,
    jobs: BTreeMap<u64, HintJob>,
    bytes: u64,
    /// Some hint is to be inherited anew.
    disinherited: bool,
}

#[derive(Debug)]
struct Hint {
    partition: PartitionId,
    key: Key,
    targets: BTreeSet<NodeId>,
    /// Owners that must have it in place of targets that are none any more, and do not yet.
    heirs: BTreeSet<NodeId>,
    /// Targets that own nothing by the newest version.
    orphans: BTreeSet<NodeId>,
    /// The layout version under which this was decided.
    inherited: u64,
    outline: Outline,
    place: Place,
}

/// A reader is shown the merge of all hints of a key.
#[derive(Debug)]
struct HintJob {
    partition: PartitionId,
    key: Key,
    look: Look,
    waiting: usize,
    merged: Option<Filled>,
}

impl Hint {
    fn is_for(&self, node: NodeId) -> bool {
        self.heirs.contains(&node) || (self.targets.contains(&node) && !self.orphans.contains(&node))
    }
}

impl Hints {
    /// Below the cap. At the cap new hints are refused; none is ever dropped for room.
    pub(super) fn has_room(&self, timings: &Timings) -> bool {
        self.bytes < timings.hint_bytes
    }

    /// None is held, and none is on its way to the disk.
    pub(super) fn is_empty(&self) -> bool {
        self.hints.is_empty() && self.appended.is_empty()
    }

    /// Hints and bytes held for each target.
    pub(super) fn held(&self) -> BTreeMap<NodeId, (u64, u64)> {
        let mut held: BTreeMap<NodeId, (u64, u64)> = BTreeMap::new();
        for hint in self.hints.values() {
            for target in hint.targets.union(&hint.heirs) {
                let (count, bytes) = held.entry(*target).or_default();
                *count += 1;
                *bytes += u64::from(hint.place.length);
            }
        }
        held
    }

    pub(super) fn appended(&mut self, append: u64, hint: &HintBody) {
        self.appended.insert(append, (hint.key.clone(), hint.state.outline()));
    }

    pub(super) fn void_appended(&mut self) {
        self.appended.clear();
    }

    pub(super) fn durable(
        &mut self,
        append: u64,
        sequence: Sequence,
        partition: PartitionId,
        hint: &HintBody,
        place: Place,
    ) {
        self.appended.remove(&append);
        let targets = hint.targets.iter().copied().collect();
        let outline = hint.state.outline();
        self.hold(
            sequence,
            Hint {
                partition,
                key: hint.key.clone(),
                targets,
                heirs: BTreeSet::new(),
                orphans: BTreeSet::new(),
                inherited: 0,
                outline,
                place,
            },
        );
    }

    /// A hint that the store had when it opened.
    pub(super) fn recover(&mut self, sequence: Sequence, hint: RecoveredHint) {
        let RecoveredHint { partition, targets, key, outline, place, .. } = hint;
        self.hold(
            sequence,
            Hint {
                partition,
                key,
                targets: targets.into_iter().collect(),
                heirs: BTreeSet::new(),
                orphans: BTreeSet::new(),
                inherited: 0,
                outline,
                place,
            },
        );
    }

    fn hold(&mut self, sequence: Sequence, hint: Hint) {
        self.bytes += u64::from(hint.place.length);
        self.by_key.entry(hint.key.clone()).or_default().insert(sequence);
        for target in &hint.targets {
            self.queues.entry(*target).or_default().insert(sequence);
        }
        self.hints.insert(sequence, hint);
    }

    /// Where an open hint's record lies.
    pub(super) fn place_of(&self, sequence: Sequence) -> Option<Place> {
        self.hints.get(&sequence).map(|hint| hint.place)
    }

    /// Who has not got a hint yet.
    pub(super) fn targets_of(&self, sequence: Sequence) -> Vec<NodeId> {
        self.hints.get(&sequence).map(|hint| hint.targets.iter().copied().collect()).unwrap_or_default()
    }

    /// Compaction has copied a hint's record.
    pub(super) fn relocate(&mut self, sequence: Sequence, from: Place, to: Place) {
        if let Some(hint) = self.hints.get_mut(&sequence).filter(|hint| hint.place.is(&from)) {
            hint.place = to;
        }
    }

    /// A target has its hint durably, and the log says so.
    pub(super) fn done(&mut self, sequence: Sequence, target: NodeId) {
        if let Some(queue) = self.queues.get_mut(&target) {
            queue.remove(&sequence);
        }
        let Some(hint) = self.hints.get_mut(&sequence) else { return };
        hint.targets.remove(&target);
        if hint.targets.is_empty()
            && let Some(hint) = self.hints.remove(&sequence)
        {
            self.bytes = self.bytes.saturating_sub(u64::from(hint.place.length));
            if let Some(of_key) = self.by_key.get_mut(&hint.key) {
                of_key.remove(&sequence);
                if of_key.is_empty() {
                    self.by_key.remove(&hint.key);
                }
            }
        }
    }

    /// What the hints of a key hold and have seen, durable or on their way.
    pub(super) fn outline_of(&self, key: &Key) -> Outline {
        let durable = self.by_key.get(key).into_iter().flatten();
        let durable = durable.filter_map(|sequence| self.hints.get(sequence)).map(|hint| &hint.outline);
        let appended = self.appended.values().filter(|(of, _)| of == key).map(|(_, outline)| outline);
        durable.chain(appended).fold(Outline::default(), Outline::merge)
    }

    /// A target still needs a hint, as far as the log knows: it is sent again.
    pub(super) fn queue(&mut self, sequence: Sequence, target: NodeId) {
        let Some(hint) = self.hints.get_mut(&sequence) else { return };
        if hint.is_for(target) {
            self.queues.entry(target).or_default().insert(sequence);
        } else if hint.orphans.contains(&target) {
            // That its heirs have it is not in the log: they are asked again.
            hint.inherited = 0;
            self.disinherited = true;
        }
    }

    /// A target came back: what was on its way to it is sent again.
    pub(super) fn retry(&mut self, target: NodeId) {
        self.requeue(|_, to, _| to == target);
    }

    fn requeue(&mut self, which: impl Fn(Sequence, NodeId, Time) -> bool) {
        let (queues, hints) = (&mut self.queues, &self.hints);
        self.draining.retain(|_, (sequence, target, since)| {
            let again = which(*sequence, *target, *since);
            if again && hints.get(sequence).is_some_and(|hint| hint.is_for(*target)) {
                queues.entry(*target).or_default().insert(*sequence);
            }
            !again
        });
    }
}

impl Shard {
    /// Sends what can be sent, and looks again later.
    pub(super) fn drain_hints(&mut self, turn: &mut Turn<'_>) {
        let (now, patience) = (turn.now.time, self.timings.hint_patience);
        if std::mem::take(&mut self.hints.disinherited) {
            self.inherit_hints(turn);
        }
        self.hints.requeue(|_, _, since| now.since(since) > patience);
        let targets: Vec<NodeId> = self.hints.queues.keys().copied().filter(|node| self.view.is_up(*node)).collect();
        for target in targets {
            let on_their_way = self.hints.draining.values().filter(|(_, to, _)| *to == target).count();
            for _ in on_their_way..MAX_DRAINING_PER_TARGET {
                let Some(sequence) = self.hints.queues.get_mut(&target).and_then(BTreeSet::pop_first) else { break };
                self.drain_hint(turn, sequence, target);
            }
        }
        self.hints.queues.retain(|_, queue| !queue.is_empty());
        self.timers.set(now + self.timings.hint_interval, Timer::Hints);
    }

    fn drain_hint(&mut self, turn: &mut Turn<'_>, sequence: Sequence, target: NodeId) {
        let Some(hint) = self.hints.hints.get(&sequence) else { return };
        let (partition, place) = (hint.partition, hint.place);
        if broken(Mutation::DropHintEarly) {
            return self.hint_done(turn, partition, sequence, target);
        }
        let request = self.number();
        self.hints.draining.insert(request, (sequence, target, turn.now.time));
        self.load_hint(turn, partition, (sequence, place), HintUse::Drain { request, target });
    }

    pub(super) fn hint_loaded(
        &mut self,
        turn: &mut Turn<'_>,
        sequence: Sequence,
        body: Option<HintBody>,
        use_: HintUse,
    ) {
        match use_ {
            HintUse::Drain { request, target } => {
                // An unreadable hint waits like one that was lost on the way.
                let Some(HintBody { key, state, dots, .. }) = body else { return };
                if target == self.me.node {
                    return self.keep_own_hint(
                        turn,
                        sequence,
                        request,
                        Apply { key, state, dots, after: After::Nothing },
                    );
                }
                let layout = self.view.layouts.newest().version;
                turn.send(vec![target], Message::Replicate { request, key, state, dots, hint_for: Vec::new(), layout });
                if broken(Mutation::HintDropOnSend)
                    && let Some(hint) = self.hints.hints.get(&sequence)
                {
                    let partition = hint.partition;
                    self.hint_done(turn, partition, sequence, target);
                }
            }
            HintUse::Serve { job } => self.hint_shown(turn, job, body.map(|hint| hint.state)),
        }
    }

    /// A target answers a hint.
    pub(super) fn hint_answered(&mut self, turn: &mut Turn<'_>, from: NodeId, request: u64, reply: &StoreReply) {
        let Some((sequence, target, _)) = self.hints.draining.get(&request).copied() else { return };
        if target != from || !matches!(reply, StoreReply::Durable { .. }) {
            return;
        }
        self.hints.draining.remove(&request);
        let Some(hint) = self.hints.hints.get(&sequence) else { return };
        let partition = hint.partition;
        if hint.heirs.contains(&target) {
            self.heir_has(turn, sequence, target);
        } else if self.view.layouts.newest().is_primary(partition, target) {
            self.hint_done(turn, partition, sequence, target);
        }
        // Else it is about to give the partition up, and its heirs do not all have it yet.
        self.timers.set(turn.now.time, Timer::Hints);
    }

    /// The layouts have changed, or a hint came from someone who did not know: one for a node that owns nothing by the
    /// newest version goes to all owners by it (PROTOCOL R5), at once, since the other may have said already that it has
    /// nothing of its own. The log learns of it when the last of them has it; until then every opening begins anew.
    pub(super) fn inherit_hints(&mut self, turn: &mut Turn<'_>) {
        let layouts = std::sync::Arc::clone(&self.view.layouts);
        let newest = layouts.newest();
        let Hints { hints, queues, draining, .. } = &mut self.hints;
        for (sequence, hint) in hints.iter_mut().filter(|(_, hint)| hint.inherited != newest.version) {
            hint.inherited = newest.version;
            let (owners, orphans): (Vec<NodeId>, Vec<NodeId>) =
                hint.targets.iter().partition(|target| newest.is_primary(hint.partition, **target));
            hint.heirs.clear();
            if !orphans.is_empty() {
                turn.notice(Notice::HintInherited);
                hint.heirs.extend(newest.primaries(hint.partition));
            }
            for orphan in &orphans {
                if let Some(queue) = queues.get_mut(orphan) {
                    queue.remove(sequence);
                }
            }
            hint.orphans = orphans.into_iter().collect();
            for node in owners.iter().chain(&hint.heirs) {
                let on_its_way = draining.values().any(|(of, to, _)| (of, to) == (sequence, node));
                if !on_its_way {
                    queues.entry(*node).or_default().insert(*sequence);
                }
            }
        }
    }

    /// An heir has the hint durably; after the last the targets that are owners no more are done with.
    fn heir_has(&mut self, turn: &mut Turn<'_>, sequence: Sequence, heir: NodeId) {
        let newest = std::sync::Arc::clone(self.view.layouts.newest());
        let Some(hint) = self.hints.hints.get_mut(&sequence) else { return };
        hint.heirs.remove(&heir);
        let (partition, last) = (hint.partition, hint.heirs.is_empty());
        let done = |target: &NodeId| *target == heir || (last && !newest.is_primary(partition, *target));
        let done: Vec<NodeId> = hint.targets.iter().copied().filter(done).collect();
        for target in done {
            self.hint_done(turn, partition, sequence, target);
        }
    }

    fn hint_done(&mut self, turn: &mut Turn<'_>, partition: PartitionId, hint: Sequence, target: NodeId) {
        self.append(turn, partition, Body::HintDone { hint, target }, Published::default(), After::HintDone);
    }

    /// This node has become an owner of what it holds a hint of.
    fn keep_own_hint(&mut self, turn: &mut Turn<'_>, sequence: Sequence, request: u64, apply: Apply) {
        let Some(hint) = self.hints.hints.get(&sequence) else { return };
        let (partition, key) = (hint.partition, apply.key.clone());
        let apply = Apply { after: After::HintKept { request }, ..apply };
        self.update(turn, partition, &key, UpdateStep::Apply(apply));
    }

    /// What a hint holds is in this node's own table, durably.
    pub(super) fn hint_kept(&mut self, turn: &mut Turn<'_>, request: u64) {
        let Some((sequence, target, _)) = self.hints.draining.remove(&request) else { return };
        self.heir_has(turn, sequence, target);
    }

    /// Shows a reader what the hints of a key hold: a fallback stands in with its hints.
    pub(super) fn look_hints(&mut self, turn: &mut Turn<'_>, partition: PartitionId, key: &Key, look: Look) {
        let sequences = self.hints.by_key.get(key).cloned().unwrap_or_default();
        let places: Vec<(Sequence, Place)> =
            sequences.into_iter().filter_map(|s| self.hints.hints.get(&s).map(|hint| (s, hint.place))).collect();
        if places.is_empty() {
            return self.show(turn, partition, Some(key.clone()), Some(Filled::default()), look);
        }
        let job = self.number();
        let merged = Some(Filled::default());
        self.hints.jobs.insert(job, HintJob { partition, key: key.clone(), look, waiting: places.len(), merged });
        for hint in places {
            self.load_hint(turn, partition, hint, HintUse::Serve { job });
        }
    }

    fn hint_shown(&mut self, turn: &mut Turn<'_>, id: u64, state: Option<Filled>) {
        let Some(job) = self.hints.jobs.get_mut(&id) else { return };
        job.waiting -= 1;
        job.merged = job.merged.take().zip(state).map(|(merged, state)| merged.merge(&state));
        if job.waiting == 0
            && let Some(HintJob { partition, key, look, merged, .. }) = self.hints.jobs.remove(&id)
        {
            self.show(turn, partition, Some(key), merged, look);
        }
    }
}
