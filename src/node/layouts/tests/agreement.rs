//! One step of an agreement at a time.

use super::{Scene, first, is_persist, message_of, next, send};
use crate::base::NodeId;
use crate::node::layouts::{ApplyError, LayoutEffect, LayoutInput, LayoutNotice};
use crate::replication::{Ballot, LayoutMessage};
use crate::ring::Layout;
use std::sync::Arc;

fn ballot(round: u64, proposer: u64) -> Ballot {
    Ballot { round, proposer: NodeId(proposer) }
}

fn prepare(ballot: Ballot) -> LayoutMessage {
    LayoutMessage::Prepare { version: 2, ballot }
}

fn promise(ballot: Ballot, accepted: Option<(Ballot, Arc<Layout>)>) -> LayoutMessage {
    LayoutMessage::Promise { version: 2, ballot, accepted }
}

fn accept(ballot: Ballot, layout: &Arc<Layout>) -> LayoutMessage {
    LayoutMessage::Accept { version: 2, ballot, layout: Arc::clone(layout) }
}

fn accepted(ballot: Ballot) -> LayoutMessage {
    LayoutMessage::Accepted { version: 2, ballot, reading: 1 }
}

fn apply(layout: &Arc<Layout>) -> LayoutInput {
    LayoutInput::Apply { request: 9, expected: layout.version - 1, layout: Arc::clone(layout) }
}

fn answer(effects: &[LayoutEffect]) -> Option<Result<(), ApplyError>> {
    effects.iter().find_map(|effect| match effect {
        LayoutEffect::Applied { request: 9, result } => Some(result.clone()),
        _ => None,
    })
}

#[test]
fn a_promise_and_an_acceptance_wait_for_the_disk() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2, 3, 4]);
    let mut scene = Scene::of(2, &one);
    let at = ballot(1, 1);
    assert!(is_persist(&scene.feed(message_of(1, prepare(at)))));
    assert_eq!(scene.feed(LayoutInput::Persisted), [send(&[1], promise(at, None))]);
    assert!(is_persist(&scene.feed(message_of(1, accept(at, &two)))));
    assert_eq!(scene.feed(LayoutInput::Persisted), [send(&[1], accepted(at))]);
}

#[test]
fn what_comes_while_the_disk_writes_waits_for_the_next_write() {
    let mut scene = Scene::of(2, &first(&[1, 2, 3]));
    assert!(is_persist(&scene.feed(message_of(1, prepare(ballot(1, 1))))));
    assert_eq!(scene.feed(message_of(3, prepare(ballot(1, 3)))), []);
    let effects = scene.feed(LayoutInput::Persisted);
    assert_eq!(effects[0], send(&[1], promise(ballot(1, 1), None)));
    assert!(is_persist(&effects[1..]));
    assert_eq!(scene.feed(LayoutInput::Persisted), [send(&[3], promise(ballot(1, 3), None))]);
}

#[test]
fn a_repeated_prepare_is_silent_and_a_lower_one_refused() {
    let mut scene = Scene::of(2, &first(&[1, 2, 3]));
    scene.hear(3, prepare(ballot(4, 3)));
    assert_eq!(scene.hear(3, prepare(ballot(4, 3))), []);
    let refused = LayoutMessage::Refused { version: 2, ballot: ballot(3, 1), promised: ballot(4, 3) };
    assert_eq!(scene.hear(1, prepare(ballot(3, 1))), [send(&[1], refused)]);
}

#[test]
fn a_vote_is_given_to_the_proposer_alone_and_by_members_alone() {
    let one = first(&[1, 2, 3]);
    assert_eq!(Scene::of(2, &one).hear(3, prepare(ballot(1, 1))), []);
    assert_eq!(Scene::of(9, &one).hear(1, prepare(ballot(1, 1))), []);
}

#[test]
fn the_next_proposer_hears_what_was_accepted() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2, 3, 4]);
    let mut scene = Scene::of(2, &one);
    scene.hear(1, accept(ballot(1, 1), &two));
    let shown = promise(ballot(2, 3), Some((ballot(1, 1), two)));
    assert_eq!(scene.hear(3, prepare(ballot(2, 3))), [send(&[3], shown)]);
}

#[test]
fn a_majority_brings_the_layout_into_force() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2, 3, 4]);
    let mut scene = Scene::of(1, &one);
    let at = ballot(1, 1);
    assert!(is_persist(&scene.feed(apply(&two))));
    assert_eq!(scene.settle(LayoutInput::Persisted), [send(&[2, 3], prepare(at))]);
    assert_eq!(scene.hear(3, promise(at, None)), [send(&[2, 3], accept(at, &two))]);
    let effects = scene.hear(2, accepted(at));
    assert!(effects.contains(&LayoutEffect::Notice(LayoutNotice::Adopted { version: 2 })));
    assert_eq!(effects.last(), Some(&LayoutEffect::Applied { request: 9, result: Ok(()) }));
    assert_eq!(scene.versions(), [1, 2]);
}

#[test]
fn the_first_ballot_is_known_only_once_it_is_durable() {
    let one = first(&[1, 2, 3]);
    let mut scene = Scene::of(1, &one);
    assert!(is_persist(&scene.feed(apply(&next(&one, &[1, 2])))));
    assert_eq!(scene.feed(message_of(2, promise(ballot(1, 1), None))), []);
}

#[test]
fn a_proposer_carries_out_what_was_accepted_and_its_operator_has_lost() {
    let one = first(&[1, 2, 3]);
    let (wished, other) = (next(&one, &[1, 2, 3, 4]), next(&one, &[1, 2, 3, 5]));
    let mut scene = Scene::of(1, &one);
    scene.settle(apply(&wished));
    let at = ballot(1, 1);
    let shown = promise(at, Some((ballot(0, 3), Arc::clone(&other))));
    assert_eq!(scene.hear(3, shown), [send(&[2, 3], accept(at, &other))]);
    let effects = scene.hear(3, accepted(at));
    assert_eq!(answer(&effects), Some(Err(ApplyError::Lost { version: 2, winner: other.hash() })));
    assert_eq!(scene.live().newest(), &other);
}

#[test]
fn a_refusal_is_followed_by_a_higher_attempt() {
    let one = first(&[1, 2, 3]);
    let mut scene = Scene::of(1, &one);
    scene.settle(apply(&next(&one, &[1, 2])));
    scene.hear(2, LayoutMessage::Refused { version: 2, ballot: ballot(1, 1), promised: ballot(7, 2) });
    let effects = scene.wait();
    assert_eq!(effects, [send(&[2, 3], prepare(ballot(8, 1)))]);
}

#[test]
fn a_gateway_proposes_and_has_no_voice() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2, 3, 9]);
    let mut scene = Scene::of(9, &one);
    let at = ballot(1, 9);
    assert_eq!(scene.settle(apply(&two)), [send(&[1, 2, 3], prepare(at))]);
    assert_eq!(scene.hear(1, promise(at, None)), []);
    assert_eq!(scene.hear(2, promise(at, None)), [send(&[1, 2, 3], accept(at, &two))]);
    assert_eq!(answer(&scene.hear(1, accepted(at))), None);
    assert_eq!(answer(&scene.hear(3, accepted(at))), Some(Ok(())));
}

#[test]
fn one_voice_counts_once() {
    let one = first(&[1, 2, 3, 4, 5]);
    let mut scene = Scene::of(1, &one);
    scene.settle(apply(&next(&one, &[1, 2])));
    for _ in 0..3 {
        assert_eq!(scene.hear(2, promise(ballot(1, 1), None)), []);
        assert_eq!(scene.hear(9, promise(ballot(1, 1), None)), []);
    }
}

#[test]
fn without_a_majority_the_operator_learns_whether_anything_was_asked() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2]);
    let until_answered =
        |scene: &mut Scene| (0..200).find_map(|_| answer(&scene.wait())).expect("there is always an answer");
    let mut scene = Scene::of(1, &one);
    scene.settle(apply(&two));
    assert!(matches!(until_answered(&mut scene), Err(ApplyError::NoMajority { nodes: 3, .. })));

    let mut scene = Scene::of(1, &one);
    scene.settle(apply(&two));
    scene.hear(2, promise(ballot(1, 1), None));
    assert!(matches!(until_answered(&mut scene), Err(ApplyError::OutcomeUnknown { nodes: 3, .. })));
}

#[test]
fn an_acceptor_left_without_an_outcome_proposes_what_it_accepted() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2, 3, 4]);
    let mut scene = Scene::of(2, &one);
    scene.hear(1, accept(ballot(1, 1), &two));
    let at = ballot(2, 2);
    let asked = (0..40).any(|_| scene.wait().contains(&send(&[1, 3], prepare(at))));
    assert!(asked);
    assert_eq!(scene.hear(3, promise(at, None)), [send(&[1, 3], accept(at, &two))]);
}

#[test]
fn who_knows_the_version_tells_it_instead_of_voting() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2, 3, 4]);
    let mut scene = Scene::of(1, &one);
    scene.settle(apply(&two));
    scene.hear(2, promise(ballot(1, 1), None));
    scene.hear(2, accepted(ballot(1, 1)));
    let effects = scene.hear(3, prepare(ballot(5, 3)));
    let [LayoutEffect::Send { to, message: LayoutMessage::State(news) }] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!((&to[..], &news.versions[..]), (&[NodeId(3)][..], &[two][..]));
}

#[test]
fn what_cannot_be_the_next_version_is_refused_at_once() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2, 3, 4]);
    let three = next(&two, &[1, 2, 3]);
    let refusal = |scene: &mut Scene, input| answer(&scene.settle(input)).unwrap().unwrap_err();
    let mut scene = Scene::of(1, &one);
    assert_eq!(refusal(&mut scene, apply(&three)), ApplyError::Stale { newest: 1 });
    let skipping = LayoutInput::Apply { request: 9, expected: 1, layout: Arc::clone(&three) };
    assert_eq!(refusal(&mut scene, skipping), ApplyError::Unrelated { version: 3, newest: 1 });
    scene.settle(apply(&two));
    assert_eq!(refusal(&mut scene, apply(&two)), ApplyError::Busy);
}

#[test]
fn the_last_place_is_kept_for_a_change_that_declares_a_death() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2, 3, 4]);
    let mut scene = Scene::of(1, &one);
    scene.settle(apply(&two));
    scene.hear(2, promise(ballot(1, 1), None));
    scene.hear(2, accepted(ballot(1, 1)));
    let three = next(&two, &[1, 2, 3]);
    assert_eq!(answer(&scene.settle(apply(&three))), Some(Err(ApplyError::TooManyLive)));
    let mending = Arc::new(Layout::clone(&three).declaring_dead([NodeId(4)]).unwrap());
    assert_eq!(answer(&scene.settle(apply(&mending))), None);
}
