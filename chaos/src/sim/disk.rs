//! A disk in memory that forgets at a crash what was never synced, and fails on demand.
//!
//! What it keeps to is the contract of [`Disk`]: after `sync` a file's bytes survive, after `sync_dir`
//! its name does; until then a crash may keep, drop or tear each write, sector by sector, and keep or
//! drop each change of a name, in any combination.

use super::change::{DataChange, NameChange, kept_whole};
use dunlin::base::Random;
use dunlin::store::{Disk, DiskError, DiskErrorKind, FileName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use xxhash_rust::xxh3::Xxh3;

pub use super::change::{Fate, SECTOR_BYTES};

/// Size of the simulated file system unless a test sets another.
const DEFAULT_CAPACITY_BYTES: u64 = 1 << 40;

/// One simulated data directory. Shared by everything that would share the real one.
#[derive(Debug)]
pub struct SimDisk {
    state: Mutex<State>,
}

/// An open file. Of no use after the crash or the end of the process that opened it.
#[derive(Debug, Clone)]
pub struct SimFile {
    inode: u64,
    name: String,
    epoch: u64,
}

/// A call that changes the directory, as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A file was made.
    Create(String),
    /// A file was given its length.
    Allocate(String, u64),
    /// Bytes were written: offset and how many.
    Write(String, u64, usize),
    /// A file was synced.
    Sync(String),
    /// A name was removed.
    Remove(String),
    /// A name was changed.
    Rename(String, String),
    /// Names were synced.
    SyncDirectory,
}

#[derive(Debug, Clone, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    unsynced_names: Vec<NameChange>,
    next_inode: u64,
    epoch: u64,
    locked: bool,
    directory: u64,
    capacity: u64,
    faults: Faults,
    recording: Option<Vec<Operation>>,
}

/// A file's bytes as processes see them, as the platter has them, and what lies between.
#[derive(Debug, Clone, Default)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<DataChange>,
}

#[derive(Debug, Clone, Default)]
struct Faults {
    /// Changing calls that still work before the power goes.
    power_left: Option<u64>,
    /// The first call that found no power.
    refused: Option<Operation>,
    failing_syncs: BTreeSet<u64>,
    failing_writes: BTreeSet<u64>,
    full_allocations: BTreeSet<u64>,
    unreadable: BTreeSet<(u64, usize)>,
    syncs: u64,
    writes: u64,
    allocations: u64,
}

impl SimDisk {
    /// An empty directory. `directory` is what tells it from any other.
    pub fn new(directory: u64) -> Self {
        let state = State { directory, capacity: DEFAULT_CAPACITY_BYTES, ..State::default() };
        SimDisk { state: Mutex::new(state) }
    }

    /// The same disk once more, un-synced changes and all: for trying several crashes from one point.
    pub fn snapshot(&self) -> SimDisk {
        SimDisk { state: Mutex::new(self.lock_state().clone()) }
    }

    /// A copy of the files, made by an operator: another directory, everything in it durable.
    pub fn copied(&self, directory: u64) -> SimDisk {
        let copy = self.snapshot();
        {
            let mut state = copy.lock_state();
            state.directory = directory;
            state.sync_everything();
            state.end_process();
        }
        copy
    }

    /// The power fails: un-synced changes meet random fates, and the process is gone. A third of the
    /// crashes keep everything or nothing, for those are the commonest in the field.
    pub fn crash(&self, random: &mut Random) {
        let style = random.below(6);
        self.crash_with(|_| match style {
            0 => Fate::Kept,
            1 => Fate::Dropped,
            _ => match random.below(3) {
                0 => Fate::Kept,
                1 => Fate::Dropped,
                _ => Fate::Torn(random.u64()),
            },
        });
    }

    /// The power fails: `fate` says what becomes of each un-synced change, by its number.
    pub fn crash_with(&self, fate: impl FnMut(usize) -> Fate) {
        let mut state = self.lock_state();
        state.settle(fate);
        state.end_process();
    }

    /// How many changes a crash now could keep or lose.
    pub fn unsynced(&self) -> usize {
        let state = self.lock_state();
        state.unsynced_names.len() + state.inodes.values().map(|inode| inode.unsynced.len()).sum::<usize>()
    }

    /// The process ends and the machine does not: the page cache keeps everything.
    pub fn end_process(&self) {
        self.lock_state().end_process();
    }

    /// Everything is deleted and a new, empty directory made.
    pub fn wipe(&self, directory: u64) {
        let mut state = self.lock_state();
        let (epoch, capacity) = (state.epoch + 1, state.capacity);
        *state = State { directory, capacity, epoch, ..State::default() };
    }

    /// After `calls` more changing calls the power is gone: everything fails, nothing has an effect.
    pub fn cut_power_after(&self, calls: u64) {
        let mut state = self.lock_state();
        (state.faults.power_left, state.faults.refused) = (Some(calls), None);
    }

    /// Changing calls that will still work, if that is limited.
    pub fn power_left(&self) -> Option<u64> {
        self.lock_state().faults.power_left
    }

    /// Is the power gone, and the process not yet ended?
    pub fn is_dark(&self) -> bool {
        let state = self.lock_state();
        state.faults.power_left == Some(0) && state.faults.refused.is_some()
    }

    /// The call in which the power went, if it did.
    pub fn refused(&self) -> Option<Operation> {
        self.lock_state().faults.refused.clone()
    }

    /// A hash of all names and contents: equal for directories that a process cannot tell apart.
    pub fn digest(&self) -> u64 {
        let state = self.lock_state();
        let mut hasher = Xxh3::new();
        for (name, inode) in &state.names {
            let bytes = state.inodes.get(inode).map(|inode| inode.seen.as_slice()).unwrap_or_default();
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
        hasher.digest()
    }

    /// The `nth` sync from now (0 is the next) fails, and what it should have written is lost although
    /// it still reads back: Linux marks the pages clean.
    pub fn fail_sync(&self, nth: u64) {
        let mut state = self.lock_state();
        let at = state.faults.syncs + nth;
        state.faults.failing_syncs.insert(at);
    }

    /// Will a sync fail that was asked to and has not yet?
    pub fn is_armed(&self) -> bool {
        !self.lock_state().faults.failing_syncs.is_empty()
    }

    /// No sync or write will fail that has not yet.
    pub fn disarm(&self) {
        let mut state = self.lock_state();
        state.faults.failing_syncs.clear();
        state.faults.failing_writes.clear();
    }

    /// The `nth` write from now fails half-way.
    pub fn fail_write(&self, nth: u64) {
        let mut state = self.lock_state();
        let at = state.faults.writes + nth;
        state.faults.failing_writes.insert(at);
    }

    /// The `nth` allocation from now finds no space.
    pub fn fail_allocation(&self, nth: u64) {
        let mut state = self.lock_state();
        let at = state.faults.allocations + nth;
        state.faults.full_allocations.insert(at);
    }

    /// Sets the size of the file system: a write or allocation that does not fit is refused.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock_state().capacity = bytes;
    }

    /// Bytes all files take.
    pub fn used(&self) -> u64 {
        self.lock_state().used()
    }

    /// Reads that touch the sector of this byte fail from now on.
    pub fn make_unreadable(&self, name: &str, offset: usize) {
        let mut state = self.lock_state();
        if let Some(inode) = state.names.get(name).copied() {
            state.faults.unreadable.insert((inode, offset / SECTOR_BYTES));
        }
    }

    /// Unreadable sectors can be read again.
    pub fn heal_reads(&self) {
        self.lock_state().faults.unreadable.clear();
    }

    /// Flips one bit on the platter; false if there is no such byte.
    pub fn flip_bit(&self, name: &str, offset: usize, bit: u8) -> bool {
        self.tamper(name, |bytes| bytes.get_mut(offset).map(|byte| *byte ^= 1 << (bit % 8)).is_some())
    }

    /// Overwrites bytes behind the store's back: a misdirected or a stale block.
    pub fn overwrite(&self, name: &str, offset: usize, with: &[u8]) -> bool {
        self.tamper(name, |bytes| {
            let range = bytes.get_mut(offset..offset + with.len());
            range.map(|range| range.copy_from_slice(with)).is_some()
        })
    }

    /// A file is gone, name and all.
    pub fn lose_file(&self, name: &str) {
        let mut state = self.lock_state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    /// A file's bytes as a process would read them.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock_state();
        state.names.get(name).and_then(|inode| state.inodes.get(inode)).map(|inode| inode.seen.clone())
    }

    /// The names of all files.
    pub fn file_names(&self) -> Vec<String> {
        self.lock_state().names.keys().cloned().collect()
    }

    /// From now on changing calls are listed.
    pub fn record(&self) {
        self.lock_state().recording = Some(Vec::new());
    }

    /// The calls since [`SimDisk::record`].
    pub fn recorded(&self) -> Vec<Operation> {
        self.lock_state().recording.clone().unwrap_or_default()
    }

    fn tamper(&self, name: &str, mut change: impl FnMut(&mut Vec<u8>) -> bool) -> bool {
        let mut state = self.lock_state();
        let Some(inode) = state.names.get(name).copied() else { return false };
        let Some(inode) = state.inodes.get_mut(&inode) else { return false };
        change(&mut inode.durable);
        change(&mut inode.seen)
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end_process(&mut self) {
        self.epoch += 1;
        self.locked = false;
        self.faults.power_left = None;
        // Files without a name went with their last handle.
        let named: BTreeSet<u64> = self.names.values().chain(self.durable_names.values()).copied().collect();
        let in_flight: BTreeSet<u64> = self.unsynced_names.iter().filter_map(NameChange::inode).collect();
        self.inodes.retain(|inode, _| named.contains(inode) || in_flight.contains(inode));
    }

    /// What the platter holds once the power is back.
    fn settle(&mut self, mut fate: impl FnMut(usize) -> Fate) {
        let mut number = 0;
        for change in std::mem::take(&mut self.unsynced_names) {
            if kept_whole(fate(number)) {
                change.apply(&mut self.durable_names);
            }
            number += 1;
        }
        self.names = self.durable_names.clone();
        for inode in self.inodes.values_mut() {
            for change in std::mem::take(&mut inode.unsynced) {
                change.settle(&mut inode.durable, fate(number));
                number += 1;
            }
            inode.seen = inode.durable.clone();
        }
    }

    fn sync_everything(&mut self) {
        self.unsynced_names.clear();
        self.durable_names = self.names.clone();
        for inode in self.inodes.values_mut() {
            inode.unsynced.clear();
            inode.durable = inode.seen.clone();
        }
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|inode| self.inodes.get(inode)).map(|inode| inode.seen.len() as u64).sum()
    }

    /// What a file is called by now.
    fn name_of(&self, file: &SimFile) -> String {
        let named = self.names.iter().find(|(_, inode)| **inode == file.inode);
        named.map_or_else(|| file.name.clone(), |(name, _)| name.clone())
    }

    /// Counts a changing call against the power left.
    fn change(&mut self, operation: Operation) -> Result<(), DiskError> {
        if let Some(left) = &mut self.faults.power_left {
            if *left == 0 {
                self.faults.refused.get_or_insert(operation);
                return Err(failure(DiskErrorKind::Failed, "power", "", "the power is gone"));
            }
            *left -= 1;
        }
        if let Some(recording) = &mut self.recording {
            recording.push(operation);
        }
        Ok(())
    }

    fn rename(&mut self, change: NameChange) {
        change.clone().apply(&mut self.names);
        self.unsynced_names.push(change);
    }

    fn inode(&mut self, file: &SimFile, operation: &'static str) -> Result<&mut Inode, DiskError> {
        if file.epoch != self.epoch {
            return Err(failure(DiskErrorKind::Failed, operation, &file.name, "opened by a process that has ended"));
        }
        let missing = failure(DiskErrorKind::Failed, operation, &file.name, "no such inode");
        self.inodes.get_mut(&file.inode).ok_or(missing)
    }

    /// Is there room for a file to be `length` bytes long?
    fn fits(&mut self, file: &SimFile, length: usize, operation: &'static str) -> Result<(), DiskError> {
        let now = self.inode(file, operation)?.seen.len();
        let more = length.saturating_sub(now) as u64;
        if more > 0 && self.used() + more > self.capacity {
            return Err(failure(DiskErrorKind::Full, operation, &file.name, "no space left on device"));
        }
        Ok(())
    }
}

fn failure(kind: DiskErrorKind, operation: &'static str, file: &str, detail: &str) -> DiskError {
    DiskError { kind, operation, file: file.to_owned(), detail: detail.to_owned() }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn create(&self, name: &FileName) -> Result<SimFile, DiskError> {
        let mut state = self.lock_state();
        if state.names.contains_key(&name.0) {
            return Err(failure(DiskErrorKind::Failed, "create", &name.0, "file exists"));
        }
        state.change(Operation::Create(name.0.clone()))?;
        let inode = state.next_inode;
        state.next_inode += 1;
        state.inodes.insert(inode, Inode::default());
        state.rename(NameChange::Link(name.0.clone(), inode));
        Ok(SimFile { inode, name: name.0.clone(), epoch: state.epoch })
    }

    fn open(&self, name: &FileName) -> Result<SimFile, DiskError> {
        let state = self.lock_state();
        let inode = state.names.get(&name.0).copied();
        let inode = inode.ok_or_else(|| failure(DiskErrorKind::NotFound, "open", &name.0, "no such file"))?;
        Ok(SimFile { inode, name: name.0.clone(), epoch: state.epoch })
    }

    fn allocate(&self, file: &SimFile, length: u64) -> Result<(), DiskError> {
        let mut state = self.lock_state();
        let name = state.name_of(file);
        state.change(Operation::Allocate(name, length))?;
        let number = state.faults.allocations;
        state.faults.allocations += 1;
        if state.faults.full_allocations.remove(&number) {
            return Err(failure(DiskErrorKind::Full, "allocate", &file.name, "no space left on device"));
        }
        let length = length as usize;
        state.fits(file, length, "allocate")?;
        let inode = state.inode(file, "allocate")?;
        DataChange::Length(length).apply(&mut inode.seen);
        inode.unsynced.push(DataChange::Length(length));
        Ok(())
    }

    fn write_at(&self, file: &SimFile, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let mut state = self.lock_state();
        let name = state.name_of(file);
        state.change(Operation::Write(name, offset, bytes.len()))?;
        state.fits(file, offset as usize + bytes.len(), "write")?;
        let number = state.faults.writes;
        state.faults.writes += 1;
        let fails = state.faults.failing_writes.remove(&number);
        let written = if fails { bytes.get(..bytes.len() / 2).unwrap_or_default() } else { bytes };
        let inode = state.inode(file, "write")?;
        let change = DataChange::Bytes(offset as usize, written.to_vec());
        change.apply(&mut inode.seen);
        inode.unsynced.push(change);
        if fails {
            return Err(failure(DiskErrorKind::Failed, "write", &file.name, "input/output error"));
        }
        Ok(())
    }

    fn read_at(&self, file: &SimFile, offset: u64, length: usize) -> Result<Vec<u8>, DiskError> {
        let mut state = self.lock_state();
        let end = (offset as usize).saturating_add(length).min(state.inode(file, "read")?.seen.len());
        let start = (offset as usize).min(end);
        let sectors = start / SECTOR_BYTES..=end.saturating_sub(1) / SECTOR_BYTES;
        let bad = state.faults.unreadable.range((file.inode, 0)..=(file.inode, usize::MAX));
        if end > start && bad.into_iter().any(|(_, sector)| sectors.contains(sector)) {
            return Err(failure(DiskErrorKind::Failed, "read", &file.name, "input/output error"));
        }
        Ok(state.inode(file, "read")?.seen.get(start..end).unwrap_or_default().to_vec())
    }

    fn sync(&self, file: &SimFile) -> Result<(), DiskError> {
        let mut state = self.lock_state();
        let name = state.name_of(file);
        state.change(Operation::Sync(name))?;
        let number = state.faults.syncs;
        state.faults.syncs += 1;
        let fails = state.faults.failing_syncs.remove(&number);
        let inode = state.inode(file, "sync")?;
        let changes = std::mem::take(&mut inode.unsynced);
        if fails {
            return Err(failure(DiskErrorKind::Failed, "sync", &file.name, "input/output error"));
        }
        changes.iter().for_each(|change| change.apply(&mut inode.durable));
        Ok(())
    }

    fn len(&self, file: &SimFile) -> Result<u64, DiskError> {
        Ok(self.lock_state().inode(file, "len")?.seen.len() as u64)
    }

    fn list(&self) -> Result<Vec<FileName>, DiskError> {
        Ok(self.lock_state().names.keys().cloned().map(FileName).collect())
    }

    fn remove(&self, name: &FileName) -> Result<(), DiskError> {
        let mut state = self.lock_state();
        if !state.names.contains_key(&name.0) {
            return Err(failure(DiskErrorKind::NotFound, "remove", &name.0, "no such file"));
        }
        state.change(Operation::Remove(name.0.clone()))?;
        state.rename(NameChange::Unlink(name.0.clone()));
        Ok(())
    }

    fn rename(&self, from: &FileName, to: &FileName) -> Result<(), DiskError> {
        let mut state = self.lock_state();
        let inode = state.names.get(&from.0).copied();
        let inode = inode.ok_or_else(|| failure(DiskErrorKind::NotFound, "rename", &from.0, "no such file"))?;
        state.change(Operation::Rename(from.0.clone(), to.0.clone()))?;
        state.rename(NameChange::Rename(from.0.clone(), to.0.clone(), inode));
        Ok(())
    }

    fn sync_dir(&self) -> Result<(), DiskError> {
        let mut state = self.lock_state();
        state.change(Operation::SyncDirectory)?;
        state.unsynced_names.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn free_space(&self) -> Result<(u64, u64), DiskError> {
        let state = self.lock_state();
        Ok((state.capacity.saturating_sub(state.used()), state.capacity))
    }

    fn lock(&self) -> Result<(), DiskError> {
        let mut state = self.lock_state();
        if state.locked {
            return Err(failure(DiskErrorKind::Locked, "lock", "", "held by another process"));
        }
        state.locked = true;
        Ok(())
    }

    fn identity(&self) -> Result<u64, DiskError> {
        Ok(self.lock_state().directory)
    }
}
