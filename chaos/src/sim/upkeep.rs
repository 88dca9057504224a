//! What a node of the simulator does for its store beside batches: compaction, and the log's own jobs. Every step
//! is apart, so that anything may happen between two.

use super::machine::Maintenance;
use super::world::{Happening, World};
use dunlin::node::{Input, Node};
use dunlin::store::{AppendError, Compaction, CompactionError, CompactionOptions, Disk, Job, Log, Progress, Question};
use std::time::Duration;

/// Bytes copied by one step: several steps to a segment.
const BUDGET_BYTES: usize = 2048;

/// Segments are compacted early: runs are short.
const LOWEST_LIVE_SHARE: f64 = 0.9;

/// Between two compactions there is so much more time than between two steps of one.
const RARELY: u32 = 10;

/// How far the compaction of a process is.
pub(super) enum Upkeep<D: Disk> {
    /// None is under way.
    Resting,
    /// It estimates and copies.
    Stepping(Compaction<D>),
    /// All is copied and durable.
    Copied(Compaction<D>),
    /// The output counts; the node is told what has moved.
    Installed(Compaction<D>),
    /// The node knows.
    Relocated(Compaction<D>),
}

impl<D: Disk> Upkeep<D> {
    /// Goes one step on.
    pub(super) fn step(&mut self, log: &mut Log<D>, node: &Node, seed: u64) -> Maintenance {
        match std::mem::replace(self, Upkeep::Resting) {
            Upkeep::Resting => {
                let options = CompactionOptions { seed, lowest_live_share: LOWEST_LIVE_SHARE };
                *self = Upkeep::Stepping(log.begin_compaction(options));
                Maintenance::Done("compaction: asked for")
            }
            Upkeep::Stepping(mut compaction) => {
                let mut ask = |asked: &[Question]| {
                    let is_current = |q: &Question| node.is_current(q.partition, &q.holder, q.place);
                    asked.iter().map(is_current).collect()
                };
                match compaction.step(BUDGET_BYTES, &mut ask) {
                    Ok(Progress::More) => {
                        let copies = compaction.is_copying();
                        *self = Upkeep::Stepping(compaction);
                        Maintenance::Done(if copies { "compaction: copying" } else { "compaction: choosing" })
                    }
                    Ok(Progress::Nothing) => Maintenance::Over("compaction: nothing worth it"),
                    Ok(Progress::Copied) => {
                        *self = Upkeep::Copied(compaction);
                        Maintenance::Done("compaction: copied")
                    }
                    Err(error) => abandon(log, compaction, error),
                }
            }
            Upkeep::Copied(compaction) => match log.install(&compaction) {
                Ok(()) => {
                    *self = Upkeep::Installed(compaction);
                    Maintenance::Done("compaction: installed")
                }
                Err(AppendError::Full) => abandon(log, compaction, CompactionError::Full),
                Err(AppendError::Poisoned(_)) => Maintenance::Poisoned,
            },
            Upkeep::Installed(mut compaction) => match compaction.relocations() {
                Ok(Some(moved)) => {
                    *self = Upkeep::Installed(compaction);
                    Maintenance::Tell("compaction: relocating", Box::new(Input::Relocated(moved)))
                }
                Ok(None) => {
                    *self = Upkeep::Relocated(compaction);
                    Maintenance::Done("compaction: relocated")
                }
                Err(error) => abandon(log, compaction, error),
            },
            Upkeep::Relocated(compaction) => match log.retire(&compaction) {
                Ok(()) if compaction.dropped_deletes() > 0 => Maintenance::Over("compaction: retired with its deletes"),
                Ok(()) => Maintenance::Over("compaction: retired"),
                Err(AppendError::Full) => {
                    *self = Upkeep::Relocated(compaction);
                    Maintenance::Done("compaction: not retired, disk full")
                }
                Err(AppendError::Poisoned(_)) => Maintenance::Poisoned,
            },
        }
    }
}

/// The log's job under way.
pub(super) enum Working<D: Disk> {
    /// None.
    Idle,
    /// It is handed out.
    Begun(Job<D>),
    /// It is done; the log does not know yet.
    Done(Job<D>),
}

impl<D: Disk> Working<D> {
    /// Goes one step on; nothing if there is nothing to do.
    pub(super) fn step(&mut self, log: &mut Log<D>) -> Option<Maintenance> {
        match std::mem::replace(self, Working::Idle) {
            Working::Idle => {
                *self = Working::Begun(log.next_job()?);
                Some(Maintenance::Done("job: handed out"))
            }
            Working::Begun(mut job) => {
                job.run();
                *self = Working::Done(job);
                Some(Maintenance::Done("job: done"))
            }
            Working::Done(job) => match log.finish_job(job) {
                Ok(()) => Some(Maintenance::Done("job: taken over")),
                Err(_) => Some(Maintenance::Poisoned),
            },
        }
    }

    /// What a driver does before an append that would leave the log too far behind.
    pub(super) fn catch_up(&mut self, log: &mut Log<D>) {
        while log.is_behind() {
            // A job that fails poisons the log, and the append says so.
            self.step(log);
        }
    }
}

fn abandon<D: Disk>(log: &mut Log<D>, compaction: Compaction<D>, error: CompactionError) -> Maintenance {
    match log.abandon(compaction, error) {
        Ok(()) => Maintenance::Over("compaction: given up"),
        Err(_) => Maintenance::Poisoned,
    }
}

impl World {
    /// A step of maintenance, then the next some time later.
    pub(super) fn maintain(&mut self, node: usize, boot: u64) {
        if !self.is_current(node, boot) {
            return;
        }
        let (seed, before) = (self.upkeep_random.u64(), self.stations[node].machine.arming());
        let Some(running) = &mut self.stations[node].running else { return };
        let done = running.process.maintain(seed);
        running.upkeep = done.unfinished();
        self.note_strike(node, before);
        let (step, input) = match done {
            Maintenance::Idle | Maintenance::LeftToOpening(_) => return,
            Maintenance::Poisoned => {
                self.tally.count("disk: log poisoned");
                return self.power_off(node);
            }
            Maintenance::Done(step) => (step, None),
            Maintenance::Tell(step, input) => (step, Some(input)),
            Maintenance::Over(step) => {
                self.tally.count(step);
                self.note(node, step, 0, 0);
                return self.plan_compaction(node);
            }
        };
        self.tally.count(step);
        self.note(node, step, 0, 0);
        if let Some(input) = input {
            self.feed(node, *input);
        }
        self.plan_maintenance(node, 1);
    }

    /// Some time later another compaction.
    pub(super) fn plan_compaction(&mut self, node: usize) {
        self.plan_maintenance(node, RARELY);
    }

    fn plan_maintenance(&mut self, node: usize, times: u32) {
        let Some(mean) = self.swarm.upkeep else { return };
        if self.stations[node].running.is_some() {
            let longest = (mean * 2 * times).as_micros() as u64;
            let delay = Duration::from_micros(self.upkeep_random.below(longest + 1));
            let boot = self.stations[node].boot;
            self.after(delay, Happening::Maintain { node, boot });
        }
    }
}
