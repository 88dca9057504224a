//! The node: shards behind one door.

use super::counting::Counting;
use super::listings::{Listings, Scope};
use super::shard::{Identity, Shard, Shared, Turn};
use super::{Effect, Input, Presence, Timings, Transfer, View};
use crate::base::{Key, NodeId, Now, Random, Time};
use crate::causal::DotSet;
use crate::replication::Message;
use crate::ring::{PartitionId, Partitioning};
use crate::store::{Holder, Place, Recovered};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// One node of a cluster, without the world around it; or, after [`Node::into_parts`], one of its shards.
///
/// Drivers call [`Node::handle`] for everything that happens, carry out the effects, and call it with
/// [`Input::Tick`] when [`Node::deadline`] has come. Time must not go backwards; the wall clock may.
/// Every append and every read is answered exactly once, a shard's appends in their order. Price of the
/// one owner: whoever holds the node holds up all its shards, so drivers must not wait inside a call.
#[derive(Debug)]
pub struct Node {
    /// Those from `offset` on, in their order.
    shards: Vec<Shard>,
    offset: usize,
    sharding: Sharding,
    listings: Listings,
    counting: Counting,
    presence: Presence,
    view: Arc<View>,
}

/// Which shard whatever happens is about.
#[derive(Debug, Clone, Copy)]
pub struct Sharding {
    partitioning: Partitioning,
    shards: usize,
}

/// Who is to be given an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// This shard.
    One(usize),
    /// Each takes what is its own.
    All,
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
    /// What came to them, by source.
    pub transfers: BTreeMap<NodeId, Transfer>,
    /// For how long nothing has, although something should.
    pub transfer_idle: Duration,
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
    /// Their records in the log, by lengths as the index rounds them.
    pub bytes: u64,
}

impl Node {
    /// A node that goes on where its store left off.
    pub fn new(options: NodeOptions, view: Arc<View>, recovered: Recovered) -> Self {
        let mut random = Random::from_seed(options.seed);
        let shards = options.shards.max(1);
        let counting = Counting::none_of(view.layout().partitioning.count());
        if recovered.complete_by_default {
            counting.set_all();
        }
        let presence = Presence::default();
        let shared = Shared { counting: counting.clone(), presence: presence.clone() };
        let mut shards: Vec<Shard> = (0..shards)
            .map(|shard| {
                let (node, epoch) = (options.node, options.epoch);
                let me = Identity { node, actor: recovered.actor, epoch, shard, shards };
                Shard::new(me, options.timings, Arc::clone(&view), shared.clone(), random.fork())
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
        let sharding = Sharding::new(view.layout().partitioning, count);
        Self { shards, offset: 0, sharding, listings, counting, presence, view }
    }

    /// Its shards, each to be driven by itself: each has all that is about it, and only that, told by its driver as
    /// [`Sharding`] says; what is of no one shard, all are told. The first has the listings and asks for new actors; whoever tells of damage tells it
    /// last, since nobody may mint any more under the old one when it asks.
    pub fn into_parts(self) -> Vec<Node> {
        let Node { shards, sharding, listings, counting, presence, view, .. } = self;
        let mut listings = Some(listings);
        let part = |(offset, shard): (usize, Shard)| Node {
            offset,
            sharding,
            listings: listings.take().unwrap_or_else(|| Listings::none(shard.me.node)),
            counting: counting.clone(),
            presence: presence.clone(),
            view: Arc::clone(&view),
            shards: vec![shard],
        };
        shards.into_iter().enumerate().map(part).collect()
    }

    /// Whether clients are served here, for whoever works beside it.
    pub fn presence(&self) -> Presence {
        self.presence.clone()
    }

    /// Something happened. Returns promptly and cannot fail; what is to be done is pushed to `effects`.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        self.presence.note(now.time, &input);
        let turn = &mut Turn { now, effects };
        match input {
            Input::View(view) => self.change_view(turn, &view),
            Input::Relocated(moved) => {
                for shard in &mut self.shards {
                    let own = moved.iter().filter(|moved| self.sharding.of(moved.partition) == shard.me.shard);
                    shard.handle(turn, Input::Relocated(own.cloned().collect()));
                }
            }
            Input::Damaged(partitions) => self.damaged(turn, &partitions),
            Input::Renewed { actor } => {
                if self.leads() {
                    turn.notice(super::Notice::ActorRenewed);
                }
                self.shards.iter_mut().for_each(|shard| shard.handle(turn, Input::Renewed { actor }));
            }
            Input::Lost(lost) => {
                for shard in &mut self.shards {
                    let own = lost.iter().filter(|lost| self.sharding.of(lost.partition) == shard.me.shard);
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
                for shard in &mut self.shards {
                    let own = clocks.iter().filter(|entry| self.sharding.of(entry.partition) == shard.me.shard);
                    let clocks: Vec<_> = own.copied().collect();
                    if !clocks.is_empty() {
                        let message = Message::ClockQuery { session, clocks };
                        shard.handle(turn, Input::Message { from, message });
                    }
                }
            }
            input => {
                if let Route::One(shard) = self.sharding.route(&input)
                    && let Some(shard) = shard.checked_sub(self.offset).and_then(|at| self.shards.get_mut(at))
                {
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
        for shard in &mut self.shards {
            let own = partitions.iter().filter(|partition| self.sharding.of(**partition) == shard.me.shard);
            shard.handle(turn, Input::Damaged(own.copied().collect()));
        }
        if self.leads() {
            turn.effects.push(Effect::Renew);
        }
    }

    /// Does it speak for the node as a whole?
    fn leads(&self) -> bool {
        self.offset == 0
    }

    fn shard_of(&self, partition: PartitionId) -> Option<&Shard> {
        self.shards.get(self.sharding.of(partition).checked_sub(self.offset)?)
    }

    /// The listings, and the node around them.
    fn listings(&mut self) -> (&mut Listings, Scope<'_>) {
        (&mut self.listings, Scope { view: &self.view, counting: &self.counting })
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
            let transfers = &shard.exchange.filling.transfers;
            for (source, transfer) in transfers.sources() {
                status.transfers.entry(*source).or_default().add(transfer);
            }
            status.transfer_idle = status.transfer_idle.max(transfers.idle());
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
        self.shard_of(partition).is_some_and(|shard| shard.is_current(partition, holder, place))
    }

    /// A partition's durable state, if anything is known of it here.
    pub fn partition_report(&self, partition: PartitionId) -> Option<PartitionReport> {
        let replica = self.shard_of(partition)?.replicas.get(&partition)?;
        let table = &replica.table;
        Some(PartitionReport {
            clock: table.clock.clone(),
            complete: replica.is_whole(),
            data_hash: table.hash,
            leftovers: table.leftovers.len(),
            keys: table.index.len(),
            bytes: table.index.record_bytes(),
        })
    }

    #[cfg(test)]
    pub(super) fn shard(&self, at: usize) -> &Shard {
        &self.shards[at]
    }
}

impl Sharding {
    /// So many shards, at least one.
    pub fn new(partitioning: Partitioning, shards: usize) -> Sharding {
        Sharding { partitioning, shards: shards.max(1) }
    }

    /// Everything is one shard's.
    pub fn one() -> Sharding {
        Sharding::new(Partitioning::default(), 1)
    }

    /// The shard of a partition.
    pub fn of(&self, partition: PartitionId) -> usize {
        partition.0 as usize % self.shards
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// Whom an input is for.
    fn route(&self, input: &Input) -> Route {
        match input {
            Input::Command { command, .. } => Route::One(self.of_key(&command.key)),
            Input::Store { shard, .. } => Route::One(*shard),
            Input::Message { message, .. } => self.route_message(message),
            Input::List { .. } | Input::Listed { .. } => Route::One(0),
            Input::View(_) | Input::Relocated(_) | Input::Space(_) | Input::Tick => Route::All,
            Input::Damaged(_) | Input::Renewed { .. } | Input::Lost(_) => Route::All,
        }
    }

    /// Whom a peer's message is for. Numbers lead back to the shard that gave them out.
    pub fn route_message(&self, message: &Message) -> Route {
        Route::One(match message {
            Message::Forward { command, .. } => self.of_key(&command.key),
            Message::Read { key, .. } | Message::Replicate { key, .. } => self.of_key(key),
            Message::Pull { partition, .. } => self.of(*partition),
            Message::Forwarded { request, .. }
            | Message::ReadAnswer { request, .. }
            | Message::Replicated { request, .. } => self.of_number(*request),
            Message::ClockAnswer { session, .. } | Message::Pulled { session, .. } => self.of_number(*session),
            Message::ClockQuery { .. } => return Route::All,
            Message::List { .. } | Message::Listed { .. } | Message::Layout(_) => 0,
        })
    }

    /// The shard of a key.
    pub fn of_key(&self, key: &Key) -> usize {
        self.of(self.partitioning.of(key))
    }

    fn of_number(&self, number: u64) -> usize {
        (number % self.shards as u64) as usize
    }
}
