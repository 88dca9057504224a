//! The source's side of an exchange: answers from its durable state at once, and keeps nothing.

use super::loads::Look;
use super::shard::{Shard, Turn};
use crate::base::{Key, NodeId};
use crate::causal::{Actor, DotSet, Filled};
use crate::replication::{ClockEntry, ClockNeed, ClockReport, Message, PulledObject};
use crate::ring::PartitionId;
use crate::store::Place;
use std::collections::BTreeMap;

/// Bytes of records after which an answer ends, by lengths as the index rounds them. One record more may
/// go over it.
const MAX_PULLED_BYTES: u64 = 1 << 20;

/// Who pulls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) node: NodeId,
    pub(super) session: u64,
    /// Its actor, if it is filling.
    pub(super) filling: Option<Actor>,
}

/// One answer being put together.
#[derive(Debug)]
pub(super) struct PullJob {
    asker: Asker,
    partition: PartitionId,
    waiting: usize,
    objects: Vec<PulledObject>,
    /// Dots asked for, by key; empty in a listing.
    asked: BTreeMap<Key, DotSet>,
    unplaced: DotSet,
    next: Option<u64>,
    failed: bool,
}

impl Shard {
    /// Reports the clocks that differ from the asker's: durable ones, before any object is read.
    pub(super) fn serve_clocks(&mut self, turn: &mut Turn<'_>, from: NodeId, session: u64, clocks: &[ClockEntry]) {
        let mut reports = Vec::new();
        for entry in clocks {
            if !self.is_replica(entry.partition) {
                continue;
            }
            let replica = self.replica(entry.partition);
            let clock = replica.shown_clock().clone();
            let (table, complete, voids) = (&replica.table, replica.is_whole(), replica.voids());
            let equal = clock.hash64() == entry.clock_hash;
            let leftovers = !table.leftovers.is_empty();
            let comparable = complete && !leftovers;
            let unequal = comparable && entry.data_hash.is_some_and(|hash| hash != table.hash);
            if equal && unequal {
                // Reported all the same: the asker lists, and what one of the two has superseded goes.
                turn.notice(super::Notice::DataHashesDiffer);
            }
            if !equal || unequal || entry.need == ClockNeed::Listing {
                reports.push(ClockReport { partition: entry.partition, clock, complete, leftovers, voids });
            }
        }
        let source = (self.me.actor, self.me.epoch);
        turn.send(vec![from], Message::ClockAnswer { session, source, clocks: reports });
    }

    pub(super) fn serve_pull(
        &mut self,
        turn: &mut Turn<'_>,
        asker: Asker,
        partition: PartitionId,
        dots: &DotSet,
        listing_from: Option<u64>,
    ) {
        if let Some(actor) = asker.filling {
            // Recorded before anything is served: acknowledgements of the disk it had before are void.
            self.refilled.insert(asker.node, (actor, turn.now.time));
        }
        let id = self.number();
        let job = PullJob {
            asker,
            partition,
            // One for the job itself, so that it cannot end while its reads are being issued.
            waiting: 1,
            objects: Vec::new(),
            asked: BTreeMap::new(),
            unplaced: DotSet::default(),
            next: None,
            failed: !self.is_replica(partition),
        };
        self.pull_jobs.insert(id, job);
        match listing_from {
            Some(from) => self.pull_listing(turn, id, partition, from),
            None => self.pull_dots(turn, id, partition, dots),
        }
        self.pull_step(turn, id);
    }

    fn pull_dots(&mut self, turn: &mut Turn<'_>, id: u64, partition: PartitionId, dots: &DotSet) {
        let page_objects = self.timings.page_objects;
        let table = &self.replica(partition).table;
        let (mut asked, mut unplaced): (BTreeMap<Key, DotSet>, DotSet) = Default::default();
        let mut bytes = 0;
        for dot in dots.dots().take(page_objects) {
            if bytes >= MAX_PULLED_BYTES {
                break;
            }
            let Some(key) = table.recent.key_of(dot) else {
                unplaced.insert(dot);
                continue;
            };
            bytes += table.index.candidates(key.hash64()).map(|place| u64::from(place.length)).sum::<u64>();
            asked.entry(key).or_default().insert(dot);
        }
        let keys: Vec<Key> = asked.keys().cloned().collect();
        let Some(job) = self.pull_jobs.get_mut(&id) else { return };
        job.waiting += keys.len();
        (job.asked, job.unplaced) = (asked, unplaced);
        for key in keys {
            self.look(turn, partition, &key, Look::Pull { job: id });
        }
    }

    /// Whole groups of slots only, for an index does not tell the keys of a group apart: every key from
    /// `from` up to the next group is in the answer, and perhaps some before `from`.
    fn pull_listing(&mut self, turn: &mut Turn<'_>, id: u64, partition: PartitionId, from: u64) {
        let mut slots: Vec<(u64, Place)> = Vec::new();
        let (mut next, mut bytes, page_objects) = (None, 0, self.timings.page_objects);
        for (hash, place) in self.replica(partition).table.index.from(from) {
            let whole = slots.last().is_none_or(|(last, _)| *last != hash);
            if whole && (slots.len() >= page_objects || bytes >= MAX_PULLED_BYTES) {
                next = Some(hash);
                break;
            }
            bytes += u64::from(place.length);
            slots.push((hash, place));
        }
        let Some(job) = self.pull_jobs.get_mut(&id) else { return };
        job.waiting += slots.len();
        job.next = next;
        for slot in slots {
            self.look_slot(turn, partition, slot, Look::Pull { job: id });
        }
    }

    /// One object of a job was read, or could not be.
    pub(super) fn pull_object(&mut self, turn: &mut Turn<'_>, id: u64, found: Option<(Key, Filled)>) {
        let Some(job) = self.pull_jobs.get_mut(&id) else { return };
        match found {
            Some((key, state)) => {
                let dots = job.asked.get(&key).cloned().unwrap_or_default();
                job.objects.push(PulledObject { key, state, dots });
            }
            None => job.failed = true,
        }
        self.pull_step(turn, id);
    }

    fn pull_step(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(job) = self.pull_jobs.get_mut(&id) else { return };
        job.waiting -= 1;
        if job.waiting > 0 {
            return;
        }
        let Some(job) = self.pull_jobs.remove(&id) else { return };
        let voids = self.replica(job.partition).voids();
        let message = Message::Pulled {
            session: job.asker.session,
            partition: job.partition,
            source: (self.me.actor, self.me.epoch),
            objects: job.objects,
            unplaced: job.unplaced,
            next: job.next,
            failed: job.failed,
            voids,
            clients: self.presence.clients(turn.now.time),
        };
        turn.send(vec![job.asker.node], message);
    }
}
