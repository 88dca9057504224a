//! Bits flip, files vanish, syncs fail.

use crate::model::{ACTOR, Model, assert_same, dot, options, put, workload};
use chaos::sim::SimDisk;
use chaos::sim::disk::Fate;
use dunlin::base::Key;
use dunlin::causal::{Actor, Object};
use dunlin::ring::PartitionId;
use dunlin::store::{AppendError, Body, FindingKind, OpenError, Opened, Opening, Place, Record, RenewalReason, open};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A store of several segments and openings, and all it was told.
fn written(clean: bool) -> (Arc<SimDisk>, Vec<Record>, Vec<Place>) {
    let disk = Arc::new(SimDisk::new(1));
    let (mut records, mut places) = (Vec::new(), Vec::new());
    let mut store = open(disk.clone(), options(ACTOR)).unwrap();
    for (at, batch) in workload().into_iter().enumerate() {
        places.extend(store.log.append(&batch).unwrap().into_iter().map(|(place, _)| place));
        store.log.do_jobs().unwrap();
        records.extend(batch);
        if at == 6 {
            disk.end_process();
            store = open(disk.clone(), options(8)).unwrap();
        }
    }
    if clean {
        store.log.close().unwrap();
    }
    disk.crash_with(|_| Fate::Dropped);
    (disk, records, places)
}

/// Every state each key ever had.
fn ever(records: &[Record]) -> BTreeMap<(PartitionId, Key), Vec<Object>> {
    let mut ever: BTreeMap<_, Vec<Object>> = BTreeMap::new();
    for record in records {
        if let Body::Object { key, object, .. } = &record.body {
            ever.entry((record.partition, key.clone())).or_default().push(object.clone());
        }
    }
    ever
}

/// A damaged store must open, give out nothing that was not written, and claim nothing that it has not. A
/// sealed record is not read at an opening: reading it later is an error, and never another record.
fn check_damaged(disk: &Arc<SimDisk>, records: &[Record], what: &str) -> Opened<SimDisk> {
    let store = open(disk.clone(), options(70)).unwrap_or_else(|error| panic!("{what}: {error}"));
    let (model, unreadable) = Model::read_what_is_readable(&store);
    let (ever, full) = (ever(records), Model::of(records));
    for (id, partition) in &model.partitions {
        for (key, object) in &partition.objects {
            assert!(ever[&(*id, key.clone())].contains(object), "{what}: {key} was never {object:?}");
        }
    }
    match store.recovered.opening {
        Opening::Kept => {
            assert_eq!(model, without_unreadable(&full, &model, &unreadable), "{what}: lost without a word")
        }
        Opening::Renewed { reason: RenewalReason::TornTail } => {
            let prefix = (records.len() - 3..=records.len()).any(|length| {
                let mut expected = Model::of(records.iter().take(length));
                expected.partitions.values_mut().for_each(|partition| partition.minted = 0);
                expected == model
            });
            assert!(prefix, "{what}: a torn tail took more than the last batch");
        }
        Opening::Renewed { .. } => {
            assert_eq!(unreadable, [], "{what}: what cannot be read is still claimed");
            assert!(!store.recovered.complete_by_default, "{what}");
            for (id, partition) in &model.partitions {
                let live: BTreeSet<_> =
                    partition.objects.values().flat_map(|object| object.versions.iter().map(|v| v.dot)).collect();
                assert_eq!(partition.clock, live, "{what}: a clock without its data");
                assert!(!store.recovered.tables[id].complete && partition.minted == 0, "{what}");
            }
        }
        Opening::New => panic!("{what}: taken for new"),
    }
    if store.recovered.opening != Opening::Kept {
        assert_eq!(store.recovered.actor, Actor(70), "{what}: the actor is kept");
    }
    disk.end_process();
    if !unreadable.is_empty() && store.recovered.opening == Opening::Kept {
        // Now that it has been read, the next opening knows.
        let store = check_damaged(disk, records, &format!("{what}, known"));
        assert_eq!(store.recovered.opening, Opening::Renewed { reason: RenewalReason::Damage }, "{what}");
        return store;
    }
    let again = open(disk.clone(), options(71)).unwrap();
    assert_eq!(again.recovered.opening, Opening::Kept, "{what}: {:?}", again.recovered.findings);
    assert_same(&again.recovered, &store.recovered, what);
    store
}

/// What a store should give out some of whose records cannot be read.
fn without_unreadable(full: &Model, read: &Model, unreadable: &[Place]) -> Model {
    let mut expected = full.clone();
    let mut gone = 0;
    for (id, partition) in &mut expected.partitions {
        let before = partition.objects.len();
        partition.objects.retain(|key, _| read.partitions[id].objects.contains_key(key));
        gone += before - partition.objects.len();
    }
    assert_eq!(gone, unreadable.len(), "a key is gone whose record can be read");
    expected
}

fn every_flip(clean: bool) {
    let (disk, records, _) = written(clean);
    for name in disk.file_names() {
        let length = disk.contents(&name).unwrap().len();
        for at in 0..length {
            let flipped = Arc::new(disk.snapshot());
            assert!(flipped.flip_bit(&name, at, (at * 5 % 8) as u8));
            check_damaged(&flipped, &records, &format!("{name}, byte {at}"));
        }
    }
}

#[test]
pub(crate) fn every_flipped_byte_of_a_closed_store_is_noticed_or_harmless() {
    every_flip(true);
}

#[test]
pub(crate) fn every_flipped_byte_of_a_crashed_store_is_noticed_or_harmless() {
    every_flip(false);
}

#[test]
pub(crate) fn every_flipped_byte_under_an_open_reader_is_an_error() {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(disk.clone(), options(ACTOR)).unwrap();
    let batch = &workload()[8];
    for (record, (place, _)) in batch.iter().zip(store.log.append(batch).unwrap()) {
        for at in place.offset..place.offset + place.length {
            let name = format!("segment-{:08x}.log", place.segment);
            assert!(disk.flip_bit(&name, at as usize, 3));
            assert!(store.reader.read(place).is_err(), "byte {at}");
            disk.flip_bit(&name, at as usize, 3);
        }
        assert_eq!(&store.reader.read(place).unwrap(), record);
    }
}

#[test]
pub(crate) fn every_lost_file_is_noticed() {
    let (disk, records, _) = written(false);
    // Older checkpoints are removed, but a crash may bring them back: they count for nothing.
    let checkpoint = disk.file_names().into_iter().filter(|name| name.starts_with("checkpoint-")).max();
    for name in disk.file_names() {
        if name.starts_with("checkpoint-") && Some(&name) != checkpoint.as_ref() {
            continue;
        }
        let lost = Arc::new(disk.snapshot());
        lost.lose_file(&name);
        let store = check_damaged(&lost, &records, &name);
        let rewritten = if name.starts_with("keys-") {
            Some(FindingKind::DamagedKeyFile)
        } else {
            name.starts_with("checkpoint-").then_some(FindingKind::DamagedCheckpoint)
        };
        let Some(finding) = rewritten else {
            assert!(matches!(store.recovered.opening, Opening::Renewed { reason } if reason.resets()), "{name}");
            continue;
        };
        assert_eq!(store.recovered.opening, Opening::Kept, "{name}");
        assert!(store.recovered.findings.iter().any(|found| found.kind == finding), "{name}");
    }
}

#[test]
pub(crate) fn every_unreadable_sector_is_noticed_or_harmless() {
    let (disk, records, _) = written(true);
    for name in disk.file_names().into_iter().filter(|name| name != "identity") {
        for at in (0..disk.contents(&name).unwrap().len()).step_by(512) {
            let bad = Arc::new(disk.snapshot());
            bad.make_unreadable(&name, at);
            check_damaged(&bad, &records, &format!("{name}, sector at {at}"));
        }
    }
}

#[test]
pub(crate) fn a_torn_tail_is_told_from_damage_in_the_midst() {
    let (disk, records, places) = written(false);
    let flip = |at: usize| {
        let disk = Arc::new(disk.snapshot());
        let place = places[at];
        disk.flip_bit(&format!("segment-{:08x}.log", place.segment), place.offset as usize + 30, 1);
        let store = check_damaged(&disk, &records, &format!("record {at}"));
        (store.recovered.opening, store.recovered.findings.iter().map(|f| f.kind).collect::<Vec<_>>())
    };
    let (last, before) = (flip(places.len() - 1), flip(places.len() - 2));
    assert_eq!(last, (Opening::Renewed { reason: RenewalReason::TornTail }, vec![FindingKind::TornTail]));
    assert_eq!(before.0, Opening::Renewed { reason: RenewalReason::Damage });
    assert!(before.1.contains(&FindingKind::LostRecords) && before.1.contains(&FindingKind::DamagedBytes));
}

#[test]
pub(crate) fn a_block_that_belongs_elsewhere_is_not_believed() {
    let (disk, records, places) = written(true);
    for (from, to) in places.iter().flat_map(|from| places.iter().map(move |to| (*from, *to))) {
        if from == to || from.length > to.length {
            continue;
        }
        let moved = Arc::new(disk.snapshot());
        let name = |place: Place| format!("segment-{:08x}.log", place.segment);
        let bytes = moved.contents(&name(from)).unwrap();
        let bytes = &bytes[from.offset as usize..(from.offset + from.length) as usize];
        moved.overwrite(&name(to), to.offset as usize, bytes);
        // Harmless only over a record that recovery has copied to a newer segment.
        check_damaged(&moved, &records, &format!("{from:?} over {to:?}"));
    }
}

#[test]
pub(crate) fn a_block_that_belongs_elsewhere_is_an_error_to_a_reader() {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(disk.clone(), options(ACTOR)).unwrap();
    let batch = [put(0, "one", dot(ACTOR, 1), 60), put(0, "two", dot(ACTOR, 2), 60)];
    let places = store.log.append(&batch).unwrap();
    let (from, to) = (places[0].0, places[1].0);
    let bytes = disk.contents("segment-00000001.log").unwrap();
    assert_eq!(from.length, to.length);
    let stale = &bytes[from.offset as usize..(from.offset + from.length) as usize];
    disk.overwrite("segment-00000001.log", to.offset as usize, stale);
    assert_eq!(store.reader.read(from).unwrap(), batch[0]);
    assert!(store.reader.read(to).is_err(), "another key's record was read");
}

#[test]
pub(crate) fn after_a_failed_sync_or_write_the_next_opening_trusts_nothing() {
    for (nth, fail) in (0..40).flat_map(|nth| [(nth, true), (nth, false)]) {
        let disk = Arc::new(SimDisk::new(1));
        let mut store = open(disk.clone(), options(ACTOR)).unwrap();
        if fail {
            disk.fail_sync(nth)
        } else {
            disk.fail_write(nth)
        }
        let (mut records, mut failed) = (Vec::new(), false);
        for batch in workload() {
            records.extend(batch.clone());
            match store.log.append(&batch).and_then(|_| store.log.do_jobs()) {
                Ok(()) => assert!(!failed, "a poisoned log took a batch"),
                Err(error) => failed = matches!(error, AppendError::Poisoned(_)),
            }
        }
        if failed {
            assert!(store.log.close().is_err());
            disk.end_process();
            let store = check_damaged(&disk, &records, &format!("failed call {nth}"));
            assert_eq!(store.recovered.opening, Opening::Renewed { reason: RenewalReason::Poisoned });
        }
    }
}

#[test]
pub(crate) fn a_copied_directory_claims_only_what_it_has() {
    let (disk, records, _) = written(true);
    check_damaged(&Arc::new(disk.copied(2)), &records, "copy");
    let store = open(Arc::new(disk.copied(2)), options(70)).unwrap();
    assert_eq!(store.recovered.opening, Opening::Renewed { reason: RenewalReason::Copied });
    let full = Model::of(&records);
    let model = Model::read(&store);
    assert_eq!(model.hints, full.hints);
    for (id, partition) in &model.partitions {
        // A clock that shrinks brings back what keys had seen beyond it, values apart.
        let mut objects = partition.objects.clone();
        objects.retain(|_, object| !object.versions.is_empty());
        let mut expected = full.partitions[id].objects.clone();
        expected.retain(|_, object| !object.versions.is_empty());
        assert_eq!(objects, expected);
    }
}

/// Flips a bit of a record.
fn flip(disk: &SimDisk, place: Place) {
    assert!(disk.flip_bit(&format!("segment-{:08x}.log", place.segment), place.offset as usize + 30, 1));
}

/// A store with a record of the tail damaged, which every opening notices, and one of a sealed segment,
/// which only that makes recovery look at.
fn damaged() -> (Arc<SimDisk>, Vec<Record>, [Place; 2]) {
    let (disk, records, places) = written(false);
    assert!(disk.file_names().contains(&format!("keys-{:08x}.idx", places[3].segment)));
    let flipped = [places[3], places[places.len() - 2]];
    flipped.iter().for_each(|place| flip(&disk, *place));
    (disk, records, flipped)
}

#[test]
pub(crate) fn damage_cut_short_by_a_crash_is_dealt_with_again() {
    let (disk, records, flipped) = damaged();
    for inside in 0.. {
        for style in [Fate::Dropped, Fate::Kept, Fate::Torn(inside), Fate::Torn(inside + 1)] {
            let again = Arc::new(disk.snapshot());
            again.cut_power_after(inside);
            let opened = open(again.clone(), options(69)).is_ok();
            again.crash_with(|_| style);
            if opened {
                assert_eq!(open(again, options(70)).unwrap().recovered.opening, Opening::Kept);
                return;
            }
            let settled = Arc::new(again.snapshot());
            let store = open(settled, options(70)).unwrap();
            if store.recovered.opening == Opening::Kept {
                // Only the last steps, after the new identity, were missing.
                assert_eq!(store.recovered.actor, Actor(69));
                assert!(store.recovered.tables.values().all(|table| !table.complete && table.minted == 0));
                continue;
            }
            // The sectors may read well now: that must not bring the old claims back.
            let healed = Arc::new(again.snapshot());
            if healed.file_names().contains(&"poisoned".to_owned()) {
                flipped.iter().for_each(|place| flip(&healed, *place));
                check_damaged(&healed, &records, "healed");
            }
            let store = check_damaged(&again, &records, &format!("call {inside}"));
            assert!(matches!(store.recovered.opening, Opening::Renewed { reason } if reason.resets()));
        }
    }
}

#[test]
pub(crate) fn a_sealed_record_that_is_gone_is_off_its_key_file_after_a_reset() {
    let (disk, records, flipped) = damaged();
    let store = check_damaged(&disk, &records, "both");
    let lost = |found: &&dunlin::store::Finding| found.kind == FindingKind::LostRecords;
    let segments: BTreeSet<u32> = store.recovered.findings.iter().filter(lost).map(|found| found.segment).collect();
    assert!(segments.contains(&flipped[0].segment), "{segments:?}");
    disk.end_process();
    // Mended by itself, the record must not come back: other claims have been made since.
    flipped.iter().for_each(|place| flip(&disk, *place));
    let again = open(disk, options(72)).unwrap();
    assert_same(&again.recovered, &store.recovered, "healed");
}

#[test]
pub(crate) fn a_key_file_and_its_segment_damaged_together_reset_the_clocks() {
    let (disk, records, places) = written(true);
    let place = places[3];
    flip(&disk, place);
    assert!(disk.flip_bit(&format!("keys-{:08x}.idx", place.segment), 40, 1));
    let store = check_damaged(&disk, &records, "both");
    assert_eq!(store.recovered.opening, Opening::Renewed { reason: RenewalReason::Damage });
}

#[test]
pub(crate) fn the_directory_is_held_once_and_written_on_after_damage() {
    let (disk, records, _) = damaged();
    let mut store = open(disk.clone(), options(70)).unwrap();
    assert_eq!(open(disk.clone(), options(71)).err(), Some(OpenError::Locked));
    let new = put(0, "key-0", dot(70, 1), 10);
    store.log.append(std::slice::from_ref(&new)).unwrap();
    disk.crash_with(|_| Fate::Dropped);
    let store = open(disk, options(72)).unwrap();
    assert_eq!((store.recovered.opening, store.recovered.actor), (Opening::Kept, Actor(70)));
    let model = Model::read(&store);
    assert!(model.partitions[&PartitionId(0)].clock.contains(&dot(70, 1)));
    assert!(model.partitions.len() <= Model::of(&records).partitions.len());
}

#[test]
fn a_record_is_read_though_the_bytes_behind_it_cannot_be() {
    let (disk, records, places) = written(true);
    let store = open(disk.clone(), options(8)).unwrap();
    for (record, place) in records.iter().zip(places) {
        // What an index says of a length is an upper bound.
        let rounded = Place { length: place.length + 1024, ..place };
        let behind = (place.offset + place.length).next_multiple_of(512) as usize;
        disk.make_unreadable(&format!("segment-{:08x}.log", place.segment), behind);
        assert_eq!(store.reader.read(rounded).as_ref(), Ok(record));
        assert_eq!(store.reader.read(place).as_ref(), Ok(record));
        let short = Place { length: place.length - 8, ..place };
        assert!(store.reader.read(short).is_err());
        disk.heal_reads();
    }
}
