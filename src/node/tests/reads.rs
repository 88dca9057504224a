use super::scene::{Scene, Wish, failure, get, put, values, written};
use crate::causal::DotSet;
use crate::node::Notice;
use crate::replication::{Failure, Message, Outcome, Quorum, ReadReply, Sloppiness};

#[test]
fn equal_replicas_answer_same() {
    let mut scene = Scene::of(3);
    let [a, ..] = scene.primaries();
    scene.ask(a, put("k", "1"));
    assert_eq!(values(&scene.ask(a, get("k"))), ["1"]);
    assert_eq!(scene.noticed(a, Notice::ReadAnsweredSame), 1);
    scene.assert_idle();
}

#[test]
fn a_key_that_nobody_has_is_found_empty() {
    let mut scene = Scene::of(3);
    let [a, ..] = scene.primaries();
    assert_eq!(values(&scene.ask(a, get("k"))), Vec::<String>::new());
}

#[test]
fn a_reader_sees_a_write_only_when_it_is_durable() {
    let mut scene = Scene::of(3);
    let [a, ..] = scene.primaries();
    scene.command(a, put("k", "1").having_seen(&DotSet::EMPTY));
    let early = scene.command(a, get("k").with(|o| o.r = Quorum::Count(1)));
    let Some(Outcome::Read(read)) = scene.answer(early) else { panic!() };
    assert!(read.state.versions.is_empty() && read.state.context.is_empty(), "neither object nor clock is pending");
    scene.flush(a);
    let late = scene.command(a, get("k").with(|o| o.r = Quorum::Count(1)));
    assert_eq!(values(&scene.answer(late).unwrap()), ["1"]);
}

#[test]
fn object_and_clock_are_of_one_instant_even_if_the_read_is_slow() {
    let mut scene = Scene::of(3);
    let [a, ..] = scene.primaries();
    scene.ask(a, put("k", "1"));
    scene.hold_reads(a);
    let read = scene.command(a, get("k").with(|o| o.r = Quorum::Count(1)));
    assert_eq!(scene.reads_waiting(a), 1);
    // Meanwhile another write of the key becomes durable.
    scene.command(a, put("k", "2").having_seen(&DotSet::EMPTY));
    scene.read(a);
    let Some(Outcome::Read(first)) = scene.answer(read) else { panic!() };
    assert_eq!((first.state.versions.len(), first.state.context.len()), (1, 1));
    let again = scene.command(a, get("k").with(|o| o.r = Quorum::Count(1)));
    scene.flush(a);
    assert_eq!(scene.answer(again), None, "the slot has changed under the read");
    scene.read(a);
    assert_eq!(values(&scene.answer(again).unwrap()), ["1", "2"]);
}

#[test]
fn whoever_is_behind_is_repaired() {
    let mut scene = Scene::of(3);
    let [a, _, c] = scene.primaries();
    let request = scene.command(a, put("k", "1"));
    scene.settle_without(&[c]);
    written(scene.answer(request).unwrap());
    assert_eq!(values(&scene.ask(c, get("k"))), ["1"]);
    assert_eq!(scene.noticed(c, Notice::ReadRepaired), 1);
    scene.settle();
    assert_eq!(scene.report(c).clock, scene.report(a).clock);
}

#[test]
fn repair_hands_on_no_context_as_seen_dots() {
    let mut scene = Scene::of(3);
    let [a, _, c] = scene.primaries();
    for (key, value) in [("other", "1"), ("k", "2")] {
        scene.command(a, put(key, value));
        scene.settle_without(&[c]);
    }
    scene.ask(c, get("k"));
    assert_eq!(scene.report(c).clock.len(), 1, "the dot of `other` has no effect here, and is not claimed");
    assert_eq!(scene.report(c).leftovers, 1);
}

#[test]
fn a_silent_replica_is_hedged_and_a_deadline_answers() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    scene.ask(a, put("k", "1"));
    let request = scene.command(a, get("k"));
    assert_eq!(scene.recipients(a), [b]);
    scene.isolate(b);
    scene.wait(200);
    assert_eq!(scene.recipients(a), [c]);
    scene.settle();
    assert_eq!(values(&scene.answer(request).unwrap()), ["1"]);
    let request = scene.command(a, get("k"));
    scene.wait(200);
    scene.isolate(a);
    scene.wait(2_000);
    assert_eq!(failure(scene.answer(request)), Failure::ReadTimeout { required: 2, answers: 1 });
    scene.assert_idle();
}

#[test]
fn an_error_of_the_disk_is_no_answer_and_another_is_asked() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    scene.ask(a, put("k", "1"));
    scene.hold_reads(a);
    let request = scene.command(a, get("k"));
    scene.fail_reads(a);
    let mut asked = scene.recipients(a);
    asked.sort_unstable();
    let mut others = [b, c];
    others.sort_unstable();
    assert_eq!(asked, others);
    scene.settle();
    assert_eq!(values(&scene.answer(request).unwrap()), ["1"]);
    scene.assert_idle();
}

#[test]
fn a_strict_read_asks_no_fallback_and_a_sloppy_one_finds_the_hint() {
    let mut scene = Scene::of(5);
    let [a, b, c] = scene.primaries();
    let [f, _] = scene.fallbacks();
    [a, b, c].into_iter().for_each(|primary| scene.down(f, primary));
    scene.command(f, put("k", "1"));
    scene.settle_without(&[a, b, c]);
    let strict = scene.command(f, get("k").with(|o| o.sloppiness = Sloppiness::Strict));
    assert_eq!(failure(scene.answer(strict)), Failure::TooFewReplicas { required: 2, reachable: 0 });
    let sloppy = scene.command(f, get("k"));
    scene.settle_without(&[a, b, c]);
    let Some(Outcome::Read(result)) = scene.answer(sloppy) else { panic!() };
    assert_eq!((result.state.versions.len(), result.hinted), (1, 2));
    scene.assert_idle();
}

#[test]
pub(super) fn a_filling_replica_does_not_count() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    scene.ask(a, put("k", "1"));
    scene.wipe(b);
    scene.isolate(b);
    let request = scene.command(a, get("k").with(|o| o.r = Quorum::All));
    scene.deliver(a, b);
    assert!(matches!(&scene.letters(b, a)[0].message, Message::ReadAnswer { reply: ReadReply::Filling, .. }));
    scene.deliver(b, a);
    scene.deliver(a, c);
    scene.deliver(c, a);
    assert_eq!(failure(scene.answer(request)), Failure::TooFewReplicas { required: 3, reachable: 2 });
    scene.assert_idle();
}
