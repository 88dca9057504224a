//! The laws of merging, and equivalence with a naive model of explicit sets.

use super::*;
use crate::causal::Actor;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// The reference: a state is a map of live writes and an explicit set of writes seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Naive {
    live: BTreeMap<(u64, u64), u8>,
    seen: BTreeSet<(u64, u64)>,
}

impl Naive {
    fn merge(&self, other: &Naive) -> Naive {
        let mut live = BTreeMap::new();
        for (dot, value) in self.live.iter().chain(&other.live) {
            let here = self.live.contains_key(dot) || !self.seen.contains(dot);
            let there = other.live.contains_key(dot) || !other.seen.contains(dot);
            if here && there {
                live.insert(*dot, *value);
            }
        }
        Naive { live, seen: &self.seen | &other.seen }
    }
}

fn dot((actor, counter): (u64, u64)) -> Dot {
    Dot { actor: Actor(actor), counter }
}

fn content(value: u8) -> Content {
    Content {
        value: vec![value].into(),
        content_type: String::new(),
        metadata: Vec::new(),
        written_at: HybridTime(0),
        expires_at: None,
    }
}

fn filled(naive: &Naive) -> Filled {
    let versions = naive.live.iter().map(|(d, v)| Version { dot: dot(*d), content: content(*v) }).collect();
    Filled { versions, context: naive.seen.iter().map(|d| dot(*d)).collect() }
}

/// Histories in which a dot has one value for ever, as the protocol guarantees.
fn states() -> impl Strategy<Value = Naive> {
    prop::collection::btree_map((1u64..4, 1u64..6), any::<bool>(), 0..12).prop_map(|seen| Naive {
        live: seen.iter().filter(|(_, live)| **live).map(|((a, c), _)| ((*a, *c), (a * 16 + c) as u8)).collect(),
        seen: seen.into_keys().collect(),
    })
}

proptest! {
    #[test]
    fn merge_equals_the_naive_model(a in states(), b in states()) {
        prop_assert_eq!(filled(&a).merge(&filled(&b)), filled(&a.merge(&b)));
    }

    #[test]
    fn merge_is_commutative_associative_and_idempotent(a in states(), b in states(), c in states()) {
        let (a, b, c) = (filled(&a), filled(&b), filled(&c));
        prop_assert_eq!(a.clone().merge(&b), b.clone().merge(&a));
        prop_assert_eq!(a.clone().merge(&b).merge(&c), a.clone().merge(&b.clone().merge(&c)));
        prop_assert_eq!(a.clone().merge(&a), a.clone());
        let ab = a.clone().merge(&b);
        prop_assert_eq!(ab.clone().merge(&b), ab);
    }

    #[test]
    fn strip_then_fill_gives_the_state_back(a in states(), clock in states()) {
        let mut clock = filled(&clock).context;
        let state = filled(&a);
        let stripped = state.clone().strip(&clock);
        prop_assert_eq!(stripped.leftover.clone(), state.context.difference(&clock));
        let mut whole = state.clone();
        whole.context.union(&clock);
        prop_assert_eq!(stripped.fill(&clock), whole.clone());
        clock.union(&state.context);
        prop_assert!(state.strip(&clock).leftover.is_empty());
    }

    #[test]
    fn a_write_supersedes_exactly_what_it_has_seen(a in states(), seen in states()) {
        let (before, seen) = (filled(&a), filled(&seen).context);
        let new = dot((9, 1));
        let after = before.clone().update(&seen, new, Some(content(255)));
        for version in &before.versions {
            prop_assert_eq!(after.has(version.dot), !seen.contains(version.dot));
        }
        prop_assert!(after.has(new) && after.context.contains(new));
        prop_assert_eq!(before.clone().merge(&after), after.clone().merge(&before));
        prop_assert!(before.merge(&after).live_dots() == after.live_dots());
    }

    #[test]
    fn outlines_merge_as_their_objects_do(a in states(), b in states()) {
        let (a, b) = (filled(&a), filled(&b));
        prop_assert_eq!(a.outline().merge(&b.outline()), a.merge(&b).outline());
    }
}

#[test]
fn a_covered_delete_leaves_nothing_to_store() {
    let clock = DotSet::from(dot((1, 1)));
    let put = Filled::default().update(&DotSet::EMPTY, dot((1, 1)), Some(content(1)));
    let seen = put.context.clone();
    let deleted = put.update(&seen, dot((1, 2)), None);
    assert!(!deleted.clone().strip(&clock).is_empty(), "until the clock covers the delete, its dot must be kept");
    let mut clock = clock;
    clock.insert(dot((1, 2)));
    assert!(deleted.strip(&clock).is_empty());
}

#[test]
fn the_partition_hash_needs_no_order_and_sees_every_change() {
    let key = |k: &str| Key::new(k.to_owned()).unwrap();
    let one = filled(&Naive { live: [((1, 1), 1)].into(), seen: [(1, 1)].into() });
    let two = filled(&Naive { live: [((1, 2), 1)].into(), seen: [(1, 2)].into() });
    assert_ne!(entry_hash(&key("a"), &one.versions), entry_hash(&key("a"), &two.versions));
    assert_ne!(entry_hash(&key("a"), &one.versions), entry_hash(&key("b"), &one.versions));
    assert_eq!(entry_hash(&key("a"), &[]), 0);
}

#[test]
fn one_dot_is_hashed_as_a_stream_of_one() {
    let streamed = |dots: &[Dot]| {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        for Dot { actor, counter } in dots {
            hasher.update(&actor.0.to_le_bytes());
            hasher.update(&counter.to_le_bytes());
        }
        hasher.digest()
    };
    let dots = [dot((1, 1)), dot((1, 7)), dot((9, 3))];
    for count in 1..=dots.len() {
        assert_eq!(live_hash(dots[..count].iter().copied()), streamed(&dots[..count]));
    }
    assert_eq!(live_hash(std::iter::empty()), 0);
}
