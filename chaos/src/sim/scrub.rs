//! The scrub on a node of the simulator: every step apart, so that anything may happen between two.

use super::machine::Maintenance;
use super::world::{Happening, Phase, World};
use dunlin::node::{Input, Node};
use dunlin::store::{AppendError, Damage, Disk, Examination, Examined, Log, LostRecord, Reader};
use std::collections::BTreeSet;
use std::time::Duration;

/// Bytes verified by one step: several steps to a segment.
const BUDGET_BYTES: usize = 4096;

/// Between two rounds there is so much more time than between two steps of one.
const RARELY: u32 = 10;

/// In the calm a round must end soon, however long the log has become.
const CALM_STEP: Duration = Duration::from_millis(2);

/// Goes round all sealed segments, and looks at those first in which a reader met damage.
pub(super) struct Scrub<D: Disk> {
    /// The last segment looked at in this round.
    behind: u32,
    /// Whole rounds.
    rounds: u64,
    stage: Stage<D>,
}

/// How far it is with one segment.
enum Stage<D: Disk> {
    /// With none.
    Between,
    /// It verifies.
    Examining(Examination<D>),
    /// Records are lost; which of them count?
    Found(Examination<D>, Damage),
    /// The node knows of these, and has to take them out.
    Telling(Examination<D>, Damage, Vec<LostRecord>),
}

impl<D: Disk> Scrub<D> {
    pub(super) fn new() -> Self {
        Scrub { behind: 0, rounds: 0, stage: Stage::Between }
    }

    pub(super) fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Goes one step on.
    pub(super) fn step(&mut self, log: &mut Log<D>, reader: &Reader<D>, node: &Node) -> Maintenance {
        match std::mem::replace(&mut self.stage, Stage::Between) {
            Stage::Between => self.choose(log, reader),
            Stage::Examining(examination) => self.examine(log, reader, examination),
            Stage::Found(examination, damage) => {
                let counting = counting(node, &damage.records);
                if counting.is_empty() {
                    return settle(log, &examination, &damage, "scrub: damage that does not count");
                }
                let partitions: BTreeSet<_> = counting.iter().filter_map(LostRecord::damaged_partition).collect();
                self.stage = Stage::Telling(examination, damage, counting);
                Maintenance::Tell("scrub: damage told", Box::new(Input::Damaged(partitions)))
            }
            Stage::Telling(examination, damage, before) => {
                let counting = counting(node, &before);
                if counting.is_empty() {
                    return settle(log, &examination, &damage, "scrub: damage repaired");
                }
                self.stage = Stage::Telling(examination, damage, counting.clone());
                Maintenance::Tell("scrub: lost records told", Box::new(Input::Lost(counting)))
            }
        }
    }

    fn choose(&mut self, log: &mut Log<D>, reader: &Reader<D>) -> Maintenance {
        if let Some(suspect) = reader.suspects().first() {
            if let Some(examination) = log.examine(*suspect) {
                self.stage = Stage::Examining(examination);
                return Maintenance::Done("scrub: a suspect");
            }
            return match log.seal_off(*suspect) {
                Ok(()) | Err(AppendError::Full) => Maintenance::Done("scrub: a suspect that is not sealed"),
                Err(AppendError::Poisoned(_)) => Maintenance::Poisoned,
            };
        }
        match log.sealed_behind(self.behind) {
            Some(segment) => match log.examine(segment) {
                Some(examination) => {
                    self.behind = segment;
                    self.stage = Stage::Examining(examination);
                    Maintenance::Done("scrub: a segment")
                }
                None => Maintenance::Done("scrub: waits for a compaction"),
            },
            None => {
                (self.behind, self.rounds) = (0, self.rounds + 1);
                Maintenance::Over("scrub: a round")
            }
        }
    }

    fn examine(&mut self, log: &mut Log<D>, reader: &Reader<D>, mut examination: Examination<D>) -> Maintenance {
        match examination.step(BUDGET_BYTES) {
            Ok(Examined::More) => {
                self.stage = Stage::Examining(examination);
                Maintenance::Done("scrub: verifying")
            }
            Ok(Examined::Sound) => settle(log, &examination, &Damage::default(), "scrub: sound"),
            Ok(Examined::KeyFileMended) => settle(log, &examination, &Damage::default(), "scrub: key file mended"),
            Ok(Examined::Damaged(damage)) => {
                self.stage = Stage::Found(examination, damage);
                Maintenance::Done("scrub: damage found")
            }
            Ok(Examined::Opaque) if log.examine(examination.segment()).is_none() => {
                Maintenance::Done("scrub: compacted meanwhile")
            }
            Ok(Examined::Opaque) => {
                reader.leave_to_opening(examination.segment());
                Maintenance::LeftToOpening("scrub: left to an opening")
            }
            // The disk is full or out of order: this segment again, later.
            Err(_) => {
                self.behind = self.behind.min(examination.segment().saturating_sub(1));
                Maintenance::Done("scrub: put off")
            }
        }
    }
}

fn counting(node: &Node, records: &[LostRecord]) -> Vec<LostRecord> {
    let counts = |lost: &&LostRecord| node.is_current(lost.partition, &lost.holder, lost.place);
    records.iter().filter(counts).cloned().collect()
}

/// Nothing of what was found counts any more.
fn settle<D: Disk>(log: &mut Log<D>, examination: &Examination<D>, damage: &Damage, step: &'static str) -> Maintenance {
    if step.contains("damage") {
        log.condemn(examination.segment());
    }
    match log.settle(examination, damage) {
        Ok(()) | Err(AppendError::Full) => Maintenance::Done(step),
        Err(AppendError::Poisoned(_)) => Maintenance::Poisoned,
    }
}

/// Rot that may still be unknown on a node's disk: gone once its process, this one, has scrubbed so often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rotten {
    pub(super) boot: u64,
    pub(super) rounds: u64,
}

impl World {
    /// A step of the scrub, then the next some time later.
    pub(super) fn scrub(&mut self, node: usize, boot: u64) {
        if !self.is_current(node, boot) {
            return;
        }
        let before = self.stations[node].machine.arming();
        let Some(running) = &mut self.stations[node].running else { return };
        let done = running.process.scrub();
        running.scrubbing = done.unfinished();
        self.note_strike(node, before);
        let (step, input) = match done {
            Maintenance::Idle => return,
            Maintenance::Poisoned => {
                self.tally.count("disk: log poisoned");
                return self.power_off(node);
            }
            Maintenance::LeftToOpening(step) => {
                self.tally.count(step);
                self.note(node, step, 0, 0);
                return self.power_off(node);
            }
            Maintenance::Over(step) => {
                self.tally.count(step);
                return self.plan_scrub(node, RARELY);
            }
            Maintenance::Done(step) => (step, None),
            Maintenance::Tell(step, input) => (step, Some(input)),
        };
        self.tally.count(step);
        self.note(node, step, 0, 0);
        if let Some(input) = input {
            self.feed(node, *input);
        }
        self.plan_scrub(node, 1);
    }

    pub(super) fn plan_scrub(&mut self, node: usize, times: u32) {
        let Some(mean) = self.swarm.scrub else { return };
        if self.stations[node].running.is_some() {
            let mean = if self.phase == Phase::Calm { CALM_STEP } else { mean };
            let delay = Duration::from_micros(self.scrub_random.below((mean * 2 * times).as_micros() as u64 + 1));
            let boot = self.stations[node].boot;
            self.after(delay, Happening::Scrub { node, boot });
        }
    }

    /// Is everything that ever rotted on this node's disk found and dealt with?
    pub(super) fn is_scrubbed(&mut self, node: usize) -> bool {
        let station = &mut self.stations[node];
        let Some(Rotten { boot, rounds }) = station.rotten else { return true };
        let current = station.boot == boot;
        let scrubbed = |process: &dyn super::machine::Process| current && process.scrub_rounds() >= rounds;
        if station.running.as_ref().is_some_and(|running| scrubbed(&*running.process)) {
            station.rotten = None;
        }
        station.rotten.is_none()
    }

    /// Bits of a running node's sealed files flip; nobody knows.
    pub(super) fn rot_under_way(&mut self, node: usize) -> bool {
        let station = &mut self.stations[node];
        let rounds = station.running.as_ref().map_or(0, |running| running.process.scrub_rounds());
        // The round that is under way may have passed the place.
        station.rotten = Some(Rotten { boot: station.boot, rounds: rounds + 2 });
        self.losses += 1;
        self.stations[node].machine.rot_sealed(&mut self.scrub_random)
    }

    /// A process has started on a disk that may have rotted: its first whole round tells.
    pub(super) fn rotten_at_boot(&mut self, node: usize) {
        let boot = self.stations[node].boot;
        if let Some(rotten) = &mut self.stations[node].rotten {
            *rotten = Rotten { boot, rounds: 1 };
            let reset = self.stations[node].running.as_ref().is_some_and(|running| running.process.was_reset());
            if reset {
                self.workload.oracle.lose_disk(self.now);
            }
        }
    }
}
