//! A cluster of keepers in one thread: a network that loses, repeats and re-orders, disks that a crash cuts short,
//! shards that take their time. It checks after every step what must always hold, knowing nothing of trackers.

use super::{first, node};
use crate::base::{NodeId, Now, Random, Time, WallTime};
use crate::node::layouts::{
    ApplyError, LayoutEffect, LayoutInput, LayoutKeeper, LayoutNotice, LayoutState, LayoutTimings, LiveLayouts,
};
use crate::replication::LayoutMessage;
use crate::ring::Layout;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub(super) enum Event {
    Deliver { from: NodeId, to: NodeId, message: LayoutMessage },
    Persisted { node: NodeId, life: u64 },
    Drained { node: NodeId, life: u64, revision: u64 },
    Complete { node: NodeId, life: u64, revision: u64 },
    Tick { node: NodeId, life: u64 },
    Apply,
    Crash,
    CrashOf { node: NodeId },
    Start { node: NodeId },
    Kill,
    Split,
    Heal,
    Peers { node: NodeId },
}

/// How bad the network is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Weather {
    Foul,
    Fair,
}

/// One node: its machine, its disk, and what its shards are at.
pub(super) struct Host {
    keeper: Option<LayoutKeeper>,
    life: u64,
    pub(super) disk: LayoutState,
    /// Asked to be durable, in this order.
    queue: VecDeque<LayoutState>,
    /// Views under which requests may be open: the newest last.
    open: Vec<Arc<LiveLayouts>>,
    /// The version for which an exchange is under way or has ended.
    syncing: u64,
    next_tick: Time,
    /// Versions that ended in this life and were not given up yet.
    owed: BTreeSet<u64>,
    given_up: BTreeSet<u64>,
}

pub(super) struct World {
    pub(super) now: Time,
    random: Random,
    events: BTreeMap<(Time, u64), Event>,
    sequence: u64,
    pub(super) hosts: BTreeMap<NodeId, Host>,
    pub(super) weather: Weather,
    /// Nodes on the other side of a split.
    aside: BTreeSet<NodeId>,
    /// Dead for good: gone, or cut off and not knowing it.
    pub(super) killed: Option<NodeId>,
    pub(super) chosen: BTreeMap<u64, Arc<Layout>>,
    /// Whom a chosen layout declares dead.
    declared: BTreeSet<NodeId>,
    /// Who was complete in what.
    complete: BTreeSet<(NodeId, u64)>,
    wishes: BTreeMap<u64, Arc<Layout>>,
    pub(super) answers: BTreeMap<u64, Result<(), ApplyError>>,
    requests: u64,
    /// For each version that was the oldest anywhere, the oldest anywhere before it.
    oldest: BTreeMap<u64, u64>,
    /// Changes begin while others are under way, by the excuse of declaring a stranger dead.
    hasty: bool,
    /// Nodes crash often, and just before something is durable; splits come and go.
    fragile: bool,
    pub(super) failure: Option<String>,
}

const GATEWAYS: u64 = 3;

/// A node that never was.
const STRANGER: NodeId = NodeId(999);

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::from_seed(seed);
        let members = random.between(3, 5);
        let ids: Vec<u64> = (1..=members).collect();
        let layout = first(&ids);
        let mut world = Self {
            now: Time(1),
            random,
            events: BTreeMap::new(),
            sequence: 0,
            hosts: BTreeMap::new(),
            weather: Weather::Foul,
            aside: BTreeSet::new(),
            killed: None,
            chosen: [(1, Arc::clone(&layout))].into(),
            declared: BTreeSet::new(),
            complete: BTreeSet::new(),
            wishes: BTreeMap::new(),
            answers: BTreeMap::new(),
            requests: 0,
            oldest: [(1, 1)].into(),
            hasty: seed.is_multiple_of(2),
            fragile: seed % 4 == 1,
            failure: None,
        };
        for id in (1..=members + GATEWAYS).map(NodeId) {
            let host = Host {
                keeper: None,
                life: 0,
                disk: LayoutState::new(Arc::clone(&layout)),
                queue: VecDeque::new(),
                open: Vec::new(),
                syncing: 0,
                next_tick: Time::NEVER,
                owed: BTreeSet::new(),
                given_up: BTreeSet::new(),
            };
            world.hosts.insert(id, host);
            world.after(0, Event::Start { node: id });
        }
        world
    }

    /// Schedules the faults and the operators of a run.
    pub(super) fn plan(&mut self, length: u64) {
        for _ in 0..self.random.between(2, 8) {
            let at = self.random.below(length);
            for _ in 0..self.random.between(1, 3) {
                let soon = self.random.below(100_000);
                self.after(at + soon, Event::Apply);
            }
        }
        for _ in 0..self.random.below(8) {
            let at = self.random.below(length);
            self.after(at, Event::Crash);
        }
        for _ in 0..self.random.below(if self.fragile { 20 } else { 4 }) {
            let at = self.random.below(length);
            self.after(at, Event::Split);
        }
        if !self.hasty && self.random.chance(0.5) {
            let at = self.random.below(length);
            self.after(at, Event::Kill);
        }
        self.after(length, Event::Heal);
    }

    /// One event; false when something is wrong.
    pub(super) fn step(&mut self) -> bool {
        let Some(((at, _), event)) = self.events.pop_first() else { return false };
        self.now = at;
        match event {
            Event::Deliver { from, to, message } => self.input(to, LayoutInput::Message { from, message }),
            Event::Persisted { node, life } => self.persisted(node, life),
            Event::Drained { node, life, revision } => self.drained(node, life, revision),
            Event::Complete { node, life, revision } => self.completed(node, life, revision),
            Event::Tick { node, life } => self.tick(node, life),
            Event::Apply => self.apply(),
            Event::Crash => self.crash(),
            Event::CrashOf { node } => self.crash_of(node),
            Event::Start { node } => self.start(node),
            Event::Kill => self.kill(),
            Event::Split => self.split(),
            Event::Heal => self.heal(),
            Event::Peers { node } => self.input(node, LayoutInput::Peers(self.reachable_from(node))),
        }
        self.failure.is_none()
    }

    fn after(&mut self, micros: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((Time(self.now.0 + micros), self.sequence), event);
    }

    fn soon(&mut self, most: u64, event: Event) {
        let micros = self.random.between(1, most);
        self.after(micros, event);
    }

    fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }

    // The nodes

    fn start(&mut self, id: NodeId) {
        if self.is_gone(id) {
            return;
        }
        let random = self.random.fork();
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if host.keeper.is_some() {
            return;
        }
        host.life += 1;
        host.disk = rmp_serde::from_slice(&rmp_serde::to_vec(&host.disk).unwrap()).unwrap();
        let keeper = LayoutKeeper::new(id, LayoutTimings::default(), host.disk.clone(), random);
        let live = Arc::clone(keeper.live());
        host.keeper = Some(keeper);
        host.next_tick = Time::NEVER;
        host.syncing = 0;
        host.owed.clear();
        host.given_up.clear();
        self.take_live(id, live);
        self.tell_peers();
    }

    fn input(&mut self, id: NodeId, input: LayoutInput) {
        let now = Now { time: self.now, wall: WallTime(0) };
        let mut effects = Vec::new();
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let Some(keeper) = &mut host.keeper else { return };
        keeper.handle(now, input, &mut effects);
        let (deadline, life) = (keeper.deadline(), host.life);
        if deadline <= now.time {
            return self.fail(format!("{id} spins"));
        }
        if deadline != host.next_tick {
            host.next_tick = deadline;
            self.after(deadline.0.saturating_sub(now.time.0).max(1), Event::Tick { node: id, life });
        }
        for effect in effects {
            self.effect(id, life, effect);
        }
    }

    fn tick(&mut self, id: NodeId, life: u64) {
        let due = self.hosts.get(&id).is_some_and(|host| host.life == life && host.next_tick == self.now);
        if due {
            self.hosts.get_mut(&id).unwrap().next_tick = Time::NEVER;
            self.input(id, LayoutInput::Tick);
        }
    }

    fn effect(&mut self, id: NodeId, life: u64, effect: LayoutEffect) {
        match effect {
            LayoutEffect::Send { to, message } => to.into_iter().for_each(|to| self.post(id, to, &message)),
            LayoutEffect::Persist(state) => {
                let host = self.hosts.get_mut(&id).unwrap();
                host.queue.push_back(state);
                if host.queue.len() > 1 {
                    self.fail(format!("{id} has two states on the way"));
                }
                let slow = if self.weather == Weather::Foul && self.random.chance(0.1) { 400_000 } else { 30_000 };
                self.soon(slow, Event::Persisted { node: id, life });
                // Just before something is durable is when a crash tells.
                let crashes = if self.fragile { 0.2 } else { 0.02 };
                if self.weather == Weather::Foul && self.random.chance(crashes) {
                    self.soon(slow, Event::CrashOf { node: id });
                }
            }
            LayoutEffect::Live(live) => self.take_live(id, live),
            LayoutEffect::Applied { request, result } => self.answered(request, result),
            LayoutEffect::Notice(LayoutNotice::Conflict { version, .. }) => {
                self.fail(format!("{id} sees two layouts under {version}"));
            }
            LayoutEffect::Notice(LayoutNotice::SetBack) => self.fail(format!("{id} takes itself for set back")),
            LayoutEffect::Notice(_) => {}
        }
    }

    fn post(&mut self, from: NodeId, to: NodeId, message: &LayoutMessage) {
        let (copies, delay) = match self.weather {
            Weather::Fair => (1, 20_000),
            Weather::Foul => match self.random.below(10) {
                0 | 1 => (0, 0),
                2 => (2, 3_000_000),
                3 => (1, 2_000_000),
                _ => (1, 50_000),
            },
        };
        if from == to {
            self.fail(format!("{from} writes to itself"));
        }
        if self.connected(from, to) {
            for _ in 0..copies {
                self.soon(delay, Event::Deliver { from, to, message: message.clone() });
            }
        }
    }

    fn persisted(&mut self, id: NodeId, life: u64) {
        let host = self.hosts.get_mut(&id).unwrap();
        if host.life != life || host.keeper.is_none() {
            return;
        }
        if let Some(state) = host.queue.pop_front() {
            host.disk = state;
            self.input(id, LayoutInput::Persisted);
        }
    }

    // The shards

    fn take_live(&mut self, id: NodeId, live: Arc<LiveLayouts>) {
        for layout in &live.versions {
            let known = self.chosen.entry(layout.version).or_insert_with(|| Arc::clone(layout));
            if known != layout {
                return self.fail(format!("{id} has another layout {}", layout.version));
            }
            self.declared.extend(&layout.dead);
        }
        let (revision, settled) = (live.revision, live.is_settled());
        let before = self.oldest.last_key_value().map_or(1, |(oldest, _)| *oldest);
        let oldest = live.oldest().version;
        if oldest > before {
            self.oldest.insert(oldest, before);
        }
        let newest = live.newest().version;
        let (life, sync) = {
            let host = self.hosts.get_mut(&id).unwrap();
            let before = host.open.last().map_or(newest, |before| before.newest().version);
            if newest > before && !host.owed.is_empty() {
                self.failure = Some(format!("{id} goes on before it has given up {:?}", host.owed));
                return;
            }
            let ending = live.ending.iter().map(|layout| layout.version);
            host.owed.extend(ending.filter(|version| !host.given_up.contains(version)));
            host.open.push(live);
            let sync = settled && host.syncing < newest;
            if sync {
                host.syncing = newest;
            }
            (host.life, sync)
        };
        self.soon(200_000, Event::Drained { node: id, life, revision });
        if sync {
            self.soon(800_000, Event::Complete { node: id, life, revision });
        }
        self.check(id);
    }

    fn drained(&mut self, id: NodeId, life: u64, revision: u64) {
        let host = self.hosts.get_mut(&id).unwrap();
        if host.life != life || host.keeper.is_none() {
            return;
        }
        let ended: BTreeSet<u64> = host
            .open
            .iter()
            .filter(|live| live.revision == revision)
            .flat_map(|live| live.ending.iter().map(|layout| layout.version))
            .collect();
        host.owed.retain(|version| !ended.contains(version));
        host.given_up.extend(ended);
        host.open.retain(|live| live.revision >= revision);
        self.input(id, LayoutInput::Drained { revision });
    }

    fn completed(&mut self, id: NodeId, life: u64, revision: u64) {
        let host = self.hosts.get_mut(&id).unwrap();
        if host.life != life || host.keeper.is_none() {
            return;
        }
        let version = host.syncing;
        self.complete.insert((id, version));
        self.input(id, LayoutInput::Complete { revision, version });
    }

    // What must hold

    /// Checks one node's new view against everyone, and everyone's against its.
    fn check(&mut self, changed: NodeId) {
        let ids: Vec<NodeId> = self.hosts.keys().copied().collect();
        for id in ids {
            self.check_pair(changed, id);
            self.check_pair(id, changed);
        }
    }

    /// The first goes by its newest view; requests of the second may be open.
    fn check_pair(&mut self, one: NodeId, other: NodeId) {
        let (Some(host), Some(peer)) = (self.hosts.get(&one), self.hosts.get(&other)) else { return };
        let (Some(live), Some(theirs)) = (host.open.last(), peer.open.last()) else { return };
        let counts = theirs.counted().contains(&other) && !self.declared.contains(&other);
        // Before it joined, and once its last version has ended for others, it is a gateway: nobody waits for it, and
        // replicas refuse what it reads by.
        let floor = self.oldest.get(&live.oldest().version).copied().unwrap_or(1);
        let member = |view: &&Arc<LiveLayouts>| {
            let owner = |layout: &Arc<Layout>| layout.version >= floor && layout.node(other).is_some();
            view.versions.iter().any(owner)
        };
        let as_member: Vec<_> = peer.open.iter().filter(member).collect();
        let reads_by = as_member.iter().map(|view| view.reading).min().unwrap_or(u64::MAX);
        let routes_by = as_member.iter().map(|view| view.newest().version).min().unwrap_or(u64::MAX);
        let mut wrong = None;
        if counts && peer.keeper.is_some() && reads_by < live.oldest().version {
            wrong = Some(format!("{other} reads by {reads_by} and {one} has ended it"));
        }
        let counted = live.counted();
        if counted.contains(&other) && counts {
            let routes_by = if peer.keeper.is_some() { routes_by } else { peer.disk.newest().version };
            if live.is_settled() && routes_by < live.settled.min(live.newest().version) {
                wrong = Some(format!("{one} takes {} for settled and {other} routes by {routes_by}", live.settled));
            }
        }
        let version = live.reading;
        let owner = live.versions.iter().any(|l| l.version <= version && l.node(other).is_some());
        if live.versions.len() > 1 && version > 1 && owner && counts && counted.contains(&other) {
            let taken_over = version == live.oldest().version;
            if !taken_over && !self.complete.contains(&(other, version)) {
                wrong = Some(format!("{one} reads by {version} and {other} is not complete"));
            }
        }
        if let Some(wrong) = wrong {
            self.fail(wrong);
        }
    }

    fn answered(&mut self, request: u64, result: Result<(), ApplyError>) {
        if self.answers.insert(request, result).is_some() {
            self.fail(format!("request {request} is answered twice"));
        }
    }

    /// What the operators were told, when all is over.
    pub(super) fn check_answers(&mut self) {
        let mut applied = BTreeSet::new();
        let mut wrong = Vec::new();
        for (request, result) in &self.answers {
            let wish = &self.wishes[request];
            let in_force = self.chosen.get(&wish.version).is_some_and(|layout| layout == wish);
            let right = match result {
                Ok(()) => in_force && applied.insert(wish.version),
                Err(ApplyError::OutcomeUnknown { .. }) => true,
                Err(ApplyError::Lost { version, winner }) => {
                    !in_force && self.chosen.get(version).is_some_and(|layout| layout.hash() == *winner)
                }
                Err(_) => !in_force,
            };
            if !right {
                wrong.push(format!("request {request} for {} was told {result:?}", wish.version));
            }
        }
        wrong.into_iter().for_each(|wrong| self.fail(wrong));
    }

    /// Has everyone alive come to rest at the newest version?
    pub(super) fn is_at_rest(&self) -> bool {
        let newest = self.newest();
        self.hosts.iter().filter(|(id, _)| self.killed != Some(**id)).all(|(_, host)| {
            let Some(keeper) = &host.keeper else { return false };
            let live = keeper.live();
            live.versions.len() == 1
                && live.newest() == newest
                && live.ending.is_empty()
                && live.is_settled()
                && live.reading == newest.version
                && keeper.trackers().values().all(|t| t.sync_acknowledged == newest.version)
        })
    }

    pub(super) fn newest(&self) -> &Arc<Layout> {
        self.chosen.last_key_value().unwrap().1
    }

    /// Does the newest layout still count on the node killed?
    pub(super) fn needs_mending(&self) -> bool {
        self.killed.is_some_and(|killed| {
            let declared = self.declared.contains(&killed);
            let matters = self.chosen.iter().rev().take(3).any(|(_, layout)| layout.node(killed).is_some());
            matters && !declared
        })
    }

    pub(super) fn describe(&self) -> String {
        let line = |(id, host): (&NodeId, &Host)| match &host.keeper {
            None => format!("{id} down\n"),
            Some(keeper) => {
                let live = keeper.live();
                let versions: Vec<u64> = live.versions.iter().map(|layout| layout.version).collect();
                let ending: Vec<u64> = live.ending.iter().map(|layout| layout.version).collect();
                format!(
                    "{id} {versions:?} ending {ending:?} reads {} settled {} trackers {:?}\n",
                    live.reading,
                    live.settled,
                    keeper.trackers()
                )
            }
        };
        let answers: Vec<String> =
            self.answers.iter().map(|(r, a)| format!("{r} (v{}): {a:?}\n", self.wishes[r].version)).collect();
        format!(
            "at {:?}, killed {:?}, newest {:?}, dead {:?}\n{}{}",
            self.now,
            self.killed,
            self.newest().nodes.iter().map(|n| n.id).collect::<Vec<_>>(),
            self.declared,
            self.hosts.iter().map(line).collect::<String>(),
            answers.concat(),
        )
    }

    // Operators and faults

    /// An operator plans a change at some node, from what that node has.
    pub(super) fn apply(&mut self) {
        let ids: Vec<NodeId> = self.hosts.keys().copied().filter(|id| self.hosts[id].keeper.is_some()).collect();
        let Some(&id) = self.random.pick(&ids) else { return };
        let keeper = self.hosts[&id].keeper.as_ref().unwrap();
        let live = Arc::clone(keeper.live());
        let newest = Arc::clone(live.newest());
        self.requests += 1;
        let request = self.requests;
        let Some(layout) = self.change_of(&live, request) else { return };
        let layout = Arc::new(layout);
        self.wishes.insert(request, Arc::clone(&layout));
        self.input(id, LayoutInput::Apply { request, expected: newest.version, layout });
    }

    fn change_of(&mut self, live: &LiveLayouts, request: u64) -> Option<Layout> {
        let newest = live.newest();
        let mut nodes = newest.nodes.clone();
        // Also one that has just left: its old version cannot end without it.
        let dead = self.killed.filter(|killed| live.counted().contains(killed));
        if let Some(dead) = dead {
            nodes.retain(|node| node.id != dead);
        }
        let usable = |id: &NodeId| self.killed != Some(*id) && !self.declared.contains(id);
        let outside: Vec<NodeId> =
            self.hosts.keys().copied().filter(usable).filter(|id| newest.node(*id).is_none()).collect();
        if self.random.chance(0.6) {
            let new = self.random.pick(&outside)?;
            nodes.push(node(new.0));
        }
        if nodes.len() > 3 && self.random.chance(0.6) {
            nodes.remove(self.random.below(nodes.len() as u64) as usize);
        }
        // No two operators ever want the same.
        nodes.first_mut()?.name = format!("request-{request}");
        let layout = newest.change(nodes, 2).ok()?;
        match dead {
            Some(dead) => layout.declaring_dead([dead]).ok(),
            None if self.hasty => layout.declaring_dead([STRANGER]).ok(),
            None => Some(layout),
        }
    }

    fn crash(&mut self) {
        let ids: Vec<NodeId> = self.hosts.keys().copied().collect();
        if let Some(&id) = self.random.pick(&ids) {
            self.crash_of(id);
        }
    }

    fn crash_of(&mut self, id: NodeId) {
        self.stop(id);
        let pause = if self.fragile || self.random.chance(0.5) { 500_000 } else { 15_000_000 };
        self.soon(pause, Event::Start { node: id });
    }

    fn stop(&mut self, id: NodeId) {
        let host = self.hosts.get_mut(&id).unwrap();
        host.keeper = None;
        host.open.clear();
        // What was asked to be written may have been, although nobody was told.
        if let Some(state) = host.queue.pop_front().filter(|_| self.random.chance(0.5)) {
            self.hosts.get_mut(&id).unwrap().disk = state;
        }
        self.hosts.get_mut(&id).unwrap().queue.clear();
        self.tell_peers();
    }

    /// Somebody is gone for good: the machine, or only every way to it.
    fn kill(&mut self) {
        let members: Vec<NodeId> = self.hosts.keys().copied().collect();
        let Some(&id) = self.random.pick(&members) else { return };
        self.killed = Some(id);
        if self.random.chance(0.7) {
            self.stop(id);
        }
        self.tell_peers();
    }

    fn split(&mut self) {
        let ids: Vec<NodeId> = self.hosts.keys().copied().collect();
        self.aside = ids.into_iter().filter(|_| self.random.chance(0.4)).collect();
        if self.random.chance(0.3) {
            self.aside.clear();
        }
        self.tell_peers();
    }

    fn heal(&mut self) {
        self.weather = Weather::Fair;
        self.aside.clear();
        let ids: Vec<NodeId> = self.hosts.keys().copied().collect();
        ids.into_iter().for_each(|id| self.start(id));
        self.tell_peers();
    }

    fn is_gone(&self, id: NodeId) -> bool {
        self.killed == Some(id)
    }

    fn connected(&self, one: NodeId, other: NodeId) -> bool {
        let cut_off = self.is_gone(one) || self.is_gone(other);
        !cut_off && self.aside.contains(&one) == self.aside.contains(&other)
    }

    fn reachable_from(&self, id: NodeId) -> BTreeSet<NodeId> {
        let up = |other: &NodeId| self.hosts[other].keeper.is_some() && self.connected(id, *other);
        self.hosts.keys().copied().filter(up).collect()
    }

    fn tell_peers(&mut self) {
        let ids: Vec<NodeId> = self.hosts.keys().copied().collect();
        for node in ids {
            self.soon(1_500_000, Event::Peers { node });
        }
    }
}
