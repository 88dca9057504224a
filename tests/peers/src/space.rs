//! How large the log becomes under overwrites while compaction runs.
//!
//! The steps are the runtime's (`compactor.rs`), taken in turn with puts on one thread: for each mebibyte that is
//! put one is copied, if there is something to copy.

use crate::Scene;
use crate::data::{Values, Zipf};
use crate::engine::{Committer, Durable, Engine};
use crate::engines::dunlin::{Dunlin, LogCommitter};
use crate::measure::disk_bytes;
use crate::plan::Bench;
use dunlin::runtime::disk::RealDisk;
use dunlin::store::{
    Compaction, CompactionOptions, DEFAULT_LIVE_SHARE, DEFAULT_SEGMENT_BYTES, Holder, Progress, Question,
};
use std::path::Path;

/// Bytes of a value.
const VALUE_BYTES: usize = 1024;

/// So many times the data set is written again.
const TIMES: u64 = 20;

/// Puts in one batch.
const BATCH: u64 = 64;

/// Put, and copied, in turn.
const STEP_BYTES: usize = 1 << 20;

/// Looks whether compaction is worth it, and at the disk, each time so much has been put.
const LOOK_BYTES: u64 = DEFAULT_SEGMENT_BYTES as u64;

/// A store under load.
struct Load {
    engine: Dunlin,
    committer: LogCommitter,
    values: Values,
    compaction: Option<Compaction<RealDisk>>,
    compactions: u64,
}

/// Loads, overwrites, compacts; prints how the log grows.
pub fn run(scene: &Scene) {
    let bench = Bench::begin(scene);
    let keys: u64 = if scene.quick { 250_000 } else { 1_000_000 };
    let values = Values::new(VALUE_BYTES);
    let (engine, committer) = Dunlin::open(bench.directory(), Durable::AtClose, &values);
    let mut load = Load { engine, committer, values, compaction: None, compactions: 0 };
    for first in (0..keys).step_by(BATCH as usize) {
        load.put((first..keys.min(first + BATCH)).collect());
    }
    let data = load.live_bytes(bench.directory(), keys);
    let mut sizes = load.overwrite(bench.directory(), keys);
    println!("data set: {keys} keys, {} MiB of current records", data >> 20);
    println!("put again: {TIMES} times as many, by zipf; {} compactions", load.compactions);
    sizes.sort_unstable();
    let times = |bytes: u64| bytes as f64 / data as f64;
    let (highest, middle) = (sizes.last().copied().unwrap_or(0), sizes.get(sizes.len() / 2).copied().unwrap_or(0));
    println!("files / current records: at most {:.2}, median {:.2}", times(highest), times(middle));
    load.finish_compactions();
    println!("at rest: {:.2}", times(disk_bytes(bench.directory())));
}

impl Load {
    fn put(&mut self, numbers: Vec<u64>) {
        let batch = numbers.into_iter().map(|number| self.engine.prepare(number, &self.values)).collect();
        self.committer.commit(batch).into_iter().for_each(|done| self.engine.publish(done));
    }

    /// Bytes of the loaded data: what is written of it is all current. The last segment is reserved whole.
    fn live_bytes(&self, directory: &Path, keys: u64) -> u64 {
        let whole = disk_bytes(directory);
        whole.saturating_sub(u64::from(DEFAULT_SEGMENT_BYTES)).max(keys * VALUE_BYTES as u64)
    }

    /// The sizes of the log over time.
    fn overwrite(&mut self, directory: &Path, keys: u64) -> Vec<u64> {
        let (mut zipf, mut sizes) = (Zipf::new(keys, 11), Vec::new());
        let (mut put, mut stepped, mut looked) = (0, 0, 0);
        for _ in 0..keys * TIMES / BATCH {
            self.put((0..BATCH).map(|_| zipf.next()).collect());
            put += BATCH * VALUE_BYTES as u64;
            if put - looked >= LOOK_BYTES {
                looked = put;
                sizes.push(disk_bytes(directory));
                self.begin();
            }
            if put - stepped >= STEP_BYTES as u64 {
                stepped = put;
                self.step();
            }
        }
        sizes
    }

    fn begin(&mut self) {
        if self.compaction.is_none() {
            let options = CompactionOptions { seed: self.compactions + 1, lowest_live_share: DEFAULT_LIVE_SHARE };
            self.compaction = Some(self.committer.log().begin_compaction(options));
        }
    }

    /// One step. After a compaction the next one begins at once; if nothing is worth it, the next look does.
    fn step(&mut self) -> Option<Progress> {
        let mut compaction = self.compaction.take()?;
        let engine = &self.engine;
        let mut ask = |questions: &[Question]| questions.iter().map(|question| is_current(engine, question)).collect();
        let progress = compaction.step(STEP_BYTES, &mut ask).expect("a step is made");
        match progress {
            // Looks are cheap beside copies: all of them in one turn.
            Progress::More if !compaction.is_copying() => {
                self.compaction = Some(compaction);
                return self.step();
            }
            Progress::More => self.compaction = Some(compaction),
            Progress::Nothing => {}
            Progress::Copied => {
                self.install(compaction);
                self.begin();
            }
        }
        Some(progress)
    }

    fn install(&mut self, mut compaction: Compaction<RealDisk>) {
        self.committer.log().install(&compaction).expect("the output counts");
        while let Some(moved) = compaction.relocations().expect("the key files are readable") {
            for moved in moved {
                if let Holder::Key(key) = &moved.holder {
                    self.engine.relocate(moved.partition, key, moved.from, moved.to);
                }
            }
        }
        self.committer.log().retire(&compaction).expect("the inputs go");
        self.compactions += 1;
    }

    fn finish_compactions(&mut self) {
        loop {
            self.begin();
            while self.compaction.is_some() {
                if self.step() == Some(Progress::Nothing) {
                    return;
                }
            }
        }
    }
}

fn is_current(engine: &Dunlin, question: &Question) -> bool {
    match &question.holder {
        Holder::Key(key) => engine.is_current(question.partition, key, question.place),
        Holder::Hint(_) => false,
    }
}
