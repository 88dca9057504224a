//! The world: one queue of events in virtual time, and the nodes they happen to.

use super::checkers::{Broken, Requests, Unanswered, check_durable};
use super::cluster::first_layout;
use super::copies::Copies;
pub(super) use super::happening::Happening;
use super::machine::{Boot, DiskFaults, Machine, Newborn};
use super::network::{Network, kind_of};
use super::outcomes::outcome_name;
use super::parcel::{Parcel, fingerprint};
use super::station::{Answers, Flushing, Queued, Running, Station};
use super::swarm::Swarm;
use super::tally::Tally;
use super::trace::{Event, Trace, Voice, WORLD};
use super::workload::{Wish, Workload};
use dunlin::base::{NodeId, Random, Time};
use dunlin::node::{ControlInput, Effect, Input, LayoutState, Space, StoreAnswer};
use dunlin::replication::{Command, ListCommand, Message, Outcome};
use dunlin::ring::Layout;
use dunlin::store::Place;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// A command must be answered so long after its time-out, at the latest.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// More events than this in one run mean that the nodes chase each other: no honest run comes near.
const MAX_EVENTS: u64 = 5_000_000;

/// Whether faults are still injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Faults and load: safety is judged.
    Storm,
    /// No fault, no load: progress is demanded.
    Calm,
}

/// Everything there is.
pub(super) struct World {
    pub(super) swarm: Swarm,
    /// All nodes there are, by number. In runs without changes also the layout in force.
    pub(super) layout: Arc<Layout>,
    /// The layout that the cluster begins with.
    pub(super) first: Arc<Layout>,
    pub(super) now: Time,
    pub(super) phase: Phase,
    pub(super) stations: Vec<Station>,
    pub(super) network: Network,
    pub(super) workload: Workload,
    pub(super) random: Random,
    /// Apart from the other, so that runs differ in nothing else.
    pub(super) upkeep_random: Random,
    pub(super) scrub_random: Random,
    /// Draws for backups, beside the rest for the same reason.
    pub(super) backup_random: Random,
    /// Draws for changes of the layout, beside the rest for the same reason.
    pub(super) layout_random: Random,
    pub(super) next_change: u64,
    pub(super) trace: Trace,
    pub(super) tally: Tally,
    pub(super) broken: Vec<Broken>,
    pub(super) requests: Requests,
    /// Answers to the last reads, in the calm.
    pub(super) last_answers: BTreeMap<u64, Outcome>,
    pub(super) losses: usize,
    /// When the last forwarded command arrives that is on its way.
    pub(super) last_forward: Time,
    copies: Copies,
    numbers: BTreeMap<NodeId, usize>,
    queue: BTreeMap<(Time, u64), Happening>,
    sequence: u64,
    next_request: u64,
}

impl World {
    /// A cluster at rest: nothing runs yet.
    pub(super) fn new(
        swarm: Swarm,
        layout: Arc<Layout>,
        mut random: Random,
        machines: Vec<Box<dyn Machine>>,
        voice: Voice,
    ) -> Self {
        let copies = swarm.replicas.min(swarm.nodes);
        let nodes = swarm.nodes;
        let first = first_layout(&swarm, &layout);
        Self {
            network: Network::new(random.fork(), swarm.weather),
            workload: Workload::new(&swarm, copies, random.fork()),
            numbers: layout.nodes.iter().enumerate().map(|(number, node)| (node.id, number)).collect(),
            stations: machines
                .into_iter()
                .map(|machine| Station::new(machine, nodes, LayoutState::new(Arc::clone(&first))))
                .collect(),
            first,
            swarm,
            layout,
            now: Time(1),
            phase: Phase::Storm,
            upkeep_random: random.clone().fork(),
            scrub_random: random.clone().fork().fork(),
            backup_random: random.clone().fork().fork().fork(),
            layout_random: random.clone().fork().fork().fork().fork(),
            next_change: 0,
            random,
            trace: Trace::new(voice),
            tally: Tally::default(),
            broken: Vec::new(),
            requests: Requests::default(),
            last_answers: BTreeMap::new(),
            losses: 0,
            last_forward: Time(0),
            copies: Copies::default(),
            queue: BTreeMap::new(),
            sequence: 0,
            next_request: 0,
        }
    }

    pub(super) fn schedule(&mut self, at: Time, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), happening);
    }

    pub(super) fn after(&mut self, delay: Duration, happening: Happening) {
        self.schedule(self.now + delay, happening);
    }

    /// Uniform in zero to `longest`.
    pub(super) fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.random.below(longest.as_micros() as u64 + 1))
    }

    pub(super) fn note(&mut self, node: usize, kind: &'static str, subject: u64, content: u64) {
        self.trace.note(Event { at: self.now, node, kind, subject, content });
    }

    pub(super) fn breaks(&mut self, promise: &'static str, what: String) {
        self.broken.push(Broken { promise, what });
    }

    /// Lets the next thing happen, if it happens by `until`.
    pub(super) fn step(&mut self, until: Time) -> bool {
        let due = self.queue.first_key_value().is_some_and(|((at, _), _)| *at <= until);
        if !due || !self.broken.is_empty() {
            self.now = self.now.max(until);
            return false;
        }
        let Some(((at, _), happening)) = self.queue.pop_first() else { return false };
        self.now = self.now.max(at);
        if self.trace.events() > MAX_EVENTS {
            self.breaks("bounded work", format!("more than {MAX_EVENTS} events"));
            return false;
        }
        match happening.node() {
            Some(node) if self.stations[node].paused_until > self.now => {
                if matches!(happening, Happening::Deliver { kind: "forward", .. }) {
                    self.last_forward = self.last_forward.max(self.stations[node].paused_until);
                }
                self.schedule(self.stations[node].paused_until, happening);
            }
            _ => self.happen(happening),
        }
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Deliver { to, from, kind, parcel } => self.deliver(to, from, kind, &parcel),
            Happening::Tick { node, boot } => self.tick(node, boot),
            Happening::Flush { node, boot } => self.flush(node, boot),
            Happening::Flushed { node, boot, answers } => self.flushed(node, boot, answers),
            Happening::Renewed { node, boot, actor } => self.renewed(node, boot, actor),
            Happening::Maintain { node, boot } => self.maintain(node, boot),
            Happening::Scrub { node, boot } => self.scrub(node, boot),
            Happening::ReadDone { node, boot, shard, id, place } => {
                if self.is_current(node, boot) {
                    let answer = self.read(node, place);
                    self.feed(node, Input::Store { shard, id, answer });
                }
            }
            Happening::ListDone { node, boot, id, query, partitions } => {
                self.listed(node, boot, id, &query, &partitions)
            }
            Happening::Ask { node, boot, asked } => {
                if self.is_current(node, boot) {
                    self.feed(node, *asked);
                }
            }
            Happening::Overdue { request } => self.overdue(request),
            Happening::Hear { to, from, gossip } => self.hear(to, from, gossip),
            Happening::ControlTick { node, boot } => self.control_tick(node, boot),
            Happening::Detect { node } => self.detect(node),
            Happening::Watch { node } => {
                self.detect(node);
                self.measure(node);
                self.resume_transfers(node);
                self.watch(node);
            }
            Happening::Control { node, boot, input } => {
                if self.is_current(node, boot) {
                    self.control(node, *input);
                }
            }
            Happening::LayoutsDurable { node, boot, state } => self.layouts_durable(node, boot, *state),
            Happening::ChangeLayout => self.change_layout(),
            Happening::Client { client } => self.client(client),
            Happening::Restart { node } => self.restart(node),
            Happening::Disturb => self.disturb(),
            Happening::Mend => {
                self.note(WORLD, "mend", 0, 0);
                self.network.mend();
            }
            Happening::RepairDisk { node } => self.stations[node].machine.set_faults(DiskFaults::default()),
        }
    }

    pub(super) fn is_current(&self, node: usize, boot: u64) -> bool {
        self.stations[node].boot == boot && self.stations[node].running.is_some()
    }

    // -- Processes

    /// Opens the disk and starts a process, unless one runs.
    pub(super) fn restart(&mut self, node: usize) {
        if self.stations[node].running.is_some() {
            return;
        }
        self.stations[node].boot += 1;
        self.stations[node].told = self.everyone();
        let boot = self.boot_of(node);
        let station = &mut self.stations[node];
        station.offset = boot.epoch % 1_000_000_000;
        let before = station.machine.arming();
        let (number, process) = (station.boot, station.machine.boot(&boot));
        self.note_strike(node, before);
        self.note(node, "boot", number, process.is_some().into());
        let Some(mut process) = process else {
            self.tally.count("boot failed");
            self.stations[node].machine.set_faults(DiskFaults::default());
            self.stations[node].machine.crash(&mut self.random);
            self.after(Duration::from_millis(500), Happening::Restart { node });
            return;
        };
        for (partition, dots) in process.recovered() {
            self.copies.recovered(node, partition, &dots);
        }
        self.stations[node].running = Some(Running::new(process));
        self.equip(node);
        self.detect(node);
        self.plan_tick(node);
        self.rotten_at_boot(node);
        self.plan_compaction(node);
        self.plan_scrub(node, 1);
    }

    fn boot_of(&mut self, node: usize) -> Boot {
        let is_born = self.first.node(self.layout.nodes[node].id).is_some() && !self.stations[node].disk_lost;
        let newborn = if is_born { Newborn::Complete } else { Newborn::Filling };
        Boot {
            node: self.layout.nodes[node].id,
            epoch: self.random.u64(),
            actor: self.random.u64(),
            shards: self.swarm.shards,
            seed: self.random.u64(),
            view: self.first_view(node),
            newborn,
            timings: self.swarm.timings(),
            segment_bytes: self.swarm.segment_bytes,
        }
    }

    /// The process ends: what it had not been told is lost, and its clients hear nothing.
    pub(super) fn kill(&mut self, node: usize) {
        let Some(running) = self.stations[node].running.take() else { return };
        for step in [running.upkeep, running.scrubbing].into_iter().flatten() {
            self.tally.count(&format!("{step}, then the process ends"));
        }
        self.note(node, "process ends", self.stations[node].boot, 0);
        self.stations[node].paused_until = Time(0);
        for request in self.requests.died(node) {
            if let Some(client) = self.workload.abandoned(request, self.now) {
                self.go_on(client);
            }
        }
    }

    fn tick(&mut self, node: usize, boot: u64) {
        let now = self.now;
        let due = self.is_current(node, boot) && self.stations[node].running.as_ref().is_some_and(|r| r.tick_at <= now);
        if due {
            if let Some(running) = &mut self.stations[node].running {
                running.tick_at = Time::NEVER;
            }
            self.feed(node, Input::Tick);
        }
    }

    /// Asks a process when it wants to be woken. Never at the very instant again: time must pass.
    fn plan_tick(&mut self, node: usize) {
        let (now, station) = (self.now, &mut self.stations[node]);
        let Some(deadline) = station.running.as_ref().map(|running| running.process.deadline()) else { return };
        let at = station.world_time(deadline);
        let Some(running) = &mut station.running else { return };
        if at == Time::NEVER || running.tick_at <= at {
            return;
        }
        let at = at.max(now + Duration::from_micros(10));
        if at < running.tick_at {
            running.tick_at = at;
            let boot = station.boot;
            self.schedule(at, Happening::Tick { node, boot });
        }
    }

    /// Hands an input to a process and does what it asks for, until it asks for nothing at once.
    pub(super) fn feed(&mut self, node: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut effects = Vec::new();
        while let Some(input) = inputs.pop_front() {
            let now = self.stations[node].now(self.now);
            let Some(running) = &mut self.stations[node].running else { return };
            running.process.handle(now, input, &mut effects);
            for effect in effects.drain(..) {
                self.perform(node, effect, &mut inputs);
            }
        }
        self.plan_tick(node);
    }

    fn perform(&mut self, node: usize, effect: Effect, inputs: &mut VecDeque<Input>) {
        match effect {
            Effect::Send { to, message } => self.send(node, &to, message),
            Effect::Append { shard, id, record } => {
                let Some(running) = &mut self.stations[node].running else { return };
                if running.voided.contains(&shard) {
                    return running.refused.push((shard, id));
                }
                running.queue.push_back(Queued::Append(shard, id, Box::new(record)));
                self.note(node, "append", id, shard as u64);
                self.plan_flush(node);
            }
            Effect::Read { shard, id, place, .. } => self.begin_read(node, shard, id, place, inputs),
            Effect::Renew => {
                let Some(running) = &mut self.stations[node].running else { return };
                running.queue.push_back(Queued::Renew);
                self.note(node, "renew", 0, 0);
                self.plan_flush(node);
            }
            Effect::List { id, query, partitions } => {
                let (boot, delay) = (self.stations[node].boot, self.storage_delay(node));
                self.after(delay, Happening::ListDone { node, boot, id, query, partitions });
            }
            Effect::Resume { shard } => {
                if let Some(running) = &mut self.stations[node].running {
                    running.voided.remove(&shard);
                }
                self.note(node, "resume", shard as u64, 0);
            }
            Effect::Answer { request, outcome } => self.answer(node, request, outcome),
            Effect::Drained { shard, revision } => self.control_later(node, ControlInput::Drained { shard, revision }),
            Effect::Filled { shard, revision, version } => {
                self.control_later(node, ControlInput::Filled { shard, revision, version });
            }
            Effect::Notice(notice) => self.tally.count(&format!("{notice:?}")),
        }
    }

    // -- Storage

    pub(super) fn storage_delay(&mut self, node: usize) -> Duration {
        let longest = if self.stations[node].slow_until > self.now { 2_000_000 } else { 0 };
        let extra = self.up_to(Duration::from_micros(longest));
        self.up_to(self.swarm.flush_delay) + extra
    }

    pub(super) fn plan_flush(&mut self, node: usize) {
        let delay = self.storage_delay(node);
        let station = &mut self.stations[node];
        let Some(running) = &mut station.running else { return };
        if !running.flushing && !running.queue.is_empty() {
            running.flushing = true;
            let boot = station.boot;
            self.after(delay, Happening::Flush { node, boot });
        }
    }

    fn flush(&mut self, node: usize, boot: u64) {
        if !self.is_current(node, boot) {
            return;
        }
        let before = self.stations[node].machine.arming();
        let Some(running) = &mut self.stations[node].running else { return };
        if matches!(running.queue.front(), Some(Queued::Renew)) {
            return self.renew(node, before);
        }
        let flushing = running.flush(&mut self.random);
        self.note_strike(node, before);
        match flushing {
            Flushing::Answered(answers, durable) => {
                durable.iter().for_each(|record| self.copies.durable(node, record));
                self.note(node, "flush", answers.len() as u64, 0);
                if answers.iter().any(|(_, _, answer)| matches!(answer, StoreAnswer::AppendFailed)) {
                    self.tally.count("disk: append refused");
                }
                let delay = self.up_to(self.swarm.flush_delay / 4);
                self.after(delay, Happening::Flushed { node, boot, answers });
            }
            Flushing::Poisoned => {
                self.tally.count("disk: log poisoned");
                self.power_off(node);
            }
        }
    }

    fn flushed(&mut self, node: usize, boot: u64, answers: Answers) {
        for (shard, id, answer) in answers {
            if !self.is_current(node, boot) {
                return;
            }
            self.note(node, "stored", id, shard as u64);
            self.feed(node, Input::Store { shard, id, answer });
        }
        self.refuse(node);
        if let Some(running) = &mut self.stations[node].running {
            running.flushing = false;
        }
        self.plan_flush(node);
    }

    /// Answers of a shard come in the order of its appends: those of a voided shard after the flush that voided it.
    fn refuse(&mut self, node: usize) {
        let refused = self.stations[node].running.as_mut().map(|running| std::mem::take(&mut running.refused));
        for (shard, id) in refused.unwrap_or_default() {
            self.feed(node, Input::Store { shard, id, answer: StoreAnswer::AppendFailed });
        }
    }

    /// A driver looks now and then how much room its disk has.
    fn measure(&mut self, node: usize) {
        let Some(running) = &mut self.stations[node].running else { return };
        let space = running.process.space();
        if running.space != space {
            running.space = space;
            self.tally.count(if space == Space::Plenty { "disk: reserve left" } else { "disk: reserve reached" });
            self.feed(node, Input::Space(space));
        }
    }

    fn begin_read(&mut self, node: usize, shard: usize, id: u64, place: Place, inputs: &mut VecDeque<Input>) {
        self.note(node, "read", id, u64::from(place.offset));
        let slow = self.stations[node].slow_until > self.now;
        if !slow && self.random.chance(0.7) {
            let answer = self.read(node, place);
            inputs.push_back(Input::Store { shard, id, answer });
            return;
        }
        let (boot, delay) = (self.stations[node].boot, self.storage_delay(node));
        self.after(delay, Happening::ReadDone { node, boot, shard, id, place });
    }

    fn read(&mut self, node: usize, place: Place) -> StoreAnswer {
        let running = self.stations[node].running.as_mut();
        let record = running.and_then(|running| running.process.read(place));
        if record.is_none() {
            self.tally.count("disk: read failed");
        }
        record.map_or(StoreAnswer::ReadFailed, |record| StoreAnswer::Read(Arc::new(record)))
    }

    // -- Network

    pub(super) fn send(&mut self, from: usize, to: &[NodeId], message: Message) {
        let (kind, content) = (kind_of(&message), fingerprint(&message));
        let parcel = match Parcel::pack(message, self.swarm.passage) {
            Ok(parcel) => parcel,
            Err(what) => return self.breaks("messages survive their encoding", what),
        };
        for id in to {
            let Some(&to) = self.numbers.get(id) else {
                self.breaks("messages go to members", format!("node {from} sends a {kind} to {id}"));
                continue;
            };
            self.note(from, kind, to as u64, content);
            let (arrivals, mishap) = self.network.route(self.now, (from, to), kind);
            if let Some(mishap) = mishap {
                self.tally.count(&format!("message: {mishap:?}"));
            }
            if kind == "forward" {
                self.last_forward = arrivals.iter().copied().fold(self.last_forward, Time::max);
            }
            for at in arrivals {
                self.schedule(at, Happening::Deliver { to, from, kind, parcel: parcel.clone() });
            }
        }
    }

    fn deliver(&mut self, to: usize, from: usize, kind: &'static str, parcel: &Parcel) {
        if self.stations[to].running.is_none() {
            return;
        }
        self.note(to, kind, from as u64, u64::MAX);
        match parcel.unpack() {
            Ok(Message::Layout(message)) => self.hear_of_layouts(to, from, message),
            Ok(message) => self.feed(to, Input::Message { from: self.layout.nodes[from].id, message }),
            Err(what) => self.breaks("messages survive their encoding", what),
        }
    }

    // -- Clients

    fn client(&mut self, client: usize) {
        if self.workload.remaining == 0 || self.phase == Phase::Calm {
            return;
        }
        let up: Vec<usize> = (0..self.swarm.nodes).filter(|node| self.stations[*node].running.is_some()).collect();
        match self.random.pick(&up).copied() {
            Some(node) => {
                let request = self.new_request();
                match self.workload.next(client, request, self.now) {
                    Wish::Command(command) => self.command(node, request, command),
                    Wish::List(command) => self.list(node, request, command),
                }
            }
            None => self.after(Duration::from_millis(100), Happening::Client { client }),
        }
    }

    pub(super) fn new_request(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }

    /// Sends a command to a running node.
    pub(super) fn command(&mut self, node: usize, request: u64, command: Command) {
        let timeout_ms = command.options.timeout_ms;
        self.put(node, request, timeout_ms, Input::Command { request, command });
    }

    fn list(&mut self, node: usize, request: u64, command: ListCommand) {
        let timeout_ms = command.options.timeout_ms;
        self.put(node, request, timeout_ms, Input::List { request, command });
    }

    fn put(&mut self, node: usize, request: u64, timeout_ms: u64, asked: Input) {
        let patience = Duration::from_millis(timeout_ms) + ANSWER_MARGIN;
        let arrival = self.now.max(self.stations[node].paused_until);
        self.requests.sent(request, node, arrival + patience);
        let write = self.workload.write_of(request).map_or(u64::MAX, |write| u64::from(write.0));
        self.note(node, "command", request, write);
        self.schedule(arrival + patience, Happening::Overdue { request });
        let boot = self.stations[node].boot;
        self.after(Duration::ZERO, Happening::Ask { node, boot, asked: Box::new(asked) });
    }

    fn answer(&mut self, node: usize, request: u64, outcome: Outcome) {
        self.note(node, outcome_name(&outcome), request, 0);
        self.tally.count(&format!("answer: {}", outcome_name(&outcome)));
        if let Some(broken) = self.requests.answered(request, node) {
            self.broken.push(broken);
            return;
        }
        if let (Outcome::Written(written), Some(key)) = (&outcome, self.workload.key_of(request)) {
            let durable_on = self.copies.of(self.layout.partitioning.of(key), &written.live);
            self.broken.extend(durable_on.and_then(|nodes| check_durable(written.acks, nodes)));
        }
        if self.phase == Phase::Calm {
            self.last_answers.insert(request, outcome.clone());
        }
        let (client, broken) = self.workload.answered(request, outcome, self.now);
        self.broken.extend(broken);
        if let Some(client) = client.filter(|client| *client != usize::MAX) {
            self.go_on(client);
        }
    }

    /// A client thinks, then asks again.
    pub(super) fn go_on(&mut self, client: usize) {
        let delay = self.up_to(self.swarm.think);
        self.after(delay, Happening::Client { client });
    }

    fn overdue(&mut self, request: u64) {
        match self.requests.overdue(request, self.now) {
            Unanswered::Settled => {}
            Unanswered::Later(at) => self.schedule(at, Happening::Overdue { request }),
            Unanswered::Overdue(broken) => self.broken.push(broken),
        }
    }

    /// A process was made to stand still: its commands have longer.
    pub(super) fn pause(&mut self, node: usize, length: Duration) {
        let until = self.now + length;
        self.stations[node].paused_until = until;
        self.requests.delayed(node, until, Duration::from_secs(5) + ANSWER_MARGIN);
    }
}
