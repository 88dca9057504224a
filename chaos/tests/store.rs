//! The store on a simulated disk: what it gives back, and what it refuses to believe.

use chaos::sim::SimDisk;
use dunlin::base::{HybridTime, Key, NodeId};
use dunlin::causal::{Actor, Content, Dot, DotSet, Filled, Object, Version};
use dunlin::ring::PartitionId;
use dunlin::store::{
    AppendError, Birth, Body, Durability, HintBody, OpenOptions, Opened, Opening, Record, RenewalReason, open,
};
use std::sync::Arc;

fn options(actor: u64) -> OpenOptions {
    OpenOptions {
        fresh_actor: Actor(actor),
        segment_bytes: 4096,
        durability: Durability::Fsync,
        boot: 1,
        birth: Birth::Complete,
    }
}

fn dot(actor: u64, counter: u64) -> Dot {
    Dot { actor: Actor(actor), counter }
}

fn put(partition: u32, key: &str, dot: Dot, bytes: usize) -> Record {
    let content = Content {
        value: vec![dot.counter as u8; bytes].into(),
        content_type: "text/plain".into(),
        metadata: vec![],
        written_at: HybridTime(0),
        expires_at: None,
    };
    let object = Object { versions: vec![Version { dot, content }], leftover: DotSet::EMPTY };
    let key = Key::new(key.to_owned()).unwrap();
    let body = Body::Object { key, object, dots: dot.into(), minted: Some(dot.counter) };
    Record { partition: PartitionId(partition), body }
}

fn reopened(disk: &Arc<SimDisk>, actor: u64) -> Opened<SimDisk> {
    disk.end_process();
    open(disk.clone(), options(actor)).unwrap()
}

#[test]
fn what_was_appended_is_there_after_a_crash() {
    let disk = Arc::new(SimDisk::new(1));
    let mut store = open(disk.clone(), options(7)).unwrap();
    assert_eq!(store.recovered.opening, Opening::New);
    let records: Vec<Record> = (1..40).map(|n| put(n as u32 % 3, &format!("k{}", n % 11), dot(7, n), 200)).collect();
    let mut places = Vec::new();
    for batch in records.chunks(3) {
        places.extend(store.log.append(batch).unwrap());
    }
    for (record, (place, _)) in records.iter().zip(&places) {
        assert_eq!(&store.reader.read(*place).unwrap(), record);
    }
    disk.crash_with(|_| chaos::sim::disk::Fate::Dropped);
    let store = open(disk.clone(), options(8)).unwrap();
    assert_eq!(store.recovered.opening, Opening::Kept);
    assert_eq!(store.recovered.actor, Actor(7));
    assert_eq!(store.recovered.findings, []);
    let clock: u64 = store.recovered.tables.values().map(|table| table.clock.len()).sum();
    assert_eq!(clock, 39);
    let again = reopened(&disk, 9);
    assert_eq!(again.recovered, store.recovered);
}
