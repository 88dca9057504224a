use super::scene::{Scene, Wish, failure, get, put, values, written};
use crate::node::Input;
use crate::replication::{Failure, Message, Outcome, Quorum, Sloppiness};

#[test]
fn a_node_that_is_no_primary_passes_a_write_on_and_answers_once() {
    let mut scene = Scene::of(4);
    let [a, ..] = scene.primaries();
    let [f] = scene.fallbacks();
    let request = scene.command(f, put("k", "1"));
    assert_eq!(scene.recipients(f), [a]);
    scene.settle();
    assert_eq!(written(scene.answer(request).unwrap()).acks, 2);
    assert_eq!(values(&scene.ask(f, get("k"))), ["1"]);
    scene.assert_idle();
}

#[test]
fn silence_is_an_unknown_outcome_and_no_second_primary_is_tried() {
    let mut scene = Scene::of(4);
    let [a, ..] = scene.primaries();
    let [f] = scene.fallbacks();
    let request = scene.command(f, put("k", "1"));
    scene.isolate(a);
    scene.wait(1_999);
    assert!(scene.recipients(f).is_empty());
    scene.wait(1);
    let unknown = Failure::OutcomeUnknown { required: 2, acks: 0, coordinator: Some(a) };
    assert_eq!(failure(scene.answer(request)), unknown, "it names the node that stayed silent");
    scene.assert_idle();
}

#[test]
fn a_primary_that_goes_down_ends_its_forwards_as_unknown() {
    let mut scene = Scene::of(4);
    let [a, ..] = scene.primaries();
    let [f] = scene.fallbacks();
    let request = scene.command(f, put("k", "1"));
    scene.down(f, a);
    let unknown = Failure::OutcomeUnknown { required: 2, acks: 0, coordinator: Some(a) };
    assert_eq!(failure(scene.answer(request)), unknown, "it names the node that went away");
}

#[test]
fn a_coordinator_that_answers_of_its_own_doubt_is_not_named() {
    let mut scene = Scene::of(4);
    let [a, b, c] = scene.primaries();
    let [f] = scene.fallbacks();
    let request = scene.command(f, put("k", "1").with(|o| o.w = Quorum::All));
    [b, c].into_iter().for_each(|primary| scene.isolate(primary));
    let Message::Forward { request: number, .. } = scene.letters(f, a)[0].message.clone() else { panic!() };
    let unknown = Failure::OutcomeUnknown { required: 3, acks: 1, coordinator: None };
    let outcome = Outcome::Failed(unknown.clone());
    scene.feed(f, Input::Message { from: a, message: Message::Forwarded { request: number, outcome } });
    assert_eq!(failure(scene.answer(request)), unknown);
}

#[test]
fn nothing_written_lets_the_next_primary_be_tried() {
    let mut scene = Scene::of(4);
    let [a, b, _] = scene.primaries();
    let [f] = scene.fallbacks();
    scene.wipe(a);
    scene.isolate(a);
    let request = scene.command(f, put("k", "1"));
    scene.deliver(f, a);
    scene.deliver(a, f);
    assert_eq!(scene.recipients(f), [b]);
    scene.settle();
    written(scene.answer(request).unwrap());
    scene.assert_idle();
}

#[test]
fn filling_primaries_coordinate_when_no_other_is_left() {
    let mut scene = Scene::of(4);
    let [a, b, c] = scene.primaries();
    let [f] = scene.fallbacks();
    for primary in [a, b, c] {
        scene.wipe(primary);
    }
    [a, b, c].into_iter().for_each(|primary| scene.isolate(primary));
    let request = scene.command(f, put("k", "1"));
    for _ in 0..3 {
        [a, b, c].into_iter().for_each(|primary| scene.deliver(f, primary));
        [a, b, c].into_iter().for_each(|primary| scene.deliver(primary, f));
    }
    scene.settle();
    scene.wait(1_000);
    scene.settle();
    written(scene.answer(request).unwrap());
    scene.assert_idle();
}

#[test]
fn an_answer_from_someone_else_is_no_answer() {
    let mut scene = Scene::of(4);
    let [a, b, _] = scene.primaries();
    let [f] = scene.fallbacks();
    let request = scene.command(f, put("k", "1"));
    let Message::Forward { request: number, .. } = scene.letters(f, a)[0].message.clone() else { panic!() };
    let outcome = Outcome::Failed(Failure::NotReady);
    scene.feed(f, Input::Message { from: b, message: Message::Forwarded { request: number, outcome } });
    assert_eq!(scene.answer(request), None);
    assert!(scene.letters(f, b).is_empty());
}

#[test]
fn a_strict_write_without_primaries_is_refused() {
    let mut scene = Scene::of(5);
    let [a, b, c] = scene.primaries();
    let [f, _] = scene.fallbacks();
    [a, b].into_iter().for_each(|primary| scene.down(f, primary));
    scene.down(f, c);
    let request = scene.command(f, put("k", "1").with(|o| o.sloppiness = Sloppiness::Strict));
    assert_eq!(failure(scene.answer(request)), Failure::TooFewReplicas { required: 2, reachable: 0 });
}

#[test]
fn a_repeated_refusal_is_not_taken_for_the_answer_to_a_second_try() {
    let mut scene = Scene::of(4);
    let [a, b, c] = scene.primaries();
    let [f] = scene.fallbacks();
    [a, b, c].into_iter().for_each(|primary| scene.wipe(primary));
    [a, b, c].into_iter().for_each(|primary| scene.isolate(primary));
    let request = scene.command(f, put("k", "1"));
    let mut refusals = Vec::new();
    for primary in [a, b, c] {
        scene.deliver(f, primary);
        refusals.extend(scene.lose(primary, f));
        scene.hand_over(refusals.last().unwrap().clone());
    }
    assert_eq!(scene.recipients(f).len(), 1, "one filling primary is asked to take it");
    refusals.into_iter().for_each(|refusal| scene.hand_over(refusal));
    assert_eq!(scene.recipients(f).len(), 1, "and no second one while it may be at it");
    assert_eq!(scene.answer(request), None);
}
