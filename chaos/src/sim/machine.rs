//! What the world needs of a machine and of the process on it.
//!
//! The world drives [`Process`] and [`Machine`] alone. `dunlin.rs` is the one implementation that
//! matters; the tests have a toy, so that the harness itself can be tested against a store known to be
//! right, and against stores known to be wrong.

use super::checkers::Holding;
use dunlin::base::{NodeId, Now, Random, Time};
use dunlin::causal::{Actor, DotSet};
use dunlin::node::{Effect, Input, Space, Timings, View};
use dunlin::ring::PartitionId;
use dunlin::store::{KeyPage, KeyQuery, Place, Record, Sequence};
use std::sync::Arc;

/// A machine: its disk outlives its processes.
pub trait Machine {
    /// Opens the disk and starts a process on it; none if the disk refuses, which stops the machine.
    fn boot(&mut self, boot: &Boot) -> Option<Box<dyn Process>>;
    /// The power is cut: what was not synced is kept, dropped or torn.
    fn crash(&mut self, random: &mut Random);
    /// The process ends, the power stays: what was written is still there.
    fn end_process(&mut self);
    /// The disk is replaced by an empty one.
    fn wipe(&mut self);
    /// A backup is taken of the disk, whatever the process does; false if that cannot be now.
    fn back_up(&mut self) -> bool {
        false
    }
    /// The disk is replaced by the last backup of it; false if there is none.
    fn restore(&mut self) -> bool {
        false
    }
    /// Some bytes of a stopped machine's disk rot; false if there are none.
    fn rot(&mut self, random: &mut Random) -> bool;
    /// Some bytes of sealed files rot, whether the machine runs or not; false if there are none.
    fn rot_sealed(&mut self, _random: &mut Random) -> bool {
        false
    }
    /// The next opening is told to verify every record.
    fn doubt(&mut self) {}
    /// Sets the disk's faults from now on.
    fn set_faults(&mut self, faults: DiskFaults);
    /// Will a sync fail that was asked to and has not yet?
    fn arming(&self) -> Arming {
        Arming::Safe
    }
    /// No sync will fail that has not yet.
    fn disarm(&mut self) {}
}

/// What a new process is given.
#[derive(Debug, Clone)]
pub struct Boot {
    /// Who it is.
    pub node: NodeId,
    /// Random, another for each process.
    pub epoch: u64,
    /// The actor to take if the store needs a new one.
    pub actor: u64,
    /// How many shards.
    pub shards: usize,
    /// Seed of its randomness.
    pub seed: u64,
    /// What it believes at first.
    pub view: Arc<View>,
    /// What an empty disk means.
    pub newborn: Newborn,
    /// The core's periods and sizes.
    pub timings: Timings,
    /// Segment size in bytes.
    pub segment_bytes: u32,
}

/// What a store makes of an empty disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newborn {
    /// The cluster is new: nothing can be missing.
    Complete,
    /// The disk replaces a lost one.
    Filling,
}

/// Whether a sync is about to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arming {
    /// None is.
    Safe,
    /// One is, and the disk with it.
    Armed,
}

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct DiskFaults {
    /// No space for another file.
    pub full: bool,
    /// Share of reads that fail.
    pub read_errors: f64,
    /// After so many more calls that change something, every one fails.
    pub calls_left: Option<u64>,
    /// The sync after so many others fails. None leaves one that was asked for earlier as it is.
    pub failing_sync: Option<u64>,
}

/// A node's process with its log.
pub trait Process {
    /// As `Node::handle`.
    fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>);
    /// As `Node::deadline`.
    fn deadline(&self) -> Time;
    /// As `Log::append`.
    fn append(&mut self, records: &[Record]) -> Appending;
    /// As `Log::renew`.
    fn renew(&mut self, _actor: u64) -> Renewing {
        Renewing::Poisoned
    }
    /// One step of looking after the store, of bounded length: a compaction begun, gone on with, or ended.
    /// `seed` is another one each time.
    fn maintain(&mut self, _seed: u64) -> Maintenance {
        Maintenance::Idle
    }
    /// One step of the scrub, of bounded length.
    fn scrub(&mut self) -> Maintenance {
        Maintenance::Idle
    }
    /// How often the scrub has gone round.
    fn scrub_rounds(&self) -> u64 {
        0
    }
    /// Did its opening void all clocks?
    fn was_reset(&self) -> bool {
        false
    }
    /// As `Reader::read`; none on any error.
    fn read(&mut self, place: Place) -> Option<Record>;
    /// The store's keys; none if they could not be read.
    fn list(&mut self, _query: &KeyQuery, _partitions: &[PartitionId]) -> Option<KeyPage> {
        None
    }
    /// What was durable when it was opened, asked once: un-synced writes that a crash kept are among it.
    fn recovered(&mut self) -> Vec<(PartitionId, DotSet)> {
        Vec::new()
    }
    /// What its disk has room for, as a driver would find it.
    fn space(&self) -> Space {
        Space::Plenty
    }
    /// Hints it holds.
    fn hints(&mut self) -> usize;
    /// What it says of a partition; none if it has none.
    fn holding(&self, partition: PartitionId) -> Option<Holding>;
    /// Is it complete in every partition it owns?
    fn is_complete(&mut self) -> bool;
}

/// What a step of maintenance has come to.
#[derive(Debug)]
pub enum Maintenance {
    /// There is nothing to do for now.
    Idle,
    /// This was done, and there is more to do.
    Done(&'static str),
    /// The same, and the node must hear of it.
    Tell(&'static str, Box<Input>),
    /// The last step of several.
    Over(&'static str),
    /// Only another opening can repair what was found: the process is to be restarted.
    LeftToOpening(&'static str),
    /// The process must end.
    Poisoned,
}

impl Maintenance {
    /// What was done, if there is more to do.
    pub(super) fn unfinished(&self) -> Option<&'static str> {
        match self {
            Maintenance::Done(step) | Maintenance::Tell(step, _) => Some(step),
            Maintenance::Idle | Maintenance::Over(_) | Maintenance::LeftToOpening(_) | Maintenance::Poisoned => None,
        }
    }
}

/// How a renewal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewing {
    /// The actor from now on.
    Renewed(Actor),
    /// No space: nothing has changed.
    Full,
    /// The process must end.
    Poisoned,
}

/// How a batch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appending {
    /// Durable, in the batch's order.
    Durable(Vec<(Place, Sequence)>),
    /// Nothing of it is in the log; later batches may be.
    Full,
    /// The process must end.
    Poisoned,
}
