//! Many lives of one store: random batches, random ends, and now and then some damage.

use crate::model::{Model, delete_by, options, put_by};
use chaos::crash::{Pace, Scene, Worker};
use chaos::sim::SimDisk;
use dunlin::base::Random;
use dunlin::store::{
    AppendError, CompactionError, Depth, Durability, Linked, OpenOptions, Opened, Opening, Record, RenewalReason,
    back_up as back_up_between, inspect, open,
};
use std::collections::BTreeSet;
use std::sync::Arc;

const LIVES: u64 = 8;

/// A few seconds' worth; set higher by hand after a change of recovery.
const SEEDS: u64 = 400;

#[derive(Default)]
struct History {
    /// Machine starts so far.
    boot: u64,
    records: Vec<Record>,
    acknowledged: usize,
    /// Every dot ever acknowledged: none may be minted twice.
    minted: BTreeSet<(u64, u32, u64)>,
    /// Compactions that came to their end.
    compactions: usize,
    /// Backups that were restored.
    backups: usize,
}

impl History {
    fn crash(&mut self, disk: &SimDisk, random: &mut Random, seed: u64) {
        disk.crash(random);
        self.boot += 1;
        if seed.is_multiple_of(5) {
            // Without syncs a crash may take any suffix.
            self.acknowledged = 0;
        }
    }
}

/// One life: open, compare, append until something ends it.
fn live(disk: &Arc<SimDisk>, random: &mut Random, history: &mut History, life: u64, seed: u64) {
    let durability = if seed.is_multiple_of(5) { Durability::Os } else { Durability::Fsync };
    let fresh = OpenOptions { durability, boot: history.boot, ..options(1000 + life) };
    let mut scene = Scene::open(disk, fresh).unwrap_or_else(|error| panic!("seed {seed}, life {life}: {error}"));
    compare(&scene.store, history, seed, life);
    let actor = scene.store.recovered.actor.0;
    let mut next = [0u64; 2];
    for (partition, next) in next.iter_mut().enumerate() {
        let table = scene.tables.get(&dunlin::ring::PartitionId(partition as u32));
        *next = table.map_or(0, |table| table.minted);
    }
    disk.cut_power_after(random.below(200));
    scene.jobs = Worker::new(*random.pick(&Pace::ALL).unwrap());
    for _ in 0..random.below(12) {
        let mut batch = Vec::new();
        for _ in 0..random.between(1, 4) {
            let partition = random.below(2) as u32;
            next[partition as usize] += 1;
            let (key, counter) = (format!("k{}", random.below(6)), next[partition as usize]);
            batch.push(match random.below(5) {
                0 => delete_by(actor, partition, &key, counter),
                _ => put_by(actor, partition, &key, counter, random.below(1500) as usize),
            });
        }
        history.records.extend(batch.clone());
        match scene.append(&batch) {
            Ok(_) => history.acknowledged = history.records.len(),
            Err(AppendError::Full) => panic!("seed {seed}: no space was ever short"),
            Err(AppendError::Poisoned(_)) => return,
        }
        for record in &batch {
            if let dunlin::store::Body::Object { dots, .. } = &record.body {
                let dots = dots.dots().map(|dot| (dot.actor.0, record.partition.0, dot.counter));
                dots.for_each(|dot| assert!(history.minted.insert(dot), "seed {seed}: {dot:?} was minted twice"));
            }
        }
        if scene.work().is_err() {
            return;
        }
        for _ in 0..random.below(8) {
            match scene.go_on() {
                Ok(_) => {}
                Err(CompactionError::Failed(_)) => return,
                Err(error) => panic!("seed {seed}, life {life}: {error}"),
            }
        }
    }
    history.compactions += scene.retired;
    if random.chance(0.3) {
        let _ = scene.close();
    }
}

fn compare(store: &Opened<SimDisk>, history: &mut History, seed: u64, life: u64) {
    let model = Model::read(store);
    let lowest = match store.recovered.opening {
        Opening::Renewed { reason } if reason.resets() => panic!("seed {seed}, life {life}: {reason:?} after a crash"),
        _ => history.acknowledged,
    };
    let prefix = (lowest..=history.records.len())
        .find(|length| Model::of_actor(store.recovered.actor, history.records.iter().take(*length)) == model);
    let prefix = prefix.unwrap_or_else(|| panic!("seed {seed}, life {life}: {:?}", store.recovered.findings));
    history.records.truncate(prefix);
    history.acknowledged = prefix;
}

/// A backup of a disk, in whatever state; none if that cannot be read.
fn back_up(disk: &SimDisk) -> Option<Arc<SimDisk>> {
    let target = SimDisk::new(0);
    back_up_between(disk, &target, &[], &mut |_| Ok(Linked::No)).ok().map(|_| Arc::new(target.copied(77)))
}

/// Opened elsewhere it has everything that was answered, and claims no more than it has.
fn compare_restored(backup: &Arc<SimDisk>, history: &History, seed: u64, life: u64) {
    let store = open(backup.clone(), options(3000 + life)).unwrap();
    let restored = Opening::Renewed { reason: RenewalReason::Restored };
    assert_eq!(store.recovered.opening, restored, "seed {seed}, life {life}: {:?}", store.recovered.findings);
    let kept = |model: Model| -> Vec<_> {
        model.partitions.into_iter().map(|(id, found)| (id, found.clock, found.objects)).collect()
    };
    let model = Model::read(&store);
    assert!(model.partitions.values().all(|found| found.filling && found.minted == 0), "seed {seed}, life {life}");
    let found = kept(model);
    let mut prefixes = (history.acknowledged..=history.records.len()).map(|length| history.records.iter().take(length));
    assert!(prefixes.any(|records| kept(Model::of(records)) == found), "seed {seed}, life {life}");
    assert_eq!(inspect(backup, Depth::Records).unwrap().contradictions, [], "seed {seed}, life {life}");
}

#[test]
fn no_life_loses_an_answer_or_mints_a_dot_twice() {
    let (mut compactions, mut backups) = (0, 0);
    for seed in 0..SEEDS {
        let (disk, mut random) = (Arc::new(SimDisk::new(1)), Random::from_seed(seed));
        let mut history = History::default();
        for life in 0..LIVES {
            live(&disk, &mut random, &mut history, life, seed);
            let backup = back_up(&disk);
            if random.chance(0.6) {
                history.crash(&disk, &mut random, seed)
            } else {
                disk.end_process()
            }
            let inspection = inspect(&disk, Depth::Records).unwrap();
            assert_eq!(inspection.contradictions, [], "seed {seed}, life {life}");
            if let Some(backup) = backup {
                history.backups += 1;
                compare_restored(&backup, &history, seed, life);
            }
            if random.chance(0.2) {
                // Recovery is cut short, too.
                disk.cut_power_after(random.below(14));
                let _ = open(disk.clone(), OpenOptions { boot: history.boot, ..options(2000 + life) });
                history.crash(&disk, &mut random, seed);
            }
        }
        compactions += history.compactions;
        backups += history.backups;
    }
    assert!(compactions > SEEDS as usize, "only {compactions} compactions came to their end");
    assert!(backups > 2 * SEEDS as usize, "only {backups} backups");
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let run = || {
        let (disk, mut random) = (Arc::new(SimDisk::new(1)), Random::from_seed(3));
        let mut history = History::default();
        disk.record();
        for life in 0..3 {
            live(&disk, &mut random, &mut history, life, 3);
            disk.crash(&mut random);
        }
        let files: Vec<_> = disk.file_names().into_iter().map(|name| (disk.contents(&name), name)).collect();
        (disk.recorded(), files)
    };
    assert_eq!(run(), run());
}
