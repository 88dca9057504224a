//! The coordinator of a write: from a client's wish to enough durable copies.
//!
//! ```text
//! contexts of R replicas -> mint and append -> durable -> send -> W copies -> answer -> all, or hints
//! (plain and conditional)    (one record)      (own ack)         (distinct nodes and disks)
//! ```

use super::appends::After;
use super::loads::UpdateStep;
use super::shard::{Minting, Origin, Shard, Turn};
use super::timers::Timer;
use super::{Notice, Space};
use crate::base::limits::{MAX_OBJECT_BYTES, MAX_SIBLINGS};
use crate::base::{Key, Mutation, NodeId, Time, WallTime, broken};
use crate::causal::{Content, Dot, DotSet, Filled, Object, bytes_of_all};
use crate::replication::{
    Claim, Command, Condition, Copy, Failure, Message, NewContent, Operation, Options, Outcome, ReadReply, ReadTally,
    Sloppiness, StoreReply, TallyRow, Want, WriteResult, WriteTally,
};
use crate::ring::PartitionId;
use crate::store::{Body, HintBody, Published};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One write being coordinated. Lives on after its answer until every primary has it or a hint of it.
#[derive(Debug)]
pub(super) struct Write {
    /// Taken when the client is answered.
    pub(super) origin: Option<Origin>,
    key: Key,
    partition: PartitionId,
    content: Option<NewContent>,
    seen: Option<DotSet>,
    condition: Condition,
    options: Options,
    deadline: Time,
    /// Other replicas' contexts of the key (PROTOCOL R13).
    contexts: ReadTally,
    /// Replicas not asked for their context yet.
    unasked: Vec<NodeId>,
    /// The layout version they are asked by.
    layout: u64,
    /// Replicas asked for their context that have not answered.
    awaited: BTreeSet<NodeId>,
    gathering: Gathering,
    tally: WriteTally,
    /// The coordinator's own, as of when it began.
    seat: Seat,
    /// The layouts' revision under which it began.
    pub(super) revision: u64,
    minted: Option<Minted>,
    /// Primaries without the write, and who stands in for them.
    missing: BTreeMap<NodeId, StandIn>,
    /// Fallbacks not asked yet, last first.
    fallbacks: Vec<NodeId>,
}

/// What the coordinator is to the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seat {
    /// Owner in a live version of the layout: the write goes into its own table.
    Replica,
    /// It stands in for owners that cannot be reached, and holds hints.
    Fallback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gathering {
    Contexts,
    Done,
}

/// What was minted.
#[derive(Debug, Clone)]
struct Minted {
    dot: Dot,
    state: Filled,
    result: WriteResult,
    durable: Durability,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    OnItsWay,
    Here,
}

/// Who holds a missing primary's share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StandIn {
    Nobody,
    Asked(NodeId),
    Holds,
}

impl Shard {
    pub(super) fn begin_write(&mut self, turn: &mut Turn<'_>, origin: Origin, command: Command, claim: Claim) {
        let partition = self.view.layout().partitioning.of(&command.key);
        let rows = match self.rows_of(partition, &command.options) {
            Ok(rows) => rows,
            Err(failure) => return turn.fail(origin, failure),
        };
        let ready = match claim {
            Claim::Complete => self.is_primary(partition) && self.replica(partition).counts(),
            Claim::Any => self.is_replica(partition),
        };
        let has_room = self.has_room_for(&command.operation);
        if ready && has_room && self.may_mint(partition) {
            return self.coordinate(turn, origin, command, rows);
        }
        match origin {
            Origin::Peer { .. } if !has_room => turn.fail(origin, Failure::DiskFull),
            Origin::Peer { .. } => turn.fail(origin, Failure::NotReady),
            Origin::Client { .. } => self.forward(turn, origin, command),
        }
    }

    /// Deletes are taken from the reserve, puts are not.
    fn has_room_for(&self, operation: &Operation) -> bool {
        self.space == Space::Plenty || !matches!(operation, Operation::Write { content: Some(_), .. })
    }

    /// Coordinates here: as an owner, or as a fallback when no owner can be reached.
    pub(super) fn coordinate(&mut self, turn: &mut Turn<'_>, origin: Origin, command: Command, rows: Vec<TallyRow>) {
        let Command { key, operation: Operation::Write { content, seen, condition }, options } = command else {
            return;
        };
        let partition = self.view.layout().partitioning.of(&key);
        let id = self.number();
        let now = turn.now.time;
        let deadline = now + Duration::from_millis(options.timeout_ms);
        let replicas = self.replicas(partition);
        let others: Vec<NodeId> = replicas.iter().copied().filter(|node| *node != self.me.node).collect();
        let mut fallbacks = self.askable(self.view.layout().fallbacks(partition), now);
        fallbacks.retain(|node| !replicas.contains(node) && self.may_stand_in(*node));
        fallbacks.reverse();
        // Contexts are read like everything else: by the version whose data is complete.
        let mut unasked = self.askable(self.view.layout().primaries(partition), now);
        unasked.reverse();
        let write = Write {
            origin: Some(origin),
            contexts: ReadTally::new(self.contexts_needed(partition)),
            tally: WriteTally::new(rows, options.sloppiness),
            seat: if replicas.contains(&self.me.node) { Seat::Replica } else { Seat::Fallback },
            revision: self.view.layouts.revision,
            layout: self.view.layout().version,
            missing: others.into_iter().map(|node| (node, StandIn::Nobody)).collect(),
            gathering: Gathering::Contexts,
            minted: None,
            key,
            partition,
            content,
            seen,
            condition,
            options,
            deadline,
            unasked,
            awaited: BTreeSet::new(),
            fallbacks,
        };
        self.timers.set(deadline, Timer::WriteDeadline(id));
        let knows_enough = write.seen.is_some() && write.condition == Condition::Always;
        let needed = write.contexts.required();
        self.writes.insert(id, write);
        if knows_enough || needed == 0 {
            return self.contexts_gathered(turn, id);
        }
        self.ask_contexts(turn, id, needed);
    }

    /// How many other replicas' contexts make a quorum with one's own.
    fn contexts_needed(&mut self, partition: PartitionId) -> usize {
        let primaries = self.view.layout().primaries(partition).len();
        let own = usize::from(self.is_primary(partition) && self.replica(partition).counts());
        (primaries / 2 + 1).saturating_sub(own)
    }

    fn ask_contexts(&mut self, turn: &mut Turn<'_>, id: u64, count: usize) {
        let Some(write) = self.writes.get_mut(&id) else { return };
        let rest = write.unasked.len().saturating_sub(count);
        let asked = write.unasked.split_off(rest);
        if asked.is_empty() && write.awaited.is_empty() {
            return self.contexts_gathered(turn, id);
        }
        if asked.is_empty() {
            return;
        }
        write.awaited.extend(&asked);
        let (key, layout) = (write.key.clone(), write.layout);
        let message = Message::Read { request: id, key, known: None, want: Want::Outline, layout };
        let timeout_ms = write.options.timeout_ms;
        let half_time = write.deadline - Duration::from_millis(timeout_ms / 2);
        let hedge = self.hedge_after(asked.first().copied(), timeout_ms);
        asked.iter().for_each(|node| self.peers.asked(*node, turn.now.time));
        turn.send(asked, message);
        self.timers.set((turn.now.time + hedge).min(half_time), Timer::WriteContexts(id));
    }

    /// When to ask one more: the peer's usual answer, at least the floor, at most a tenth of the time-out.
    pub(super) fn hedge_after(&self, peer: Option<NodeId>, timeout_ms: u64) -> Duration {
        let longest = Duration::from_millis(timeout_ms / 10).max(self.timings.hedge_floor);
        let usual = peer.and_then(|node| self.peers.hedge_delay(node)).unwrap_or(longest);
        usual.clamp(self.timings.hedge_floor, longest)
    }

    /// A replica's context of the key arrived.
    pub(super) fn context_answered(&mut self, turn: &mut Turn<'_>, from: NodeId, id: u64, reply: ReadReply) {
        let Some(write) = self.writes.get_mut(&id).filter(|write| write.gathering == Gathering::Contexts) else {
            return;
        };
        if !write.awaited.remove(&from) {
            return;
        }
        let counted = write.contexts.answer(from, reply);
        if write.contexts.is_enough() {
            return self.contexts_gathered(turn, id);
        }
        if !counted {
            self.ask_contexts(turn, id, 1);
        }
    }

    /// The asked take long: ask another; when none is left and half the time is gone, go on.
    pub(super) fn contexts_overdue(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(write) = self.writes.get(&id).filter(|write| write.gathering == Gathering::Contexts) else {
            return;
        };
        let half = Duration::from_millis(write.options.timeout_ms / 2);
        if turn.now.time + half >= write.deadline {
            return self.contexts_gathered(turn, id);
        }
        if !write.unasked.is_empty() {
            turn.notice(Notice::ReadHedged);
            self.ask_contexts(turn, id, 1);
        } else {
            self.timers.set(write.deadline - half, Timer::WriteContexts(id));
        }
    }

    /// With too few replicas in reach a plain write goes on with what it sees; a condition needs a quorum.
    fn contexts_gathered(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(write) = self.writes.get_mut(&id).filter(|write| write.gathering == Gathering::Contexts) else {
            return;
        };
        write.gathering = Gathering::Done;
        let (required, answers) = (write.contexts.required(), write.contexts.answers());
        if write.condition != Condition::Always && answers < required {
            return self.write_failed(turn, id, Failure::TooFewReplicas { required, reachable: answers });
        }
        let (partition, key) = (write.partition, write.key.clone());
        if write.seat == Seat::Replica {
            self.update(turn, partition, &key, UpdateStep::Coordinate { write: id });
        } else {
            // What the hints have seen is one more answer. It is not the object's own state: the values stay
            // on disk, and a context that covered their versions without holding them would erase them.
            write.contexts.answer(self.me.node, ReadReply::Outline(self.hints.outline_of(&key)));
            self.mint(turn, id, Object::default(), Published::default());
        }
    }

    /// Reads, supersedes, mints, appends: one step on the pending state.
    pub(super) fn mint(&mut self, turn: &mut Turn<'_>, id: u64, object: Object, slot: Published) {
        let Some(write) = self.writes.get(&id) else { return };
        let (partition, primary) = (write.partition, write.seat == Seat::Replica);
        if primary && !self.is_replica(partition) {
            return self.write_failed(turn, id, Failure::NotReady);
        }
        let complete = self.replicas.get(&partition).is_none_or(|replica| replica.counts());
        let own = match (primary, self.replicas.get(&partition)) {
            (true, Some(replica)) => replica.fill_pending(object),
            _ => Filled::default(),
        };
        if write.content.is_some() && self.space == Space::Reserve {
            return self.write_failed(turn, id, Failure::DiskFull);
        }
        if !self.may_mint(partition) {
            return self.write_failed(turn, id, Failure::NotReady);
        }
        let visible = own.clone().merge(write.contexts.merged());
        if !holds(&write.condition, &visible) {
            return self.precondition_failed(turn, id, visible.live_hash());
        }
        let seen = write.seen.clone().unwrap_or_else(|| visible.context.clone());
        if self.is_ahead(partition, &visible.context) || self.is_ahead(partition, &seen) {
            turn.notice(Notice::CounterBehind);
            return self.write_failed(turn, id, Failure::NotReady);
        }
        if let Some(failure) = beyond_limits(write.content.as_ref(), &own, &seen) {
            return self.write_failed(turn, id, failure);
        }
        self.void_burnt(turn, partition);
        let written_at = self.hybrid_now(turn.now, own.versions.iter().map(|version| version.content.written_at));
        let actor = self.me.actor;
        let dot = self.replica(partition).mint(actor);
        let Some(write) = self.writes.get_mut(&id) else { return };
        let expires_at = write
            .content
            .as_ref()
            .and_then(|content| content.ttl_ms)
            .map(|ttl| WallTime(turn.now.wall.0.saturating_add(ttl)));
        let content = write.content.take().map(|new| content_of(new, written_at, expires_at));
        // A filling replica may hold versions without what they had superseded: it sends its write alone.
        let alone = (!complete).then(|| Filled::default().update(&seen, dot, content.clone()));
        let live = if content.is_some() { DotSet::from(dot) } else { DotSet::EMPTY };
        let state = own.update(&seen, dot, content);
        let mut context = if broken(Mutation::PutTokenFull) { state.context.clone() } else { seen };
        context.insert(dot);
        let result = WriteResult {
            created: visible.versions.is_empty(),
            replicas: self.view.layout().primaries(partition).len(),
            context,
            live,
            acks: 0,
            hinted: 0,
            written_at,
            expires_at,
        };
        if state.versions.len() > 1 {
            turn.notice(Notice::SiblingsMade);
        }
        let sent = alone.unwrap_or_else(|| state.clone());
        write.minted = Some(Minted { dot, state: sent, result, durable: Durability::OnItsWay });
        self.append_minted(turn, id, state, dot, slot);
    }

    /// Has anybody seen a dot of this actor that its counter has not reached? Then the store was set back
    /// unnoticed, and the next dot would be one that others know: nothing may be minted (PROTOCOL R9).
    fn is_ahead(&self, partition: PartitionId, seen: &DotSet) -> bool {
        let minted = self.replicas.get(&partition).map_or(0, |replica| replica.minted());
        seen.of(self.me.actor).is_some_and(|own| own.highest() > minted)
    }

    /// Not while a new actor is on its way, nor before the clock is void where records are lost (PROTOCOL R8).
    fn may_mint(&self, partition: PartitionId) -> bool {
        self.minting == Minting::Allowed && self.replicas.get(&partition).is_none_or(|replica| replica.takes_writes())
    }

    /// A partition's clock becomes void. Writes that have not minted relied on it as one of a quorum; of the others
    /// this node's own copy may have forgotten what they superseded.
    pub(super) fn void_writes(&mut self, turn: &mut Turn<'_>, partition: PartitionId) {
        let (me, actor) = (self.me.node, self.me.actor);
        let here = self.writes.iter_mut().filter(|(_, write)| write.partition == partition);
        let mut unminted = Vec::new();
        for (id, write) in here {
            write.tally.renewed(me, actor);
            unminted.extend(write.minted.is_none().then_some(*id));
        }
        unminted.into_iter().for_each(|id| self.write_failed(turn, id, Failure::NotReady));
    }

    fn append_minted(&mut self, turn: &mut Turn<'_>, id: u64, state: Filled, dot: Dot, slot: Published) {
        let Some(write) = self.writes.get(&id) else { return };
        let (partition, key) = (write.partition, write.key.clone());
        if write.seat == Seat::Replica {
            let body = self.replica(partition).object_body(&key, state, dot.into(), Some(dot.counter));
            return self.append(turn, partition, body, slot, After::Coordinated { write: id });
        }
        turn.notice(Notice::FallbackCoordinated);
        let targets: Vec<NodeId> = write.missing.keys().copied().collect();
        let each: Vec<Vec<NodeId>> = if broken(Mutation::HintRecordEach) {
            targets.iter().map(|target| vec![*target]).collect()
        } else {
            vec![targets]
        };
        for (nth, targets) in each.into_iter().enumerate() {
            let (key, state, dots) = (key.clone(), state.clone(), DotSet::from(dot));
            let body = Body::Hint(HintBody { targets, key, state, dots, minted: Some(dot.counter) });
            let after = if nth == 0 { After::Coordinated { write: id } } else { After::Nothing };
            self.append(turn, partition, body, Published::default(), after);
        }
    }

    fn precondition_failed(&mut self, turn: &mut Turn<'_>, id: u64, live_hash: u64) {
        if let Some(Write { origin: Some(origin), .. }) = self.end_write(id) {
            turn.answer(origin, Outcome::PreconditionFailed { live_hash });
        }
    }

    /// The coordinator's own record is durable: it counts, and may leave the node (invariant 1).
    pub(super) fn coordinated(&mut self, turn: &mut Turn<'_>, id: u64) {
        let refilled = self.refilled(turn.now.time);
        let (me, actor) = (self.me.node, self.me.actor);
        let Some(write) = self.writes.get_mut(&id) else { return };
        let copy = if write.seat == Seat::Replica { Copy::Primary } else { Copy::Hint };
        if copy == Copy::Hint {
            write.tally.stands_in(me, write.missing.keys().copied());
        }
        write.tally.acknowledge(me, actor, copy, &refilled);
        if let Some(minted) = &mut write.minted {
            minted.durable = Durability::Here;
        }
        if !broken(Mutation::SendBeforeDurable) {
            self.fan_out(turn, id);
        }
        self.settle_write(turn, id);
    }

    /// Sends the state to the other primaries, and asks fallbacks to stand in for those that are down.
    pub(super) fn fan_out(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(write) = self.writes.get(&id) else { return };
        let Some(minted) = &write.minted else { return };
        let view = &self.view;
        let (up, down): (Vec<NodeId>, Vec<NodeId>) = write.missing.keys().copied().partition(|node| view.is_up(*node));
        let (dots, state, key) = (DotSet::from(minted.dot), minted.state.clone(), write.key.clone());
        let layout = self.view.layouts.newest().version;
        let message = Message::Replicate { request: id, key, state, dots, hint_for: Vec::new(), layout };
        if write.seat == Seat::Replica {
            up.iter().for_each(|node| self.peers.asked(*node, turn.now.time));
            turn.send(up, message);
            for node in down {
                self.stand_in_for(turn, id, node);
            }
        } else {
            self.spread_hints(turn, id);
        }
        self.timers.set(turn.now.time + self.timings.hint_delay, Timer::WriteHint(id));
    }

    /// A fallback that coordinates holds hints for all primaries itself; others are asked until W nodes do.
    fn spread_hints(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(write) = self.writes.get_mut(&id) else { return };
        let Some(minted) = &write.minted else { return };
        let wanted = write.tally.required().saturating_sub(write.tally.acks().max(1));
        let rest = write.fallbacks.len().saturating_sub(wanted);
        let to = write.fallbacks.split_off(rest);
        let hint_for: Vec<NodeId> = write.missing.keys().copied().collect();
        to.iter().for_each(|fallback| write.tally.stands_in(*fallback, hint_for.iter().copied()));
        let (dots, state, key) = (DotSet::from(minted.dot), minted.state.clone(), write.key.clone());
        let layout = self.view.layouts.newest().version;
        turn.send(to, Message::Replicate { request: id, key, state, dots, hint_for, layout });
    }

    /// Asks the next fallback to hold a hint for a primary that does not have the write.
    pub(super) fn stand_in_for(&mut self, turn: &mut Turn<'_>, id: u64, primary: NodeId) {
        let Some(write) = self.writes.get_mut(&id) else { return };
        let Some(minted) = write.minted.as_ref().filter(|minted| minted.durable == Durability::Here) else { return };
        if write.options.sloppiness == Sloppiness::Strict || write.missing.get(&primary) == Some(&StandIn::Holds) {
            return;
        }
        let Some(slot) = write.missing.get_mut(&primary) else { return };
        let (dots, state, key) = (DotSet::from(minted.dot), minted.state.clone(), write.key.clone());
        if let Some(fallback) = write.fallbacks.pop() {
            *slot = StandIn::Asked(fallback);
            write.tally.stands_in(fallback, [primary]);
            let layout = self.view.layouts.newest().version;
            let message = Message::Replicate { request: id, key, state, dots, hint_for: vec![primary], layout };
            return turn.send(vec![fallback], message);
        }
        // No other node is left: the coordinator keeps the hint. Its copy counts already, and once.
        *slot = StandIn::Holds;
        let partition = write.partition;
        if self.hints.has_room(&self.timings) {
            let body = Body::Hint(HintBody { targets: vec![primary], key, state, dots, minted: None });
            self.append(turn, partition, body, Published::default(), After::Nothing);
        }
    }

    /// Primaries had time to acknowledge: stand-ins for those that have not.
    pub(super) fn hint_unacknowledged(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(write) = self.writes.get(&id) else { return };
        if write.options.sloppiness == Sloppiness::Strict {
            return;
        }
        let late: Vec<NodeId> =
            write.missing.iter().filter(|(_, stand_in)| **stand_in != StandIn::Holds).map(|(node, _)| *node).collect();
        if write.seat == Seat::Replica {
            for primary in late {
                self.stand_in_for(turn, id, primary);
            }
        } else if !write.tally.is_enough() {
            self.spread_hints(turn, id);
        }
        self.timers.set(turn.now.time + self.timings.hint_delay, Timer::WriteHint(id));
        self.settle_write(turn, id);
    }

    /// A replica or a stand-in reports on a write.
    pub(super) fn write_replicated(&mut self, turn: &mut Turn<'_>, from: NodeId, id: u64, reply: StoreReply) {
        let Some(write) = self.writes.get_mut(&id) else { return };
        let primary = self.view.layouts.is_replica(write.partition, from);
        match reply {
            StoreReply::Durable { actor, refilled } => {
                let copy = if primary { Copy::Primary } else { Copy::Hint };
                write.tally.acknowledge(from, actor, copy, &refilled);
                if primary {
                    write.missing.remove(&from);
                }
                for stand_in in write.missing.values_mut().filter(|stand_in| **stand_in == StandIn::Asked(from)) {
                    *stand_in = StandIn::Holds;
                }
            }
            StoreReply::Refused(_) if primary => self.stand_in_for(turn, id, from),
            StoreReply::Refused(_) => {
                turn.notice(Notice::HintRefused);
                let asked =
                    |(node, stand_in): (&NodeId, &StandIn)| (*stand_in == StandIn::Asked(from)).then_some(*node);
                let without: Vec<NodeId> = write.missing.iter().filter_map(asked).collect();
                for node in without {
                    self.stand_in_for(turn, id, node);
                }
            }
        }
        self.settle_write(turn, id);
    }

    /// Answers when W copies are durable; forgets the write when nothing more can come of it.
    fn settle_write(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(write) = self.writes.get_mut(&id) else { return };
        let Some(minted) = write.minted.as_ref().filter(|minted| minted.durable == Durability::Here) else { return };
        if write.tally.is_enough()
            && let Some(origin) = write.origin.take()
        {
            // All three of the same version: N may differ between those that live.
            let (acks, hinted, replicas) = (write.tally.acks(), write.tally.hinted(), write.tally.replicas());
            turn.answer(origin, Outcome::Written(WriteResult { acks, hinted, replicas, ..minted.result.clone() }));
        }
        let cared_for = write.missing.values().all(|stand_in| *stand_in == StandIn::Holds);
        let fallback = write.seat == Seat::Fallback;
        if write.origin.is_none() && (cared_for || fallback) {
            self.end_write(id);
        }
    }

    /// Versions of the layout have ended: neither they nor those who own nothing any more are waited for.
    pub(super) fn forget_ended_versions(&mut self, turn: &mut Turn<'_>) {
        let layouts = std::sync::Arc::clone(&self.view.layouts);
        for write in self.writes.values_mut() {
            write.tally.forget_before(layouts.oldest().version);
            write.missing.retain(|node, _| layouts.is_replica(write.partition, *node));
        }
        let open: Vec<u64> = self.writes.keys().copied().collect();
        open.into_iter().for_each(|id| self.settle_write(turn, id));
    }

    /// Nothing more is to come of it.
    pub(super) fn end_write(&mut self, id: u64) -> Option<Write> {
        self.timers.cancel(Timer::WriteDeadline(id));
        self.timers.cancel(Timer::WriteContexts(id));
        self.timers.cancel(Timer::WriteHint(id));
        self.writes.remove(&id)
    }

    /// The client's time is up. Whatever was minted may survive: the outcome is unknown.
    pub(super) fn write_overdue(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(write) = self.end_write(id) else { return };
        let Some(origin) = write.origin else { return };
        let (required, acks) = (write.tally.required(), write.tally.acks());
        if write.minted.is_none() || broken(Mutation::TimeoutAsNotWritten) {
            return turn.fail(origin, Failure::TooFewReplicas { required, reachable: write.contexts.answers() });
        }
        turn.fail(origin, Failure::OutcomeUnknown { required, acks, coordinator: None });
    }
}

/// Why a new version cannot stand beside those that its writer has not seen. A delete always can.
fn beyond_limits(content: Option<&NewContent>, own: &Filled, seen: &DotSet) -> Option<Failure> {
    let content = content?;
    let surviving = || own.versions.iter().filter(|version| !seen.contains(version.dot));
    if surviving().count() >= MAX_SIBLINGS {
        return Some(Failure::TooManySiblings { limit: MAX_SIBLINGS });
    }
    let too_large = content.bytes() + bytes_of_all(surviving()) > MAX_OBJECT_BYTES;
    too_large.then_some(Failure::SiblingsTooLarge { limit: MAX_OBJECT_BYTES })
}

fn holds(condition: &Condition, visible: &Filled) -> bool {
    match condition {
        Condition::Always => true,
        Condition::Exists => !visible.versions.is_empty(),
        Condition::Absent => visible.versions.is_empty(),
        Condition::LiveHashIn(hashes) => !visible.versions.is_empty() && hashes.contains(&visible.live_hash()),
    }
}

fn content_of(new: NewContent, written_at: crate::base::HybridTime, expires_at: Option<WallTime>) -> Content {
    let NewContent { value, content_type, metadata, ttl_ms: _ } = new;
    Content { value, content_type, metadata, written_at, expires_at }
}
