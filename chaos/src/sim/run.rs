//! One run: a storm under load, then a calm that must mend everything.

use super::WriteSet;
use super::checkers::{
    Broken, Holding, Leftovers, check_converged, check_honest, check_lost, check_meeting, check_resurrected_at_end,
};
use super::cluster::layout_of;
use super::machine::Machine;
use super::report::Report;
use super::swarm::{Detection, Swarm, Weather};
use super::trace::Voice;
use super::world::{Happening, World};
use dunlin::base::{NodeId, Random};
use dunlin::replication::Outcome;
use dunlin::ring::PartitionId;
use std::collections::BTreeMap;
use std::time::Duration;

/// A run whose clients get no further than this goes on to its end: enough is seen.
const LONGEST_STORM: Duration = Duration::from_secs(600);

/// How long detectors have to find each other before clients come: what `/readyz` waits for.
const FIRST_MEETING: Duration = Duration::from_secs(3);

/// From the end of all faults to equal replicas, at most.
const LONGEST_CALM: Duration = Duration::from_secs(120);

/// Between two looks whether replicas are equal.
const LOOK: Duration = Duration::from_millis(500);

/// How long the last reads may take: their own time-out is shorter.
const LAST_READS: Duration = Duration::from_secs(10);

/// How long a forwarded command may still work after its arrival: its own time-out, and what its append takes.
const LATE_COMMAND: Duration = Duration::from_secs(6);

/// Makes the machine of one node.
pub(super) type Build<'a> = &'a dyn Fn(NodeId, &mut Random) -> Box<dyn Machine>;

/// Runs a seed on machines of this make.
pub fn run(seed: u64, build: Build<'_>, voice: Voice) -> Report {
    let mut random = Random::from_seed(seed);
    let swarm = Swarm::draw(&mut random);
    run_swarm(seed, swarm, random, build, voice)
}

/// Runs a seed without its faults, in fair weather: what is left is load, and changes of the layout if it has any.
pub fn run_undisturbed(seed: u64, build: Build<'_>, voice: Voice) -> Report {
    let mut random = Random::from_seed(seed);
    let mut swarm = Swarm::draw(&mut random);
    swarm.faults.clear();
    (swarm.weather, swarm.scrub) = (Weather::FAIR, None);
    run_swarm(seed, swarm, random, build, voice)
}

/// Runs a given swarm.
pub(super) fn run_swarm(seed: u64, swarm: Swarm, mut random: Random, build: Build<'_>, voice: Voice) -> Report {
    let layout = layout_of(&swarm, &mut random);
    let machines = layout.nodes.iter().map(|node| build(node.id, &mut random)).collect();
    let mut world = World::new(swarm, layout, random, machines, voice);
    world.storm();
    world.calm();
    Report {
        seed,
        trace_hash: world.trace.hash(),
        events: world.trace.events(),
        succeeded: world.workload.succeeded,
        last: if world.broken.is_empty() { Vec::new() } else { world.trace.last_lines() },
        swarm: format!("{:#?}", world.swarm),
        broken: world.broken,
        tally: world.tally,
    }
}

impl World {
    /// Faults and load, until all clients are done.
    fn storm(&mut self) {
        (0..self.swarm.nodes).for_each(|node| self.restart(node));
        for node in 0..self.swarm.nodes {
            self.detect(node);
            self.watch(node);
        }
        self.plan_disturbance();
        if self.swarm.layout_changes.is_some() {
            self.after(FIRST_MEETING, Happening::ChangeLayout);
        }
        if self.swarm.detection == Detection::Real {
            let met = self.now + FIRST_MEETING;
            while self.step(met) {}
        }
        (0..self.swarm.clients).for_each(|client| self.go_on(client));
        let end = self.now + LONGEST_STORM;
        while (self.workload.remaining > 0 || !self.requests.is_empty()) && self.now < end && self.broken.is_empty() {
            let until = self.now + LOOK;
            while self.step(until) {}
        }
    }

    /// No fault, no load: replicas must become equal, and then every node must show the same.
    fn calm(&mut self) {
        self.heal();
        let end = (self.now + LONGEST_CALM).max(self.last_forward + LATE_COMMAND * 2);
        let begun = self.now;
        loop {
            let until = self.now + LOOK;
            while self.step(until) {}
            if !self.broken.is_empty() {
                return;
            }
            let unequal = self.judge_convergence();
            // A late command is carried out when it arrives, though its client has long given up.
            let settled = self.last_forward + LATE_COMMAND < self.now;
            if unequal.is_empty() && self.requests.is_empty() && settled {
                break;
            }
            if self.now >= end {
                self.broken.extend(unequal);
                return;
            }
        }
        self.tally.add("seconds to converge, summed", self.now.since(begun).as_secs());
        self.read_everything();
    }

    fn judge_convergence(&mut self) -> Vec<Broken> {
        let unscrubbed: Vec<usize> = (0..self.swarm.nodes).filter(|node| !self.is_scrubbed(*node)).collect();
        if !unscrubbed.is_empty() {
            let what = format!("nodes {unscrubbed:?} have not found what has rotted");
            return vec![Broken { promise: "P7 no corrupt bytes", what }];
        }
        let partitions: Vec<Vec<Holding>> =
            (0..self.swarm.partitions).map(|number| self.holdings(PartitionId(number))).collect();
        let hints: Vec<usize> =
            self.stations.iter_mut().map(|s| s.running.as_mut().map_or(0, |running| running.process.hints())).collect();
        // What only a node that left had seen, and nobody was ever told of, is lost with what it held.
        let whole = self.losses == 0 && self.swarm.layout_changes.is_none();
        let leftovers = if whole { Leftovers::None } else { Leftovers::OfLostDisks };
        let mut broken = check_converged(&partitions, &hints, leftovers);
        broken.extend(check_meeting(self.views()));
        broken.extend(self.unfinished_changes());
        for (node, station) in self.stations.iter().enumerate().filter(|(_, station)| station.running.is_none()) {
            let what = format!("node {node} does not run; it was booted {} times", station.boot);
            broken.push(Broken { promise: "P4 converges", what });
        }
        broken
    }

    fn holdings(&self, partition: PartitionId) -> Vec<Holding> {
        let layout = self.newest_layout();
        let primaries = layout.primaries(partition);
        let nodes = self.layout.nodes.iter().enumerate().filter(|(_, node)| primaries.contains(&node.id));
        nodes
            .filter_map(|(number, _)| {
                let holding = self.stations[number].running.as_ref()?.process.holding(partition)?;
                Some(Holding { node: number, ..holding })
            })
            .collect()
    }

    /// Every key from every node, of all replicas.
    fn read_everything(&mut self) {
        (0..self.swarm.nodes).for_each(|node| self.detect(node));
        let mut asked = BTreeMap::new();
        for key in 0..self.swarm.keys {
            for node in 0..self.swarm.nodes {
                let request = self.new_request();
                let command = self.workload.last_read(key, request, self.now);
                self.command(node, request, command);
                asked.insert(request, (key, node));
            }
        }
        let until = self.now + LAST_READS;
        while self.step(until) && !self.requests.is_empty() {}
        if !self.broken.is_empty() {
            return;
        }
        let mut live: BTreeMap<usize, (usize, WriteSet)> = BTreeMap::new();
        for (request, (key, node)) in asked {
            let answer = self.last_answers.remove(&request);
            let Some(Outcome::Read(result)) = answer else {
                let what = format!("the last read of key {key} at node {node} ends as {answer:?}");
                self.broken.push(Broken { promise: "P6 available", what });
                continue;
            };
            let (shown, broken) = self.workload.shown(key, &result);
            self.broken.extend(broken);
            let (first, before) = live.entry(key).or_insert_with(|| (node, shown.clone()));
            if *before != shown {
                let what = format!("key {key}: node {first} shows {before:?}, node {node} shows {shown:?}");
                self.broken.push(Broken { promise: "P4 converges", what });
            }
        }
        self.judge_history(&live);
    }

    /// Judges the writes by what is live, and the core by its own alarm: equal clocks over different data
    /// mean that some dot is claimed without its effect (PROTOCOL R20).
    fn judge_history(&mut self, live: &BTreeMap<usize, (usize, WriteSet)>) {
        let alarms = self.tally.of("DataHashesDiffer");
        if alarms > 0 && self.losses == 0 {
            let what = format!("{alarms} alarms: clocks equal, data not, and no disk was lost");
            self.broken.push(Broken { promise: "R20 no clock without data", what });
        }
        let behind = self.tally.of("CounterBehind");
        if behind > 0 {
            let what = format!("{behind} writes refused: their coordinator's counter was behind its own dots");
            self.broken.push(Broken { promise: "R9 no counter goes back", what });
        }
        let oracle = &self.workload.oracle;
        for (key, (_, live)) in live {
            self.broken.extend(check_honest(oracle, *key, live));
            self.broken.extend(check_lost(oracle, *key, live));
            self.broken.extend(check_resurrected_at_end(oracle, *key, live));
        }
    }
}
