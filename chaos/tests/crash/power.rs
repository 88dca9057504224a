//! The power goes at every call.

use crate::model::{ACTOR, Model, assert_same, options, put, workload};
use chaos::crash::{Pace, Worker};
use chaos::sim::SimDisk;
use chaos::sim::disk::Fate;
use dunlin::causal::Actor;
use dunlin::store::{AppendError, Durability, OpenOptions, Opened, Opening, Record, RenewalReason, open};
use std::sync::Arc;

/// Runs the workload until the power goes after `calls` changing calls; how many records were
/// acknowledged, how many were tried, and whether it came to its end.
pub(crate) struct Run {
    pub(crate) disk: SimDisk,
    pub(crate) acknowledged: usize,
    pub(crate) tried: usize,
    pub(crate) finished: bool,
}

impl Run {
    /// How many segments have a key file, finished or not.
    fn key_files(&self) -> usize {
        self.disk.file_names().iter().filter(|name| name.starts_with("keys-")).count()
    }
}

pub(crate) fn run(calls: u64, options: OpenOptions, pace: Pace) -> Run {
    let disk = Arc::new(SimDisk::new(1));
    disk.cut_power_after(calls);
    let (mut acknowledged, mut tried, mut finished) = (0, 0, false);
    if let Ok(mut store) = open(disk.clone(), options) {
        finished = true;
        let mut jobs = Worker::new(pace);
        for batch in workload() {
            tried += batch.len();
            if store.log.append(&batch).is_err() {
                finished = false;
                break;
            }
            acknowledged += batch.len();
            if jobs.step(&mut store.log).is_err() {
                finished = false;
                break;
            }
        }
        finished = finished && jobs.end(&mut store.log).is_ok() && store.log.close().is_ok();
    }
    Run { disk: disk.snapshot(), acknowledged, tried, finished }
}

/// Every crash worth telling apart: nothing kept, everything kept, each change alone lost, each alone
/// kept, and torn in several ways.
pub(crate) fn crashes(unsynced: usize) -> Vec<Box<dyn Fn(usize) -> Fate>> {
    let mut crashes: Vec<Box<dyn Fn(usize) -> Fate>> = vec![Box::new(|_| Fate::Dropped), Box::new(|_| Fate::Kept)];
    for one in 0..unsynced {
        crashes.push(Box::new(move |at| if at == one { Fate::Dropped } else { Fate::Kept }));
        crashes.push(Box::new(move |at| if at == one { Fate::Kept } else { Fate::Dropped }));
    }
    for seed in 0..6u64 {
        crashes.push(Box::new(move |at| if at + 1 == unsynced { Fate::Torn(seed) } else { Fate::Kept }));
        crashes.push(Box::new(move |at| Fate::Torn(seed * 31 + at as u64)));
    }
    crashes
}

/// Opens after a crash and compares: some prefix that holds all that was acknowledged.
pub(crate) fn check(disk: &Arc<SimDisk>, records: &[Record], run: &Run, actor: u64) -> (Opened<SimDisk>, usize) {
    let store = open(disk.clone(), options(actor)).unwrap();
    let counters_proven = match store.recovered.opening {
        Opening::New | Opening::Kept => true,
        Opening::Renewed { reason: RenewalReason::TornTail } => false,
        renewed => panic!("a mere crash was taken for {renewed:?}: {:?}", store.recovered.findings),
    };
    let model = Model::read(&store);
    let prefix = (run.acknowledged..=run.tried).find(|length| {
        let mut expected = Model::of(records.iter().take(*length));
        if !counters_proven || store.recovered.actor != Actor(ACTOR) {
            expected.partitions.values_mut().for_each(|partition| partition.minted = 0);
        }
        expected == model
    });
    let prefix = prefix.unwrap_or_else(|| {
        panic!("of {}..={} no prefix is {model:#?}; {:?}", run.acknowledged, run.tried, store.recovered.findings)
    });
    assert!(store.recovered.complete_by_default);
    (store, prefix)
}

/// Opens again and again; then appends, crashes and opens once more.
pub(crate) fn check_lasting(disk: &Arc<SimDisk>, records: &[Record], run: &Run) {
    let (first, prefix) = check(disk, records, run, 8);
    disk.end_process();
    let (mut second, _) =
        check(disk, records, &Run { disk: disk.snapshot(), tried: prefix, acknowledged: prefix, ..*run }, 9);
    assert_same(&first.recovered, &second.recovered, "opened again");
    assert_eq!(first.recovered.actor, second.recovered.actor);
    let mut longer: Vec<Record> = records.iter().take(prefix).cloned().collect();
    longer.push(put(2, "after", crate::model::dot(1234, 1), 10));
    second.log.append(&longer[prefix..]).unwrap();
    disk.crash_with(|_| Fate::Dropped);
    let run = Run { disk: disk.snapshot(), acknowledged: prefix + 1, tried: prefix + 1, finished: false };
    check(disk, &longer, &run, 10);
}

pub(crate) fn every_crash(durability: Durability, pace: Pace) {
    let records: Vec<Record> = workload().into_iter().flatten().collect();
    let options = OpenOptions { durability, ..options(ACTOR) };
    let mut sealing = 0;
    for calls in 0.. {
        let mut run = run(calls, options.clone(), pace);
        if durability == Durability::Os && !run.finished {
            run.acknowledged = 0;
        }
        for crash in crashes(run.disk.unsynced()) {
            let disk = Arc::new(run.disk.snapshot());
            disk.crash_with(crash);
            check_lasting(&disk, &records, &run);
        }
        let unnamed = run.disk.file_names().contains(&"identity.new".to_owned());
        sealing += usize::from(!run.finished && unnamed && run.key_files() > 0);
        if run.finished {
            assert!(sealing > 10, "only {sealing} crashes while a manifest with sealed segments was replaced");
            assert!(run.key_files() >= 3, "only {} segments were sealed", run.key_files());
            return;
        }
    }
}

#[test]
pub(crate) fn every_crash_leaves_a_prefix_that_holds_what_was_acknowledged() {
    every_crash(Durability::Fsync, Pace::AtOnce);
}

#[test]
pub(crate) fn every_crash_while_segments_are_made_and_sealed_elsewhere_leaves_what_was_acknowledged() {
    every_crash(Durability::Fsync, Pace::StepByStep);
}

#[test]
pub(crate) fn every_crash_of_a_log_whose_jobs_nobody_does_leaves_what_was_acknowledged() {
    every_crash(Durability::Fsync, Pace::Never);
}

#[test]
pub(crate) fn without_syncs_every_crash_still_leaves_a_prefix() {
    every_crash(Durability::Os, Pace::StepByStep);
}

#[test]
pub(crate) fn a_crash_inside_recovery_changes_nothing() {
    let records: Vec<Record> = workload().into_iter().flatten().collect();
    for calls in 0.. {
        let run = run(calls, options(ACTOR), Pace::AtOnce);
        for style in [Fate::Dropped, Fate::Kept, Fate::Torn(calls)] {
            let disk = run.disk.snapshot();
            disk.crash_with(|_| style);
            for inside in 0.. {
                let again = Arc::new(disk.snapshot());
                again.cut_power_after(inside);
                let opened = open(again.clone(), options(8)).is_ok();
                for crash in crashes(again.unsynced()) {
                    let last = Arc::new(again.snapshot());
                    last.crash_with(crash);
                    check(&last, &records, &run, 9);
                }
                if opened {
                    break;
                }
            }
        }
        if run.finished {
            return;
        }
    }
}

#[test]
pub(crate) fn a_killed_process_loses_nothing_that_the_page_cache_has() {
    let records: Vec<Record> = workload().into_iter().flatten().collect();
    for calls in 0.. {
        let run = run(calls, options(ACTOR), Pace::AtOnce);
        let disk = Arc::new(run.disk.snapshot());
        disk.end_process();
        let (store, prefix) = check(&disk, &records, &run, 8);
        drop(store);
        // What was served must survive a crash now, although the dead process never synced it.
        disk.crash_with(|_| Fate::Dropped);
        check(&disk, &records, &Run { disk: disk.snapshot(), acknowledged: prefix, ..run }, 9);
        if run.finished {
            return;
        }
    }
}

#[test]
pub(crate) fn after_a_machine_restart_unsynced_writes_cost_the_actor() {
    let disk = Arc::new(SimDisk::new(1));
    let lazy = OpenOptions { durability: Durability::Os, ..options(ACTOR) };
    let mut store = open(disk.clone(), lazy.clone()).unwrap();
    store.log.append(&workload()[0]).unwrap();
    disk.crash_with(|_| Fate::Dropped);
    let store = open(disk.clone(), OpenOptions { boot: 2, ..options(8) }).unwrap();
    assert_eq!(store.recovered.opening, Opening::Renewed { reason: RenewalReason::MachineRestart });
    assert_eq!(store.recovered.actor, Actor(8));
    store.log.close().unwrap();
    disk.end_process();
    assert_eq!(open(disk, OpenOptions { boot: 3, ..lazy }).unwrap().recovered.opening, Opening::Kept);
}

#[test]
pub(crate) fn a_full_disk_refuses_a_batch_whole_and_takes_the_next_when_there_is_space() {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(disk.clone(), options(ACTOR)).unwrap();
    let (mut taken, mut refused): (Vec<Record>, u32) = (Vec::new(), 0);
    for (at, batch) in workload().into_iter().enumerate() {
        // Sometimes the segment finds no room, sometimes the identity behind it.
        disk.set_capacity(disk.used() + if at % 2 == 0 { 0 } else { 4112 });
        let mut outcome = store.log.append(&batch);
        if outcome.is_err() {
            assert_eq!(outcome, Err(AppendError::Full));
            refused += 1;
            let crashed = Arc::new(disk.snapshot());
            crashed.crash_with(|_| Fate::Kept);
            let run = Run { disk: disk.snapshot(), acknowledged: taken.len(), tried: taken.len(), finished: false };
            // Full or not, it opens with what was acknowledged once there is space.
            crashed.set_capacity(1 << 30);
            check(&crashed, &taken, &run, 8);
            // A small batch may still fit behind the refused one.
            let small = put(2, "small", crate::model::dot(77, at as u64 + 1), 1);
            if store.log.append(std::slice::from_ref(&small)).is_ok() {
                taken.push(small);
            }
            disk.set_capacity(1 << 30);
            outcome = store.log.append(&batch);
        }
        outcome.unwrap();
        taken.extend(batch);
        let crashed = Arc::new(disk.snapshot());
        crashed.crash_with(|_| Fate::Dropped);
        crashed.set_capacity(1 << 30);
        let run = Run { disk: disk.snapshot(), acknowledged: taken.len(), tried: taken.len(), finished: false };
        check(&crashed, &taken, &run, 8);
    }
    assert!(refused >= 3, "only {refused} batches were refused");
}

#[test]
pub(crate) fn a_segment_that_could_not_be_finished_cuts_nothing() {
    for spare in [0, 4112] {
        let disk = Arc::new(SimDisk::new(1));
        let mut store = open(disk.clone(), options(ACTOR)).unwrap();
        let mut records = vec![put(0, "first", crate::model::dot(ACTOR, 1), 100)];
        store.log.append(&records).unwrap();
        disk.set_capacity(disk.used() + spare);
        let long = put(0, "long", crate::model::dot(ACTOR, 2), 3900);
        assert_eq!(store.log.append(&[long]), Err(AppendError::Full));
        let small = put(0, "small", crate::model::dot(ACTOR, 2), 10);
        store.log.append(std::slice::from_ref(&small)).unwrap();
        records.push(small);
        disk.set_capacity(1 << 30);
        store.log.close().unwrap();
        disk.crash_with(|_| Fate::Dropped);
        let run = Run { disk: disk.snapshot(), acknowledged: 2, tried: 2, finished: true };
        check_lasting(&disk, &records, &run);
    }
}

#[test]
pub(crate) fn a_clean_restart_reads_no_record_but_hints_and_leftovers() {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(disk.clone(), options(ACTOR)).unwrap();
    let records: Vec<Record> =
        (1..40).map(|n| put(n as u32 % 3, &format!("key {}", n % 17), crate::model::dot(ACTOR, n), 700)).collect();
    records.iter().for_each(|record| drop(store.log.append(std::slice::from_ref(record)).unwrap()));
    store.log.close().unwrap();
    disk.end_process();
    let worn = Arc::new(disk.snapshot());
    for name in worn.file_names().iter().filter(|name| name.starts_with("segment-")) {
        (512..worn.contents(name).unwrap().len()).step_by(512).for_each(|at| worn.make_unreadable(name, at));
    }
    let (blind, sighted) = (open(worn, options(8)).unwrap(), open(disk, options(8)).unwrap());
    assert_eq!((blind.recovered.opening, &blind.recovered.findings), (Opening::Kept, &vec![]));
    assert_same(&blind.recovered, &sighted.recovered, "unreadable");
    assert_eq!(Model::read(&sighted), Model::of(&records));
}

#[test]
pub(crate) fn a_full_disk_only_puts_sealing_off() {
    let mut put_off = 0;
    for spare in (0..4000).step_by(40) {
        let disk = Arc::new(SimDisk::new(1));
        let mut store = open(disk.clone(), options(ACTOR)).unwrap();
        let records: Vec<Record> =
            (1..9).map(|n| put(0, &format!("key {n}"), crate::model::dot(ACTOR, n), 1000)).collect();
        for (at, record) in records.iter().enumerate() {
            if at == 3 {
                // The next segment is there, the fourth record begins it; room for a little more.
                disk.set_capacity(disk.used() + spare);
            }
            let taken = store.log.append(std::slice::from_ref(record));
            store.log.do_jobs().unwrap();
            if at == 3 {
                put_off += u32::from(taken.is_ok() && !disk.file_names().contains(&"keys-00000001.idx".to_owned()));
                disk.set_capacity(1 << 30);
            }
            if taken.is_err() {
                assert_eq!(taken, Err(AppendError::Full));
                store.log.append(std::slice::from_ref(record)).unwrap();
            }
        }
        assert!(disk.file_names().contains(&"keys-00000001.idx".to_owned()), "never sealed");
        disk.crash_with(|_| Fate::Dropped);
        let run = Run { disk: disk.snapshot(), acknowledged: 8, tried: 8, finished: true };
        check_lasting(&disk, &records, &run);
    }
    assert!(put_off > 3, "sealing was put off {put_off} times");
}
