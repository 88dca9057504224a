use super::scene::{Scene, delete, put};
use crate::base::NodeId;
use crate::replication::{Failure, ListCommand, Options, Outcome, Quorum};
use crate::store::{KeyQuery, Reach};

fn list(limit: usize) -> ListCommand {
    let query = KeyQuery { prefix: "".into(), from: "".into(), limit };
    ListCommand { query, options: Options::default() }
}

fn listed(outcome: Option<Outcome>) -> (Vec<String>, Reach) {
    match outcome {
        Some(Outcome::Listed(page)) => (page.keys.iter().map(ToString::to_string).collect(), page.reach),
        other => panic!("{other:?}"),
    }
}

/// Asks, and lets everything happen that wants to.
fn ask(scene: &mut Scene, at: NodeId, command: ListCommand) -> Option<Outcome> {
    let request = scene.list_command(at, command);
    scene.settle();
    scene.answer(request)
}

#[test]
fn every_node_lists_what_is_written_anywhere() {
    let mut scene = Scene::new(16, &[1, 2, 3, 1, 2]);
    for number in 0..40 {
        scene.ask(NodeId(1 + number % 5), put(Box::leak(format!("{number:02}").into_boxed_str()), "1"));
    }
    scene.ask(NodeId(2), delete("17"));
    for node in 1..=5 {
        let (keys, reach) = listed(ask(&mut scene, NodeId(node), list(1000)));
        assert_eq!((keys.len(), reach), (39, Reach::End));
        assert!(keys.is_sorted() && !keys.contains(&"17".to_owned()));
        let (keys, reach) = listed(ask(&mut scene, NodeId(node), list(7)));
        assert_eq!(keys, ["00", "01", "02", "03", "04", "05", "06"]);
        assert!(matches!(reach, Reach::Through(key) if key.to_string() == "06"));
    }
}

#[test]
fn a_key_is_listed_by_whichever_replica_of_the_quorum_holds_it() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    let request = scene.command(a, put("k", "1"));
    scene.settle_without(&[c]);
    assert!(matches!(scene.answer(request), Some(Outcome::Written(_))));
    for node in [a, b, c] {
        assert_eq!(listed(ask(&mut scene, node, list(9))).0, ["k"]);
    }
}

#[test]
fn a_filling_replica_does_not_count() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    scene.ask(a, put("k", "1"));
    scene.wipe(b);
    for node in [a, b, c] {
        assert_eq!(listed(ask(&mut scene, node, list(9))).0, ["k"]);
    }
    scene.wipe(c);
    let failed = ask(&mut scene, a, list(9));
    assert_eq!(failed, Some(Outcome::Failed(Failure::TooFewReplicas { required: 2, reachable: 1 })));
}

#[test]
fn a_replica_that_is_down_is_not_asked_and_without_enough_nothing_is_listed() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    scene.ask(a, put("k", "1"));
    scene.down(a, b);
    assert_eq!(listed(ask(&mut scene, a, list(9))).0, ["k"]);
    let request = scene.list_command(a, list(9));
    scene.down(a, c);
    let failed = Some(Outcome::Failed(Failure::TooFewReplicas { required: 2, reachable: 1 }));
    assert_eq!(scene.answer(request), failed, "it went away with the question");
    let mut one = list(9);
    one.options.r = Quorum::Count(1);
    assert_eq!(listed(ask(&mut scene, a, one)).0, ["k"]);
}

#[test]
fn a_node_that_is_late_or_cannot_read_its_store_is_stood_in_for() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    scene.ask(a, put("k", "1"));
    let request = scene.list_command(a, list(9));
    let asked = if scene.letters(a, b).is_empty() { c } else { b };
    scene.isolate(asked);
    scene.wait(250);
    scene.settle_without(&[asked]);
    assert_eq!(listed(scene.answer(request)).0, ["k"]);

    scene.hold_reads(a);
    let request = scene.list_command(a, list(9));
    scene.fail_lists(a);
    scene.settle();
    assert_eq!(listed(scene.answer(request)).0, ["k"]);
}

#[test]
fn a_listing_that_nobody_answers_ends_with_its_time() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    let request = scene.list_command(a, list(9));
    scene.isolate(b);
    scene.isolate(c);
    scene.wait(1_900);
    [b, c].iter().for_each(|node| scene.isolate(*node));
    assert_eq!(scene.answer(request), None);
    scene.wait(200);
    let failed = Failure::ReadTimeout { required: 2, answers: 1 };
    assert_eq!(scene.answer(request), Some(Outcome::Failed(failed)));
}
