//! Control: two of them, with a post that delivers at once.

use crate::base::{ClusterId, NodeId, Now, Random, Time, WallTime};
use crate::membership::{Detector, DetectorConfig, DetectorInput, Identity, MemberEvent};
use crate::node::{Control, ControlEffect, ControlInput, LayoutKeeper, LayoutState, LayoutTimings, PeerState};
use crate::ring::{Layout, LayoutNode, Partitioning};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

const CLUSTER: ClusterId = ClusterId(7);

struct Pair {
    controls: BTreeMap<String, Control>,
    now: Time,
    views: usize,
    events: Vec<MemberEvent>,
}

fn address(node: u64) -> String {
    format!("n{node}:2")
}

fn control(layout: &Arc<Layout>, node: u64) -> Control {
    let identity = Identity {
        node: NodeId(node),
        cluster: CLUSTER,
        name: format!("n{node}"),
        peer_address: format!("n{node}:1"),
        membership_address: address(node),
        http_address: format!("n{node}:3"),
        zone: String::new(),
        capacity: 1,
        version: String::new(),
        actor: node,
        layout_version: 1,
        layout_hash: layout.hash(),
    };
    let seeds = vec![address(1), address(2)];
    let detector = Detector::new(DetectorConfig::default(), identity, seeds, Random::from_seed(node)).unwrap();
    let state = LayoutState::new(layout.clone());
    let keeper = LayoutKeeper::new(NodeId(node), LayoutTimings::default(), state, Random::from_seed(node));
    Control::new(NodeId(node), keeper, detector, 1)
}

impl Pair {
    fn new() -> Self {
        let node = |id: u64| LayoutNode {
            id: NodeId(id),
            name: format!("n{id}"),
            zone: String::new(),
            capacity: 1,
            address: format!("n{id}:1"),
            membership_address: address(id),
        };
        let nodes = vec![node(1), node(2)];
        let layout = Arc::new(Layout::first(CLUSTER, Partitioning::new(4).unwrap(), 2, nodes).unwrap());
        let controls = [1, 2].map(|node| (address(node), control(&layout, node))).into();
        Self { controls, now: Time(1), views: 0, events: Vec::new() }
    }

    fn one(&mut self) -> &mut Control {
        self.controls.get_mut(&address(1)).unwrap()
    }

    /// Hands an input to node 1 and lets both talk until they fall silent.
    fn tell(&mut self, input: ControlInput) {
        let mut post = VecDeque::from([(address(1), input)]);
        while let Some((to, input)) = post.pop_front() {
            let now = Now { time: self.now, wall: WallTime(1) };
            let mut effects = Vec::new();
            let Some(control) = self.controls.get_mut(&to) else { continue };
            control.handle(now, input, &mut effects);
            for effect in effects {
                let (sender, from) = (control.view().me, to.clone());
                let (to, input) = match effect {
                    ControlEffect::SendDatagram { to, bytes } => (to, DetectorInput::Datagram { sender, from, bytes }),
                    ControlEffect::SendFullSync { to, bytes } => (to, DetectorInput::FullSync { sender, from, bytes }),
                    ControlEffect::View(_) if from == address(1) => {
                        self.views += 1;
                        continue;
                    }
                    ControlEffect::Members(events) if from == address(1) => {
                        self.events.extend(events);
                        continue;
                    }
                    _ => continue,
                };
                post.push_back((to, ControlInput::Detector(input)));
            }
        }
    }

    /// Time passes for both.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 20 {
            self.now.0 += 50_000;
            self.tell(ControlInput::Detector(DetectorInput::Tick));
        }
    }

    fn link(&mut self, epoch: Option<u64>) {
        self.tell(ControlInput::Links(epoch.map(|epoch| (NodeId(2), epoch)).into_iter().collect()));
    }

    fn peer(&mut self) -> Option<PeerState> {
        self.one().view().peers.get(&NodeId(2)).copied()
    }
}

#[test]
fn a_peer_is_up_only_with_a_verdict_and_a_connection() {
    let mut pair = Pair::new();
    pair.link(Some(9));
    assert!(pair.peer().is_none_or(|state| state == PeerState::Up { epoch: 9 }));
    pair.pass(2);
    assert_eq!(pair.events, [MemberEvent::Joined(NodeId(2))]);
    assert_eq!(pair.peer(), Some(PeerState::Up { epoch: 9 }));
    pair.link(None);
    assert_eq!(pair.peer(), Some(PeerState::Down));
    let before = pair.views;
    pair.pass(2);
    assert_eq!((pair.views, pair.peer()), (before, Some(PeerState::Down)), "gossip alone is not enough");
}

#[test]
fn a_dead_peer_is_down_though_its_connection_still_stands() {
    let mut pair = Pair::new();
    pair.link(Some(9));
    pair.pass(2);
    pair.controls.remove(&address(2));
    pair.pass(10);
    assert!(pair.events.contains(&MemberEvent::Down(NodeId(2))), "{:?}", pair.events);
    assert_eq!(pair.peer(), Some(PeerState::Down));
}

#[test]
fn another_process_of_a_peer_is_another_view() {
    let mut pair = Pair::new();
    pair.link(Some(9));
    pair.pass(2);
    let before = pair.views;
    pair.link(Some(10));
    assert_eq!((pair.views, pair.peer()), (before + 1, Some(PeerState::Up { epoch: 10 })));
    pair.link(Some(10));
    assert_eq!(pair.views, before + 1, "nothing new is not told");
}
