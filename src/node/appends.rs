//! Records on their way to the disk, and what happens when they arrive.

use super::replica::Loaded;
use super::shard::{Shard, Turn};
use super::{Effect, Notice};
use crate::base::limits::MAX_OBJECT_BYTES;
use crate::base::{Mutation, NodeId, broken};
use crate::causal::{Actor, DotSet, Filled, bytes_of_all};
use crate::replication::{Failure, Message, Outcome, Refusal, StoreReply};
use crate::ring::PartitionId;
use crate::store::{Body, Place, Published, Record, Sequence};
use std::collections::VecDeque;

/// Appends not yet answered, oldest first. The driver answers them in this order.
#[derive(Debug, Default)]
pub(super) struct Appends {
    queue: VecDeque<Append>,
}

#[derive(Debug)]
struct Append {
    id: u64,
    record: Record,
    after: After,
}

/// What becomes due when a record is durable, and only then.
#[derive(Debug, Clone, Copy)]
pub(super) enum After {
    /// Nothing but the publishing.
    Nothing,
    /// The coordinator's own record: acknowledge to itself, send to the others.
    Coordinated { write: u64 },
    /// A peer's state: tell it, in the name of the actor of when it came. After a renewal the clock may claim
    /// nothing of it any more, and the name of the new actor would say that it does (PROTOCOL R5).
    Replied { to: NodeId, request: u64, actor: Actor },
    /// The join of an exchange session.
    Joined { session: u64 },
    /// A hint's target has it.
    HintDone,
    /// A hint's holder has become an owner and keeps the write itself.
    HintKept { request: u64 },
}

impl Shard {
    /// Appends one record: pending from here on, durable when the driver says so.
    pub(super) fn append(
        &mut self,
        turn: &mut Turn<'_>,
        partition: PartitionId,
        body: Body,
        slot: Published,
        after: After,
    ) {
        let id = self.number();
        self.replica(partition).append(&body, slot);
        if let Body::Hint(hint) = &body {
            self.hints.appended(id, hint);
        }
        if broken(Mutation::SendBeforeDurable)
            && let After::Coordinated { write } = after
        {
            self.fan_out(turn, write);
        }
        let record = Record { partition, body };
        self.appends.queue.push_back(Append { id, record: record.clone(), after });
        turn.effects.push(Effect::Append { shard: self.me.shard, id, record });
    }

    /// Dots burnt by a failed append are voided before anything else is minted (PROTOCOL R3).
    pub(super) fn void_burnt(&mut self, turn: &mut Turn<'_>, partition: PartitionId) {
        let owned = self.is_replica(partition);
        if let Some(void) = self.replica(partition).take_void() {
            let void = match void {
                // Who owns nothing of it claims nothing of it: only the counter is for certain.
                Body::Void { minted, .. } if !owned => Body::Void { dots: DotSet::EMPTY, minted },
                void => void,
            };
            self.append(turn, partition, void, Published::default(), After::Nothing);
        }
    }

    pub(super) fn appended(&mut self, turn: &mut Turn<'_>, id: u64, place: Place, sequence: Sequence) {
        // Answers to appends voided since are no news: their records were never published.
        if self.appends.queue.front().is_none_or(|append| append.id != id) {
            return;
        }
        let Some(Append { id, record, after }) = self.appends.queue.pop_front() else { return };
        let partition = record.partition;
        let recent_dots = self.timings.recent_dots;
        let replica = self.replica(partition);
        replica.publish(&record, place);
        replica.table.forget_recent(recent_dots);
        match &record.body {
            Body::Hint(hint) => {
                self.hints.durable(id, sequence, partition, hint, place);
                turn.notice(Notice::HintStored);
                // Its sender may not have known the newest layout.
                if hint.targets.iter().any(|target| !self.view.layouts.newest().is_primary(partition, *target)) {
                    self.inherit_hints(turn);
                }
            }
            Body::HintDone { hint, target } => self.hints.done(*hint, *target),
            Body::Complete => turn.notice(Notice::PartitionCompleted),
            Body::Reset { .. } => turn.notice(Notice::PartitionVoided),
            Body::Drop => turn.notice(Notice::PartitionDropped),
            _ => {}
        }
        self.after_durable(turn, partition, after);
    }

    fn after_durable(&mut self, turn: &mut Turn<'_>, partition: PartitionId, after: After) {
        match after {
            After::Nothing => {}
            After::Coordinated { write } => self.coordinated(turn, write),
            After::Replied { to, request, actor } => self.reply_durable(turn, to, request, actor),
            After::Joined { session } => self.joined(turn, partition, session),
            After::HintDone => turn.notice(Notice::HintDrained),
            After::HintKept { request } => self.hint_kept(turn, request),
        }
    }

    /// An append failed, and with it every later one of this shard. Pending becomes durable again.
    pub(super) fn append_failed(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(at) = self.appends.queue.iter().position(|append| append.id == id) else { return };
        turn.notice(Notice::AppendFailed);
        if broken(Mutation::AppendFailMiddle) {
            if let Some(failed) = self.appends.queue.remove(at) {
                self.refuse(turn, failed.after);
            }
            return;
        }
        let failed = self.appends.queue.split_off(at);
        let actor = self.me.actor;
        for replica in self.replicas.values_mut().filter(|replica| !replica.is_settled()) {
            replica.void(actor);
        }
        // Whatever precedes the failure is answered already: the driver answers in order.
        self.appends.queue.clear();
        self.hints.void_appended();
        if !broken(Mutation::AppendFailKeepsSessions) {
            self.abort_all_sessions(turn);
        }
        turn.effects.push(Effect::Resume { shard: self.me.shard });
        for append in failed {
            if let Body::HintDone { hint, target } = append.record.body {
                self.hints.queue(hint, target);
            }
            self.refuse(turn, append.after);
        }
    }

    fn refuse(&mut self, turn: &mut Turn<'_>, after: After) {
        match after {
            After::Coordinated { write } => self.write_failed(turn, write, Failure::DiskFull),
            After::Replied { to, request, .. } => self.reply_refused(turn, to, request, Refusal::DiskFull),
            After::Nothing | After::Joined { .. } | After::HintDone | After::HintKept { .. } => {}
        }
    }

    /// "It is durable here": sent only while a storage answer is handled, or when nothing is pending.
    fn reply_durable(&mut self, turn: &mut Turn<'_>, to: NodeId, request: u64, actor: Actor) {
        if request != 0 && self.view.layouts.declared_dead(to) {
            // It came before the verdict; nobody has waited for it since.
            return self.reply_refused(turn, to, request, Refusal::NotMine);
        }
        if request != 0 {
            let refilled = self.refilled(turn.now.time);
            let reply = StoreReply::Durable { actor, refilled };
            turn.send(vec![to], Message::Replicated { request, reply });
        }
    }

    pub(super) fn reply_refused(&mut self, turn: &mut Turn<'_>, to: NodeId, request: u64, refusal: Refusal) {
        if request != 0 {
            turn.send(vec![to], Message::Replicated { request, reply: StoreReply::Refused(refusal) });
        }
    }

    /// Merges a state into the key's pending one and appends what changes. The acknowledgement waits
    /// for the disk also when nothing changes but something is still on its way. What would be too long for
    /// a record is refused here, where it concerns one key, and not by the disk, with all that was to be
    /// written beside it.
    pub(super) fn apply(
        &mut self,
        turn: &mut Turn<'_>,
        partition: PartitionId,
        apply: Apply,
        object: crate::causal::Object,
        slot: Published,
    ) -> Applied {
        let Apply { key, state, dots, after } = apply;
        let listed = self.listed(partition, key.hash64());
        let replica = self.replica(partition);
        if let (false, After::Replied { to, request, .. }) = (replica.takes_writes(), after) {
            self.reply_refused(turn, to, request, Refusal::Unreadable);
            return Applied::Taken;
        }
        let mut before = replica.fill_pending(object);
        before.context.union(&listed);
        let mut entering = dots;
        // The key's own, too: after damage the clock may not have them yet.
        state.versions.iter().chain(&before.versions).for_each(|version| entering.insert(version.dot));
        let entering = entering.difference(replica.pending_clock());
        let merged = before.clone().merge(&state);
        if merged == before && entering.is_empty() && replica.is_settled() {
            self.after_durable(turn, partition, after);
            return Applied::Taken;
        }
        if bytes_of_all(&merged.versions) > MAX_OBJECT_BYTES {
            turn.notice(Notice::ObjectTooLarge);
            self.refuse(turn, after);
            return Applied::TooLarge;
        }
        if merged.versions.len() > before.versions.len() && merged.versions.len() > 1 {
            turn.notice(Notice::SiblingsMade);
        }
        let body = self.replica(partition).object_body(&key, merged, entering, None);
        self.append(turn, partition, body, slot, after);
        Applied::Taken
    }

    /// What an update step builds on, if it is known without a read.
    pub(super) fn pending(&mut self, partition: PartitionId, key: &crate::base::Key) -> Loaded {
        self.replica(partition).pending(key)
    }

    pub(super) fn write_failed(&mut self, turn: &mut Turn<'_>, write: u64, failure: Failure) {
        if let Some(write) = self.end_write(write)
            && let Some(origin) = write.origin
        {
            turn.answer(origin, Outcome::Failed(failure));
        }
    }
}

/// What became of a state to merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    /// It is there, or on its way.
    Taken,
    /// The siblings of all replicas together are too long for one record. Nothing changed.
    TooLarge,
}

/// A state to merge into a key.
#[derive(Debug)]
pub(super) struct Apply {
    pub(super) key: crate::base::Key,
    pub(super) state: Filled,
    /// Dots whose effect the state is.
    pub(super) dots: DotSet,
    pub(super) after: After,
}
