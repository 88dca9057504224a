use super::scene::{Scene, Wish, failure, get, put, values, written};
use crate::causal::DotSet;
use crate::replication::{Failure, Message, Refusal, StoreReply};
use crate::store::Body;

#[test]
fn a_failed_append_fails_everything_behind_it_once() {
    let mut scene = Scene::of(3);
    let [a, ..] = scene.primaries();
    let requests = ["1", "2", "3"].map(|value| scene.command(a, put("k", value).having_seen(&DotSet::EMPTY)));
    scene.fail_appends(a);
    for request in requests {
        assert_eq!(failure(scene.answer(request)), Failure::DiskFull);
    }
    assert_eq!((scene.resumed(a), scene.recipients(a)), (1, vec![]));
    scene.assert_idle();
}

#[test]
fn burnt_dots_are_voided_before_the_next_is_minted() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    scene.ask(a, put("k", "1"));
    scene.command(a, put("k", "2").having_seen(&DotSet::EMPTY));
    scene.command(a, put("k", "3").having_seen(&DotSet::EMPTY));
    scene.fail_appends(a);
    let actor = scene.actor(a);
    let next = scene.command(a, put("k", "4").having_seen(&DotSet::EMPTY));
    let bodies: Vec<Body> = scene.appended(a).into_iter().map(|record| record.body).collect();
    let [Body::Void { dots, minted: 3 }, Body::Object { minted: Some(4), .. }] = &bodies[..] else {
        panic!("{bodies:?}")
    };
    assert_eq!(dots.of(actor).map(|own| own.ranges().collect::<Vec<_>>()), Some(vec![(2, 3)]));
    scene.settle();
    written(scene.answer(next).unwrap());
    assert_eq!(values(&scene.ask(b, get("k"))), ["1", "4"]);
    scene.exchange();
    assert_eq!(scene.report(c).clock, scene.report(a).clock, "burnt dots are no gap for ever");
}

#[test]
fn a_void_record_that_fails_is_written_again() {
    let mut scene = Scene::of(3);
    let [a, ..] = scene.primaries();
    for _ in 0..3 {
        scene.command(a, put("k", "x").having_seen(&DotSet::EMPTY));
        scene.fail_appends(a);
    }
    scene.command(a, put("k", "1").having_seen(&DotSet::EMPTY));
    scene.settle();
    assert_eq!(scene.report(a).clock.len(), 4);
    assert!(scene.report(a).clock.iter().all(|(_, counters)| counters.is_contiguous()));
}

#[test]
fn what_was_durable_is_what_the_next_write_builds_on() {
    let mut scene = Scene::of(3);
    let [a, ..] = scene.primaries();
    scene.ask(a, put("k", "1"));
    scene.command(a, put("k", "2"));
    scene.settle_without(&[]);
    let lost = scene.command(a, put("k", "3").having_seen(&DotSet::EMPTY));
    scene.fail_appends(a);
    assert_eq!(failure(scene.answer(lost)), Failure::DiskFull);
    assert_eq!(values(&scene.ask(a, get("k"))), ["2"]);
    scene.ask(a, put("k", "4").having_seen(&DotSet::EMPTY));
    assert_eq!(values(&scene.ask(a, get("k"))), ["2", "4"]);
}

#[test]
fn a_replica_whose_append_failed_says_so() {
    let mut scene = Scene::of(3);
    let [a, b, _] = scene.primaries();
    scene.command(a, put("k", "1").having_seen(&DotSet::EMPTY));
    scene.flush(a);
    scene.deliver(a, b);
    scene.fail_appends(b);
    let refusal = StoreReply::Refused(Refusal::DiskFull);
    assert!(matches!(&scene.letters(b, a)[0].message, Message::Replicated { reply, .. } if *reply == refusal));
}

#[test]
fn a_repeated_state_is_acknowledged_only_when_the_first_is_durable() {
    let mut scene = Scene::of(3);
    let [a, b, _] = scene.primaries();
    scene.command(a, put("k", "1").having_seen(&DotSet::EMPTY));
    scene.flush(a);
    let letter = scene.letters(a, b).remove(0);
    scene.hand_over(letter.clone());
    scene.hand_over(letter.clone());
    assert!(scene.letters(b, a).is_empty(), "merged already, durable not yet");
    scene.flush(b);
    assert_eq!(scene.letters(b, a).len(), 2);
    scene.hand_over(letter);
    assert_eq!((scene.letters(b, a).len(), scene.appended(b).len()), (3, 0));
}

#[test]
fn a_failed_append_ends_the_sessions_that_count_on_it() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    let request = scene.command(a, put("k", "1"));
    scene.settle_without(&[c]);
    written(scene.answer(request).unwrap());
    scene.wait(5_000_000);
    for _ in 0..4 {
        for (from, to) in [(c, a), (a, c), (c, b), (b, c)] {
            scene.deliver(from, to);
        }
    }
    assert!(!scene.appended(c).is_empty(), "objects and the join are on their way");
    scene.fail_appends(c);
    scene.settle();
    assert!(scene.report(c).clock.is_empty() || scene.report(c).keys == 1);
    scene.exchange();
    assert_eq!(scene.report(c).clock, scene.report(a).clock);
}
