//! One node of the world: a machine, perhaps a process on it, its clocks, what it believes.

use super::machine::{Appending, Machine, Process};
use super::scrub::Rotten;
use dunlin::base::{NodeId, Now, Random, Time, WallTime};
use dunlin::node::{Control, LayoutState, Space, StoreAnswer};
use dunlin::store::Record;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The wall clock at virtual time zero: some day in 2026, in milliseconds.
const EPOCH_MS: i64 = 1_790_000_000_000;

/// A node, whether it runs or not.
pub(super) struct Station {
    /// Its disk.
    pub machine: Box<dyn Machine>,
    /// What runs on it.
    pub running: Option<Running>,
    /// How many processes there have been: events of earlier ones are void.
    pub boot: u64,
    /// It stands still until then.
    pub paused_until: Time,
    /// Its disk is slow until then.
    pub slow_until: Time,
    /// What its wall clock is off, in milliseconds.
    pub skew_ms: i64,
    /// What its monotonic clock is ahead of virtual time, in microseconds.
    pub offset: u64,
    /// Verdicts forced on it: the peer, up or not, until when.
    pub wrong: BTreeMap<usize, (bool, Time)>,
    /// What it was told last, peer by peer: the process that it takes for up.
    pub told: Vec<Option<u64>>,
    /// SWIM's number of its last process; kept on its disk.
    pub incarnation: u64,
    /// What it knows of the layouts; on its disk, beside the store.
    pub layouts: LayoutState,
    /// Its disk has rotted, and nobody may have found it yet.
    pub rotten: Option<Rotten>,
    /// An empty disk of this station is not to be taken for complete.
    pub disk_lost: bool,
}

/// A process and what its driver holds for it.
pub(super) struct Running {
    /// The node.
    pub process: Box<dyn Process>,
    /// What is not yet handed to the log, oldest first.
    pub queue: VecDeque<Queued>,
    /// Shards whose appends fail until they resume.
    pub voided: BTreeSet<usize>,
    /// Appends of such shards, asked for while the answers before theirs are on their way: those come first.
    pub refused: Vec<(usize, u64)>,
    /// A flush is due or in flight.
    pub flushing: bool,
    /// The tick that is due; others in the event queue are void.
    pub tick_at: Time,
    /// Its detector, in runs that have them.
    pub control: Option<Control>,
    /// The detector's tick that is due.
    pub control_at: Time,
    /// The last step of maintenance, if there is more to do.
    pub upkeep: Option<&'static str>,
    /// The last step of the scrub, if there is more to do.
    pub scrubbing: Option<&'static str>,
    /// What it was told last of its disk's room.
    pub space: Space,
    /// The connections it was told of last.
    pub linked: Option<BTreeMap<NodeId, u64>>,
}

/// What waits for the log.
pub(super) enum Queued {
    /// An append: the shard, its number, the record.
    Append(usize, u64, Box<Record>),
    /// A new actor, behind all appends before.
    Renew,
}

/// Answers to storage requests: shard, number, answer.
pub(super) type Answers = Vec<(usize, u64, StoreAnswer)>;

/// How a flush went.
pub(super) enum Flushing {
    /// These requests are answered, and these records durable.
    Answered(Answers, Vec<Record>),
    /// The log is poisoned: the process must end.
    Poisoned,
}

impl Station {
    /// A machine that nothing runs on yet.
    pub(super) fn new(machine: Box<dyn Machine>, nodes: usize, layouts: LayoutState) -> Self {
        Self {
            machine,
            running: None,
            boot: 0,
            paused_until: Time(0),
            slow_until: Time(0),
            skew_ms: 0,
            offset: 0,
            wrong: BTreeMap::new(),
            told: vec![None; nodes],
            incarnation: 0,
            layouts,
            rotten: None,
            disk_lost: false,
        }
    }

    /// What its clocks show.
    pub(super) fn now(&self, now: Time) -> Now {
        let wall = (EPOCH_MS + (now.0 / 1_000) as i64).saturating_add(self.skew_ms);
        Now { time: Time(now.0 + self.offset), wall: WallTime(wall.max(0) as u64) }
    }

    /// A deadline of its own clock in virtual time.
    pub(super) fn world_time(&self, deadline: Time) -> Time {
        if deadline == Time::NEVER { deadline } else { Time(deadline.0.saturating_sub(self.offset)) }
    }
}

impl Running {
    /// A process that has asked for nothing yet.
    pub(super) fn new(process: Box<dyn Process>) -> Self {
        Self {
            process,
            queue: VecDeque::new(),
            voided: BTreeSet::new(),
            refused: Vec::new(),
            flushing: false,
            tick_at: Time::NEVER,
            control: None,
            control_at: Time::NEVER,
            upkeep: None,
            scrubbing: None,
            space: Space::Plenty,
            linked: None,
        }
    }

    /// Hands a random prefix of the appends that are first in the queue to the log.
    pub(super) fn flush(&mut self, random: &mut Random) -> Flushing {
        let appends = self.queue.iter().take_while(|queued| matches!(queued, Queued::Append(..))).count();
        let length = random.between(1, appends as u64) as usize;
        let batch: Vec<(usize, u64, Record)> = (self.queue.drain(..length.min(appends)))
            .filter_map(|queued| match queued {
                Queued::Append(shard, id, record) => Some((shard, id, *record)),
                Queued::Renew => None,
            })
            .collect();
        let records: Vec<Record> = batch.iter().map(|(_, _, record)| record.clone()).collect();
        match self.process.append(&records) {
            Appending::Durable(places) => {
                let answered = batch
                    .into_iter()
                    .zip(places)
                    .map(|((shard, id, _), (place, sequence))| (shard, id, StoreAnswer::Appended { place, sequence }));
                Flushing::Answered(answered.collect(), records)
            }
            Appending::Full => Flushing::Answered(self.void(batch), Vec::new()),
            Appending::Poisoned => Flushing::Poisoned,
        }
    }

    /// Fails a batch, and whatever the shards in it have queued behind it (PROTOCOL R3).
    fn void(&mut self, batch: Vec<(usize, u64, Record)>) -> Answers {
        self.voided.extend(batch.iter().map(|(shard, _, _)| *shard));
        let is_void = |queued: &Queued| matches!(queued, Queued::Append(shard, ..) if self.voided.contains(shard));
        let (lost, kept): (VecDeque<_>, _) = std::mem::take(&mut self.queue).into_iter().partition(is_void);
        self.queue = kept;
        let lost = lost.into_iter().filter_map(|queued| match queued {
            Queued::Append(shard, id, _) => Some((shard, id)),
            Queued::Renew => None,
        });
        let failed = batch.into_iter().map(|(shard, id, _)| (shard, id)).chain(lost);
        failed.map(|(shard, id)| (shard, id, StoreAnswer::AppendFailed)).collect()
    }
}
