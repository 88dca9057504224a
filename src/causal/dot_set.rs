//! An exact set of dots: the form of partition clocks, of contexts and of leftovers alike.

use super::{Actor, Dot, Intervals};
use crate::base::{Mutation, broken};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A set of dots, per actor in compact form. A *partition clock* is the set a replica has seen; a
/// *context* is the set a client or a key has seen. Exact: it never claims a lower counter it was not
/// given (a plain version vector does, and loses writes).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Vec<WireEntry>", into = "Vec<WireEntry>")]
pub struct DotSet {
    /// Ascending by actor; no entry is empty.
    entries: Vec<(Actor, Intervals)>,
}

/// actor, base, intervals above it
type WireEntry = (Actor, u64, Vec<(u64, u64)>);

impl DotSet {
    /// The set with no dot.
    pub const EMPTY: DotSet = DotSet { entries: Vec::new() };

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

/// Whatever a peer sends becomes canonical on the way in.
impl From<Vec<WireEntry>> for DotSet {
    fn from(wire: Vec<WireEntry>) -> Self {
        let mut set = DotSet::default();
        for (actor, base, above) in wire {
            let mut counters = Intervals::up_to(base);
            above.into_iter().for_each(|(start, end)| counters.insert_range(start, end));
            set.insert_all(actor, &counters);
        }
        set
    }
}

impl From<DotSet> for Vec<WireEntry> {
    fn from(set: DotSet) -> Self {
        set.entries.into_iter().map(|(actor, c)| (actor, c.base(), c.above().to_vec())).collect()
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
        fn the_wire_form_comes_back_whatever_its_order(a in sets(), split in any::<bool>()) {
            let set = built(&a);
            let mut wire: Vec<WireEntry> = set.clone().into();
            if split {
                wire = a.iter().rev().map(|(actor, c)| (Actor(*actor), 0, vec![(*c, *c)])).collect();
            }
            prop_assert_eq!(DotSet::from(wire), set);
        }
    }
}
