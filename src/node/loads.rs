//! Objects read from the disk, and the steps that wait for them.
//!
//! An *update* builds on the pending state: while its key is being read, further updates of the key
//! queue behind it, so what is read stays true. A *look* answers from the durable state: object and
//! clock must be of one instant, so if the key's slot changed meanwhile the look begins again.

use super::appends::{Applied, Apply};
use super::shard::{Shard, Turn};
use super::{Effect, Notice, Reuse, TransferError};
use crate::base::limits::MAX_WAITING_PER_KEY;
use crate::base::{Key, Mutation, NodeId, broken};
use crate::causal::{Filled, Object, entry_hash};
use crate::replication::{Failure, Known, Message, ReadReply, Refusal, Want};
use crate::ring::PartitionId;
use crate::store::{Body, Place, Published, Record, Sequence};

use super::appends::After;
use super::replica::Loaded;
use std::sync::Arc;

/// One read under way.
#[derive(Debug)]
pub(super) struct Load {
    partition: PartitionId,
    purpose: Purpose,
    /// Places to try; the first is being read.
    candidates: Vec<Place>,
    tried: usize,
}

#[derive(Debug)]
enum Purpose {
    Update(Key),
    Look(Key, Look),
    /// A listing's slot: its key is not known before it is read, and the hash is cut.
    Slot {
        hash: u64,
        look: Look,
    },
    Hint {
        sequence: Sequence,
        use_: HintUse,
    },
}

impl Purpose {
    fn reuse(&self) -> Reuse {
        match self {
            Purpose::Look(_, Look::Own { .. } | Look::Serve { want: Want::Values, .. }) => Reuse::Likely,
            // Outlines are asked for by writes.
            Purpose::Look(..) | Purpose::Update(_) | Purpose::Slot { .. } | Purpose::Hint { .. } => Reuse::Unlikely,
        }
    }
}

/// What an update does with the pending object.
#[derive(Debug)]
pub(super) enum UpdateStep {
    /// The coordinator mints.
    Coordinate { write: u64 },
    /// Another replica's state is merged.
    Apply(Apply),
    /// An object of an exchange session is merged.
    Pulled { session: u64, apply: Apply },
}

/// What a look does with the durable state.
#[derive(Debug, Clone, Copy)]
pub(super) enum Look {
    /// Answers a peer's read.
    Serve { to: NodeId, request: u64, known: Option<Known>, want: Want },
    /// The reading coordinator's own answer.
    Own { read: u64 },
    /// An object of a pull.
    Pull { job: u64 },
    /// One of this replica's keys, to see whether a listing named it.
    Absent { session: u64 },
}

/// What is done with a hint's record.
#[derive(Debug, Clone, Copy)]
pub(super) enum HintUse {
    /// Sent to its target, under this number.
    Drain { request: u64, target: NodeId },
    /// Shown to a reader, by this job.
    Serve { job: u64 },
}

impl Shard {
    /// Runs a step on the pending state of a key, now or when it has been read.
    pub(super) fn update(&mut self, turn: &mut Turn<'_>, partition: PartitionId, key: &Key, step: UpdateStep) {
        if let Some(waiting) = self.updating.get_mut(key) {
            if waiting.len() >= MAX_WAITING_PER_KEY {
                turn.notice(Notice::Overloaded);
                return self.refuse_step(turn, &step, Failure::Overloaded, Refusal::Overloaded);
            }
            return waiting.push(step);
        }
        match self.pending(partition, key) {
            Loaded::Known(object) => self.run_update(turn, partition, step, object, Published::default()),
            Loaded::OnDisk(candidates) => {
                self.updating.insert(key.clone(), vec![step]);
                self.load(turn, partition, Purpose::Update(key.clone()), candidates);
            }
        }
    }

    fn run_update(
        &mut self,
        turn: &mut Turn<'_>,
        partition: PartitionId,
        step: UpdateStep,
        object: Object,
        slot: Published,
    ) {
        if !self.is_replica(partition) {
            // Given up since the step began: behind the record that voids the clock, nothing may enter it.
            return self.refuse_step(turn, &step, Failure::NotReady, Refusal::NotMine);
        }
        match step {
            UpdateStep::Coordinate { write } => self.mint(turn, write, object, slot),
            UpdateStep::Apply(apply) => {
                // Whoever sent it has been told.
                let _ = self.apply(turn, partition, apply, object, slot);
            }
            // What comes of a session that has ended may lie behind a record that voids the clock.
            UpdateStep::Pulled { session, .. } if !self.exchange.runs(session) => {}
            UpdateStep::Pulled { session, apply } => {
                self.object_found(session, slot.place);
                match self.apply(turn, partition, apply, object, slot) {
                    Applied::Taken => self.session_applied(turn, session),
                    // Its clock must not be joined without the object (PROTOCOL R2).
                    Applied::TooLarge => self.fail_session(turn, session, TransferError::OwnStore),
                }
            }
        }
    }

    /// Shows a key's durable state to `look`, now or when it has been read.
    pub(super) fn look(&mut self, turn: &mut Turn<'_>, partition: PartitionId, key: &Key, look: Look) {
        let candidates: Vec<Place> = self.replica(partition).table.index.candidates(key.hash64()).collect();
        if candidates.is_empty() {
            return self.looked(turn, partition, Some(key.clone()), Object::default(), look);
        }
        self.load(turn, partition, Purpose::Look(key.clone(), look), candidates);
    }

    /// Shows whatever key lies in a slot to `look`.
    pub(super) fn look_slot(&mut self, turn: &mut Turn<'_>, partition: PartitionId, slot: (u64, Place), look: Look) {
        self.load(turn, partition, Purpose::Slot { hash: slot.0, look }, vec![slot.1]);
    }

    pub(super) fn load_hint(
        &mut self,
        turn: &mut Turn<'_>,
        partition: PartitionId,
        hint: (Sequence, Place),
        use_: HintUse,
    ) {
        let (sequence, place) = hint;
        self.load(turn, partition, Purpose::Hint { sequence, use_ }, vec![place]);
    }

    fn load(&mut self, turn: &mut Turn<'_>, partition: PartitionId, purpose: Purpose, candidates: Vec<Place>) {
        let id = self.number();
        self.read_next(turn, id, Load { partition, purpose, candidates, tried: 0 });
    }

    fn read_next(&mut self, turn: &mut Turn<'_>, id: u64, load: Load) {
        let Some(place) = load.candidates.get(load.tried).copied() else {
            // No candidate holds the key: it is absent.
            return self.load_ended(turn, load, None);
        };
        let reuse = load.purpose.reuse();
        self.loads.insert(id, load);
        turn.effects.push(Effect::Read { shard: self.me.shard, id, place, reuse });
    }

    /// A read was answered; `None` is an error, which is never "not found".
    pub(super) fn loaded(&mut self, turn: &mut Turn<'_>, id: u64, record: Option<Arc<Record>>) {
        let Some(mut load) = self.loads.remove(&id) else { return };
        let Some(record) = record else {
            return self.load_failed(turn, load);
        };
        let right = match &load.purpose {
            Purpose::Update(key) | Purpose::Look(key, _) => record.body.slot_key() == Some(key),
            Purpose::Slot { .. } | Purpose::Hint { .. } => true,
        };
        if right {
            return self.load_ended(turn, load, Some(record));
        }
        load.tried += 1;
        self.read_next(turn, id, load);
    }

    fn load_ended(&mut self, turn: &mut Turn<'_>, load: Load, record: Option<Arc<Record>>) {
        let Load { partition, purpose, candidates, tried } = load;
        let place = candidates.get(tried).copied();
        match purpose {
            Purpose::Update(key) => self.updates_loaded(turn, partition, &key, place.zip(record)),
            Purpose::Look(key, look) => {
                let index = &self.replica(partition).table.index;
                if !index.candidates(key.hash64()).eq(candidates) && !broken(Mutation::ClockNewerThanObject) {
                    return self.look(turn, partition, &key, look);
                }
                let object = record.map(object_of).unwrap_or_default();
                self.looked(turn, partition, Some(key), object, look);
            }
            Purpose::Slot { hash, look } => {
                let found = record.and_then(|record| Some((record.body.slot_key().cloned()?, record)));
                // A slot without an object is damage: whoever waits for it must hear so.
                let Some((key, record)) = found else { return self.show(turn, partition, None, None, look) };
                if place.is_some_and(|place| self.replica(partition).table.index.holds(hash, place)) {
                    self.looked(turn, partition, Some(key), object_of(record), look);
                } else {
                    self.look(turn, partition, &key, look);
                }
            }
            Purpose::Hint { sequence, use_ } => match record.map(|record| Arc::unwrap_or_clone(record).body) {
                Some(Body::Hint(hint)) => self.hint_loaded(turn, sequence, Some(hint), use_),
                _ => self.hint_loaded(turn, sequence, None, use_),
            },
        }
    }

    fn updates_loaded(
        &mut self,
        turn: &mut Turn<'_>,
        partition: PartitionId,
        key: &Key,
        found: Option<(Place, Arc<Record>)>,
    ) {
        // All keys of before count for nothing by now.
        let found = found.filter(|_| !self.replica(partition).is_dropping());
        // Nothing is appended for a key while its object is read, but compaction may have moved the record, and
        // a settled leftover may have ended the slot.
        if let Some((place, _)) = &found
            && !self.replica(partition).table.index.holds(key.hash64(), *place)
        {
            return self.load_update(turn, partition, key);
        }
        let (object, slot) = match found {
            Some((place, record)) => {
                let object = object_of(record);
                let slot = Published { place: Some(place), entry_hash: entry_hash(key, &object.versions) };
                (object, slot)
            }
            None => (Object::default(), Published::default()),
        };
        for step in self.updating.remove(key).unwrap_or_default() {
            // A step before this one may have appended: then the pending state is the newer.
            let object = match self.replica(partition).pending_object(key) {
                Some(pending) => pending,
                None => object.clone(),
            };
            self.run_update(turn, partition, step, object, slot.clone());
        }
    }

    fn looked(&mut self, turn: &mut Turn<'_>, partition: PartitionId, key: Option<Key>, object: Object, look: Look) {
        let replica = self.replica(partition);
        if !replica.counts() {
            // Damage was found since the look began: the answer would count towards R.
            match look {
                Look::Serve { to, request, .. } => {
                    return turn.send(vec![to], Message::ReadAnswer { request, reply: ReadReply::Filling });
                }
                Look::Own { read } => return self.own_read(turn, read, None),
                Look::Pull { .. } | Look::Absent { .. } => {}
            }
        }
        let state = replica.fill_durable(object);
        self.show(turn, partition, key, Some(state), look);
    }

    pub(super) fn show(
        &mut self,
        turn: &mut Turn<'_>,
        partition: PartitionId,
        key: Option<Key>,
        state: Option<Filled>,
        look: Look,
    ) {
        match look {
            Look::Serve { to, request, known, want } => self.answer_read(turn, to, request, known, want, state),
            Look::Own { read } => self.own_read(turn, read, state),
            Look::Pull { job } => self.pull_object(turn, job, key.zip(state)),
            Look::Absent { session } => self.absent_checked(turn, partition, session, key.filter(|_| state.is_some())),
        }
    }

    fn load_failed(&mut self, turn: &mut Turn<'_>, load: Load) {
        let Load { partition, purpose, candidates, tried } = load;
        // A record that compaction has moved meanwhile is read where it is now.
        match &purpose {
            Purpose::Update(key) if self.has_moved(partition, key, &candidates) => {
                return self.load_update(turn, partition, key);
            }
            Purpose::Look(key, look) if self.has_moved(partition, key, &candidates) => {
                return self.look(turn, partition, key, *look);
            }
            Purpose::Hint { sequence, use_ } => {
                let place = self.hints.place_of(*sequence);
                if let Some(place) = place.filter(|place| candidates.get(tried).is_none_or(|read| !read.is(place))) {
                    return self.load_hint(turn, partition, (*sequence, place), *use_);
                }
            }
            _ => {}
        }
        turn.notice(Notice::ReadFailed);
        if broken(Mutation::NotFoundOnReadError) {
            match purpose {
                Purpose::Update(key) => return self.updates_loaded(turn, partition, &key, None),
                Purpose::Look(key, look) => return self.looked(turn, partition, Some(key), Object::default(), look),
                Purpose::Slot { .. } | Purpose::Hint { .. } => return,
            }
        }
        match purpose {
            Purpose::Update(key) => {
                for step in self.updating.remove(&key).unwrap_or_default() {
                    self.refuse_step(turn, &step, Failure::NotReady, Refusal::Unreadable);
                }
            }
            Purpose::Look(_, look) | Purpose::Slot { look, .. } => self.show(turn, partition, None, None, look),
            Purpose::Hint { sequence, use_ } => self.hint_loaded(turn, sequence, None, use_),
        }
    }

    fn has_moved(&self, partition: PartitionId, key: &Key, candidates: &[Place]) -> bool {
        let index = self.replicas.get(&partition).map(|replica| &replica.table.index);
        index.is_some_and(|index| !index.candidates(key.hash64()).eq(candidates.iter().copied()))
    }

    /// Reads a key's object for the updates that wait for it.
    fn load_update(&mut self, turn: &mut Turn<'_>, partition: PartitionId, key: &Key) {
        let candidates = self.replica(partition).table.index.candidates(key.hash64()).collect();
        self.load(turn, partition, Purpose::Update(key.clone()), candidates);
    }

    fn refuse_step(&mut self, turn: &mut Turn<'_>, step: &UpdateStep, failure: Failure, refusal: Refusal) {
        match step {
            UpdateStep::Coordinate { write } => self.write_failed(turn, *write, failure),
            UpdateStep::Apply(Apply { after: After::Replied { to, request, .. }, .. }) => {
                self.reply_refused(turn, *to, *request, refusal);
            }
            UpdateStep::Apply(_) => {}
            UpdateStep::Pulled { session, .. } => self.fail_session(turn, *session, TransferError::OwnStore),
        }
    }
}

/// A record that the cache of hot ones holds, too, is left as it is: only its object is copied.
fn object_of(record: Arc<Record>) -> Object {
    match Arc::try_unwrap(record) {
        Ok(Record { body: Body::Object { object, .. }, .. }) => object,
        Ok(_) => Object::default(),
        Err(shared) => match &shared.body {
            Body::Object { object, .. } => object.clone(),
            _ => Object::default(),
        },
    }
}
