use super::scene::{Scene, Wish, get, put, values, written};
use crate::base::NodeId;
use crate::causal::DotSet;
use crate::node::Notice;
use crate::replication::{Message, Quorum};

/// A write whose hint `f` holds for `c`; `f` still takes `c` for up.
fn hinted(scene: &mut Scene) -> (NodeId, NodeId, NodeId) {
    let [a, _, c] = scene.primaries();
    let [f] = scene.fallbacks();
    scene.down(a, c);
    let request = scene.command(a, put("k", "1").having_seen(&DotSet::EMPTY).with(|o| o.w = Quorum::All));
    scene.settle_without(&[c]);
    written(scene.answer(request).unwrap());
    assert_eq!(scene.hints(f, c), 1);
    (a, c, f)
}

#[test]
pub(super) fn a_hint_goes_when_its_target_says_durable_and_not_before() {
    let mut scene = Scene::of(4);
    let (_, c, f) = hinted(&mut scene);
    scene.wait(250);
    assert_eq!((scene.letters(f, c).len(), scene.hints(f, c)), (1, 1));
    scene.deliver(f, c);
    assert!(scene.letters(c, f).is_empty());
    scene.flush(c);
    scene.deliver(c, f);
    assert_eq!(scene.hints(f, c), 1, "the log does not say so yet");
    scene.flush(f);
    assert_eq!((scene.hints(f, c), scene.noticed(f, Notice::HintDrained)), (0, 1));
    assert_eq!(scene.report(c).clock.len(), 1);
}

#[test]
fn a_hint_that_was_lost_on_its_way_is_sent_again() {
    let mut scene = Scene::of(4);
    let (_, c, f) = hinted(&mut scene);
    scene.wait(250);
    assert_eq!(scene.lose(f, c).len(), 1);
    scene.wait(1_000);
    assert!(scene.letters(f, c).is_empty(), "not before its patience is over");
    scene.wait(1_500);
    assert_eq!(scene.letters(f, c).len(), 1);
    scene.settle();
    assert_eq!(scene.hints(f, c), 0);
}

#[test]
fn an_acknowledgement_of_somebody_else_drops_no_hint() {
    let mut scene = Scene::of(4);
    let (a, c, f) = hinted(&mut scene);
    scene.wait(250);
    scene.deliver(f, c);
    scene.flush(c);
    let mut letter = scene.lose(c, f).remove(0);
    letter.from = a;
    scene.hand_over(letter);
    scene.flush(f);
    assert_eq!(scene.hints(f, c), 1);
}

#[test]
fn a_target_that_is_down_is_left_alone() {
    let mut scene = Scene::of(4);
    let (_, c, f) = hinted(&mut scene);
    scene.down(f, c);
    scene.wait(5_000);
    assert!(scene.letters(f, c).is_empty());
    scene.up(f, c);
    scene.settle();
    assert_eq!(scene.hints(f, c), 0);
}

#[test]
fn a_late_hint_of_something_superseded_changes_nothing() {
    let mut scene = Scene::of(4);
    let (a, c, f) = hinted(&mut scene);
    scene.up(a, c);
    scene.wait(250);
    let late = scene.lose(f, c).remove(0);
    scene.ask(a, put("k", "2"));
    scene.hand_over(late);
    scene.settle();
    assert_eq!(values(&scene.ask(c, get("k").with(|o| o.r = Quorum::Count(1)))), ["2"]);
    assert_eq!(scene.hints(f, c), 0, "what is covered is acknowledged all the same");
}

#[test]
fn a_refused_hint_stays() {
    let mut scene = Scene::of(4);
    let (_, c, f) = hinted(&mut scene);
    scene.wait(250);
    scene.deliver(f, c);
    scene.fail_appends(c);
    assert!(matches!(scene.letters(c, f)[0].message, Message::Replicated { .. }));
    scene.settle();
    assert_eq!(scene.hints(f, c), 1);
    scene.wait(2_500);
    scene.settle();
    assert_eq!(scene.hints(f, c), 0);
}

#[test]
fn a_hint_whose_end_could_not_be_logged_is_handed_over_again() {
    let mut scene = Scene::of(4);
    let (_, c, f) = hinted(&mut scene);
    scene.wait(250);
    scene.deliver(f, c);
    scene.flush(c);
    scene.deliver(c, f);
    scene.fail_appends(f);
    assert_eq!(scene.hints(f, c), 1);
    scene.wait(5_000);
    scene.settle();
    assert_eq!(scene.hints(f, c), 0);
}

#[test]
fn hints_that_are_being_read_count_as_on_their_way() {
    let mut scene = Scene::of(4);
    let [a, _, c] = scene.primaries();
    let [f] = scene.fallbacks();
    scene.down(a, c);
    scene.down(f, c);
    for _ in 0..100 {
        scene.command(a, put("k", "1"));
    }
    scene.settle_without(&[c]);
    assert_eq!(scene.hints(f, c), 100);
    scene.hold_reads(f);
    scene.up(f, c);
    scene.wait(1_000);
    assert_eq!(scene.reads_waiting(f), 64);
}
