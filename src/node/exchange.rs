//! The puller's side of an exchange: what a peer has seen and this replica has not (PROTOCOL R2, R6, R7).
//!
//! ```text
//! clocks? -> clocks that differ -> pull objects of missing dots (or list all) -> apply each -> join
//! ```
//!
//! A dot enters the clock only with its effect, or in the session's one join record, which follows every
//! object of the session in the log. A session cut short joins nothing.

use super::Notice;
use super::appends::{After, Apply};
use super::fill::{Filling, SourceState};
use super::loads::{Look, UpdateStep};
use super::pace::Pace;
use super::shard::{Shard, Turn};
use super::timers::Timer;
use super::transfer::TransferError;
use crate::base::{Key, Mutation, NodeId, Time, broken};
use crate::causal::{Actor, DotSet, Filled};
use crate::replication::{Clients, ClockEntry, ClockNeed, ClockReport, Message, PulledObject};
use crate::ring::PartitionId;
use crate::store::{Body, Place, Published};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Sessions at once in one shard: repair yields to clients, and what waits is asked for next round.
const MAX_SESSIONS: usize = 32;

/// Rounds whose answer is awaited. Answers to older ones are ignored: clocks grow stale.
const MAX_ROUNDS: usize = 64;

/// Own slots looked at together for what a listing did not name: where a source has deleted much, its one page
/// covers all that this replica holds, and each look is a read with a record in memory.
const MAX_LOOKED_AT: usize = 256;

/// Running sessions and what they have achieved.
#[derive(Debug)]
pub(super) struct Exchange {
    rounds: BTreeMap<u64, Round>,
    sessions: BTreeMap<u64, Session>,
    /// Pulls under way, with their session.
    pulls: BTreeMap<u64, u64>,
    pub(super) filling: Filling,
}

/// One question for clocks.
#[derive(Debug)]
struct Round {
    peer: NodeId,
    /// The layouts that it was asked under. A clock from before they were settled may lack a write that nobody who fills
    /// would hear of.
    revision: u64,
    /// The clock hashes it named.
    asked: BTreeMap<PartitionId, u64>,
}

/// One partition being pulled from one peer.
#[derive(Debug)]
struct Session {
    peer: NodeId,
    /// The peer's actor and process: the session dies with either.
    source: (Actor, u64),
    /// How often its clock had become void: the session dies when it does.
    voids: u32,
    source_state: SourceState,
    partition: PartitionId,
    /// The peer's durable clock before the first object was read: what is joined at the end.
    clock: DotSet,
    need: Need,
    mode: Mode,
    stage: Stage,
    /// Objects received and not yet appended.
    applying: usize,
    /// Keys the current batch named.
    named: BTreeSet<Key>,
    /// Where named keys were found: such a slot holds no other key.
    found: BTreeSet<Place>,
    /// What the current batch, a listing's, covers: set until its objects are applied.
    unchecked: Option<Range>,
    /// What it covers, once the own keys in it are looked at.
    checked: Option<Range>,
    progress_at: Time,
}

/// Why a session is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// The peer has seen dots that this replica has not.
    Dots,
    /// This replica fills, and wants all of it.
    Listing,
    /// This replica fills, and lacks no more of what the peer has than the dots that its clock lacks.
    Rest,
    /// Equal clocks over different data.
    Data,
}

#[derive(Debug)]
enum Mode {
    /// These dots are still to be pulled.
    Dots(DotSet),
    /// A full listing, from this hash on.
    Listing(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Pulling,
    Received,
    Joining,
}

/// One answer of a pull.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) objects: Vec<PulledObject>,
    pub(super) unplaced: DotSet,
    pub(super) next: Option<u64>,
    pub(super) failed: bool,
    pub(super) voids: u32,
    pub(super) clients: Clients,
}

impl Exchange {
    /// Nothing runs. Replicas fill at this pace.
    pub(super) fn new(pace: Pace) -> Self {
        let (rounds, sessions, pulls) = Default::default();
        Self { rounds, sessions, pulls, filling: Filling::new(pace) }
    }

    /// The partitions that sessions are about.
    pub(super) fn partitions(&self) -> impl Iterator<Item = PartitionId> + '_ {
        self.sessions.values().map(|session| session.partition)
    }

    /// The peer and the partition of a session.
    pub(super) fn subject_of(&self, session: u64) -> Option<(NodeId, PartitionId)> {
        self.sessions.get(&session).map(|session| (session.peer, session.partition))
    }

    /// The partition that a session is about.
    pub(super) fn partition_of(&self, session: u64) -> Option<PartitionId> {
        self.sessions.get(&session).map(|session| session.partition)
    }

    /// The partitions of which a page is under way, with when it was asked for.
    pub(super) fn pulled_now(&self) -> impl Iterator<Item = (PartitionId, Time)> + '_ {
        let sessions = self.pulls.values().filter_map(|session| self.sessions.get(session));
        sessions.map(|session| (session.partition, session.progress_at))
    }

    /// Does the session run?
    pub(super) fn runs(&self, session: u64) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Is the partition being pulled?
    pub(super) fn pulls(&self, partition: PartitionId) -> bool {
        self.sessions.values().any(|session| session.partition == partition)
    }
}

impl Shard {
    /// Asks one peer for the clocks of all shared partitions, and every peer for those of partitions that fill or are
    /// being left.
    pub(super) fn exchange_round(&mut self, turn: &mut Turn<'_>) {
        let mine = self.own_partitions();
        let mut peers: BTreeSet<NodeId> = mine.iter().flat_map(|partition| self.replicas(*partition)).collect();
        peers.retain(|node| *node != self.me.node && self.view.is_up(*node));
        // A single replica has nobody to learn from; a record of completion may have failed.
        mine.iter().for_each(|partition| self.complete_if_pulled(turn, *partition));
        // So may the one that voids a clock.
        self.void_damaged(turn);
        self.watch_transfers(turn.now.time);
        self.pull_waiting(turn);
        let peers: Vec<NodeId> = peers.into_iter().collect();
        let (routine, pressing) = (self.random.pick(&peers).copied(), self.pressing(&mine));
        for peer in peers {
            let asked = if Some(peer) == routine { &mine } else { &pressing };
            if !asked.is_empty() {
                self.query_clocks(turn, peer, asked);
            }
        }
        let interval = self.timings.exchange_interval;
        let jitter = Duration::from_micros(self.random.below(interval.as_micros() as u64 / 4 + 1));
        self.timers.set(turn.now.time + interval + jitter, Timer::Exchange);
    }

    /// The partitions that a change of the layout, or a damage, waits for.
    fn pressing(&mut self, mine: &[PartitionId]) -> Vec<PartitionId> {
        let pause = self.fills_pause();
        let fills = |shard: &mut Shard, partition| !pause && !shard.replica(partition).counts();
        mine.iter().copied().filter(|partition| self.is_uncovered(*partition) || fills(self, *partition)).collect()
    }

    pub(super) fn own_partitions(&self) -> Vec<PartitionId> {
        let all = self.view.layout().partitioning.all();
        let mine = all.filter(|partition| partition.0 as usize % self.me.shards == self.me.shard);
        mine.filter(|partition| self.is_replica(*partition)).collect()
    }

    pub(super) fn query_clocks(&mut self, turn: &mut Turn<'_>, peer: NodeId, mine: &[PartitionId]) {
        let mut clocks = Vec::new();
        let view = std::sync::Arc::clone(&self.view);
        for partition in mine.iter().filter(|p| view.layouts.is_replica(**p, peer)) {
            let listed = self.exchange.filling.listed_as(*partition, peer) == Some(SourceState::Complete);
            let uncovered = self.is_uncovered(*partition);
            let replica = self.replica(*partition);
            let enough = (replica.table.complete || listed) && !uncovered;
            let need = if enough { ClockNeed::Difference } else { ClockNeed::Listing };
            let table = &replica.table;
            clocks.push(ClockEntry {
                partition: *partition,
                clock_hash: replica.shown_clock().hash64(),
                // What fills has data and a clock that need not belong together yet.
                data_hash: (replica.is_whole() && table.leftovers.is_empty()).then_some(table.hash),
                need,
            });
        }
        let session = self.number();
        // Of these alone a report of an equal clock says that the data differ: others are reported in any case.
        let compared = |entry: &&ClockEntry| entry.need == ClockNeed::Difference && entry.data_hash.is_some();
        let asked = clocks.iter().filter(compared).map(|entry| (entry.partition, entry.clock_hash)).collect();
        let revision = self.view.layouts.revision;
        self.exchange.rounds.insert(session, Round { peer, revision, asked });
        while self.exchange.rounds.len() > MAX_ROUNDS {
            self.exchange.rounds.pop_first();
        }
        self.peers.asked(peer, turn.now.time);
        turn.send(vec![peer], Message::ClockQuery { session, clocks });
    }

    pub(super) fn clocks_answered(
        &mut self,
        turn: &mut Turn<'_>,
        from: NodeId,
        round: u64,
        source: (Actor, u64),
        mut clocks: Vec<ClockReport>,
    ) {
        // Each shard of the peer answers for itself, so the round stays open until it is too old.
        let Some(round) = self.exchange.rounds.get(&round).filter(|round| round.peer == from) else { return };
        if round.revision != self.view.layouts.revision && !broken(Mutation::StaleRound) {
            return;
        }
        // Reported though the clocks were equal: then the data are not (PROTOCOL R20).
        let unequal = |report: &ClockReport| round.asked.get(&report.partition) == Some(&report.clock.hash64());
        let unequal: BTreeSet<PartitionId> = clocks.iter().filter(|r| unequal(r)).map(|r| r.partition).collect();
        // In any order: under load all clocks differ, and the first partitions would take every session.
        self.random.shuffle(&mut clocks);
        for report in clocks {
            self.clock_shown(from, report.partition, &report.clock);
            let running = self.exchange.pulls(report.partition);
            if self.exchange.sessions.len() < MAX_SESSIONS && !running && self.is_replica(report.partition) {
                let unequal = unequal.contains(&report.partition);
                self.begin_session(turn, from, source, report, if unequal { Need::Data } else { Need::Dots });
            }
        }
    }

    fn begin_session(
        &mut self,
        turn: &mut Turn<'_>,
        peer: NodeId,
        source: (Actor, u64),
        report: ClockReport,
        need: Need,
    ) {
        let partition = report.partition;
        let replica = self.replica(partition);
        if replica.is_damaged() {
            // What it would join now is void with the rest of the clock.
            return;
        }
        let missing = report.clock.difference(replica.pending_clock());
        let wanted = match (replica.table.complete, report.complete) {
            (false, _) => self.wanted_to_fill(peer, &report, &missing),
            // A damaged source offers its versions without what they had superseded (PROTOCOL R8). Taken here,
            // their dots would be in this clock without their whole effect, and no exchange would ever bring
            // it: complete replicas show the other versions under the same clock. Once the source has filled,
            // it knows what the others know, and then its dots are taken.
            (true, false) => None,
            (true, true) => Some(need).filter(|need| *need == Need::Data || !missing.is_empty()),
        };
        let Some(need) = wanted else { return };
        let ClockReport { clock, complete, voids, .. } = report;
        let listing = matches!(need, Need::Listing | Need::Data);
        let id = self.number();
        turn.notice(Notice::ExchangeStarted);
        turn.notice(if listing { Notice::ExchangeByListing } else { Notice::ExchangeByDots });
        if broken(Mutation::JoinFirst) {
            self.append(turn, partition, Body::Join { dots: missing.clone() }, Published::default(), After::Nothing);
        }
        let session = Session {
            peer,
            source,
            voids,
            source_state: if complete { SourceState::Complete } else { SourceState::Filling },
            partition,
            clock,
            need,
            mode: if listing { Mode::Listing(0) } else { Mode::Dots(missing) },
            stage: Stage::Pulling,
            applying: 0,
            named: BTreeSet::new(),
            found: BTreeSet::new(),
            unchecked: None,
            checked: None,
            progress_at: turn.now.time,
        };
        self.exchange.sessions.insert(id, session);
        self.timers.set(turn.now.time + self.timings.session_patience, Timer::Session(id));
        self.pull_in_turn(turn, id);
    }

    pub(super) fn pull(&mut self, turn: &mut Turn<'_>, id: u64) {
        let actor = self.me.actor;
        let Some(session) = self.exchange.sessions.get_mut(&id) else { return };
        session.progress_at = turn.now.time;
        let (peer, partition) = (session.peer, session.partition);
        let (dots, listing_from) = match &session.mode {
            Mode::Dots(dots) => (dots.clone(), None),
            Mode::Listing(from) => (DotSet::EMPTY, Some(*from)),
        };
        let filling = (!self.replica(partition).table.complete).then_some(actor);
        let pull = self.number();
        self.exchange.pulls.insert(pull, id);
        self.peers.asked(peer, turn.now.time);
        turn.send(vec![peer], Message::Pull { session: pull, partition, dots, listing_from, filling });
    }

    pub(super) fn pulled(&mut self, turn: &mut Turn<'_>, from: NodeId, pull: u64, source: (Actor, u64), batch: Batch) {
        // Each pull has a number of its own: a repeated answer is never taken for the next one.
        let Some(id) = self.exchange.pulls.remove(&pull) else { return };
        let Some(session) = self.exchange.sessions.get_mut(&id).filter(|session| session.peer == from) else { return };
        let voided = session.voids != batch.voids && !broken(Mutation::SessionOutlivesVoid);
        let ended = match () {
            () if session.source != source => Some(TransferError::Restarted),
            () if voided => Some(TransferError::ClockVoid),
            () if batch.failed => Some(TransferError::Unreadable),
            () => None,
        };
        if let Some(why) = ended {
            return self.fail_session(turn, id, why);
        }
        session.progress_at = turn.now.time;
        let partition = session.partition;
        if broken(Mutation::LateJoinClock) {
            batch.objects.iter().for_each(|object| session.clock.union(&object.state.context));
        }
        let listing_from = match session.mode {
            Mode::Dots(_) => None,
            Mode::Listing(at) => Some(at),
        };
        // Only what waits for the pace is charged to it: repair must not make filling wait for ever.
        if self.fills(partition) {
            self.exchange.filling.source_serves(turn.now.time, batch.clients);
            self.exchange.filling.taken(turn.now.time, (from, partition), listing_from, &batch.objects);
        }
        self.pull_waiting(turn);
        match listing_from {
            None => self.dots_pulled(turn, id, batch),
            Some(at) => self.listing_pulled(turn, id, at, batch),
        }
    }

    fn dots_pulled(&mut self, turn: &mut Turn<'_>, id: u64, batch: Batch) {
        let Some(session) = self.exchange.sessions.get_mut(&id) else { return };
        let Mode::Dots(wanted) = &session.mode else { return };
        let mut left = wanted.clone();
        for object in &batch.objects {
            left = left.difference(&object.dots);
        }
        if !batch.unplaced.is_empty() {
            turn.notice(Notice::ExchangeByListing);
            session.mode = Mode::Listing(0);
        } else if left.is_empty() || broken(Mutation::JoinOnBudget) {
            session.stage = Stage::Received;
        } else if left == *wanted {
            return self.fail_session(turn, id, TransferError::NoHeadway);
        } else {
            session.mode = Mode::Dots(left);
        }
        self.take_batch(turn, id, batch.objects, None);
    }

    fn listing_pulled(&mut self, turn: &mut Turn<'_>, id: u64, from: u64, batch: Batch) {
        let Some(session) = self.exchange.sessions.get_mut(&id) else { return };
        let range = Range { from, next: batch.next };
        if batch.next.is_some_and(|next| next <= from) {
            return self.fail_session(turn, id, TransferError::NoHeadway);
        }
        match batch.next {
            Some(next) if !broken(Mutation::JoinOnBudget) => session.mode = Mode::Listing(next),
            _ => session.stage = Stage::Received,
        }
        // Where clocks are equal and data differ, some clock claims more than its data show: then "I hold
        // nothing of it" is no proof that a key was deleted, and must not delete it here (PROTOCOL R20).
        let listed = (session.need != Need::Data).then_some(range);
        self.take_batch(turn, id, batch.objects, listed);
    }

    /// Applies the objects of a batch; then, of a listing, whatever it says by not naming it.
    fn take_batch(&mut self, turn: &mut Turn<'_>, id: u64, objects: Vec<PulledObject>, listed: Option<Range>) {
        let Some(session) = self.exchange.sessions.get_mut(&id) else { return };
        let partition = session.partition;
        session.named = objects.iter().map(|object| object.key.clone()).collect();
        session.found.clear();
        session.unchecked = listed.filter(|_| !broken(Mutation::NoAbsentKeys));
        // One for the batch itself, so that the session cannot go on while its steps are being issued.
        session.applying += objects.len() + 1;
        for PulledObject { key, state, dots } in objects {
            let apply = Apply { key: key.clone(), state, dots, after: After::Nothing };
            self.update(turn, partition, &key, UpdateStep::Pulled { session: id, apply });
        }
        self.session_applied(turn, id);
    }

    /// An object of a session was looked for, and its key's record lies here.
    pub(super) fn object_found(&mut self, id: u64, place: Option<Place>) {
        if let Some(session) = self.exchange.sessions.get_mut(&id) {
            session.found.extend(place);
        }
    }

    /// Looks at every own key of a listing's range that the listing may not have named (PROTOCOL R7). An
    /// index does not tell all keys apart, so a slot is left out only if a named key was found in it, and
    /// a slot at either end of the range may hold a key beyond it.
    fn check_absent(&mut self, turn: &mut Turn<'_>, id: u64, range: Range) {
        let Some(session) = self.exchange.sessions.get(&id) else { return };
        let (partition, found) = (session.partition, session.found.clone());
        let replica = self.replica(partition);
        let in_range = replica.table.index.from(range.from).take_while(|(hash, _)| range.ends_behind(*hash));
        let (mut slots, mut rest): (Vec<(u64, Place)>, Option<u64>) = (Vec::new(), None);
        for (hash, place) in in_range {
            if slots.len() >= MAX_LOOKED_AT && slots.last().is_none_or(|(last, _)| *last != hash) {
                rest = Some(hash);
                break;
            }
            if !found.contains(&place) {
                slots.push((hash, place));
            }
        }
        let checked = Range { from: range.from, next: rest.or(range.next) };
        let last = checked.next.map_or(u64::MAX, |next| next - 1);
        let pending: Vec<Key> = replica.pending_keys(range.from, last).cloned().collect();
        if let Some(session) = self.exchange.sessions.get_mut(&id) {
            session.checked = Some(checked);
            session.unchecked = rest.map(|from| Range { from, next: range.next });
            // One for the check itself.
            session.applying += slots.len() + pending.len() + 1;
        }
        for slot in slots {
            self.look_slot(turn, partition, slot, Look::Absent { session: id });
        }
        for key in pending {
            self.absent_checked(turn, partition, id, Some(key));
        }
        self.session_applied(turn, id);
    }

    /// What running listings have said by now of a key of this hash: named or not, their sources have seen this
    /// much of it. A write that comes late, of a key that is held no more, must not outlive the join.
    pub(super) fn listed(&self, partition: PartitionId, hash: u64) -> DotSet {
        let mut said = DotSet::EMPTY;
        if broken(Mutation::ListingForgotten) {
            return said;
        }
        let sessions = self.exchange.sessions.values().filter(|session| session.partition == partition);
        let past = sessions.filter(|session| session.checked.is_some_and(|range| range.ends_behind(hash)));
        past.for_each(|session| said.union(&session.clock));
        said
    }

    /// One of this replica's keys: if the listing did not name it, the source has seen everything its
    /// clock says of it and holds nothing.
    pub(super) fn absent_checked(&mut self, turn: &mut Turn<'_>, partition: PartitionId, id: u64, key: Option<Key>) {
        let Some(session) = self.exchange.sessions.get(&id) else { return };
        let Some(key) = key else { return self.fail_session(turn, id, TransferError::OwnStore) };
        let covered = session.checked.is_some_and(|range| range.covers(key.hash64()));
        if !covered || session.named.contains(&key) {
            return self.session_applied(turn, id);
        }
        let state = Filled { versions: Vec::new(), context: session.clock.clone() };
        let apply = Apply { key: key.clone(), state, dots: DotSet::EMPTY, after: After::Nothing };
        self.update(turn, partition, &key, UpdateStep::Pulled { session: id, apply });
    }

    /// One object of a session is appended; after the last, the session looks for what its batch did not name,
    /// and then pulls on or joins.
    pub(super) fn session_applied(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(session) = self.exchange.sessions.get_mut(&id) else { return };
        session.applying -= 1;
        session.progress_at = turn.now.time;
        if session.applying > 0 {
            return;
        }
        if let Some(range) = session.unchecked.take() {
            return self.check_absent(turn, id, range);
        }
        match session.stage {
            Stage::Pulling => self.pull_in_turn(turn, id),
            Stage::Received if !self.view.layouts.is_replica(session.partition, self.me.node) => {
                self.abort_session(turn, id);
            }
            Stage::Received => {
                session.stage = Stage::Joining;
                let (partition, clock) = (session.partition, session.clock.clone());
                let dots = clock.difference(self.replica(partition).pending_clock());
                let after = After::Joined { session: id };
                self.append(turn, partition, Body::Join { dots }, Published::default(), after);
            }
            Stage::Joining => {}
        }
    }

    /// The join is durable: the session has done its work.
    pub(super) fn joined(&mut self, turn: &mut Turn<'_>, partition: PartitionId, id: u64) {
        let Some(session) = self.exchange.sessions.remove(&id) else { return };
        turn.notice(Notice::ExchangeJoined);
        let full = matches!(session.mode, Mode::Listing(_)) || session.need == Need::Rest;
        if full && !self.replica(partition).table.complete {
            self.source_joined(turn, partition, session.peer, session.source_state);
        }
    }

    /// No progress for too long: messages were lost.
    pub(super) fn session_overdue(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(session) = self.exchange.sessions.get(&id) else { return };
        let waits = self.exchange.filling.waits(id);
        let progress_at = if waits { turn.now.time } else { session.progress_at };
        let due = progress_at + self.timings.session_patience;
        if due <= turn.now.time && session.stage != Stage::Joining {
            return self.fail_session(turn, id, TransferError::NoAnswer);
        }
        self.timers.set(due.max(turn.now.time + self.timings.exchange_interval), Timer::Session(id));
    }

    /// Ends a session without a join: only what was applied stays.
    pub(super) fn abort_session(&mut self, turn: &mut Turn<'_>, id: u64) {
        if self.exchange.sessions.remove(&id).is_some() {
            self.exchange.pulls.retain(|_, session| *session != id);
            self.exchange.filling.forget_session(id);
            turn.notice(Notice::ExchangeAborted);
            // Its page may have been what others waited for.
            self.pull_waiting(turn);
        }
    }

    pub(super) fn abort_sessions_with(&mut self, turn: &mut Turn<'_>, peer: NodeId) {
        let with: Vec<u64> = self.exchange.sessions.iter().filter(|(_, s)| s.peer == peer).map(|(id, _)| *id).collect();
        with.into_iter().for_each(|id| self.fail_session(turn, id, TransferError::Down));
    }

    pub(super) fn abort_sessions_of(&mut self, turn: &mut Turn<'_>, partition: PartitionId) {
        let sessions = self.exchange.sessions.iter().filter(|(_, session)| session.partition == partition);
        let of: Vec<u64> = sessions.map(|(id, _)| *id).collect();
        of.into_iter().for_each(|id| self.abort_session(turn, id));
    }

    pub(super) fn abort_all_sessions(&mut self, turn: &mut Turn<'_>) {
        let all: Vec<u64> = self.exchange.sessions.keys().copied().collect();
        all.into_iter().for_each(|id| self.abort_session(turn, id));
    }
}

/// The hashes one batch of a listing covers, without a gap.
#[derive(Debug, Clone, Copy)]
struct Range {
    from: u64,
    /// The first hash beyond; none at the end.
    next: Option<u64>,
}

impl Range {
    fn covers(self, hash: u64) -> bool {
        hash >= self.from && self.ends_behind(hash)
    }

    fn ends_behind(self, hash: u64) -> bool {
        self.next.is_none_or(|next| hash < next)
    }
}
