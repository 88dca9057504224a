//! Keys, values and clocks as the standard load of `dunlin bench` has them: 16 and 100 bytes, three replicas.

use dunlin::base::{HybridTime, Key};
use dunlin::causal::{Actor, Content, Dot, DotSet, Filled, Object, Version};
use dunlin::replication::NewContent;
use dunlin::ring::{PartitionId, Partitioning};
use dunlin::store::{Body, Record};

const KEY_BYTES: usize = 16;

const VALUE_BYTES: usize = 100;

/// A key, in no order.
pub(crate) fn key(number: u64) -> Key {
    // An odd factor: different numbers have different products.
    let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let text = format!("{scattered:0KEY_BYTES$x}");
    Key::new(text).expect("16 bytes are a key")
}

pub(crate) fn partition_of(key: &Key) -> PartitionId {
    Partitioning::default().of(key)
}

pub(crate) fn new_content() -> NewContent {
    NewContent {
        value: vec![7; VALUE_BYTES].into(),
        content_type: "text/plain".into(),
        metadata: Vec::new(),
        ttl_ms: None,
    }
}

/// The actor of a replica: as large as those drawn at random.
pub(crate) fn actor(replica: u64) -> Actor {
    Actor(0xa5a5_5a5a_a5a5_0000 + replica)
}

pub(crate) fn dot(replica: u64, counter: u64) -> Dot {
    Dot { actor: actor(replica), counter }
}

/// The clock of a partition with three replicas that have written `written` times each.
pub(crate) fn clock(written: u64) -> DotSet {
    let mut clock = DotSet::EMPTY;
    (0..3).for_each(|replica| clock.insert_all(actor(replica), &dunlin::causal::Intervals::up_to(written)));
    clock
}

/// A clock that waits for sixteen dots of one replica.
pub(crate) fn clock_with_gaps(written: u64) -> DotSet {
    let mut clock = clock(written);
    (1..=16).for_each(|gap| clock.insert(dot(1, written + 2 * gap)));
    clock
}

/// A live version.
pub(crate) fn version(dot: Dot) -> Version {
    let NewContent { value, content_type, metadata, .. } = new_content();
    let content = Content { value, content_type, metadata, written_at: HybridTime(1 << 40), expires_at: None };
    Version { dot, content }
}

/// One live version, nothing left over.
pub(crate) fn object(dot: Dot) -> Object {
    Object { versions: vec![version(dot)], leftover: DotSet::EMPTY }
}

/// The same, as it leaves a node.
pub(crate) fn filled(dot: Dot) -> Filled {
    object(dot).fill(&clock(1000))
}

/// What a replica appends for a write of this key.
pub(crate) fn record(key_number: u64, counter: u64) -> Record {
    let (key, dot) = (key(key_number), dot(0, counter));
    let partition = partition_of(&key);
    let body = Body::Object { key, object: object(dot), dots: DotSet::from(dot), minted: Some(counter) };
    Record { partition, body }
}
