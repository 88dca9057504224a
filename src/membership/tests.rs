//! Whole clusters of detectors in virtual time: a network with delay, loss, cuts, and processes that
//! die, sleep and come back. Everything from one seed.

use super::message::{FORMAT, Header, MessageKind, MessageWriter, tests::ping};
use super::record::Record;
use super::*;
use crate::base::{ClusterId, NodeId, Now, Random, Time, WallTime};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(super) const CLUSTER: ClusterId = ClusterId(0xfeed_beef_dead_cafe_feed_beef_dead_cafe);

/// An ordinary identity.
pub(super) fn identity(node: u64) -> Identity {
    Identity {
        node: NodeId(node),
        cluster: CLUSTER,
        name: format!("node{node}"),
        peer_address: format!("10.0.0.{node}:7000"),
        membership_address: address(node),
        http_address: format!("10.0.0.{node}:8000"),
        zone: "a".into(),
        capacity: 1,
        version: "0.1.0".into(),
        actor: node,
        layout_version: 1,
        layout_hash: 1,
    }
}

fn address(place: u64) -> String {
    format!("10.0.0.{place}:7001")
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn milliseconds(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Process {
    Up,
    Killed,
    Paused,
}

/// A process at a place in the network. Normally place n runs node n.
struct Host {
    identity: Identity,
    detector: Detector,
    process: Process,
    events: Vec<(Time, MemberEvent)>,
}

struct World {
    time: Time,
    random: Random,
    hosts: BTreeMap<String, Host>,
    flying: BTreeMap<(Time, u64), (String, DetectorInput)>,
    serial: u64,
    loss: f64,
    /// Ordered pairs of addresses that cannot talk.
    cut: BTreeSet<(String, String)>,
    seeds: Vec<String>,
    largest_datagram: usize,
    /// Everything sent and told, if a test wants it.
    trace: Option<Vec<String>>,
}

impl World {
    /// `count` nodes that are just starting; all they know is the address of node 0 and of node 1.
    fn new(seed: u64, count: u64) -> Self {
        let mut world = World {
            time: Time(1_000_000),
            random: Random::from_seed(seed),
            hosts: BTreeMap::new(),
            flying: BTreeMap::new(),
            serial: 0,
            loss: 0.0,
            cut: BTreeSet::new(),
            seeds: vec![address(0), address(1)],
            largest_datagram: 0,
            trace: None,
        };
        for node in 0..count {
            world.boot(identity(node), 1);
        }
        world
    }

    /// The same, after everybody met.
    fn settled(seed: u64, count: u64) -> Self {
        let mut world = World::new(seed, count);
        world.run(seconds(20));
        world.assert_agreed();
        for host in world.hosts.values_mut() {
            host.events.clear();
        }
        world
    }

    fn boot(&mut self, identity: Identity, first_incarnation: u64) {
        let config = DetectorConfig { first_incarnation, ..DetectorConfig::default() };
        let seeds = self.seeds.clone();
        let detector = Detector::new(config, identity.clone(), seeds, self.random.fork()).unwrap();
        let host = Host { identity: identity.clone(), detector, process: Process::Up, events: Vec::new() };
        self.hosts.insert(identity.membership_address, host);
    }

    fn host(&self, node: u64) -> &Host {
        &self.hosts[&address(node)]
    }

    fn set(&mut self, node: u64, process: Process) {
        self.hosts.get_mut(&address(node)).unwrap().process = process;
    }

    fn kill(&mut self, node: u64) {
        self.set(node, Process::Killed);
    }

    fn restart(&mut self, node: u64, first_incarnation: u64) {
        self.boot(self.host(node).identity.clone(), first_incarnation);
    }

    /// Separates `side` from everyone else.
    fn partition(&mut self, side: &[u64]) {
        let side: BTreeSet<String> = side.iter().map(|node| address(*node)).collect();
        let all: Vec<String> = self.hosts.keys().cloned().collect();
        for a in &all {
            for b in &all {
                if side.contains(a) != side.contains(b) {
                    self.cut.insert((a.clone(), b.clone()));
                }
            }
        }
    }

    fn input(&mut self, to: &str, input: DetectorInput) {
        let mut effects = Vec::new();
        let now = Now { time: self.time, wall: WallTime(0) };
        let Some(host) = self.hosts.get_mut(to).filter(|host| host.process == Process::Up) else { return };
        host.detector.handle(now, input, &mut effects);
        for effect in effects {
            self.perform(to, effect);
        }
    }

    fn perform(&mut self, from: &str, effect: DetectorEffect) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} {from} {effect:?}", self.time.0));
        }
        let from_address = from.to_string();
        let sender = self.hosts[from].identity.node;
        match effect {
            DetectorEffect::SendDatagram { to, bytes } => {
                self.largest_datagram = self.largest_datagram.max(bytes.len());
                if !self.random.chance(self.loss) {
                    self.fly(to, DetectorInput::Datagram { sender, from: from_address, bytes });
                }
            }
            DetectorEffect::SendFullSync { to, bytes } => {
                assert!(bytes.len() <= MAX_FULL_SYNC_BYTES);
                self.fly(to, DetectorInput::FullSync { sender, from: from_address, bytes });
            }
            DetectorEffect::Changed(events) => {
                let time = self.time;
                let host = self.hosts.get_mut(from).unwrap();
                host.events.extend(events.into_iter().map(|event| (time, event)));
            }
            DetectorEffect::UpdateRefused(_) => {}
        }
    }

    /// Makes `hearer` believe `state` of a node.
    fn slander(&mut self, hearer: u64, of: u64, state: MemberState) {
        let slander = self.host(hearer).detector.members().get(&NodeId(of)).unwrap().judged(state);
        let mut writer = MessageWriter::new(&ping(), MAX_DATAGRAM_BYTES);
        assert!(writer.push(&Record::whole(&slander, None)));
        let bytes = writer.finish();
        self.input(&address(hearer), DetectorInput::Datagram { sender: NodeId(1), from: address(1), bytes });
    }

    fn fly(&mut self, to: String, input: DetectorInput) {
        let arrival = self.time + Duration::from_micros(self.random.between(200, 10_000));
        self.serial += 1;
        self.flying.insert((arrival, self.serial), (to, input));
    }

    /// Lets time pass.
    fn run(&mut self, duration: Duration) {
        let end = self.time + duration;
        loop {
            let up = self.hosts.iter().filter(|(_, host)| host.process == Process::Up);
            let tick = up.map(|(place, host)| (host.detector.deadline(), place)).min();
            let arrival = self.flying.first_key_value().map_or(Time::NEVER, |((at, _), _)| *at);
            let (due, place) = tick.map_or((Time::NEVER, None), |(at, place)| (at, Some(place.clone())));
            if due.min(arrival) > end {
                break;
            }
            if arrival <= due {
                let ((at, _), (to, input)) = self.flying.pop_first().unwrap();
                self.time = self.time.max(at);
                self.arrive(&to, input);
            } else if let Some(place) = place {
                self.time = self.time.max(due);
                self.input(&place, DetectorInput::Tick);
            }
        }
        self.time = end;
    }

    fn arrive(&mut self, to: &str, input: DetectorInput) {
        let from = match &input {
            DetectorInput::Datagram { from, .. } | DetectorInput::FullSync { from, .. } => from.clone(),
            _ => String::new(),
        };
        if !self.cut.contains(&(from, to.to_string())) {
            self.input(to, input);
        }
    }

    /// Runs until `done`, at most for `limit`; how long it took.
    fn run_until(&mut self, limit: Duration, done: impl Fn(&World) -> bool) -> Duration {
        let start = self.time;
        while !done(self) {
            assert!(self.time.since(start) < limit, "not done after {limit:?}: {:#?}", self.beliefs());
            self.run(milliseconds(10));
        }
        self.time.since(start)
    }

    fn state(&self, viewer: u64, of: u64) -> Option<MemberState> {
        self.host(viewer).detector.members().get(&NodeId(of)).map(|member| member.state)
    }

    /// Does everyone up hold the same about everyone, and is it the truth?
    fn agreed(&self) -> bool {
        let viewers: Vec<&Host> = self.hosts.values().filter(|host| host.process == Process::Up).collect();
        viewers.iter().all(|viewer| {
            let members = viewer.detector.members();
            members.len() == self.hosts.len()
                && self.hosts.values().all(|host| {
                    let expected = if host.process == Process::Up { MemberState::Alive } else { MemberState::Down };
                    members.get(&host.identity.node).is_some_and(|member| member.state == expected)
                })
                && viewers.iter().all(|other| other.detector.members() == members)
        })
    }

    fn assert_agreed(&self) {
        assert!(self.agreed(), "{:#?}", self.beliefs());
    }

    fn beliefs(&self) -> Vec<String> {
        let row = |(place, host): (&String, &Host)| {
            let states = host.detector.members().values();
            let states = states.map(|member| format!("{}:{:?}@{}", member.node().0, member.state, member.incarnation));
            format!("{place} {:?}: {}", host.process, states.collect::<Vec<_>>().join(" "))
        };
        self.hosts.iter().map(row).collect()
    }

    fn events(&self) -> impl Iterator<Item = &(Time, MemberEvent)> {
        self.hosts.values().flat_map(|host| &host.events)
    }
}

/// Rule: a new node pings its seeds, takes the whole state from the first that answers, and gossip
/// tells everyone else. All hold the same records, each node's own included.
#[test]
fn clusters_of_any_size_converge_from_one_seed() {
    for (seed, count) in [(1, 2), (2, 3), (3, 5), (4, 20), (5, 50)] {
        let mut world = World::new(seed, count);
        let took = world.run_until(seconds(15), World::agreed);
        assert!(took <= seconds(12), "{count} nodes: {took:?}");
    }
}

/// Rule: a newcomer asks the first member that answers for its whole state, since the rumours about
/// the others have long died.
#[test]
fn a_newcomer_knows_everyone_at_once() {
    let mut world = World::settled(19, 10);
    world.run(seconds(60));
    world.boot(identity(10), 1);
    let knows_all = |world: &World| world.host(10).detector.members().len() == 11;
    let took = world.run_until(seconds(10), knows_all);
    assert!(took <= milliseconds(100), "{took:?}");
}

/// Rule: a node that answers is never suspected, let alone found down.
#[test]
fn nobody_is_suspected_while_no_message_is_lost() {
    for (seed, count) in [(1, 2), (2, 3), (3, 5), (4, 10), (5, 50)] {
        let mut world = World::settled(seed, count);
        world.run(seconds(60));
        assert_eq!(world.events().count(), 0, "{count} nodes");
        world.assert_agreed();
    }
}

/// Rule: everyone is probed once per lap by everyone; a probe fails after two ping timeouts; a suspect
/// has two probe intervals. So a killed node of a small cluster is suspect within about one second and
/// down everywhere within about two; the worst lap order adds up to a lap.
#[test]
fn a_killed_node_is_found_within_two_seconds() {
    for count in 3..=5 {
        let (mut suspects, mut downs) = (Vec::new(), Vec::new());
        for seed in 0..100 {
            let mut world = World::settled(seed, count);
            world.run(milliseconds(seed * 7));
            world.kill(2);
            let suspected = |world: &World| world.state(0, 2) != Some(MemberState::Alive);
            let suspect = world.run_until(seconds(4), suspected);
            suspects.push(suspect);
            downs.push(suspect + world.run_until(seconds(4), World::agreed));
        }
        suspects.sort_unstable();
        downs.sort_unstable();
        let figures = format!(
            "{count} nodes: suspect median {:?} worst {:?}, down median {:?} worst {:?}",
            suspects[50], suspects[99], downs[50], downs[99]
        );
        assert!(suspects[90] <= milliseconds(1000) && downs[90] <= milliseconds(2000), "{figures}");
        assert!(suspects[99] <= milliseconds(1300) && downs[99] <= milliseconds(2300), "{figures}");
    }
}

/// Rule: only the owner raises an incarnation. Whoever hears that it is suspect or down raises its own
/// above the rumour's, and that beats the rumour everywhere.
#[test]
fn a_slandered_node_refutes_everywhere() {
    for state in [MemberState::Suspect, MemberState::Down, MemberState::Left] {
        let mut world = World::settled(7, 5);
        let incarnation = world.host(0).detector.members().get(&NodeId(3)).unwrap().incarnation;
        world.slander(0, 3, state);
        assert_eq!(world.state(0, 3), Some(state));
        world.run_until(seconds(8), World::agreed);
        assert!(world.host(0).detector.members().get(&NodeId(3)).unwrap().incarnation > incarnation);
        assert!(world.host(3).detector.counters().refutations >= 1);
    }
}

/// Rule: known members, down ones too, are retried for ever with a pause of at most five seconds. So
/// however long a partition lasted, it heals soon after the network does.
#[test]
fn a_partition_of_any_length_heals() {
    for (seed, length) in [(1, 3), (2, 30), (3, 600), (4, 3600)] {
        let mut world = World::settled(seed, 5);
        world.partition(&[0, 3]);
        world.run(seconds(length));
        if length > 3 {
            assert_eq!(world.state(0, 1), Some(MemberState::Down));
            assert_eq!(world.state(1, 0), Some(MemberState::Down));
            assert_eq!(world.state(0, 3), Some(MemberState::Alive));
        }
        world.cut.clear();
        let took = world.run_until(seconds(10), World::agreed);
        assert!(took <= seconds(7), "after {length} s: {took:?}");
    }
}

/// Rule: that needs no seed: members are retried at the addresses they said themselves.
#[test]
fn a_partition_heals_when_all_seeds_are_dead() {
    let mut world = World::settled(18, 6);
    world.kill(0);
    world.kill(1);
    world.partition(&[2, 3]);
    world.run(seconds(60));
    assert_eq!(world.state(2, 4), Some(MemberState::Down));
    world.cut.clear();
    let took = world.run_until(seconds(10), World::agreed);
    assert!(took <= seconds(7), "{took:?}");
}

/// Rule: halves that lost each other while everyone in both restarted, and so forgot the others, find
/// each other again through the seeds.
#[test]
fn halves_that_forgot_each_other_meet_through_seeds() {
    let mut world = World::settled(11, 4);
    world.partition(&[0, 2]);
    for node in 0..4 {
        world.restart(node, 100);
    }
    world.run(seconds(60));
    assert_eq!(world.host(0).detector.members().len(), 2);
    world.cut.clear();
    world.run_until(seconds(10), World::agreed);
}

/// Rule: a member that cannot be pinged by one node but by others is not suspect: the others ping it
/// for the one.
#[test]
fn indirect_pings_cover_a_broken_link() {
    let mut world = World::settled(5, 5);
    world.cut.insert((address(0), address(1)));
    world.cut.insert((address(1), address(0)));
    world.run(seconds(60));
    assert_eq!(world.events().count(), 0, "{:?}", world.events().collect::<Vec<_>>());
}

/// Rule: a restarted node has a higher incarnation and pings everyone it can think of, so it is found
/// at once, however slowly the others retry by then.
#[test]
fn a_restarted_node_is_found_at_once() {
    let mut world = World::settled(6, 5);
    world.kill(4);
    world.run(seconds(120));
    assert_eq!(world.state(0, 4), Some(MemberState::Down));
    world.restart(4, 1000);
    let took = world.run_until(seconds(5), World::agreed);
    assert!(took <= seconds(1), "{took:?}");
}

/// Rule: a node whose restart took a lower incarnation (its wall clock jumped back) hears of its own
/// past from those it pings and refutes above it.
#[test]
fn a_restart_below_the_old_incarnation_heals() {
    let mut world = World::settled(8, 4);
    world.kill(3);
    world.restart(3, 500);
    world.run(seconds(5));
    world.kill(3);
    world.run(seconds(20));
    world.restart(3, 2);
    world.run_until(seconds(8), World::agreed);
    assert!(world.host(0).detector.members().get(&NodeId(3)).unwrap().incarnation > 500);
}

/// Rule: a node's id is in its data directory, its addresses are gossip: with a higher incarnation it
/// is the same member elsewhere. That is no conflict.
#[test]
fn a_member_may_move_to_other_addresses() {
    let mut world = World::settled(9, 4);
    world.hosts.remove(&address(3));
    let moved = Identity { membership_address: address(77), peer_address: "10.0.0.77:7000".into(), ..identity(3) };
    world.boot(moved, 1000);
    world.run_until(seconds(5), World::agreed);
    assert!(world.events().all(|(_, event)| !matches!(event, MemberEvent::Conflict { .. })));
    assert!(world.host(0).events.iter().any(|(_, event)| *event == MemberEvent::IdentityChanged(NodeId(3))));
}

/// Rule: two processes with one id outbid each other a few times; then one gives way, falls silent and
/// says so, and the cluster is calm. Operators are told.
#[test]
fn twins_do_not_flap_for_ever() {
    for (seed, first_incarnation) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 900)] {
        let mut world = World::settled(seed, 4);
        let twin = Identity {
            membership_address: address(77),
            peer_address: "10.0.0.77:7000".into(),
            http_address: "10.0.0.77:8000".into(),
            ..identity(3)
        };
        world.boot(twin, first_incarnation);
        world.run(seconds(120));
        let lost = world.events().filter(|(_, event)| *event == MemberEvent::IdentityLost).count();
        let told = world.events().filter(|(_, event)| matches!(event, MemberEvent::Conflict { .. })).count();
        assert_eq!(lost, 1, "incarnation {first_incarnation}: {:#?}", world.beliefs());
        assert!((1..50).contains(&told), "{told}");
        let before = world.events().count();
        world.run(seconds(120));
        assert_eq!(world.events().count(), before, "still flapping");
        assert_eq!(world.state(0, 3), Some(MemberState::Alive));
    }
}

/// Rule: who leaves says so; it is neither suspect nor down, and nobody calls after it. It may come
/// back with a higher incarnation.
#[test]
fn a_member_that_leaves_is_not_down() {
    let mut world = World::settled(10, 5);
    world.input(&address(4), DetectorInput::Leave);
    world.run(seconds(2));
    world.kill(4);
    world.run(seconds(30));
    for viewer in 0..4 {
        assert_eq!(world.state(viewer, 4), Some(MemberState::Left));
    }
    let grave = |event: &MemberEvent| matches!(event, MemberEvent::Suspect(_) | MemberEvent::Down(_));
    assert!(!world.events().any(|(_, event)| grave(event)));
    world.restart(4, 1000);
    world.run_until(seconds(5), World::agreed);
}

/// Rule (Lifeguard): a failed probe is blamed on its target if the relays say that they live; then nobody
/// doubts itself for a death of another.
#[test]
fn a_death_makes_nobody_doubt_itself() {
    let mut world = World::settled(21, 5);
    world.kill(4);
    world.run(seconds(20));
    for node in 0..4 {
        assert_eq!(world.host(node).detector.self_doubt(), 0, "node {node}");
    }
}

/// Rule (Lifeguard): a node that hears of nobody, not even of its relays, doubts itself and accuses more
/// slowly; when the others answer again it is soon as it was.
#[test]
fn a_node_cut_off_doubts_itself() {
    let mut world = World::settled(22, 10);
    world.partition(&[3]);
    world.run(seconds(10));
    assert!(world.host(3).detector.self_doubt() >= 4, "{}", world.host(3).detector.self_doubt());
    world.cut.clear();
    world.run(seconds(30));
    assert_eq!(world.host(3).detector.self_doubt(), 0);
}

/// Rule (Lifeguard): a process that notices that it slept doubts itself, for a while.
#[test]
fn a_node_that_slept_doubts_itself() {
    let mut world = World::settled(23, 5);
    world.set(2, Process::Paused);
    world.run(milliseconds(900));
    world.set(2, Process::Up);
    world.run(milliseconds(1));
    assert!(world.host(2).detector.self_doubt() > 0);
    world.run(seconds(20));
    assert_eq!(world.host(2).detector.self_doubt(), 0);
}

/// Rule: whoever lacks more than fits one answer of a full sync asks again at once.
#[test]
fn a_newcomer_takes_in_more_than_one_answer_holds() {
    let mut world = World::new(24, 1);
    let absent = |node| Member { identity: identity(node).into(), incarnation: 1, state: MemberState::Down };
    world.hosts.get_mut(&address(0)).unwrap().detector.remember((10..3000).map(absent).collect());
    world.boot(identity(1), 1);
    let knows_all = |world: &World| world.host(1).detector.members().len() == 2992;
    let took = world.run_until(seconds(3), knows_all);
    assert!(took <= seconds(2), "{took:?}");
}

/// Rule: a process that slept proves nothing by the silence it did not listen to: waking up, it
/// condemns nobody. The others have found it down meanwhile; it refutes.
#[test]
fn a_paused_node_condemns_nobody_when_it_wakes() {
    let mut world = World::settled(12, 5);
    world.slander(2, 3, MemberState::Suspect);
    world.set(2, Process::Paused);
    world.run(seconds(60));
    assert_eq!(world.state(0, 2), Some(MemberState::Down));
    world.set(2, Process::Up);
    world.run_until(seconds(10), World::agreed);
    let condemned = |event: &MemberEvent| matches!(event, MemberEvent::Down(node) if *node != NodeId(2));
    assert!(!world.events().any(|(_, event)| condemned(event)));
}

/// Rule: what a node says of itself reaches everyone, and everyone is told that it changed.
#[test]
fn an_identity_update_reaches_everyone() {
    let mut world = World::settled(13, 5);
    let next = Identity { layout_version: 9, layout_hash: 77, ..identity(1) };
    world.input(&address(1), DetectorInput::UpdateIdentity(next.clone()));
    let known = |world: &World| {
        world.hosts.values().all(|host| *host.detector.members().get(&NodeId(1)).unwrap().identity == next)
    };
    let took = world.run_until(seconds(5), known);
    assert!(took <= seconds(3), "{took:?}");
    let told = world.events().filter(|(_, event)| *event == MemberEvent::IdentityChanged(NodeId(1))).count();
    assert_eq!(told, 5);
}

/// Rule: with one message in five lost, verdicts may err, but never for long: the condemned hears of
/// it at the next retry and refutes. With the loss gone, all is true again.
#[test]
fn heavy_loss_leaves_nothing_false_for_ever() {
    for (seed, count) in [(1, 3), (2, 5), (3, 20)] {
        let mut world = World::settled(seed, count);
        world.loss = 0.2;
        let mut false_since: BTreeMap<(u64, u64), Time> = BTreeMap::new();
        for _ in 0..600 {
            world.run(milliseconds(500));
            for viewer in 0..count {
                for of in 0..count {
                    if world.state(viewer, of) != Some(MemberState::Down) {
                        false_since.remove(&(viewer, of));
                        continue;
                    }
                    let since = *false_since.entry((viewer, of)).or_insert(world.time);
                    assert!(world.time.since(since) < seconds(30), "{count} nodes: {viewer} holds {of} down");
                }
            }
        }
        world.loss = 0.0;
        world.run_until(seconds(20), World::agreed);
    }
}

/// Rule: a datagram never exceeds its limit, however much there is to tell, and what does not fit is
/// told later.
#[test]
fn datagrams_stay_within_their_limit_at_a_hundred_members() {
    let mut world = World::new(14, 100);
    world.run_until(seconds(30), World::agreed);
    for node in 0..50 {
        let identity =
            Identity { zone: "z".repeat(MAX_ZONE_BYTES), name: "n".repeat(MAX_NAME_BYTES), ..identity(node) };
        world.input(&address(node), DetectorInput::UpdateIdentity(identity));
    }
    world.run_until(seconds(30), World::agreed);
    assert!(world.largest_datagram <= MAX_DATAGRAM_BYTES);
    assert!(world.largest_datagram > MAX_DATAGRAM_BYTES / 2, "the limit was never approached");
}

/// Rule: the detector asks nothing of the world, so a seed decides everything that is sent and told.
#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let mut world = World::new(seed, 6);
        world.trace = Some(Vec::new());
        world.loss = 0.1;
        world.run(seconds(10));
        world.kill(3);
        world.run(seconds(10));
        world.restart(3, 50);
        world.run(seconds(5));
        world.trace.unwrap()
    };
    let first = trace(15);
    assert!(first.len() > 100);
    assert_eq!(first, trace(15));
    assert_ne!(first, trace(16));
}

/// Rule: another cluster's messages are dropped and counted, and change nothing; nor does garbage.
#[test]
fn foreign_and_broken_messages_are_counted_and_change_nothing() {
    let mut world = World::settled(16, 3);
    let foreign = Identity { cluster: ClusterId(1), membership_address: address(50), ..identity(50) };
    world.boot(foreign, 1);
    world.run(seconds(10));
    assert!(world.host(0).detector.counters().foreign_cluster > 0);
    assert_eq!(world.host(0).detector.members().len(), 3);
    assert_eq!(world.host(50).detector.members().len(), 1);
    let bytes = Bytes::from_static(b"\x01garbage");
    let garbage = DetectorInput::Datagram { sender: NodeId(1), from: address(1), bytes };
    world.input(&address(0), garbage);
    assert_eq!(world.host(0).detector.counters().malformed, 1);
}

/// Rule: who sent a message is what the transport has proved. One that says it is another's is dropped
/// whole, on either channel: no verdict in it is believed, nothing is answered.
#[test]
fn nobody_speaks_in_the_name_of_another() {
    let mut world = World::settled(18, 3);
    let slander = world.host(0).detector.members().get(&NodeId(2)).unwrap().judged(MemberState::Down);
    for (kind, stream) in [(MessageKind::Ping, false), (MessageKind::SyncAnswer, true)] {
        let mut writer = MessageWriter::new(&Header { kind, ..ping() }, MAX_DATAGRAM_BYTES);
        assert!(writer.push(&Record::whole(&slander, None)));
        let (sender, from, bytes) = (NodeId(2), address(2), writer.finish());
        let input = match stream {
            true => DetectorInput::FullSync { sender, from, bytes },
            false => DetectorInput::Datagram { sender, from, bytes },
        };
        let flying = world.flying.len();
        world.input(&address(0), input);
        assert_eq!(world.flying.len(), flying, "an answer to {kind:?}");
    }
    assert_eq!(world.host(0).detector.counters().false_sender, 2);
    assert_eq!(world.state(0, 2), Some(MemberState::Alive));
}

/// Rule: a detector that has handled nothing is due at once; a node that left is due never again.
#[test]
fn the_deadline_follows_the_life_of_a_detector() {
    let mut world = World::new(17, 2);
    assert_eq!(world.host(0).detector.deadline(), Time(0));
    world.run(seconds(2));
    let deadline = world.host(0).detector.deadline();
    assert!(deadline >= world.time && deadline <= world.time + milliseconds(500));
    world.input(&address(0), DetectorInput::Leave);
    assert_eq!(world.host(0).detector.deadline(), Time::NEVER);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Rule: no bytes on either channel panic a detector or make it due in the past, and no message but
    /// a well-formed one of its cluster changes its members.
    #[test]
    fn garbage_never_harms_a_detector(
        messages in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..200)), 1..20),
    ) {
        let mut world = World::new(1, 2);
        world.run(seconds(1));
        let members = world.host(0).detector.members().clone();
        for (stream, mut bytes) in messages {
            if let Some(first) = bytes.first_mut() {
                *first = FORMAT;
            }
            let (sender, from, bytes) = (NodeId(1), address(9), Bytes::from(bytes));
            let input = match stream {
                true => DetectorInput::FullSync { sender, from, bytes },
                false => DetectorInput::Datagram { sender, from, bytes },
            };
            world.input(&address(0), input);
        }
        prop_assert_eq!(world.host(0).detector.members(), &members);
        prop_assert!(world.host(0).detector.deadline() >= world.time);
    }
}
