//! Records are lost while the node runs. The story is the same each time: the driver says which partitions, the
//! node wants a new actor, gets it, voids the clocks, and is told the records until none of them counts.

use super::scene::{Letter, PARTITION, Scene, Wish, delete, get, put, values, written};
use crate::base::NodeId;
use crate::causal::{Actor, DotSet};
use crate::node::{Input, Notice};
use crate::replication::{Failure, Message, Outcome, Quorum, Refusal, StoreReply};
use crate::store::{Body, LostRecord};
use std::collections::BTreeSet;

const NEW: Actor = Actor(77_777);

fn damaged(scene: &mut Scene, at: NodeId) {
    scene.feed(at, Input::Damaged(BTreeSet::from([PARTITION])));
}

/// All of it, up to the exchange.
fn repair(scene: &mut Scene, at: NodeId, lost: &LostRecord) {
    damaged(scene, at);
    scene.give_actor(at, NEW);
    scene.flush(at);
    scene.feed(at, Input::Lost(vec![lost.clone()]));
    scene.settle();
}

#[test]
pub(super) fn a_lost_record_comes_back_from_the_others() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    scene.ask(a, put("k", "1"));
    scene.ask(b, put("other", "2"));
    let lost = scene.lose_record(a, "k");
    repair(&mut scene, a, &lost);
    assert!(!scene.is_current(a, &lost) && !scene.is_complete(a));
    scene.exchange();
    assert!(scene.is_complete(a));
    assert_eq!(scene.report(a), scene.report(b));
    assert_eq!(scene.report(a), scene.report(c));
    scene.down(a, b);
    scene.down(a, c);
    let mut alone = get("k");
    alone.options.r = Quorum::Count(1);
    assert_eq!(values(&scene.ask(a, alone)), ["1"]);
    assert_eq!(scene.noticed(a, Notice::PartitionVoided), 1);
}

#[test]
fn a_write_that_only_the_damaged_node_has_reaches_the_others() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    scene.ask(a, put("k", "1"));
    scene.command(a, Wish::having_seen(put("mine", "2"), &DotSet::EMPTY));
    scene.settle_without(&[b, c]);
    let lost = scene.lose_record(a, "k");
    repair(&mut scene, a, &lost);
    scene.exchange();
    assert_eq!(scene.report(a), scene.report(b));
    assert_eq!(scene.report(c).keys, 2);
}

#[test]
fn a_damaged_partition_neither_mints_nor_counts() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    let old = written(scene.ask(a, put("k", "1")));
    damaged(&mut scene, a);
    assert!(!scene.is_complete(a));
    let write = scene.command(a, put("k", "2"));
    assert_eq!(scene.appended(a), [], "no dot before there is a new actor");
    scene.settle();
    assert!(written(scene.answer(write).unwrap()).live.of(scene.actor(a)).is_none(), "another node mints it");
    scene.down(a, b);
    scene.down(a, c);
    let mut alone = get("k");
    alone.options.r = Quorum::Count(1);
    assert!(matches!(scene.ask(a, alone), Outcome::Failed(Failure::TooFewReplicas { .. })));
    scene.give_actor(a, NEW);
    scene.settle();
    assert!(old.live.of(NEW).is_none() && scene.actor(a) == NEW);
}

#[test]
fn a_look_that_began_before_the_damage_was_known_does_not_count() {
    let mut scene = Scene::of(3);
    let [a, ..] = scene.primaries();
    scene.ask(a, put("k", "1"));
    let lost = scene.lose_record(a, "k");
    scene.hold_reads(a);
    let mut alone = get("k");
    alone.options.r = Quorum::Count(1);
    let read = scene.command(a, alone);
    repair(&mut scene, a, &lost);
    // Its slot is empty by now: "not found" would be the answer of a replica that has forgotten.
    scene.read(a);
    scene.settle();
    assert_eq!(values(&scene.answer(read).unwrap()), ["1"], "from another replica");
}

#[test]
fn what_came_before_the_new_actor_is_acknowledged_by_the_old() {
    let mut scene = Scene::of(3);
    let [a, b, _] = scene.primaries();
    let old = scene.actor(a);
    scene.command(b, Wish::having_seen(put("k", "1"), &DotSet::EMPTY));
    scene.flush(b);
    scene.deliver(b, a);
    damaged(&mut scene, a);
    scene.give_actor(a, NEW);
    scene.flush(a);
    let acknowledged: Vec<Actor> = (scene.letters(a, b).into_iter())
        .filter_map(|letter| match letter.message {
            Message::Replicated { reply: StoreReply::Durable { actor, .. }, .. } => Some(actor),
            _ => None,
        })
        .collect();
    assert_eq!(acknowledged, [old]);
}

#[test]
fn a_clock_whose_voiding_failed_is_voided_later_and_takes_no_writes_before() {
    let mut scene = Scene::of(3);
    let [a, b, _] = scene.primaries();
    scene.ask(a, put("k", "1"));
    damaged(&mut scene, a);
    scene.give_actor(a, NEW);
    scene.fail_appends(a);
    scene.ask(b, put("k", "2"));
    assert_eq!(scene.noticed(a, Notice::PartitionVoided), 0);
    assert_eq!(scene.appended(a), []);
    scene.exchange();
    assert_eq!(scene.noticed(a, Notice::PartitionVoided), 1);
    assert!(scene.is_complete(a));
    assert_eq!(scene.report(a), scene.report(b));
}

#[test]
fn a_damaged_partition_refuses_what_it_would_forget() {
    let mut scene = Scene::of(3);
    let [a, b, _] = scene.primaries();
    scene.ask(b, put("k", "1"));
    scene.command(b, delete("k"));
    scene.flush(b);
    scene.deliver(b, a);
    scene.deliver(a, b);
    scene.flush(b);
    damaged(&mut scene, a);
    scene.deliver(b, a);
    let refused = |letter: &Letter| {
        matches!(letter.message, Message::Replicated { reply: StoreReply::Refused(Refusal::Unreadable), .. })
    };
    assert!(scene.letters(a, b).iter().any(refused));
}

#[test]
fn a_record_on_its_way_replaces_a_lost_one() {
    let mut scene = Scene::of(3);
    let [a, ..] = scene.primaries();
    let first = written(scene.ask(a, put("k", "1")));
    scene.command(a, Wish::having_seen(put("k", "2"), &first.context));
    let lost = scene.lose_record(a, "k");
    let before = scene.appended(a).len();
    damaged(&mut scene, a);
    scene.flush_one(a);
    scene.give_actor(a, NEW);
    scene.flush(a);
    scene.feed(a, Input::Lost(vec![lost.clone()]));
    assert_eq!((before, scene.appended(a).len()), (1, 0), "nothing to bury");
    assert!(!scene.is_current(a, &lost));
}

#[test]
fn no_older_record_of_a_lost_key_counts_after_a_restart() {
    let mut scene = Scene::of(3);
    let [a, ..] = scene.primaries();
    let first = written(scene.ask(a, put("k", "1")));
    scene.ask(a, Wish::having_seen(put("k", "2"), &first.context));
    let lost = scene.lose_record(a, "k");
    repair(&mut scene, a, &lost);
    assert_eq!(scene.replayed(a).index.len(), 0);
}

#[test]
fn a_hint_that_is_lost_is_given_up_under_a_new_actor() {
    let mut scene = Scene::of(4);
    let [a, b, c] = scene.primaries();
    let [fallback] = scene.fallbacks();
    [a, c, fallback].into_iter().for_each(|by| scene.down(by, b));
    scene.ask(a, put("k", "1"));
    let lost = scene.lose_hint(fallback);
    scene.feed(fallback, Input::Damaged(BTreeSet::new()));
    scene.feed(fallback, Input::Lost(vec![lost.clone()]));
    assert_eq!(scene.hints(fallback, b), 1, "not before the actor is another");
    scene.give_actor(fallback, NEW);
    scene.feed(fallback, Input::Lost(vec![lost]));
    assert!(matches!(scene.appended(fallback)[..], [crate::store::Record { body: Body::HintDone { .. }, .. }]));
    scene.settle();
    assert_eq!(scene.hints(fallback, b), 0);
}
