//! The cluster in virtual time.

use super::case::{BETWEEN_STALLS, Case, Connections, DEAD_FOR, LIVES_FOR, SHORTEST_STALL, WARM_UP};
use super::figures::Figures;
use super::host::{Host, Post, Process};
use super::ledger::Ledger;
use super::wire::{Traffic, delay, handshake, stream_delay};
use dunlin::base::{ClusterId, NodeId, Now, Random, Time, WallTime};
use dunlin::membership::{
    Detector, DetectorConfig, DetectorEffect, DetectorInput, Identity, Member, MemberEvent, MemberState, MemberTable,
};
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

/// A silence after which QUIC gives a connection up: as `transport::limits::IDLE_TIMEOUT`.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// How often open connections are counted.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// A wall-clock incarnation, for the size of its encoding.
const FIRST_INCARNATION: u64 = 1_700_000_000_000;

/// All nodes and everything under way.
#[derive(Debug)]
pub struct World {
    case: Case,
    now: Time,
    begun: Time,
    random: Random,
    hosts: Vec<Host>,
    /// What every process knows when it begins: one table, shared by all until they differ.
    known: MemberTable,
    queue: BinaryHeap<Reverse<Due>>,
    serial: u64,
    /// Who does not run, dead or standing still.
    absent: BTreeSet<u32>,
    /// Of two nodes in different groups neither hears the other.
    side: Vec<Side>,
    ledger: Ledger,
    traffic: Traffic,
}

/// Which part of a divided network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    One,
    Other,
}

#[derive(Debug)]
struct Due {
    at: Time,
    serial: u64,
    happening: Happening,
}

#[derive(Debug)]
enum Happening {
    Tick { node: u32 },
    Arrive { from: u32, to: u32, post: Post },
    Stall { node: u32 },
    GoOn { node: u32 },
    Death,
    Return { node: u32 },
    Count,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

impl World {
    /// A cluster in which everyone knows everyone, after the warm-up.
    pub fn new(case: Case) -> Self {
        let nodes = case.nodes as usize;
        let mut world = World {
            now: Time(1_000_000),
            begun: Time(1_000_000) + WARM_UP,
            random: Random::from_seed(case.seed),
            hosts: Vec::new(),
            known: (0..case.nodes).map(member).collect(),
            queue: BinaryHeap::new(),
            serial: 0,
            absent: BTreeSet::new(),
            side: vec![Side::One; nodes],
            ledger: Ledger::default(),
            traffic: Traffic::default(),
            case,
        };
        for node in 0..world.case.nodes {
            let host = world.boot(node, FIRST_INCARNATION, 0);
            world.hosts.push(host);
            world.plan_tick(node);
        }
        for node in 0..world.case.stalling_nodes() {
            world.plan_stall(node);
        }
        world.after(COUNT_EVERY, Happening::Count);
        world.run(WARM_UP);
        world.ledger.begin();
        world.traffic = Traffic::default();
        world.after(world.case.death_every, Happening::Death);
        world
    }

    /// Lets time pass.
    pub fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(Reverse(due)) = self.queue.peek() {
            if due.at > end {
                break;
            }
            if let Some(Reverse(due)) = self.queue.pop() {
                self.now = self.now.max(due.at);
                self.happen(due.happening);
            }
        }
        self.now = end;
    }

    /// What was found so far.
    pub fn figures(&self) -> Figures {
        Figures::new(&self.case, self.now.since(self.begun), &self.ledger, self.traffic)
    }

    /// Divides the network: so many nodes on one side, and nothing passes.
    pub fn divide(&mut self, one: u32) {
        for (node, side) in self.side.iter_mut().enumerate() {
            *side = if node < one as usize { Side::One } else { Side::Other };
        }
    }

    /// The network is whole again.
    pub fn heal(&mut self) {
        self.side.fill(Side::One);
    }

    /// Does everyone who runs hold all who run alive?
    pub fn agrees(&self) -> bool {
        let running: Vec<usize> =
            (0..self.hosts.len()).filter(|node| self.hosts[*node].process == Process::Running).collect();
        running.iter().all(|viewer| {
            let members = self.hosts[*viewer].detector.members();
            let holds = |node: &usize| members.get(&id(*node as u32)).map(|member| member.state);
            running.iter().all(|node| holds(node) == Some(MemberState::Alive))
        })
    }

    /// Does anyone hold a living node down?
    pub fn wrongs_somebody(&self) -> bool {
        self.hosts.iter().filter(|host| host.process == Process::Running).any(|host| {
            let down = host.detector.members().values().filter(|member| member.state == MemberState::Down);
            down.map(|member| number(member.node())).any(|node| self.hosts[node as usize].lives())
        })
    }

    fn boot(&mut self, node: u32, incarnation: u64, life: u32) -> Host {
        let config = DetectorConfig {
            first_incarnation: incarnation,
            lifeguard: self.case.lifeguard,
            ..DetectorConfig::default()
        };
        let me = Identity::clone(&member(node).identity);
        let mut detector =
            Detector::new(config, me, Vec::new(), self.random.fork()).expect("the texts of `member` are short");
        detector.remember(self.known.clone());
        Host::new(detector, incarnation, life, self.now)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tick { node } => self.tick(node),
            Happening::Arrive { from, to, post } => self.arrive(from, to, post),
            Happening::Stall { node } => self.stall(node),
            Happening::GoOn { node } => self.go_on(node),
            Happening::Death => self.kill_somebody(),
            Happening::Return { node } => self.restart(node),
            Happening::Count => {
                let open: usize = self.hosts.iter().filter(|host| host.lives()).map(|host| host.links.count()).sum();
                self.traffic.open_seconds += open as u64 * COUNT_EVERY.as_secs();
                self.after(COUNT_EVERY, Happening::Count);
            }
        }
    }

    fn tick(&mut self, node: u32) {
        let host = &mut self.hosts[node as usize];
        if host.tick != self.now {
            return;
        }
        host.tick = Time::NEVER;
        if host.process != Process::Running {
            return;
        }
        if host.detector.deadline() <= self.now {
            self.handle(node, DetectorInput::Tick);
        } else {
            self.plan_tick(node);
        }
    }

    fn plan_tick(&mut self, node: u32) {
        let host = &mut self.hosts[node as usize];
        let at = host.detector.deadline().max(self.now + Duration::from_micros(1));
        if at < host.tick && at != Time::NEVER {
            host.tick = at;
            self.at(at, Happening::Tick { node });
        }
    }

    fn arrive(&mut self, from: u32, to: u32, post: Post) {
        if self.side[from as usize] != self.side[to as usize] {
            return;
        }
        match self.hosts[to as usize].process {
            Process::Running => self.handle(to, post.input(id(from), address(from))),
            Process::Stalled(_) => self.hosts[to as usize].keep(from, post),
            Process::Dead => {}
        }
    }

    fn handle(&mut self, node: u32, input: DetectorInput) {
        let now = Now { time: self.now, wall: WallTime(0) };
        let mut effects = Vec::new();
        self.hosts[node as usize].detector.handle(now, input, &mut effects);
        for effect in effects {
            match effect {
                DetectorEffect::SendDatagram { to, bytes } => {
                    self.traffic.datagram(bytes.len());
                    self.send(node, place(&to), Post::Datagram(bytes));
                }
                DetectorEffect::SendFullSync { to, bytes } => {
                    self.traffic.stream(bytes.len());
                    self.send(node, place(&to), Post::FullSync(bytes));
                }
                DetectorEffect::Changed(events) => events.iter().for_each(|event| self.judge(node, event)),
                DetectorEffect::UpdateRefused(_) => {}
            }
        }
        self.plan_tick(node);
    }

    fn send(&mut self, from: u32, to: u32, post: Post) {
        let Some(ready) = self.connect(from, to) else { return };
        let way = match &post {
            Post::Datagram(_) if self.random.chance(self.case.loss) => return,
            Post::Datagram(_) => delay(&mut self.random),
            Post::FullSync(_) => stream_delay(&mut self.random, self.case.loss),
        };
        self.at(ready.max(self.now) + way, Happening::Arrive { from, to, post });
    }

    /// When a message can leave; never if the dial is given up.
    fn connect(&mut self, from: u32, to: u32) -> Option<Time> {
        if self.case.connections == Connections::Standing {
            return Some(self.now);
        }
        let life = self.hosts[to as usize].life;
        if let Some(ready) = self.hosts[from as usize].links.reuse(to, life, self.now) {
            return Some(ready);
        }
        self.traffic.handshakes += 1;
        // Who is cut off is dialled in vain.
        let answers = self.side[from as usize] == self.side[to as usize] && self.hosts[to as usize].lives();
        let took = handshake(&mut self.random, self.case.loss).filter(|_| answers)?;
        let ready = self.now + took;
        self.hosts[from as usize].links.dial(to, life, self.now, ready);
        Some(ready)
    }

    fn judge(&mut self, observer: u32, event: &MemberEvent) {
        let (MemberEvent::Suspect(of) | MemberEvent::Down(of)) = event else { return };
        let node = number(*of);
        let incarnation = self.hosts[observer as usize].detector.members().get(of).map_or(0, |held| held.incarnation);
        let host = &self.hosts[node as usize];
        if host.lives() && incarnation < host.incarnation {
            // True of its earlier life.
            return;
        }
        match event {
            MemberEvent::Down(_) => self.ledger.down(observer, node, incarnation, self.now, &self.absent),
            _ => self.ledger.suspected(node, incarnation),
        }
    }

    fn plan_stall(&mut self, node: u32) {
        let (shortest, longest) = BETWEEN_STALLS;
        let pause = shortest + self.up_to(longest - shortest);
        self.after(pause, Happening::Stall { node });
    }

    fn stall(&mut self, node: u32) {
        let longest = self.case.longest_stall;
        let shortest = SHORTEST_STALL.min(longest);
        self.hosts[node as usize].process = Process::Stalled(self.now);
        self.absent.insert(node);
        self.ledger.excuse(self.now, &self.absent);
        let length = shortest + self.up_to(longest - shortest);
        self.after(length, Happening::GoOn { node });
    }

    /// The process finds its timers late and its messages waiting; which it looks at first is chance.
    fn go_on(&mut self, node: u32) {
        let host = &mut self.hosts[node as usize];
        if let Process::Stalled(since) = host.process
            && self.now.since(since) > IDLE_TIMEOUT
        {
            host.links.clear();
            host.life += 1;
        }
        host.process = Process::Running;
        let waiting = host.take_waiting();
        self.absent.remove(&node);
        if self.random.chance(0.5) {
            self.handle(node, DetectorInput::Tick);
        }
        for (from, post) in waiting {
            self.handle(node, post.input(id(from), address(from)));
        }
        self.hosts[node as usize].tick = Time::NEVER;
        self.plan_tick(node);
        self.plan_stall(node);
    }

    /// Kills a node that does not stall, and plans the next death.
    fn kill_somebody(&mut self) {
        self.after(self.case.death_every, Happening::Death);
        let settled = |node: &u32| {
            let host = &self.hosts[*node as usize];
            host.lives() && self.now.since(host.since) > LIVES_FOR
        };
        let healthy: Vec<u32> = (self.case.stalling_nodes()..self.case.nodes).filter(settled).collect();
        let Some(victim) = self.random.pick(&healthy).copied().filter(|_| healthy.len() > 1) else { return };
        self.hosts[victim as usize].process = Process::Dead;
        self.absent.insert(victim);
        let living = (0..self.case.nodes).filter(|node| self.hosts[*node as usize].lives());
        self.ledger.died(victim, self.now, living.collect());
        self.ledger.excuse(self.now, &self.absent);
        self.after(DEAD_FOR, Happening::Return { node: victim });
    }

    fn restart(&mut self, node: u32) {
        let (life, incarnation) = (self.hosts[node as usize].life + 1, self.hosts[node as usize].incarnation);
        // As wall-clock milliseconds: above all that it refuted with.
        let host = self.boot(node, incarnation + 1_000_000, life);
        self.hosts[node as usize] = host;
        self.absent.remove(&node);
        self.ledger.returned(node);
        self.plan_tick(node);
    }

    fn after(&mut self, pause: Duration, happening: Happening) {
        self.at(self.now + pause, happening);
    }

    fn at(&mut self, at: Time, happening: Happening) {
        self.serial += 1;
        self.queue.push(Reverse(Due { at, serial: self.serial, happening }));
    }

    fn up_to(&mut self, duration: Duration) -> Duration {
        Duration::from_micros(self.random.between(0, duration.as_micros() as u64))
    }
}

/// Ids as large as random ones, so that they cost as many bytes.
fn id(node: u32) -> NodeId {
    NodeId((0xd0d0_0000_0000 + u64::from(node)) << 16 | u64::from(node))
}

fn number(id: NodeId) -> u32 {
    (id.0 & 0xffff) as u32
}

fn address(node: u32) -> String {
    format!("10.20.{}.{}:7401", node >> 8, node & 0xff)
}

/// The node at an address made by [`address`].
fn place(address: &str) -> u32 {
    let host = address.split(':').next().unwrap_or_default();
    host.split('.').skip(2).filter_map(|part| part.parse::<u32>().ok()).fold(0, |place, part| place << 8 | part)
}

fn member(node: u32) -> Member {
    let host = format!("10.20.{}.{}", node >> 8, node & 0xff);
    let identity = Identity {
        node: id(node),
        cluster: ClusterId(0xfeed_beef_dead_cafe_feed_beef_dead_cafe),
        name: format!("node-{node}"),
        peer_address: format!("{host}:7400"),
        membership_address: address(node),
        http_address: format!("{host}:8400"),
        zone: format!("zone-{}", node % 3),
        capacity: 100,
        version: "0.1.0".into(),
        actor: id(node).0 ^ 0xffff_ffff,
        layout_version: 1,
        layout_hash: 0x1234_5678_9abc_def0,
    };
    Member { identity: identity.into(), incarnation: FIRST_INCARNATION, state: MemberState::Alive }
}
