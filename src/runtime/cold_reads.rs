//! Records that are not in memory, read on threads of their own, so that nothing else waits for the device.

use super::disk::RealDisk;
use super::hot_cache::HotCache;
use crate::node::{Reuse, StoreAnswer};
use crate::store::{Place, ReadError, Reader, Record};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Threads that wait for the device, of all shards together, at least one for each: enough that a solid-state disk
/// reads several at a time, few enough to cost nothing while there is nothing to read.
const THREADS: usize = 4;

/// Reads under way of one shard. A thousand at 50 us each on four threads are over in about 13 ms. Beyond, the driver
/// reads by itself: it then waits as long as the device needs, and whoever asks it waits with it.
const MAX_UNDER_WAY: usize = 1024;

/// Longer records go to a thread even if they are in memory: copying and checking one takes as long as
/// reading a short one from the device.
const INLINE_BYTES: u32 = 256 << 10;

/// An answered read: the shard, the read's number, the record.
pub(super) type ReadAnswer = (usize, u64, StoreAnswer);

/// A read for one of the threads.
#[derive(Debug)]
struct Request {
    shard: usize,
    id: u64,
    place: Place,
    reuse: Reuse,
}

/// Answers reads, each exactly once: at once, or later.
pub(super) struct ColdReads {
    reader: Reader<RealDisk>,
    hot: HotCache,
    requests: Sender<Request>,
    answers: UnboundedReceiver<(Request, StoreAnswer)>,
    under_way: usize,
}

impl ColdReads {
    /// Starts the threads of one of so many shards. They end with this value.
    pub(super) fn start(reader: Reader<RealDisk>, hot: HotCache, shards: usize) -> std::io::Result<ColdReads> {
        let (requests, waiting) = channel();
        let (answered, answers) = unbounded_channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..(THREADS / shards.max(1)).max(1) {
            let (reader, waiting, answered) = (reader.clone(), Arc::clone(&waiting), answered.clone());
            let thread = std::thread::Builder::new().name(format!("cold-reads-{number}"));
            thread.spawn(move || run(&reader, &waiting, &answered))?;
        }
        Ok(ColdReads { reader, hot, requests, answers, under_way: 0 })
    }

    /// Begins a read. The answer, if the record is in memory; else it comes by [`Self::answered`].
    pub(super) fn begin(&mut self, (shard, id): (usize, u64), place: Place, reuse: Reuse) -> Option<StoreAnswer> {
        if let Some(record) = self.hot.get(place) {
            return Some(StoreAnswer::Read(record));
        }
        if place.length <= INLINE_BYTES
            && let Some(read) = self.reader.read_cached(place).transpose()
        {
            return Some(self.taken(place, reuse, answer(read)));
        }
        if self.under_way < MAX_UNDER_WAY && self.requests.send(Request { shard, id, place, reuse }).is_ok() {
            self.under_way += 1;
            return None;
        }
        let read = answer(self.reader.read(place));
        Some(self.taken(place, reuse, read))
    }

    /// Shows the cache what was read, if it may be read again.
    fn taken(&mut self, place: Place, reuse: Reuse, answer: StoreAnswer) -> StoreAnswer {
        if let (StoreAnswer::Read(record), Reuse::Likely) = (&answer, reuse) {
            self.hot.admit(place, record);
        }
        answer
    }

    fn handed_over(&mut self, (request, answer): (Request, StoreAnswer)) -> ReadAnswer {
        self.under_way -= 1;
        (request.shard, request.id, self.taken(request.place, request.reuse, answer))
    }

    /// The next of the answers that come later. Waits for ever if none is due. Cancel-safe.
    pub(super) async fn answered(&mut self) -> ReadAnswer {
        match self.answers.recv().await {
            Some(answer) => self.handed_over(answer),
            None => std::future::pending().await,
        }
    }

    /// The next of the answers that are here.
    pub(super) fn answered_by_now(&mut self) -> Option<ReadAnswer> {
        let answer = self.answers.try_recv().ok()?;
        Some(self.handed_over(answer))
    }
}

fn run(
    reader: &Reader<RealDisk>,
    waiting: &Mutex<Receiver<Request>>,
    answered: &UnboundedSender<(Request, StoreAnswer)>,
) {
    loop {
        // One thread waits for a request, the others for their turn to.
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(request) = next else { return };
        let read = answer(reader.read(request.place));
        if answered.send((request, read)).is_err() {
            return;
        }
    }
}

fn answer(read: Result<Record, ReadError>) -> StoreAnswer {
    match read {
        Ok(record) => StoreAnswer::Read(Arc::new(record)),
        Err(error) => {
            tracing::error!(%error, "a record could not be read");
            StoreAnswer::ReadFailed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{HybridTime, Key, WallTime};
    use crate::causal::{Actor, Content, Dot, DotSet, Object, Version};
    use crate::ring::PartitionId;
    use crate::store::{Birth, Body, CodecOptions, Durability, Log, OpenOptions, Sequence, open};
    use std::collections::BTreeMap;

    struct Scene {
        directory: tempfile::TempDir,
        log: Log<RealDisk>,
        reads: ColdReads,
    }

    fn scene() -> Scene {
        scene_with(0, 1 << 20)
    }

    /// With so many bytes for hot records, and segments of so many.
    fn scene_with(cache_bytes: u64, segment_bytes: u32) -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let options = OpenOptions {
            fresh_actor: Actor(7),
            segment_bytes,
            durability: Durability::Fsync,
            boot: 1,
            birth: Birth::Filling,
            codec: CodecOptions::default(),
        };
        let store = open(Arc::new(RealDisk::open(directory.path()).unwrap()), options).unwrap();
        Scene {
            directory,
            log: store.log,
            reads: ColdReads::start(store.reader, HotCache::new(cache_bytes, Arc::default()), 1).unwrap(),
        }
    }

    fn record(counter: u64, length: usize) -> Record {
        let dot = Dot { actor: Actor(7), counter };
        let content = Content {
            value: vec![counter as u8; length].into(),
            content_type: "a/b".into(),
            metadata: Vec::new(),
            written_at: HybridTime::from_wall(WallTime(1)),
            expires_at: None,
        };
        let object = Object { versions: vec![Version { dot, content }], leftover: DotSet::EMPTY };
        let body = Body::Object { key: Key::new("k").unwrap(), object, dots: DotSet::from(dot), minted: Some(counter) };
        Record { partition: PartitionId(0), body }
    }

    /// What was read; none after an error.
    fn found(answer: StoreAnswer) -> Option<Record> {
        match answer {
            StoreAnswer::Read(record) => Some(Arc::unwrap_or_clone(record)),
            StoreAnswer::ReadFailed => None,
            other => panic!("no answer to a read: {other:?}"),
        }
    }

    impl Scene {
        fn append(&mut self, counters: std::ops::Range<u64>, length: usize) -> Vec<(Place, Record)> {
            let records: Vec<Record> = counters.map(|counter| record(counter, length)).collect();
            let places: Vec<(Place, Sequence)> = self.log.append(&records).unwrap();
            places.into_iter().map(|(place, _)| place).zip(records).collect()
        }

        /// Reads all of them at once: each must be answered once, with what was written. How many of the
        /// answers came later.
        fn read_all(&mut self, written: &[(Place, Record)]) -> usize {
            let mut answers: BTreeMap<u64, Option<Record>> = BTreeMap::new();
            for (id, (place, _)) in (0u64..).zip(written) {
                answers.extend(self.reads.begin((3, id), *place, Reuse::Likely).map(|answer| (id, found(answer))));
            }
            let later = written.len() - answers.len();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for _ in 0..later {
                let (shard, id, answer) = runtime.block_on(self.reads.answered());
                assert_eq!((shard, answers.insert(id, found(answer))), (3, None));
            }
            assert!(self.reads.under_way == 0 && self.reads.answered_by_now().is_none());
            for (id, (_, record)) in (0u64..).zip(written) {
                assert_eq!(answers[&id].as_ref(), Some(record));
            }
            later
        }
    }

    #[test]
    fn what_was_just_written_is_answered_at_once() {
        let mut scene = scene();
        let written = scene.append(1..50, 100);
        assert_eq!(scene.read_all(&written), 0);
    }

    #[test]
    fn a_long_record_is_read_elsewhere() {
        let mut scene = scene();
        let written = scene.append(1..4, INLINE_BYTES as usize);
        assert_eq!(scene.read_all(&written), 3);
    }

    #[test]
    fn reads_are_answered_once_wherever_the_bytes_are() {
        let mut scene = scene();
        let written = scene.append(1..2_000, 1_000);
        // Out of the page cache, if this file system lets go of it; then as they are by then.
        for entry in std::fs::read_dir(scene.directory.path()).unwrap() {
            let file = std::fs::File::open(entry.unwrap().path()).unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
        let later = scene.read_all(&written);
        assert!(later <= MAX_UNDER_WAY);
        scene.read_all(&written);
    }

    #[test]
    fn what_is_about_to_be_replaced_pushes_nothing_out() {
        let mut scene = scene_with(64 << 20, 1 << 20);
        let (place, _) = scene.append(1..2, 100)[0];
        assert!(scene.reads.begin((0, 1), place, Reuse::Unlikely).is_some());
        assert_eq!(scene.reads.hot.get(place), None);
        assert!(scene.reads.begin((0, 2), place, Reuse::Likely).is_some());
        assert!(scene.reads.hot.get(place).is_some());
    }

    #[test]
    fn what_was_read_once_is_answered_from_memory_wherever_it_was_read() {
        let mut scene = scene_with(64 << 20, 1 << 20);
        let short = scene.append(1..50, 100);
        let long = scene.append(50..53, 150 << 10);
        let written: Vec<_> = short.into_iter().chain(long).collect();
        scene.read_all(&written);
        for entry in std::fs::read_dir(scene.directory.path()).unwrap() {
            let file = std::fs::File::options().write(true).open(entry.unwrap().path()).unwrap();
            file.set_len(0).unwrap();
        }
        assert_eq!(scene.read_all(&written), 0);
    }

    /// CPU and hits of reads whose frequency falls with the rank (zipf, exponent 1), without and with a cache.
    #[test]
    #[ignore = "measures; run in release"]
    fn what_a_hit_saves() {
        const RECORDS: u64 = 400_000;
        const READS: u32 = 2_000_000;
        for (value_bytes, cache_bytes) in [(100, 0), (100, 8 << 20), (100, 64 << 20), (1000, 0), (1000, 64 << 20)] {
            let mut scene = scene_with(cache_bytes, 64 << 20);
            let mut places = Vec::new();
            for first in (1..=RECORDS).step_by(1000) {
                places.extend(scene.append(first..first + 1000, value_bytes).into_iter().map(|(place, _)| place));
            }
            let mut random = crate::base::Random::from_seed(1);
            let mut pick =
                || places[(RECORDS as f64).powf(random.below(1 << 30) as f64 / f64::from(1 << 30)) as usize - 1];
            let picked: Vec<Place> = (0..READS).map(|_| pick()).collect();
            // Once for the hits, which also warms; then once for the time. What is not in the page cache waits.
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let read = |reads: &mut ColdReads, place| {
                let answer =
                    reads.begin((0, 1), place, Reuse::Likely).unwrap_or_else(|| runtime.block_on(reads.answered()).2);
                assert!(matches!(answer, StoreAnswer::Read(_)));
            };
            let mut hits = 0u32;
            let empty = resident_kib();
            for place in &picked {
                hits += u32::from(scene.reads.hot.get(*place).is_some());
                read(&mut scene.reads, *place);
            }
            let filled = resident_kib().saturating_sub(empty) >> 10;
            let now = || rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
            let before = now();
            picked.iter().for_each(|place| read(&mut scene.reads, *place));
            let after = now();
            let ns = (after.tv_sec - before.tv_sec) * 1_000_000_000 + (after.tv_nsec - before.tv_nsec);
            let (each, share) = (ns / i64::from(READS), 100.0 * f64::from(hits) / f64::from(READS));
            println!(
                "{value_bytes} B values, cache of {} MiB: {share:.0} % hits, {each} ns a read, {filled} MiB resident",
                cache_bytes >> 20
            );
        }
    }

    /// Resident anonymous memory of this process.
    fn resident_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn beyond_the_limit_the_driver_reads_by_itself() {
        let mut scene = scene();
        let written = scene.append(1..3, INLINE_BYTES as usize);
        scene.reads.under_way = MAX_UNDER_WAY;
        let read = scene.reads.begin((0, 1), written[0].0, Reuse::Likely);
        assert_eq!(read.and_then(found).as_ref(), Some(&written[0].1));
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_never_nothing() {
        let mut scene = scene();
        let (place, _) = scene.append(1..2, 100)[0];
        let elsewhere = Place { offset: place.offset + 8, ..place };
        assert!(matches!(scene.reads.begin((0, 1), elsewhere, Reuse::Likely), Some(StoreAnswer::ReadFailed)));
        let nowhere = Place { segment: 99, ..place };
        assert!(scene.reads.begin((0, 2), nowhere, Reuse::Likely).is_none());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(matches!(runtime.block_on(scene.reads.answered()), (0, 2, StoreAnswer::ReadFailed)));
    }
}
