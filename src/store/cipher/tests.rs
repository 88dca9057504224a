use super::{Encryption, SecretKey};
use crate::base::{HybridTime, Key, NodeId};
use crate::causal::{Actor, Content, Dot, DotSet, Filled, Object, Version};
use crate::ring::PartitionId;
use crate::store::compaction::CompactionOptions;
use crate::store::memory::MemoryDisk;
use crate::store::{
    Birth, Body, CodecOptions, Depth, Disk, Durability, FileName, HintBody, OpenError, OpenOptions, Opened, Opening,
    Progress, Record, inspect, inspect_encrypted, open,
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
    let store = open(disk.clone(), options(90, masters)).unwrap();
    assert_eq!((store.recovered.opening, store.recovered.findings), (Opening::Kept, vec![]));
    for number in (0..KEYS).filter(|number| number % 10 != 0) {
        let place = store.recovered.tables[&PartitionId(0)].index.candidates(key(number).hash64()).next().unwrap();
        let Body::Object { key: found, object, .. } = store.reader.read(place).unwrap().body else {
            panic!("no object")
        };
        assert_eq!((found, object.versions[0].dot.counter % KEYS), (key(number), number));
    }
    store.log.close().unwrap();
}

fn data_keys(disk: &MemoryDisk) -> usize {
    super::file::read(disk).unwrap().map_or(0, |keys| keys.len())
}

#[test]
fn nothing_of_a_key_or_a_value_is_in_any_file() {
    for (masters, encrypted) in [(&[][..], false), (&[1], true)] {
        let disk = Arc::new(MemoryDisk::default());
        let mut store = open(disk.clone(), options(7, masters)).unwrap();
        write(&mut store, 1..150);
        // As a crash leaves it, with a tail; then sealed; then compacted.
        let crashed = Arc::new(disk.copied());
        write(&mut store, 150..200);
        let mut all = store.log.begin_compaction(CompactionOptions { seed: 1, lowest_live_share: 2.0 });
        while all.step(1 << 20, &mut |_| Vec::new()).unwrap() == Progress::More {}
        store.log.install(&all).unwrap();
        store.log.close().unwrap();
        assert!(files(&disk).keys().filter(|name| name.0.ends_with(".idx")).count() > 5);
        for disk in [&crashed, &disk] {
            assert_eq!(readable(disk).is_empty(), encrypted);
            assert_whole(disk, masters);
            assert_eq!(readable(disk).is_empty(), encrypted);
        }
    }
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
fn an_inspection_sees_the_structure_without_the_key_and_everything_with_it() {
    let disk = Arc::new(MemoryDisk::default());
    let mut store = open(disk.clone(), options(7, &[1])).unwrap();
    write(&mut store, 1..100);
    store.log.close().unwrap();
    let blind = inspect(&disk, Depth::Records).unwrap();
    let sighted = inspect_encrypted(&disk, &under(&[1]).unwrap(), Depth::Records).unwrap();
    assert_eq!(blind.sealed, sighted.sealed);
    assert_eq!((blind.locked, sighted.locked), (blind.sealed.len() as u64, 0));
    assert!(!blind.is_damaged() && !sighted.is_damaged());
    assert_eq!(sighted.contents.unwrap().kinds, BTreeMap::from([("hint", 9), ("object", 90)]));
    let wrong = inspect_encrypted(&disk, &under(&[2]).unwrap(), Depth::Records);
    assert_eq!(wrong.err(), Some(OpenError::WrongKey { number: 1 }));
}
