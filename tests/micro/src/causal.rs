//! Clocks, objects, tokens.

use super::samples::{clock, clock_with_gaps, dot, filled, key, object};
use super::{Case, Operation, operation};
use dunlin::causal::{DotSet, Token, TokenSecret, entry_hash};
use std::hint::black_box;

/// The cases.
pub const CASES: &[Case] = &[
    case("clock: contains", contains),
    case("clock: insert the next dot", insert),
    case("clock: clone, union", || union(clock(1000), clock(1001))),
    case("clock with 16 gaps: clone, union", || union(clock_with_gaps(1000), clock_with_gaps(1001))),
    case("clock: difference", || difference(clock(1001), clock(1000))),
    case("clock with 16 gaps: difference", || difference(clock_with_gaps(1001), clock_with_gaps(1000))),
    case("clock: hash", || hash(clock(1000))),
    case("object: clone, fill", fill),
    case("object: clone, strip", strip),
    case("object: clone, merge with the same", || merge(1)),
    case("object: clone, merge with a sibling", || merge(2)),
    case("object: hash of an entry", hash_of_entry),
    case("token: seal", seal),
    case("token: open", open),
];

const fn case(name: &'static str, prepare: fn() -> Operation) -> Case {
    Case { group: "causal", name, rounds: 1000, prepare }
}

fn contains() -> Operation {
    let clock = clock(1000);
    operation(move || black_box(&clock).contains(black_box(dot(2, 900))))
}

fn insert() -> Operation {
    let (mut clock, mut counter) = (clock(1000), 1000);
    operation(move || {
        counter += 1;
        clock.insert(black_box(dot(1, counter)));
    })
}

fn union(ours: DotSet, theirs: DotSet) -> Operation {
    operation(move || {
        let mut both = black_box(&ours).clone();
        both.union(black_box(&theirs));
        both
    })
}

fn difference(ours: DotSet, theirs: DotSet) -> Operation {
    operation(move || black_box(&ours).difference(black_box(&theirs)))
}

fn hash(clock: DotSet) -> Operation {
    operation(move || black_box(&clock).hash64())
}

fn fill() -> Operation {
    let (object, clock) = (object(dot(0, 1000)), clock(1000));
    operation(move || black_box(&object).clone().fill(black_box(&clock)))
}

fn strip() -> Operation {
    let (state, clock) = (filled(dot(0, 1000)), clock(1000));
    operation(move || black_box(&state).clone().strip(black_box(&clock)))
}

/// With what another replica holds: the same if its version's counter is 1.
fn merge(counter: u64) -> Operation {
    let (ours, theirs) = (filled(dot(0, 1001)), filled(dot(0, 1000 + counter)));
    operation(move || black_box(&ours).clone().merge(black_box(&theirs)))
}

fn hash_of_entry() -> Operation {
    let (key, object) = (key(1), object(dot(0, 1000)));
    operation(move || entry_hash(black_box(&key), black_box(&object.versions)))
}

fn token() -> (Token, TokenSecret) {
    let state = filled(dot(0, 1000));
    (Token::of(state.context.clone(), &state.live_dots()), TokenSecret::new([7; 32]))
}

fn seal() -> Operation {
    let ((token, secret), key) = (token(), key(1));
    operation(move || black_box(&token).seal(&secret, black_box(&key), &DotSet::EMPTY))
}

fn open() -> Operation {
    let ((token, secret), key) = (token(), key(1));
    let text = token.seal(&secret, &key, &DotSet::EMPTY);
    let secrets = [secret];
    operation(move || Token::open(&secrets, black_box(&key), black_box(&text)).expect("it was sealed for this key"))
}
