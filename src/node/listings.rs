//! Listings: the coordinator asks R complete replicas of every partition for their next keys, and merges; the replica
//! has its store list them (docs/listing.md).

use super::counting::Counting;
use super::shard::{Origin, Turn};
use super::{Effect, View};
use crate::base::{NodeId, Random, Time};
use crate::replication::{Cover, Failure, ListCommand, MAX_PAGE_KEYS, Message, Outcome};
use crate::ring::{Layout, PartitionId};
use crate::store::{KeyPage, KeyQuery};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Most listings a node coordinates at once: each may hold a thousand keys of a kibibyte from every node it asks.
/// Further ones are shed (503).
const MAX_OPEN: usize = 64;

/// Most pages that a node's store makes at once, for itself and for peers; beyond, it says that it cannot.
const MAX_UNDER_WAY: usize = 256;

/// A node that takes longer than this share of a listing's time-out is stood in for by another.
const PATIENCE_SHARE: u32 = 10;

/// The listings of a node. They go across partitions, so they belong to no shard.
#[derive(Debug)]
pub(super) struct Listings {
    me: NodeId,
    open: BTreeMap<u64, Listing>,
    asks: BTreeMap<u64, Ask>,
    /// Pages that the store is making.
    under_way: BTreeMap<u64, Page>,
    timers: BTreeSet<(Time, Due)>,
    /// Nodes that were late, and have not answered since: asked after the others.
    late: BTreeSet<NodeId>,
    next_number: u64,
}

/// One listing being coordinated.
#[derive(Debug)]
struct Listing {
    request: u64,
    query: KeyQuery,
    patience: Duration,
    cover: Cover,
    /// Whose owners are asked: one version, from beginning to end.
    layout: Arc<Layout>,
}

/// One question to one node.
#[derive(Debug)]
struct Ask {
    listing: u64,
    node: NodeId,
    partitions: Vec<PartitionId>,
}

/// A page the store is asked for.
#[derive(Debug)]
struct Page {
    asker: Asker,
    partitions: Vec<PartitionId>,
    refused: Vec<PartitionId>,
}

/// Who wants a page of this node's store.
#[derive(Debug, Clone, Copy)]
enum Asker {
    /// This node, by this question.
    Own { ask: u64 },
    /// A peer.
    Peer { node: NodeId, request: u64 },
}

/// What a time that has come means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The listing's client waits no longer.
    Deadline(u64),
    /// The node asked is late.
    Late(u64),
}

/// The node around the listings.
pub(super) struct Scope<'a> {
    pub(super) view: &'a View,
    pub(super) counting: &'a Counting,
}

impl Scope<'_> {
    /// Does this node's replica of the partition count towards R?
    fn counts(&self, partition: PartitionId) -> bool {
        self.view.layout().is_primary(partition, self.view.me) && self.counting.counts(partition)
    }
}

impl Listings {
    pub(super) fn new(me: NodeId, random: &mut Random) -> Self {
        Listings {
            me,
            open: BTreeMap::new(),
            asks: BTreeMap::new(),
            under_way: BTreeMap::new(),
            timers: BTreeSet::new(),
            late: BTreeSet::new(),
            // A late answer to a dead process must not be taken for one to this.
            next_number: random.u64() >> 16,
        }
    }

    /// Of a shard that is given none.
    pub(super) fn none(me: NodeId) -> Self {
        Self::new(me, &mut Random::from_seed(0))
    }

    pub(super) fn deadline(&self) -> Time {
        self.timers.first().map_or(Time::NEVER, |(at, _)| *at)
    }

    /// A client asks for a page.
    pub(super) fn begin(&mut self, turn: &mut Turn<'_>, scope: &Scope<'_>, request: u64, command: ListCommand) {
        let ListCommand { mut query, options } = command;
        let origin = Origin::Client { request };
        let replicas = scope.view.layout().copies();
        let Some(required) = options.r.of(replicas) else {
            return turn.fail(origin, Failure::QuorumTooLarge { replicas });
        };
        if self.open.len() >= MAX_OPEN {
            return turn.fail(origin, Failure::Overloaded);
        }
        query.limit = query.limit.clamp(1, MAX_PAGE_KEYS);
        let timeout = Duration::from_millis(options.timeout_ms);
        let (cover, layout) = (Cover::new(required), Arc::clone(scope.view.layout()));
        let listing = Listing { request, query, patience: timeout / PATIENCE_SHARE, cover, layout };
        let id = self.number();
        self.open.insert(id, listing);
        self.timers.insert((turn.now.time + timeout, Due::Deadline(id)));
        self.ask_missing(turn, scope, id);
    }

    /// A peer asks for this node's keys.
    pub(super) fn serve(
        &mut self,
        turn: &mut Turn<'_>,
        scope: &Scope<'_>,
        (node, request): (NodeId, u64),
        query: KeyQuery,
        partitions: Vec<PartitionId>,
    ) {
        self.list_here(turn, scope, Asker::Peer { node, request }, query, partitions);
    }

    /// A peer's answer; no page if it could not list, and none of the partitions it refused is on it.
    pub(super) fn answered(
        &mut self,
        turn: &mut Turn<'_>,
        scope: &Scope<'_>,
        (node, ask): (NodeId, u64),
        page: Option<KeyPage>,
        refused: &[PartitionId],
    ) {
        if self.asks.get(&ask).is_some_and(|ask| ask.node == node) {
            self.ask_answered(turn, scope, ask, page, refused);
        }
    }

    /// The store's answer; none if it failed.
    pub(super) fn listed(&mut self, turn: &mut Turn<'_>, scope: &Scope<'_>, id: u64, page: Option<KeyPage>) {
        let Some(Page { asker, partitions, mut refused }) = self.under_way.remove(&id) else { return };
        // A replica that has lost data meanwhile may have listed less than it held.
        refused.extend(partitions.into_iter().filter(|partition| !scope.counts(*partition)));
        self.hand_over(turn, scope, asker, page, refused);
    }

    /// Who is up has changed. A process that is gone has taken its questions with it.
    pub(super) fn view_changed(&mut self, turn: &mut Turn<'_>, scope: &Scope<'_>, before: &View) {
        let gone = |ask: &Ask| before.epoch_of(ask.node) != scope.view.epoch_of(ask.node);
        let lost: Vec<u64> = self.asks.iter().filter(|(_, ask)| gone(ask)).map(|(number, _)| *number).collect();
        for ask in lost {
            self.ask_answered(turn, scope, ask, None, &[]);
        }
    }

    /// Deals with every time that has come.
    pub(super) fn tick(&mut self, turn: &mut Turn<'_>, scope: &Scope<'_>) {
        while let Some((_, due)) = self.timers.first().copied().filter(|(at, _)| *at <= turn.now.time) {
            self.timers.pop_first();
            match due {
                Due::Deadline(id) => {
                    if let Some(listing) = self.close(id) {
                        let (required, answers) = (listing.cover.required(), listing.cover.answers());
                        let origin = Origin::Client { request: listing.request };
                        turn.fail(origin, Failure::ReadTimeout { required, answers });
                    }
                }
                Due::Late(ask) => self.ask_late(turn, scope, ask),
            }
        }
    }

    /// Asks whoever is still needed.
    fn ask_missing(&mut self, turn: &mut Turn<'_>, scope: &Scope<'_>, id: u64) {
        let Some(listing) = self.open.get_mut(&id) else { return };
        let rank = |node: NodeId| {
            let late = self.late.contains(&node);
            let order = if node == self.me { 0 } else { 1 + u64::from(late) };
            scope.view.is_up(node).then_some(order)
        };
        let asks = match listing.cover.missing(&listing.layout, rank) {
            Ok(asks) => asks,
            Err(uncovered) => {
                let origin = Origin::Client { request: listing.request };
                let (required, reachable) = (uncovered.required, uncovered.reachable);
                self.close(id);
                return turn.fail(origin, Failure::TooFewReplicas { required, reachable });
            }
        };
        for (node, partitions) in &asks {
            listing.cover.asked(*node, partitions);
        }
        let (query, late_at) = (listing.query.clone(), turn.now.time + listing.patience);
        for (node, partitions) in asks {
            // This node's own answer may have ended the listing already.
            if !self.open.contains_key(&id) {
                return;
            }
            let ask = self.number();
            self.asks.insert(ask, Ask { listing: id, node, partitions: partitions.clone() });
            self.timers.insert((late_at, Due::Late(ask)));
            if node == self.me {
                self.list_here(turn, scope, Asker::Own { ask }, query.clone(), partitions);
            } else {
                turn.send(vec![node], Message::List { request: ask, query: query.clone(), partitions });
            }
        }
    }

    fn ask_late(&mut self, turn: &mut Turn<'_>, scope: &Scope<'_>, ask: u64) {
        let Some(Ask { listing, node, partitions }) = self.asks.get(&ask) else { return };
        self.late.insert(*node);
        let id = *listing;
        if let Some(listing) = self.open.get_mut(&id) {
            listing.cover.late(*node, partitions);
        }
        self.ask_missing(turn, scope, id);
    }

    fn ask_answered(
        &mut self,
        turn: &mut Turn<'_>,
        scope: &Scope<'_>,
        ask: u64,
        page: Option<KeyPage>,
        refused: &[PartitionId],
    ) {
        let Some(Ask { listing: id, node, partitions }) = self.asks.remove(&ask) else { return };
        let Some(listing) = self.open.get_mut(&id) else { return };
        match page {
            Some(page) => {
                self.late.remove(&node);
                listing.cover.answer(node, &partitions, page);
                listing.cover.unfit(node, refused);
            }
            None => listing.cover.unfit(node, &partitions),
        }
        if !listing.cover.is_complete(&listing.layout) {
            return self.ask_missing(turn, scope, id);
        }
        if let Some(Listing { request, query, cover, .. }) = self.close(id) {
            turn.answer(Origin::Client { request }, Outcome::Listed(cover.merged(query.limit)));
        }
    }

    /// Has the store make a page of those partitions that count.
    fn list_here(
        &mut self,
        turn: &mut Turn<'_>,
        scope: &Scope<'_>,
        asker: Asker,
        mut query: KeyQuery,
        partitions: Vec<PartitionId>,
    ) {
        let (partitions, refused): (Vec<_>, Vec<_>) =
            partitions.into_iter().partition(|partition| scope.counts(*partition));
        if partitions.is_empty() || self.under_way.len() >= MAX_UNDER_WAY {
            return self.hand_over(turn, scope, asker, None, refused);
        }
        query.limit = query.limit.clamp(1, MAX_PAGE_KEYS);
        let id = self.number();
        self.under_way.insert(id, Page { asker, partitions: partitions.clone(), refused });
        turn.effects.push(Effect::List { id, query, partitions });
    }

    fn hand_over(
        &mut self,
        turn: &mut Turn<'_>,
        scope: &Scope<'_>,
        asker: Asker,
        page: Option<KeyPage>,
        refused: Vec<PartitionId>,
    ) {
        match asker {
            Asker::Own { ask } => self.ask_answered(turn, scope, ask, page, &refused),
            Asker::Peer { node, request } => turn.send(vec![node], Message::Listed { request, page, refused }),
        }
    }

    /// Ends a listing: late answers to its questions are of no interest any more.
    fn close(&mut self, id: u64) -> Option<Listing> {
        self.asks.retain(|_, ask| ask.listing != id);
        self.open.remove(&id)
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}
