//! Who is there and who owns what: the detector's verdicts, the standing connections and the layouts.

use super::{
    ApplyError, LayoutEffect, LayoutInput, LayoutKeeper, LayoutNotice, LayoutState, LiveLayouts, PeerState, Transfers,
    View,
};
use crate::base::{NodeId, Now, Time};
use crate::membership::{Detector, DetectorEffect, DetectorInput, Identity, MemberEvent, MemberState, MemberTable};
use crate::replication::{LayoutMessage, LayoutTracker};
use crate::ring::Layout;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The node's other machine, beside [`super::Node`]: it runs the failure detector and keeps the layouts, and makes the
/// [`View`] that all shards route by. Drivers treat it as they treat the node: inputs in, effects out, a deadline.
///
/// A peer is up if membership says so *and* a connection to it stands (decision 0021): what is sent to one
/// that is only believed alive is lost, and with it a request that cannot be sent twice.
#[derive(Debug)]
pub struct Control {
    detector: Detector,
    keeper: LayoutKeeper,
    progress: Vec<ShardProgress>,
    links: BTreeMap<NodeId, u64>,
    view: Arc<View>,
    from_detector: Vec<DetectorEffect>,
    from_keeper: Vec<LayoutEffect>,
}

/// How far a shard has come with the layouts.
#[derive(Debug, Clone, Copy, Default)]
struct ShardProgress {
    /// The last revision that it has reported as drained.
    drained: u64,
    /// The last version it is filled in, and the revision under which that was seen.
    filled: (u64, u64),
}

/// Something happened that membership or layout may have to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlInput {
    /// For the detector.
    Detector(DetectorInput),
    /// The peers that a connection stands to, each with the random number of its process. All of them, every time.
    Links(BTreeMap<NodeId, u64>),
    /// A peer says something about layouts. The driver has authenticated `from`.
    Layout {
        /// Who.
        from: NodeId,
        /// What.
        message: LayoutMessage,
    },
    /// An operator wants this layout to be the next version. Answered exactly once, by [`ControlEffect::Applied`].
    Apply {
        /// The driver's number, unique while it is open.
        request: u64,
        /// The version that it was planned from.
        expected: u64,
        /// The layout.
        layout: Arc<Layout>,
    },
    /// An operator stops the transfers of changes in the whole cluster, or lets them go on.
    Transfers(Transfers),
    /// The one answer to [`ControlEffect::Persist`].
    Persisted,
    /// As [`super::Effect::Drained`] says.
    Drained {
        /// Which shard.
        shard: usize,
        /// Under which revision.
        revision: u64,
    },
    /// As [`super::Effect::Filled`] says.
    Filled {
        /// Which shard.
        shard: usize,
        /// Under which revision.
        revision: u64,
        /// In which version.
        version: u64,
    },
}

/// What [`Control`] asks of its driver.
#[derive(Debug, Clone)]
pub enum ControlEffect {
    /// Send one datagram, best effort.
    SendDatagram {
        /// The receiver's membership address.
        to: String,
        /// At most [`crate::membership::MAX_DATAGRAM_BYTES`].
        bytes: Bytes,
    },
    /// Send one message over a stream of its own, best effort.
    SendFullSync {
        /// The receiver's membership address.
        to: String,
        /// At most [`crate::membership::MAX_FULL_SYNC_BYTES`].
        bytes: Bytes,
    },
    /// Send to each of these peers, best effort, as [`crate::replication::Message::Layout`].
    SendLayout {
        /// To whom.
        to: Vec<NodeId>,
        /// What.
        message: LayoutMessage,
    },
    /// Make this durable in place of what was before. Answered once by [`ControlInput::Persisted`]; if it cannot be
    /// made durable the process must end.
    Persist(Box<LayoutState>),
    /// Answers an [`ControlInput::Apply`].
    Applied {
        /// As in the input.
        request: u64,
        /// In force, or why not.
        result: Result<(), ApplyError>,
    },
    /// Hand this to the node: [`super::Input::View`]. Only the newest counts.
    View(Arc<View>),
    /// The members changed in these ways; [`Control::members`] shows how they are now.
    Members(Vec<MemberEvent>),
    /// Something about layouts, for logs and metrics.
    LayoutNotice(LayoutNotice),
    /// What this node says of itself cannot be gossiped.
    Refused(crate::membership::IdentityError),
}

impl Control {
    /// Knows nobody yet. `detector` and `keeper` must be this node's; it has so many shards.
    pub fn new(me: NodeId, keeper: LayoutKeeper, detector: Detector, shards: usize) -> Self {
        let view = Arc::new(View { me, layouts: Arc::clone(keeper.live()), peers: BTreeMap::new() });
        let progress = vec![ShardProgress::default(); shards.max(1)];
        let (from_detector, from_keeper) = (Vec::new(), Vec::new());
        Self { detector, keeper, progress, links: BTreeMap::new(), view, from_detector, from_keeper }
    }

    /// Takes one input, and whatever is due by now.
    pub fn handle(&mut self, now: Now, input: ControlInput, effects: &mut Vec<ControlEffect>) {
        let (mut to_detector, mut to_keeper) = (DetectorInput::Tick, LayoutInput::Tick);
        match input {
            ControlInput::Detector(input) => to_detector = input,
            ControlInput::Links(links) => self.links = links,
            ControlInput::Layout { from, message } => to_keeper = LayoutInput::Message { from, message },
            ControlInput::Apply { request, expected, layout } => {
                to_keeper = LayoutInput::Apply { request, expected, layout };
            }
            ControlInput::Transfers(order) => to_keeper = LayoutInput::Transfers(order),
            ControlInput::Persisted => to_keeper = LayoutInput::Persisted,
            ControlInput::Drained { shard, revision } => to_keeper = self.drained(shard, revision),
            ControlInput::Filled { shard, revision, version } => to_keeper = self.filled(shard, revision, version),
        }
        self.detect(now, to_detector, effects);
        let peers = self.peers();
        if peers != self.view.peers {
            let up = |(node, state): (&NodeId, &PeerState)| matches!(state, PeerState::Up { .. }).then_some(*node);
            let up: BTreeSet<NodeId> = peers.iter().filter_map(up).collect();
            self.show(View { peers, ..(*self.view).clone() }, effects);
            self.keep(now, LayoutInput::Peers(up), effects);
        }
        self.keep(now, to_keeper, effects);
    }

    fn detect(&mut self, now: Now, input: DetectorInput, effects: &mut Vec<ControlEffect>) {
        let mut from_detector = std::mem::take(&mut self.from_detector);
        self.detector.handle(now, input, &mut from_detector);
        effects.extend(from_detector.drain(..).map(ControlEffect::from));
        self.from_detector = from_detector;
    }

    fn keep(&mut self, now: Now, input: LayoutInput, effects: &mut Vec<ControlEffect>) {
        let mut from_keeper = std::mem::take(&mut self.from_keeper);
        self.keeper.handle(now, input, &mut from_keeper);
        for effect in from_keeper.drain(..) {
            match effect {
                LayoutEffect::Send { to, message } => effects.push(ControlEffect::SendLayout { to, message }),
                LayoutEffect::Persist(state) => effects.push(ControlEffect::Persist(Box::new(state))),
                LayoutEffect::Applied { request, result } => effects.push(ControlEffect::Applied { request, result }),
                LayoutEffect::Notice(notice) => effects.push(ControlEffect::LayoutNotice(notice)),
                LayoutEffect::Live(layouts) => {
                    self.tell_newest(now, &layouts, effects);
                    self.show(View { layouts, ..(*self.view).clone() }, effects);
                }
            }
        }
        self.from_keeper = from_keeper;
    }

    fn show(&mut self, view: View, effects: &mut Vec<ControlEffect>) {
        self.view = Arc::new(view);
        effects.push(ControlEffect::View(Arc::clone(&self.view)));
    }

    /// Gossip says which version each node goes by.
    fn tell_newest(&mut self, now: Now, layouts: &LiveLayouts, effects: &mut Vec<ControlEffect>) {
        let newest = layouts.newest();
        let own = self.detector.members().get(&self.view.me).map(|member| Identity::clone(&member.identity));
        if let Some(own) = own.filter(|own| own.layout_version != newest.version) {
            let identity = Identity { layout_version: newest.version, layout_hash: newest.hash(), ..own };
            self.detect(now, DetectorInput::UpdateIdentity(identity), effects);
        }
    }

    /// What all shards have drained.
    fn drained(&mut self, shard: usize, revision: u64) -> LayoutInput {
        if let Some(progress) = self.progress.get_mut(shard) {
            progress.drained = progress.drained.max(revision);
        }
        match self.progress.iter().map(|progress| progress.drained).min() {
            Some(revision) if revision > 0 => LayoutInput::Drained { revision },
            _ => LayoutInput::Tick,
        }
    }

    /// What all shards are filled in, by the last of them.
    fn filled(&mut self, shard: usize, revision: u64, version: u64) -> LayoutInput {
        if let Some(progress) = self.progress.get_mut(shard) {
            progress.filled = (version, revision);
        }
        if self.progress.iter().all(|progress| progress.filled.0 == version) {
            return LayoutInput::Complete { revision, version };
        }
        LayoutInput::Tick
    }

    /// When to call `handle` with a tick at the latest.
    pub fn deadline(&self) -> Time {
        self.detector.deadline().min(self.keeper.deadline())
    }

    /// Everyone known, this node included.
    pub fn members(&self) -> &MemberTable {
        self.detector.members()
    }

    /// How far the nodes of the live layouts have come, as far as this one knows.
    pub fn trackers(&self) -> BTreeMap<NodeId, LayoutTracker> {
        self.keeper.trackers()
    }

    /// Whom this node takes for up, and the layouts it goes by.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    fn peers(&self) -> BTreeMap<NodeId, PeerState> {
        let others = self.detector.members().iter().filter(|(node, _)| **node != self.view.me);
        others.map(|(node, member)| (*node, self.state_of(*node, member.state))).collect()
    }

    /// The suspect may still answer, so it counts as up.
    fn state_of(&self, node: NodeId, state: MemberState) -> PeerState {
        match (state, self.links.get(&node)) {
            (MemberState::Alive | MemberState::Suspect, Some(epoch)) => PeerState::Up { epoch: *epoch },
            _ => PeerState::Down,
        }
    }
}

impl From<DetectorEffect> for ControlEffect {
    fn from(effect: DetectorEffect) -> Self {
        match effect {
            DetectorEffect::SendDatagram { to, bytes } => ControlEffect::SendDatagram { to, bytes },
            DetectorEffect::SendFullSync { to, bytes } => ControlEffect::SendFullSync { to, bytes },
            DetectorEffect::Changed(events) => ControlEffect::Members(events),
            DetectorEffect::UpdateRefused(error) => ControlEffect::Refused(error),
        }
    }
}
