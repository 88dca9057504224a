//! The log, the index and the table of a partition. Over real files in a temporary directory, never synced: the
//! device has no part in it.

use super::samples::{actor, key, object, record};
use super::{Case, Operation, operation};
use dunlin::base::Key;
use dunlin::causal::{Dot, DotSet};
use dunlin::ring::PartitionId;
use dunlin::runtime::disk::RealDisk;
use dunlin::store::{
    Birth, Body, CodecOptions, DEFAULT_SEGMENT_BYTES, Durability, Index, OpenOptions, Opened, PartitionTable, Place,
    Published, Record, open,
};
use std::hint::black_box;
use std::sync::Arc;
use tempfile::TempDir;

/// The cases.
pub const CASES: &[Case] = &[
    case("append 1 record", 200, || append(1)),
    case("append 64 records", 50, || append(64)),
    case("read a cached record", 1000, read),
    case("index of 10,000: candidates of a key", 1000, candidates),
    case("index of 10,000: candidates of an absent key", 1000, candidates_of_absent),
    case("index of 10,000: replace a place", 1000, replace),
    case("table: publish an overwrite", 2000, publish),
];

/// Keys of an index.
const KEYS: u64 = 10_000;

/// Keys of a partition under load, each written again in turn.
const BUSY_KEYS: u64 = 64;

const fn case(name: &'static str, rounds: u32, prepare: fn() -> Operation) -> Case {
    Case { group: "store", name, rounds, prepare }
}

/// A store, as `dunlin serve` opens it but for its durability.
fn store() -> (TempDir, Opened<RealDisk>) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let options = OpenOptions {
        fresh_actor: actor(0),
        segment_bytes: DEFAULT_SEGMENT_BYTES,
        durability: Durability::Os,
        boot: 1,
        birth: Birth::Complete,
        codec: CodecOptions::default(),
    };
    let disk = RealDisk::open(directory.path()).expect("the directory opens");
    (directory, open(Arc::new(disk), options).expect("the store opens"))
}

fn append(records: u64) -> Operation {
    let (directory, mut store) = store();
    let batch: Vec<Record> = (0..records).map(|number| record(number, 1 + number)).collect();
    store.log.append(&batch).expect("the log takes a batch");
    operation(move || {
        // The directory goes with the operation.
        black_box(&directory);
        store.log.append(black_box(&batch)).expect("the log takes a batch")
    })
}

fn read() -> Operation {
    let (directory, mut store) = store();
    let batch: Vec<Record> = (0..64).map(|number| record(number, 1 + number)).collect();
    let places = store.log.append(&batch).expect("the log takes a batch");
    let (place, _) = places.last().copied().expect("as many places as records");
    operation(move || {
        black_box((&directory, &store.log));
        let cached = store.reader.read_cached(black_box(place)).expect("a record is readable");
        cached.expect("it was written just now, so it is in the page cache")
    })
}

/// The place with this number. There are far more of them than keys.
fn place(number: u64) -> Place {
    Place { segment: 1, offset: (number % (16 * KEYS)) as u32 * 256, length: 256 }
}

fn index() -> Index {
    let mut index = Index::default();
    (0..KEYS).for_each(|number| index.insert(key(number).hash64(), place(number)));
    index
}

fn candidates() -> Operation {
    look_up((0..KEYS).map(|number| key(number).hash64()).collect())
}

fn candidates_of_absent() -> Operation {
    look_up((KEYS..2 * KEYS).map(|number| key(number).hash64()).collect())
}

/// Of one hash after the other, for runs of slots differ in length.
fn look_up(hashes: Vec<u64>) -> Operation {
    let index = index();
    let mut hashes = hashes.into_iter().cycle();
    operation(move || hashes.next().map(|hash| black_box(&index).candidates(hash).count()))
}

fn replace() -> Operation {
    let (mut index, mut number) = (index(), KEYS);
    let hashes: Vec<u64> = (0..KEYS).map(|number| key(number).hash64()).collect();
    let mut hashes = hashes.into_iter().cycle();
    operation(move || {
        let hash = hashes.next().unwrap_or_default();
        index.remove(hash, place(number - KEYS));
        index.insert(hash, place(number));
        number += 1;
    })
}

/// One partition's keys in turn. The record is made ahead but for its dot, which takes next to nothing.
fn publish() -> Operation {
    let mut table = PartitionTable::default();
    let keys: Vec<Key> = (0..BUSY_KEYS).map(key).collect();
    let mut slots = vec![Published::default(); keys.len()];
    let mut records: Vec<Record> = keys.iter().map(|key| next_record(key, 1)).collect();
    let mut counter = 0;
    let mut once = move || {
        let at = (counter % BUSY_KEYS) as usize;
        counter += 1;
        if let Some((record, slot)) = records.get_mut(at).zip(slots.get_mut(at)) {
            mint(record, counter);
            *slot = table.publish(black_box(record), place(counter), slot);
        }
    };
    // Until the map of recent dots is full.
    (0..2048).for_each(|_| once());
    operation(once)
}

fn next_record(key: &Key, counter: u64) -> Record {
    let dot = Dot { actor: actor(0), counter };
    let body = Body::Object { key: key.clone(), object: object(dot), dots: DotSet::from(dot), minted: Some(counter) };
    Record { partition: PartitionId(0), body }
}

fn mint(record: &mut Record, counter: u64) {
    let Body::Object { object, dots, minted, .. } = &mut record.body else { return };
    let dot = Dot { actor: actor(0), counter };
    object.versions.iter_mut().for_each(|version| version.dot = dot);
    (*dots, *minted) = (DotSet::from(dot), Some(counter));
}
