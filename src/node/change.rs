//! What a change of the layout asks of a shard: to give up what is not its own any more, to fill what is new, and
//! to say when it is through with the requests of before.
//!
//! ```text
//! gained: clock void, does not count --> pulled from owners of the version read by --> counts   (Filled)
//! lost:   clock void, does not count --> its keys go                                        (Drop)
//! both, and every request begun before has ended                                               (Drained)
//! ```

use super::Effect;
use super::appends::After;
use super::shard::{Shard, Turn};
use super::timers::Timer;
use crate::base::{Mutation, NodeId, broken};
use crate::causal::DotSet;
use crate::ring::PartitionId;
use crate::store::{Body, Published};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at what a change still needs.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// How far a shard is with the layouts that it was told of.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Told of, and begun with.
    taken: u64,
    /// Begun under an older revision, nothing is open.
    drained: u64,
    /// All of its partitions of this version count, and everyone goes by it.
    filled: u64,
    /// Partitions that this node owns by older versions alone: what it had of each once everyone went by the newest.
    leaving: BTreeMap<PartitionId, Leaving>,
    /// Lost partitions that may still have keys.
    lost: BTreeSet<PartitionId>,
}

/// A partition about to be left.
#[derive(Debug)]
struct Leaving {
    /// The newest version when this was noted.
    version: u64,
    /// All that was here then, durably. What comes later reaches its quorum among those who keep the partition.
    clock: DotSet,
    /// Owners by the newest version that have all of it, durably.
    covered_by: BTreeSet<NodeId>,
}

/// What a partition is to this node by the layouts in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holding {
    /// Its own since before the last version that it has acknowledged.
    Kept,
    /// Its own by later versions alone: whatever is here of it is from another time.
    Gained,
    /// Not its own.
    Lost,
}

impl Shard {
    /// The layouts have changed, or the node has just started: clocks of partitions gained and lost become void, in
    /// the log before anything that is acknowledged under the new layouts.
    pub(super) fn take_layouts(&mut self, turn: &mut Turn<'_>) {
        if self.change.taken == self.view.layouts.revision {
            return;
        }
        self.change.taken = self.view.layouts.revision;
        self.note_leaving();
        for partition in self.partitions() {
            match self.holding(partition) {
                Holding::Kept => {}
                Holding::Gained if self.replica(partition).is_whole() => self.give_up(turn, partition),
                Holding::Gained => self.fill_anew(turn, partition),
                Holding::Lost if self.replicas.contains_key(&partition) => {
                    self.change.lost.insert(partition);
                    self.abort_sessions_of(turn, partition);
                    if !self.replica(partition).pending_clock().is_empty() {
                        self.give_up(turn, partition);
                    }
                }
                Holding::Lost => {}
            }
        }
        self.forget_ended_versions(turn);
        self.timers.set(turn.now.time, Timer::Fill);
        self.inherit_hints(turn);
        self.timers.set(turn.now.time, Timer::Layouts);
    }

    /// All partitions of this shard.
    fn partitions(&self) -> Vec<PartitionId> {
        let all = self.view.layout().partitioning.all();
        all.filter(|partition| partition.0 as usize % self.me.shards == self.me.shard).collect()
    }

    fn holding(&self, partition: PartitionId) -> Holding {
        let (layouts, me) = (&self.view.layouts, self.me.node);
        if broken(Mutation::GiveUpUnconfirmed) && !layouts.newest().is_primary(partition, me) {
            return Holding::Lost;
        }
        match layouts.owned_since(partition, me) {
            None => Holding::Lost,
            Some(since) if since > layouts.acknowledged && !broken(Mutation::GainedCountsAtOnce) => Holding::Gained,
            Some(_) => Holding::Kept,
        }
    }

    /// The clock claims nothing from here on (PROTOCOL R8); data go later. The counter stays.
    fn give_up(&mut self, turn: &mut Turn<'_>, partition: PartitionId) {
        self.forget_pulled_before(turn, partition);
        self.fill_soundly(partition);
        self.void_writes(turn, partition);
        let body = Body::Reset { clock: DotSet::EMPTY };
        self.append(turn, partition, body, Published::default(), After::Nothing);
    }

    /// A partition that was gained did not count before either.
    fn fill_anew(&mut self, turn: &mut Turn<'_>, partition: PartitionId) {
        self.forget_pulled_before(turn, partition);
        if self.replica(partition).pending_clock().is_empty() {
            self.fill_soundly(partition);
        }
    }

    /// The clock claims nothing. Nor may it come to claim what is left here of another time, without what that had
    /// superseded.
    fn fill_soundly(&mut self, partition: PartitionId) {
        if self.replica(partition).is_bare() {
            self.exchange.filling.begins_bare(partition);
        }
    }

    /// What was pulled under earlier layouts does not make it complete under these.
    fn forget_pulled_before(&mut self, turn: &mut Turn<'_>, partition: PartitionId) {
        self.forget_pulled(partition);
        self.abort_sessions_of(turn, partition);
    }

    /// May a full listing of this partition begin? Not before every node goes by the version that this one owns it by:
    /// until then writes may miss it (PROTOCOL R6).
    pub(super) fn may_fill(&self, partition: PartitionId) -> bool {
        let layouts = &self.view.layouts;
        let since = layouts.owned_since(partition, self.me.node);
        since.is_some_and(|since| since == layouts.oldest().version || since <= layouts.settled)
    }

    /// Does this node own the partition for as long as older versions live, and no longer?
    pub(super) fn is_leaving(&self, partition: PartitionId) -> bool {
        self.is_replica(partition) && !self.view.layouts.newest().is_primary(partition, self.me.node)
    }

    /// Notes what is here, durably, of the partitions that this node is about to leave, once everyone goes by the newest
    /// version: what is on its way then, and is ever acknowledged, was begun under that. A copy that
    /// reads count on is noted when it is whole: before, it lacks what it should have.
    fn note_leaving(&mut self) {
        let version = self.view.layouts.newest().version;
        self.change.leaving.retain(|_, leaving| leaving.version == version);
        if !self.view.layouts.is_settled() {
            return;
        }
        for partition in self.partitions() {
            if !self.is_leaving(partition) || self.change.leaving.contains_key(&partition) {
                continue;
            }
            // By a version that is not read: what it acknowledged has a quorum in the one that is, too.
            let read = self.is_primary(partition);
            let replica = self.replica(partition);
            if replica.is_whole() || (!read && !replica.is_damaged()) {
                let clock = replica.table.clock.clone();
                self.change.leaving.insert(partition, Leaving { version, clock, covered_by: BTreeSet::new() });
            }
        }
    }

    /// The clock claims less than was noted.
    pub(super) fn forget_leaving(&mut self, partition: PartitionId) {
        self.change.leaving.remove(&partition);
    }

    /// A peer's clock of a partition that may be one that this node leaves.
    pub(super) fn clock_shown(&mut self, peer: NodeId, partition: PartitionId, clock: &DotSet) {
        let keeps = self.view.layouts.newest().is_primary(partition, peer);
        if let Some(leaving) = self.change.leaving.get_mut(&partition).filter(|_| keeps)
            && leaving.clock.difference(clock).is_empty()
        {
            leaving.covered_by.insert(peer);
        }
    }

    /// Has a majority of those who keep the partition all that was here? Fewer would do to lose nothing; but a read by
    /// the newest version may ask any majority of them, and fewer owners than before may have it.
    fn is_covered(&self, partition: PartitionId) -> bool {
        let keepers = self.view.layouts.newest().primaries(partition).len();
        let leaving = self.change.leaving.get(&partition);
        leaving.is_some_and(|leaving| leaving.covered_by.len() > keepers / 2)
    }

    /// Looks at what is still to be done, and reports what is.
    pub(super) fn look_at_layouts(&mut self, turn: &mut Turn<'_>) {
        let layouts = Arc::clone(&self.view.layouts);
        if self.change.drained != layouts.revision && self.is_drained() {
            self.change.drained = layouts.revision;
            turn.effects.push(Effect::Drained { shard: self.me.shard, revision: layouts.revision });
        }
        let drained = self.change.drained == layouts.revision;
        if !drained {
            self.give_up_again(turn);
        }
        let settled = layouts.is_settled();
        if settled && self.change.filled != layouts.newest().version {
            self.note_leaving();
        }
        if drained && settled && self.change.filled != layouts.newest().version && self.is_filled() {
            self.change.filled = layouts.newest().version;
            let (revision, version) = (layouts.revision, layouts.newest().version);
            turn.effects.push(Effect::Filled { shard: self.me.shard, revision, version });
        }
        self.drop_lost(turn);
        if !drained || self.change.filled != layouts.newest().version || !self.change.lost.is_empty() {
            self.timers.set(turn.now.time + LOOK_INTERVAL, Timer::Layouts);
        }
    }

    /// A record that voids a lost clock may have failed.
    fn give_up_again(&mut self, turn: &mut Turn<'_>) {
        for partition in self.change.lost.clone() {
            let owned = self.is_replica(partition);
            let replica = self.replica(partition);
            if !owned && replica.is_settled() && !replica.is_damaged() && !replica.pending_clock().is_empty() {
                self.give_up(turn, partition);
            }
        }
    }

    /// Has every request ended that was begun under other layouts, and is all that had to become void void, durably?
    fn is_drained(&self) -> bool {
        let revision = self.view.layouts.revision;
        let writes = self.writes.values().any(|write| write.revision < revision && write.origin.is_some());
        let reads = self.reads.values().any(|read| read.revision < revision);
        !writes && !reads && self.partitions().into_iter().all(|partition| self.is_void_if_it_must(partition))
    }

    fn is_void_if_it_must(&self, partition: PartitionId) -> bool {
        let Some(replica) = self.replicas.get(&partition) else {
            return self.holding(partition) != Holding::Gained || !self.complete_by_default;
        };
        match self.holding(partition) {
            Holding::Kept => true,
            Holding::Gained => !replica.table.complete,
            Holding::Lost => replica.table.clock.is_empty(),
        }
    }

    /// Do all its partitions of the newest version count, and has it nothing that only it has of those that it leaves?
    fn is_filled(&self) -> bool {
        if self.leaves_something() && !broken(Mutation::LeaverUncovered) {
            return false;
        }
        let newest = self.view.layouts.newest();
        let mut own = newest.partitions_of(self.me.node).filter(|p| p.0 as usize % self.me.shards == self.me.shard);
        own.all(|partition| match self.replicas.get(&partition) {
            Some(replica) => replica.is_whole(),
            None => self.complete_by_default,
        })
    }

    /// A node that leaves the cluster takes no hint with it either.
    fn leaves_something(&self) -> bool {
        let leaves = self.view.layouts.newest().node(self.me.node).is_none();
        (leaves && !self.hints.is_empty())
            || self.partitions().into_iter().any(|partition| self.is_uncovered(partition))
    }

    /// Is this node leaving the partition, and may it have something of it that too few others have?
    pub(super) fn is_uncovered(&self, partition: PartitionId) -> bool {
        self.is_leaving(partition) && !self.is_covered(partition)
    }

    /// Drops what lost partitions have, once nothing of it is on its way: one record for all keys of each.
    fn drop_lost(&mut self, turn: &mut Turn<'_>) {
        for partition in self.change.lost.clone() {
            let owned = self.is_replica(partition);
            let replica = self.replica(partition);
            // Begun anew when it is lost again.
            if owned || (replica.table.index.is_empty() && replica.is_settled()) {
                self.change.lost.remove(&partition);
            } else if replica.may_drop() {
                self.append(turn, partition, Body::Drop, Published::default(), After::Nothing);
            }
        }
    }
}
