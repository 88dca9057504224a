//! The coordinator of a read: ask R, hedge, merge, answer, repair.

use super::Notice;
use super::appends::{After, Apply};
use super::loads::{Look, UpdateStep};
use super::shard::{Origin, Shard, Turn};
use super::timers::Timer;
use crate::base::{Key, NodeId, Time};
use crate::causal::{DotSet, Filled};
use crate::replication::{
    Command, Failure, Message, Options, Outcome, ReadReply, ReadResult, ReadTally, Sloppiness, Want,
};
use crate::ring::{Layout, PartitionId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One read being coordinated.
#[derive(Debug)]
pub(super) struct Read {
    origin: Origin,
    key: Key,
    partition: PartitionId,
    options: Options,
    tally: ReadTally,
    /// Nodes not asked yet, last first: primaries, then fallbacks.
    unasked: Vec<NodeId>,
    /// When each was asked.
    asked: BTreeMap<NodeId, Time>,
    hinted: usize,
    own: OwnState,
    /// The layout they are asked by.
    layout: Arc<Layout>,
    /// The layouts' revision under which it began.
    pub(super) revision: u64,
}

/// Where the coordinator's own answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OwnState {
    NotWanted,
    OnItsWay,
    Here,
}

impl Shard {
    pub(super) fn begin_read(&mut self, turn: &mut Turn<'_>, origin: Origin, command: Command) {
        let Command { key, options, .. } = command;
        let partition = self.view.layout().partitioning.of(&key);
        let replicas = self.view.layout().primaries(partition).len();
        let Some(required) = options.r.of(replicas) else {
            return turn.fail(origin, Failure::QuorumTooLarge { replicas });
        };
        let mut unasked = self.readable(partition, options.sloppiness, turn.now.time);
        if unasked.len() < required {
            return turn.fail(origin, Failure::TooFewReplicas { required, reachable: unasked.len() });
        }
        let own_first = unasked.first() == Some(&self.me.node);
        unasked.reverse();
        if own_first {
            unasked.pop();
        }
        let id = self.number();
        self.timers.set(turn.now.time + Duration::from_millis(options.timeout_ms), Timer::ReadDeadline(id));
        let (tally, asked) = (ReadTally::new(required), BTreeMap::new());
        let (own, revision, layout) = (OwnState::NotWanted, self.view.layouts.revision, Arc::clone(self.view.layout()));
        let read = Read { origin, key, partition, options, tally, unasked, asked, hinted: 0, own, layout, revision };
        self.reads.insert(id, read);
        if own_first {
            // Its own state first: what it has, the others need not send.
            self.ask_self(turn, id);
        } else {
            self.ask_replicas(turn, id, required);
        }
    }

    fn ask_self(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(read) = self.reads.get_mut(&id) else { return };
        read.own = OwnState::OnItsWay;
        let (partition, key) = (read.partition, read.key.clone());
        if self.is_replica(partition) {
            self.look(turn, partition, &key, Look::Own { read: id });
        } else {
            self.look_hints(turn, partition, &key, Look::Own { read: id });
        }
    }

    /// Whom a read may ask, in order: itself if it is a complete primary, primaries, fallbacks.
    fn readable(&mut self, partition: PartitionId, sloppiness: Sloppiness, now: Time) -> Vec<NodeId> {
        let layout = Arc::clone(&self.view);
        let layout = layout.layout();
        let me = self.me.node;
        let mut nodes = Vec::new();
        if self.is_primary(partition) && self.replica(partition).counts() {
            nodes.push(me);
        }
        nodes.extend(self.askable(layout.primaries(partition), now));
        if sloppiness == Sloppiness::Sloppy {
            let fallbacks = layout.fallbacks(partition);
            nodes.extend(fallbacks.contains(&me).then_some(me));
            nodes.extend(self.askable(fallbacks, now));
        }
        nodes
    }

    fn ask_replicas(&mut self, turn: &mut Turn<'_>, id: u64, count: usize) {
        let Some(read) = self.reads.get_mut(&id) else { return };
        let rest = read.unasked.len().saturating_sub(count);
        let mut next = read.unasked.split_off(rest);
        let own = next.iter().position(|node| *node == self.me.node).map(|at| next.remove(at));
        next.iter().for_each(|node| {
            read.asked.insert(*node, turn.now.time);
        });
        let (key, first) = (read.key.clone(), next.first().copied());
        let (known, timeout_ms) = (read.tally.known(), read.options.timeout_ms);
        next.iter().for_each(|node| self.peers.asked(*node, turn.now.time));
        let layout = read.layout.version;
        turn.send(next, Message::Read { request: id, key, known, want: Want::Values, layout });
        let hedge = self.hedge_after(first, timeout_ms);
        self.timers.set(turn.now.time + hedge, Timer::ReadHedge(id));
        if own.is_some() {
            self.ask_self(turn, id);
        }
    }

    /// The node's own state, or an error.
    pub(super) fn own_read(&mut self, turn: &mut Turn<'_>, id: u64, state: Option<Filled>) {
        let me = self.me.node;
        let Some(read) = self.reads.get_mut(&id) else { return };
        read.own = OwnState::Here;
        let Some(state) = state else { return self.ask_missing(turn, id) };
        read.tally.count_own(me, &state);
        if !read.layout.is_primary(read.partition, me) {
            read.hinted += 1;
        }
        self.settle_read(turn, id);
        self.ask_missing(turn, id);
    }

    /// Asks as many as are still needed beyond those whose answers are awaited; gives up when nobody is
    /// left to ask and nobody's answer is awaited.
    fn ask_missing(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(read) = self.reads.get(&id) else { return };
        let own = usize::from(read.own == OwnState::OnItsWay);
        let awaited = own + read.asked.keys().filter(|node| !read.tally.has(**node)).count();
        let missing = read.tally.required().saturating_sub(read.tally.answers() + awaited);
        if missing > 0 && !read.unasked.is_empty() {
            return self.ask_replicas(turn, id, missing);
        }
        if missing > 0
            && awaited == 0
            && let Some(read) = self.end_read(id)
        {
            let (required, reachable) = (read.tally.required(), read.tally.answers());
            turn.fail(read.origin, Failure::TooFewReplicas { required, reachable });
        }
    }

    pub(super) fn read_answered(&mut self, turn: &mut Turn<'_>, from: NodeId, id: u64, reply: ReadReply) {
        if self.writes.contains_key(&id) {
            return self.context_answered(turn, from, id, reply);
        }
        let Some(read) = self.reads.get_mut(&id) else { return };
        let Some(asked_at) = read.asked.get(&from).copied() else { return };
        self.peers.answered(from, turn.now.time.since(asked_at));
        if matches!(reply, ReadReply::Same | ReadReply::SameVersions { .. }) {
            turn.notice(Notice::ReadAnsweredSame);
        }
        if !read.tally.answer(from, reply) {
            read.asked.remove(&from);
            return self.ask_missing(turn, id);
        }
        if !read.layout.is_primary(read.partition, from) {
            read.hinted += 1;
        }
        self.settle_read(turn, id);
        self.ask_missing(turn, id);
    }

    pub(super) fn hedge_read(&mut self, turn: &mut Turn<'_>, id: u64) {
        if self.reads.get(&id).is_some_and(|read| !read.unasked.is_empty()) {
            turn.notice(Notice::ReadHedged);
            self.ask_replicas(turn, id, 1);
        }
    }

    /// Answers once enough have answered, and pushes the merge to whoever was behind.
    fn settle_read(&mut self, turn: &mut Turn<'_>, id: u64) {
        if self.reads.get(&id).is_none_or(|read| !read.tally.is_enough()) {
            return;
        }
        let Some(read) = self.end_read(id) else { return };
        let behind = read.tally.behind();
        let state = read.tally.merged().clone();
        let (answers, replicas) = (read.tally.answers(), read.layout.primaries(read.partition).len());
        let result = ReadResult { state: state.clone(), answers, replicas, hinted: read.hinted };
        turn.answer(read.origin, Outcome::Read(result));
        self.repair(turn, read.partition, &read.key, &state, &behind);
    }

    /// Nothing more is to come of it.
    fn end_read(&mut self, id: u64) -> Option<Read> {
        self.timers.cancel(Timer::ReadDeadline(id));
        self.timers.cancel(Timer::ReadHedge(id));
        self.reads.remove(&id)
    }

    /// Read repair. The state's own live dots go with it; its context is never handed on as seen dots.
    fn repair(&mut self, turn: &mut Turn<'_>, partition: PartitionId, key: &Key, state: &Filled, behind: &[NodeId]) {
        let primaries = self.replicas(partition);
        let (own, others): (Vec<NodeId>, Vec<NodeId>) =
            behind.iter().filter(|node| primaries.contains(node)).partition(|node| **node == self.me.node);
        if others.is_empty() && own.is_empty() {
            return;
        }
        turn.notice(Notice::ReadRepaired);
        let (key, state, dots) = (key.clone(), state.clone(), DotSet::EMPTY);
        if !own.is_empty() {
            let apply = Apply { key: key.clone(), state: state.clone(), dots: dots.clone(), after: After::Nothing };
            self.update(turn, partition, &key, UpdateStep::Apply(apply));
        }
        let layout = self.view.layouts.newest().version;
        turn.send(others, Message::Replicate { request: 0, key, state, dots, hint_for: Vec::new(), layout });
    }

    pub(super) fn read_overdue(&mut self, turn: &mut Turn<'_>, id: u64) {
        if let Some(read) = self.end_read(id) {
            let (required, answers) = (read.tally.required(), read.tally.answers());
            turn.fail(read.origin, Failure::ReadTimeout { required, answers });
        }
    }
}
