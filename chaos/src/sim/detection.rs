//! What nodes believe of each other: from real detectors in a share of the runs, told by the world in the
//! others. The world errs more wildly; detectors err as detectors do.

use super::cluster::{identity_of, view_of};
use super::swarm::Detection;
use super::world::{Happening, World};
use bytes::Bytes;
use dunlin::base::{NodeId, Time, WallTime};
use dunlin::membership::{Detector, DetectorConfig, DetectorInput, Identity, MemberEvent};
use dunlin::node::{Control, ControlEffect, ControlInput, Input, View};
use dunlin::replication::Message;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// How long a lost or new connection stays unnoticed, at most; and how late the world tells its verdicts.
const DETECTION: Duration = Duration::from_millis(1_500);

/// A node that stands still for so long is believed down.
const NOTICED_PAUSE: Duration = Duration::from_secs(2);

/// Something a detector says, on its way.
#[derive(Debug, Clone)]
pub(super) enum Gossip {
    /// In a datagram.
    Datagram(Bytes),
    /// Over a stream.
    FullSync(Bytes),
}

impl World {
    /// What a process believes at first.
    pub(super) fn first_view(&mut self, node: usize) -> Arc<View> {
        match self.swarm.detection {
            Detection::Told => view_of(&self.layout, node, &self.stations[node].told),
            Detection::Real => {
                let (me, layouts) = (self.layout.nodes[node].id, self.first_layouts(node));
                Arc::new(View { me, layouts, peers: BTreeMap::new() })
            }
        }
    }

    /// Everyone's process of now.
    pub(super) fn everyone(&self) -> Vec<Option<u64>> {
        self.stations.iter().map(|station| Some(station.boot)).collect()
    }

    /// Gives a new process its detector, in runs that have them.
    pub(super) fn equip(&mut self, node: usize) {
        if self.swarm.detection == Detection::Told {
            return;
        }
        let WallTime(wall) = self.stations[node].now(self.now).wall;
        let station = &mut self.stations[node];
        station.incarnation = wall.max(station.incarnation + 1);
        let config = DetectorConfig { first_incarnation: station.incarnation, ..DetectorConfig::default() };
        let seeds = self.layout.nodes.iter().map(|node| node.membership_address.clone()).collect();
        let random = self.random.fork();
        let newest = self.stations[node].layouts.newest();
        let (layout_version, layout_hash) = (newest.version, newest.hash());
        let identity = Identity { layout_version, layout_hash, ..identity_of(&self.layout, node) };
        let (me, keeper) = (identity.node, self.keeper(node));
        let detector = Detector::new(config, identity, seeds, random).expect("the run's names are short");
        if let Some(running) = &mut self.stations[node].running {
            running.control = Some(Control::new(me, keeper, detector, self.swarm.shards));
        }
        self.links_changed(node);
    }

    /// A node looks around; it is told if its picture has changed.
    pub(super) fn detect(&mut self, node: usize) {
        match self.swarm.detection {
            Detection::Told => self.tell(node),
            Detection::Real => self.links_changed(node),
        }
    }

    /// Looks around now and then, for ever.
    pub(super) fn watch(&mut self, node: usize) {
        let delay = Duration::from_millis(200) + self.up_to(DETECTION);
        self.after(delay, Happening::Watch { node });
    }

    /// What detectors make of the others, node by node; nothing in runs without them.
    pub(super) fn views(&self) -> impl Iterator<Item = (usize, &View)> {
        let stations = self.stations.iter().enumerate();
        stations.filter_map(|(node, station)| Some((node, &**station.running.as_ref()?.control.as_ref()?.view())))
    }

    fn is_connected(&self, observer: usize, peer: usize) -> bool {
        let cut = self.network.is_cut((observer, peer)) || self.network.is_cut((peer, observer));
        self.stations[peer].running.is_some() && !cut
    }

    /// What a correct failure detector would say.
    fn is_reachable(&self, observer: usize, peer: usize) -> bool {
        let stands_still = self.stations[peer].paused_until.since(self.now) > NOTICED_PAUSE;
        self.is_connected(observer, peer) && !stands_still
    }

    fn tell(&mut self, node: usize) {
        let now = self.now;
        self.stations[node].wrong.retain(|_, (_, until)| *until > now);
        let believed = |peer: usize| match self.stations[node].wrong.get(&peer) {
            Some((up, _)) => *up,
            None => self.is_reachable(node, peer),
        };
        let epoch = |peer: usize| (peer == node || believed(peer)).then_some(self.stations[peer].boot);
        let up: Vec<Option<u64>> = (0..self.swarm.nodes).map(epoch).collect();
        if self.stations[node].told != up && self.stations[node].running.is_some() {
            self.note(node, "view", picture(up.iter().map(Option::is_some)), 0);
            self.stations[node].told.clone_from(&up);
            self.feed(node, Input::View(view_of(&self.layout, node, &up)));
        }
    }

    fn links_changed(&mut self, node: usize) {
        let peers = (0..self.swarm.nodes).filter(|peer| *peer != node && self.is_connected(node, *peer));
        let links: BTreeMap<NodeId, u64> =
            peers.map(|peer| (self.layout.nodes[peer].id, self.stations[peer].boot)).collect();
        let Some(running) = &mut self.stations[node].running else { return };
        if running.control.is_some() && running.linked.as_ref() != Some(&links) {
            running.linked = Some(links.clone());
            self.control(node, ControlInput::Links(links));
        }
    }

    /// Gossip arrives.
    pub(super) fn hear(&mut self, to: usize, from: usize, gossip: Gossip) {
        let (sender, from) = (self.layout.nodes[from].id, self.layout.nodes[from].membership_address.clone());
        self.control(
            to,
            ControlInput::Detector(match gossip {
                Gossip::Datagram(bytes) => DetectorInput::Datagram { sender, from, bytes },
                Gossip::FullSync(bytes) => DetectorInput::FullSync { sender, from, bytes },
            }),
        );
    }

    /// A detector's deadline has come, unless another was set since.
    pub(super) fn control_tick(&mut self, node: usize, boot: u64) {
        let now = self.now;
        if !self.is_current(node, boot) {
            return;
        }
        let Some(running) = &mut self.stations[node].running else { return };
        if running.control_at <= now {
            running.control_at = Time::NEVER;
            self.control(node, ControlInput::Detector(DetectorInput::Tick));
        }
    }

    pub(super) fn control(&mut self, node: usize, input: ControlInput) {
        let now = self.stations[node].now(self.now);
        let Some(control) = self.stations[node].running.as_mut().and_then(|running| running.control.as_mut()) else {
            return;
        };
        let mut effects = Vec::new();
        control.handle(now, input, &mut effects);
        for effect in effects {
            match effect {
                ControlEffect::SendDatagram { to, bytes } => self.gossip(node, &to, &Gossip::Datagram(bytes)),
                ControlEffect::SendFullSync { to, bytes } => self.gossip(node, &to, &Gossip::FullSync(bytes)),
                ControlEffect::View(view) => {
                    let peers = self.layout.nodes.iter().map(|peer| view.is_up(peer.id));
                    self.note(node, "view", picture(peers), 0);
                    self.feed(node, Input::View(view));
                }
                ControlEffect::Members(events) => events.iter().for_each(|event| self.member_event(node, event)),
                ControlEffect::SendLayout { to, message } => self.send(node, &to, Message::Layout(message)),
                ControlEffect::Persist(state) => self.persist_layouts(node, state),
                ControlEffect::Applied { request, result } => self.change_answered(node, request, &result),
                ControlEffect::LayoutNotice(notice) => self.layout_notice(node, notice),
                ControlEffect::Refused(error) => self.breaks("identities are gossiped", error.to_string()),
            }
        }
        self.plan_control(node);
    }

    fn plan_control(&mut self, node: usize) {
        let station = &mut self.stations[node];
        let Some(deadline) = station.running.as_ref().and_then(|running| Some(running.control.as_ref()?.deadline()))
        else {
            return;
        };
        let at = station.world_time(deadline).max(self.now + Duration::from_micros(10));
        let Some(running) = &mut station.running else { return };
        if deadline != Time::NEVER && at < running.control_at {
            running.control_at = at;
            let boot = station.boot;
            self.schedule(at, Happening::ControlTick { node, boot });
        }
    }

    fn gossip(&mut self, from: usize, to: &str, gossip: &Gossip) {
        let Some(to) = self.layout.nodes.iter().position(|node| node.membership_address == to) else {
            return self.breaks("gossip goes to members", format!("node {from} gossips to {to:?}"));
        };
        let kind = gossip.kind();
        self.note(from, kind, to as u64, gossip.fingerprint());
        for at in self.network.route(self.now, (from, to), kind).0 {
            self.schedule(at, Happening::Hear { to, from, gossip: gossip.clone() });
        }
    }

    fn member_event(&mut self, node: usize, event: &MemberEvent) {
        let told = match event {
            MemberEvent::Joined(_) => "detector: joined",
            MemberEvent::Alive(_) => "detector: alive again",
            MemberEvent::Suspect(peer) | MemberEvent::Down(peer) if self.is_wronged(node, *peer) => {
                "detector: a living node suspected or condemned"
            }
            MemberEvent::Suspect(_) => "detector: suspected",
            MemberEvent::Down(_) => "detector: down",
            MemberEvent::Left(_) => "detector: left",
            MemberEvent::IdentityChanged(_) => "detector: identity changed",
            MemberEvent::Conflict { .. } => "detector: conflict",
            MemberEvent::IdentityLost => {
                return self.breaks("one process per identity", format!("node {node} lost it"));
            }
        };
        self.tally.count(told);
    }

    fn is_wronged(&self, observer: usize, peer: NodeId) -> bool {
        let number = self.layout.nodes.iter().position(|node| node.id == peer);
        number.is_some_and(|peer| self.is_reachable(observer, peer))
    }
}

impl Gossip {
    fn kind(&self) -> &'static str {
        match self {
            Gossip::Datagram(_) => "datagram",
            Gossip::FullSync(_) => "full sync",
        }
    }

    fn fingerprint(&self) -> u64 {
        let (Gossip::Datagram(bytes) | Gossip::FullSync(bytes)) = self;
        xxh3_64(bytes)
    }
}

fn picture(up: impl Iterator<Item = bool>) -> u64 {
    up.fold(0, |bits, up| bits << 1 | u64::from(up))
}
