//! The real thing: the core on its store on a simulated disk.

use super::checkers::Holding;
use super::disk::SimDisk;
use super::machine::{Appending, Arming, Boot, DiskFaults, Machine, Maintenance, Newborn, Process};
use super::upkeep::Upkeep;
use ::dunlin::base::{Mutation, NodeId, Now, Random, Time, broken};
use ::dunlin::causal::{Actor, DotSet};
use ::dunlin::node::{Effect, Input, Node, NodeOptions, Space};
use ::dunlin::ring::PartitionId;
use ::dunlin::store::{
    AppendError, Birth, CodecOptions, Compression, Depth, Disk, Durability, FileName, Log, OpenOptions, Opening, Place,
    Reader, Record, Sequence, inspect, open,
};
use std::sync::Arc;

/// A machine with one simulated disk.
pub struct DunlinMachine {
    disk: Arc<SimDisk>,
    /// What tells one directory from another.
    directory: u64,
    /// How often the power was cut.
    power_cycles: u64,
    faults: DiskFaults,
    /// What the first store on it was offered.
    first_actor: Option<u64>,
    /// Shared with the process, which draws its read errors from it.
    read_errors: Arc<std::sync::Mutex<f64>>,
}

struct DunlinProcess {
    disk: Arc<SimDisk>,
    /// Two segments: what a roll and a seal may take.
    reserve_bytes: u64,
    node: Node,
    log: Log<SimDisk>,
    upkeep: Upkeep<SimDisk>,
    reader: Reader<SimDisk>,
    read_errors: Arc<std::sync::Mutex<f64>>,
    random: Random,
    recovered: Vec<(PartitionId, DotSet)>,
}

impl DunlinMachine {
    /// A machine with an empty disk.
    pub fn new(random: &mut Random) -> Self {
        let directory = random.u64();
        Self {
            disk: Arc::new(SimDisk::new(directory)),
            directory,
            power_cycles: 0,
            faults: DiskFaults::default(),
            first_actor: None,
            read_errors: Arc::default(),
        }
    }

    /// The marker that a reader puts when it meets damage: the next opening verifies every record. A sealed one
    /// that nobody reads is not looked at otherwise, so that a node could never count as whole again.
    fn doubt(&self) {
        // Refused only if it is there already, or if the disk is full: then the damage waits for a reader.
        let _ = self.disk.create(&FileName("doubted".into())).and_then(|_| self.disk.sync_dir());
    }

    /// The last record that the next opening would count, if it would cut the log; all of it if it would reset.
    fn last_record(&self) -> Sequence {
        match inspect(&self.disk, Depth::Frames) {
            Ok(found) if !matches!(found.opening, Opening::Renewed { reason } if reason.resets()) => found.last,
            _ => Sequence(u64::MAX),
        }
    }

    /// The actor a store may take; broken on purpose, the machine's first one again and again.
    fn actor_for(&mut self, boot: &Boot) -> Actor {
        let first = *self.first_actor.get_or_insert(boot.actor);
        Actor(if broken(Mutation::ReuseActorAfterWipe) { first } else { boot.actor })
    }

    /// Machines of this make, for a run.
    pub fn build(_: NodeId, random: &mut Random) -> Box<dyn Machine> {
        Box::new(Self::new(random))
    }
}

impl Machine for DunlinMachine {
    fn boot(&mut self, boot: &Boot) -> Option<Box<dyn Process>> {
        let options = OpenOptions {
            fresh_actor: self.actor_for(boot),
            segment_bytes: boot.segment_bytes,
            durability: Durability::Fsync,
            boot: self.power_cycles,
            birth: match boot.newborn {
                Newborn::Complete => Birth::Complete,
                Newborn::Filling => Birth::Filling,
            },
            codec: CodecOptions {
                compression: if boot.seed.is_multiple_of(2) { Compression::Lz4 } else { Compression::None }.into(),
                encryption: None,
            },
        };
        let opened = open(self.disk.clone(), options).ok()?;
        let options = NodeOptions {
            node: boot.node,
            epoch: boot.epoch,
            shards: boot.shards,
            seed: boot.seed,
            timings: boot.timings,
        };
        let tables = opened.recovered.tables.iter().map(|(partition, table)| (*partition, table.clock.clone()));
        let hints = opened.recovered.hints.values().map(|hint| (hint.partition, hint.dots.clone()));
        Some(Box::new(DunlinProcess {
            disk: self.disk.clone(),
            reserve_bytes: 2 * u64::from(boot.segment_bytes),
            recovered: tables.chain(hints).collect(),
            node: Node::new(options, boot.view.clone(), opened.recovered),
            log: opened.log,
            upkeep: Upkeep::Resting,
            reader: opened.reader,
            read_errors: self.read_errors.clone(),
            random: Random::from_seed(boot.epoch),
        }))
    }

    fn crash(&mut self, random: &mut Random) {
        self.power_cycles += 1;
        self.disk.crash(random);
    }

    fn end_process(&mut self) {
        self.disk.end_process();
    }

    fn wipe(&mut self) {
        self.directory = self.directory.wrapping_add(1);
        self.disk.wipe(self.directory);
    }

    fn rot(&mut self, random: &mut Random) -> bool {
        let names = self.disk.file_names();
        let Some(name) = random.pick(&names) else { return false };
        let length = self
            .disk
            .contents(name)
            .map_or(0, |bytes| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1));
        let known = self.last_record();
        let flips: Vec<(usize, u8)> =
            (0..random.between(1, 20)).map(|_| (random.below(length as u64) as usize, random.below(8) as u8)).collect();
        let flip = |disk: &SimDisk| flips.iter().filter(|(at, bit)| disk.flip_bit(name, *at, *bit)).count() > 0;
        let rotten = flip(&self.disk);
        // Damage to the last answered batch cannot be told from a torn write (docs/storage-format.md, limits):
        // the store cuts it and counts as complete. What is not promised is not done.
        if self.last_record() < known {
            flip(&self.disk);
            return false;
        }
        self.doubt();
        rotten
    }

    fn set_faults(&mut self, faults: DiskFaults) {
        if faults.full != self.faults.full {
            self.disk.set_capacity(if faults.full { self.disk.used() } else { u64::MAX });
        }
        match faults.calls_left {
            Some(calls) => self.disk.cut_power_after(calls),
            None if self.faults.calls_left.is_some() => self.disk.cut_power_after(u64::MAX),
            None => {}
        }
        if let Some(nth) = faults.failing_sync {
            self.disk.fail_sync(nth);
        }
        *self.read_errors.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = faults.read_errors;
        self.faults = faults;
    }

    fn arming(&self) -> Arming {
        if self.disk.is_armed() { Arming::Armed } else { Arming::Safe }
    }

    fn disarm(&mut self) {
        self.disk.disarm();
    }
}

impl Process for DunlinProcess {
    fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        self.node.handle(now, input, effects);
    }

    fn deadline(&self) -> Time {
        self.node.deadline()
    }

    fn append(&mut self, records: &[Record]) -> Appending {
        match self.log.append(records) {
            Ok(places) => Appending::Durable(places),
            Err(AppendError::Full) => Appending::Full,
            Err(AppendError::Poisoned(_)) => Appending::Poisoned,
        }
    }

    fn maintain(&mut self, seed: u64) -> Maintenance {
        self.upkeep.step(&mut self.log, &self.node, seed)
    }

    fn read(&mut self, place: Place) -> Option<Record> {
        let share = *self.read_errors.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.random.chance(share) {
            return None;
        }
        self.reader.read(place).ok()
    }

    fn space(&self) -> Space {
        match self.disk.free_space() {
            Ok((free, _)) if free < self.reserve_bytes => Space::Reserve,
            _ => Space::Plenty,
        }
    }

    fn recovered(&mut self) -> Vec<(PartitionId, DotSet)> {
        std::mem::take(&mut self.recovered)
    }

    fn hints(&mut self) -> usize {
        self.node.status().hints.values().map(|(hints, _)| *hints as usize).sum()
    }

    fn holding(&self, partition: PartitionId) -> Option<Holding> {
        let report = self.node.partition_report(partition)?;
        Some(Holding {
            node: 0,
            clock_hash: report.clock.hash64(),
            complete: report.complete,
            data_hash: report.data_hash,
            leftovers: report.leftovers,
            keys: report.keys,
        })
    }

    fn is_complete(&mut self) -> bool {
        self.node.status().filling.is_empty()
    }
}
