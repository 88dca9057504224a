//! One shard: the partitions `p % shards`, with everything that goes on in them.

use super::appends::Appends;
use super::change::Change;
use super::counting::Counting;
use super::exchange::Exchange;
use super::forwards::Forward;
use super::hints::Hints;
use super::loads::{Load, UpdateStep};
use super::pace::Pace;
use super::peers::Peers;
use super::pulls::PullJob;
use super::reads::Read;
use super::replica::Replica;
use super::timers::{Timer, Timers};
use super::writes::Write;
use super::{Effect, Input, Notice, Presence, Space, StoreAnswer, Timings, View};
use crate::base::limits::{MAX_OPEN_COMMANDS, MAX_TIMEOUT_MS};
use crate::base::{HybridTime, Key, NodeId, Now, Random, Time};
use crate::causal::Actor;
use crate::replication::{Claim, Command, Failure, Message, Operation, Outcome};
use crate::ring::PartitionId;
use crate::store::{Holder, Moved, PartitionTable, Place};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Owns its partitions' states and every command, hint and exchange about them. Shares nothing with
/// the other shards but the marks of which partitions count and when clients came; sees membership and layout as an immutable snapshot.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) me: Identity,
    pub(super) timings: Timings,
    pub(super) view: Arc<View>,
    /// Boxed: what a look-up walks over stays in the processor's cache.
    pub(super) replicas: BTreeMap<PartitionId, Box<Replica>>,
    /// Partitions without a table are complete: the store was born with its cluster.
    pub(super) complete_by_default: bool,
    /// What the replicas say of themselves to the rest of the node.
    pub(super) counting: Counting,
    pub(super) presence: Presence,
    pub(super) appends: Appends,
    pub(super) loads: BTreeMap<u64, Load>,
    /// Steps that wait for their key's object; a key is in here while its load is under way.
    pub(super) updating: BTreeMap<Key, Vec<UpdateStep>>,
    pub(super) writes: BTreeMap<u64, Write>,
    pub(super) reads: BTreeMap<u64, Read>,
    pub(super) forwards: BTreeMap<u64, Forward>,
    pub(super) hints: Hints,
    pub(super) exchange: Exchange,
    pub(super) pull_jobs: BTreeMap<u64, PullJob>,
    pub(super) peers: Peers,
    pub(super) timers: Timers,
    pub(super) random: Random,
    /// Filling peers served, with their new actor and when (PROTOCOL R5).
    pub(super) refilled: BTreeMap<NodeId, (Actor, Time)>,
    pub(super) space: Space,
    pub(super) minting: Minting,
    pub(super) change: Change,
    clock: HybridTime,
    next_number: u64,
}

/// Who this shard is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    pub(super) node: NodeId,
    /// The store's actor.
    pub(super) actor: Actor,
    /// Random per process.
    pub(super) epoch: u64,
    pub(super) shard: usize,
    pub(super) shards: usize,
}

/// What the shards of a node have in common.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) counting: Counting,
    pub(super) presence: Presence,
}

/// Whether this node may hand out dots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Minting {
    Allowed,
    /// Its actor may have forgotten something; the next one is on its way.
    Stopped,
}

/// One call of `handle`: the instant, and where effects go.
pub(super) struct Turn<'a> {
    pub(super) now: Now,
    pub(super) effects: &'a mut Vec<Effect>,
}

/// Who is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Client { request: u64 },
    Peer { node: NodeId, request: u64 },
}

impl Turn<'_> {
    pub(super) fn send(&mut self, to: Vec<NodeId>, message: Message) {
        if !to.is_empty() {
            self.effects.push(Effect::Send { to, message });
        }
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.effects.push(Effect::Notice(notice));
    }

    pub(super) fn answer(&mut self, origin: Origin, outcome: Outcome) {
        match origin {
            Origin::Client { request } => self.effects.push(Effect::Answer { request, outcome }),
            Origin::Peer { node, request } => self.send(vec![node], Message::Forwarded { request, outcome }),
        }
    }

    pub(super) fn fail(&mut self, origin: Origin, failure: Failure) {
        self.answer(origin, Outcome::Failed(failure));
    }
}

/// Furthest into the future another node's hybrid time is followed. Beyond, its clock is broken, and
/// following it would carry the fault on (promise P10).
const FOLLOWED_SKEW_MS: u64 = 60_000;

impl Shard {
    pub(super) fn new(me: Identity, timings: Timings, view: Arc<View>, shared: Shared, mut random: Random) -> Self {
        let Shared { counting, presence } = shared;
        let pace = Pace::new(timings.fill_bytes_per_second / me.shards as u64, presence.clone());
        // Numbers are unique across processes, or a late answer to a dead process' request would be
        // taken for an answer to this one's.
        let next_number = random.u64() >> 16;
        let mut timers = Timers::default();
        timers.set(Time::default(), Timer::Exchange);
        timers.set(Time::default(), Timer::Hints);
        timers.set(Time::default(), Timer::Layouts);
        Self {
            me,
            timings,
            view,
            replicas: BTreeMap::new(),
            complete_by_default: false,
            counting,
            presence,
            appends: Appends::default(),
            loads: BTreeMap::new(),
            updating: BTreeMap::new(),
            writes: BTreeMap::new(),
            reads: BTreeMap::new(),
            forwards: BTreeMap::new(),
            hints: Hints::default(),
            exchange: Exchange::new(pace),
            pull_jobs: BTreeMap::new(),
            peers: Peers::default(),
            timers,
            random,
            refilled: BTreeMap::new(),
            space: Space::default(),
            minting: Minting::Allowed,
            change: Change::default(),
            clock: HybridTime::default(),
            next_number,
        }
    }

    /// One thing happened.
    pub(super) fn handle(&mut self, turn: &mut Turn<'_>, input: Input) {
        self.take_layouts(turn);
        match input {
            Input::Command { request, command } => {
                self.begin(turn, Origin::Client { request }, command, Claim::Complete);
            }
            Input::Message { from, message } => self.message(turn, from, message),
            Input::Store { id, answer, .. } => self.stored(turn, id, answer),
            Input::View(view) => self.change_view(turn, view),
            Input::Relocated(moved) => moved.iter().for_each(|moved| self.relocate(moved)),
            Input::Damaged(partitions) => self.found_damaged(&partitions),
            Input::Renewed { actor } => self.renewed(turn, actor),
            Input::Lost(lost) => self.bury(turn, &lost),
            Input::Space(space) => self.space = space,
            // Of the node as a whole.
            Input::List { .. } | Input::Listed { .. } | Input::Tick => {}
        }
        while let Some(timer) = self.timers.due(turn.now.time) {
            self.timer(turn, timer);
        }
    }

    pub(super) fn deadline(&self) -> Time {
        self.timers.next()
    }

    fn message(&mut self, turn: &mut Turn<'_>, from: NodeId, message: Message) {
        self.peers.heard(from);
        match message {
            Message::Forward { request, command, claim } => {
                self.begin(turn, Origin::Peer { node: from, request }, command, claim);
            }
            Message::Forwarded { request, outcome } => self.forwarded(turn, from, request, outcome),
            Message::Read { request, key, known, want, layout } => {
                self.serve_read(turn, super::serving::Question { from, request, key, known, want, layout });
            }
            Message::ReadAnswer { request, reply } => self.read_answered(turn, from, request, reply),
            Message::Replicate { request, key, state, dots, hint_for, layout } => {
                let incoming = super::serving::Incoming { from, request, key, state, dots, layout };
                self.serve_replicate(turn, incoming, hint_for);
            }
            Message::Replicated { request, reply } => self.replicated(turn, from, request, reply),
            Message::ClockQuery { session, clocks } => self.serve_clocks(turn, from, session, &clocks),
            Message::ClockAnswer { session, source, clocks } => {
                self.clocks_answered(turn, from, session, source, clocks);
            }
            Message::Pull { session, partition, dots, listing_from, filling } => {
                let asker = super::pulls::Asker { node: from, session, filling };
                self.serve_pull(turn, asker, partition, &dots, listing_from);
            }
            Message::Pulled { session, partition: _, source, objects, unplaced, next, failed, voids, clients } => {
                let batch = super::exchange::Batch { objects, unplaced, next, failed, voids, clients };
                self.pulled(turn, from, session, source, batch);
            }
            // Of the node as a whole.
            Message::List { .. } | Message::Listed { .. } | Message::Layout(_) => {}
        }
    }

    fn stored(&mut self, turn: &mut Turn<'_>, id: u64, answer: StoreAnswer) {
        match answer {
            StoreAnswer::Appended { place, sequence } => self.appended(turn, id, place, sequence),
            StoreAnswer::AppendFailed => self.append_failed(turn, id),
            StoreAnswer::Read(record) => self.loaded(turn, id, Some(record)),
            StoreAnswer::ReadFailed => self.loaded(turn, id, None),
        }
    }

    fn timer(&mut self, turn: &mut Turn<'_>, timer: Timer) {
        match timer {
            Timer::Exchange => self.exchange_round(turn),
            Timer::Fill => self.fill_on(turn),
            Timer::Session(id) => self.session_overdue(turn, id),
            Timer::Hints => self.drain_hints(turn),
            Timer::Layouts => self.look_at_layouts(turn),
            Timer::WriteContexts(id) => self.contexts_overdue(turn, id),
            Timer::WriteHint(id) => self.hint_unacknowledged(turn, id),
            Timer::WriteDeadline(id) => self.write_overdue(turn, id),
            Timer::ReadHedge(id) => self.hedge_read(turn, id),
            Timer::ReadDeadline(id) => self.read_overdue(turn, id),
            Timer::ForwardDeadline(id) => self.forward_overdue(turn, id),
        }
    }

    /// A command begins: a client's here, or one that another node passes on.
    fn begin(&mut self, turn: &mut Turn<'_>, origin: Origin, command: Command, claim: Claim) {
        if self.writes.len() + self.reads.len() + self.forwards.len() >= MAX_OPEN_COMMANDS {
            turn.notice(Notice::Overloaded);
            return turn.fail(origin, Failure::Overloaded);
        }
        match command.operation {
            Operation::Get => self.begin_read(turn, origin, command),
            Operation::Write { .. } => self.begin_write(turn, origin, command, claim),
        }
    }

    fn change_view(&mut self, turn: &mut Turn<'_>, view: Arc<View>) {
        let before = std::mem::replace(&mut self.view, view);
        let nodes: BTreeSet<NodeId> = before.peers.keys().chain(self.view.peers.keys()).copied().collect();
        for node in nodes {
            let (was, is) = (before.epoch_of(node), self.view.epoch_of(node));
            if was == is {
                continue;
            }
            // A process that was replaced between two looks has taken its open requests with it.
            if was.is_some() {
                self.peer_down(turn, node);
            }
            if is.is_some() {
                self.hints.retry(node);
            }
        }
        self.take_layouts(turn);
        self.timers.set(turn.now.time, Timer::Hints);
    }

    fn peer_down(&mut self, turn: &mut Turn<'_>, node: NodeId) {
        self.end_forwards_to(turn, node);
        self.abort_sessions_with(turn, node);
        let open: Vec<u64> = self.writes.keys().copied().collect();
        for id in open {
            self.stand_in_for(turn, id, node);
        }
    }

    fn relocate(&mut self, moved: &Moved) {
        match &moved.holder {
            Holder::Key(key) => {
                if let Some(replica) = self.replicas.get_mut(&moved.partition) {
                    replica.relocate(key, moved.from, moved.to);
                }
            }
            Holder::Hint(sequence) => self.hints.relocate(*sequence, moved.from, moved.to),
        }
    }

    /// Does a slot or an open hint name this place?
    pub(super) fn is_current(&self, partition: PartitionId, holder: &Holder, place: Place) -> bool {
        match holder {
            Holder::Key(key) => {
                self.replicas.get(&partition).is_some_and(|replica| replica.table.index.holds(key.hash64(), place))
            }
            Holder::Hint(sequence) => self.hints.place_of(*sequence).is_some_and(|held| held.is(&place)),
        }
    }

    /// A partition's state as the store had it when it opened.
    pub(super) fn adopt(&mut self, partition: PartitionId, table: PartitionTable) {
        let mark = self.counting.mark(partition);
        self.replicas.insert(partition, Box::new(Replica::new(table, mark)));
    }

    /// The state of a partition here, made on first use.
    pub(super) fn replica(&mut self, partition: PartitionId) -> &mut Replica {
        let (complete, counting) = (self.complete_by_default, &self.counting);
        self.replicas.entry(partition).or_insert_with(|| {
            let mut table = PartitionTable::default();
            table.complete = complete;
            Box::new(Replica::new(table, counting.mark(partition)))
        })
    }

    /// Does this node own the partition in the version that reads go by?
    pub(super) fn is_primary(&self, partition: PartitionId) -> bool {
        self.view.layout().primaries(partition).contains(&self.me.node)
    }

    /// Up nodes, those that answer before those that have fallen silent, else in the order given.
    pub(super) fn askable(&self, nodes: &[NodeId], now: Time) -> Vec<NodeId> {
        let up = nodes.iter().copied().filter(|node| *node != self.me.node && self.view.is_up(*node));
        let (silent, lively): (Vec<_>, Vec<_>) =
            up.partition(|node| self.peers.is_silent(*node, now, self.timings.silence));
        lively.into_iter().chain(silent).collect()
    }

    /// A number for a request, a session or a load: unique for ever, and it leads back to this shard.
    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number * self.me.shards as u64 + self.me.shard as u64
    }

    /// Nodes whose earlier disk is lost, with their new actor, as acknowledgements name them. No write lives
    /// longer than a client waits: after that nobody counts the lost disk any more, and the node may have
    /// gone on under yet another actor, which actors' numbers cannot tell.
    pub(super) fn refilled(&mut self, now: Time) -> Vec<(NodeId, Actor)> {
        self.refilled.retain(|_, (_, served)| now.since(*served) <= Duration::from_millis(MAX_TIMEOUT_MS));
        self.refilled.iter().map(|(node, (actor, _))| (*node, *actor)).collect()
    }

    /// The next hybrid time; follows what it has seen, within reason.
    pub(super) fn hybrid_now(&mut self, now: Now, seen: impl Iterator<Item = HybridTime>) -> HybridTime {
        let limit = HybridTime::from_wall(crate::base::WallTime(now.wall.0.saturating_add(FOLLOWED_SKEW_MS)));
        let seen = seen.filter(|time| *time <= limit).max().unwrap_or_default();
        let floor = seen.max(self.clock.min(limit));
        self.clock = HybridTime::from_wall(now.wall).max(HybridTime(floor.0 + 1));
        self.clock
    }
}
