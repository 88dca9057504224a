//! The storage thread: many appends, one fdatasync.
//!
//! It flushes what is queued, and repeats: a lone write pays one fdatasync, many share one, and no timer
//! waits for company.

use super::disk::RealDisk;
use super::log_jobs::LogJobs;
use crate::causal::Actor;
use crate::node::StoreAnswer;
use crate::store::{AppendError, Body, Log, Record};
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// Most records in one write, but for those of the last request in it: bounds the time until the first of them is answered.
const MAX_BATCH_RECORDS: usize = 4096;

/// Most bytes in one write, but for the last request's: well below a segment, so that a backlog of large records is written in
/// pieces instead of being refused as too long.
const MAX_BATCH_BYTES: usize = 16 << 20;

/// Something to do with the log.
pub(super) type LogWork = Box<dyn FnOnce(&mut Log<RealDisk>) + Send>;

/// What the driver asks of the storage thread.
pub(super) enum FlushRequest {
    /// Make these durable.
    Appends(Vec<Append>),
    /// The shard has noted its failed appends; those after this are new.
    Resume { shard: usize },
    /// Go on under this actor.
    Renew(Actor),
    /// Do this with the log, between two batches.
    With(LogWork),
    /// A clean end.
    Close,
}

/// A record to be made durable.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) shard: usize,
    pub(super) id: u64,
    pub(super) record: Record,
}

/// What it says back.
#[derive(Debug)]
pub(super) enum Flushed {
    /// Answers, in the order of the requests.
    Answers(Vec<(usize, u64, StoreAnswer)>),
    /// Behind the answers to all appends before the request: the actor now, or none if the disk is full.
    Renewed(Option<Actor>),
    /// A write or fdatasync failed: nothing is known any more, and the process must end (PROTOCOL R17).
    Poisoned(String),
    /// The log is closed.
    Closed(Result<(), String>),
}

/// How soon after it was done a job is noticed while there is nothing to flush. Its thread does not wake this one:
/// a sender of its own would keep both alive behind a driver that is gone.
const JOB_POLL: Duration = Duration::from_millis(20);

/// Starts the thread that owns the log, with the way to each shard's driver. It ends after `Close`, or when the first
/// driver is gone.
pub(super) fn start(
    log: Log<RealDisk>,
    answers: Vec<UnboundedSender<Flushed>>,
) -> std::io::Result<Sender<FlushRequest>> {
    let (sender, requests) = channel();
    let answers = Answers(answers);
    let flusher = Flusher { log, jobs: LogJobs::start()?, requests, answers, failing: BTreeSet::new() };
    std::thread::Builder::new().name("flusher".into()).spawn(move || flusher.run())?;
    Ok(sender)
}

/// The thread.
struct Flusher {
    log: Log<RealDisk>,
    jobs: LogJobs,
    requests: Receiver<FlushRequest>,
    answers: Answers,
    /// Shards whose appends fail until they resume: what they built on is lost (PROTOCOL R3).
    failing: BTreeSet<usize>,
}

/// What is done in one go: the appends that are queued, and what ended their queue.
#[derive(Default)]
struct Batch {
    /// Whose the appends are; the records beside.
    owners: Vec<(usize, u64)>,
    records: Vec<Record>,
    bytes: usize,
    refused: Vec<(usize, u64, StoreAnswer)>,
    last: Option<Last>,
}

/// What comes after the appends before it.
enum Last {
    With(LogWork),
    Renew(Actor),
    Close,
}

/// Why the thread ends.
enum Over {
    /// It was asked to: the log is to be closed.
    Closing,
    /// The driver is gone, or has been told that nothing more is possible.
    Ended,
}

impl Flusher {
    fn run(mut self) {
        // Recovery may have left something to do.
        let mut going = self.tend();
        while going.is_ok() {
            going = self.next().and_then(|first| {
                // Whoever has more to hand over and waits for this core does so first: one sync for all of it.
                std::thread::yield_now();
                let batch = self.gather(first);
                self.carry_out(batch)
            });
        }
        if let Err(Over::Closing) = going {
            // A job that is lost costs the next opening a scan.
            let sealed = self.jobs.wait(&mut self.log);
            let closed = sealed.map_err(|error| error.to_string());
            let closed = closed.and_then(|()| self.log.close().map_err(|error| error.to_string()));
            let _ = self.answers.tell_first(Flushed::Closed(closed));
        }
    }

    /// The next request. Jobs are looked after while there is none.
    fn next(&mut self) -> Result<FlushRequest, Over> {
        while self.jobs.under_way() {
            match self.requests.recv_timeout(JOB_POLL) {
                Ok(request) => return Ok(request),
                Err(RecvTimeoutError::Timeout) => self.tend()?,
                Err(RecvTimeoutError::Disconnected) => return Err(Over::Ended),
            }
        }
        self.requests.recv().map_err(|_| Over::Ended)
    }

    /// The appends that are queued, up to the limits.
    fn gather(&mut self, first: FlushRequest) -> Batch {
        let mut batch = Batch::default();
        let mut next = Ok(first);
        while let Ok(request) = next {
            match request {
                FlushRequest::Appends(appends) => appends.into_iter().for_each(|append| self.take(append, &mut batch)),
                FlushRequest::Resume { shard } => {
                    self.failing.remove(&shard);
                }
                FlushRequest::Renew(actor) => batch.last = Some(Last::Renew(actor)),
                FlushRequest::With(work) => batch.last = Some(Last::With(work)),
                FlushRequest::Close => batch.last = Some(Last::Close),
            }
            if batch.last.is_some() || batch.records.len() >= MAX_BATCH_RECORDS || batch.bytes >= MAX_BATCH_BYTES {
                break;
            }
            next = self.requests.try_recv();
        }
        batch
    }

    fn take(&self, Append { shard, id, record }: Append, batch: &mut Batch) {
        if self.failing.contains(&shard) {
            return batch.refused.push((shard, id, StoreAnswer::AppendFailed));
        }
        batch.owners.push((shard, id));
        batch.bytes += value_bytes(&record);
        batch.records.push(record);
    }

    fn carry_out(&mut self, mut batch: Batch) -> Result<(), Over> {
        let (refused, last) = (std::mem::take(&mut batch.refused), batch.last.take());
        let mut done = self.flush(batch).or_else(|error| self.poisoned(&error))?;
        done.extend(refused);
        self.answers.answer(done)?;
        // After the answers to all appends before it: whoever asks the node afterwards finds them taken in.
        match last {
            Some(Last::With(work)) => {
                work(&mut self.log);
                if let Some(error) = self.log.failure() {
                    return self.poisoned(&AppendError::Poisoned(error.clone()));
                }
            }
            Some(Last::Renew(actor)) => self.renew(actor)?,
            Some(Last::Close) => return Err(Over::Closing),
            None => {}
        }
        self.tend()
    }

    fn flush(&mut self, batch: Batch) -> Result<Vec<(usize, u64, StoreAnswer)>, AppendError> {
        if batch.records.is_empty() {
            return Ok(Vec::new());
        }
        while self.jobs.under_way() && self.log.is_behind() {
            self.jobs.wait(&mut self.log)?;
            self.jobs.tend(&mut self.log)?;
        }
        match self.log.append(&batch.records) {
            Ok(places) => {
                let owned = batch.owners.into_iter().zip(places);
                let appended = |((s, id), (place, sequence))| (s, id, StoreAnswer::Appended { place, sequence });
                Ok(owned.map(appended).collect())
            }
            Err(AppendError::Full) => {
                self.failing.extend(batch.owners.iter().map(|(shard, _)| *shard));
                Ok(batch.owners.into_iter().map(|(shard, id)| (shard, id, StoreAnswer::AppendFailed)).collect())
            }
            Err(error) => Err(error),
        }
    }

    fn renew(&mut self, actor: Actor) -> Result<(), Over> {
        match self.log.renew(actor) {
            Ok(()) => self.answers.tell_all(|| Flushed::Renewed(Some(self.log.actor()))),
            Err(AppendError::Full) => self.answers.tell_first(Flushed::Renewed(None)),
            Err(error) => self.poisoned(&error),
        }
    }

    fn tend(&mut self) -> Result<(), Over> {
        self.jobs.tend(&mut self.log).or_else(|error| self.poisoned(&error))
    }

    fn poisoned<T>(&self, error: &AppendError) -> Result<T, Over> {
        let why = match error {
            AppendError::Poisoned(error) => error.to_string(),
            AppendError::Full => error.to_string(),
        };
        // The driver may be gone already.
        let _ = self.answers.tell_all(|| Flushed::Poisoned(why.clone()));
        Err(Over::Ended)
    }
}

/// The way to the drivers, one for each shard in their order. The first is the last to end.
struct Answers(Vec<UnboundedSender<Flushed>>);

impl Answers {
    /// To each shard its own.
    fn answer(&self, done: Vec<(usize, u64, StoreAnswer)>) -> Result<(), Over> {
        if let [only] = self.0.as_slice() {
            return only.send(Flushed::Answers(done)).map_err(|_| Over::Ended);
        }
        let mut sorted: Vec<Vec<_>> = self.0.iter().map(|_| Vec::new()).collect();
        for answer in done {
            if let Some(own) = sorted.get_mut(answer.0) {
                own.push(answer);
            }
        }
        for (driver, own) in self.0.iter().zip(sorted).filter(|(_, own)| !own.is_empty()) {
            // One that has ended wants no answers.
            let _ = driver.send(Flushed::Answers(own));
        }
        if self.0.first().is_none_or(UnboundedSender::is_closed) { Err(Over::Ended) } else { Ok(()) }
    }

    fn tell_all(&self, what: impl Fn() -> Flushed) -> Result<(), Over> {
        for driver in self.0.iter().skip(1) {
            // One that has ended wants to know nothing.
            let _ = driver.send(what());
        }
        self.tell_first(what())
    }

    fn tell_first(&self, what: Flushed) -> Result<(), Over> {
        self.0.first().ok_or(Over::Ended)?.send(what).map_err(|_| Over::Ended)
    }
}

/// What makes a record long: the values of its versions.
pub(super) fn value_bytes(record: &Record) -> usize {
    let versions = match &record.body {
        Body::Object { object, .. } => &object.versions,
        Body::Hint(hint) => &hint.state.versions,
        _ => return 0,
    };
    versions.iter().map(|version| version.content.value.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{HybridTime, Key};
    use crate::causal::{Content, Dot, DotSet, Object, Version};
    use crate::ring::PartitionId;
    use crate::store::{Birth, CodecOptions, DEFAULT_SEGMENT_BYTES, Durability, OpenOptions, Opened, Opening, open};
    use std::sync::Arc;
    use std::time::Instant;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    /// Partitions of the default cluster: what a checkpoint has to say.
    const PARTITIONS: u64 = 1024;

    fn record(number: u64, length: usize) -> Record {
        let dot = Dot { actor: Actor(7), counter: 1 + number / PARTITIONS };
        let content = Content {
            value: vec![number as u8; length].into(),
            content_type: String::new(),
            metadata: Vec::new(),
            written_at: HybridTime(1),
            expires_at: None,
        };
        let key = Key::new(format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))).unwrap();
        let object = Object { versions: vec![Version { dot, content }], leftover: DotSet::EMPTY };
        let body = Body::Object { key, object, dots: DotSet::from(dot), minted: Some(dot.counter) };
        Record { partition: PartitionId((number % PARTITIONS) as u32), body }
    }

    struct Scene {
        directory: tempfile::TempDir,
        requests: Sender<FlushRequest>,
        flushed: UnboundedReceiver<Flushed>,
    }

    fn opened(directory: &tempfile::TempDir, segment_bytes: u32) -> Opened<RealDisk> {
        let options = OpenOptions {
            fresh_actor: Actor(7),
            segment_bytes,
            durability: Durability::Fsync,
            boot: 1,
            birth: Birth::Complete,
            codec: CodecOptions::default(),
        };
        open(Arc::new(RealDisk::open(directory.path()).unwrap()), options).unwrap()
    }

    fn scene(segment_bytes: u32) -> Scene {
        let directory = tempfile::tempdir().unwrap();
        let log = opened(&directory, segment_bytes).log;
        let (answers, flushed) = unbounded_channel();
        Scene { directory, requests: start(log, vec![answers]).unwrap(), flushed }
    }

    impl Scene {
        /// Appends records, all at once, and waits until each is answered.
        fn append(&mut self, numbers: std::ops::Range<u64>, length: usize) {
            let mut open = 0;
            for id in numbers {
                let append = Append { shard: 0, id, record: record(id, length) };
                self.requests.send(FlushRequest::Appends(vec![append])).unwrap();
                open += 1;
            }
            while open > 0 {
                match self.flushed.blocking_recv() {
                    Some(Flushed::Answers(answers)) => open -= answers.len(),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn segments_are_sealed_beside_the_batches_and_all_is_there_after_a_clean_end() {
        const RECORDS: u64 = 3000;
        let mut scene = scene(1 << 16);
        for first in (0..RECORDS).step_by(50) {
            scene.append(first..first + 50, 300);
        }
        scene.requests.send(FlushRequest::Close).unwrap();
        let closed = std::iter::from_fn(|| scene.flushed.blocking_recv()).last();
        assert!(matches!(closed, Some(Flushed::Closed(Ok(())))), "{closed:?}");
        let left = |end: &str| {
            let names = std::fs::read_dir(scene.directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
            names.filter(|name| name.to_str().unwrap().ends_with(end)).count()
        };
        assert!(
            left(".log") > 10 && left(".log") == left(".idx"),
            "{} segments, {} sealed",
            left(".log"),
            left(".idx")
        );
        assert_eq!(left(".new"), 0);
        let Opened { recovered, .. } = opened(&scene.directory, 1 << 16);
        assert_eq!((recovered.opening, &recovered.findings), (Opening::Kept, &vec![]));
        assert_eq!(recovered.tables.values().map(|table| table.index.len()).sum::<usize>(), RECORDS as usize);
    }

    #[test]
    fn each_shard_hears_of_its_own_and_only_the_first_is_waited_for() {
        let ((first, mut of_first), (other, mut of_other)) = (unbounded_channel(), unbounded_channel());
        let answers = Answers(vec![first, other]);
        let failed = |shard, id| (shard, id, StoreAnswer::AppendFailed);
        let ids = |flushed: Option<Flushed>| match flushed {
            Some(Flushed::Answers(answers)) => answers.iter().map(|(shard, id, _)| (*shard, *id)).collect(),
            other => panic!("{other:?}"),
        };
        assert!(answers.answer(vec![failed(1, 1), failed(0, 2), failed(1, 3)]).is_ok());
        let (first, other): (Vec<_>, Vec<_>) = (ids(of_first.try_recv().ok()), ids(of_other.try_recv().ok()));
        assert_eq!((first, other), (vec![(0, 2)], vec![(1, 1), (1, 3)]));
        drop(of_other);
        assert!(answers.answer(vec![failed(1, 4)]).is_ok() && answers.tell_all(|| Flushed::Renewed(None)).is_ok());
        drop(of_first);
        assert!(answers.answer(vec![failed(1, 5)]).is_err() && answers.tell_all(|| Flushed::Renewed(None)).is_err());
    }

    #[test]
    fn a_driver_that_is_gone_ends_the_thread_even_while_a_job_is_under_way() {
        let mut scene = scene(1 << 16);
        scene.append(0..400, 300);
        let Scene { directory, requests, mut flushed } = scene;
        drop(requests);
        assert!(std::iter::from_fn(|| flushed.blocking_recv()).all(|last| matches!(last, Flushed::Answers(_))));
        drop(directory);
    }

    #[test]
    #[ignore = "measures; run in release"]
    fn longest_waits_over_a_gibibyte() {
        const VALUE_BYTES: usize = 200;
        const AT_ONCE: u64 = 128;
        let mut scene = scene(DEFAULT_SEGMENT_BYTES);
        let mut waits: Vec<Duration> = Vec::new();
        for first in (0..4_000_000).step_by(AT_ONCE as usize) {
            let begin = Instant::now();
            scene.append(first..first + AT_ONCE, VALUE_BYTES);
            waits.push(begin.elapsed());
        }
        waits.sort();
        let share = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
        let (half, most, nearly, all) = (share(0.5), share(0.999), share(0.9999), share(1.0));
        println!("{} rounds: p50 {half:?}, p99.9 {most:?}, p99.99 {nearly:?}, longest {all:?}", waits.len());
    }
}
