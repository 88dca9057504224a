//! A store with what a node knows of it, and a compaction that goes on piece by piece.

use super::{Pace, Worker};
use crate::sim::SimDisk;
use dunlin::base::Key;
use dunlin::ring::PartitionId;
use dunlin::store::{
    AppendError, Body, Compaction, CompactionError, CompactionOptions, DiskError, Holder, Moved, OpenError,
    OpenOptions, Opened, PartitionTable, Place, Progress, Published, Question, Record, Sequence, open,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes copied by one step.
const BUDGET_BYTES: usize = 1500;

/// A store with what a node knows of it: where the current records are.
pub struct Scene {
    /// The store.
    pub store: Opened<SimDisk>,
    /// Its partitions as of the last append.
    pub tables: BTreeMap<PartitionId, PartitionTable>,
    slots: BTreeMap<(PartitionId, Key), Published>,
    /// The compaction under way.
    pub stage: Stage,
    /// Who does the log's jobs.
    pub jobs: Worker,
    seed: u64,
    /// Segments with less than this are worth compacting.
    pub lowest_live_share: f64,
    /// Compactions finished.
    pub retired: usize,
}

/// How far the compaction under way is.
pub enum Stage {
    /// None is.
    Idle,
    /// It copies.
    Stepping(Compaction<SimDisk>),
    /// The manifest lists its output beside its inputs.
    Installed(Compaction<SimDisk>),
    /// The tables know what has moved.
    Relocated(Compaction<SimDisk>),
}

impl Stage {
    /// What the next piece of it does.
    pub fn next(&self) -> &'static str {
        match self {
            Stage::Idle => "compaction: begin",
            Stage::Stepping(_) => "compaction: copy, install",
            Stage::Installed(_) => "compaction: relocate",
            Stage::Relocated(_) => "compaction: retire",
        }
    }
}

impl Scene {
    /// Opens the store and takes up its tables.
    pub fn open(disk: &Arc<SimDisk>, options: OpenOptions) -> Result<Scene, OpenError> {
        let store = open(disk.clone(), options)?;
        let tables = store.recovered.tables.clone();
        let mut slots = BTreeMap::new();
        for (id, table) in &tables {
            for (_, place) in table.index.from(0) {
                let Ok(Record { body: Body::Object { key, object, .. }, .. }) = store.reader.read(place) else {
                    continue;
                };
                let entry_hash = dunlin::causal::entry_hash(&key, &object.versions);
                slots.insert((*id, key), Published { place: Some(place), entry_hash });
            }
        }
        let (stage, jobs) = (Stage::Idle, Worker::new(Pace::AtOnce));
        Ok(Scene { store, tables, slots, stage, jobs, seed: 0, lowest_live_share: 0.9, retired: 0 })
    }

    /// What there is to do for the log behind a batch.
    pub fn work(&mut self) -> Result<(), AppendError> {
        self.jobs.step(&mut self.store.log)
    }

    /// Ends cleanly.
    pub fn close(mut self) -> Result<(), DiskError> {
        // A log whose job has failed is poisoned, and says so when it is closed.
        let _ = self.jobs.end(&mut self.store.log);
        self.store.log.close()
    }

    /// Appends a batch and publishes it; where its records are.
    pub fn append(&mut self, batch: &[Record]) -> Result<Vec<(Place, Sequence)>, AppendError> {
        let places = self.store.log.append(batch)?;
        for (record, (place, _)) in batch.iter().zip(places.iter().copied()) {
            let table = self.tables.entry(record.partition).or_default();
            match &record.body {
                Body::Object { key, .. } => {
                    let slot = self.slots.entry((record.partition, key.clone())).or_default();
                    *slot = table.publish(record, place, slot);
                }
                _ => drop(table.publish(record, place, &Published::default())),
            }
            if record.body == Body::Drop {
                self.slots.retain(|(partition, _), _| *partition != record.partition);
            }
        }
        Ok(places)
    }

    /// Does the key's slot hold anything?
    pub fn is_held(&self, partition: u32, key: &str) -> bool {
        let Ok(key) = Key::new(key.to_owned()) else { return false };
        self.slots.get(&(PartitionId(partition), key)).is_some_and(|slot| slot.place.is_some())
    }

    /// One piece of a compaction; none is under way once this says so.
    pub fn go_on(&mut self) -> Result<Going, CompactionError> {
        let poisoned = |error| match error {
            AppendError::Full => CompactionError::Full,
            AppendError::Poisoned(error) => CompactionError::Failed(error),
        };
        self.stage = match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Idle => {
                self.seed += 1;
                let options = CompactionOptions { seed: self.seed, lowest_live_share: self.lowest_live_share };
                Stage::Stepping(self.store.log.begin_compaction(options))
            }
            Stage::Stepping(mut compaction) => match compaction.step(BUDGET_BYTES, &mut |asked| self.answer(asked)) {
                Ok(Progress::More) => Stage::Stepping(compaction),
                Ok(Progress::Nothing) => return Ok(Going::Over),
                Ok(Progress::Copied) => {
                    self.store.log.install(&compaction).map_err(poisoned)?;
                    Stage::Installed(compaction)
                }
                Err(error) => {
                    self.store.log.abandon(compaction, error.clone()).map_err(poisoned)?;
                    return Err(error);
                }
            },
            Stage::Installed(mut compaction) => {
                while let Some(moved) = compaction.relocations()? {
                    moved.iter().for_each(|moved| self.relocate(moved));
                }
                Stage::Relocated(compaction)
            }
            Stage::Relocated(compaction) => {
                self.store.log.retire(&compaction).map_err(poisoned)?;
                self.retired += 1;
                return Ok(Going::Over);
            }
        };
        Ok(Going::On)
    }

    /// Compacts until nothing is worth it.
    pub fn compact(&mut self) -> Result<(), CompactionError> {
        loop {
            let retired = self.retired;
            while self.go_on()? == Going::On {}
            if self.retired == retired {
                return Ok(());
            }
        }
    }

    fn answer(&self, asked: &[Question]) -> Vec<bool> {
        let is_current = |question: &Question| {
            let Holder::Key(key) = &question.holder else { panic!("only keys have slots") };
            self.tables.get(&question.partition).is_some_and(|table| table.index.holds(key.hash64(), question.place))
        };
        asked.iter().map(is_current).collect()
    }

    fn relocate(&mut self, moved: &Moved) {
        let (Holder::Key(key), Some(table)) = (&moved.holder, self.tables.get_mut(&moved.partition)) else { return };
        table.relocate(key, moved.from, moved.to);
        let slot = self.slots.get_mut(&(moved.partition, key.clone()));
        if let Some(slot) = slot.filter(|slot| slot.place.is_some_and(|place| place.is(&moved.from))) {
            slot.place = Some(moved.to);
        }
    }
}

/// Whether a compaction is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Going {
    /// There is more to do.
    On,
    /// It is done, or nothing was worth it.
    Over,
}
