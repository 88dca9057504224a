//! The replica's side: what it answers to coordinators.

use super::appends::{After, Apply};
use super::loads::{Look, UpdateStep};
use super::shard::{Shard, Turn};
use super::{Notice, Space};
use crate::base::{Key, NodeId};
use crate::causal::{DotSet, Filled};
use crate::replication::{Known, Message, ReadReply, Refusal, StoreReply, Want};
use crate::store::{Body, HintBody, Published};

/// A state that another node sent.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) from: NodeId,
    pub(super) request: u64,
    pub(super) key: Key,
    pub(super) state: Filled,
    pub(super) dots: DotSet,
    pub(super) layout: u64,
}

/// What another node asks about a key.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) from: NodeId,
    pub(super) request: u64,
    pub(super) key: Key,
    pub(super) known: Option<Known>,
    pub(super) want: Want,
    pub(super) layout: u64,
}

impl Shard {
    pub(super) fn serve_read(&mut self, turn: &mut Turn<'_>, question: Question) {
        let Question { from, request, key, known, want, layout } = question;
        let (key, partition) = (&key, self.view.layout().partitioning.of(&key));
        if self.is_history(from, layout) || self.is_behind(from, layout) {
            return turn.send(vec![from], Message::ReadAnswer { request, reply: ReadReply::Filling });
        }
        let look = Look::Serve { to: from, request, known, want };
        if !self.is_replica(partition) {
            return self.look_hints(turn, partition, key, look);
        }
        if !self.replica(partition).counts() {
            return turn.send(vec![from], Message::ReadAnswer { request, reply: ReadReply::Filling });
        }
        self.look(turn, partition, key, look);
    }

    pub(super) fn answer_read(
        &mut self,
        turn: &mut Turn<'_>,
        to: NodeId,
        request: u64,
        known: Option<Known>,
        want: Want,
        state: Option<Filled>,
    ) {
        let reply = match state {
            Some(state) => reply_to(known, want, state),
            None => ReadReply::Failed,
        };
        turn.send(vec![to], Message::ReadAnswer { request, reply });
    }

    /// A state to merge, or to hold for primaries that cannot be reached.
    pub(super) fn serve_replicate(&mut self, turn: &mut Turn<'_>, incoming: Incoming, hint_for: Vec<NodeId>) {
        let Incoming { from, request, key, state, dots, layout } = incoming;
        let partition = self.view.layout().partitioning.of(&key);
        if self.is_history(from, layout) {
            return self.reply_refused(turn, from, request, Refusal::NotMine);
        }
        if self.space == Space::Reserve && request != 0 && is_put(&state, &dots) {
            return self.reply_refused(turn, from, request, Refusal::DiskFull);
        }
        let after = After::Replied { to: from, request, actor: self.me.actor };
        if self.is_replica(partition) {
            let apply = Apply { key: key.clone(), state, dots, after };
            return self.update(turn, partition, &key, UpdateStep::Apply(apply));
        }
        if hint_for.is_empty() || !self.may_stand_in(self.me.node) {
            return self.reply_refused(turn, from, request, Refusal::NotMine);
        }
        if !self.hints.has_room(&self.timings) {
            turn.notice(Notice::HintRefused);
            return self.reply_refused(turn, from, request, Refusal::HintsFull);
        }
        let body = Body::Hint(HintBody { targets: hint_for, key, state, dots, minted: None });
        self.append(turn, partition, body, Published::default(), after);
    }

    /// Does the peer go by what no longer counts: a version that has ended, or its own life after it was declared dead?
    /// Its quorums need not meet those of now (PROTOCOL R6).
    pub(super) fn is_history(&self, peer: NodeId, layout: u64) -> bool {
        layout < self.view.layouts.oldest().version || self.view.layouts.declared_dead(peer)
    }

    /// Does a peer that nobody waits for, since it is in no live version, still read by a version that this node no longer
    /// reads by? Others may have ended it already, and write past its owners.
    fn is_behind(&self, peer: NodeId, layout: u64) -> bool {
        let layouts = &self.view.layouts;
        layout < layouts.reading && layouts.versions.iter().all(|version| version.node(peer).is_none())
    }

    /// A peer reports on a state it was sent: a write's, or a hint's.
    pub(super) fn replicated(&mut self, turn: &mut Turn<'_>, from: NodeId, request: u64, reply: StoreReply) {
        if self.writes.contains_key(&request) {
            self.write_replicated(turn, from, request, reply);
        } else {
            self.hint_answered(turn, from, request, &reply);
        }
    }
}

/// Does the state bring a value? Then somebody waits for its acknowledgement and can turn to another node; repair,
/// for which nobody waits, goes on from the reserve.
fn is_put(state: &Filled, dots: &DotSet) -> bool {
    state.versions.iter().any(|version| dots.contains(version.dot))
}

/// The shortest true answer (PROTOCOL R15).
fn reply_to(known: Option<Known>, want: Want, state: Filled) -> ReadReply {
    if let Some(known) = known.filter(|known| known.live_hash == state.live_hash()) {
        return if known.context_hash == state.context.hash64() {
            ReadReply::Same
        } else {
            ReadReply::SameVersions { context: state.context }
        };
    }
    match want {
        Want::Values => ReadReply::State(state),
        Want::Outline => ReadReply::Outline(state.outline()),
    }
}
