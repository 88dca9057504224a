//! An exact set of dots: the form of partition clocks, of contexts and of leftovers alike.

use super::{Actor, Dot, Intervals};
use crate::base::{Mutation, broken};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;
use std::fmt;

/// A set of dots, per actor in compact form. A *partition clock* is the set a replica has seen; a
/// *context* is the set a client or a key has seen. Exact: it never claims a lower counter it was not
/// given (a plain version vector does, and loses writes).
///
/// On the wire and on the disk: a sequence of (actor, base, ranges above it).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct DotSet {
    /// Ascending by actor; no entry is empty. One is kept in place: a single write's set takes no allocation.
    entries: SmallVec<[(Actor, Intervals); 1]>,
}

impl DotSet {
    /// The set with no dot.
    pub const EMPTY: DotSet = DotSet { entries: SmallVec::new_const() };

    /// No dot at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Is this dot in?
    pub fn contains(&self, dot: Dot) -> bool {
        self.of(dot.actor).is_some_and(|counters| {
            if broken(Mutation::BaseOverclaim) {
                return dot.counter <= counters.highest();
            }
            counters.contains(dot.counter)
        })
    }

    /// The counters of one actor.
    pub fn of(&self, actor: Actor) -> Option<&Intervals> {
        let at = self.entries.binary_search_by_key(&actor, |(a, _)| *a).ok()?;
        self.entries.get(at).map(|(_, counters)| counters)
    }

    /// Adds a dot.
    pub fn insert(&mut self, dot: Dot) {
        if dot.counter > 0 {
            self.entry(dot.actor).insert(dot.counter);
        }
    }

    /// Adds counters of one actor.
    pub fn insert_all(&mut self, actor: Actor, counters: &Intervals) {
        if !counters.is_empty() {
            self.entry(actor).union(counters);
        }
    }

    /// Adds every dot of `other`.
    pub fn union(&mut self, other: &DotSet) {
        for (actor, counters) in &other.entries {
            self.entry(*actor).union(counters);
        }
    }

    /// Every dot of `self` is in `other`.
    pub fn is_subset(&self, other: &DotSet) -> bool {
        self.entries.iter().all(|(actor, counters)| other.of(*actor).is_some_and(|theirs| counters.is_subset(theirs)))
    }

    /// The dots of `self` that are not in `other`.
    pub fn difference(&self, other: &DotSet) -> DotSet {
        let left = self.entries.iter().filter_map(|(actor, counters)| {
            let left = other.of(*actor).map_or_else(|| counters.clone(), |theirs| counters.difference(theirs));
            (!left.is_empty()).then_some((*actor, left))
        });
        DotSet { entries: left.collect() }
    }

    /// How many dots.
    pub fn len(&self) -> u64 {
        self.entries.iter().fold(0, |sum: u64, (_, counters)| sum.saturating_add(counters.len()))
    }

    /// Actors with their counters, ascending by actor.
    pub fn iter(&self) -> impl Iterator<Item = (Actor, &Intervals)> {
        self.entries.iter().map(|(actor, counters)| (*actor, counters))
    }

    /// Every dot, ascending. Only for sets known to be small: differences, not clocks.
    pub fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.iter().flat_map(|(actor, counters)| counters.counters().map(move |counter| Dot { actor, counter }))
    }

    /// How many ranges the compact form has: its size in memory and on the wire.
    pub fn ranges(&self) -> usize {
        self.entries.iter().map(|(_, counters)| 1 + counters.above().len()).sum()
    }

    /// A hash of the set, the same on every node.
    pub fn hash64(&self) -> u64 {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        for (actor, counters) in self.iter() {
            hasher.update(&actor.0.to_le_bytes());
            for (start, end) in counters.ranges() {
                hasher.update(&start.to_le_bytes());
                hasher.update(&end.to_le_bytes());
            }
            hasher.update(&[0; 8]);
        }
        hasher.digest()
    }

    fn entry(&mut self, actor: Actor) -> &mut Intervals {
        let at = match self.entries.binary_search_by_key(&actor, |(a, _)| *a) {
            Ok(at) => at,
            Err(at) => {
                self.entries.insert(at, (actor, Intervals::default()));
                at
            }
        };
        #[expect(clippy::indexing_slicing, reason = "found or inserted at this very place")]
        &mut self.entries[at].1
    }
}

impl FromIterator<Dot> for DotSet {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut set = DotSet::default();
        dots.into_iter().for_each(|dot| set.insert(dot));
        set
    }
}

impl From<Dot> for DotSet {
    fn from(dot: Dot) -> Self {
        [dot].into_iter().collect()
    }
}

impl Serialize for DotSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|(actor, counters)| (actor, counters.base(), counters.above())))
    }
}

/// Whatever a peer sends becomes canonical on the way in.
impl<'de> Deserialize<'de> for DotSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(WireEntries)
    }
}

struct WireEntries;

impl<'de> Visitor<'de> for WireEntries {
    type Value = DotSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence of (actor, base, ranges)")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<DotSet, A::Error> {
        let mut set = DotSet::default();
        while let Some((actor, base, WireRanges(mut counters))) = entries.next_element::<(Actor, u64, WireRanges)>()? {
            counters.insert_range(1, base);
            set.insert_all(actor, &counters);
        }
        Ok(set)
    }
}

/// Ranges as they come, taken in one by one.
struct WireRanges(Intervals);

impl<'de> Deserialize<'de> for WireRanges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RangesVisitor)
    }
}

struct RangesVisitor;

impl<'de> Visitor<'de> for RangesVisitor {
    type Value = WireRanges;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence of (first, last)")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut ranges: A) -> Result<WireRanges, A::Error> {
        let mut counters = Intervals::default();
        while let Some((start, end)) = ranges.next_element()? {
            counters.insert_range(start, end);
        }
        Ok(WireRanges(counters))
    }
}

impl fmt::Debug for DotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    type Naive = BTreeSet<(u64, u64)>;

    /// actor, base, ranges above it
    type WireEntry = (Actor, u64, Vec<(u64, u64)>);

    fn built(dots: &Naive) -> DotSet {
        dots.iter().map(|(a, c)| Dot { actor: Actor(*a), counter: *c }).collect()
    }

    fn naive(set: &DotSet) -> Naive {
        set.dots().map(|d| (d.actor.0, d.counter)).collect()
    }

    fn sets() -> impl Strategy<Value = Naive> {
        prop::collection::btree_set((1u64..4, 1u64..9), 0..20)
    }

    proptest! {
        #[test]
        fn a_dot_set_is_a_set(a in sets(), b in sets()) {
            let (x, y) = (built(&a), built(&b));
            prop_assert_eq!(naive(&x), a.clone());
            let mut union = x.clone();
            union.union(&y);
            prop_assert_eq!(naive(&union), &a | &b);
            prop_assert_eq!(naive(&x.difference(&y)), &a - &b);
            prop_assert_eq!(x.is_subset(&y), a.is_subset(&b));
            prop_assert_eq!(x.len(), a.len() as u64);
            prop_assert_eq!(x.hash64() == y.hash64(), a == b);
        }

        #[test]
        fn the_wire_form_is_a_list_of_tuples(a in sets()) {
            let set = built(&a);
            let wire: Vec<WireEntry> = set.iter().map(|(actor, c)| (actor, c.base(), c.above().to_vec())).collect();
            prop_assert_eq!(rmp_serde::to_vec(&set).unwrap(), rmp_serde::to_vec(&wire).unwrap());
        }

        #[test]
        fn the_wire_form_comes_back_whatever_its_order(a in sets(), split in any::<bool>()) {
            let set = built(&a);
            let mut wire = rmp_serde::to_vec(&set).unwrap();
            if split {
                let entries: Vec<WireEntry> =
                    a.iter().rev().map(|(actor, c)| (Actor(*actor), 0, vec![(*c, *c)])).collect();
                wire = rmp_serde::to_vec(&entries).unwrap();
            }
            prop_assert_eq!(rmp_serde::from_slice::<DotSet>(&wire).unwrap(), set);
        }
    }
}
