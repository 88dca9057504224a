use super::{Encryption, SecretKey};
use crate::base::{HybridTime, Key, NodeId};
use crate::causal::{Actor, Content, Dot, DotSet, Filled, Object, Version};
use crate::ring::PartitionId;
use crate::store::compaction::CompactionOptions;
use crate::store::memory::MemoryDisk;
use crate::store::scan::Scan;
use crate::store::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use crate::store::{
    Birth, Body, CodecOptions, Contents, Depth, Disk, Durability, FileName, FindingKind, HintBody, Linked, Locked,
    OpenError, OpenOptions, Opened, Opening, Progress, Record, RenewalReason, back_up, inspect, inspect_encrypted,
    open,
};
use std::collections::BTreeMap;
use std::sync::Arc;

const KEYS: u64 = 60;

fn master(byte: u8) -> SecretKey {
    SecretKey::new([byte; 32])
}

/// Under the first of these master keys; another data key for each of them.
fn under(masters: &[u8]) -> Option<Encryption> {
    let fresh_data_key = SecretKey::new([masters.first().copied()? ^ 0x80; 32]);
    Some(Encryption { master_keys: masters.iter().map(|byte| master(*byte)).collect(), fresh_data_key })
}

fn options(actor: u64, masters: &[u8]) -> OpenOptions {
    OpenOptions {
        fresh_actor: Actor(actor),
        segment_bytes: 4096,
        durability: Durability::Fsync,
        boot: 1,
        birth: Birth::Complete,
        codec: CodecOptions { encryption: under(masters), ..CodecOptions::default() },
    }
}

fn key(number: u64) -> Key {
    Key::new(format!("key-{number:04}-of-all")).unwrap()
}

fn version(counter: u64) -> Version {
    let content = Content {
        value: format!("secret value {counter} ").repeat(9).into_bytes().into(),
        content_type: "secret/type".into(),
        metadata: vec![],
        written_at: HybridTime(0),
        expires_at: None,
    };
    Version { dot: Dot { actor: Actor(7), counter }, content }
}

/// The record of a key, or now and then a hint of it.
fn record(counter: u64) -> Record {
    let (key, version) = (key(counter % KEYS), version(counter));
    let (dots, minted) = (DotSet::from(version.dot), Some(counter));
    let body = if counter.is_multiple_of(10) {
        let state = Filled { versions: vec![version], context: dots.clone() };
        Body::Hint(HintBody { targets: vec![NodeId(1)], key, state, dots, minted })
    } else {
        let object = Object { versions: vec![version], leftover: DotSet::EMPTY };
        Body::Object { key, object, dots, minted }
    };
    Record { partition: PartitionId(0), body }
}

fn write(store: &mut Opened<MemoryDisk>, counters: std::ops::Range<u64>) {
    counters.for_each(|counter| drop(store.log.append(&[record(counter)]).unwrap()));
}

/// Compacts until nothing is worth it any more.
fn compact(store: &mut Opened<MemoryDisk>) {
    for seed in 0..100 {
        let mut compaction = store.log.begin_compaction(CompactionOptions { seed, lowest_live_share: 0.0 });
        let mut step = || compaction.step(1 << 20, &mut |_| Vec::new()).unwrap();
        let last = std::iter::repeat_with(&mut step).find(|progress| *progress != Progress::More);
        if last == Some(Progress::Nothing) {
            return;
        }
        store.log.install(&compaction).unwrap();
        while compaction.relocations().unwrap().is_some() {}
        store.log.retire(&compaction).unwrap();
    }
    panic!("there is always something worth it");
}

fn files(disk: &MemoryDisk) -> BTreeMap<FileName, Vec<u8>> {
    let bytes = |name: &FileName| {
        let file = disk.open(name).unwrap();
        disk.read_at(&file, 0, disk.len(&file).unwrap() as usize).unwrap()
    };
    disk.list().unwrap().into_iter().map(|name| (name.clone(), bytes(&name))).collect()
}

/// The files in which a key, a value or a content type can be found.
fn readable(disk: &MemoryDisk) -> Vec<FileName> {
    let secrets: [&[u8]; 4] = [b"key-00", b"-of-all", b"secret value", b"secret/type"];
    let holds = |bytes: &[u8]| secrets.iter().any(|secret| bytes.windows(secret.len()).any(|found| found == *secret));
    files(disk).into_iter().filter(|(_, bytes)| holds(bytes)).map(|(name, _)| name).collect()
}

/// Every key of a store that opens under these masters is there.
fn assert_whole(disk: &Arc<MemoryDisk>, masters: &[u8]) {
    assert_whole_after(Opening::Kept, disk, masters);
}

fn assert_whole_after(opening: Opening, disk: &Arc<MemoryDisk>, masters: &[u8]) {
    let store = open(disk.clone(), options(90, masters)).unwrap();
    // A compaction that was not finished may have left something.
    let mut found = store.recovered.findings.iter().map(|finding| finding.kind);
    assert!(store.recovered.opening == opening && found.all(|kind| kind == FindingKind::SpentSegment));
    for number in (0..KEYS).filter(|number| number % 10 != 0) {
        let place = store.recovered.tables[&PartitionId(0)].index.candidates(key(number).hash64()).next().unwrap();
        let Body::Object { key: found, object, .. } = store.reader.read(place).unwrap().body else {
            panic!("no object")
        };
        assert_eq!((found, object.versions[0].dot.counter % KEYS), (key(number), number));
    }
    store.log.close().unwrap();
}

/// Makes the header of a segment unreadable.
fn behead(disk: &MemoryDisk, segment: u32) {
    let file = disk.open(&segment_name(segment)).unwrap();
    disk.write_at(&file, 0, &[0xff; SEGMENT_HEADER_BYTES]).unwrap();
}

/// Data key, generation and offset of every frame in the directory, and its bytes: the same as ever.
fn note_seats(seats: &mut BTreeMap<(u8, u64, u32), Vec<u8>>, disk: &MemoryDisk) {
    for (name, bytes) in files(disk) {
        let number = name.0.strip_prefix("segment-").and_then(|rest| u32::from_str_radix(rest.get(..8)?, 16).ok());
        let Some(header) = number.and_then(|number| SegmentHeader::decode(&bytes, number).ok()) else { continue };
        let scan = Scan::run(disk, &disk.open(&name).unwrap(), &header, bytes.len() as u64).unwrap();
        for place in scan.frames.iter().map(|frame| frame.place) {
            let frame = bytes[place.offset as usize..][..place.length as usize].to_vec();
            let seat = (header.data_key, header.generation, place.offset);
            assert_eq!(*seats.entry(seat).or_insert(frame.clone()), frame, "{} at {}", name.0, place.offset);
        }
    }
}

fn data_keys(disk: &MemoryDisk) -> usize {
    super::file::read(disk).unwrap().map_or(0, |found| found.keys.len())
}

#[test]
fn nothing_of_a_key_or_a_value_is_in_any_file() {
    for (masters, encrypted) in [(&[][..], false), (&[1], true)] {
        let disk = Arc::new(MemoryDisk::default());
        let mut store = open(disk.clone(), options(7, masters)).unwrap();
        write(&mut store, 1..150);
        // As a crash leaves it, with a tail; with a compaction that is not finished; then compacted and sealed.
        let crashed = Arc::new(disk.copied());
        write(&mut store, 150..200);
        let mut all = store.log.begin_compaction(CompactionOptions { seed: 1, lowest_live_share: 2.0 });
        while all.step(1 << 20, &mut |_| Vec::new()).unwrap() == Progress::More {}
        let unfinished = Arc::new(disk.copied());
        store.log.install(&all).unwrap();
        store.log.close().unwrap();
        assert!(files(&disk).keys().filter(|name| name.0.ends_with(".idx")).count() > 5);
        for disk in [&crashed, &unfinished, &disk] {
            assert_eq!(readable(disk).is_empty(), encrypted);
            assert_whole(disk, masters);
            assert_eq!(readable(disk).is_empty(), encrypted);
        }
    }
}

#[test]
fn nothing_is_in_a_quarantined_file_either() {
    for (masters, encrypted) in [(&[][..], false), (&[1], true)] {
        let disk = Arc::new(MemoryDisk::default());
        write(&mut open(disk.clone(), options(7, masters)).unwrap(), 1..50);
        behead(&disk, 1);
        let store = open(disk.clone(), options(8, masters)).unwrap();
        assert!(matches!(store.recovered.opening, Opening::Renewed { .. }));
        let quarantined = FileName("damaged-00000001.log".into());
        assert!(disk.open(&quarantined).is_ok());
        assert_eq!(readable(&disk).contains(&quarantined), !encrypted);
        assert_eq!(readable(&disk).is_empty(), encrypted);
    }
}

#[test]
fn a_seat_is_written_once_under_a_data_key_in_all_lives_of_a_directory_and_of_its_copies() {
    let disk = Arc::new(MemoryDisk::default());
    let mut seats = BTreeMap::new();
    write(&mut open(disk.clone(), options(7, &[1])).unwrap(), 1..40);
    note_seats(&mut seats, &disk);
    let copy = Arc::new(disk.copied());
    for (life, disk) in [(8, &disk), (9, &copy), (10, &disk), (11, &copy)] {
        // A tail, whose unproven end is written again; a crash in the middle of a compaction; another one after it.
        let mut store = open(disk.clone(), options(life, &[1])).unwrap();
        note_seats(&mut seats, disk);
        write(&mut store, life * 100..life * 100 + 50);
        note_seats(&mut seats, disk);
        let mut all = store.log.begin_compaction(CompactionOptions { seed: life, lowest_live_share: 2.0 });
        while all.step(1, &mut |_| Vec::new()).unwrap() == Progress::More {
            note_seats(&mut seats, disk);
        }
        note_seats(&mut seats, disk);
    }
    assert!(seats.len() > 250, "{}", seats.len());
    assert_eq!(data_keys(&disk), 1);
}

#[test]
fn without_the_right_key_a_directory_is_refused_and_left_alone() {
    let disk = Arc::new(MemoryDisk::default());
    let mut store = open(disk.clone(), options(7, &[1])).unwrap();
    write(&mut store, 1..100);
    store.log.close().unwrap();
    let before = files(&disk);
    let refused = |masters: &[u8]| open(disk.clone(), options(8, masters)).err();
    assert_eq!(refused(&[]), Some(OpenError::KeyNeeded));
    assert_eq!(refused(&[2]), Some(OpenError::WrongKey { number: 1 }));
    assert_eq!(refused(&[2, 3]), Some(OpenError::WrongKey { number: 1 }));
    assert_eq!(files(&disk), before);
    let keys = super::file::keys_name();
    disk.remove(&keys).unwrap();
    assert_eq!(refused(&[1]), Some(OpenError::MissingKey { number: 1 }));
    assert_eq!(refused(&[]), Some(OpenError::KeyNeeded));
    disk.write_at(&disk.create(&keys).unwrap(), 0, &[0; 8192]).unwrap();
    assert_eq!(refused(&[1]), Some(OpenError::DamagedKeys));
    disk.write_at(&disk.create(&keys).unwrap(), 0, &before[&keys]).unwrap();
    assert_eq!(files(&disk), before);
    write(&mut open(disk.clone(), options(8, &[1])).unwrap(), 100..200);
}

#[test]
fn a_directory_that_was_plain_is_encrypted_by_compaction() {
    let disk = Arc::new(MemoryDisk::default());
    let mut store = open(disk.clone(), options(7, &[])).unwrap();
    write(&mut store, 1..200);
    store.log.close().unwrap();
    let mut store = open(disk.clone(), options(8, &[1])).unwrap();
    assert!(!readable(&disk).is_empty());
    write(&mut store, 200..220);
    compact(&mut store);
    store.log.close().unwrap();
    assert_eq!(readable(&disk), []);
    assert_whole(&disk, &[1]);
}

#[test]
fn a_damaged_copy_of_the_data_keys_is_written_anew_by_the_next_opening() {
    let disk = Arc::new(MemoryDisk::default());
    write(&mut open(disk.clone(), options(7, &[1])).unwrap(), 1..9);
    let (keys, before) = (super::file::keys_name(), files(&disk));
    disk.write_at(&disk.open(&keys).unwrap(), 30, &[0xff; 9]).unwrap();
    assert_ne!(files(&disk)[&keys], before[&keys]);
    drop(open(disk.clone(), options(8, &[1])).unwrap());
    assert_eq!(files(&disk)[&keys], before[&keys]);
}

#[test]
fn a_new_master_key_brings_a_new_data_key_and_the_old_one_goes_when_nothing_needs_it() {
    let disk = Arc::new(MemoryDisk::default());
    let mut store = open(disk.clone(), options(7, &[1])).unwrap();
    write(&mut store, 1..200);
    store.log.close().unwrap();
    assert_whole(&disk, &[1]);
    assert_eq!(data_keys(&disk), 1);
    let mut store = open(disk.clone(), options(8, &[2, 1])).unwrap();
    assert_eq!(data_keys(&disk), 2);
    write(&mut store, 200..220);
    store.log.close().unwrap();
    // The old master key is needed no more from here on, the old data key is.
    let mut store = open(disk.clone(), options(9, &[2])).unwrap();
    assert_eq!(data_keys(&disk), 2);
    compact(&mut store);
    assert_eq!(data_keys(&disk), 1);
    store.log.close().unwrap();
    assert_whole(&disk, &[2]);
    assert_eq!(open(disk, options(10, &[1])).err(), Some(OpenError::WrongKey { number: 2 }));
}

#[test]
fn a_copy_from_before_a_rotation_opens_with_the_key_of_then() {
    let disk = Arc::new(MemoryDisk::default());
    let mut store = open(disk.clone(), options(7, &[1])).unwrap();
    write(&mut store, 1..200);
    store.log.close().unwrap();
    let copy = Arc::new(disk.copied());
    let mut store = open(disk, options(8, &[2, 1])).unwrap();
    compact(&mut store);
    drop(store);
    assert_whole(&copy, &[1]);
}

#[test]
fn a_data_key_stays_while_a_segment_that_is_being_sealed_is_under_it() {
    let disk = Arc::new(MemoryDisk::default());
    write(&mut open(disk.clone(), options(7, &[1])).unwrap(), 1..12);
    // The tail of the life before is to be sealed, under its own data key.
    let mut store = open(disk.clone(), options(8, &[2, 1])).unwrap();
    write(&mut store, 200..212);
    let mut sealed_after_a_compaction = 0;
    while let Some(mut job) = store.log.next_job() {
        compact(&mut store);
        let is_tail = store.log.tails().any(|tail| tail.run.seal().number == 1);
        assert_eq!(data_keys(&disk), if is_tail { 2 } else { 1 });
        sealed_after_a_compaction += usize::from(is_tail);
        job.run();
        store.log.finish_job(job).unwrap();
    }
    assert!(sealed_after_a_compaction > 0);
    compact(&mut store);
    assert_eq!(data_keys(&disk), 1);
    store.log.close().unwrap();
    let store = open(disk, options(9, &[2])).unwrap();
    assert_eq!((store.recovered.opening, store.recovered.findings), (Opening::Kept, vec![]));
}

#[test]
fn a_data_key_stays_while_a_quarantined_file_may_be_under_it() {
    let disk = Arc::new(MemoryDisk::default());
    write(&mut open(disk.clone(), options(7, &[1])).unwrap(), 1..50);
    behead(&disk, 1);
    let mut store = open(disk.clone(), options(8, &[2, 1])).unwrap();
    while let Some(mut job) = store.log.next_job() {
        job.run();
        store.log.finish_job(job).unwrap();
    }
    compact(&mut store);
    assert_eq!(data_keys(&disk), 2);
    disk.remove(&FileName("damaged-00000001.log".into())).unwrap();
    compact(&mut store);
    assert_eq!(data_keys(&disk), 1);
}

#[test]
fn an_inspection_sees_the_structure_without_the_key_and_everything_with_it() {
    let disk = Arc::new(MemoryDisk::default());
    let mut store = open(disk.clone(), options(7, &[1])).unwrap();
    write(&mut store, 1..100);
    store.log.close().unwrap();
    let blind = inspect(&disk, Depth::Records).unwrap();
    let sighted = inspect_encrypted(&disk, &under(&[1]).unwrap(), Depth::Records).unwrap();
    assert!(blind.sealed.iter().all(|sealed| sealed.data_key == 1 && sealed.current_bytes.is_none()));
    assert!(sighted.sealed.iter().all(|sealed| sealed.data_key == 1 && sealed.current_bytes.is_some()));
    let sealed = blind.sealed.len() as u64;
    let locked = Locked { segments: sealed, key_files: sealed };
    assert_eq!((blind.locked, sighted.locked), (locked, Locked::default()));
    assert!(!blind.is_damaged() && !sighted.is_damaged());
    assert_eq!(blind.contents.unwrap().kinds, BTreeMap::new());
    assert_eq!(sighted.contents.unwrap().kinds, BTreeMap::from([("hint", 9), ("object", 90)]));
    let wrong = inspect_encrypted(&disk, &under(&[2]).unwrap(), Depth::Records);
    assert_eq!(wrong.err(), Some(OpenError::WrongKey { number: 1 }));
}

#[test]
fn an_inspection_without_the_key_finds_what_a_checksum_outside_the_ciphertext_shows() {
    let disk = Arc::new(MemoryDisk::default());
    let mut store = open(disk.clone(), options(7, &[1])).unwrap();
    write(&mut store, 1..100);
    store.log.close().unwrap();
    let found_with = |file: &str, at: &dyn Fn(usize) -> usize| {
        let rotten = Arc::new(disk.copied());
        let file = rotten.open(&FileName(file.into())).unwrap();
        let at = at(rotten.len(&file).unwrap() as usize) as u64;
        let byte = rotten.read_at(&file, at, 1).unwrap();
        rotten.write_at(&file, at, &[byte[0] ^ 1]).unwrap();
        let inspection = inspect(&rotten, Depth::Records).unwrap();
        (inspection.is_damaged(), inspection.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>())
    };
    let lost = vec![FindingKind::DamagedBytes, FindingKind::LostRecords];
    assert_eq!(found_with("segment-00000001.log", &|_| SEGMENT_HEADER_BYTES + 50), (true, lost));
    assert_eq!(found_with("keys-00000001.idx", &|bytes| bytes - 10), (true, vec![FindingKind::DamagedKeyFile]));
    // The checksums of blocks are in the index, which is encrypted.
    assert_eq!(found_with("keys-00000001.idx", &|_| 40), (false, vec![]));
    let keyless = Arc::new(disk.copied());
    keyless.remove(&FileName("keys".into())).unwrap();
    assert_eq!(inspect(&keyless, Depth::Records).err(), Some(OpenError::MissingKey { number: 1 }));
}

#[test]
fn an_inspection_without_the_key_reads_what_is_plain_and_finds_no_fault_with_the_rest() {
    let disk = Arc::new(MemoryDisk::default());
    let mut store = open(disk.clone(), options(7, &[])).unwrap();
    write(&mut store, 1..100);
    store.log.close().unwrap();
    // The tail is encrypted, and then some of what is sealed.
    let mut store = open(disk.clone(), options(8, &[1])).unwrap();
    for (counters, is_sealed) in [(100..105, false), (105..150, true)] {
        let written = counters.end - 1;
        write(&mut store, counters);
        store.log.do_jobs().unwrap();
        let blind = inspect(&disk, Depth::Records).unwrap();
        let sighted = inspect_encrypted(&disk, &under(&[1]).unwrap(), Depth::Records).unwrap();
        assert_eq!(blind.sealed.iter().any(|sealed| sealed.data_key == 1), is_sealed);
        assert!(blind.locked.segments > 0 && sighted.locked == Locked::default());
        assert!(!blind.is_damaged() && !sighted.is_damaged());
        let count = |contents: Option<Contents>| contents.unwrap().kinds.values().sum::<u64>();
        assert_eq!((count(blind.contents), count(sighted.contents)), (99, written));
    }
}

#[test]
fn a_backup_during_which_a_data_key_is_dropped_has_the_key_of_all_that_is_in_it() {
    for at in 1..12 {
        let disk = Arc::new(MemoryDisk::default());
        let mut store = open(disk.clone(), options(7, &[1])).unwrap();
        write(&mut store, 1..200);
        store.log.close().unwrap();
        let mut store = open(disk.clone(), options(8, &[2, 1])).unwrap();
        write(&mut store, 200..220);
        let (target, mut calls) = (Arc::new(MemoryDisk::default()), 0);
        let mut link = |name: &FileName| {
            calls += 1;
            if calls == at {
                compact(&mut store);
                assert_eq!(data_keys(&disk), 1);
            }
            disk.open(name)?;
            disk.link_to(&target, name);
            Ok(Linked::Yes)
        };
        back_up(&*disk, &*target, &[], &mut link).unwrap();
        assert!(calls > at && data_keys(&target) == 1 && readable(&target).is_empty());
        let refused = open(Arc::new(target.copied()), options(90, &[1])).err();
        assert_eq!(refused, Some(OpenError::WrongKey { number: 2 }));
        assert_whole_after(Opening::Renewed { reason: RenewalReason::Restored }, &target, &[2]);
    }
}

#[test]
fn an_inspection_during_which_a_data_key_is_dropped_looks_again() {
    let disk = Arc::new(MemoryDisk::default());
    let mut store = open(disk.clone(), options(7, &[1])).unwrap();
    write(&mut store, 1..200);
    store.log.close().unwrap();
    let mut store = open(disk.clone(), options(8, &[2, 1])).unwrap();
    write(&mut store, 200..220);
    disk.interrupt(FileName("keys".into()), move || compact(&mut store));
    let inspection = inspect_encrypted(&disk, &under(&[2]).unwrap(), Depth::Records).unwrap();
    assert!(!inspection.is_damaged() && inspection.locked == Locked::default());
    assert!(inspection.sealed.iter().all(|sealed| sealed.data_key == 2) && data_keys(&disk) == 1);
}

/// Microseconds of the store alone for a put and for a get of a value of so many bytes.
fn microseconds(masters: &[u8], bytes: usize) -> [f64; 2] {
    const BATCHES: u64 = 200;
    const BATCH: u64 = 64;
    let options = OpenOptions { segment_bytes: 64 << 20, ..options(7, masters) };
    let mut store = open(Arc::new(MemoryDisk::default()), options).unwrap();
    let record = |counter: u64| {
        let mut record = record(counter * 10 + 1);
        if let Body::Object { object, .. } = &mut record.body {
            object.versions[0].content.value = vec![counter as u8; bytes].into();
        }
        record
    };
    let batches: Vec<Vec<Record>> = (0..BATCHES).map(|n| (n * BATCH..(n + 1) * BATCH).map(record).collect()).collect();
    let each = |begin: std::time::Instant| begin.elapsed().as_secs_f64() * 1e6 / (BATCHES * BATCH) as f64;
    let begin = std::time::Instant::now();
    let places: Vec<_> = batches.iter().flat_map(|batch| store.log.append(batch).unwrap()).collect();
    let put = each(begin);
    let begin = std::time::Instant::now();
    places.iter().for_each(|(place, _)| drop(store.reader.read(*place).unwrap()));
    [put, each(begin)]
}

#[test]
#[ignore = "measures; run in release"]
fn microseconds_of_a_put_and_a_get_encrypted_and_not() {
    for bytes in [100, 1024, 16 << 10] {
        let (mut plain, mut encrypted) = ([f64::MAX; 2], [f64::MAX; 2]);
        // By turns, and the best of each: others may be busy.
        for _ in 0..7 {
            for (best, masters) in [(&mut plain, &[][..]), (&mut encrypted, &[1])] {
                best.iter_mut().zip(microseconds(masters, bytes)).for_each(|(best, took)| *best = best.min(took));
            }
        }
        let [put, get] = [0, 1].map(|at| encrypted[at] / plain[at]);
        println!("{bytes} bytes: plain {plain:.2?} us, encrypted {encrypted:.2?} us; ratios {put:.2}, {get:.2}");
    }
}
