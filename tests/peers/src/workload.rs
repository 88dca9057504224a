//! What is done with an engine. Each runs in a process of its own.

use crate::data::{Draw, Values, Zipf};
use crate::engine::{Committer, Done, Durable, Engine, Put};
use crate::measure::{Watch, anonymous_bytes, device_bytes_read, disk_bytes};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Clients that put at the same time.
pub const WRITERS: usize = 64;

/// Most puts in one batch, as in the runtime's flusher.
const MAX_BATCH_PUTS: usize = 4096;

/// Puts in one batch of a bulk load.
const LOAD_BATCH: u64 = 1000;

/// Reads between two looks at the clock.
const READS_AT_ONCE: u64 = 64;

/// Reads that show that an opened store serves.
const READS_AFTER_OPENING: u64 = 1000;

/// One engine, one directory, so many keys.
#[derive(Debug, Clone)]
pub struct Task {
    pub directory: PathBuf,
    pub keys: u64,
    pub value_bytes: usize,
    /// How long workloads go on that have no end.
    pub duration: Duration,
    pub threads: usize,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Workload {
    /// Puts all keys, closes.
    Load,
    /// The same, without ever holding what is bounded and not per key.
    Grow,
    /// Opens; reads a few.
    Open,
    /// Reads keys drawn evenly.
    Reads,
    /// Durable puts of new keys by 64 clients, one driver, one committer.
    Puts,
    /// The same by 64 threads, the way the engine itself shares syncs.
    Shared,
    /// Reads and durable overwrites, half each, keys by zipf, 64 clients.
    Mixed,
    /// Durable puts until killed.
    Killed,
}

type Figures = BTreeMap<String, f64>;

/// Runs a workload.
pub fn run<E: Engine>(workload: Workload, task: &Task) -> Figures {
    match workload {
        Workload::Load => load::<E>(task, |_| ()),
        Workload::Grow => load::<E>(task, E::trim),
        Workload::Open => reopen::<E>(task),
        Workload::Reads => reads::<E>(task),
        Workload::Puts => puts::<E>(task, task.duration, || ()),
        // Whoever kills waits for this line.
        Workload::Killed => puts::<E>(task, Duration::MAX, || println!("opened")),
        Workload::Shared => shared::<E>(task),
        Workload::Mixed => mixed::<E>(task),
    }
}

fn load<E: Engine>(task: &Task, after_batch: impl Fn(&mut E)) -> Figures {
    let values = Values::new(task.value_bytes);
    let before = anonymous_bytes();
    let watch = Watch::start();
    let (mut engine, mut committer) = E::open(&task.directory, Durable::AtClose, &values);
    for first in (0..task.keys).step_by(LOAD_BATCH as usize) {
        let batch = (first..task.keys.min(first + LOAD_BATCH)).map(|number| engine.prepare(number, &values)).collect();
        committer.commit(batch).into_iter().for_each(|done| engine.publish(done));
        after_batch(&mut engine);
    }
    engine.trim();
    let held = anonymous_bytes();
    close(engine, committer);
    let mut figures = watch.figures(task.keys);
    figures.insert("memory_bytes_per_key".into(), held.saturating_sub(before) as f64 / task.keys as f64);
    figures.insert("disk_bytes_per_key".into(), disk_bytes(&task.directory) as f64 / task.keys as f64);
    figures
}

fn close<E: Engine>(engine: E, committer: E::Committer) {
    drop(engine);
    committer.close();
}

fn reopen<E: Engine>(task: &Task) -> Figures {
    let values = Values::new(task.value_bytes);
    let (before, device) = (anonymous_bytes(), device_bytes_read());
    let watch = Watch::start();
    let (mut engine, committer) = E::open(&task.directory, Durable::EachCommit, &values);
    let mut figures = watch.figures(1);
    figures.insert("device_mib".into(), (device_bytes_read() - device) as f64 / f64::from(1 << 20));
    read_some(&engine, task, &values);
    engine.trim();
    let held = anonymous_bytes();
    figures.insert("memory_bytes_per_key".into(), held.saturating_sub(before) as f64 / task.keys as f64);
    close(engine, committer);
    figures
}

fn read_some<E: Engine>(engine: &E, task: &Task, values: &Values) {
    let (mut get, mut draw) = (engine.reader(values), Draw::new(7));
    for _ in 0..READS_AFTER_OPENING {
        let number = draw.below(task.keys);
        assert!(get(number), "key {number} is lost");
    }
}

fn reads<E: Engine>(task: &Task) -> Figures {
    let values = Values::new(task.value_bytes);
    let (engine, committer) = E::open(&task.directory, Durable::EachCommit, &values);
    // Once through a part of it, so that what an engine caches by itself is cached.
    read_for(&engine, task, &values, 1, task.duration / 4);
    let watch = Watch::start();
    let count = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..task.threads {
            let (engine, values, count) = (&engine, &values, &count);
            scope.spawn(move || {
                let read = read_for(engine, task, values, 100 + thread as u64, task.duration);
                count.fetch_add(read, Ordering::Relaxed);
            });
        }
    });
    let figures = watch.figures(count.into_inner());
    close(engine, committer);
    figures
}

fn read_for<E: Engine>(engine: &E, task: &Task, values: &Values, seed: u64, duration: Duration) -> u64 {
    let (mut get, mut draw, mut count) = (engine.reader(values), Draw::new(seed), 0);
    let began = Instant::now();
    while began.elapsed() < duration {
        for _ in 0..READS_AT_ONCE {
            let number = draw.below(task.keys);
            assert!(get(number), "key {number} is lost");
        }
        count += READS_AT_ONCE;
    }
    count
}

fn puts<E: Engine>(task: &Task, duration: Duration, once_open: impl FnOnce()) -> Figures {
    let values = Values::new(task.value_bytes);
    let (mut engine, mut committer) = E::open(&task.directory, Durable::EachCommit, &values);
    once_open();
    let mut next = task.keys;
    let driven = drive(&mut engine, &mut committer, duration, |engine| {
        next += 1;
        engine.prepare(next - 1, &values)
    });
    close(engine, committer);
    driven
}

fn mixed<E: Engine>(task: &Task) -> Figures {
    let values = Values::new(task.value_bytes);
    let (mut engine, mut committer) = E::open(&task.directory, Durable::EachCommit, &values);
    let (mut zipf, mut coin) = (Zipf::new(task.keys, 3), Draw::new(5));
    let mut gets = 0;
    let mut driven = drive(&mut engine, &mut committer, task.duration, |engine| {
        while coin.below(2) == 0 {
            let number = zipf.next();
            assert!(engine.reader(&values)(number), "key {number} is lost");
            gets += 1;
        }
        engine.prepare(zipf.next(), &values)
    });
    close(engine, committer);
    let puts = driven["count"];
    let share = puts / (puts + f64::from(gets));
    for (name, factor) in [("count", 1.0 / share), ("per_second", 1.0 / share), ("cpu_us", share)] {
        driven.entry(name.into()).and_modify(|figure| *figure *= factor);
    }
    driven
}

/// [`WRITERS`] clients, each with one put on its way. The driver makes them and takes the answers; the
/// committer commits what is queued, and repeats.
fn drive<E: Engine>(
    engine: &mut E,
    committer: &mut E::Committer,
    duration: Duration,
    mut next: impl FnMut(&mut E) -> Put<E>,
) -> Figures {
    let watch = Watch::start();
    let began = Instant::now();
    let (mut count, mut commits) = (0, 0u64);
    thread::scope(|scope| {
        let (puts, queued) = channel::<Put<E>>();
        let (answers, answered) = channel();
        scope.spawn(move || commit_all::<E>(committer, &queued, &answers));
        (0..WRITERS).for_each(|_| puts.send(next(engine)).expect("the committer runs"));
        let mut waiting = WRITERS;
        while waiting > 0 {
            let done: Vec<Done<E>> = answered.recv().expect("the committer answers");
            commits += 1;
            count += done.len() as u64;
            let goes_on = began.elapsed() < duration;
            for done in done {
                engine.publish(done);
                if goes_on {
                    puts.send(next(engine)).expect("the committer runs");
                } else {
                    waiting -= 1;
                }
            }
        }
    });
    let mut figures = watch.figures(count);
    figures.insert("puts_per_commit".into(), count as f64 / commits as f64);
    figures
}

fn commit_all<E: Engine>(committer: &mut E::Committer, queued: &Receiver<Put<E>>, answers: &Sender<Vec<Done<E>>>) {
    while let Ok(first) = queued.recv() {
        let mut batch = vec![first];
        batch.extend(queued.try_iter().take(MAX_BATCH_PUTS));
        if answers.send(committer.commit(batch)).is_err() {
            return;
        }
    }
}

fn shared<E: Engine>(task: &Task) -> Figures {
    let values = Values::new(task.value_bytes);
    let (engine, committer) = E::open(&task.directory, Durable::EachCommit, &values);
    let (next, count) = (AtomicU64::new(task.keys), AtomicU64::new(0));
    let watch = Watch::start();
    let began = Instant::now();
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                while began.elapsed() < task.duration
                    && engine.put_shared(next.fetch_add(1, Ordering::Relaxed), &values)
                {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let figures = watch.figures(count.into_inner());
    close(engine, committer);
    figures
}
