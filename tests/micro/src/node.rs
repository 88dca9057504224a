//! A whole PUT and a whole GET through the nodes concerned: every decision, and neither disk nor network.

use super::cluster::Cluster;
use super::samples::{key, new_content};
use super::{Case, Operation, operation};
use dunlin::replication::{Command, Condition, Operation as Asked, Options, Outcome};

/// The cases.
pub const CASES: &[Case] = &[
    case("put, 1 node", || put(1)),
    case("get, 1 node", || get(1)),
    case("put, 3 nodes", || put(3)),
    case("get, 3 nodes", || get(3)),
    case("put with a token, 3 nodes", || put_with_token(3)),
];

/// Keys, each asked for in turn.
const KEYS: u64 = 512;

const fn case(name: &'static str, prepare: fn() -> Operation) -> Case {
    Case { group: "node", name, rounds: 2 * KEYS as u32, prepare }
}

/// One key after the other.
fn in_turn(asked: impl Fn() -> Asked) -> impl FnMut() -> Command {
    let mut keys = (0..KEYS).map(key).collect::<Vec<_>>().into_iter().cycle();
    move || {
        let key = keys.next().expect("a cycle has no end");
        Command { key, operation: asked(), options: Options::default() }
    }
}

fn write() -> Asked {
    Asked::Write { content: Some(new_content()), seen: None, condition: Condition::Always }
}

/// A cluster that has every key, written twice.
fn loaded(nodes: u64) -> Cluster {
    let mut cluster = Cluster::of(nodes);
    let mut next = in_turn(write);
    (0..2 * KEYS).for_each(|_| written(&cluster.ask(next())));
    cluster
}

fn put(nodes: u64) -> Operation {
    let (mut cluster, mut next) = (loaded(nodes), in_turn(write));
    operation(move || written(&cluster.ask(next())))
}

fn written(outcome: &Option<Outcome>) {
    assert!(matches!(outcome, Some(Outcome::Written(_))), "a healthy cluster writes: {outcome:?}");
}

fn get(nodes: u64) -> Operation {
    let (mut cluster, mut next) = (loaded(nodes), in_turn(|| Asked::Get));
    operation(move || {
        let outcome = cluster.ask(next());
        let Some(Outcome::Read(result)) = &outcome else { panic!("a healthy cluster reads: {outcome:?}") };
        assert_eq!(result.state.versions.len(), 1, "writes one after the other leave no siblings");
        outcome
    })
}

/// Over one key: what a client read, it writes on.
fn put_with_token(nodes: u64) -> Operation {
    let mut cluster = loaded(nodes);
    let mut seen = None;
    operation(move || {
        let asked = Asked::Write { content: Some(new_content()), seen: seen.take(), condition: Condition::Always };
        let outcome = cluster.ask(Command { key: key(1), operation: asked, options: Options::default() });
        let Some(Outcome::Written(result)) = outcome else { panic!("a healthy cluster writes: {outcome:?}") };
        seen = Some(result.context);
    })
}
