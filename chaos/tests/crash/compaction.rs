//! Compaction between and during appends; the power goes at every call.

use crate::model::{ACTOR, Model, delete, dot, hint, options, plain, put, workload};
use crate::power::{Run, check, check_lasting, crashes};
use chaos::crash::{Pace, Scene, Stage, Worker};
use chaos::sim::SimDisk;
use chaos::sim::disk::Fate;
use dunlin::ring::PartitionId;
use dunlin::store::{
    AppendError, Body, CompactionError, Durability, FindingKind, OpenOptions, Opening, Record, RenewalReason, open,
};
use std::sync::Arc;

/// Puts, overwrites and deletes over many small segments, behind one record of every kind.
fn overwrites() -> Vec<Vec<Record>> {
    let mut batches = workload();
    for n in 0..24u64 {
        let own = |more| dot(ACTOR, 100 + 3 * n + more);
        let partition = (n % 2) as u32;
        let mut batch = vec![put(partition, &format!("key-{}", n % 5), own(0), 300)];
        match n % 8 {
            1 => batch.push(put(partition, &format!("once-{n}"), own(1), 900)),
            3 => batch.push(delete(partition, &format!("once-{}", n - 2), own(1))),
            4 => batch.push(plain(1, Body::Drop)),
            5 => batch.push(hint(2, &format!("held-{n}"), own(1), &[1])),
            6 => batch.push(delete(partition, "key-2", own(1))),
            _ => {}
        }
        batches.push(batch);
    }
    batches
}

/// Runs the workload with `pieces` of a compaction behind each batch, until the power goes.
fn run(calls: u64, options: OpenOptions, pieces: usize, pace: Pace) -> (Run, usize) {
    let disk = Arc::new(SimDisk::new(1));
    disk.cut_power_after(calls);
    let (mut acknowledged, mut tried, mut finished, mut retired) = (0, 0, false, 0);
    if let Ok(mut scene) = Scene::open(&disk, options) {
        finished = true;
        scene.jobs = Worker::new(pace);
        for batch in overwrites() {
            tried += batch.len();
            if scene.append(&batch).is_err() {
                finished = false;
                break;
            }
            acknowledged += batch.len();
            if scene.work().is_err() || (0..pieces).any(|_| scene.go_on().is_err()) {
                finished = false;
                break;
            }
        }
        retired = scene.retired;
        finished = finished && scene.close().is_ok();
    }
    (Run { disk: disk.snapshot(), acknowledged, tried, finished }, retired)
}

fn every_crash(durability: Durability, pieces: usize, pace: Pace) {
    let records: Vec<Record> = overwrites().into_iter().flatten().collect();
    let options = OpenOptions { durability, ..options(ACTOR) };
    for calls in 0.. {
        let (mut run, retired) = run(calls, options.clone(), pieces, pace);
        if durability == Durability::Os && !run.finished {
            run.acknowledged = 0;
        }
        for crash in crashes(run.disk.unsynced()) {
            let disk = Arc::new(run.disk.snapshot());
            disk.crash_with(crash);
            check_lasting(&disk, &records, &run);
        }
        if run.finished {
            assert!(retired >= 2, "only {retired} compactions were finished");
            return;
        }
    }
}

#[test]
pub(crate) fn every_crash_while_compacting_leaves_what_was_acknowledged() {
    every_crash(Durability::Fsync, 3, Pace::AtOnce);
}

#[test]
pub(crate) fn every_crash_while_compacting_and_sealing_at_once_leaves_what_was_acknowledged() {
    every_crash(Durability::Fsync, 4, Pace::StepByStep);
}

#[test]
pub(crate) fn every_crash_of_a_slow_compaction_leaves_what_was_acknowledged() {
    every_crash(Durability::Fsync, 1, Pace::AtOnce);
}

#[test]
pub(crate) fn without_syncs_a_crash_while_compacting_still_leaves_a_prefix() {
    every_crash(Durability::Os, 3, Pace::AtOnce);
}

#[test]
pub(crate) fn a_crash_inside_the_recovery_of_a_compacted_log_changes_nothing() {
    let records: Vec<Record> = overwrites().into_iter().flatten().collect();
    for calls in (0..).step_by(3) {
        let (run, _) = run(calls, options(ACTOR), 3, Pace::AtOnce);
        let disk = run.disk.snapshot();
        disk.crash_with(|_| Fate::Kept);
        for inside in 0.. {
            let again = Arc::new(disk.snapshot());
            again.cut_power_after(inside);
            let opened = open(again.clone(), options(8)).is_ok();
            for fate in [Fate::Dropped, Fate::Kept, Fate::Torn(inside)] {
                let last = Arc::new(again.snapshot());
                last.crash_with(|_| fate);
                check(&last, &records, &run, 9);
            }
            if opened {
                break;
            }
        }
        if run.finished {
            return;
        }
    }
}

/// A store into which all batches were written.
fn written(batches: &[Vec<Record>]) -> (Arc<SimDisk>, Scene, Vec<Record>) {
    let disk = Arc::new(SimDisk::new(1));
    let mut scene = Scene::open(&disk, options(ACTOR)).unwrap();
    for batch in batches {
        scene.append(batch).unwrap();
        scene.work().unwrap();
    }
    (disk, scene, batches.iter().flatten().cloned().collect())
}

/// How many bytes segments and key files take.
fn segment_bytes(disk: &SimDisk) -> usize {
    let segments = disk.file_names().into_iter().filter(|name| name.starts_with("segment-"));
    segments.map(|name| disk.contents(&name).unwrap().len()).sum()
}

/// Crashes, opens and compares with all records.
fn compare(disk: &SimDisk, records: &[Record]) -> Arc<SimDisk> {
    let crashed = Arc::new(disk.snapshot());
    crashed.crash_with(|_| Fate::Dropped);
    let run = Run { disk: disk.snapshot(), acknowledged: records.len(), tried: records.len(), finished: true };
    check_lasting(&crashed, records, &run);
    let again = Arc::new(disk.snapshot());
    again.crash_with(|_| Fate::Dropped);
    again
}

#[test]
pub(crate) fn a_delete_stays_while_an_older_record_of_its_key_is_left() {
    // The put lies among records that stay, the delete among such that go.
    let mut batches = vec![vec![put(0, "deleted", dot(ACTOR, 1), 100)]];
    batches.extend((2..6).map(|n| vec![put(0, &format!("stays {n}"), dot(ACTOR, n), 800)]));
    batches.extend((6..9).map(|n| vec![put(0, "overwritten", dot(ACTOR, n), 800)]));
    batches.push(vec![delete(0, "deleted", dot(ACTOR, 9))]);
    batches.extend((10..30).map(|n| vec![put(0, "overwritten", dot(ACTOR, n), 800)]));
    let (disk, mut scene, records) = written(&batches);
    scene.lowest_live_share = 0.5;
    scene.compact().unwrap();
    assert!(scene.retired > 0 && disk.contents("segment-00000001.log").is_some());
    compare(&disk, &records);
}

#[test]
pub(crate) fn deletes_and_what_they_hide_vanish() {
    let mut batches: Vec<Vec<Record>> =
        (1..60).map(|n| vec![put(0, &format!("key {n}"), dot(ACTOR, n), 500)]).collect();
    batches.extend((1..60).map(|n| vec![delete(0, &format!("key {n}"), dot(ACTOR, 100 + n))]));
    batches.extend((1..12).map(|n| vec![put(0, "last", dot(ACTOR, 200 + n), 900)]));
    let (disk, mut scene, records) = written(&batches);
    let before = segment_bytes(&disk);
    for _ in 0..4 {
        scene.compact().unwrap();
    }
    scene.compact().unwrap();
    let after = segment_bytes(&disk);
    assert!(after * 3 < before, "{before} bytes became {after}");
    compare(&disk, &records);
    scene.store.log.close().unwrap();
    disk.end_process();
    let inspected = dunlin::store::inspect(&disk, dunlin::store::Depth::Records).unwrap();
    assert!(!inspected.is_damaged());
    assert!(inspected.contents.unwrap().kinds["object"] < 20, "deletes are left");
}

#[test]
pub(crate) fn a_compacted_log_reads_and_compacts_again() {
    let (disk, mut scene, mut records) = written(&overwrites());
    for round in 0..6u64 {
        scene.compact().unwrap();
        let model = Model::of(&records);
        for (id, table) in &scene.tables {
            for (_, place) in table.index.from(0) {
                let record = scene.store.reader.read(place).unwrap();
                let Body::Object { key, object, .. } = record.body else { panic!("a slot holds {:?}", record.body) };
                assert_eq!(model.partitions[id].objects[&key], object);
            }
        }
        for n in 0..12 {
            let batch = [put(0, &format!("key-{}", n % 5), dot(ACTOR, 1000 + 20 * round + n), 700)];
            scene.append(&batch).unwrap();
            scene.work().unwrap();
            records.extend(batch);
        }
        compare(&disk, &records);
    }
    let live = Model::of(&records).partitions.values().map(|partition| partition.objects.len()).sum::<usize>();
    assert!(live < 20 && segment_bytes(&disk) < 20 * 4096, "{} bytes", segment_bytes(&disk));
}

#[test]
pub(crate) fn a_full_disk_only_puts_compaction_off() {
    let mut refused = 0;
    for spare in (0..9000).step_by(150) {
        let (disk, mut scene, mut records) = written(&overwrites());
        disk.set_capacity(disk.used() + spare);
        refused += u32::from(scene.compact().is_err());
        let made = |name: &&String| name.starts_with("segment-") && name.ends_with(".new");
        // The next segment may be made ahead.
        assert!(disk.file_names().iter().filter(made).count() <= 1, "a rest of the output is left");
        disk.set_capacity(1 << 30);
        let more = [put(0, "more", dot(ACTOR, 1000), 10)];
        scene.append(&more).unwrap();
        scene.work().unwrap();
        records.extend(more);
        scene.compact().unwrap();
        assert!(scene.retired > 0);
        compare(&disk, &records);
    }
    assert!(refused > 3, "refused {refused} times");
}

#[test]
pub(crate) fn a_failed_write_or_sync_while_compacting_poisons_the_log() {
    let mut failed = 0;
    for (nth, sync) in (0..12).flat_map(|nth| [(nth, true), (nth, false)]) {
        let (disk, mut scene, _) = written(&overwrites());
        if sync {
            disk.fail_sync(nth)
        } else {
            disk.fail_write(nth)
        }
        let Err(error) = scene.compact() else { continue };
        assert!(matches!(error, CompactionError::Failed(_)), "{error}");
        failed += 1;
        assert!(matches!(scene.append(&[put(0, "more", dot(ACTOR, 1000), 10)]), Err(AppendError::Poisoned(_))));
        disk.end_process();
        let store = open(disk, options(8)).unwrap();
        assert_eq!(store.recovered.opening, Opening::Renewed { reason: RenewalReason::Poisoned });
    }
    assert!(failed >= 6, "failed {failed} times");
}

#[test]
pub(crate) fn a_damaged_segment_is_left_as_it_is() {
    let (disk, mut scene, records) = written(&overwrites());
    let (_, place) = scene.tables[&PartitionId(0)].index.from(0).min_by_key(|(_, place)| *place).unwrap();
    let name = format!("segment-{:08x}.log", place.segment);
    assert!(disk.flip_bit(&name, place.offset as usize + 30, 1));
    let mut found = None;
    for _ in 0..40 {
        if let Err(CompactionError::Damaged(finding)) = scene.compact() {
            assert_eq!((finding.kind, finding.segment), (FindingKind::DamagedBytes, place.segment));
            found = Some(finding);
        }
    }
    assert!(found.is_some() && scene.retired > 0);
    assert!(disk.file_names().contains(&name));
    assert!(disk.flip_bit(&name, place.offset as usize + 30, 1));
    compare(&disk, &records);
}

#[test]
pub(crate) fn a_compacted_log_without_its_manifest_or_checkpoint_gives_what_is_left() {
    let (disk, mut scene, records) = written(&overwrites());
    scene.compact().unwrap();
    scene.append(&[put(0, "more", dot(ACTOR, 1000), 10)]).unwrap();
    let full = Model::of(records.iter().chain(&[put(0, "more", dot(ACTOR, 1000), 10)]));
    let checkpoint = disk.file_names().into_iter().filter(|name| name.starts_with("checkpoint-")).max().unwrap();
    for name in ["identity".to_owned(), checkpoint] {
        for inside in 0.. {
            let lost = Arc::new(disk.snapshot());
            lost.crash_with(|_| Fate::Dropped);
            lost.lose_file(&name);
            lost.cut_power_after(inside);
            let cut_short = open(lost.clone(), options(69)).is_err();
            if cut_short {
                lost.crash_with(|_| Fate::Torn(inside));
            } else {
                lost.end_process();
            }
            lost.cut_power_after(u64::MAX);
            let store = open(lost.clone(), options(70)).unwrap();
            if cut_short && store.recovered.opening != Opening::Kept {
                let resets = matches!(store.recovered.opening, Opening::Renewed { reason } if reason.resets());
                assert!(resets, "{name}: {:?}", store.recovered.opening);
            }
            let model = Model::read(&store);
            for (id, partition) in &full.partitions {
                let live = partition.objects.iter().filter(|(_, object)| !object.versions.is_empty());
                for (key, object) in live {
                    let found = model.partitions[id].objects.get(key);
                    assert_eq!(found, Some(object), "{name}, cut short at {inside}: {key}");
                }
            }
            if !cut_short {
                break;
            }
        }
    }
}

#[test]
pub(crate) fn copies_rank_as_what_they_are_copies_of() {
    // Each key is overwritten between its copy and the copy's coming into force.
    let (disk, mut scene, mut records) = written(&overwrites());
    while !matches!(scene.stage, Stage::Installed(_)) {
        scene.go_on().unwrap();
    }
    for n in 0..5 {
        let batch: Vec<Record> = (0..2).map(|p| put(p, &format!("key-{n}"), dot(ACTOR, 1000 + n), 20)).collect();
        scene.append(&batch).unwrap();
        records.extend(batch);
    }
    compare(&disk, &records);
    scene.compact().unwrap();
    compare(&disk, &records);
}
