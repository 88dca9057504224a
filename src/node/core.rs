//! The node: shards behind one door.

use super::listings::{Listings, Scope};
use super::shard::{Identity, Shard, Turn};
use super::{Effect, Input, Timings, View};
use crate::base::{NodeId, Now, Random, Time};
use crate::causal::DotSet;
use crate::replication::Message;
use crate::ring::PartitionId;
use crate::store::{Holder, Place, Recovered};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One node of a cluster, without the world around it.
///
/// Drivers call [`Node::handle`] for everything that happens, carry out the effects, and call it with
/// [`Input::Tick`] when [`Node::deadline`] has come. Time must not go backwards; the wall clock may.
/// Every append and every read is answered exactly once, a shard's appends in their order. Price of the
/// one owner: whoever holds the node holds up all its shards, so drivers must not wait inside a call.
#[derive(Debug)]
pub struct Node {
    shards: Vec<Shard>,
    listings: Listings,
    view: Arc<View>,
    renewal: Renewal,
}

/// Whether a new actor is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Renewal {
    None,
    Asked,
}

/// What a node is started with.
#[derive(Debug, Clone, Copy)]
pub struct NodeOptions {
    /// Who it is.
    pub node: NodeId,
    /// Random per process: sessions die with it.
    pub epoch: u64,
    /// How many shards, at least 1.
    pub shards: usize,
    /// For its random choices.
    pub seed: u64,
    /// Periods and patiences.
    pub timings: Timings,
}

/// A node as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeStatus {
    /// Hints and their bytes held for each target.
    pub hints: BTreeMap<NodeId, (u64, u64)>,
    /// Partitions that do not count towards R yet.
    pub filling: Vec<PartitionId>,
    /// Keys that have seen dots their clock has not.
    pub leftovers: usize,
    /// Keys held.
    pub keys: usize,
}

/// One partition's durable state in figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionReport {
    /// Its clock.
    pub clock: DotSet,
    /// Whether it counts towards R.
    pub complete: bool,
    /// Its data hash (PROTOCOL R20).
    pub data_hash: u64,
    /// Keys with a leftover.
    pub leftovers: usize,
    /// Keys held, deletes that are not covered yet included.
    pub keys: usize,
}

impl Node {
    /// A node that goes on where its store left off.
    pub fn new(options: NodeOptions, view: Arc<View>, recovered: Recovered) -> Self {
        let mut random = Random::from_seed(options.seed);
        let shards = options.shards.max(1);
        let mut shards: Vec<Shard> = (0..shards)
            .map(|shard| {
                let (node, epoch) = (options.node, options.epoch);
                let me = Identity { node, actor: recovered.actor, epoch, shard, shards };
                Shard::new(me, options.timings, Arc::clone(&view), random.fork())
            })
            .collect();
        let count = shards.len();
        for shard in &mut shards {
            shard.complete_by_default = recovered.complete_by_default;
        }
        for (partition, table) in recovered.tables {
            if let Some(shard) = shards.get_mut(partition.0 as usize % count) {
                shard.adopt(partition, table);
            }
        }
        for (sequence, hint) in recovered.hints {
            if let Some(shard) = shards.get_mut(hint.partition.0 as usize % count) {
                shard.hints.recover(sequence, hint);
            }
        }
        let listings = Listings::new(options.node, &mut random);
        Self { shards, listings, view, renewal: Renewal::None }
    }

    /// Something happened. Returns promptly and cannot fail; what is to be done is pushed to `effects`.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        let turn = &mut Turn { now, effects };
        match input {
            Input::View(view) => self.change_view(turn, &view),
            Input::Relocated(moved) => {
                let count = self.shards.len();
                for (at, shard) in self.shards.iter_mut().enumerate() {
                    let own = moved.iter().filter(|moved| moved.partition.0 as usize % count == at);
                    shard.handle(turn, Input::Relocated(own.cloned().collect()));
                }
            }
            Input::Damaged(partitions) => self.damaged(turn, &partitions),
            Input::Renewed { actor } => {
                self.renewal = Renewal::None;
                turn.notice(super::Notice::ActorRenewed);
                self.shards.iter_mut().for_each(|shard| shard.handle(turn, Input::Renewed { actor }));
            }
            Input::Lost(lost) => {
                let count = self.shards.len();
                for (at, shard) in self.shards.iter_mut().enumerate() {
                    let own = lost.iter().filter(|lost| lost.partition.0 as usize % count == at);
                    shard.handle(turn, Input::Lost(own.cloned().collect()));
                }
            }
            Input::Space(space) => self.shards.iter_mut().for_each(|shard| shard.handle(turn, Input::Space(space))),
            Input::Tick => self.shards.iter_mut().for_each(|shard| shard.handle(turn, Input::Tick)),
            Input::List { request, command } => {
                let (listings, scope) = &mut self.listings();
                listings.begin(turn, scope, request, command);
            }
            Input::Listed { id, page } => {
                let (listings, scope) = &mut self.listings();
                listings.listed(turn, scope, id, page);
            }
            Input::Message { from, message: Message::List { request, query, partitions } } => {
                let (listings, scope) = &mut self.listings();
                listings.serve(turn, scope, (from, request), query, partitions);
            }
            Input::Message { from, message: Message::Listed { request, page, refused } } => {
                let (listings, scope) = &mut self.listings();
                listings.answered(turn, scope, (from, request), page, &refused);
            }
            Input::Message { from, message: Message::ClockQuery { session, clocks } } => {
                // Shards of two nodes need not match: each answers for its own partitions.
                let count = self.shards.len();
                for (at, shard) in self.shards.iter_mut().enumerate() {
                    let own = clocks.iter().filter(|entry| entry.partition.0 as usize % count == at);
                    let clocks: Vec<_> = own.copied().collect();
                    if !clocks.is_empty() {
                        let message = Message::ClockQuery { session, clocks };
                        shard.handle(turn, Input::Message { from, message });
                    }
                }
            }
            input => {
                let at = self.shard_of(&input);
                if let Some(shard) = self.shards.get_mut(at) {
                    shard.handle(turn, input);
                }
            }
        }
        let (listings, scope) = &mut self.listings();
        listings.tick(turn, scope);
    }

    fn change_view(&mut self, turn: &mut Turn<'_>, view: &Arc<View>) {
        let before = std::mem::replace(&mut self.view, Arc::clone(view));
        for shard in &mut self.shards {
            shard.handle(turn, Input::View(Arc::clone(view)));
        }
        let (listings, scope) = &mut self.listings();
        listings.view_changed(turn, scope, &before);
    }

    fn damaged(&mut self, turn: &mut Turn<'_>, partitions: &BTreeSet<PartitionId>) {
        let count = self.shards.len();
        for (at, shard) in self.shards.iter_mut().enumerate() {
            let own = partitions.iter().filter(|partition| partition.0 as usize % count == at);
            shard.handle(turn, Input::Damaged(own.copied().collect()));
        }
        if std::mem::replace(&mut self.renewal, Renewal::Asked) == Renewal::None {
            turn.effects.push(Effect::Renew);
        }
    }

    /// The listings, and the node around them.
    fn listings(&mut self) -> (&mut Listings, Scope<'_>) {
        (&mut self.listings, Scope { view: &self.view, shards: &mut self.shards })
    }

    /// When to call `handle` with a tick at the latest.
    pub fn deadline(&self) -> Time {
        let shards = self.shards.iter().map(Shard::deadline);
        shards.chain([self.listings.deadline()]).min().unwrap_or(Time::NEVER)
    }

    /// What operators ask.
    pub fn status(&mut self) -> NodeStatus {
        let mut status = NodeStatus::default();
        for shard in &mut self.shards {
            for (target, (count, bytes)) in shard.hints.held() {
                let held = status.hints.entry(target).or_default();
                *held = (held.0 + count, held.1 + bytes);
            }
            status.filling.extend(shard.filling());
            for replica in shard.replicas.values() {
                status.leftovers += replica.table.leftovers.len();
                status.keys += replica.table.index.len();
            }
        }
        status.filling.sort_unstable();
        status
    }

    /// Does a key's slot or an open hint name this place? Compaction copies only such records, and deletes, which
    /// no slot names. A record whose append this node has not been told of is named by nothing yet: ask only
    /// about segments that ended before an answer which this node has handled.
    pub fn is_current(&self, partition: PartitionId, holder: &Holder, place: Place) -> bool {
        let shard = self.shards.get(partition.0 as usize % self.shards.len());
        shard.is_some_and(|shard| shard.is_current(partition, holder, place))
    }

    /// A partition's durable state, if anything is known of it here.
    pub fn partition_report(&self, partition: PartitionId) -> Option<PartitionReport> {
        let shard = self.shards.get(partition.0 as usize % self.shards.len())?;
        let replica = shard.replicas.get(&partition)?;
        let table = &replica.table;
        Some(PartitionReport {
            clock: table.clock.clone(),
            complete: replica.is_whole(),
            data_hash: table.hash,
            leftovers: table.leftovers.len(),
            keys: table.index.len(),
        })
    }

    #[cfg(test)]
    pub(super) fn shard(&self, at: usize) -> &Shard {
        &self.shards[at]
    }

    fn shard_of(&self, input: &Input) -> usize {
        let count = self.shards.len();
        let of_key = |key| self.view.layout.partitioning.of(key).0 as usize % count;
        let of_number = |number: u64| (number % count as u64) as usize;
        match input {
            Input::Command { command, .. } => of_key(&command.key),
            Input::Store { shard, .. } => *shard,
            Input::Message { message, .. } => match message {
                Message::Forward { command, .. } => of_key(&command.key),
                Message::Read { key, .. } | Message::Replicate { key, .. } => of_key(key),
                Message::Pull { partition, .. } => partition.0 as usize % count,
                Message::Forwarded { request, .. }
                | Message::ReadAnswer { request, .. }
                | Message::Replicated { request, .. } => of_number(*request),
                Message::ClockAnswer { session, .. } | Message::Pulled { session, .. } => of_number(*session),
                Message::ClockQuery { .. } | Message::List { .. } | Message::Listed { .. } => 0,
            },
            Input::List { .. } | Input::Listed { .. } => 0,
            Input::View(_) | Input::Relocated(_) | Input::Space(_) | Input::Tick => 0,
            Input::Damaged(_) | Input::Renewed { .. } | Input::Lost(_) => 0,
        }
    }
}
