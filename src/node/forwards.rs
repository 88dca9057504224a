//! Commands passed on to a node that can coordinate them.

use super::Notice;
use super::shard::{Origin, Shard, Turn};
use super::timers::Timer;
use crate::base::{NodeId, Time};
use crate::replication::{Claim, Command, Failure, Message, Outcome, Sloppiness};
use std::time::Duration;

/// A command in another node's hands. A write is tried on a further primary only when the one before
/// said "nothing written"; silence is never an answer (PROTOCOL R18).
#[derive(Debug)]
pub(super) struct Forward {
    origin: Origin,
    command: Command,
    deadline: Time,
    to: NodeId,
    /// Primaries not tried yet, last first.
    untried: Vec<NodeId>,
    /// Those that said they are not ready, to be asked once more if nobody is.
    filling: Vec<NodeId>,
    claim: Claim,
}

impl Shard {
    /// Passes a client's write on to a primary, or coordinates it as a fallback if none is up.
    pub(super) fn forward(&mut self, turn: &mut Turn<'_>, origin: Origin, command: Command) {
        let partition = self.view.layout().partitioning.of(&command.key);
        let mut untried = self.askable(self.view.layout().primaries(partition), turn.now.time);
        untried.reverse();
        let Some(to) = untried.pop() else { return self.coordinate_without_primaries(turn, origin, command) };
        let deadline = turn.now.time + Duration::from_millis(command.options.timeout_ms);
        turn.notice(Notice::CommandForwarded);
        let forward = Forward { origin, command, deadline, to, untried, filling: Vec::new(), claim: Claim::Complete };
        self.send_forward(turn, forward);
    }

    /// Each try has a number of its own: a repeated refusal is never taken for the answer to the next.
    fn send_forward(&mut self, turn: &mut Turn<'_>, forward: Forward) {
        let id = self.number();
        self.timers.set(forward.deadline, Timer::ForwardDeadline(id));
        let mut command = forward.command.clone();
        command.options.timeout_ms = forward.deadline.since(turn.now.time).as_millis() as u64;
        self.peers.asked(forward.to, turn.now.time);
        turn.send(vec![forward.to], Message::Forward { request: id, command, claim: forward.claim });
        self.forwards.insert(id, forward);
    }

    fn coordinate_without_primaries(&mut self, turn: &mut Turn<'_>, origin: Origin, command: Command) {
        let partition = self.view.layout().partitioning.of(&command.key);
        let rows = match self.rows_of(partition, &command.options) {
            Ok(rows) => rows,
            Err(failure) => return turn.fail(origin, failure),
        };
        let stands_in = command.options.sloppiness == Sloppiness::Sloppy && self.may_stand_in(self.me.node);
        if !stands_in && !self.is_replica(partition) {
            let required = rows.iter().map(|row| row.required).max().unwrap_or_default();
            return turn.fail(origin, Failure::TooFewReplicas { required, reachable: 0 });
        }
        self.coordinate(turn, origin, command, rows);
    }

    pub(super) fn forwarded(&mut self, turn: &mut Turn<'_>, from: NodeId, id: u64, outcome: Outcome) {
        if self.forwards.get(&id).is_none_or(|forward| forward.to != from) {
            return;
        }
        let Some(mut forward) = self.end_forward(id) else { return };
        let elsewhere = match &outcome {
            Outcome::Failed(Failure::NotReady) => {
                forward.filling.push(from);
                true
            }
            Outcome::Failed(Failure::Overloaded | Failure::DiskFull) => true,
            _ => false,
        };
        if !elsewhere {
            return turn.answer(forward.origin, outcome);
        }
        if let Some(next) = forward.untried.pop() {
            forward.to = next;
            return self.send_forward(turn, forward);
        }
        self.no_complete_primary(turn, forward, outcome);
    }

    /// No complete primary could be reached: a filling one may coordinate (PROTOCOL R6).
    fn no_complete_primary(&mut self, turn: &mut Turn<'_>, mut forward: Forward, outcome: Outcome) {
        let partition = self.view.layout().partitioning.of(&forward.command.key);
        if forward.claim == Claim::Any || forward.filling.is_empty() {
            return turn.answer(forward.origin, outcome);
        }
        if self.is_replica(partition) {
            forward.command.options.timeout_ms = forward.deadline.since(turn.now.time).as_millis() as u64;
            return self.coordinate_without_primaries(turn, forward.origin, forward.command);
        }
        forward.claim = Claim::Any;
        forward.untried = std::mem::take(&mut forward.filling);
        if let Some(next) = forward.untried.pop() {
            forward.to = next;
            self.send_forward(turn, forward);
        }
    }

    /// The node is down: whether it did the write will not be learned in time. The answer names it.
    pub(super) fn end_forwards_to(&mut self, turn: &mut Turn<'_>, node: NodeId) {
        let ended: Vec<u64> = self.forwards.iter().filter(|(_, f)| f.to == node).map(|(id, _)| *id).collect();
        for id in ended {
            self.forward_overdue(turn, id);
        }
    }

    /// This try is over.
    fn end_forward(&mut self, id: u64) -> Option<Forward> {
        self.timers.cancel(Timer::ForwardDeadline(id));
        self.forwards.remove(&id)
    }

    pub(super) fn forward_overdue(&mut self, turn: &mut Turn<'_>, id: u64) {
        let Some(forward) = self.end_forward(id) else { return };
        let partition = self.view.layout().partitioning.of(&forward.command.key);
        let required = forward.command.options.w.of(self.view.layout().primaries(partition).len()).unwrap_or(0);
        turn.fail(forward.origin, Failure::OutcomeUnknown { required, acks: 0, coordinator: Some(forward.to) });
    }
}
