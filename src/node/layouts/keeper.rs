//! The keeper of a node's layouts as one machine: inputs in, effects out.

use super::effect::{LayoutEffect, LayoutNotice};
use super::input::{LayoutInput, LayoutTimings};
use super::live::LiveLayouts;
use super::proposal::Proposal;
use super::state::LayoutState;
use super::trackers::Learnt;
use crate::base::{NodeId, Now, Random, Time};
use crate::replication::{Ballot, LayoutMessage, LayoutTracker};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Most published values remembered, for reports about them that come late. More are never outstanding: each change of
/// version, of reading and of settled is one, and no version is adopted while another is given up.
const MAX_PUBLISHED: usize = 32;

/// One node's layouts: how they are agreed on, how they spread, when they end. The same inputs at the same times give
/// the same effects.
#[derive(Debug)]
pub struct LayoutKeeper {
    pub(super) me: NodeId,
    pub(super) timings: LayoutTimings,
    pub(super) random: Random,
    /// Ahead of what is durable.
    pub(super) state: LayoutState,
    /// What is durable: all that is sent and published is taken from it.
    pub(super) saved: LayoutState,
    /// On its way to the disk.
    saving: Option<LayoutState>,
    /// What waits for the state on its way to the disk.
    held_by_saving: Vec<Held>,
    /// What waits for the state as it is now.
    pub(super) held: Vec<Held>,
    live: Arc<LiveLayouts>,
    /// The last values published, the newest last.
    published: VecDeque<Arc<LiveLayouts>>,
    /// The hash of each durable live version: it takes a pass over the whole table.
    pub(super) hashes: BTreeMap<u64, u64>,
    /// What peers were last told of this node unasked.
    pub(super) announced: Announcement,
    pub(super) peers: BTreeSet<NodeId>,
    pub(super) proposal: Option<Proposal>,
    /// When to propose what was accepted here and has had no outcome.
    pub(super) resolve_at: Time,
    pub(super) next_digest: Option<Time>,
    /// When peers that are up were last answered with what their news lacked.
    pub(super) corrected: BTreeMap<NodeId, Time>,
    /// What peers remember of this node that it has forgotten, as it was told last.
    pub(super) remembered: Option<LayoutTracker>,
}

/// The news that a node does not wait to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Announcement {
    oldest: u64,
    newest: u64,
    tracker: LayoutTracker,
    pauses: u64,
}

/// What may only leave once the state it rests on is durable.
#[derive(Debug)]
pub(super) enum Held {
    /// This effect.
    Effect(LayoutEffect),
    /// The first half of an attempt: its ballot is used up for ever.
    Prepare(Ballot),
    /// This node's own acceptance in its own attempt.
    OwnAccept { version: u64, ballot: Ballot, reading: u64 },
}

/// One call of [`LayoutKeeper::handle`].
pub(super) struct Turn<'a> {
    pub(super) now: Time,
    pub(super) effects: &'a mut Vec<LayoutEffect>,
}

impl Turn<'_> {
    pub(super) fn send(&mut self, to: Vec<NodeId>, message: LayoutMessage) {
        if !to.is_empty() {
            self.effects.push(LayoutEffect::Send { to, message });
        }
    }

    pub(super) fn notice(&mut self, notice: LayoutNotice) {
        self.effects.push(LayoutEffect::Notice(notice));
    }
}

impl LayoutKeeper {
    /// A keeper for the node `me` that goes on from this durable state. [`LayoutKeeper::live`] is its revision 1: the
    /// shards begin with it, and the driver says `Drained` of it once they have given up what it names.
    pub fn new(me: NodeId, timings: LayoutTimings, state: LayoutState, random: Random) -> Self {
        let live = Arc::new(live_of(me, &state, 1));
        Self {
            me,
            timings,
            random,
            announced: Announcement::of(me, &state),
            hashes: state.versions.iter().map(|layout| (layout.version, layout.hash())).collect(),
            saved: state.clone(),
            state,
            saving: None,
            held_by_saving: Vec::new(),
            held: Vec::new(),
            published: [Arc::clone(&live)].into(),
            live,
            peers: BTreeSet::new(),
            proposal: None,
            resolve_at: Time::NEVER,
            next_digest: None,
            corrected: BTreeMap::new(),
            remembered: None,
        }
    }

    /// Takes one input, and whatever is due by now.
    pub fn handle(&mut self, now: Now, input: LayoutInput, effects: &mut Vec<LayoutEffect>) {
        let mut turn = Turn { now: now.time, effects };
        match input {
            LayoutInput::Message { from, message } => self.receive(from, message, &mut turn),
            LayoutInput::Apply { request, expected, layout } => self.apply(request, expected, layout, &mut turn),
            LayoutInput::Transfers(order) => self.state.order(order),
            LayoutInput::Persisted => self.persisted(&mut turn),
            LayoutInput::Drained { revision } => self.drained(revision),
            LayoutInput::Complete { revision, version } => self.complete(revision, version),
            LayoutInput::Peers(peers) => self.meet(peers, &mut turn),
            LayoutInput::Tick => {}
        }
        self.run_due(&mut turn);
        self.adopt_chosen();
        self.state.advance();
        self.state.forget_strangers(self.me);
        self.conclude();
        self.watch_accepted(turn.now);
        self.save(&mut turn);
    }

    /// When to call `handle` with a tick at the latest.
    pub fn deadline(&self) -> Time {
        let proposal = self.proposal.as_ref().map_or(Time::NEVER, Proposal::deadline);
        self.next_digest.unwrap_or(Time(0)).min(proposal).min(self.resolve_at)
    }

    /// What was published last, or at first what the shards begin with.
    pub fn live(&self) -> &Arc<LiveLayouts> {
        &self.live
    }

    /// How far the members of the live versions have come, as this node knows.
    pub fn trackers(&self) -> BTreeMap<NodeId, LayoutTracker> {
        self.saved.trackers.of_all(&self.saved.members())
    }

    fn run_due(&mut self, turn: &mut Turn<'_>) {
        self.run_proposal(turn);
        self.gossip(turn);
    }

    fn receive(&mut self, from: NodeId, message: LayoutMessage, turn: &mut Turn<'_>) {
        match message {
            LayoutMessage::Prepare { version, ballot } => self.on_prepare(from, version, ballot, turn),
            LayoutMessage::Promise { version, ballot, accepted } => {
                self.on_promise(from, version, ballot, accepted, turn);
            }
            LayoutMessage::Accept { version, ballot, layout } => self.on_accept(from, version, ballot, &layout, turn),
            LayoutMessage::Accepted { version, ballot, reading } => self.on_accepted(from, version, ballot, reading),
            LayoutMessage::Refused { version, ballot, promised } => {
                self.on_refused(from, version, ballot, promised, turn);
            }
            LayoutMessage::Digest(digest) => self.on_digest(from, &digest, turn),
            LayoutMessage::State(news) => self.on_state(from, &news, turn),
        }
    }

    fn drained(&mut self, revision: u64) {
        let Some(live) = self.published.iter().rev().find(|live| live.revision <= revision) else { return };
        let live = Arc::clone(live);
        self.state.given_up(&live.ending);
        let own = self.state.trackers.of(self.me);
        self.raise_own(LayoutTracker {
            acknowledged: live.newest().version,
            sync_acknowledged: live.reading,
            synced: own.synced,
        });
    }

    fn complete(&mut self, revision: u64, version: u64) {
        let seen = |live: &&Arc<LiveLayouts>| live.revision == revision;
        let Some(live) = self.published.iter().find(seen) else { return };
        if live.newest().version == version && live.is_settled() {
            let own = self.state.trackers.of(self.me);
            self.raise_own(LayoutTracker { synced: version, ..own });
        }
    }

    fn raise_own(&mut self, to: LayoutTracker) -> Learnt {
        self.state.trackers.raise(self.me, to)
    }

    /// Hands the state to the disk if it has changed, or if something waits for it.
    fn save(&mut self, turn: &mut Turn<'_>) {
        if self.saving.is_some() || (self.state == self.saved && self.held.is_empty()) {
            return;
        }
        self.held_by_saving = std::mem::take(&mut self.held);
        self.saving = Some(self.state.clone());
        turn.effects.push(LayoutEffect::Persist(self.state.clone()));
    }

    fn persisted(&mut self, turn: &mut Turn<'_>) {
        let Some(saved) = self.saving.take() else { return };
        self.saved = saved;
        self.rehash();
        self.publish(turn);
        self.announce(turn);
        for held in std::mem::take(&mut self.held_by_saving) {
            match held {
                Held::Effect(effect) => turn.effects.push(effect),
                Held::Prepare(ballot) => self.ask_for_promises(ballot, turn),
                Held::OwnAccept { version, ballot, reading } => self.on_accepted(self.me, version, ballot, reading),
            }
        }
    }

    fn rehash(&mut self) {
        let saved = &self.saved;
        self.hashes.retain(|version, _| saved.version(*version).is_some());
        for layout in &saved.versions {
            self.hashes.entry(layout.version).or_insert_with(|| layout.hash());
        }
    }

    fn publish(&mut self, turn: &mut Turn<'_>) {
        let live = live_of(self.me, &self.saved, self.live.revision);
        if live == (LiveLayouts { acknowledged: live.acknowledged, ..(*self.live).clone() }) {
            return;
        }
        let live = Arc::new(LiveLayouts { revision: live.revision + 1, ..live });
        let before = std::mem::replace(&mut self.live, Arc::clone(&live));
        self.published.push_back(Arc::clone(&live));
        if self.published.len() > MAX_PUBLISHED {
            self.published.pop_front();
        }
        for layout in live.versions.iter().filter(|layout| layout.version > before.newest().version) {
            turn.notice(LayoutNotice::Adopted { version: layout.version });
        }
        if live.reading > before.reading {
            turn.notice(LayoutNotice::Reading { version: live.reading });
        }
        for layout in before.versions.iter().filter(|layout| layout.version < live.oldest().version) {
            turn.notice(LayoutNotice::Ended { version: layout.version });
        }
        turn.effects.push(LayoutEffect::Live(live));
    }

    /// Tells peers at once what they wait for.
    fn announce(&mut self, turn: &mut Turn<'_>) {
        let announcement = Announcement::of(self.me, &self.saved);
        if announcement != self.announced {
            self.announced = announcement;
            self.push_news(turn);
        }
    }
}

impl Announcement {
    fn of(me: NodeId, state: &LayoutState) -> Self {
        let (oldest, newest) = (state.oldest(), state.newest().version);
        Self { oldest, newest, tracker: state.trackers.of(me), pauses: state.pauses }
    }
}

fn live_of(me: NodeId, state: &LayoutState, revision: u64) -> LiveLayouts {
    LiveLayouts {
        revision,
        versions: state.versions.clone(),
        ending: state.ending.clone(),
        reading: state.reading,
        settled: state.settled(),
        acknowledged: state.trackers.of(me).acknowledged,
        transfers: state.transfers(),
    }
}
