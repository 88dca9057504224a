//! What is stored under a key: its live versions, and what it has seen.

use super::{Dot, DotSet};
use crate::base::{HybridTime, Key, WallTime};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a client stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Content {
    /// The bytes.
    pub value: Bytes,
    /// As the client gave it.
    pub content_type: String,
    /// `Dunlin-Meta-*` pairs, ascending by name.
    pub metadata: Vec<(String, String)>,
    /// When the coordinator minted it; decides only "newest".
    pub written_at: HybridTime,
    /// One absolute time fixed at the write (PROTOCOL R16).
    pub expires_at: Option<WallTime>,
}

/// One live version of a key. `C = ()` is an outline: the dot alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version<C = Content> {
    /// The write that made it.
    pub dot: Dot,
    /// What was written.
    pub content: C,
}

/// A key's state as stored: *stripped*, that is without what the partition clock says anyway.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Object {
    /// Live versions, ascending by dot.
    pub versions: Vec<Version>,
    /// Dots that this key has seen and the clock has not. Nearly always empty.
    pub leftover: DotSet,
}

/// A key's state as used and sent: *filled*, with its whole context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filled<C = Content> {
    /// Live versions, ascending by dot.
    pub versions: Vec<Version<C>>,
    /// Every dot this state has seen; covers the dots of its versions.
    pub context: DotSet,
}

/// A filled state without the values: enough to decide, cheap to send.
pub type Outline = Filled<()>;

impl Content {
    /// How long it is: value, type and metadata.
    pub fn bytes(&self) -> usize {
        bytes_of(&self.value, &self.content_type, &self.metadata)
    }
}

/// How long a value with this type and metadata is.
pub fn bytes_of(value: &Bytes, content_type: &str, metadata: &[(String, String)]) -> usize {
    let pairs: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    value.len() + content_type.len() + pairs
}

/// How long some versions are together.
pub fn bytes_of_all<'a>(versions: impl IntoIterator<Item = &'a Version>) -> usize {
    versions.into_iter().map(|version| version.content.bytes()).sum()
}

impl Object {
    /// Nothing to store: no live version, nothing seen beyond the clock.
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty() && self.leftover.is_empty()
    }

    /// The state with its context: the clock, the leftover and the live dots. `clock` must be the
    /// partition clock of the same instant as the object (PROTOCOL R1).
    pub fn fill(self, clock: &DotSet) -> Filled {
        let mut context = clock.clone();
        context.union(&self.leftover);
        self.versions.iter().for_each(|v| context.insert(v.dot));
        Filled { versions: self.versions, context }
    }
}

impl<C> Default for Filled<C> {
    fn default() -> Self {
        Filled { versions: Vec::new(), context: DotSet::default() }
    }
}

impl Filled {
    /// The state to store beside `clock`.
    pub fn strip(self, clock: &DotSet) -> Object {
        let leftover = self.context.difference(clock);
        Object { versions: self.versions, leftover }
    }

    /// The state without its values.
    pub fn outline(&self) -> Outline {
        let versions = self.versions.iter().map(|v| Version { dot: v.dot, content: () }).collect();
        Filled { versions, context: self.context.clone() }
    }
}

impl<C: Clone> Filled<C> {
    /// Merges two states of one key. A version survives if both have it, or if the side without it
    /// has not seen it. Commutative, associative, idempotent.
    pub fn merge(self, other: &Filled<C>) -> Filled<C> {
        let mut versions: Vec<Version<C>> =
            self.versions.iter().filter(|v| other.has(v.dot) || !other.context.contains(v.dot)).cloned().collect();
        versions.extend(other.versions.iter().filter(|v| !self.has(v.dot) && !self.context.contains(v.dot)).cloned());
        versions.sort_by_key(|v| v.dot);
        let mut context = self.context;
        context.union(&other.context);
        Filled { versions, context }
    }

    /// A client's write: supersedes exactly the versions in `seen`; `content` is the new version,
    /// none for a delete.
    pub fn update(mut self, seen: &DotSet, dot: Dot, content: Option<C>) -> Filled<C> {
        self.versions.retain(|v| !seen.contains(v.dot));
        self.context.union(seen);
        self.context.insert(dot);
        if let Some(content) = content {
            self.versions.push(Version { dot, content });
            self.versions.sort_by_key(|v| v.dot);
        }
        self
    }
}

impl<C> Filled<C> {
    /// Is this dot one of the live versions?
    pub fn has(&self, dot: Dot) -> bool {
        self.versions.iter().any(|v| v.dot == dot)
    }

    /// The dots of the live versions.
    pub fn live_dots(&self) -> DotSet {
        self.versions.iter().map(|v| v.dot).collect()
    }

    /// The hash that conditions compare: of the live dots alone.
    pub fn live_hash(&self) -> u64 {
        live_hash(self.versions.iter().map(|v| v.dot))
    }
}

/// Hash of live dots in ascending order, the same on every node; 0 when there are none.
pub fn live_hash(mut dots: impl Iterator<Item = Dot>) -> u64 {
    let Some(first) = dots.next() else { return 0 };
    // Nearly always one: the state for a stream of many is much larger than what it is about.
    let Some(second) = dots.next() else { return xxhash_rust::xxh3::xxh3_64(&dot_bytes(first)) };
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    [first, second].into_iter().chain(dots).for_each(|dot| hasher.update(&dot_bytes(dot)));
    hasher.digest()
}

/// Actor, then counter, little-endian.
fn dot_bytes(dot: Dot) -> [u8; 16] {
    (u128::from(dot.counter) << 64 | u128::from(dot.actor.0)).to_le_bytes()
}

/// One key's share of its partition's hash (PROTOCOL R20): the hash of (key, live dots), 0 when
/// nothing is live. The partition's hash is the exclusive or of its keys' shares, so it needs no order.
pub fn entry_hash(key: &Key, versions: &[Version]) -> u64 {
    if versions.is_empty() {
        return 0;
    }
    xxhash_rust::xxh3::xxh3_64_with_seed(key.as_bytes(), live_hash(versions.iter().map(|v| v.dot)))
}

#[cfg(test)]
mod tests;
