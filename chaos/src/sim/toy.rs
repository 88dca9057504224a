//! The harness's own control: a tiny store that keeps the promises, and the same store with one flaw.
//!
//! Every key carries its whole context, every primary is told everything again and again: too dear to
//! ship, too simple to be wrong. What the checkers say of it is known beforehand.

use super::checkers::Holding;
use super::machine::{Appending, Boot, DiskFaults, Machine, Process};
use dunlin::base::{HybridTime, Key, NodeId, Now, Random, Time};
use dunlin::causal::{Actor, Content, Dot, DotSet, Filled, Object, entry_hash};
use dunlin::node::{Effect, Input, StoreAnswer, View};
use dunlin::replication::{
    Claim, Command, Condition, Failure, Message, Operation, Outcome, ReadReply, ReadResult, StoreReply, Want,
    WriteResult,
};
use dunlin::ring::PartitionId;
use dunlin::store::{Body, Place, Record, Sequence};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const PUSH: Duration = Duration::from_secs(1);

/// What is wrong with a toy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    /// Acknowledges before anything is durable.
    AnswersEarly,
    /// A put's token covers siblings the client has not seen.
    TokenCoversAll,
    /// Reads ask nobody else.
    ReadsAlone,
    /// A time-out is answered as "nothing written".
    TimeoutAsNotWritten,
    /// A write that ran out of time is not answered.
    NeverAnswers,
    /// Replicas keep what they see first.
    NeverPushes,
    /// A merge forgets what the other side has superseded.
    ForgetsContexts,
    /// A value loses its last byte on the disk.
    TearsValues,
}

pub(super) struct ToyMachine {
    log: Rc<RefCell<Vec<Record>>>,
    flaw: Flaw,
}

struct Toy {
    view: Arc<View>,
    actor: Actor,
    minted: u64,
    log: Rc<RefCell<Vec<Record>>>,
    durable: BTreeMap<Key, Filled>,
    pending: BTreeMap<Key, Filled>,
    jobs: BTreeMap<u64, Job>,
    appends: BTreeMap<u64, Then>,
    next: u64,
    push_at: Time,
    flaw: Flaw,
}

struct Job {
    origin: Origin,
    command: Command,
    stage: Stage,
    state: Filled,
    from: BTreeSet<NodeId>,
    until: Time,
}

#[derive(Clone, Copy)]
enum Origin {
    Client(u64),
    Peer(NodeId, u64),
}

enum Stage {
    Forwarded,
    Gather,
    Store(Box<WriteResult>),
}

enum Then {
    Own(u64, Key),
    Replica(NodeId, u64, Key),
}

impl ToyMachine {
    pub(super) fn new(flaw: Flaw) -> Self {
        Self { log: Rc::default(), flaw }
    }
}

impl Machine for ToyMachine {
    fn boot(&mut self, boot: &Boot) -> Option<Box<dyn Process>> {
        let mut toy = Toy {
            view: boot.view.clone(),
            actor: Actor(boot.actor),
            minted: 0,
            log: self.log.clone(),
            durable: BTreeMap::new(),
            pending: BTreeMap::new(),
            jobs: BTreeMap::new(),
            appends: BTreeMap::new(),
            // Unique across processes: late answers to an earlier one's requests are on their way.
            next: boot.epoch >> 16,
            push_at: if self.flaw == Flaw::NeverPushes { Time::NEVER } else { Time(0) },
            flaw: self.flaw,
        };
        for record in self.log.borrow().iter() {
            if let Body::Object { key, object, .. } = &record.body {
                toy.durable.insert(key.clone(), object.clone().fill(&DotSet::EMPTY));
            }
        }
        toy.pending.clone_from(&toy.durable);
        Some(Box::new(toy))
    }
    fn crash(&mut self, _: &mut Random) {}
    fn end_process(&mut self) {}
    fn rot(&mut self, _: &mut Random) -> bool {
        false
    }
    fn wipe(&mut self) {
        self.log.borrow_mut().clear();
    }
    fn set_faults(&mut self, _: DiskFaults) {}
}

impl Process for Toy {
    fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Command { request, command } => self.command(now, Origin::Client(request), command, effects),
            Input::Message { from, message } => self.message(now, from, message, effects),
            Input::Store { id, answer: StoreAnswer::Appended { .. }, .. } => self.stored(id, effects),
            Input::Store { shard, id, answer: StoreAnswer::AppendFailed } => {
                self.appends.remove(&id);
                self.pending.clone_from(&self.durable);
                effects.push(Effect::Resume { shard });
            }
            Input::View(view) => self.view = view,
            Input::List { .. }
            | Input::Listed { .. }
            | Input::Store { .. }
            | Input::Relocated(_)
            | Input::Space(_)
            | Input::Tick => {}
            Input::Damaged(_) | Input::Renewed { .. } | Input::Lost(_) => {}
        }
        self.expire(now.time, effects);
        if now.time >= self.push_at {
            self.push_at = now.time + PUSH;
            let keys: Vec<Key> = self.durable.keys().cloned().collect();
            keys.into_iter().for_each(|key| self.replicate(0, &key, effects));
        }
    }
    fn deadline(&self) -> Time {
        self.jobs.values().map(|job| job.until).chain([self.push_at]).min().unwrap_or(Time::NEVER)
    }
    fn append(&mut self, records: &[Record]) -> Appending {
        let mut log = self.log.borrow_mut();
        log.extend(records.iter().cloned());
        if self.flaw == Flaw::TearsValues {
            for record in log.iter_mut().rev().take(records.len()) {
                if let Body::Object { object, .. } = &mut record.body {
                    for version in &mut object.versions {
                        version.content.value.truncate(version.content.value.len() - 1);
                    }
                }
            }
        }
        let place = |at| (Place { segment: 1, offset: at as u32, length: 1 }, Sequence(at as u64));
        Appending::Durable((log.len() - records.len()..log.len()).map(place).collect())
    }
    fn read(&mut self, place: Place) -> Option<Record> {
        self.log.borrow().get(place.offset as usize).cloned()
    }
    fn hints(&mut self) -> usize {
        0
    }
    fn holding(&self, partition: PartitionId) -> Option<Holding> {
        let mine: Vec<(&Key, &Filled)> =
            self.durable.iter().filter(|(key, _)| self.partition(key) == partition).collect();
        let mut clock = DotSet::default();
        mine.iter().for_each(|(_, state)| clock.union(&state.context));
        Some(Holding {
            node: 0,
            clock_hash: clock.hash64(),
            complete: true,
            data_hash: mine.iter().fold(0, |sum, (key, state)| sum ^ entry_hash(key, &state.versions)),
            leftovers: 0,
            keys: mine.len(),
        })
    }
    fn is_complete(&mut self) -> bool {
        true
    }
}

impl Toy {
    fn partition(&self, key: &Key) -> PartitionId {
        self.view.layout().partitioning.of(key)
    }

    fn primaries(&self, key: &Key) -> Vec<NodeId> {
        self.view.layout().primaries(self.partition(key)).to_vec()
    }

    fn others(&self, key: &Key) -> Vec<NodeId> {
        self.primaries(key).into_iter().filter(|node| *node != self.view.me).collect()
    }

    fn command(&mut self, now: Now, origin: Origin, command: Command, effects: &mut Vec<Effect>) {
        let number = self.number();
        let until = now.time + Duration::from_millis(command.options.timeout_ms);
        let primaries = self.primaries(&command.key);
        let mut job =
            Job { origin, command, stage: Stage::Gather, state: Filled::default(), from: BTreeSet::new(), until };
        if !primaries.contains(&self.view.me) {
            job.stage = Stage::Forwarded;
            let to = primaries.iter().find(|node| self.view.is_up(**node)).or(primaries.first()).copied();
            let message = Message::Forward { request: number, command: job.command.clone(), claim: Claim::Any };
            effects.push(Effect::Send { to: to.into_iter().collect(), message });
            self.jobs.insert(number, job);
            return;
        }
        job.state = self.durable.get(&job.command.key).cloned().unwrap_or_default();
        job.from.insert(self.view.me);
        let (key, to) = (job.command.key.clone(), self.others(&job.command.key));
        self.jobs.insert(number, job);
        effects.push(Effect::Send {
            to,
            message: Message::Read { request: number, key, known: None, want: Want::Values, layout: 1 },
        });
        self.gathered(number, effects);
    }

    fn message(&mut self, now: Now, from: NodeId, message: Message, effects: &mut Vec<Effect>) {
        match message {
            Message::Forward { request, command, .. } => {
                self.command(now, Origin::Peer(from, request), command, effects)
            }
            Message::Forwarded { request, outcome } => {
                if let Some(job) = self.jobs.remove(&request) {
                    finish(job.origin, outcome, effects);
                }
            }
            Message::Read { request, key, .. } => {
                let reply = ReadReply::State(self.durable.get(&key).cloned().unwrap_or_default());
                effects.push(Effect::Send { to: vec![from], message: Message::ReadAnswer { request, reply } });
            }
            Message::ReadAnswer { request, reply: ReadReply::State(state) } => {
                if let Some(job) = self.jobs.get_mut(&request).filter(|job| matches!(job.stage, Stage::Gather)) {
                    job.from.insert(from);
                    job.state = std::mem::take(&mut job.state).merge(&state);
                    self.gathered(request, effects);
                }
            }
            Message::Replicate { request, key, mut state, .. } => {
                if self.flaw == Flaw::ForgetsContexts {
                    state.context = state.live_dots();
                }
                let before = self.pending.get(&key).cloned().unwrap_or_default();
                let merged = before.clone().merge(&state);
                if merged == before && request == 0 {
                    return;
                }
                self.append(Then::Replica(from, request, key.clone()), &key, merged, effects);
            }
            Message::Replicated { request, .. } => {
                if let Some(job) = self.jobs.get_mut(&request) {
                    job.from.insert(from);
                    self.replicated(request, effects);
                }
            }
            _ => {}
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn append(&mut self, then: Then, key: &Key, state: Filled, effects: &mut Vec<Effect>) {
        let id = self.number();
        self.pending.insert(key.clone(), state.clone());
        self.appends.insert(id, then);
        let state_context = state.context.clone();
        let object = Object { versions: state.versions, leftover: state.context };
        let body = Body::Object { key: key.clone(), object, dots: state_context, minted: None };
        effects.push(Effect::Append { shard: 0, id, record: Record { partition: self.partition(key), body } });
    }

    /// Enough have told what they have: answer a read, or write on top of it.
    fn gathered(&mut self, number: u64, effects: &mut Vec<Effect>) {
        let replicas = self.view.layout().copies();
        let Some(job) = self.jobs.get(&number) else { return };
        let needed = job.command.options.r.of(replicas).unwrap_or(replicas);
        let alone = self.flaw == Flaw::ReadsAlone;
        if job.from.len() < needed && !alone {
            return;
        }
        let Operation::Write { content, seen, condition } = job.command.operation.clone() else {
            let answers = if alone { needed } else { job.from.len() };
            let state = job.state.clone();
            return self.finish(number, Outcome::Read(ReadResult { state, answers, replicas, hinted: 0 }), effects);
        };
        let live_hash = job.state.live_hash();
        let holds = match condition {
            Condition::Always => true,
            Condition::Exists => live_hash != 0,
            Condition::Absent => live_hash == 0,
            Condition::LiveHashIn(hashes) => hashes.contains(&live_hash),
        };
        if !holds {
            return self.finish(number, Outcome::PreconditionFailed { live_hash }, effects);
        }
        self.mint(number, content.map(|content| (content.value, content.content_type)), seen, effects);
    }

    fn mint(
        &mut self,
        number: u64,
        content: Option<(bytes::Bytes, String)>,
        seen: Option<DotSet>,
        effects: &mut Vec<Effect>,
    ) {
        self.minted += 1;
        let dot = Dot { actor: self.actor, counter: self.minted };
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let key = job.command.key.clone();
        let base = self.pending.get(&key).cloned().unwrap_or_default().merge(&job.state);
        let seen = seen.unwrap_or_else(|| base.context.clone());
        let content = content.map(|(value, content_type)| Content {
            value,
            content_type,
            metadata: Vec::new(),
            written_at: HybridTime::default(),
            expires_at: None,
        });
        let live: DotSet = content.iter().map(|_| dot).collect();
        let state = base.update(&seen, dot, content);
        let mut context = if self.flaw == Flaw::TokenCoversAll { state.context.clone() } else { seen };
        context.insert(dot);
        let result = WriteResult {
            created: false,
            context,
            live,
            acks: 0,
            replicas: self.view.layout().copies(),
            hinted: 0,
            written_at: HybridTime::default(),
            expires_at: None,
        };
        job.from.clear();
        job.stage = Stage::Store(Box::new(result));
        self.append(Then::Own(number, key.clone()), &key, state, effects);
        if self.flaw == Flaw::AnswersEarly {
            if let Some(job) = self.jobs.get_mut(&number) {
                job.from.extend(self.view.layout().nodes.iter().map(|node| node.id));
            }
            self.replicated(number, effects);
        }
    }

    fn stored(&mut self, id: u64, effects: &mut Vec<Effect>) {
        let Some(then) = self.appends.remove(&id) else { return };
        let (Then::Own(_, key) | Then::Replica(_, _, key)) = &then;
        let state = self.pending.get(key).cloned().unwrap_or_default();
        // Later records of the key are on their way: what is shown must not run ahead of them.
        let later =
            self.appends.values().any(|then| matches!(then, Then::Own(_, k) | Then::Replica(_, _, k) if k == key));
        if !later {
            self.durable.insert(key.clone(), state);
        } else if let Some(record) = self.log.borrow().iter().rev().find_map(|record| match &record.body {
            Body::Object { key: of, object, .. } if of == key => Some(object.clone().fill(&DotSet::EMPTY)),
            _ => None,
        }) {
            self.durable.insert(key.clone(), record);
        }
        match then {
            Then::Own(number, key) => {
                if let Some(job) = self.jobs.get_mut(&number) {
                    job.from.insert(self.view.me);
                }
                self.replicate(number, &key, effects);
                self.replicated(number, effects);
            }
            Then::Replica(to, request, _) if request != 0 => {
                let reply = StoreReply::Durable { actor: self.actor, refilled: Vec::new() };
                effects.push(Effect::Send { to: vec![to], message: Message::Replicated { request, reply } });
            }
            Then::Replica(..) => {}
        }
    }

    fn replicate(&mut self, request: u64, key: &Key, effects: &mut Vec<Effect>) {
        let Some(state) = self.durable.get(key).cloned() else { return };
        let message = Message::Replicate {
            request,
            key: key.clone(),
            state,
            dots: DotSet::EMPTY,
            hint_for: Vec::new(),
            layout: 1,
        };
        effects.push(Effect::Send { to: self.others(key), message });
    }

    fn replicated(&mut self, number: u64, effects: &mut Vec<Effect>) {
        let replicas = self.view.layout().copies();
        let Some(job) = self.jobs.get(&number) else { return };
        let Stage::Store(result) = &job.stage else { return };
        if job.from.len() >= job.command.options.w.of(replicas).unwrap_or(replicas) {
            let result = WriteResult { acks: job.from.len().min(replicas), ..WriteResult::clone(result) };
            self.finish(number, Outcome::Written(result), effects);
        }
    }

    fn finish(&mut self, number: u64, outcome: Outcome, effects: &mut Vec<Effect>) {
        if let Some(job) = self.jobs.remove(&number) {
            finish(job.origin, outcome, effects);
        }
    }

    fn expire(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let late: Vec<u64> = self.jobs.iter().filter(|(_, job)| job.until <= now).map(|(number, _)| *number).collect();
        for number in late {
            let Some(job) = self.jobs.get(&number) else { continue };
            let (required, acks) = (2, job.from.len());
            let is_read = job.command.operation == Operation::Get;
            let outcome = match &job.stage {
                _ if is_read => Outcome::Failed(Failure::ReadTimeout { required, answers: acks }),
                Stage::Gather => Outcome::Failed(Failure::TooFewReplicas { required, reachable: acks }),
                _ if self.flaw == Flaw::TimeoutAsNotWritten => Outcome::Failed(Failure::NotReady),
                _ => Outcome::Failed(Failure::OutcomeUnknown { required, acks, coordinator: None }),
            };
            if self.flaw == Flaw::NeverAnswers && !is_read {
                self.jobs.remove(&number);
            } else {
                self.finish(number, outcome, effects);
            }
        }
    }
}

fn finish(origin: Origin, outcome: Outcome, effects: &mut Vec<Effect>) {
    effects.push(match origin {
        Origin::Client(request) => Effect::Answer { request, outcome },
        Origin::Peer(to, request) => Effect::Send { to: vec![to], message: Message::Forwarded { request, outcome } },
    });
}

#[cfg(test)]
mod tests {
    use super::super::run::run_swarm;
    use super::super::swarm::{Fault, Swarm};
    use super::super::trace::Voice;
    use super::super::{Report, checkers::Broken};
    use super::*;

    /// The toy keeps no hints, lists no keys, keeps one layout, and does not know when a disk is lost.
    fn toy_run(seed: u64, flaw: Flaw) -> Report {
        let mut random = Random::from_seed(seed);
        let mut swarm = Swarm::draw(&mut random);
        for lost in [Fault::Wipe, Fault::Rot, Fault::SyncError] {
            swarm.faults.remove(&lost);
        }
        swarm.listings = 0.0;
        (swarm.layout_changes, swarm.first_nodes, swarm.most_replicas) = (None, swarm.nodes, swarm.replicas);
        run_swarm(seed, swarm, random, &|_, _| Box::new(ToyMachine::new(flaw)), Voice::Quiet)
    }

    #[test]
    fn a_store_that_keeps_the_promises_is_not_accused() {
        for seed in 0..60 {
            let report = toy_run(seed, Flaw::None);
            assert!(report.held(), "{report}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_trace() {
        for seed in 0..10 {
            assert_eq!(toy_run(seed, Flaw::None).trace_hash, toy_run(seed, Flaw::None).trace_hash);
        }
        assert_ne!(toy_run(1, Flaw::None).trace_hash, toy_run(2, Flaw::None).trace_hash);
    }

    #[test]
    fn every_flaw_is_found_within_a_hundred_seeds() {
        let cases = [
            (Flaw::AnswersEarly, "P1"),
            (Flaw::TokenCoversAll, "P2"),
            (Flaw::ReadsAlone, "P3"),
            (Flaw::TimeoutAsNotWritten, "P11"),
            (Flaw::NeverAnswers, "answered in time"),
            (Flaw::NeverPushes, "P4"),
            (Flaw::ForgetsContexts, "P5"),
            (Flaw::TearsValues, "P7"),
        ];
        for (flaw, promise) in cases {
            let broken: Vec<Broken> = (0..100).flat_map(|seed| toy_run(seed, flaw).broken).collect();
            assert!(broken.iter().any(|broken| broken.promise.starts_with(promise)), "{flaw:?}: {broken:?}");
        }
    }
}
