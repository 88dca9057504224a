use super::{Compaction, CompactionOptions, Progress, Question};
use crate::base::{HybridTime, Key, NodeId};
use crate::causal::{Actor, Content, Dot, DotSet, Filled, Object, Version};
use crate::ring::PartitionId;
use crate::store::memory::MemoryDisk;
use crate::store::segment::unfinished_name;
use crate::store::{
    Birth, Body, CodecOptions, Compression, Durability, HintBody, Holder, Moved, OpenOptions, Opened, Opening, Record,
    Sequence, inspect, open,
};
use crate::store::{Depth, Disk};
use std::sync::Arc;

/// Whatever is in them, all segments are worth it.
const ALL: CompactionOptions = CompactionOptions { seed: 1, lowest_live_share: 2.0 };

fn options(actor: u64) -> OpenOptions {
    OpenOptions {
        fresh_actor: Actor(actor),
        segment_bytes: 4096,
        durability: Durability::Fsync,
        boot: 1,
        birth: Birth::Complete,
        codec: CodecOptions::default(),
    }
}

fn dot(counter: u64) -> Dot {
    Dot { actor: Actor(7), counter }
}

fn version(counter: u64) -> Version {
    let content = Content {
        value: vec![counter as u8; 300].into(),
        content_type: String::new(),
        metadata: vec![],
        written_at: HybridTime(0),
        expires_at: None,
    };
    Version { dot: dot(counter), content }
}

fn put(key: &str, counter: u64) -> Record {
    let object = Object { versions: vec![version(counter)], leftover: DotSet::EMPTY };
    let (key, dots) = (Key::new(key.to_owned()).unwrap(), dot(counter).into());
    Record { partition: PartitionId(0), body: Body::Object { key, object, dots, minted: Some(counter) } }
}

fn hint(counter: u64) -> Record {
    let body = HintBody {
        targets: vec![NodeId(1)],
        key: Key::new("held").unwrap(),
        state: Filled { versions: vec![version(counter)], context: dot(counter).into() },
        dots: dot(counter).into(),
        minted: Some(counter),
    };
    Record { partition: PartitionId(0), body: Body::Hint(body) }
}

/// A store whose first segments are sealed.
fn store(records: &[Record]) -> (Arc<MemoryDisk>, Opened<MemoryDisk>) {
    let disk = Arc::new(MemoryDisk::default());
    let mut store = open(disk.clone(), options(7)).unwrap();
    for record in records {
        store.log.append(std::slice::from_ref(record)).unwrap();
        store.log.do_jobs().unwrap();
    }
    (disk, store)
}

fn copied(store: &mut Opened<MemoryDisk>, ask: &mut dyn FnMut(&[Question]) -> Vec<bool>) -> Compaction<MemoryDisk> {
    let mut compaction = store.log.begin_compaction(ALL);
    while compaction.step(1000, ask).unwrap() == Progress::More {}
    compaction
}

fn moves(compaction: &mut Compaction<MemoryDisk>) -> Vec<Moved> {
    let mut all = Vec::new();
    while let Some(moved) = compaction.relocations().unwrap() {
        all.extend(moved);
    }
    all
}

#[test]
fn what_is_not_answered_is_kept_and_every_move_is_told() {
    let records: Vec<Record> = (1..40).map(|counter| put(&format!("key {counter:02}"), counter)).collect();
    let (_, mut store) = store(&records);
    let mut compaction = copied(&mut store, &mut |_| Vec::new());
    store.log.install(&compaction).unwrap();
    let moved = moves(&mut compaction);
    assert!(moved.len() > 5 && moved.is_sorted_by_key(|moved| moved.holder.clone()));
    for Moved { holder, from, to, .. } in &moved {
        let record = store.reader.read(*from).unwrap();
        assert_eq!(store.reader.read(*to).unwrap(), record);
        assert_eq!(record.body.slot_key().cloned().map(Holder::Key).as_ref(), Some(holder));
    }
    store.log.retire(&compaction).unwrap();
    assert!(moved.iter().all(|moved| store.reader.read(moved.from).is_ok()), "files stay for reads under way");
    drop(compaction);
    store.log.begin_compaction(ALL);
    assert!(moved.iter().all(|moved| store.reader.read(moved.from).is_err() && store.reader.read(moved.to).is_ok()));
}

#[test]
fn a_copy_has_the_compression_that_the_rules_give_by_now() {
    let records: Vec<Record> = (1..40).map(|counter| put(&format!("key {counter:02}"), counter)).collect();
    let (disk, store) = store(&records);
    store.log.close().unwrap();
    let bytes = |disk: &Arc<MemoryDisk>| inspect(disk, Depth::Frames).unwrap().sealed.iter().map(|s| s.bytes).sum();
    let mut lengths: Vec<u64> = vec![bytes(&disk)];
    for (life, compression) in [(8, Compression::Lz4), (9, Compression::Lz4), (10, Compression::None)] {
        let codec = CodecOptions { compression: compression.into(), encryption: None };
        let mut store = open(disk.clone(), OpenOptions { codec, segment_bytes: 1 << 20, ..options(life) }).unwrap();
        let compaction = copied(&mut store, &mut |_| Vec::new());
        store.log.install(&compaction).unwrap();
        store.log.retire(&compaction).unwrap();
        store.log.close().unwrap();
        lengths.push(bytes(&disk));
        let store = open(disk.clone(), options(20 + life)).unwrap();
        for record in &records {
            let key = record.body.slot_key().unwrap();
            let place = store.recovered.tables[&PartitionId(0)].index.candidates(key.hash64()).next().unwrap();
            assert_eq!(store.reader.read(place).unwrap(), *record);
        }
    }
    let [plain, short, same, again] = lengths[..] else { panic!("four lengths") };
    assert!(short * 2 < plain && same == short && again == plain, "{lengths:?}");
}

#[test]
fn a_hint_goes_once_the_checkpoint_has_it_closed() {
    let mut records = vec![hint(1), hint(2), put("a", 3)];
    let done = Body::HintDone { hint: Sequence(1), target: NodeId(1) };
    records.push(Record { partition: PartitionId(0), body: done });
    records.extend((4..30).map(|counter| put("b", counter)));
    let (disk, mut store) = store(&records);
    let mut compaction = copied(&mut store, &mut |asked| vec![false; asked.len()]);
    store.log.install(&compaction).unwrap();
    let held: Vec<Holder> = moves(&mut compaction).into_iter().map(|moved| moved.holder).collect();
    assert_eq!(held, [Holder::Hint(Sequence(2))]);
    store.log.retire(&compaction).unwrap();
    store.log.close().unwrap();
    let recovered = open(disk, options(8)).unwrap().recovered;
    assert_eq!(recovered.opening, Opening::Kept);
    assert_eq!(recovered.hints.keys().copied().collect::<Vec<_>>(), [Sequence(2)]);
}

#[test]
fn nothing_is_retired_whose_copy_is_not_installed() {
    let records: Vec<Record> = (1..40).map(|counter| put(&format!("key {counter:02}"), counter)).collect();
    let (disk, mut store) = store(&records);
    let sealed = |disk: &Arc<MemoryDisk>| inspect(disk, Depth::Frames).unwrap().sealed;
    let before = sealed(&disk);
    let compaction = copied(&mut store, &mut |_| Vec::new());
    store.log.retire(&compaction).unwrap();
    assert_eq!(sealed(&disk), before);
    let output = unfinished_name(compaction.number.0);
    store.log.abandon(compaction, super::CompactionError::Full).unwrap();
    assert_eq!(sealed(&disk), before);
    assert!(!disk.list().unwrap().contains(&output));
}

#[test]
fn nothing_current_leaves_no_output() {
    let records: Vec<Record> = (1..40).map(|counter| put("same", counter)).collect();
    let (disk, mut store) = store(&records);
    let mut compaction = copied(&mut store, &mut |asked| vec![false; asked.len()]);
    store.log.install(&compaction).unwrap();
    assert_eq!(moves(&mut compaction), []);
    let segments = inspect(&disk, Depth::Frames).unwrap().sealed.len();
    assert!(segments > 1);
    store.log.retire(&compaction).unwrap();
    assert_eq!(inspect(&disk, Depth::Frames).unwrap().sealed, []);
    store.log.close().unwrap();
    let recovered = open(disk, options(8)).unwrap().recovered;
    assert_eq!((recovered.opening, recovered.tables[&PartitionId(0)].index.len()), (Opening::Kept, 1));
}

#[test]
fn a_step_goes_on_until_its_budget_is_spent_whatever_it_drops() {
    const RECORDS: u64 = 3000;
    let roomy = OpenOptions { segment_bytes: 1 << 18, ..options(7) };
    let mut store = open(Arc::new(MemoryDisk::default()), roomy).unwrap();
    for counter in 1..=RECORDS {
        store.log.append(&[put("often", counter)]).unwrap();
        store.log.do_jobs().unwrap();
    }
    let mut compaction = store.log.begin_compaction(ALL);
    let (mut looked_at, mut steps) = (0, 0);
    let mut ask = |questions: &[Question]| {
        looked_at += questions.len();
        vec![false; questions.len()]
    };
    while compaction.step(1 << 20, &mut ask).unwrap() == Progress::More {
        steps += usize::from(compaction.is_copying());
    }
    assert!(looked_at > 2000, "{looked_at}");
    assert!(steps <= 2, "{steps} steps of a mebibyte to drop a mebibyte");
}
