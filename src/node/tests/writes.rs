use super::scene::{Scene, Wish, delete, failure, get, put, put_beside, values, written};
use crate::base::limits::MAX_OBJECT_BYTES;
use crate::base::{HybridTime, Key};
use crate::causal::{Actor, Content, Dot, DotSet, Filled};
use crate::node::{Input, Notice, Space};
use crate::replication::{Condition, Failure, Message, Outcome, Quorum, Sloppiness, StoreReply};
use bytes::Bytes;

#[test]
fn a_write_leaves_its_node_only_when_it_is_durable_there() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    let request = scene.command(a, put("k", "v").having_seen(&DotSet::EMPTY));
    assert_eq!((scene.appended(a).len(), scene.recipients(a)), (1, vec![]));
    scene.flush(a);
    assert_eq!(scene.answer(request), None, "one copy of two");
    assert_eq!(scene.letters(a, b).len() + scene.letters(a, c).len(), 2);
}

#[test]
fn w_durable_copies_answer_and_the_rest_is_awaited_no_more_than_once() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    let request = scene.command(a, put("k", "v").having_seen(&DotSet::EMPTY));
    scene.flush(a);
    scene.deliver(a, b);
    assert!(scene.letters(b, a).is_empty(), "nothing is durable at b yet");
    scene.flush(b);
    let acknowledgement = scene.letters(b, a).remove(0);
    scene.deliver(b, a);
    let result = written(scene.answer(request).unwrap());
    assert_eq!((result.acks, result.hinted, result.replicas, result.created), (2, 0, 3, true));
    scene.hand_over(acknowledgement);
    scene.deliver(a, c);
    scene.settle();
    assert!(scene.answer(request).is_some());
    scene.assert_idle();
}

#[test]
fn a_repeated_acknowledgement_counts_once() {
    let mut scene = Scene::of(3);
    let [a, b, _] = scene.primaries();
    let request = scene.command(a, put("k", "v").having_seen(&DotSet::EMPTY).with(|o| o.w = Quorum::All));
    scene.flush(a);
    scene.deliver(a, b);
    scene.flush(b);
    let acknowledgement = scene.letters(b, a).remove(0);
    scene.hand_over(acknowledgement.clone());
    scene.hand_over(acknowledgement);
    assert_eq!(scene.answer(request), None);
}

#[test]
fn a_plain_write_asks_a_quorum_what_it_must_supersede() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    let first = scene.command(a, put("k", "1"));
    scene.settle_without(&[c]);
    written(scene.answer(first).unwrap());
    // c has missed it, and coordinates the next.
    let second = scene.command(c, put("k", "2"));
    assert!(scene.appended(c).is_empty(), "not before a quorum has spoken");
    scene.settle();
    written(scene.answer(second).unwrap());
    assert_eq!(values(&scene.ask(b, get("k"))), ["2"]);
    scene.wait(2_000);
    scene.settle();
    scene.assert_idle();
}

#[test]
fn a_token_supersedes_what_it_covers_and_nothing_else() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    let first = written(scene.ask(a, put("k", "1")));
    let second = written(scene.ask(b, put("k", "2").having_seen(&DotSet::EMPTY)));
    assert_eq!(values(&scene.ask(c, get("k"))), ["1", "2"]);
    scene.ask(c, put("k", "3").having_seen(&first.context));
    assert_eq!(values(&scene.ask(a, get("k"))), ["2", "3"]);
    assert_eq!(second.context.len(), 1, "the token of a write covers no sibling its client has not seen");
    scene.ask(c, delete("k"));
    assert_eq!(values(&scene.ask(a, get("k"))), Vec::<String>::new());
    for node in [a, b, c] {
        assert_eq!((scene.report(node).keys, scene.report(node).leftovers), (0, 0), "a delete leaves nothing");
    }
}

#[test]
fn two_writes_of_a_key_build_on_one_another_before_either_is_durable() {
    let mut scene = Scene::of(3);
    let [a, ..] = scene.primaries();
    let first = scene.command(a, put("k", "1").having_seen(&DotSet::EMPTY));
    let second = scene.command(a, put("k", "2").having_seen(&DotSet::EMPTY));
    assert_eq!(scene.appended(a).len(), 2);
    scene.settle();
    assert!(scene.answer(first).is_some() && scene.answer(second).is_some());
    assert_eq!(values(&scene.ask(a, get("k"))), ["1", "2"]);
}

#[test]
fn conditions_are_judged_by_a_quorum() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    let first = scene.command(a, put("k", "1").only_if(Condition::Absent));
    scene.settle_without(&[c]);
    let live_hash = match scene.answer(first) {
        Some(Outcome::Written(_)) => match scene.ask(c, put("k", "x").only_if(Condition::Absent)) {
            Outcome::PreconditionFailed { live_hash } => live_hash,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    written(scene.ask(b, put("k", "2").only_if(Condition::LiveHashIn(vec![live_hash]))));
    let stale = scene.ask(b, put("k", "3").only_if(Condition::LiveHashIn(vec![live_hash])));
    assert!(matches!(stale, Outcome::PreconditionFailed { .. }));
    assert_eq!(values(&scene.ask(c, get("k"))), ["2"]);
    scene.wait(2_000);
    scene.settle();
    scene.assert_idle();
}

#[test]
fn a_condition_without_a_quorum_is_refused_and_a_plain_write_goes_on() {
    let mut scene = Scene::of(5);
    let [a, b, c] = scene.primaries();
    scene.down(a, b);
    scene.down(a, c);
    let conditional = scene.command(a, put("k", "1").only_if(Condition::Absent));
    let plain = scene.command(a, put("k", "2"));
    scene.settle_without(&[b, c]);
    assert!(matches!(failure(scene.answer(conditional)), Failure::TooFewReplicas { required: 1, reachable: 0 }));
    assert_eq!(written(scene.answer(plain).unwrap()).hinted, 1);
}

#[test]
fn too_few_replicas_to_begin_with_is_refused_before_anything_is_written() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    scene.down(a, b);
    scene.down(a, c);
    let request = scene.command(a, put("k", "1"));
    assert_eq!(failure(scene.answer(request)), Failure::TooFewReplicas { required: 2, reachable: 1 });
    let request = scene.command(a, put("k", "1").with(|o| o.w = Quorum::Count(4)));
    assert_eq!(failure(scene.answer(request)), Failure::QuorumTooLarge { replicas: 3 });
    assert!(scene.appended(a).is_empty());
    scene.assert_idle();
}

#[test]
fn a_write_that_began_and_got_too_few_copies_is_of_unknown_outcome() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    let request = scene.command(a, put("k", "1").having_seen(&DotSet::EMPTY));
    scene.settle_without(&[b, c]);
    scene.wait(2_000);
    assert_eq!(failure(scene.answer(request)), Failure::OutcomeUnknown { required: 2, acks: 1, coordinator: None });
    scene.assert_idle();
}

#[test]
fn a_write_whose_time_ended_before_it_minted_wrote_nothing() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    scene.ask(a, put("k", "1"));
    scene.hold_reads(a);
    let request = scene.command(a, put("k", "2").having_seen(&DotSet::EMPTY));
    assert_eq!(scene.reads_waiting(a), 1);
    scene.wait(2_000);
    assert!(matches!(failure(scene.answer(request)), Failure::TooFewReplicas { .. }));
    scene.read(a);
    scene.settle_without(&[b, c]);
    assert!(scene.appended(a).is_empty());
    assert_eq!(scene.report(a).clock.len(), 1);
    scene.assert_idle();
}

#[test]
fn an_object_that_cannot_be_read_is_no_absent_object() {
    let mut scene = Scene::of(3);
    let [a, ..] = scene.primaries();
    scene.ask(a, put("k", "1"));
    scene.hold_reads(a);
    let request = scene.command(a, put("k", "2").having_seen(&DotSet::EMPTY));
    scene.fail_reads(a);
    assert_eq!(failure(scene.answer(request)), Failure::NotReady);
    assert!(scene.appended(a).is_empty());
}

#[test]
fn a_fallback_stands_in_for_a_primary_that_is_down() {
    let mut scene = Scene::of(4);
    let [a, b, c] = scene.primaries();
    let [f] = scene.fallbacks();
    scene.down(a, c);
    let request = scene.command(a, put("k", "1").having_seen(&DotSet::EMPTY).with(|o| o.w = Quorum::All));
    scene.settle_without(&[c]);
    let result = written(scene.answer(request).unwrap());
    assert_eq!((result.acks, result.hinted), (3, 1));
    assert_eq!((scene.hints(f, c), scene.hints(b, c)), (1, 0));
    scene.assert_idle();
}

#[test]
fn a_strict_write_asks_no_fallback() {
    let mut scene = Scene::of(4);
    let [a, _, c] = scene.primaries();
    let [f] = scene.fallbacks();
    let strict = |o: &mut crate::replication::Options| (o.w, o.sloppiness) = (Quorum::All, Sloppiness::Strict);
    let request = scene.command(a, put("k", "1").having_seen(&DotSet::EMPTY).with(strict));
    scene.settle_without(&[c]);
    scene.wait(1_000);
    assert!(scene.letters(a, f).is_empty());
    scene.wait(1_000);
    assert_eq!(failure(scene.answer(request)), Failure::OutcomeUnknown { required: 3, acks: 2, coordinator: None });
}

#[test]
fn a_primary_that_is_late_gets_a_stand_in() {
    let mut scene = Scene::of(4);
    let [a, b, c] = scene.primaries();
    let [f] = scene.fallbacks();
    let request = scene.command(a, put("k", "1").having_seen(&DotSet::EMPTY));
    scene.settle_without(&[b, c]);
    assert_eq!(scene.answer(request), None);
    scene.wait(300);
    assert_eq!(scene.letters(a, f).len(), 1);
    scene.deliver(a, f);
    scene.flush(f);
    scene.deliver(f, a);
    let result = written(scene.answer(request).unwrap());
    assert_eq!((result.acks, result.hinted), (2, 1));
}

#[test]
pub(super) fn a_fallback_coordinates_when_no_primary_is_up_with_one_record_for_all() {
    let mut scene = Scene::of(5);
    let [a, b, c] = scene.primaries();
    let [f, g] = scene.fallbacks();
    [a, b, c].into_iter().for_each(|primary| scene.down(f, primary));
    let request = scene.command(f, put("k", "1"));
    assert_eq!(scene.appended(f).len(), 1, "one record, whatever the number of targets");
    scene.settle_without(&[a, b, c]);
    let result = written(scene.answer(request).unwrap());
    assert_eq!((result.acks, result.hinted), (2, 2));
    assert_eq!((scene.hints(f, a), scene.hints(g, b)), (1, 1));
    assert_eq!(scene.noticed(f, Notice::FallbackCoordinated), 1);
    scene.assert_idle();
}

#[test]
fn the_second_plain_write_of_a_fallback_supersedes_its_first() {
    let mut scene = Scene::of(5);
    let [a, b, c] = scene.primaries();
    let [f, _] = scene.fallbacks();
    [a, b, c].into_iter().for_each(|primary| scene.down(f, primary));
    scene.command(f, put("k", "1"));
    scene.command(f, put("k", "2"));
    scene.settle_without(&[a, b, c]);
    [a, b, c].into_iter().for_each(|primary| scene.up(f, primary));
    scene.settle();
    scene.wait(300);
    scene.settle();
    assert_eq!(values(&scene.ask(a, get("k"))), ["2"]);
}

#[test]
fn a_conditional_write_at_a_fallback_is_refused() {
    let mut scene = Scene::of(5);
    let [a, b, c] = scene.primaries();
    let [f, _] = scene.fallbacks();
    [a, b, c].into_iter().for_each(|primary| scene.down(f, primary));
    let request = scene.command(f, put("k", "1").only_if(Condition::Absent));
    assert!(matches!(failure(scene.answer(request)), Failure::TooFewReplicas { .. }));
    assert!(scene.appended(f).is_empty());
}

#[test]
fn a_replica_that_is_no_primary_refuses_a_primary_s_copy() {
    let mut scene = Scene::of(4);
    let [a, b, _] = scene.primaries();
    let [f] = scene.fallbacks();
    scene.command(a, put("k", "1").having_seen(&DotSet::EMPTY));
    scene.flush(a);
    let mut letter = scene.letters(a, b).remove(0);
    letter.to = f;
    scene.hand_over(letter);
    assert!(scene.appended(f).is_empty());
    assert!(matches!(&scene.letters(f, a)[0].message, Message::Replicated { .. }));
}

#[test]
fn a_fallback_s_write_with_a_token_supersedes_no_hint_its_client_has_not_seen() {
    let mut scene = Scene::of(5);
    let [a, b, c] = scene.primaries();
    let [f, _] = scene.fallbacks();
    [a, b, c].into_iter().for_each(|primary| scene.down(f, primary));
    let first = scene.command(f, put("k", "1"));
    let second = scene.command(f, put("k", "2").having_seen(&DotSet::EMPTY));
    scene.settle_without(&[a, b, c]);
    assert!(scene.answer(first).is_some() && scene.answer(second).is_some());
    [a, b, c].into_iter().for_each(|primary| scene.up(f, primary));
    scene.wait(300);
    scene.settle();
    assert_eq!(values(&scene.ask(a, get("k"))), ["1", "2"], "both were acknowledged, neither had seen the other");
}

#[test]
fn a_plain_write_waits_for_the_context_that_is_on_its_way() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    let request = scene.command(c, put("k", "1").having_seen(&DotSet::EMPTY));
    scene.settle_without(&[a]);
    written(scene.answer(request).unwrap());
    scene.wipe(b);
    scene.isolate(b);
    // a has missed the write; b is filling, c knows it. Both are asked: the first, and the hedge.
    let request = scene.command(a, put("k", "2"));
    scene.wait(200);
    assert_eq!(scene.letters(a, b).len() + scene.letters(a, c).len(), 2);
    scene.deliver(a, b);
    scene.deliver(b, a);
    assert!(scene.appended(a).is_empty(), "b does not count, and c has not spoken yet");
    scene.settle();
    written(scene.answer(request).unwrap());
    assert_eq!(values(&scene.ask(c, get("k"))), ["2"]);
}

#[test]
fn a_node_whose_counter_is_behind_its_own_dots_mints_nothing() {
    let mut scene = Scene::of(3);
    let [a, ..] = scene.primaries();
    let own = DotSet::from(Dot { actor: scene.actor(a), counter: 2 });
    let refused = scene.ask(a, put("k", "1").having_seen(&own));
    assert_eq!(failure(Some(refused)), Failure::NotReady);
    assert!(scene.report(a).clock.is_empty());
    assert_eq!(scene.noticed(a, Notice::CounterBehind), 1);
}

/// Half of what one object may hold, and a bit.
fn large() -> Bytes {
    Bytes::from(vec![0; MAX_OBJECT_BYTES / 2 + 1])
}

#[test]
fn siblings_too_long_for_one_record_are_refused_when_they_are_minted() {
    let mut scene = Scene::of(3);
    let [a, ..] = scene.primaries();
    let large = large();
    written(scene.ask(a, put_beside("k", large.clone())));
    let second = scene.command(a, put_beside("k", large.clone()));
    scene.settle();
    assert_eq!(failure(scene.answer(second)), Failure::SiblingsTooLarge { limit: MAX_OBJECT_BYTES });
    written(scene.ask(a, put("k", "1")));
    assert_eq!(values(&scene.ask(a, get("k"))), ["1"]);
    scene.assert_idle();
}

#[test]
fn a_merge_too_long_for_one_record_is_refused_and_other_keys_go_on() {
    let mut scene = Scene::of(3);
    let [a, b, _] = scene.primaries();
    let (key, large) = (Key::new("k").unwrap(), large());
    for (request, actor) in [(71, Actor(71)), (72, Actor(72))] {
        let dot = Dot { actor, counter: 1 };
        let content = Content {
            value: large.clone(),
            content_type: String::new(),
            metadata: Vec::new(),
            written_at: HybridTime::default(),
            expires_at: None,
        };
        let state = Filled::default().update(&DotSet::EMPTY, dot, Some(content));
        let message =
            Message::Replicate { request, key: key.clone(), state, dots: dot.into(), hint_for: Vec::new(), layout: 1 };
        scene.feed(a, Input::Message { from: b, message });
        scene.flush(a);
    }
    let told: Vec<(u64, bool)> = scene
        .letters(a, b)
        .iter()
        .filter_map(|letter| match &letter.message {
            Message::Replicated { request, reply } => Some((*request, matches!(reply, StoreReply::Durable { .. }))),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(71, true), (72, false)]);
    written(scene.ask(a, put("other", "1")));
}

#[test]
fn at_the_reserve_puts_are_refused_and_deletes_taken() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    scene.ask(a, put("k", "1"));
    [a, b, c].into_iter().for_each(|node| scene.feed(node, Input::Space(Space::Reserve)));
    let refused = scene.command(a, put("k", "2"));
    scene.settle();
    assert_eq!(failure(scene.answer(refused)), Failure::DiskFull);
    assert!(scene.appended(a).is_empty(), "refused before anything is minted");
    written(scene.ask(a, delete("k")));
    scene.feed(a, Input::Space(Space::Plenty));
    scene.feed(b, Input::Space(Space::Plenty));
    written(scene.ask(a, put("k", "3")));
}

#[test]
fn a_put_at_a_full_primary_is_coordinated_by_another() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    scene.feed(a, Input::Space(Space::Reserve));
    let result = written(scene.ask(a, put("k", "1")));
    assert_eq!((result.acks, scene.report(a).keys), (2, 0), "the full replica took no copy");
    assert_eq!((scene.report(b).keys, scene.report(c).keys), (1, 1));
}
