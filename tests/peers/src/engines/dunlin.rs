//! Dunlin's store, used as a shard and the flusher use it.

use crate::data::{Values, key_of};
use crate::engine::{Committer, Durable, Engine};
use dunlin::base::{HybridTime, Key};
use dunlin::causal::{Actor, Content, Dot, DotSet, Object, Version, entry_hash};
use dunlin::ring::{PartitionId, Partitioning};
use dunlin::runtime::disk::RealDisk;
use dunlin::runtime::log_jobs::LogJobs;
use dunlin::store::{
    Birth, Body, CodecOptions, DEFAULT_SEGMENT_BYTES, Durability, Log, OpenOptions, PartitionTable, Place, Published,
    Reader, Record, Sequence, open,
};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

/// The driver's end: what a shard owns.
pub struct Dunlin {
    partitioning: Partitioning,
    tables: BTreeMap<PartitionId, PartitionTable>,
    reader: Reader<RealDisk>,
    actor: Actor,
    /// Highest counter handed out, by partition.
    minted: HashMap<PartitionId, u64>,
    /// Appends not yet answered, oldest first.
    appends: VecDeque<Record>,
    /// Keys with appends not yet answered: what their slot holds, the newest dot, how many.
    pending: HashMap<Key, (Published, Dot, usize)>,
}

impl Dunlin {
    /// The record of a key, found as a shard finds it.
    fn find(&self, key: &Key) -> Option<(Place, Record)> {
        let table = self.tables.get(&self.partitioning.of(key))?;
        for place in table.index.candidates(key.hash64()) {
            let cached = self.reader.read_cached(place).expect("a record is readable");
            let record = cached.unwrap_or_else(|| self.reader.read(place).expect("a record is readable"));
            if record.body.slot_key() == Some(key) {
                return Some((place, record));
            }
        }
        None
    }

    /// What the key's slot holds.
    fn slot_of(&self, key: &Key) -> Published {
        match self.find(key) {
            Some((place, Record { body: Body::Object { object, .. }, .. })) => {
                Published { place: Some(place), entry_hash: entry_hash(key, &object.versions) }
            }
            _ => Published::default(),
        }
    }

    /// Which of these records are current, as a node says it.
    pub fn is_current(&self, partition: PartitionId, key: &Key, place: Place) -> bool {
        self.tables.get(&partition).is_some_and(|table| table.index.holds(key.hash64(), place))
    }

    /// Compaction has copied a record, as a replica takes it.
    pub fn relocate(&mut self, partition: PartitionId, key: &Key, from: Place, to: Place) {
        if let Some(table) = self.tables.get_mut(&partition) {
            table.relocate(key, from, to);
        }
        let place = self.pending.get_mut(key).and_then(|(slot, ..)| slot.place.as_mut());
        if let Some(place) = place.filter(|place| place.is(&from)) {
            *place = to;
        }
    }
}

/// How the store is opened; everything but durability as `dunlin serve` opens it.
pub fn options(durable: Durable) -> OpenOptions {
    OpenOptions {
        fresh_actor: Actor(u64::from(std::process::id()) << 32 | 0xd0_7a11),
        segment_bytes: DEFAULT_SEGMENT_BYTES,
        durability: if durable == Durable::EachCommit { Durability::Fsync } else { Durability::Os },
        boot: 1,
        birth: Birth::Complete,
        codec: CodecOptions::default(),
    }
}

impl Engine for Dunlin {
    type Committer = LogCommitter;

    fn open(directory: &Path, durable: Durable, _values: &Values) -> (Self, LogCommitter) {
        let disk = Arc::new(RealDisk::open(directory).expect("the directory opens"));
        let store = open(disk, options(durable)).expect("the store opens");
        let minted = store.recovered.tables.iter().map(|(partition, table)| (*partition, table.minted)).collect();
        let engine = Dunlin {
            partitioning: Partitioning::default(),
            tables: store.recovered.tables,
            reader: store.reader,
            actor: store.recovered.actor,
            minted,
            appends: VecDeque::new(),
            pending: HashMap::new(),
        };
        let jobs = LogJobs::start().expect("a thread starts");
        (engine, LogCommitter { log: store.log, jobs })
    }

    fn prepare(&mut self, number: u64, values: &Values) -> Record {
        let key = Key::new(key_of(number).to_vec()).expect("16 bytes are a key");
        let partition = self.partitioning.of(&key);
        let minted = self.minted.entry(partition).or_default();
        *minted += 1;
        let dot = Dot { actor: self.actor, counter: *minted };
        match self.pending.get_mut(&key) {
            Some((_, newest, appended)) => (*newest, *appended) = (dot, *appended + 1),
            None => {
                let slot = self.slot_of(&key);
                self.pending.insert(key.clone(), (slot, dot, 1));
            }
        }
        let content = Content {
            value: values.of(number).into(),
            content_type: String::new(),
            metadata: Vec::new(),
            written_at: HybridTime(number << 16),
            expires_at: None,
        };
        let object = Object { versions: vec![Version { dot, content }], leftover: DotSet::EMPTY };
        let body = Body::Object { key, object, dots: DotSet::from(dot), minted: Some(dot.counter) };
        let record = Record { partition, body };
        self.appends.push_back(record.clone());
        record
    }

    fn publish(&mut self, (place, _): (Place, Sequence)) {
        let record = self.appends.pop_front().expect("answers come in the order of the appends");
        let key = record.body.slot_key().expect("every append is of a key");
        let before = self.pending.get(key).map(|(slot, ..)| slot.clone()).unwrap_or_default();
        let now = self.tables.entry(record.partition).or_default().publish(&record, place, &before);
        let pending = self.pending.get_mut(key).expect("the key is pending until its last append is answered");
        (pending.0, pending.2) = (now, pending.2 - 1);
        if pending.2 == 0 {
            self.pending.remove(key);
        }
    }

    fn reader<'a>(&'a self, values: &'a Values) -> impl FnMut(u64) -> bool + 'a {
        |number| {
            let key = Key::new(key_of(number).to_vec()).expect("16 bytes are a key");
            match self.find(&key) {
                Some((_, Record { body: Body::Object { object, .. }, .. })) => {
                    object.versions.first().is_some_and(|version| values.fits(number, &version.content.value))
                }
                _ => false,
            }
        }
    }

    fn trim(&mut self) {
        self.tables.values_mut().for_each(|table| table.forget_recent(0));
    }
}

/// The flusher's end.
pub struct LogCommitter {
    log: Log<RealDisk>,
    /// Makes and seals segments beside the batches.
    jobs: LogJobs,
}

impl LogCommitter {
    /// The log itself, for what a flusher does between two batches.
    pub fn log(&mut self) -> &mut Log<RealDisk> {
        &mut self.log
    }
}

impl Committer for LogCommitter {
    type Put = Record;
    type Done = (Place, Sequence);

    fn commit(&mut self, batch: Vec<Record>) -> Vec<(Place, Sequence)> {
        while self.jobs.under_way() && self.log.is_behind() {
            self.jobs.wait(&mut self.log).expect("a segment is sealed");
            self.jobs.tend(&mut self.log).expect("a segment is sealed");
        }
        let places = self.log.append(&batch).expect("the log takes a batch");
        self.jobs.tend(&mut self.log).expect("a segment is made or sealed");
        places
    }

    fn close(mut self) {
        self.jobs.wait(&mut self.log).expect("a segment is made or sealed");
        self.log.close().expect("the log closes");
    }
}
