//! Key files against a sorted list, and against a disk that lies or fails.

use super::block::BLOCK_BYTES;
use super::layout::{FOOTER_BYTES, HEADER_BYTES};
use super::{
    EntryKind, KeyCursor, KeyEntry, KeyFile, KeyFileError, KeyRun, KeySource, Merge, key_file_name,
    segment_of_key_file, write_key_file,
};
use crate::base::limits::MAX_KEY_BYTES;
use crate::base::{Key, Random};
use crate::ring::PartitionId;
use crate::store::cipher::Seal;
use crate::store::memory::MemoryDisk;
use crate::store::{Disk, DiskError, DiskErrorKind, FileName, Sequence};
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const SEGMENT: u32 = 7;
const GENERATION: u64 = 1 << 60;

const KINDS: [EntryKind; 5] =
    [EntryKind::Live, EntryKind::LiveWithLeftover, EntryKind::Gone, EntryKind::GoneWithLeftover, EntryKind::Hint];

fn key(bytes: impl Into<Vec<u8>>) -> Key {
    Key::new(bytes.into()).unwrap()
}

/// An entry whose other fields follow from its sequence, among them the extremes.
fn entry(key: Key, sequence: u64) -> KeyEntry {
    let mut random = Random::from_seed(sequence);
    let edge = |random: &mut Random, usual: u32| *random.pick(&[usual, usual, usual, 0, 1, u32::MAX]).unwrap();
    let partition = random.below(1024) as u32;
    let (offset, length) = (random.below(1 << 23) as u32 * 8, 8 + random.below(500) as u32 * 8);
    KeyEntry {
        partition: PartitionId(edge(&mut random, partition)),
        key,
        sequence: Sequence(sequence),
        offset: edge(&mut random, offset),
        length: edge(&mut random, length),
        entry_hash: if random.chance(0.2) { 0 } else { random.u64() },
        kind: *random.pick(&KINDS).unwrap(),
    }
}

fn run_of(segment: u32, entries: &[KeyEntry]) -> KeyRun {
    let mut run = KeyRun::new(segment, GENERATION, Seal::default());
    entries.iter().for_each(|entry| run.push(entry));
    run
}

fn sorted(mut entries: Vec<KeyEntry>) -> Vec<KeyEntry> {
    entries.sort_by_key(|entry| (entry.key.clone(), Reverse((entry.sequence, entry.offset))));
    entries
}

/// A file of these entries, opened.
fn file_of(entries: &[KeyEntry]) -> KeyFile<MemoryDisk> {
    let disk = Arc::new(MemoryDisk::default());
    let summary = write_key_file(&*disk, &mut run_of(SEGMENT, entries)).unwrap();
    let file = KeyFile::open(disk, SEGMENT, GENERATION, Seal::default()).unwrap();
    assert_eq!((file.summary(), file.segment(), file.iter_from(&[]).segment()), (summary, SEGMENT, SEGMENT));
    file
}

fn drained<D: Disk>(mut cursor: KeyCursor<D>) -> Result<Vec<KeyEntry>, KeyFileError> {
    let mut entries = Vec::new();
    while let Some(entry) = cursor.next()? {
        entries.push(entry);
    }
    Ok(entries)
}

/// Everything a reader can ask of a file, as long as nothing fails.
fn read_all<D: Disk>(disk: Arc<D>) -> Result<Vec<KeyEntry>, KeyFileError> {
    drained(KeyFile::open(disk, SEGMENT, GENERATION, Seal::default())?.iter_from(&[]))
}

/// Keys that share prefixes, from 1 to 1,024 bytes long.
fn any_key() -> impl Strategy<Value = Key> {
    prop_oneof![
        6 => "user:[ab]{1,3}:[0-9]{1,4}".prop_map(key),
        2 => proptest::collection::vec(0u8..3, 1..8).prop_map(key),
        1 => any::<u8>().prop_map(|byte| key([byte])),
        1 => (any::<u8>(), MAX_KEY_BYTES - 2..=MAX_KEY_BYTES).prop_map(|(byte, length)| key(vec![byte; length])),
        1 => proptest::collection::vec(any::<u8>(), MAX_KEY_BYTES).prop_map(key),
    ]
}

fn any_entries(most: usize) -> impl Strategy<Value = Vec<KeyEntry>> {
    // Sequences of one store are all different; here any order of them.
    (proptest::collection::vec(any_key(), 0..most), any::<u32>(), any::<u64>()).prop_map(|(keys, first, seed)| {
        let mut sequences: Vec<u64> = (0..keys.len() as u64).map(|n| u64::from(first) * n.min(2) + n + 1).collect();
        Random::from_seed(seed).shuffle(&mut sequences);
        keys.into_iter().zip(sequences).map(|(key, sequence)| entry(key, sequence)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_file_gives_back_what_was_written(entries in any_entries(600), starts in proptest::collection::vec(any_key(), 8)) {
        let file = file_of(&entries);
        let model = sorted(entries.clone());
        prop_assert_eq!(&drained(file.iter_from(&[])).unwrap(), &model);
        prop_assert_eq!(&run_of(SEGMENT, &entries).iter().collect::<Vec<_>>(), &model);
        let picked = entries.iter().step_by(37).map(|entry| entry.key.clone());
        for start in picked.chain(starts) {
            let from = |at: &[u8]| model.iter().filter(|entry| entry.key.as_bytes() >= at).cloned().collect::<Vec<_>>();
            let behind = [start.as_bytes(), &[0]].concat();
            for at in [start.as_bytes(), &behind, &start.as_bytes()[1..]] {
                prop_assert_eq!(drained(file.iter_from(at)).unwrap(), from(at));
                prop_assert_eq!(run_of(SEGMENT, &entries).iter_from(at).collect::<Vec<_>>(), from(at));
            }
            let of_key: Vec<_> = model.iter().filter(|entry| entry.key == start).cloned().collect();
            prop_assert!(of_key.is_empty() || file.may_contain(&start));
            prop_assert_eq!(file.get(&start).unwrap(), of_key);
        }
    }

    #[test]
    fn a_summary_says_what_is_in_the_file(entries in any_entries(60)) {
        let disk = MemoryDisk::default();
        let summary = write_key_file(&disk, &mut run_of(SEGMENT, &entries)).unwrap();
        let sequences = || entries.iter().map(|entry| entry.sequence);
        prop_assert_eq!(summary.entries, entries.len() as u64);
        prop_assert_eq!(summary.bytes, contents(&disk).len() as u64);
        prop_assert_eq!(summary.lowest, sequences().min().unwrap_or_default());
        prop_assert_eq!(summary.highest, sequences().max().unwrap_or_default());
    }

    #[test]
    fn a_merge_equals_a_sort(runs in proptest::collection::vec(any_entries(60), 1..=20), in_files in any::<u32>()) {
        let disk = Arc::new(MemoryDisk::default());
        // A record may lie in several segments: what R17 or a compaction copies keeps its sequence.
        let mut model: Vec<(u32, KeyEntry)> =
            runs.iter().zip(1..).flat_map(|(run, segment)| run.iter().map(move |entry| (segment, entry.clone()))).collect();
        model.sort_by_key(|(segment, entry)| (entry.key.clone(), Reverse((entry.sequence, *segment, entry.offset))));
        let mut runs: Vec<KeyRun> = runs.iter().zip(1..).map(|(run, segment)| run_of(segment, run)).collect();
        for run in &mut runs {
            write_key_file(&*disk, run).unwrap();
        }
        let sources = || runs.iter().map(|run| match in_files >> run.segment() & 1 {
            1 => KeySource::File(KeyFile::open(disk.clone(), run.segment(), GENERATION, Seal::default()).unwrap().iter_from(&[])),
            _ => KeySource::Run(run.iter()),
        }).collect();
        let mut merge = Merge::<MemoryDisk>::new(sources()).unwrap();
        let merged: Vec<_> = std::iter::from_fn(|| merge.next().unwrap()).collect();
        prop_assert_eq!(&merged, &model);
        let mut merge = Merge::<MemoryDisk>::new(sources()).unwrap();
        let groups: Vec<_> = std::iter::from_fn(|| merge.next_key().unwrap()).collect();
        prop_assert!(groups.iter().all(|(key, entries)| entries.iter().all(|(_, entry)| entry.key == *key)));
        prop_assert!(groups.is_sorted_by(|a, b| a.0 < b.0));
        prop_assert_eq!(groups.into_iter().flat_map(|(_, entries)| entries).collect::<Vec<_>>(), model);
    }
}

/// Many blocks, several keys that go across blocks.
fn many_entries() -> Vec<KeyEntry> {
    (1..20_000u64).map(|n| entry(key(format!("hot:{}", n * n % 97 % 11).into_bytes()), n)).collect()
}

#[test]
fn a_key_that_goes_across_blocks_is_found_whole() {
    let entries = many_entries();
    let file = file_of(&entries);
    assert!(file.summary().bytes > 10 * BLOCK_BYTES as u64);
    let model = sorted(entries);
    for wanted in model.iter().map(|entry| &entry.key).collect::<BTreeSet<_>>() {
        let of_key: Vec<_> = model.iter().filter(|entry| entry.key == *wanted).cloned().collect();
        assert!(file.may_contain(wanted));
        assert_eq!(file.get(wanted).unwrap(), of_key);
    }
}

#[test]
fn a_file_without_entries_holds_no_key() {
    let file = file_of(&[]);
    let summary = file.summary();
    assert_eq!((summary.entries, summary.lowest, summary.highest), (0, Sequence(0), Sequence(0)));
    assert!(!file.may_contain(&key("a")));
    assert_eq!((file.get(&key("a")), drained(file.iter_from(&[]))), (Ok(vec![]), Ok(vec![])));
    assert!(Merge::<MemoryDisk>::new(vec![]).unwrap().next().unwrap().is_none());
}

#[test]
fn few_absent_keys_pass_the_filter_and_no_present_one_is_denied() {
    let named = |kind: &str, n: u64| key(format!("user:{kind}:{n:09}").into_bytes());
    let entries: Vec<_> = (1..=30_000).map(|n| entry(named("there", n), n)).collect();
    let file = file_of(&entries);
    assert!(entries.iter().all(|entry| file.may_contain(&entry.key)));
    let wrong = (0..10_000).filter(|n| file.may_contain(&named("absent", *n))).count();
    assert!(wrong <= 200, "{wrong} in 10,000");
}

#[test]
fn the_order_in_which_entries_came_leaves_no_trace() {
    let mut entries = many_entries();
    let bytes = bytes_of(&entries);
    Random::from_seed(1).shuffle(&mut entries);
    assert!(bytes_of(&entries) == bytes);
}

#[test]
fn the_bytes_are_those_the_document_names() {
    let of = |text: &str, sequence, offset, entry_hash, kind| {
        let (key, sequence, partition) = (key(text), Sequence(sequence), PartitionId(300));
        KeyEntry { partition, key, sequence, offset, length: 168, entry_hash, kind }
    };
    let bytes = bytes_of(&[of("ab", 9, 64, 0x0102_0304, EntryKind::Live), of("aa", 5, 68, 0, EntryKind::Hint)]);
    // Shared, suffix, kind, partition 300, sequence behind 5, offset and length turned right by three bits, hash.
    let aa = [0, 2, b'a', b'a', 5, 0xac, 2, 0, 0x88, 0x80, 0x80, 0x80, 0x08, 21];
    let ab = [1, 1, b'b', 0x81, 0xac, 2, 4, 8, 21, 4, 3, 2, 1, 0, 0, 0, 0];
    let block = [aa.as_slice(), &ab].concat();
    let (index_at, filter_at) = (32 + block.len(), 32 + block.len() + 7);
    assert_eq!(bytes.len(), filter_at + 64 + 48);
    let seated = |offset: usize, part: &[u8]| {
        let seat = [&SEGMENT.to_le_bytes()[..], &GENERATION.to_le_bytes(), &(offset as u64).to_le_bytes()].concat();
        crc32c::crc32c(&[&seat, part].concat()).to_le_bytes()
    };
    let header = [b"DUNLINKY".as_slice(), &[1, 0, 0, 0, 7, 0, 0, 0], &GENERATION.to_le_bytes(), &[0; 4]].concat();
    assert_eq!(bytes[..28], header);
    assert_eq!(bytes[28..32], crc32c::crc32c(&header).to_le_bytes());
    assert_eq!(bytes[32..index_at], block);
    assert_eq!(bytes[index_at..filter_at], [&[1, b'a', block.len() as u8], seated(32, &block).as_slice()].concat());
    let line = &bytes[filter_at..filter_at + 64];
    assert_eq!(line[60..], seated(filter_at, &line[..60]));
    let (footer, sum) = bytes[filter_at + 64..].split_at(44);
    let numbers = [index_at as u64, filter_at as u64, 2, 5, 9].map(u64::to_le_bytes).concat();
    assert_eq!(*footer, [&numbers, [0; 4].as_slice()].concat());
    assert_eq!(*sum, crc32c::crc32c(&[&bytes[..32], &bytes[index_at..bytes.len() - 4]].concat()).to_le_bytes());
}

#[test]
fn a_run_may_grow_after_it_was_sorted() {
    let entries = many_entries();
    let mut run = KeyRun::new(SEGMENT, GENERATION, Seal::default());
    for part in entries.chunks(5_000) {
        part.iter().for_each(|entry| run.push(entry));
        run.sort();
    }
    assert_eq!(run.iter().collect::<Vec<_>>(), sorted(entries.clone()));
    assert_eq!((run.len(), run.is_empty(), run.iter().segment()), (entries.len(), false, SEGMENT));
    let least = entries.len() * (40 + "hot:1".len());
    assert!((least..=2 * least + least / 2).contains(&run.bytes_held()), "{} bytes", run.bytes_held());
}

/// The bytes of the one key file.
fn contents(disk: &MemoryDisk) -> Vec<u8> {
    let file = disk.open(&key_file_name(SEGMENT)).unwrap();
    disk.read_at(&file, 0, usize::MAX >> 1).unwrap()
}

/// A disk whose one key file has these bytes.
fn disk_with(bytes: &[u8]) -> Arc<MemoryDisk> {
    let disk = MemoryDisk::default();
    let file = disk.create(&key_file_name(SEGMENT)).unwrap();
    disk.write_at(&file, 0, bytes).unwrap();
    Arc::new(disk)
}

fn small_entries() -> Vec<KeyEntry> {
    (1..12u64).map(|n| entry(key(format!("user:{}", n % 7).into_bytes()), n)).collect()
}

fn bytes_of(entries: &[KeyEntry]) -> Vec<u8> {
    let disk = MemoryDisk::default();
    write_key_file(&disk, &mut run_of(SEGMENT, entries)).unwrap();
    contents(&disk)
}

fn small_file() -> Vec<u8> {
    bytes_of(&small_entries())
}

fn is_damaged<T>(result: &Result<T, KeyFileError>) -> bool {
    matches!(result, Err(KeyFileError::Damaged { segment: SEGMENT, .. }))
}

#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = small_file();
    assert_eq!(read_all(disk_with(&bytes)), Ok(sorted(small_entries())));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(is_damaged(&read_all(disk_with(&flipped))), "bit {bit}");
    }
}

#[test]
fn a_bit_flipped_after_the_opening_is_noticed_or_changes_nothing() {
    let bytes = small_file();
    let model = sorted(small_entries());
    for bit in 0..bytes.len() * 8 {
        let disk = disk_with(&bytes);
        let file = KeyFile::open(disk.clone(), SEGMENT, GENERATION, Seal::default()).unwrap();
        let handle = disk.open(&key_file_name(SEGMENT)).unwrap();
        disk.write_at(&handle, bit as u64 / 8, &[bytes[bit / 8] ^ 1 << (bit % 8)]).unwrap();
        let read = drained(file.iter_from(&[]));
        assert!(is_damaged(&read) || read.as_ref() == Ok(&model), "bit {bit}");
        assert!(model.iter().all(|entry| file.may_contain(&entry.key)), "bit {bit}");
        let found = file.get(&model[0].key);
        assert_eq!(is_damaged(&found), is_damaged(&read), "bit {bit}");
    }
}

#[test]
fn a_truncated_or_lengthened_file_is_damaged() {
    let bytes = small_file();
    for length in 0..bytes.len() {
        assert!(is_damaged(&read_all(disk_with(&bytes[..length]))), "{length} bytes");
    }
    let longer = |more: usize, with: u8| [bytes.as_slice(), &vec![with; more]].concat();
    for more in [1, 8, FOOTER_BYTES, 4096] {
        assert!(is_damaged(&read_all(disk_with(&longer(more, 0)))), "{more} more");
    }
    let doubled = [bytes.as_slice(), &bytes[bytes.len() - FOOTER_BYTES..]].concat();
    assert!(is_damaged(&read_all(disk_with(&doubled))));
}

#[test]
fn a_stale_block_at_the_place_of_a_good_one_is_noticed() {
    let entries = many_entries();
    let flip = |entry: &KeyEntry| KeyEntry { entry_hash: entry.entry_hash.saturating_sub(1).max(1), ..entry.clone() };
    let with_hash: Vec<_> = entries.into_iter().filter(|entry| entry.entry_hash > 2).collect();
    let (mut bytes, stale) = (bytes_of(&with_hash), bytes_of(&with_hash.iter().map(flip).collect::<Vec<_>>()));
    let block = HEADER_BYTES..HEADER_BYTES + BLOCK_BYTES;
    assert_eq!(bytes.len(), stale.len());
    bytes[block.clone()].copy_from_slice(&stale[block]);
    assert!(is_damaged(&read_all(disk_with(&bytes))));
}

#[test]
fn the_file_of_another_segment_or_generation_is_damaged() {
    let disk = disk_with(&small_file());
    assert!(is_damaged(&KeyFile::open(disk.clone(), SEGMENT, GENERATION + 1, Seal::default())));
    disk.rename(&key_file_name(SEGMENT), &key_file_name(SEGMENT + 1)).unwrap();
    let opened = KeyFile::open(disk.clone(), SEGMENT + 1, GENERATION, Seal::default());
    assert!(matches!(opened, Err(KeyFileError::Damaged { segment, .. }) if segment == SEGMENT + 1));
    let missing = KeyFile::open(disk, SEGMENT, GENERATION, Seal::default());
    assert!(matches!(missing, Err(KeyFileError::Disk(DiskError { kind: DiskErrorKind::NotFound, .. }))));
}

#[test]
fn a_later_format_is_told_from_damage() {
    let mut bytes = small_file();
    bytes[8] = 3;
    let sum = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]).to_le_bytes();
    bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&sum);
    let unknown = KeyFileError::UnknownFormat { segment: SEGMENT, format: 3 };
    // A later format may have another end: nothing behind the header is looked at.
    for length in [bytes.len(), bytes.len() - 1, HEADER_BYTES] {
        assert_eq!(read_all(disk_with(&bytes[..length])), Err(unknown.clone()));
    }
}

/// A disk of which one call fails, or all from one on.
#[derive(Default)]
struct FailingDisk {
    disk: MemoryDisk,
    calls: AtomicU64,
    first: AtomicU64,
    how_many: AtomicU64,
    failure: Option<DiskErrorKind>,
}

impl FailingDisk {
    /// `how_many` calls fail from now on, the first one behind `after` that do not.
    fn arm(&self, after: u64, how_many: u64) {
        self.first.store(self.calls.load(Ordering::Relaxed) + after, Ordering::Relaxed);
        self.how_many.store(how_many, Ordering::Relaxed);
    }

    fn step(&self, operation: &'static str) -> Result<(), DiskError> {
        let (call, first) = (self.calls.fetch_add(1, Ordering::Relaxed), self.first.load(Ordering::Relaxed));
        let fails = call >= first && call - first < self.how_many.load(Ordering::Relaxed);
        let error = |kind| DiskError { kind, operation, file: "any".into(), detail: "as told".into() };
        self.failure.filter(|_| fails).map_or(Ok(()), |kind| Err(error(kind)))
    }
}

impl Disk for FailingDisk {
    type File = <MemoryDisk as Disk>::File;

    fn create(&self, name: &FileName) -> Result<Self::File, DiskError> {
        assert!(self.disk.open(name).is_err(), "a name is created that is there");
        self.step("create")?;
        self.disk.create(name)
    }
    fn open(&self, name: &FileName) -> Result<Self::File, DiskError> {
        self.step("open")?;
        self.disk.open(name)
    }
    fn allocate(&self, file: &Self::File, length: u64) -> Result<(), DiskError> {
        self.step("allocate")?;
        self.disk.allocate(file, length)
    }
    fn write_at(&self, file: &Self::File, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.step("write")?;
        self.disk.write_at(file, offset, bytes)
    }
    fn read_at(&self, file: &Self::File, offset: u64, length: usize) -> Result<Vec<u8>, DiskError> {
        self.step("read")?;
        self.disk.read_at(file, offset, length)
    }
    fn sync(&self, file: &Self::File) -> Result<(), DiskError> {
        self.step("sync")?;
        self.disk.sync(file)
    }
    fn len(&self, file: &Self::File) -> Result<u64, DiskError> {
        self.step("len")?;
        self.disk.len(file)
    }
    fn list(&self) -> Result<Vec<FileName>, DiskError> {
        self.disk.list()
    }
    fn remove(&self, name: &FileName) -> Result<(), DiskError> {
        self.step("remove")?;
        self.disk.remove(name)
    }
    fn rename(&self, from: &FileName, to: &FileName) -> Result<(), DiskError> {
        self.disk.rename(from, to)
    }
    fn sync_dir(&self) -> Result<(), DiskError> {
        self.disk.sync_dir()
    }
    fn free_space(&self) -> Result<(u64, u64), DiskError> {
        self.disk.free_space()
    }
    fn lock(&self) -> Result<(), DiskError> {
        self.disk.lock()
    }
    fn identity(&self) -> Result<u64, DiskError> {
        self.disk.identity()
    }
}

fn failing(kind: DiskErrorKind) -> Arc<FailingDisk> {
    Arc::new(FailingDisk { failure: Some(kind), ..FailingDisk::default() })
}

#[test]
fn a_file_that_cannot_be_written_is_taken_away_and_can_be_written_later() {
    let entries = many_entries();
    let mut run = run_of(SEGMENT, &entries);
    let mut refused = 0;
    for call in 0.. {
        let disk = failing(DiskErrorKind::Full);
        disk.arm(call, 1);
        let written = write_key_file(&*disk, &mut run);
        let Err(error) = written else { break };
        assert_eq!(error.kind, DiskErrorKind::Full);
        assert_eq!(disk.list().unwrap(), [], "after a failed {}", error.operation);
        disk.arm(0, 0);
        write_key_file(&*disk, &mut run).unwrap();
        assert!(read_all(disk).unwrap() == sorted(entries.clone()));
        refused += 1;
    }
    assert!(refused >= 4, "remove, create, write and sync have failed: {refused}");
}

#[test]
fn a_file_is_replaced_even_where_an_unfinished_one_was_left() {
    let disk = failing(DiskErrorKind::Failed);
    disk.arm(2, 9);
    assert!(write_key_file(&*disk, &mut run_of(SEGMENT, &many_entries())).is_err());
    let left: Vec<_> = disk.list().unwrap().iter().map(segment_of_key_file).collect();
    assert_eq!(left, [Some(SEGMENT)], "the disk let nothing be removed");
    disk.arm(0, 0);
    write_key_file(&*disk, &mut run_of(SEGMENT, &small_entries())).unwrap();
    assert_eq!(read_all(disk), Ok(sorted(small_entries())));
}

#[test]
fn a_failed_read_is_told_and_never_an_entry_skipped() {
    let entries = many_entries();
    let model = sorted(entries.clone());
    let disk = failing(DiskErrorKind::Failed);
    write_key_file(&*disk, &mut run_of(SEGMENT, &entries)).unwrap();
    disk.arm(0, u64::MAX);
    assert!(matches!(KeyFile::open(disk.clone(), SEGMENT, GENERATION, Seal::default()), Err(KeyFileError::Disk(_))));
    disk.arm(0, 0);
    let file = KeyFile::open(disk.clone(), SEGMENT, GENERATION, Seal::default()).unwrap();
    let mut cursor = file.iter_from(&[]);
    let mut read = Vec::new();
    disk.arm(3, 2);
    let mut failures = 0;
    loop {
        match cursor.next() {
            Ok(Some(entry)) => read.push(entry),
            Ok(None) => break,
            Err(error) => failures += i32::from(matches!(error, KeyFileError::Disk(_))),
        }
    }
    assert_eq!(failures, 2);
    assert!(read == model);
    disk.arm(0, u64::MAX);
    assert!(matches!(file.get(&model[0].key), Err(KeyFileError::Disk(_))));
    assert!(file.may_contain(&key("certainly absent")), "a filter that cannot be read denies nothing");
}

#[test]
fn a_merge_that_failed_gives_nothing_more() {
    let entries = many_entries();
    let disk = failing(DiskErrorKind::Failed);
    write_key_file(&*disk, &mut run_of(SEGMENT, &entries)).unwrap();
    let file = KeyFile::open(disk.clone(), SEGMENT, GENERATION, Seal::default()).unwrap();
    let own = run_of(SEGMENT + 1, &small_entries());
    let mut merge = Merge::new(vec![KeySource::File(file.iter_from(&[])), KeySource::Run(own.iter())]).unwrap();
    disk.arm(2, 1);
    let mut before = 0;
    while merge.next().is_ok() {
        before += 1;
    }
    assert!(before > 100);
    let error = merge.next().unwrap_err();
    assert_eq!((merge.next(), merge.next_key()), (Err(error.clone()), Err(error)));
    disk.arm(0, 1);
    let begun = Merge::new(vec![KeySource::<FailingDisk>::File(file.clone().iter_from(&[]))]);
    assert!(matches!(begun, Err(KeyFileError::Disk(_))));
}
