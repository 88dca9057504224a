//! The real thing: the core on its store on a simulated disk.

use super::checkers::Holding;
use super::disk::SimDisk;
use super::machine::{Appending, Arming, Boot, DiskFaults, Machine, Maintenance, Newborn, Process, Renewing};
use super::scrub::Scrub;
use super::upkeep::{Upkeep, Working};
use ::dunlin::base::{Mutation, NodeId, Now, Random, Time, broken};
use ::dunlin::causal::{Actor, DotSet};
use ::dunlin::node::{Effect, Input, Node, NodeOptions, Space};
use ::dunlin::ring::PartitionId;
use ::dunlin::store::{
    AppendError, Birth, CodecOptions, Compression, Depth, Disk, Durability, Encryption, FileName, KeyLister, KeyPage,
    KeyQuery, Linked, Log, OpenOptions, Opening, Place, Reader, Record, SecretKey, Sequence, back_up, inspect, open,
};
use std::sync::Arc;

/// After so many cuts of the power an encrypted node gets another master key: often enough that compaction is seen to
/// change the data key, and seldom enough that it mostly has other things to do.
const POWER_CYCLES_PER_KEY: u64 = 3;

/// A machine with one simulated disk.
pub struct DunlinMachine {
    disk: Arc<SimDisk>,
    /// What tells one directory from another.
    directory: u64,
    /// How often the power was cut.
    power_cycles: u64,
    faults: DiskFaults,
    /// The last backup.
    backup: Option<SimDisk>,
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
    scrub: Scrub<SimDisk>,
    was_reset: bool,
    working: Working<SimDisk>,
    reader: Reader<SimDisk>,
    lister: KeyLister<SimDisk>,
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
            backup: None,
            first_actor: None,
            read_errors: Arc::default(),
        }
    }

    /// Flips a few bits of a file, up to its last byte that is not zero.
    fn flips(&self, name: &str, random: &mut Random) -> Vec<(usize, u8)> {
        let contents = self.disk.contents(name).unwrap_or_default();
        let length = contents.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        // Of the data keys there are two copies, and an opening mends one by the other: a machine loses the same one
        // each time, for without both nobody reads anything (docs/storage-format.md).
        let second = self.first_actor.is_some_and(|actor| actor.is_multiple_of(2));
        let half = contents.len() / 2;
        let (from, length) = match (name, second) {
            ("keys", false) => (0, half),
            ("keys", true) => (half, half),
            _ => (0, length),
        };
        let place = |random: &mut Random| from + random.below(length as u64) as usize;
        (0..random.between(1, 20)).map(|_| (place(random), random.below(8) as u8)).collect()
    }

    fn flip(&self, name: &str, flips: &[(usize, u8)]) -> bool {
        flips.iter().filter(|(at, bit)| self.disk.flip_bit(name, *at, *bit)).count() > 0
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

    /// Every second node is encrypted, and gets another master key now and then.
    fn encryption(&self, boot: &Boot) -> Option<Encryption> {
        let key = |number: u64| SecretKey::new([number as u8; 32]);
        let master_keys = (0..=self.power_cycles / POWER_CYCLES_PER_KEY).rev().map(key).collect();
        let fresh_data_key = SecretKey::new([boot.actor as u8 | 0x80; 32]);
        boot.node.0.is_multiple_of(2).then_some(Encryption { master_keys, fresh_data_key })
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
                encryption: self.encryption(boot),
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
        let was_reset = matches!(opened.recovered.opening, Opening::Renewed { reason } if reason.resets());
        let hints = opened.recovered.hints.values().map(|hint| (hint.partition, hint.dots.clone()));
        Some(Box::new(DunlinProcess {
            disk: self.disk.clone(),
            reserve_bytes: 2 * u64::from(boot.segment_bytes),
            recovered: tables.chain(hints).collect(),
            log: opened.log,
            node: Node::new(options, boot.view.clone(), opened.recovered),
            upkeep: Upkeep::Resting,
            scrub: Scrub::new(),
            was_reset,
            working: Working::Idle,
            reader: opened.reader,
            lister: KeyLister::new(self.disk.clone()),
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

    fn back_up(&mut self) -> bool {
        let target = SimDisk::new(0);
        let taken = back_up(&*self.disk, &target, &[], &mut |_| Ok(Linked::No)).is_ok();
        if taken {
            self.backup = Some(target);
        }
        taken
    }

    fn restore(&mut self) -> bool {
        let Some(backup) = &self.backup else { return false };
        self.directory = self.directory.wrapping_add(1);
        self.disk = Arc::new(backup.copied(self.directory));
        let faults = std::mem::take(&mut self.faults);
        self.set_faults(faults);
        true
    }

    fn rot(&mut self, random: &mut Random) -> bool {
        let names = self.disk.file_names();
        let Some(name) = random.pick(&names) else { return false };
        let known = self.last_record();
        let flips = self.flips(name, random);
        let rotten = self.flip(name, &flips);
        // Damage to the last answered batch cannot be told from a torn write (docs/storage-format.md, limits):
        // the store cuts it and counts as complete. What is not promised is not done.
        if self.last_record() < known {
            self.flip(name, &flips);
            return false;
        }
        rotten
    }

    fn rot_sealed(&mut self, random: &mut Random) -> bool {
        let is_sealed = |name: &&String| {
            let number = name.strip_prefix("segment-").and_then(|rest| rest.strip_suffix(".log"));
            let key_file = number.map(|number| format!("keys-{number}.idx"));
            name.ends_with(".idx") || key_file.is_some_and(|name| self.disk.contents(&name).is_some())
        };
        let names: Vec<String> = self.disk.file_names().iter().filter(is_sealed).cloned().collect();
        let mut rotten = false;
        for _ in 0..random.between(1, 4) {
            let Some(name) = random.pick(&names) else { break };
            // A key file is mended from its segment; what that has lost, only others have.
            let segment = name.replace("keys-", "segment-").replace(".idx", ".log");
            let name = if random.chance(0.8) { &segment } else { name };
            rotten |= self.flip(name, &self.flips(name, random));
        }
        rotten
    }

    fn doubt(&mut self) {
        // Refused only if it is there already, or if the disk is full: then the damage waits for the scrub.
        let _ = self.disk.create(&FileName("doubted".into())).and_then(|_| self.disk.sync_dir());
    }

    fn set_faults(&mut self, faults: DiskFaults) {
        if faults.full != self.faults.full {
            self.disk.set_capacity(if faults.full { self.disk.used() } else { u64::MAX });
        }
        match faults.calls_left {
            // Power does not come back to a process that was cut off: a job of it may hold the error for a while.
            _ if self.disk.is_dark() => {}
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
        self.working.catch_up(&mut self.log);
        match self.log.append(records) {
            Ok(places) => Appending::Durable(places),
            Err(AppendError::Full) => Appending::Full,
            Err(AppendError::Poisoned(_)) => Appending::Poisoned,
        }
    }

    fn renew(&mut self, actor: u64) -> Renewing {
        match self.log.renew(Actor(actor)) {
            Ok(()) => Renewing::Renewed(self.log.actor()),
            Err(AppendError::Full) => Renewing::Full,
            Err(AppendError::Poisoned(_)) => Renewing::Poisoned,
        }
    }

    fn maintain(&mut self, seed: u64) -> Maintenance {
        // On a thread of its own: it may come at any time between the steps of a compaction.
        let step = if seed.is_multiple_of(2) { self.working.step(&mut self.log) } else { None };
        step.unwrap_or_else(|| self.upkeep.step(&mut self.log, &self.node, seed))
    }

    fn scrub(&mut self) -> Maintenance {
        self.scrub.step(&mut self.log, &self.reader, &self.node)
    }

    fn scrub_rounds(&self) -> u64 {
        self.scrub.rounds()
    }

    fn was_reset(&self) -> bool {
        self.was_reset
    }

    fn read(&mut self, place: Place) -> Option<Record> {
        let share = *self.read_errors.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.random.chance(share) {
            return None;
        }
        self.reader.read(place).ok()
    }

    fn list(&mut self, query: &KeyQuery, partitions: &[PartitionId]) -> Option<KeyPage> {
        let share = *self.read_errors.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.random.chance(share) {
            return None;
        }
        self.lister.page(&self.log.key_snapshot(), query, &|partition| partitions.contains(&partition)).ok()
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
