//! The store as a plain map: what any prefix of a workload amounts to, without logs, clocks or tricks.

use crate::sim::SimDisk;
use dunlin::base::{HybridTime, Key, NodeId};
use dunlin::causal::{Actor, Content, Dot, DotSet, Filled, Object, Version};
use dunlin::ring::PartitionId;
use dunlin::store::{
    Birth, Body, CodecOptions, Durability, Encryption, HintBody, Leftover, OpenOptions, Opened, PartitionTable, Place,
    Record, Recovered, RecoveredHint, SecretKey, Sequence,
};
use std::collections::{BTreeMap, BTreeSet};

/// The actor of the workload: the first opening draws it.
pub const ACTOR: u64 = 7;

/// How the crash tests open a store: small segments, so that they roll.
pub fn options(actor: u64) -> OpenOptions {
    OpenOptions {
        fresh_actor: Actor(actor),
        segment_bytes: 4096,
        durability: Durability::Fsync,
        boot: 1,
        birth: Birth::Complete,
        codec: CodecOptions::default(),
    }
}

/// The same with encryption at rest: these master keys, the one in force first, and this data key if a new one is
/// needed. None: not encrypted.
pub fn encrypted(options: OpenOptions, masters: &[u8], fresh: u8) -> OpenOptions {
    let key = |byte: u8| SecretKey::new([byte; 32]);
    let encryption = (!masters.is_empty())
        .then(|| Encryption { master_keys: masters.iter().copied().map(key).collect(), fresh_data_key: key(fresh) });
    OpenOptions { codec: CodecOptions { encryption, ..options.codec }, ..options }
}

/// A dot.
pub fn dot(actor: u64, counter: u64) -> Dot {
    Dot { actor: Actor(actor), counter }
}

fn content(dot: Dot, bytes: usize) -> Content {
    let mut value = format!("{dot}:").into_bytes();
    value.resize(value.len() + bytes, dot.counter as u8);
    Content {
        value: value.into(),
        content_type: "text/plain".into(),
        metadata: vec![],
        written_at: HybridTime(1),
        expires_at: None,
    }
}

/// A put that has seen only its own dot; minted here if the workload's actor did.
pub fn put(partition: u32, key: &str, dot: Dot, bytes: usize) -> Record {
    let versions = vec![Version { dot, content: content(dot, bytes) }];
    let object = Object { versions, leftover: DotSet::EMPTY };
    let key = Key::new(key.to_owned()).unwrap();
    let minted = (dot.actor.0 == ACTOR).then_some(dot.counter);
    Record { partition: PartitionId(partition), body: Body::Object { key, object, dots: dot.into(), minted } }
}

/// A put that has seen more than the clock.
pub fn ahead(partition: u32, key: &str, dot: Dot, leftover: impl IntoIterator<Item = Dot>) -> Record {
    let mut record = put(partition, key, dot, 20);
    if let Body::Object { object, .. } = &mut record.body {
        object.leftover = leftover.into_iter().collect();
    }
    record
}

/// The same of a delete: nothing of the key is left but what it has seen.
pub fn gone_ahead(partition: u32, key: &str, own: Dot, leftover: Dot) -> Record {
    let mut record = delete(partition, key, own);
    if let Body::Object { object, .. } = &mut record.body {
        object.leftover = leftover.into();
    }
    record
}

/// A put minted by any actor.
pub fn put_by(actor: u64, partition: u32, key: &str, counter: u64, bytes: usize) -> Record {
    let mut record = put(partition, key, dot(actor, counter), bytes);
    if let Body::Object { minted, .. } = &mut record.body {
        *minted = Some(counter);
    }
    record
}

/// A delete minted by any actor.
pub fn delete_by(actor: u64, partition: u32, key: &str, counter: u64) -> Record {
    delete(partition, key, dot(actor, counter))
}

/// A delete minted here.
pub fn delete(partition: u32, key: &str, dot: Dot) -> Record {
    let key = Key::new(key.to_owned()).unwrap();
    let body = Body::Object { key, object: Object::default(), dots: dot.into(), minted: Some(dot.counter) };
    Record { partition: PartitionId(partition), body }
}

/// A write held for these nodes.
pub fn hint(partition: u32, key: &str, dot: Dot, targets: &[u64]) -> Record {
    let state = Filled { versions: vec![Version { dot, content: content(dot, 80) }], context: dot.into() };
    let body = HintBody {
        targets: targets.iter().copied().map(NodeId).collect(),
        key: Key::new(key.to_owned()).unwrap(),
        state,
        dots: dot.into(),
        minted: Some(dot.counter),
    };
    Record { partition: PartitionId(partition), body: Body::Hint(body) }
}

/// A record of no key.
pub fn plain(partition: u32, body: Body) -> Record {
    Record { partition: PartitionId(partition), body }
}

/// Every kind of record, over several segments, in batches of different sizes.
pub fn workload() -> Vec<Vec<Record>> {
    let mut next = [0u64; 3];
    let mut mint = |partition: u32| {
        next[partition as usize] += 1;
        dot(ACTOR, next[partition as usize])
    };
    let mut batches: Vec<Vec<Record>> = Vec::new();
    for n in 0..14u32 {
        let partition = n % 2;
        let mut batch = vec![put(partition, &format!("key-{}", n % 5), mint(partition), 90 * n as usize)];
        match n {
            2 => batch.push(hint(2, "held", mint(2), &[1, 2])),
            3 => batch.extend([
                gone_ahead(0, "seen", mint(0), dot(99, 3)),
                gone_ahead(1, "unseen", mint(1), dot(66, 2)),
                plain(0, Body::Join { dots: (1..4).map(|c| dot(99, c)).collect() }),
            ]),
            5 => batch.push(plain(2, Body::HintDone { hint: Sequence(4), target: NodeId(1) })),
            4 => batch.push(ahead(0, "ahead", mint(0), [dot(88, 5), dot(99, 1)])),
            6 => batch.push(delete(0, "key-0", mint(0))),
            8 => batch.extend([put(1, "key-1", dot(55, 1), 3000), put(1, "key-3", dot(55, 2), 700)]),
            9 => batch.push(plain(2, Body::HintDone { hint: Sequence(4), target: NodeId(2) })),
            10 => batch.push(hint(2, "held too", mint(2), &[3])),
            11 => {
                let burnt = mint(1);
                batch.push(plain(1, Body::Void { dots: burnt.into(), minted: burnt.counter }));
            }
            _ => {}
        }
        batches.push(batch);
    }
    batches
}

/// What a partition amounts to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partition {
    /// Dots whose effect is there.
    pub clock: BTreeSet<Dot>,
    /// The own counter.
    pub minted: u64,
    /// Keys with a live version, or with something seen that the clock has not.
    pub objects: BTreeMap<Key, Object>,
    /// Set back by a reset, and not complete since.
    pub filling: bool,
}

/// What a store amounts to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    /// Partitions with a record.
    pub partitions: BTreeMap<PartitionId, Partition>,
    /// By sequence: targets still open.
    pub hints: BTreeMap<u64, BTreeSet<NodeId>>,
    /// What partitions without a record are.
    pub born_filling: bool,
}

impl Model {
    /// The state after these records, the first of which has sequence 1.
    pub fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Model {
        let mut model = Model::default();
        for (at, record) in records.into_iter().enumerate() {
            model.play(at as u64 + 1, record);
        }
        model
    }

    /// The same, with the counters of one actor only.
    pub fn of_actor<'a>(actor: Actor, records: impl IntoIterator<Item = &'a Record>) -> Model {
        let own = |record: &Record| {
            let mut record = record.clone();
            if let Body::Object { dots, minted, .. } = &mut record.body {
                *minted = minted.filter(|_| dots.of(actor).is_some());
            }
            record
        };
        Model::of(records.into_iter().map(own).collect::<Vec<_>>().iter())
    }

    /// One more record.
    pub fn play(&mut self, sequence: u64, record: &Record) {
        let born = Partition { filling: self.born_filling, ..Partition::default() };
        let partition = self.partitions.entry(record.partition).or_insert(born);
        match &record.body {
            Body::Object { key, object, dots, minted } => {
                partition.clock.extend(dots.dots());
                partition.minted = partition.minted.max(minted.unwrap_or(0));
                partition.objects.insert(key.clone(), object.clone());
            }
            Body::Join { dots } => partition.clock.extend(dots.dots()),
            Body::Void { dots, minted } => {
                partition.clock.extend(dots.dots());
                partition.minted = partition.minted.max(*minted);
            }
            Body::Hint(hint) => {
                partition.minted = partition.minted.max(hint.minted.unwrap_or(0));
                self.hints.insert(sequence, hint.targets.iter().copied().collect());
            }
            Body::HintDone { hint, target } => {
                self.hints.entry(hint.0).and_modify(|targets| {
                    targets.remove(target);
                });
                self.hints.retain(|_, targets| !targets.is_empty());
            }
            Body::Complete => partition.filling = false,
            Body::Reset { .. } => {}
            Body::Drop => {
                (partition.objects, partition.clock) = Default::default();
                partition.filling = true;
            }
        }
        let Partition { objects, clock, .. } = partition;
        objects
            .retain(|_, object| !object.versions.is_empty() || object.leftover.dots().any(|dot| !clock.contains(&dot)));
    }

    /// What clocks may claim after damage: exactly the live versions (PROTOCOL R8).
    pub fn reset(mut self) -> Model {
        self.born_filling = true;
        for partition in self.partitions.values_mut() {
            partition.objects.retain(|_, object| !object.versions.is_empty());
            let live = partition.objects.values().flat_map(|object| object.versions.iter().map(|version| version.dot));
            partition.clock = live.collect();
            (partition.minted, partition.filling) = (0, true);
        }
        self
    }

    /// The state a store says it has, every object read through its index.
    pub fn read(store: &Opened<SimDisk>) -> Model {
        let (model, unreadable) = Model::read_what_is_readable(store);
        assert_eq!(unreadable, []);
        model
    }

    /// The same of a store in which some sealed record may be damaged: reading it is an error.
    pub fn read_what_is_readable(store: &Opened<SimDisk>) -> (Model, Vec<Place>) {
        let (mut model, mut unreadable) = (Model::default(), Vec::new());
        model.born_filling = !store.recovered.complete_by_default;
        for (id, table) in &store.recovered.tables {
            let partition = model.partitions.entry(*id).or_default();
            partition.clock = table.clock.dots().collect();
            partition.minted = table.minted;
            partition.filling = !table.complete;
            let (mut hash, mut damaged) = (0, 0);
            for (_, place) in table.index.from(0) {
                let Ok(record) = store.reader.read(place) else {
                    unreadable.push(place);
                    damaged += 1;
                    continue;
                };
                let Body::Object { key, object, .. } = record.body else { panic!("a slot holds {record:?}") };
                hash ^= dunlin::causal::entry_hash(&key, &object.versions);
                assert_eq!(record.partition, *id);
                let missing = object.leftover.difference(&table.clock);
                let leftover = table.leftovers.get(&key).map(|leftover| leftover.dots.clone());
                assert_eq!(leftover, Some(missing).filter(|missing| !missing.is_empty()), "the leftover of {key}");
                assert_eq!(partition.objects.insert(key, object), None, "two slots for one key");
            }
            assert!(damaged > 0 || hash == table.hash, "the partition's hash");
        }
        for (sequence, hint) in &store.recovered.hints {
            let record = store.reader.read(hint.place).unwrap();
            assert!(matches!(record.body, Body::Hint(body) if body.key == hint.key && body.dots == hint.dots));
            model.hints.insert(sequence.0, hint.targets.iter().copied().collect());
        }
        (model, unreadable)
    }
}

/// What a table says but for the recent dots: only records that are scanned are recent.
type Essence<'a> = (BTreeSet<Dot>, u64, bool, u64, Vec<(u64, Place)>, &'a BTreeMap<Key, Leftover>);

fn essence(table: &PartitionTable) -> Essence<'_> {
    let PartitionTable { clock, minted, complete, hash, index, leftovers, .. } = table;
    (clock.dots().collect(), *minted, *complete, *hash, index.from(0).collect(), leftovers)
}

/// Two openings of one directory must give the same state.
pub fn assert_same(first: &Recovered, second: &Recovered, what: &str) {
    let tables = |recovered: &Recovered| -> BTreeMap<PartitionId, String> {
        recovered.tables.iter().map(|(id, table)| (*id, format!("{:?}", essence(table)))).collect()
    };
    assert_eq!(tables(first), tables(second), "{what}");
    let hints = |recovered: &Recovered| -> BTreeMap<Sequence, RecoveredHint> { recovered.hints.clone() };
    assert_eq!(hints(first), hints(second), "{what}");
}
