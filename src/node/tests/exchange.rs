use super::scene::{Letter, Scene, Wish, delete, get, put, values, written};
use crate::base::{Key, NodeId};
use crate::causal::DotSet;
use crate::node::Notice;
use crate::replication::{Command, Message, Options, Quorum, Sloppiness};
use crate::store::Body;

/// `keys` written while `c` hears nothing.
fn behind(scene: &mut Scene, keys: &[&'static str]) -> [NodeId; 3] {
    let [a, b, c] = scene.primaries();
    for key in keys {
        let request = scene.command(a, put(key, "1"));
        scene.settle_without(&[c]);
        written(scene.answer(request).unwrap());
    }
    [a, b, c]
}

fn at(scene: &mut Scene, node: NodeId, key: &'static str) -> Vec<String> {
    values(&scene.ask(node, get(key).with(|o| o.r = Quorum::Count(1))))
}

#[test]
fn missing_dots_are_pulled_and_joined() {
    let mut scene = Scene::of(3);
    let [a, b, c] = behind(&mut scene, &["k", "l"]);
    scene.exchange();
    assert_eq!(at(&mut scene, c, "k"), ["1"]);
    for node in [b, c] {
        let (left, right) = (scene.report(a), scene.report(node));
        assert_eq!(left, right);
    }
    assert!(scene.noticed(c, Notice::ExchangeByDots) >= 1);
    assert_eq!(scene.noticed(c, Notice::ExchangeByListing), 0);
    scene.assert_idle();
}

#[test]
fn missing_dots_are_pulled_from_a_node_that_was_restarted_cleanly() {
    let mut scene = Scene::of(3);
    let [a, b, c] = behind(&mut scene, &["k", "l"]);
    scene.restart(a);
    scene.isolate(b);
    scene.exchange();
    assert_eq!(at(&mut scene, c, "k"), ["1"]);
    assert!(scene.noticed(c, Notice::ExchangeByDots) >= 1);
    assert_eq!(scene.noticed(c, Notice::ExchangeByListing), 0);
}

#[test]
fn a_delete_reaches_who_missed_it_and_leaves_nothing() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    scene.ask(a, put("k", "1"));
    scene.command(a, delete("k"));
    scene.settle_without(&[c]);
    assert_eq!(at(&mut scene, c, "k"), ["1"]);
    scene.exchange();
    assert_eq!(at(&mut scene, c, "k"), Vec::<String>::new());
    for node in [a, b, c] {
        assert_eq!((scene.report(node).keys, scene.report(node).leftovers), (0, 0));
    }
}

#[test]
fn a_session_joins_only_after_its_objects_in_the_log() {
    let mut scene = Scene::of(3);
    let [a, b, c] = behind(&mut scene, &["k", "l"]);
    scene.isolate(b);
    scene.wait(5_000_000);
    let mut bodies = Vec::new();
    for _ in 0..6 {
        scene.isolate(b);
        [(c, a), (a, c)].into_iter().for_each(|(from, to)| scene.deliver(from, to));
        bodies = scene.appended(c);
    }
    let joins: Vec<usize> = (0..bodies.len()).filter(|at| matches!(bodies[*at].body, Body::Join { .. })).collect();
    assert_eq!(joins, if bodies.is_empty() { vec![] } else { vec![bodies.len() - 1] });
}

#[test]
fn a_session_whose_source_cannot_read_joins_nothing() {
    let mut scene = Scene::of(3);
    let [a, b, c] = behind(&mut scene, &["k", "l"]);
    for source in [a, b] {
        scene.hold_reads(source);
    }
    scene.wait(5_000_000);
    for _ in 0..6 {
        for source in [a, b] {
            scene.deliver(c, source);
            scene.fail_reads(source);
            scene.deliver(source, c);
        }
        scene.flush(c);
    }
    assert!(scene.noticed(c, Notice::ExchangeAborted) >= 1);
    assert!(scene.report(c).clock.is_empty());
}

#[test]
fn a_session_does_not_outlive_its_source() {
    let mut scene = Scene::of(3);
    let [a, b, c] = behind(&mut scene, &["k"]);
    scene.wait(5_000_000);
    let mut pulls: Vec<Letter> = Vec::new();
    for _ in 0..4 {
        for source in [a, b] {
            let to_source = scene.lose(c, source);
            let (pull, other): (Vec<_>, Vec<_>) =
                to_source.into_iter().partition(|letter| matches!(letter.message, Message::Pull { .. }));
            pulls.extend(pull);
            other.into_iter().for_each(|letter| scene.hand_over(letter));
            scene.deliver(source, c);
        }
    }
    let pull = pulls.into_iter().next().expect("a session has begun");
    let source = pull.to;
    scene.wipe(source);
    scene.isolate(source);
    scene.hand_over(pull);
    scene.deliver(source, c);
    assert_eq!(scene.noticed(c, Notice::ExchangeAborted), 1);
    assert!(scene.appended(c).is_empty());
}

#[test]
pub(super) fn a_wiped_replica_is_complete_after_two_full_listings() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    for key in ["k", "l", "m"] {
        scene.ask(a, put(key, "1"));
    }
    scene.wipe(c);
    scene.isolate(c);
    assert!(!scene.is_complete(c));
    scene.wait(5_000_000);
    scene.settle_without(&[b]);
    assert!(!scene.is_complete(c), "one source is not enough");
    scene.exchange();
    assert!(scene.report(c).complete);
    assert_eq!(scene.report(c).clock, scene.report(a).clock);
    assert_eq!(scene.report(c).data_hash, scene.report(b).data_hash);
    assert_eq!(at(&mut scene, c, "l"), ["1"]);
    scene.assert_idle();
}

#[test]
fn a_listing_says_something_about_keys_it_does_not_name() {
    let mut scene = Scene::of(3);
    let [a, _, c] = scene.primaries();
    scene.ask(a, put("k", "1"));
    // c misses the delete, and the source forgets which key its dot belongs to: more dots than it remembers.
    scene.command(a, delete("k"));
    scene.settle_without(&[c]);
    for _ in 0..1100 {
        scene.command(a, put("busy", "1"));
        scene.settle_without(&[c]);
    }
    scene.exchange();
    assert!(scene.noticed(c, Notice::ExchangeByListing) >= 1);
    assert_eq!(at(&mut scene, c, "k"), Vec::<String>::new());
    let (left, right) = (scene.report(a), scene.report(c));
    assert_eq!((left.clock, left.data_hash, left.keys), (right.clock, right.data_hash, right.keys));
}

#[test]
pub(super) fn an_acknowledgement_of_a_disk_lost_since_is_dropped() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    let request = scene.command(a, put("k", "1").having_seen(&DotSet::EMPTY).with(|o| o.w = Quorum::All));
    scene.flush(a);
    scene.deliver(a, b);
    scene.flush(b);
    scene.deliver(b, a);
    // b loses its disk and fills from c, which has not got the write yet.
    let write = scene.lose(a, c);
    scene.wipe(b);
    scene.talk(b, c);
    write.into_iter().for_each(|letter| scene.hand_over(letter));
    scene.flush(c);
    scene.deliver(c, a);
    assert_eq!(scene.answer(request), None, "two disks have it, not three");
}

#[test]
fn every_shard_of_a_peer_is_heard_whatever_the_number_of_one_s_own() {
    let mut scene = Scene::new(8, &[1, 4, 1]);
    let one = NodeId(1);
    for key in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"] {
        // Strict: a hint would heal what the exchange is to heal.
        let strict = |o: &mut Options| o.sloppiness = Sloppiness::Strict;
        let request = scene.command(NodeId(2), put(key, "1").having_seen(&DotSet::EMPTY).with(strict));
        scene.settle_without(&[one]);
        assert!(scene.answer(request).is_some());
    }
    scene.down(one, NodeId(3));
    scene.exchange();
    for partition in (0..8).map(crate::ring::PartitionId) {
        let (left, right) = (scene.report_of(one, partition), scene.report_of(NodeId(2), partition));
        assert_eq!((left.clock, left.keys), (right.clock, right.keys), "{partition:?}");
    }
}

#[test]
fn a_disk_s_loss_is_forgotten_when_no_write_can_be_older() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    scene.wipe(b);
    scene.exchange();
    assert!(scene.is_complete(b));
    // b goes on under a new actor, its disk whole: a torn tail is cut so (PROTOCOL R9).
    scene.renew(b);
    let request = scene.command(b, put("k", "1"));
    scene.settle_without(&[c]);
    assert_eq!(written(scene.answer(request).unwrap()).acks, 2, "b's own copy and a's");
    let _ = a;
}

#[test]
fn a_replica_whose_completion_could_not_be_logged_completes_later() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    scene.ask(a, put("k", "1"));
    scene.wipe(c);
    while scene.resumed(c) == 0 {
        scene.isolate(c);
        scene.wait(5_000_000);
        for _ in 0..8 {
            for source in [a, b] {
                scene.deliver(c, source);
                scene.deliver(source, c);
            }
            while let Some(record) = scene.appended(c).first() {
                match record.body {
                    Body::Complete => scene.fail_appends(c),
                    _ => scene.flush_one(c),
                }
            }
        }
    }
    assert!(!scene.is_complete(c));
    scene.exchange();
    assert!(scene.is_complete(c));
}

#[test]
fn a_single_replica_that_lost_its_disk_is_complete_at_once() {
    let mut scene = Scene::of(1);
    scene.wipe(NodeId(1));
    scene.settle();
    assert!(scene.is_complete(NodeId(1)), "it promised no more");
}

#[test]
fn partitions_that_never_come_to_an_end_do_not_starve_the_others() {
    let mut scene = Scene::new(128, &[1, 1]);
    let (one, two) = (NodeId(1), NodeId(2));
    let mut partitions = std::collections::BTreeSet::new();
    for number in 0..400u32 {
        let key = Key::new(number.to_be_bytes().to_vec()).unwrap();
        let command = put("k", "1").having_seen(&DotSet::EMPTY).with(|o| o.w = Quorum::Count(1));
        scene.command(two, Command { key, ..command });
    }
    scene.settle_without(&[one]);
    for _ in 0..12 {
        scene.wait(5_000_000);
        scene.deliver(one, two);
        scene.deliver(two, one);
        // The source never answers a pull: sessions end when their patience does.
        for letter in scene.lose(one, two) {
            if let Message::Pull { partition, .. } = letter.message {
                partitions.insert(partition);
            }
        }
        scene.isolate(one);
    }
    assert!(partitions.len() > 64, "{} partitions had their turn", partitions.len());
}

/// Written by `by`, which stores it alone: nobody stands in, nobody is told.
fn alone(scene: &mut Scene, by: NodeId, key: &str) {
    let key = Key::new(key.to_owned()).unwrap();
    let strict = |o: &mut Options| {
        (o.w, o.sloppiness) = (Quorum::Count(1), Sloppiness::Strict);
    };
    let command = put("k", "1").having_seen(&DotSet::EMPTY).with(strict);
    scene.command(by, Command { key, ..command });
    scene.flush(by);
    scene.isolate(by);
}

#[test]
pub(super) fn nothing_is_joined_before_the_last_of_many_answers() {
    let mut scene = Scene::of(2);
    let (a, c) = (NodeId(1), NodeId(2));
    // More keys than one answer names.
    (0..600).for_each(|number| alone(&mut scene, a, &format!("key {number}")));
    scene.exchange();
    let (left, right) = (scene.report(a), scene.report(c));
    assert_eq!((left.clock, left.data_hash, left.keys), (right.clock, right.data_hash, 600));
}

#[test]
fn replicas_with_equal_clocks_and_different_data_become_equal() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    let first = written(scene.ask(a, put("k", "1")));
    let strict = |o: &mut Options| o.sloppiness = Sloppiness::Strict;
    scene.command(a, put("k", "2").having_seen(&first.context).with(strict));
    scene.flush(a);
    let late = scene.lose(a, b);
    scene.isolate(a);
    // a's disk is damaged: it holds "2" still, and has forgotten that it superseded "1" (PROTOCOL R8).
    scene.damage(a);
    scene.exchange();
    assert_eq!(at(&mut scene, b, "k"), ["1", "2"]);
    // b alone hears of it, late: its clock stays as it is.
    late.into_iter().for_each(|letter| scene.hand_over(letter));
    scene.flush(b);
    assert_eq!(scene.report(b).clock, scene.report(c).clock);
    assert_ne!(scene.report(b).data_hash, scene.report(c).data_hash);
    scene.exchange();
    for node in [a, b, c] {
        assert_eq!(at(&mut scene, node, "k"), ["2"]);
    }
}

#[test]
fn a_complete_replica_pulls_nothing_from_a_filling_one() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    alone(&mut scene, a, "k");
    scene.damage(a);
    scene.isolate(a);
    scene.wait(5_000_000);
    scene.talk(b, a);
    assert!(scene.report(b).clock.is_empty(), "a may have forgotten what its write superseded");
    scene.exchange();
    for node in [b, c] {
        assert_eq!(scene.report(node).clock, scene.report(a).clock);
    }
}

/// Two keys whose hashes begin with the same 28 bits, the first two of them zero, and part in the next two; the
/// lower first.
fn look_alikes() -> (Key, Key) {
    let mut seen: std::collections::BTreeMap<u64, Key> = std::collections::BTreeMap::new();
    for key in (0..).map(|number| numbered("twin", number)).filter(|key| key.hash64() >> 62 == 0) {
        let part = |key: &Key| key.hash64() >> 34;
        match seen.get(&(key.hash64() >> 36)) {
            Some(twin) if part(twin) < part(&key) => return (twin.clone(), key),
            Some(twin) if part(twin) > part(&key) => return (key, twin.clone()),
            _ => seen.insert(key.hash64() >> 36, key),
        };
    }
    unreachable!("there are more names than hashes")
}

fn numbered(name: &str, number: u32) -> Key {
    Key::new(format!("{name} {number}")).unwrap()
}

/// Written, or deleted, and durable at `nodes`, the first of which coordinates.
fn change(scene: &mut Scene, nodes: &[NodeId], key: &Key, command: Command) {
    let strict = |o: &mut Options| (o.w, o.sloppiness) = (Quorum::Count(1), Sloppiness::Strict);
    scene.command(nodes[0], Command { key: key.clone(), ..command.with(strict) });
    let others: Vec<NodeId> = scene.primaries().into_iter().filter(|node| !nodes.contains(node)).collect();
    scene.settle_without(&others);
}

#[test]
fn a_key_not_named_goes_though_it_looks_like_one_that_is() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    let (named, deleted) = look_alikes();
    let far = (0..).map(|number| numbered("far", number)).find(|key| key.hash64() >> 63 == 1).unwrap();
    for key in [&far, &deleted] {
        change(&mut scene, &[a, b, c], key, put("k", "1"));
    }
    change(&mut scene, &[a, b], &deleted, delete("k"));
    change(&mut scene, &[a, b], &named, put("k", "1"));
    // The source forgets which keys the dots belong to, and must list.
    (0..1100).for_each(|_| change(&mut scene, &[a, b], &far, put("k", "2")));
    scene.exchange();
    assert!(scene.noticed(c, Notice::ExchangeByListing) >= 1);
    assert_eq!(scene.report(c).keys, 2, "the far key and the one named");
    assert_eq!(scene.report(c).data_hash, scene.report(a).data_hash);
}

#[test]
fn a_key_beyond_a_page_is_not_absent_though_it_looks_like_one_within() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    // All keys of the source share two bits, so its index tells the twins apart, and its first answer ends
    // between them.
    let (last, next) = look_alikes();
    let keys = || (0..).map(|number| numbered("key", number));
    let lower = keys().filter(|key| key.hash64() < last.hash64()).take(255);
    let higher = keys().find(|key| key.hash64() > next.hash64() && key.hash64() >> 62 == 0).unwrap();
    for key in lower.chain([last.clone(), next.clone(), higher]) {
        change(&mut scene, &[a, b, c], &key, put("k", "1"));
    }
    (0..1100).for_each(|_| change(&mut scene, &[a, b], &last, put("k", "2")));
    // The asker's keys share none: there the twins look alike.
    let far = keys().find(|key| key.hash64() >> 63 == 1).unwrap();
    change(&mut scene, &[c], &far, put("k", "1"));
    // It asks one peer a round, and b hears nothing.
    while scene.noticed(c, Notice::ExchangeJoined) == 0 {
        if scene.noticed(c, Notice::ExchangeStarted) == scene.noticed(c, Notice::ExchangeAborted) {
            scene.wait(5_000_000);
        }
        scene.isolate(b);
        scene.deliver(c, a);
        let to_asker = scene.lose(a, c).into_iter();
        to_asker.filter(|l| !matches!(l.message, Message::ClockQuery { .. })).for_each(|l| scene.hand_over(l));
        scene.flush(c);
    }
    assert!(scene.noticed(c, Notice::ExchangeByListing) >= 1);
    assert_eq!((scene.report(a).keys, scene.report(c).keys), (258, 259));
}

/// A write that comes between two pages, of a key that the first would have named if it still lived, is as dead
/// as the source knows it to be: the join would cover its dot, and nothing would ever supersede it.
#[test]
pub(super) fn a_write_that_comes_late_into_a_listing_stays_deleted() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    let names: Vec<String> = (0..700).map(|number| format!("key {number}")).collect();
    let key = |name: &String| Key::new(name.clone()).unwrap();
    let first = names.iter().min_by_key(|name| key(name).hash64()).unwrap();
    let write = |name, what: Command| Command { key: key(name), ..what };
    let strict = |o: &mut Options| o.sloppiness = Sloppiness::Strict;
    scene.command(a, write(first, put("k", "1").having_seen(&DotSet::EMPTY).with(strict)));
    scene.flush(a);
    let mut late = scene.lose(a, c);
    scene.settle_without(&[c]);
    scene.command(a, write(first, delete("k").with(strict)));
    scene.settle_without(&[c]);
    for name in names.iter().filter(|name| *name != first) {
        scene.command(a, write(name, put("k", "1").having_seen(&DotSet::EMPTY).with(strict)));
        scene.settle_without(&[c]);
    }
    // More dots than the sources remember: c lists.
    for _ in 0..1100 {
        scene.command(a, put("busy", "1").with(strict));
        scene.settle_without(&[c]);
    }
    scene.wait(5_000_000);
    for _ in 0..20 {
        for source in [a, b] {
            scene.deliver(c, source);
            for letter in scene.lose(source, c) {
                let page = matches!(&letter.message, Message::Pulled { next: Some(_), .. });
                scene.hand_over(letter);
                scene.flush(c);
                if page {
                    late.drain(..).for_each(|letter| scene.hand_over(letter));
                    scene.flush(c);
                }
            }
        }
    }
    assert!(late.is_empty());
    scene.exchange();
    let (left, right) = (scene.report(a), scene.report(c));
    assert_eq!((left.clock, left.data_hash, left.keys), (right.clock, right.data_hash, right.keys));
}

#[test]
fn what_a_listing_did_not_name_is_read_in_bounded_pieces() {
    let mut scene = Scene::of(3);
    let [a, b, c] = scene.primaries();
    let key = |number: usize| Key::new(format!("key {number}")).unwrap();
    let strict = |o: &mut Options| o.sloppiness = Sloppiness::Strict;
    for number in 0..2000 {
        scene.command(a, Command { key: key(number), ..put("k", "1").having_seen(&DotSet::EMPTY) });
        scene.settle();
    }
    for number in 0..2000 {
        scene.command(a, Command { key: key(number), ..delete("k").with(strict) });
        scene.settle_without(&[c]);
    }
    assert_eq!((scene.report(a).keys, scene.report(c).keys), (0, 2000));
    scene.hold_reads(c);
    scene.wait(5_000_000);
    for _ in 0..40 {
        for source in [a, b] {
            scene.deliver(c, source);
            scene.deliver(source, c);
            assert!(scene.reads_waiting(c) <= 300, "{}", scene.reads_waiting(c));
            scene.flush(c);
        }
        scene.read(c);
        scene.flush(c);
    }
    assert_eq!(scene.report(c).keys, 0);
}
