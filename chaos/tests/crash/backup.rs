//! The power goes at every call of a backup.

use crate::power::{crashes, run};
use chaos::crash::Pace;
use chaos::crash::model::{ACTOR, Model, encrypted, options, workload};
use chaos::sim::SimDisk;
use dunlin::store::{
    Durability, Linked, Log, OpenError, OpenOptions, Opened, Opening, RenewalReason, back_up as back_up_between, open,
};
use std::sync::Arc;

/// A store in the midst of its work, and what it amounts to.
fn source() -> (SimDisk, Log<SimDisk>) {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(disk.clone(), options(7)).unwrap();
    for batch in workload() {
        store.log.append(&batch).unwrap();
        store.log.do_jobs().unwrap();
    }
    (disk.snapshot(), store.log)
}

/// A backup made while the target's power lasts; did it come to its end?
fn back_up(source: &SimDisk, calls: u64) -> (SimDisk, bool) {
    let target = SimDisk::new(2);
    target.cut_power_after(calls);
    let done = back_up_between(source, &target, &[], &mut |_| Ok(Linked::No)).is_ok();
    (target, done)
}

#[test]
fn a_backup_cut_short_anywhere_is_refused_or_whole_and_its_source_unharmed() {
    let (source, _log) = source();
    let before = source.digest();
    let whole = Model::read(&open(Arc::new(source.copied(1)), options(8)).unwrap());
    let (mut refused, mut opened) = (0, 0);
    for calls in 0.. {
        let (target, done) = back_up(&source, calls);
        assert_eq!(source.digest(), before);
        for fate in crashes(target.unsynced()) {
            let target = Arc::new(target.snapshot());
            target.crash_with(&fate);
            match open(target.clone(), options(9)) {
                Err(OpenError::UnfinishedBackup) if !done => refused += 1,
                Err(error) => panic!("{calls}: {error}"),
                // Not even the marker is there: nothing is.
                Ok(store) if store.recovered.opening == Opening::New => assert!(calls <= 2 && !done, "{calls}"),
                Ok(store) => {
                    let restored = Opening::Renewed { reason: RenewalReason::Restored };
                    assert_eq!((store.recovered.opening, &store.recovered.findings), (restored, &vec![]), "{calls}");
                    let model = Model::read(&store);
                    let keys = |model: &Model| -> Vec<_> {
                        let partitions = model.partitions.iter();
                        partitions.map(|(id, found)| (*id, found.clock.clone(), found.objects.clone())).collect()
                    };
                    assert_eq!((keys(&model), &model.hints), (keys(&whole), &whole.hints), "{calls}");
                    assert!(model.partitions.values().all(|found| found.filling && found.minted == 0));
                    opened += 1;
                }
            }
        }
        if done {
            break;
        }
    }
    assert!(refused > 100 && opened > 0, "{refused} refused, {opened} opened");
}

#[test]
fn an_opening_of_a_backup_that_is_cut_short_leaves_a_backup() {
    let (source, _log) = source();
    let (target, done) = back_up(&source, u64::MAX);
    assert!(done);
    let restored = Opening::Renewed { reason: RenewalReason::Restored };
    let (mut again, mut over) = (0, 0);
    for calls in 0.. {
        let disk = Arc::new(target.copied(3));
        disk.cut_power_after(calls);
        let cut_short = open(disk.clone(), options(9)).is_err();
        for fate in crashes(disk.unsynced().min(12)) {
            let disk = Arc::new(disk.snapshot());
            disk.crash_with(&fate);
            let store = open(disk, options(10)).unwrap();
            assert!(
                store.recovered.tables.values().all(|table| !table.complete),
                "{calls}: it counts without its suffix"
            );
            match store.recovered.opening {
                opening if opening == restored => again += 1,
                Opening::Kept => over += 1,
                other => panic!("{calls}: {other:?}"),
            }
        }
        if !cut_short {
            break;
        }
    }
    assert!(again > 50 && over > 0, "{again} backups still, {over} opened");
}

/// A backup is taken between any two calls of the source's process, then the source's power goes: whatever the backup
/// holds the source still has. If it had not, it would mint the same dots again (PROTOCOL R1).
#[test]
pub(crate) fn nothing_is_in_a_backup_that_its_source_may_still_lose() {
    let mut backups = 0;
    for durability in [Durability::Fsync, Durability::Os] {
        for calls in 0.. {
            let run = run(calls, OpenOptions { durability, ..options(ACTOR) }, Pace::StepByStep);
            // The process stands between two calls: the power is there, for the backup too.
            run.disk.cut_power_after(u64::MAX);
            let (backup, done) = back_up(&run.disk, u64::MAX);
            if done {
                backups += 1;
                let restored = open(Arc::new(backup), options(9)).unwrap();
                crashes(run.disk.unsynced()).iter().for_each(|fate| {
                    let crashed = Arc::new(run.disk.snapshot());
                    crashed.crash_with(fate);
                    assert_has_all_of(&open(crashed, options(8)).unwrap(), &restored, calls);
                });
            }
            if run.finished {
                break;
            }
        }
    }
    assert!(backups > 100, "only {backups} backups");
}

fn assert_has_all_of(source: &Opened<SimDisk>, restored: &Opened<SimDisk>, calls: u64) {
    for (partition, table) in &restored.recovered.tables {
        let kept = source.recovered.tables.get(partition);
        let has_all = kept.is_some_and(|kept| table.clock.is_subset(&kept.clock));
        assert!(has_all || table.clock.is_empty(), "{calls}: dots of {partition:?} are in the backup alone");
    }
}

#[test]
fn a_backup_takes_the_good_copy_of_the_data_keys_when_the_other_cannot_be_read() {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(disk.clone(), encrypted(options(ACTOR), &[1], 0x81)).unwrap();
    workload().iter().for_each(|batch| drop(store.log.append(batch).unwrap()));
    let keys = disk.contents("keys").unwrap();
    for unreadable in [0, keys.len() / 2] {
        disk.make_unreadable("keys", unreadable);
        let (target, done) = back_up(&disk, u64::MAX);
        assert!(done && target.contents("keys").as_ref() == Some(&keys), "{unreadable}");
        assert!(open(Arc::new(target), encrypted(options(9), &[1], 0x82)).is_ok());
        disk.heal_reads();
    }
    [0, keys.len() / 2].iter().for_each(|at| disk.make_unreadable("keys", *at));
    let refused = back_up_between(&*disk, &SimDisk::new(3), &[], &mut |_| Ok(Linked::No)).err();
    assert_eq!(refused, Some(OpenError::DamagedKeys.into()));
}
