//! Who is there and who owns what: the detector's verdicts, the standing connections and the layout.

use super::{LiveLayouts, PeerState, View};
use crate::base::{NodeId, Now, Time};
use crate::membership::{Detector, DetectorEffect, DetectorInput, Member, MemberEvent, MemberState};
use crate::ring::Layout;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The node's other machine, beside [`super::Node`]: it runs the failure detector and makes the [`View`] that
/// all shards route by. Drivers treat it as they treat the node: inputs in, effects out, a deadline.
///
/// A peer is up if membership says so *and* a connection to it stands (decision 0021): what is sent to one
/// that is only believed alive is lost, and with it a request that cannot be sent twice.
#[derive(Debug)]
pub struct Control {
    detector: Detector,
    links: BTreeMap<NodeId, u64>,
    view: Arc<View>,
    from_detector: Vec<DetectorEffect>,
}

/// Something happened that membership or layout may have to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlInput {
    /// For the detector.
    Detector(DetectorInput),
    /// The peers that a connection stands to, each with the random number of its process. All of them, every time.
    Links(BTreeMap<NodeId, u64>),
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
    /// Hand this to the node: [`super::Input::View`]. Only the newest counts.
    View(Arc<View>),
    /// The members changed in these ways; [`Control::members`] shows how they are now.
    Members(Vec<MemberEvent>),
    /// What this node says of itself cannot be gossiped.
    Refused(crate::membership::IdentityError),
}

impl Control {
    /// Knows nobody yet. `detector` must be this node's.
    pub fn new(me: NodeId, layout: Arc<Layout>, detector: Detector) -> Self {
        let view = Arc::new(View { me, layouts: Arc::new(LiveLayouts::only(layout)), peers: BTreeMap::new() });
        Self { detector, links: BTreeMap::new(), view, from_detector: Vec::new() }
    }

    /// Takes one input, and whatever is due by now.
    pub fn handle(&mut self, now: Now, input: ControlInput, effects: &mut Vec<ControlEffect>) {
        let input = match input {
            ControlInput::Detector(input) => input,
            ControlInput::Links(links) => {
                self.links = links;
                DetectorInput::Tick
            }
        };
        let mut from_detector = std::mem::take(&mut self.from_detector);
        self.detector.handle(now, input, &mut from_detector);
        effects.extend(from_detector.drain(..).map(ControlEffect::from));
        self.from_detector = from_detector;
        let peers = self.peers();
        if peers != self.view.peers {
            self.view = Arc::new(View { peers, ..(*self.view).clone() });
            effects.push(ControlEffect::View(Arc::clone(&self.view)));
        }
    }

    /// When to call `handle` with a tick at the latest.
    pub fn deadline(&self) -> Time {
        self.detector.deadline()
    }

    /// Everyone known, this node included.
    pub fn members(&self) -> &BTreeMap<NodeId, Member> {
        self.detector.members()
    }

    /// Whom this node takes for up, and the layout it goes by.
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
