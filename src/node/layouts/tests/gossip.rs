//! How layouts and trackers spread.

use super::{Scene, first, next, send, tracker};
use crate::base::NodeId;
use crate::node::layouts::{LayoutEffect, LayoutInput, LayoutNotice, LayoutState, Transfers};
use crate::replication::{LayoutDigest, LayoutMessage, LayoutNews, LayoutTracker};
use crate::ring::Layout;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a node with these live versions says, everyone's tracker given.
fn news(live: &[&Arc<Layout>], sent: &[&Arc<Layout>], trackers: &[(u64, LayoutTracker)]) -> LayoutMessage {
    let (oldest, newest) = (live[0], live[live.len() - 1]);
    LayoutMessage::State(LayoutNews {
        digest: LayoutDigest {
            oldest: oldest.version,
            newest: newest.version,
            newest_hash: newest.hash(),
            trackers: 0,
            pauses: 0,
        },
        versions: sent.iter().map(|layout| Arc::clone(layout)).collect(),
        reading: oldest.version,
        trackers: trackers.iter().map(|(node, tracker)| (NodeId(*node), *tracker)).collect::<BTreeMap<_, _>>(),
    })
}

fn digest_to(to: u64, scene: &Scene) -> LayoutEffect {
    send(&[to], LayoutMessage::Digest(scene.keeper.digest()))
}

#[test]
fn equal_digests_are_silent_and_different_ones_answered() {
    let one = first(&[1, 2, 3]);
    let mut scene = Scene::of(1, &one);
    let equal = scene.keeper.digest();
    assert_eq!(scene.hear(2, LayoutMessage::Digest(equal)), []);
    let different = LayoutDigest { trackers: equal.trackers + 1, ..equal };
    let effects = scene.hear(2, LayoutMessage::Digest(different));
    let [LayoutEffect::Send { message: LayoutMessage::State(news), .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(news.versions, []);
}

#[test]
fn an_order_to_pause_is_told_at_once_and_the_later_of_two_counts() {
    let one = first(&[1, 2, 3]);
    let mut scene = Scene::of(1, &one);
    scene.settle(LayoutInput::Peers([NodeId(2)].into()));
    let effects = scene.settle(LayoutInput::Transfers(Transfers::Paused));
    let told = effects.iter().any(|effect| match effect {
        LayoutEffect::Send { message: LayoutMessage::State(news), .. } => news.digest.pauses == 1,
        _ => false,
    });
    assert!(told && scene.keeper.live().transfers == Transfers::Paused);
    scene.settle(LayoutInput::Transfers(Transfers::Paused));
    assert_eq!(scene.keeper.digest().pauses, 1, "it was in force");
    let resumed = |pauses| match news(&[&one], &[], &[]) {
        LayoutMessage::State(news) => {
            LayoutMessage::State(LayoutNews { digest: LayoutDigest { pauses, ..news.digest }, ..news })
        }
        other => other,
    };
    scene.hear(2, resumed(0));
    assert_eq!(scene.keeper.live().transfers, Transfers::Paused, "that was before");
    scene.hear(2, resumed(2));
    assert_eq!(scene.keeper.live().transfers, Transfers::Running);
}

#[test]
fn who_comes_up_is_asked() {
    let mut scene = Scene::of(1, &first(&[1, 2, 3]));
    let effects = scene.settle(LayoutInput::Peers([NodeId(1), NodeId(2)].into()));
    assert_eq!(effects, [digest_to(2, &scene)]);
    assert_eq!(scene.settle(LayoutInput::Peers([NodeId(2)].into())), []);
    assert_eq!(scene.wait(), [digest_to(2, &scene)]);
}

#[test]
fn news_without_the_layouts_is_asked_for_and_then_taken() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2, 3, 4]);
    let mut scene = Scene::of(1, &one);
    assert_eq!(scene.hear(2, news(&[&one, &two], &[], &[])), [digest_to(2, &scene)]);
    scene.hear(2, news(&[&one, &two], &[&two], &[]));
    assert_eq!(scene.versions(), [1, 2]);
}

#[test]
fn another_layout_under_a_known_number_is_an_alarm() {
    let one = first(&[1, 2, 3]);
    let mut scene = Scene::of(1, &one);
    let other = first(&[1, 2, 4]);
    let alarm = [LayoutEffect::Notice(LayoutNotice::Conflict { from: NodeId(2), version: 1 })];
    let two = next(&other, &[1, 2]);
    assert_eq!(scene.hear(2, news(&[&other], &[], &[(1, tracker(9))])), alarm);
    assert_eq!(scene.hear(2, news(&[&other, &two], &[&other, &two], &[])), alarm);
    assert_eq!(scene.keeper.trackers()[&NodeId(1)], tracker(1));
}

#[test]
fn who_was_away_for_long_takes_all_and_gives_up_its_own() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2]);
    let three = next(&two, &[1, 2, 3]);
    let mut scene = Scene::of(3, &one);
    scene.hear(1, news(&[&two, &three], &[&three], &[]));
    assert_eq!(scene.versions(), [1]);
    scene.hear(1, news(&[&two, &three], &[&two, &three], &[]));
    assert_eq!(scene.versions(), [2, 3]);
    assert_eq!(scene.live().ending, [one]);
    assert_eq!(scene.live().reading, 2);
}

#[test]
fn no_version_is_taken_while_another_is_given_up() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2, 4]);
    let three = next(&two, &[1, 2, 3]);
    let mut scene = Scene::of(3, &one);
    scene.hear(1, news(&[&two], &[&two], &[]));
    scene.hear(1, news(&[&two, &three], &[&three], &[]));
    assert_eq!(scene.versions(), [2]);
    let revision = scene.live().revision;
    scene.settle(LayoutInput::Drained { revision });
    scene.hear(1, news(&[&two, &three], &[&three], &[]));
    assert_eq!(scene.versions(), [2, 3]);
}

#[test]
fn what_has_ended_for_one_has_ended_for_all() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2, 3, 4]);
    let mut scene = Scene::of(1, &one);
    scene.hear(2, news(&[&one, &two], &[&two], &[]));
    scene.hear(2, news(&[&two], &[], &[]));
    assert_eq!((scene.versions(), scene.live().reading), (vec![2], 2));
}

#[test]
fn who_is_remembered_better_by_others_was_set_back() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2, 3, 4]);
    let alarm = LayoutEffect::Notice(LayoutNotice::SetBack);
    let mut scene = Scene::of(1, &one);
    let more = news(&[&one, &two], &[&two], &[(1, LayoutTracker { acknowledged: 2, ..tracker(1) })]);
    assert!(scene.hear(2, more.clone()).contains(&alarm));
    assert!(!scene.hear(2, more).contains(&alarm));
}

#[test]
fn what_no_honest_peer_sends_is_ignored() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2]);
    let three = next(&two, &[1, 2, 3]);
    let mut scene = Scene::new(1, LayoutState::new(Arc::clone(&one)));
    for bad in [
        news(&[&two, &one], &[], &[]),
        news(&[&one, &three], &[&two], &[]),
        news(&[&one, &three], &[&three, &two], &[]),
    ] {
        assert_eq!(scene.hear(2, bad), []);
    }
    assert_eq!(scene.versions(), [1]);
}

#[test]
fn a_newcomer_reads_by_what_the_others_do_and_an_old_member_by_its_trackers() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2, 3]);
    let three = next(&two, &[1, 2, 3, 4]);
    let LayoutMessage::State(mut told) = news(&[&one, &two, &three], &[&two, &three], &[]) else { return };
    told.reading = 2;
    for (node, reading) in [(3, 1), (4, 2), (9, 2)] {
        let mut scene = Scene::of(node, &one);
        scene.hear(1, LayoutMessage::State(told.clone()));
        assert_eq!((scene.versions(), scene.live().reading), (vec![1, 2, 3], reading));
    }
}
