//! Two versions of the layout side by side, and what becomes of a copy that moves.

use super::scene::{PARTITION, Scene, Wish, get, put, values, written};
use crate::base::NodeId;
use crate::causal::DotSet;
use crate::node::{LiveLayouts, Notice, Transfer, TransferError, Transfers};
use crate::replication::{Message, Options, Sloppiness};
use crate::ring::Layout;
use std::sync::Arc;
use std::time::Duration;

/// A scene of four nodes whose next layout moves the partition from one node to another.
struct Move {
    scene: Scene,
    /// Owners in both versions.
    kept: [NodeId; 2],
    from: NodeId,
    to: NodeId,
    before: Arc<Layout>,
    after: Arc<Layout>,
}

impl Move {
    fn new() -> Self {
        let scene = Scene::of(4);
        let [a, b, from] = scene.primaries();
        let [to] = scene.fallbacks();
        let before = scene.first_layout();
        let after = Arc::new(scene.next_layout(&before, &[a, b, to]));
        assert!(after.is_primary(PARTITION, to) && !after.is_primary(PARTITION, from));
        Self { scene, kept: [a, b], from, to, before, after }
    }

    /// Full exchanges with these, one after the other. What reads its node holds, the store answers.
    fn fill_from(&mut self, node: NodeId, sources: &[NodeId]) {
        for source in sources {
            self.scene.wait(5_000_000);
            for _ in 0..8 {
                self.scene.deliver(node, *source);
                self.scene.flush(*source);
                self.scene.deliver(*source, node);
                self.scene.read(node);
                self.scene.flush(node);
            }
        }
    }

    /// The node, which the second version left out, hears of a third.
    fn goes_by_again(&mut self, node: NodeId, again: &Arc<Layout>) {
        let versions = vec![Arc::clone(&self.after), Arc::clone(again)];
        let (settled, acknowledged) = (again.version, self.after.version);
        let both = LiveLayouts { versions, settled, acknowledged, ..LiveLayouts::only(Arc::clone(&self.after)) };
        self.scene.goes_by(node, both);
    }

    fn nodes(&self) -> [NodeId; 4] {
        [self.kept[0], self.kept[1], self.from, self.to]
    }

    /// Both versions live, read by the first. `settled` says that every node goes by the second.
    fn both(&self, settled: u64) -> LiveLayouts {
        let versions = vec![Arc::clone(&self.before), Arc::clone(&self.after)];
        let acknowledged = self.before.version;
        LiveLayouts { versions, settled, acknowledged, ..LiveLayouts::only(Arc::clone(&self.before)) }
    }

    /// Every node goes by both versions, and everyone knows.
    fn settle_both(&mut self) {
        for settled in [self.before.version, self.after.version] {
            for node in self.nodes() {
                self.scene.goes_by(node, self.both(settled));
                self.scene.flush(node);
            }
        }
    }
}

fn strict(options: &mut Options) {
    options.sloppiness = Sloppiness::Strict;
}

/// Rule: invariant 9. A write of before reached the node that stays and the one that goes. The new owner does not have it.
#[test]
pub(super) fn a_read_goes_by_the_version_whose_data_is_complete() {
    let mut change = Move::new();
    let ([a, b], from) = (change.kept, change.from);
    let request = change.scene.command(a, put("k", "1").having_seen(&DotSet::EMPTY).with(strict));
    change.scene.settle_without(&[b, change.to]);
    written(change.scene.answer(request).unwrap());
    change.settle_both();
    change.scene.down(b, a);
    let request = change.scene.command(b, get("k").with(strict));
    change.scene.settle_without(&[a]);
    assert_eq!(values(&change.scene.answer(request).unwrap()), ["1"], "{from:?} is asked, not the new owner");
}

/// Rule: PROTOCOL R6. What a new owner has of the partition is from another time.
#[test]
pub(super) fn what_is_gained_counts_only_once_it_was_filled_anew() {
    let mut change = Move::new();
    let ([a, _], to) = (change.kept, change.to);
    change.scene.ask(a, put("k", "1"));
    assert!(change.scene.is_complete(to), "it owns nothing yet");
    change.settle_both();
    change.scene.wait(100);
    assert!(!change.scene.is_complete(to) && change.scene.filled(to) == [1]);
    change.scene.exchange();
    assert!(change.scene.is_complete(to));
    assert_eq!(change.scene.filled(to), [1, 2]);
    assert_eq!(change.scene.report(to).keys, 1);
}

/// One listing, and from the next source what the clock lacks.
#[test]
fn a_new_owner_lists_one_source_alone() {
    let mut change = Move::new();
    let ([a, b], to) = (change.kept, change.to);
    change.scene.ask(a, put("k", "1"));
    change.scene.command(b, put("other", "1").having_seen(&DotSet::EMPTY).with(strict));
    change.scene.flush(b);
    change.scene.isolate(b);
    change.settle_both();
    change.scene.exchange();
    assert!(change.scene.is_complete(to));
    assert_eq!(change.scene.report(to).keys, 2);
    assert_eq!(change.scene.noticed(to, Notice::ExchangeByListing), 1);
}

/// The same, of a copy that the node owned once and gains again.
#[test]
pub(super) fn what_is_left_of_another_time_is_listed_from_each_source() {
    let mut change = Move::new();
    let ([old, new], node) = (change.kept, change.from);
    change.scene.ask(old, put("k", "old"));
    change.scene.command(new, put("k", "new"));
    change.scene.settle_without(&[old]);
    let again = Arc::new(change.scene.next_layout(&change.after, &[old, new, node]));
    change.scene.goes_by(node, LiveLayouts::only(Arc::clone(&change.after)));
    change.scene.flush_one(node);
    // Its keys stay: it owns them again before they are dropped.
    change.goes_by_again(node, &again);
    change.scene.flush(node);
    assert_eq!((change.scene.report(node).keys, change.scene.report(node).clock), (1, DotSet::EMPTY));
    change.fill_from(node, &[old, new]);
    assert_eq!(change.scene.report(node).data_hash, change.scene.report(new).data_hash);
}

/// One record drops them all, in the log as in memory; until it is durable, they are there.
#[test]
fn what_is_lost_is_dropped() {
    let mut change = Move::new();
    let ([a, _], node) = (change.kept, change.from);
    ["k", "l", "m"].into_iter().for_each(|key| drop(change.scene.ask(a, put(key, "1"))));
    change.scene.settle();
    change.scene.goes_by(node, LiveLayouts::only(Arc::clone(&change.after)));
    change.scene.flush_one(node);
    change.scene.wait(100);
    assert_eq!(change.scene.appended(node).len(), 1);
    change.scene.fail_appends(node);
    assert_eq!(change.scene.report(node).keys, 3, "nothing of it is in the log");
    change.scene.wait(100);
    change.scene.flush(node);
    assert_eq!((change.scene.report(node).keys, change.scene.report(node).data_hash), (0, 0));
    assert_eq!(change.scene.noticed(node, Notice::PartitionDropped), 1);
    change.scene.wait(100);
    assert!(change.scene.appended(node).is_empty(), "once is enough");
    assert_eq!(change.scene.replayed(node).index.len(), 0);
}

/// The partition comes back while the record that drops its keys is on its way: what is written then is behind it,
/// and builds on nothing of before.
#[test]
fn what_is_gained_while_it_is_dropped_begins_with_nothing() {
    let mut change = Move::new();
    let ([a, b], node) = (change.kept, change.from);
    ["k", "l"].into_iter().for_each(|key| drop(change.scene.ask(a, put(key, "old"))));
    change.scene.settle();
    let again = Arc::new(change.scene.next_layout(&change.after, &[a, b, node]));
    change.scene.hold_reads(node);
    // An update of the old object waits for its disk.
    change.scene.command(a, put("l", "late").having_seen(&DotSet::EMPTY));
    change.scene.flush(a);
    change.scene.deliver(a, node);
    assert_eq!(change.scene.reads_waiting(node), 1);
    change.scene.goes_by(node, LiveLayouts::only(Arc::clone(&change.after)));
    change.scene.flush_one(node);
    change.scene.wait(100);
    assert_eq!(change.scene.appended(node).len(), 1, "the keys are being dropped");
    [node, a].into_iter().for_each(|node| change.goes_by_again(node, &again));
    change.scene.command(a, put("k", "new").having_seen(&DotSet::EMPTY));
    change.scene.flush(a);
    change.scene.deliver(a, node);
    change.scene.read(node);
    change.scene.flush(node);
    let (table, report) = (change.scene.replayed(node), change.scene.report(node));
    assert_eq!((report.keys, report.data_hash), (table.index.len(), table.hash), "{table:?}");
    assert_eq!(report.keys, 2, "the two that were written since");
    change.fill_from(node, &[a, b]);
    assert_eq!(change.scene.report(node).data_hash, change.scene.report(a).data_hash);
}

/// The same, of a copy that has taken a page from a source that was damaged, and no more.
#[test]
pub(super) fn after_a_page_of_a_filling_source_each_source_is_listed() {
    let mut change = Move::new();
    let ([old, new], damaged, to) = (change.kept, change.from, change.to);
    change.scene.ask(old, put("k", "old"));
    change.scene.command(new, put("k", "new"));
    change.scene.settle_without(&[old]);
    change.scene.damage(damaged);
    change.settle_both();
    change.scene.wait(5_000_000);
    // The clock, then the page. The source is gone before all of it is joined.
    for _ in 0..2 {
        change.scene.deliver(to, damaged);
        change.scene.deliver(damaged, to);
    }
    change.scene.down(to, damaged);
    change.scene.flush(to);
    assert_eq!(change.scene.report(to).keys, 1);
    change.fill_from(to, &[old, new]);
    assert_eq!(change.scene.report(to).data_hash, change.scene.report(new).data_hash);
}

/// Rule: PROTOCOL R6. What a source had seen before everyone went by the new version is not all that it must have shown.
#[test]
pub(super) fn a_clock_of_before_does_not_make_its_source_count() {
    let mut change = Move::new();
    let ([a, b], from, to) = (change.kept, change.from, change.to);
    change.scene.ask(a, put("k", "1"));
    change.scene.goes_by(to, change.both(1));
    change.scene.flush(to);
    change.scene.wait(5_000_000);
    change.scene.deliver(to, b);
    // Its answer is late. Until then it and the one that goes have a write that nobody else will have.
    change.scene.command(b, put("late", "1").having_seen(&DotSet::EMPTY).with(strict));
    change.scene.flush(b);
    change.scene.deliver(b, from);
    change.settle_both();
    change.fill_from(to, &[a]);
    // Nothing has reached it since, and what came is paid for.
    change.scene.wait(1_000);
    change.scene.lose(to, b);
    change.scene.deliver(b, to);
    change.scene.talk(to, b);
    assert!(!change.scene.is_complete(to));
    change.fill_from(to, &[b]);
    assert!(change.scene.is_complete(to));
    assert_eq!(change.scene.report(to).keys, 2);
}

#[test]
fn a_transfer_without_progress_is_seen_and_so_is_its_end() {
    let mut change = Move::new();
    let ([a, _], to) = (change.kept, change.to);
    change.scene.ask(a, put("k", "1"));
    change.settle_both();
    change.scene.wait(12_000_000);
    let stalled = change.scene.status(to);
    assert!(stalled.transfer_idle >= Duration::from_secs(60) && stalled.transfers.is_empty(), "{stalled:?}");
    change.scene.exchange();
    let ended = change.scene.status(to);
    assert_eq!((ended.filling.len(), ended.transfer_idle), (0, Duration::ZERO));
    let sum = |of: fn(&Transfer) -> u64| ended.transfers.values().map(of).sum::<u64>();
    assert!(sum(|of| of.copies) >= 2);
    assert_eq!((sum(|of| of.objects), sum(|of| of.bytes)), (1, 2), "from one of the sources alone");
}

#[test]
fn a_copy_that_fails_says_why() {
    let mut change = Move::new();
    let ([a, b], to) = (change.kept, change.to);
    change.scene.ask(a, put("k", "1"));
    change.settle_both();
    change.scene.wait(5_000);
    for source in [a, b] {
        change.scene.deliver(to, source);
        change.scene.deliver(source, to);
    }
    // Asked for a page, and silent.
    change.scene.wait(5_000);
    let failed: Vec<Transfer> = change.scene.status(to).transfers.into_values().collect();
    assert!(
        matches!(&failed[..], [Transfer { retries: 1, last_error: Some(TransferError::NoAnswer), .. }]),
        "{failed:?}"
    );
}

/// Rule: PROTOCOL R6, R8. Damage has left a version without what it had superseded. One source still has that; the clock
/// claims the version, so that by its dots alone the other source would not be asked for the key.
#[test]
pub(super) fn what_survived_damage_is_listed_from_each_source() {
    let mut scene = Scene::of(3);
    let [old, new, damaged] = scene.primaries();
    scene.ask(old, put("k", "old"));
    scene.command(new, put("k", "new"));
    scene.settle_without(&[old]);
    scene.damage(damaged);
    for source in [old, new] {
        scene.wait(2_000);
        scene.talk(damaged, source);
    }
    assert!(scene.is_complete(damaged));
    let request = scene.command(damaged, get("k").with(strict));
    scene.settle_without(&[new]);
    assert_eq!(values(&scene.answer(request).unwrap()), ["new"]);
}

/// Rule: PROTOCOL R6. The new owner fills only once no write can miss it any more.
#[test]
fn a_new_owner_does_not_fill_before_everyone_goes_by_the_new_version() {
    let mut change = Move::new();
    let to = change.to;
    for node in change.nodes() {
        change.scene.goes_by(node, change.both(1));
    }
    change.scene.exchange();
    assert!(!change.scene.is_complete(to));
    change.settle_both();
    change.scene.exchange();
    assert!(change.scene.is_complete(to));
}

#[test]
fn a_paused_transfer_goes_on_when_it_is_told_to() {
    let mut change = Move::new();
    let ([a, _], to) = (change.kept, change.to);
    change.scene.ask(a, put("k", "1"));
    change.settle_both();
    change.scene.goes_by(to, LiveLayouts { transfers: Transfers::Paused, ..change.both(2) });
    change.scene.exchange();
    assert!(!change.scene.is_complete(to));
    change.settle_both();
    change.scene.exchange();
    assert!(change.scene.is_complete(to));
}

/// Rule: PROTOCOL R6. A write that only the leaving node has, and that somebody may have seen there.
#[test]
pub(super) fn a_leaver_stays_until_a_majority_of_the_others_has_what_it_had() {
    let mut change = Move::new();
    let from = change.from;
    change.scene.command(from, put("k", "1").having_seen(&DotSet::EMPTY).with(strict));
    change.scene.flush(from);
    change.scene.isolate(from);
    change.scene.wait(10_000);
    change.scene.isolate(from);
    change.settle_both();
    change.scene.wait(100);
    assert_eq!(change.scene.filled(from), [1]);
    change.scene.exchange();
    assert_eq!(change.scene.filled(from), [1, 2]);
    let [a, b] = change.kept;
    assert_eq!([a, b, change.to].map(|node| change.scene.report(node).keys), [1, 1, 1]);
}

/// What is on its way to the leaver's disk when everyone goes by the new version may never get there: nobody else would
/// ever show it.
#[test]
fn a_leaver_does_not_wait_for_what_it_never_had() {
    let mut change = Move::new();
    let from = change.from;
    change.scene.ask(from, put("k", "1"));
    change.scene.settle();
    change.scene.command(from, put("k", "2").having_seen(&DotSet::EMPTY).with(strict));
    assert_eq!(change.scene.appended(from).len(), 1);
    let both = change.both(change.after.version);
    change.nodes().into_iter().for_each(|node| change.scene.goes_by(node, both.clone()));
    change.scene.fail_appends(from);
    change.scene.exchange();
    assert_eq!(change.scene.filled(from), [1, 2]);
}

/// Rule: PROTOCOL R7. The source of a session gives the partition up between its clock and its objects, and owns it
/// again: what it has not got then was not superseded.
#[test]
pub(super) fn a_session_does_not_outlive_the_clock_it_was_begun_with() {
    let mut change = Move::new();
    let ([puller, _], source) = (change.kept, change.from);
    change.scene.ask(puller, put("k", "1"));
    change.scene.command(source, put("other", "1").having_seen(&DotSet::EMPTY).with(strict));
    change.scene.settle_without(&[puller]);
    // The puller learns of the source's clock, and asks for what it lacks.
    change.scene.wait(5_000_000);
    change.scene.deliver(puller, source);
    change.scene.deliver(source, puller);
    let pull = change.scene.lose(puller, source);
    assert!(pull.iter().any(|letter| matches!(letter.message, Message::Pull { .. })));
    // Meanwhile the source is no owner, and then is one again.
    let without = LiveLayouts { acknowledged: 2, ..LiveLayouts::only(Arc::clone(&change.after)) };
    change.scene.goes_by(source, without.clone());
    for _ in 0..2 {
        change.scene.flush(source);
        change.scene.wait(100);
    }
    let again = Arc::new(change.scene.next_layout(&change.after, &[change.kept[0], change.kept[1], source]));
    change.scene.goes_by(source, LiveLayouts { acknowledged: 2, ..LiveLayouts::only(again) });
    change.scene.flush(source);
    assert_eq!(change.scene.report(source).keys, 0);
    pull.into_iter().for_each(|letter| change.scene.hand_over(letter));
    change.scene.talk(puller, source);
    assert!(change.scene.noticed(puller, Notice::ExchangeAborted) >= 1);
    assert_eq!(values(&change.scene.ask(puller, get("k"))), ["1"]);
}
