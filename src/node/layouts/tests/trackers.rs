//! When a version is settled, read by, ended.

use super::{Scene, first, next, tracker};
use crate::base::NodeId;
use crate::node::layouts::trackers::Trackers;
use crate::node::layouts::{LayoutEffect, LayoutInput, LayoutNotice, LayoutState};
use crate::replication::LayoutTracker;
use crate::ring::Layout;
use std::sync::Arc;

/// Node 1 with versions 1 and 2 live, the others' trackers as given.
fn changing(two: &Arc<Layout>, one: &Arc<Layout>, others: &[(u64, LayoutTracker)]) -> Scene {
    let mut state = LayoutState::new(Arc::clone(one));
    state.adopt(Arc::clone(two));
    state.trackers = Trackers::default();
    for (node, tracker) in others {
        state.trackers.raise(NodeId(*node), *tracker);
    }
    Scene::new(1, state)
}

fn own(scene: &Scene) -> LayoutTracker {
    scene.keeper.trackers()[&NodeId(1)]
}

#[test]
fn a_drained_revision_is_acknowledged() {
    let one = first(&[1, 2, 3]);
    let mut scene = changing(&next(&one, &[1, 2, 3, 4]), &one, &[]);
    scene.settle(LayoutInput::Drained { revision: 1 });
    assert_eq!(own(&scene), LayoutTracker { acknowledged: 2, ..tracker(1) });
    assert!(!scene.live().is_settled());
}

#[test]
fn a_node_is_complete_only_in_what_is_settled() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2, 3]);
    let acknowledged = LayoutTracker { acknowledged: 2, ..tracker(1) };
    let mut scene = changing(&two, &one, &[(2, acknowledged), (3, acknowledged)]);
    scene.settle(LayoutInput::Complete { revision: 1, version: 2 });
    assert_eq!(own(&scene).synced, 1);
    scene.settle(LayoutInput::Drained { revision: 1 });
    let live = scene.live();
    assert!(live.is_settled());
    scene.settle(LayoutInput::Complete { revision: live.revision, version: 1 });
    assert_eq!(own(&scene).synced, 1);
    scene.settle(LayoutInput::Complete { revision: live.revision, version: 2 });
    assert_eq!(own(&scene).synced, 2);
}

#[test]
fn everyone_who_counts_must_be_complete_before_it_is_read_by() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2, 4]);
    let complete = LayoutTracker { acknowledged: 2, synced: 2, sync_acknowledged: 1 };
    let all = [(1, complete), (2, complete), (3, complete), (4, complete)];
    for missing in 0..4 {
        let some: Vec<_> = all.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, it)| *it).collect();
        let mut scene = changing(&two, &one, &some);
        scene.settle(LayoutInput::Tick);
        assert_eq!(scene.live().reading, 1);
    }
    let mut scene = changing(&two, &one, &all);
    assert!(scene.live().is_settled());
    let effects = scene.settle(LayoutInput::Persisted);
    assert!(effects.contains(&LayoutEffect::Notice(LayoutNotice::Reading { version: 2 })));
    assert_eq!((scene.live().reading, scene.versions()), (2, vec![1, 2]));
}

#[test]
fn nobody_waits_for_the_dead() {
    let one = first(&[1, 2, 3]);
    let two = Arc::new(Layout::clone(&next(&one, &[1, 2])).declaring_dead([NodeId(3)]).unwrap());
    let mut scene = changing(&two, &one, &[(1, tracker(2)), (2, tracker(2))]);
    scene.settle(LayoutInput::Persisted);
    assert_eq!(scene.versions(), [2]);
}

#[test]
fn who_comes_back_after_its_death_counts() {
    let one = first(&[1, 2, 3]);
    let two = Arc::new(Layout::clone(&next(&one, &[1, 2])).declaring_dead([NodeId(3)]).unwrap());
    let three = next(&two, &[1, 2, 3]);
    let mut state = LayoutState::new(one);
    state.adopt(Arc::clone(&two));
    let scene = Scene::new(1, state.clone());
    assert!(scene.live().declared_dead(NodeId(3)));
    state.adopt(three);
    let scene = Scene::new(1, state);
    assert!(!scene.live().declared_dead(NodeId(3)));
    assert!(scene.live().counted().contains(&NodeId(3)));
}

#[test]
fn an_ended_version_is_given_up_and_then_forgotten() {
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[2, 3]);
    let mut scene = changing(&two, &one, &[(1, tracker(2)), (2, tracker(2)), (3, tracker(2))]);
    let effects = scene.settle(LayoutInput::Persisted);
    assert!(effects.contains(&LayoutEffect::Notice(LayoutNotice::Ended { version: 1 })));
    let live = scene.live();
    assert_eq!((scene.versions(), &live.ending[..]), (vec![2], &[Arc::clone(&one)][..]));
    let owned: Vec<_> = one.partitions_of(NodeId(1)).collect();
    assert!(!owned.is_empty() && owned.iter().all(|partition| live.gives_up(*partition, NodeId(1))));
    let lasting: Vec<_> = two.partitions_of(NodeId(2)).collect();
    assert!(!lasting.iter().any(|partition| live.gives_up(*partition, NodeId(2))));

    scene.settle(LayoutInput::Drained { revision: live.revision });
    assert!(scene.live().ending.is_empty());
    assert!(scene.live().revision > live.revision);
}

#[test]
fn who_has_accepted_the_next_version_stays_at_what_it_reads_by() {
    use crate::replication::{Ballot, LayoutMessage};
    let one = first(&[1, 2, 3]);
    let two = next(&one, &[1, 2, 3]);
    let complete = LayoutTracker { acknowledged: 2, synced: 2, sync_acknowledged: 1 };
    let mut scene = changing(&two, &one, &[(2, complete)]);
    let three = Arc::new(Layout::clone(&next(&two, &[1, 2])).declaring_dead([NodeId(3)]).unwrap());
    let ballot = Ballot { round: 1, proposer: NodeId(2) };
    scene.hear(2, LayoutMessage::Accept { version: 3, ballot, layout: three });
    for node in [1, 3] {
        scene.keeper.state.trackers.raise(NodeId(node), complete);
    }
    scene.settle(LayoutInput::Tick);
    assert_eq!(scene.live().reading, 1);
}
