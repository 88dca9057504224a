//! A process that runs out of descriptors: nothing breaks that does not need one.
#![cfg(feature = "runtime")]

use dunlin::causal::{Actor, Dot, DotSet};
use dunlin::ring::PartitionId;
use dunlin::runtime::disk::RealDisk;
use dunlin::runtime::open_files::OpenFiles;
use dunlin::store::{AppendError, Birth, Body, CodecOptions, Durability, OpenOptions, Opening, Record, open};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The limit is the whole process's: one test at a time.
static LIMIT: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    LIMIT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set_soft(current: Option<u64>) {
    let limit = Rlimit { current, ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).expect("a limit may be lowered, and raised up to the hard one");
}

#[test]
fn the_soft_limit_is_raised_to_the_hard_one() {
    let _alone = alone();
    let before = OpenFiles::now();
    set_soft(before.hard.map_or(Some(1 << 20), |hard| Some(hard - 1)));
    assert_eq!(OpenFiles::raise(), OpenFiles { soft: before.hard, hard: before.hard });
    set_soft(before.soft);
}

fn options(actor: u64) -> OpenOptions {
    OpenOptions {
        fresh_actor: Actor(actor),
        segment_bytes: 8192,
        durability: Durability::Fsync,
        boot: 1,
        birth: Birth::Filling,
        codec: CodecOptions::default(),
    }
}

#[test]
fn a_log_without_a_descriptor_for_a_segment_refuses_the_batch_and_goes_on() {
    let _alone = alone();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = Arc::new(RealDisk::open(directory.path()).expect("it is there"));
    let mut store = open(disk, options(7)).expect("a new store");
    let mut written = 0;
    let mut append = |store: &mut dunlin::store::Opened<RealDisk>| {
        let dots = DotSet::from(Dot { actor: Actor(7), counter: written + 1 });
        let record = Record { partition: PartitionId(0), body: Body::Void { dots, minted: written + 1 } };
        let appended = store.log.append(&[record]);
        written += u64::from(appended.is_ok());
        appended.map(|_| written)
    };
    append(&mut store).expect("the first segment");
    let before = OpenFiles::now();
    set_soft(Some(0));
    let refused = std::iter::repeat_with(|| append(&mut store)).take(1_000).find_map(Result::err);
    let again = append(&mut store);
    set_soft(before.soft);
    assert_eq!(refused, Some(AppendError::Full), "the segment's end was reached");
    assert_eq!(again, Err(AppendError::Full));
    let written = append(&mut store).expect("there are descriptors again");
    store.log.close().expect("nothing has failed");
    drop(store.reader);
    let disk = Arc::new(RealDisk::open(directory.path()).expect("it is there"));
    let store = open(disk, options(8)).expect("a good store");
    assert_eq!((store.recovered.opening, store.recovered.findings), (Opening::Kept, Vec::new()));
    assert_eq!(store.recovered.tables.values().map(|table| table.clock.len()).sum::<u64>(), written);
}
