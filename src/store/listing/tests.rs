use super::{KeyLister, KeyPage, KeyQuery, KeySnapshot, ListError, Reach};
use crate::base::{HybridTime, Key, NodeId, Random};
use crate::causal::{Actor, Content, Dot, DotSet, Filled, Object, Version};
use crate::ring::PartitionId;
use crate::store::memory::MemoryDisk;
use crate::store::{
    Birth, Body, CodecOptions, CompactionOptions, Durability, HintBody, Holder, OpenOptions, Opened, Place, Progress,
    Question, Record, open,
};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

fn options(segment_bytes: u32) -> OpenOptions {
    OpenOptions {
        fresh_actor: Actor(7),
        segment_bytes,
        durability: Durability::Fsync,
        boot: 1,
        birth: Birth::Complete,
        codec: CodecOptions::default(),
    }
}

fn dots(counter: u64) -> DotSet {
    Dot { actor: Actor(7), counter }.into()
}

fn version(counter: u64, bytes: usize) -> Version {
    let content = Content {
        value: vec![counter as u8; bytes].into(),
        content_type: String::new(),
        metadata: vec![],
        written_at: HybridTime(0),
        expires_at: None,
    };
    Version { dot: Dot { actor: Actor(7), counter }, content }
}

/// The partition is the key's first byte.
fn object(key: &str, counter: u64, versions: Vec<Version>) -> Record {
    let partition = PartitionId(u32::from(key.as_bytes()[0]));
    let key = Key::new(key.to_owned()).unwrap();
    let object = Object { versions, leftover: DotSet::EMPTY };
    Record { partition, body: Body::Object { key, object, dots: dots(counter), minted: Some(counter) } }
}

fn put(key: &str, counter: u64) -> Record {
    object(key, counter, vec![version(counter, 40)])
}

fn delete(key: &str, counter: u64) -> Record {
    object(key, counter, vec![])
}

fn hint(key: &str, counter: u64) -> Record {
    let body = HintBody {
        targets: vec![NodeId(1)],
        key: Key::new(key.to_owned()).unwrap(),
        state: Filled { versions: vec![version(counter, 40)], context: dots(counter) },
        dots: dots(counter),
        minted: Some(counter),
    };
    Record { partition: PartitionId(0), body: Body::Hint(body) }
}

fn query(prefix: &str, from: &[u8], limit: usize) -> KeyQuery {
    KeyQuery { prefix: Bytes::copy_from_slice(prefix.as_bytes()), from: Bytes::copy_from_slice(from), limit }
}

fn names(page: &KeyPage) -> Vec<String> {
    page.keys.iter().map(|key| String::from_utf8(key.as_bytes().to_vec()).unwrap()).collect()
}

/// A store, its lister, and where the current record of each key lies.
struct Scene {
    disk: Arc<MemoryDisk>,
    store: Opened<MemoryDisk>,
    lister: KeyLister<MemoryDisk>,
    live: BTreeMap<String, Place>,
    counter: u64,
}

impl Scene {
    fn new(segment_bytes: u32) -> Scene {
        let disk = Arc::new(MemoryDisk::default());
        let store = open(disk.clone(), options(segment_bytes)).unwrap();
        Scene { lister: KeyLister::new(disk.clone()), disk, store, live: BTreeMap::new(), counter: 0 }
    }

    fn put(&mut self, key: &str) {
        self.counter += 1;
        let places = self.store.log.append(&[put(key, self.counter)]).unwrap();
        self.live.insert(key.to_owned(), places[0].0);
    }

    fn delete(&mut self, key: &str) {
        self.counter += 1;
        self.store.log.append(&[delete(key, self.counter)]).unwrap();
        self.live.remove(key);
    }

    fn hint(&mut self, key: &str) {
        self.counter += 1;
        self.store.log.append(&[hint(key, self.counter)]).unwrap();
    }

    /// Compacts whatever is sealed; the files of an earlier compaction go.
    fn compact(&mut self) {
        let options = CompactionOptions { seed: self.counter, lowest_live_share: 2.0 };
        let mut compaction = self.store.log.begin_compaction(options);
        let live = self.live.clone();
        let mut ask = |questions: &[Question]| {
            let current = |question: &Question| match &question.holder {
                Holder::Key(_) => live.values().any(|place| place.is(&question.place)),
                Holder::Hint(_) => false,
            };
            questions.iter().map(current).collect()
        };
        while compaction.step(4096, &mut ask).unwrap() == Progress::More {}
        self.store.log.install(&compaction).unwrap();
        while let Some(moved) = compaction.relocations().unwrap() {
            for moved in moved {
                self.live.values_mut().filter(|place| place.is(&moved.from)).for_each(|place| *place = moved.to);
            }
        }
        self.store.log.retire(&compaction).unwrap();
    }

    fn page(&self, snapshot: &KeySnapshot, query: &KeyQuery) -> KeyPage {
        self.lister.page(snapshot, query, &|_| true).unwrap()
    }

    /// Page after page.
    fn list(&self, prefix: &str, from: &str, limit: usize) -> Vec<String> {
        let (mut found, mut from) = (Vec::new(), from.as_bytes().to_vec());
        loop {
            let page = self.page(&self.store.log.key_snapshot(), &query(prefix, &from, limit));
            found.extend(names(&page));
            match page.reach {
                Reach::End => return found,
                Reach::Through(key) => from = [key.as_bytes(), &[0]].concat(),
            }
        }
    }

    fn expected(&self, prefix: &str, from: &str) -> Vec<String> {
        self.live.keys().filter(|key| key.starts_with(prefix) && key.as_str() >= from).cloned().collect()
    }
}

#[test]
fn pages_hold_the_live_keys_in_order_whatever_was_sealed_compacted_or_reopened() {
    for seed in 0..20 {
        let (mut random, mut scene) = (Random::from_seed(seed), Scene::new(4096));
        for step in 0..600 {
            let key = format!("{}/{:02}", ["a", "b", "c"][random.below(3) as usize], random.below(40));
            match random.below(10) {
                0..6 => scene.put(&key),
                6..9 => scene.delete(&key),
                _ => scene.hint(&key),
            }
            if step % 97 == 96 {
                scene.compact();
            }
            if step % 20 == 0 {
                let prefix = ["", "a", "b/", "b/1", "c/", "d"][random.below(6) as usize];
                let from = ["", "a/2", "b", "b/15", "z"][random.below(5) as usize];
                let limit = random.between(1, 50) as usize;
                assert_eq!(scene.list(prefix, from, limit), scene.expected(prefix, from), "seed {seed}, step {step}");
            }
        }
        scene.store.log.close().unwrap();
        scene.store = open(scene.disk.clone(), options(4096)).unwrap();
        assert_eq!(scene.list("", "", 7), scene.expected("", ""), "seed {seed}, opened again");
    }
}

#[test]
fn keys_of_a_dropped_partition_are_on_no_page_until_they_are_written_again() {
    let mut scene = Scene::new(4096);
    for key in ["a/1", "a/2", "b/1"] {
        scene.put(key);
    }
    let drop = Record { partition: PartitionId(u32::from(b'a')), body: Body::Drop };
    scene.store.log.append(&[drop]).unwrap();
    assert_eq!(scene.list("", "", 1), ["b/1"]);
    scene.put("a/2");
    assert_eq!(scene.list("", "", 1), ["a/2", "b/1"]);
    // Sealed, with a checkpoint behind it; and opened again.
    (0..300).for_each(|_| scene.put("c"));
    assert_eq!(scene.list("", "", 1), ["a/2", "b/1", "c"]);
    scene.store.log.close().unwrap();
    scene.store = open(scene.disk.clone(), options(4096)).unwrap();
    assert_eq!(scene.list("", "", 1), ["a/2", "b/1", "c"]);
    assert_eq!(scene.store.recovered.tables[&PartitionId(u32::from(b'a'))].index.len(), 1);
    assert!(scene.store.recovered.findings.is_empty());
}

#[test]
fn a_page_says_how_far_it_is_complete_and_keeps_to_the_partitions_asked_for() {
    let mut scene = Scene::new(1 << 16);
    ["a1", "a2", "b1", "b2", "c1"].iter().for_each(|key| scene.put(key));
    let snapshot = scene.store.log.key_snapshot();
    let page = scene.page(&snapshot, &query("", b"", 2));
    assert_eq!((names(&page), page.reach), (vec!["a1".into(), "a2".into()], Reach::Through(Key::new("a2").unwrap())));
    let page = scene.page(&snapshot, &query("b", b"", 3));
    assert_eq!((names(&page), page.reach), (vec!["b1".into(), "b2".into()], Reach::End));
    let page = scene.lister.page(&snapshot, &query("", b"", 9), &|partition| partition.0 == u32::from(b'b')).unwrap();
    assert_eq!((names(&page), page.reach), (vec!["b1".into(), "b2".into()], Reach::End));
}

#[test]
fn a_snapshot_shows_its_instant() {
    let mut scene = Scene::new(1 << 16);
    scene.put("a");
    let before = scene.store.log.key_snapshot();
    scene.put("b");
    scene.delete("a");
    assert_eq!(names(&scene.page(&before, &query("", b"", 9))), ["a"]);
    assert_eq!(scene.list("", "", 9), ["b"]);
}

#[test]
fn a_snapshot_whose_segments_were_compacted_away_is_stale_and_never_short() {
    let mut scene = Scene::new(4096);
    (0..200).for_each(|number| scene.put(&format!("key {:02}", number % 70)));
    let before = scene.store.log.key_snapshot();
    scene.compact();
    assert_eq!(names(&scene.page(&before, &query("", b"", 99))).len(), 70, "the files stay until the next one");
    scene.lister = KeyLister::new(scene.disk.clone());
    scene.compact();
    scene.compact();
    let page = scene.lister.page(&before, &query("", b"", 99), &|_| true);
    assert_eq!(page, Err(ListError::Stale));
    assert_eq!(scene.list("", "", 9), scene.expected("", ""));
}

#[test]
fn a_damaged_key_file_is_an_error_and_never_a_short_page() {
    use crate::store::Disk;
    use crate::store::key_file::key_file_name;
    let mut scene = Scene::new(4096);
    (0..200).for_each(|number| scene.put(&format!("key {number:03}")));
    let file = scene.disk.open(&key_file_name(1)).unwrap();
    scene.disk.write_at(&file, 100, &[0xff; 3]).unwrap();
    let page = scene.lister.page(&scene.store.log.key_snapshot(), &query("", b"", 9), &|_| true);
    assert!(matches!(page, Err(ListError::Unreadable(_))), "{page:?}");
}

#[test]
fn a_page_passes_over_many_deletes_in_bounded_pieces() {
    let mut scene = Scene::new(1 << 20);
    let records: Vec<Record> = (0..40_000).map(|counter| delete(&format!("k{counter:06}"), counter + 1)).collect();
    records.chunks(1000).for_each(|batch| drop(scene.store.log.append(batch).unwrap()));
    scene.counter = 50_000;
    scene.put("z");
    let page = scene.page(&scene.store.log.key_snapshot(), &query("", b"", 9));
    assert!(page.keys.is_empty());
    assert_eq!(page.reach, Reach::Through(Key::new("k016383").unwrap()));
    assert_eq!(scene.list("", "", 9), ["z"]);
}

/// What ten pages of a hundred keys read from the disk, of a store of so many keys in so many segments.
fn bytes_read(keys: u64, overwrites: u64, segment_bytes: u32) -> (usize, u64) {
    let mut scene = Scene::new(segment_bytes);
    let name = |number: u64| format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut records: Vec<Record> = (1..=keys).map(|number| put(&name(number), number)).collect();
    records.extend((1..=overwrites).map(|number| put("0000", keys + number)));
    records.chunks(1000).for_each(|batch| drop(scene.store.log.append(batch).unwrap()));
    let snapshot = scene.store.log.key_snapshot();
    scene.page(&snapshot, &query("", b"", 1));
    let before = scene.disk.bytes_read();
    let mut from = Vec::new();
    for _ in 0..10 {
        let page = scene.page(&snapshot, &query("", &from, 100));
        assert_eq!(page.keys.len(), 100);
        from = [page.keys[99].as_bytes(), &[0]].concat();
    }
    (snapshot.sealed.len(), scene.disk.bytes_read() - before)
}

#[test]
fn what_a_page_reads_grows_with_the_segments_and_not_with_the_keys_or_their_overwrites() {
    const BLOCK: u64 = 17 << 10;
    for (keys, overwrites, segment_bytes) in
        [(2_000, 0, 1 << 20), (50_000, 0, 64 << 20), (50_000, 0, 1 << 20), (20_000, 30_000, 1 << 20)]
    {
        let (segments, read) = bytes_read(keys, overwrites, segment_bytes);
        // Each page a block of each file, or three where it goes across their borders or over many of one key.
        let limit = 10 * 3 * BLOCK * segments as u64;
        assert!(read <= limit, "{keys} keys, {segments} segments: {read} bytes");
    }
}

#[test]
#[ignore = "measures; run in release"]
fn microseconds_of_a_page() {
    for keys in [10_000, 100_000, 1_000_000] {
        let mut scene = Scene::new(64 << 20);
        let name = |number: u64| format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for first in (1..=keys).step_by(1000) {
            let batch: Vec<Record> = (first..first + 1000).map(|number| put(&name(number), number)).collect();
            scene.store.log.append(&batch).unwrap();
        }
        let begin = std::time::Instant::now();
        let snapshots: Vec<KeySnapshot> = (0..100).map(|_| scene.store.log.key_snapshot()).collect();
        let snapshot_us = begin.elapsed().as_micros() / 100;
        scene.page(&snapshots[0], &query("", b"", 1));
        let begin = std::time::Instant::now();
        for number in 0..100u64 {
            let from = name(number);
            assert!(!scene.page(&snapshots[0], &query("", from.as_bytes(), 100)).keys.is_empty());
        }
        let page_us = begin.elapsed().as_micros() / 100;
        let (sealed, pieces) = (snapshots[0].sealed.len(), snapshots[0].pieces.len());
        println!("{keys} keys, {sealed} key files, {pieces} pieces: snapshot {snapshot_us} us, page {page_us} us");
    }
}
