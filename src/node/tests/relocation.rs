use super::scene::{Scene, get, put, values, written};
use crate::replication::Quorum;

#[test]
fn a_record_is_read_where_compaction_put_it() {
    let mut scene = Scene::of(3);
    let [a, ..] = scene.primaries();
    scene.ask(a, put("k", "1"));
    scene.compact(a);
    scene.compact(a);
    assert_eq!(values(&scene.ask(a, get("k"))), ["1"]);
}

#[test]
fn a_read_whose_record_moves_away_is_made_again() {
    let mut scene = Scene::of(3);
    let [a, ..] = scene.primaries();
    scene.ask(a, put("k", "1"));
    scene.hold_reads(a);
    let mut command = get("k");
    command.options.r = Quorum::Count(1);
    let read = scene.command(a, command);
    scene.compact(a);
    scene.read(a);
    assert_eq!(values(&scene.answer(read).expect("answered by the second read")), ["1"]);
}

#[test]
fn a_write_whose_object_moves_while_it_is_read_replaces_it() {
    let mut scene = Scene::of(3);
    let [a, ..] = scene.primaries();
    let first = written(scene.ask(a, put("k", "1")));
    scene.hold_reads(a);
    let second = scene.command(a, super::scene::Wish::having_seen(put("k", "2"), &first.context));
    assert_eq!(scene.reads_waiting(a), 1);
    scene.compact(a);
    scene.read(a);
    scene.settle();
    written(scene.answer(second).unwrap());
    assert_eq!(scene.report(a).keys, 1, "one slot, not one at each place");
}

#[test]
fn a_record_that_moves_under_a_write_on_its_way_is_replaced_too() {
    let mut scene = Scene::of(3);
    let [a, ..] = scene.primaries();
    let first = written(scene.ask(a, put("k", "1")));
    scene.command(a, super::scene::Wish::having_seen(put("k", "2"), &first.context));
    assert_eq!(scene.appended(a).len(), 1);
    scene.compact(a);
    scene.settle();
    assert_eq!(scene.report(a).keys, 1);
    assert_eq!(values(&scene.ask(a, get("k"))), ["2"]);
}

#[test]
fn a_hint_that_moves_still_reaches_its_target() {
    let mut scene = Scene::of(4);
    let [a, b, c] = scene.primaries();
    let [fallback] = scene.fallbacks();
    [a, c, fallback].into_iter().for_each(|by| scene.down(by, b));
    scene.ask(a, put("k", "1"));
    assert_eq!(scene.hints(fallback, b), 1);
    scene.compact(fallback);
    scene.up(fallback, b);
    scene.settle();
    assert_eq!((scene.hints(fallback, b), scene.report(b).keys), (0, 1));
}
