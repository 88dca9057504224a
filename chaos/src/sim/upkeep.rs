//! Compaction on a node of the simulator: every step apart, so that anything may happen between two.

use super::machine::Maintenance;
use dunlin::node::{Input, Node};
use dunlin::store::{AppendError, Compaction, CompactionError, CompactionOptions, Disk, Log, Progress, Question};

/// Bytes copied by one step: several steps to a segment.
const BUDGET_BYTES: usize = 2048;

/// Segments are compacted early: runs are short.
const LOWEST_LIVE_SHARE: f64 = 0.9;

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
                    Maintenance::Tell("compaction: relocating", Input::Relocated(moved))
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

fn abandon<D: Disk>(log: &mut Log<D>, compaction: Compaction<D>, error: CompactionError) -> Maintenance {
    match log.abandon(compaction, error) {
        Ok(()) => Maintenance::Over("compaction: given up"),
        Err(_) => Maintenance::Poisoned,
    }
}
