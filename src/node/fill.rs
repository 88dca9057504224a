//! How a replica that is not complete becomes so: full exchanges with enough others, at a pace (PROTOCOL R6). The first
//! is a listing; the next, where that is enough, brings the dots that the clock lacks.

use super::Transfers;
use super::appends::After;
use super::exchange::Need;
use super::pace::Pace;
use super::shard::{Shard, Turn};
use super::timers::Timer;
use super::transfer::TransferProgress;
use crate::base::{Mutation, NodeId, Time, broken};
use crate::causal::{DotSet, bytes_of_all};
use crate::replication::{Clients, ClockReport, PulledObject};
use crate::ring::PartitionId;
use crate::store::{Body, Published};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Between a listing's end and the next ones: those that end together are followed by others together.
const FILL_GAP: Duration = Duration::from_millis(10);

/// Sessions at once in one shard that fill: enough that pages keep coming while some join, and the rest of the shard's
/// sessions are for repair, which is not paced.
const MAX_FILLING: usize = 8;

/// Pages under way to them: one is applied while the next is read at its source. Eight that came together held every
/// client of the shard up for 40 ms.
const MAX_PAGES: usize = 2;

/// A page that takes longer is waited for, but others need not wait with it: its source may be dead.
const PAGE_PATIENCE: Duration = Duration::from_millis(500);

/// What was listed, and what waits for its turn.
#[derive(Debug)]
pub(super) struct Filling {
    /// Per filling partition: with whom a full exchange has ended, and whether they were complete.
    pulled: BTreeMap<PartitionId, BTreeMap<NodeId, SourceState>>,
    /// Partitions that began to fill with no object and a clock that claimed nothing, and have taken nothing since but
    /// writes and what complete sources had: each dot in their clocks came with its whole effect.
    sound: BTreeSet<PartitionId>,
    /// How far listings of each have ever come: what is listed again is no progress.
    furthest: BTreeMap<PartitionId, u64>,
    /// Sessions whose next page waits.
    waiting: VecDeque<u64>,
    pace: Pace,
    pub(super) transfers: TransferProgress,
}

/// What a source of a full exchange was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceState {
    Complete,
    Filling,
}

impl Filling {
    /// Nothing was listed. More is taken at this pace.
    pub(super) fn new(pace: Pace) -> Self {
        let (pulled, sound, furthest, waiting, transfers) = Default::default();
        Self { pulled, sound, furthest, waiting, pace, transfers }
    }

    /// What this node was when the last full exchange with it about the partition ended, if one did.
    pub(super) fn listed_as(&self, partition: PartitionId, node: NodeId) -> Option<SourceState> {
        self.pulled.get(&partition)?.get(&node).copied()
    }

    /// The partition begins to fill with nothing, and a clock that claims nothing.
    pub(super) fn begins_bare(&mut self, partition: PartitionId) {
        self.sound.insert(partition);
    }

    /// A complete source was listed, and what this replica's clock claims it has whole: of the next source's data it
    /// lacks what its clock lacks, and nothing else.
    pub(super) fn lacks_dots_alone(&self, partition: PartitionId) -> bool {
        let complete = |pulled: &BTreeMap<_, _>| pulled.values().any(|state| *state == SourceState::Complete);
        let sound = self.sound.contains(&partition) || broken(Mutation::RestUnsound);
        sound && self.pulled.get(&partition).is_some_and(complete)
    }

    /// A source that fills itself is pulled from. Its versions may lack what they had superseded (PROTOCOL R8), and with
    /// the first page their dots are claimed here.
    pub(super) fn takes_from_filling(&mut self, partition: PartitionId) {
        self.sound.remove(&partition);
    }

    /// A page with these objects came, of a listing from this hash on, or of dots.
    pub(super) fn taken(
        &mut self,
        now: Time,
        (from, partition): (NodeId, PartitionId),
        listing_from: Option<u64>,
        objects: &[PulledObject],
    ) {
        let new = listing_from.is_some_and(|at| self.furthest.get(&partition).is_none_or(|furthest| at > *furthest));
        let bytes_of = |object: &PulledObject| object.key.as_bytes().len() + bytes_of_all(&object.state.versions);
        let (count, bytes) = (objects.len() as u64, objects.iter().map(bytes_of).sum::<usize>() as u64);
        self.transfers.came(from, count, bytes);
        self.pace.take_page(now, count, bytes);
        if new {
            // Until it is paid for, nothing more can come.
            self.transfers.advances(self.pace.busy_until(now).unwrap_or(now));
            self.furthest.extend(listing_from.map(|at| (partition, at)));
        }
    }

    /// Who is served at a source.
    pub(super) fn source_serves(&mut self, now: Time, clients: Clients) {
        self.pace.source_serves(now, clients);
    }

    /// Is it this node that makes the session wait?
    pub(super) fn waits(&self, session: u64) -> bool {
        self.waiting.contains(&session)
    }

    /// The session has ended.
    pub(super) fn forget_session(&mut self, session: u64) {
        self.waiting.retain(|waiting| *waiting != session);
    }
}

impl Shard {
    /// All that this source had is in the table, durably.
    pub(super) fn source_joined(
        &mut self,
        turn: &mut Turn<'_>,
        partition: PartitionId,
        from: NodeId,
        state: SourceState,
    ) {
        self.exchange.filling.pulled.entry(partition).or_default().insert(from, state);
        self.exchange.filling.furthest.remove(&partition);
        self.exchange.filling.transfers.ended(turn.now.time, from);
        self.complete_if_pulled(turn, partition);
        self.timers.set(turn.now.time + FILL_GAP, Timer::Fill);
    }

    /// Asks for the next page now; or, where a replica fills, as soon as it may.
    pub(super) fn pull_in_turn(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(partition) = self.exchange.partition_of(id) else { return };
        if !self.fills(partition) {
            return self.pull(turn, id);
        }
        if self.fills_pause() {
            // What was applied stays; a session that waits for an operator would keep others from repair.
            return self.abort_session(turn, id);
        }
        self.exchange.filling.waiting.push_back(id);
        self.pull_waiting(turn);
    }

    /// Asks for the pages that wait: so many at once, at the pace.
    pub(super) fn pull_waiting(&mut self, turn: &mut Turn<'_>) {
        while !self.exchange.filling.waiting.is_empty() && !self.fills_pause() {
            if self.pages_under_way(turn.now.time) >= MAX_PAGES {
                return;
            }
            if let Some(free_at) = self.exchange.filling.pace.busy_until(turn.now.time) {
                return self.timers.set(free_at, Timer::Fill);
            }
            let Some(id) = self.exchange.filling.waiting.pop_front() else { return };
            self.pull(turn, id);
        }
    }

    fn pages_under_way(&self, now: Time) -> usize {
        let awaited = |(partition, asked_at): &(PartitionId, Time)| {
            self.fills(*partition) && now.since(*asked_at) < PAGE_PATIENCE
        };
        self.exchange.pulled_now().filter(awaited).count()
    }

    /// Pages may be asked for, or listings have ended: then the clocks of as many other partitions that fill are asked
    /// for as sessions may be begun. Where nothing was joined, the next round comes soon enough.
    pub(super) fn fill_on(&mut self, turn: &mut Turn<'_>) {
        if self.fills_pause() {
            let waiting = std::mem::take(&mut self.exchange.filling.waiting);
            return waiting.into_iter().for_each(|id| self.abort_session(turn, id));
        }
        self.pull_waiting(turn);
        if self.exchange.filling.waiting.len() >= MAX_PAGES {
            // Others would only wait with them, for clocks that grow stale.
            return;
        }
        if let Some(free_at) = self.exchange.filling.pace.busy_until(turn.now.time) {
            return self.timers.set(free_at, Timer::Fill);
        }
        let room = self.fill_room();
        if room == 0 {
            return;
        }
        let mut filling = self.own_partitions();
        filling.retain(|partition| !self.exchange.pulls(*partition) && !self.replica(*partition).table.complete);
        self.random.shuffle(&mut filling);
        let mut asks: BTreeMap<NodeId, Vec<PartitionId>> = BTreeMap::new();
        let sources = filling.into_iter().filter_map(|partition| Some((self.next_source(partition)?, partition)));
        sources.take(room).for_each(|(peer, partition)| asks.entry(peer).or_default().push(partition));
        for (peer, partitions) in asks {
            self.query_clocks(turn, peer, &partitions);
        }
    }

    /// What a replica that fills wants of a source with this clock: nothing if it is not its turn, or counts already. What
    /// the hashes of the data say does not matter.
    pub(super) fn wanted_to_fill(&mut self, peer: NodeId, report: &ClockReport, missing: &DotSet) -> Option<Need> {
        let ClockReport { partition, complete, .. } = *report;
        let counted = self.view.layout().is_primary(partition, peer);
        if !(self.may_fill(partition) && counted && self.fill_room() > 0) {
            return None;
        }
        if !complete {
            self.exchange.filling.takes_from_filling(partition);
        }
        // What was listed from a source that filled itself is listed again once it is complete.
        let listed_as = self.exchange.filling.listed_as(partition, peer);
        if listed_as == Some(SourceState::Complete) || (listed_as.is_some() && !complete) {
            return Some(Need::Dots).filter(|_| !missing.is_empty());
        }
        if !complete || report.leftovers || !self.exchange.filling.lacks_dots_alone(partition) {
            return Some(Need::Listing);
        }
        // Also where it lacks none: by the pull the source learns of this disk, and refuses what it acknowledged before
        // (PROTOCOL R5); and the join is behind all that is on its way.
        Some(Need::Rest)
    }

    /// Is the replica still to be filled?
    pub(super) fn fills(&self, partition: PartitionId) -> bool {
        self.replicas.get(&partition).is_some_and(|replica| !replica.table.complete)
    }

    /// How many sessions that fill may be begun.
    pub(super) fn fill_room(&self) -> usize {
        let filling = self.exchange.partitions().filter(|partition| self.fills(*partition)).count();
        if self.fills_pause() { 0 } else { MAX_FILLING.saturating_sub(filling) }
    }

    /// Has an operator stopped all filling?
    pub(super) fn fills_pause(&self) -> bool {
        self.view.layouts.transfers == Transfers::Paused
    }

    /// With whom to exchange a filling partition next.
    fn next_source(&self, partition: PartitionId) -> Option<NodeId> {
        let pulled = self.exchange.filling.pulled.get(&partition);
        let mut owners = self.view.layout().primaries(partition).iter().copied();
        let asked = |node: NodeId| pulled.is_some_and(|pulled| pulled.contains_key(&node));
        let open = |node: &NodeId| *node != self.me.node && self.view.is_up(*node) && !asked(*node);
        owners.find(open).filter(|_| self.may_fill(partition))
    }

    pub(super) fn complete_if_pulled(&mut self, turn: &mut Turn<'_>, partition: PartitionId) {
        if !self.replica(partition).table.complete && self.has_pulled_enough(partition) {
            self.append(turn, partition, Body::Complete, Published::default(), After::Nothing);
        }
    }

    /// Full exchanges with N-W+1 complete others, or with all others: nothing else exists to learn
    /// (PROTOCOL R6; docs/decisions/0003). The others are the owners by the version that reads go by, but for those
    /// that the operator declared dead.
    fn has_pulled_enough(&self, partition: PartitionId) -> bool {
        let owners = self.view.layout().primaries(partition);
        let there = |node: &&NodeId| **node != self.me.node && !self.view.layouts.declared_dead(**node);
        let others: Vec<NodeId> = owners.iter().filter(there).copied().collect();
        let majority = owners.len() / 2 + 1;
        let needed = if broken(Mutation::OneSource) { 1 } else { owners.len() - majority + 1 };
        let Some(pulled) = self.exchange.filling.pulled.get(&partition) else {
            return others.is_empty() && self.may_fill(partition);
        };
        let complete = others.iter().filter(|node| pulled.get(node) == Some(&SourceState::Complete)).count();
        complete >= needed || others.iter().all(|node| pulled.contains_key(node))
    }

    /// Partitions that do not count towards R yet.
    pub(super) fn filling(&mut self) -> Vec<PartitionId> {
        let mine = self.own_partitions();
        mine.into_iter().filter(|partition| !self.replica(*partition).is_whole()).collect()
    }

    /// What was pulled before a clock became void says nothing of it any more.
    pub(super) fn forget_pulled(&mut self, partition: PartitionId) {
        self.exchange.filling.pulled.remove(&partition);
        self.exchange.filling.sound.remove(&partition);
        self.exchange.filling.furthest.remove(&partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Presence;

    #[test]
    fn what_is_listed_again_is_no_progress() {
        let mut filling = Filling::new(Pace::new(1 << 20, Presence::default()));
        let (at, page) = (|seconds: u64| Time(seconds * 1_000_000), (NodeId(1), PartitionId(0)));
        filling.taken(at(1), page, Some(0), &[]);
        filling.taken(at(40), page, Some(0), &[]);
        filling.transfers.waits(at(61));
        assert!(filling.transfers.idle() > Duration::from_secs(59), "{:?}", filling.transfers.idle());
        filling.taken(at(62), page, Some(5), &[]);
        filling.transfers.waits(at(62));
        assert_eq!(filling.transfers.idle(), Duration::ZERO);
    }
}
