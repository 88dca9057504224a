//! What the filling of replicas has come to, for whoever watches it.

use super::shard::{Shard, Turn};
use crate::base::{NodeId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// What one node has sent to replicas that fill, since this process began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Copies of partitions that are here now as whole as it had them.
    pub copies: u64,
    /// Objects.
    pub objects: u64,
    /// Their keys and versions.
    pub bytes: u64,
    /// Copies that ended before they were whole, to be begun again.
    pub retries: u64,
    /// Why the last of these did; none once a copy has become whole since.
    pub last_error: Option<TransferError>,
}

/// Why a copy has ended before it was whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Messages were lost, or the other node is stuck.
    #[error("no answer in time")]
    NoAnswer,
    /// It could not read what it was asked for, or does not hold the partition any more.
    #[error("it could not read what it was asked for")]
    Unreadable,
    /// Its process is another one, or its disk.
    #[error("it has started anew")]
    Restarted,
    /// It has lost data meanwhile, or given the partition up.
    #[error("its clock of the partition has become void")]
    ClockVoid,
    /// An answer that brings nothing on.
    #[error("it answered with nothing that was asked for")]
    NoHeadway,
    /// It cannot be reached.
    #[error("it is down")]
    Down,
    /// This node could not read or append.
    #[error("this node's own store refused")]
    OwnStore,
}

/// How the filling goes, by source, and since when it does not.
#[derive(Debug, Default)]
pub(super) struct TransferProgress {
    sources: BTreeMap<NodeId, Transfer>,
    /// Since when nothing has come on; none while nothing can.
    progress_at: Option<Time>,
    idle: Duration,
}

impl TransferProgress {
    /// So much came from this node.
    pub(super) fn came(&mut self, from: NodeId, objects: u64, bytes: u64) {
        let transfer = self.sources.entry(from).or_default();
        (transfer.objects, transfer.bytes) = (transfer.objects + objects, transfer.bytes + bytes);
    }

    /// Something is here that was not before; until then nothing more can be.
    pub(super) fn advances(&mut self, until: Time) {
        self.progress_at = Some(until);
    }

    /// A copy is whole.
    pub(super) fn ended(&mut self, now: Time, from: NodeId) {
        let transfer = self.sources.entry(from).or_default();
        transfer.copies += 1;
        transfer.last_error = None;
        self.advances(now);
    }

    fn failed(&mut self, from: NodeId, why: TransferError) {
        let transfer = self.sources.entry(from).or_default();
        transfer.retries += 1;
        transfer.last_error = Some(why);
    }

    /// Something is to be copied, and may be.
    pub(super) fn waits(&mut self, now: Time) {
        self.idle = now.since(*self.progress_at.get_or_insert(now));
    }

    /// Nothing is, or nothing may be.
    pub(super) fn rests(&mut self) {
        (self.progress_at, self.idle) = (None, Duration::ZERO);
    }

    /// By source.
    pub(super) fn sources(&self) -> &BTreeMap<NodeId, Transfer> {
        &self.sources
    }

    /// For how long nothing has come although something should, as of the last round of exchange.
    pub(super) fn idle(&self) -> Duration {
        self.idle
    }
}

impl Transfer {
    /// With what another shard of the node got from the same source.
    pub(crate) fn add(&mut self, other: &Transfer) {
        self.copies += other.copies;
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.retries += other.retries;
        self.last_error = self.last_error.or(other.last_error);
    }
}

impl Shard {
    /// A session ends without a join, for a reason that an operator wants to know of if a replica fills by it.
    pub(super) fn fail_session(&mut self, turn: &mut Turn<'_>, id: u64, why: TransferError) {
        if let Some((peer, partition)) = self.exchange.subject_of(id)
            && self.fills(partition)
        {
            self.exchange.filling.transfers.failed(peer, why);
        }
        self.abort_session(turn, id);
    }

    /// Looks whether the filling comes on.
    pub(super) fn watch_transfers(&mut self, now: Time) {
        let own = self.own_partitions();
        let waits = own.into_iter().any(|partition| self.fills(partition) && self.may_fill(partition));
        match waits && !self.fills_pause() {
            true => self.exchange.filling.transfers.waits(now),
            false => self.exchange.filling.transfers.rests(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_is_the_time_since_anything_came_while_something_should() {
        let mut transfers = TransferProgress::default();
        let at = |seconds: u64| Time(seconds * 1_000_000);
        transfers.waits(at(1));
        transfers.waits(at(31));
        assert_eq!(transfers.idle(), Duration::from_secs(30));
        transfers.came(NodeId(1), 2, 99);
        transfers.advances(at(40));
        transfers.waits(at(41));
        assert_eq!(transfers.idle(), Duration::from_secs(1));
        transfers.rests();
        transfers.waits(at(100));
        assert_eq!(transfers.idle(), Duration::ZERO, "an hour's pause is no stall");
    }
}
