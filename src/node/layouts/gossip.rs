//! How layouts and trackers spread.

use super::effect::LayoutNotice;
use super::keeper::{LayoutKeeper, Turn};
use super::live::MAX_LIVE_LAYOUTS;
use super::state::{LayoutState, follows};
use super::trackers::hash;
use crate::base::{NodeId, Time};
use crate::replication::{LayoutDigest, LayoutMessage, LayoutNews};
use crate::ring::Layout;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Most peers told at once of what is new here. The others hear of it by the periodic digests, in as many rounds as the
/// logarithm of the nodes.
const MAX_TOLD_AT_ONCE: usize = 16;

/// Between two corrections of one peer: longer than most syncs, shorter than the pause between digests, which make good what
/// is left out.
const CORRECTION_PAUSE: Duration = Duration::from_millis(200);

/// More orders than operators ever give: a greater count is not one, and would be the last word for ever.
const MAX_PAUSES: u64 = 1 << 32;

impl LayoutKeeper {
    /// A digest to one random peer, when it is time.
    pub(super) fn gossip(&mut self, turn: &mut Turn<'_>) {
        if self.next_digest.is_some_and(|at| turn.now < at) {
            return;
        }
        let micros = u64::try_from(self.timings.digest_interval.as_micros()).unwrap_or(u64::MAX).max(2);
        // Spread, so that a cluster started at once does not speak at once for ever.
        let pause = self.random.between(micros / 2, micros.saturating_add(micros / 2));
        self.next_digest = Some(turn.now + Duration::from_micros(pause));
        let peers: Vec<NodeId> = self.peers.iter().copied().collect();
        if let Some(peer) = self.random.pick(&peers) {
            turn.send(vec![*peer], LayoutMessage::Digest(self.digest()));
        }
    }

    /// Asks whoever has just come up.
    pub(super) fn meet(&mut self, mut peers: BTreeSet<NodeId>, turn: &mut Turn<'_>) {
        peers.remove(&self.me);
        let new: Vec<NodeId> = peers.difference(&self.peers).copied().collect();
        self.corrected.retain(|node, _| peers.contains(node));
        self.peers = peers;
        let some = self.some_of(new);
        turn.send(some, LayoutMessage::Digest(self.digest()));
    }

    /// Tells what is new here without being asked. Layouts are not sent along: who lacks them asks.
    pub(super) fn push_news(&mut self, turn: &mut Turn<'_>) {
        let some = self.some_of(self.peers.iter().copied().collect());
        if !some.is_empty() {
            turn.send(some, LayoutMessage::State(self.news(u64::MAX)));
        }
    }

    fn some_of(&mut self, mut peers: Vec<NodeId>) -> Vec<NodeId> {
        if peers.len() > MAX_TOLD_AT_ONCE {
            self.random.shuffle(&mut peers);
            peers.truncate(MAX_TOLD_AT_ONCE);
        }
        peers
    }

    /// Sends what a peer lacks whose newest version is this one.
    pub(super) fn inform(&self, peer: NodeId, its_newest: u64, turn: &mut Turn<'_>) {
        turn.send(vec![peer], LayoutMessage::State(self.news(its_newest)));
    }

    pub(super) fn digest(&self) -> LayoutDigest {
        let newest = self.saved.newest().version;
        LayoutDigest {
            oldest: self.saved.oldest(),
            newest,
            newest_hash: self.hashes.get(&newest).copied().unwrap_or_default(),
            trackers: hash(&self.trackers()),
            pauses: self.saved.pauses,
        }
    }

    /// What is durable here, for a peer with this newest version.
    fn news(&self, its_newest: u64) -> LayoutNews {
        let versions = self.saved.versions.iter().filter(|layout| layout.version > its_newest);
        LayoutNews {
            digest: self.digest(),
            versions: versions.cloned().collect(),
            reading: self.saved.reading,
            trackers: self.trackers(),
        }
    }

    pub(super) fn on_digest(&mut self, from: NodeId, digest: &LayoutDigest, turn: &mut Turn<'_>) {
        if self.conflicts(from, digest, &[], turn) {
            return;
        }
        let own = self.digest();
        if own != *digest {
            self.inform(from, digest.newest, turn);
        }
    }

    pub(super) fn on_state(&mut self, from: NodeId, news: &LayoutNews, turn: &mut Turn<'_>) {
        if !is_sound(news) || self.conflicts(from, &news.digest, &news.versions, turn) {
            return;
        }
        self.take_trackers(news, turn);
        self.state.pauses = self.state.pauses.max(news.digest.pauses);
        self.state.end_before(news.digest.oldest.min(self.state.newest().version));
        self.take_versions(news);
        self.take_over_reading(news.reading);
        let newest = self.state.newest().version;
        let begins = news.versions.first().map_or(u64::MAX, |layout| layout.version);
        if news.digest.newest > newest && begins > newest + 1 && begins != news.digest.oldest {
            turn.send(vec![from], LayoutMessage::Digest(self.digest()));
        }
        if self.knows_more_than(news) && self.may_correct(from, turn.now) {
            self.inform(from, news.digest.newest, turn);
        }
    }

    /// May a peer's news be answered by what it lacks? What it was just told it shows only once that is durable there: two
    /// nodes that each lack something would tell each other at the pace of the network until then.
    fn may_correct(&mut self, peer: NodeId, now: Time) -> bool {
        let recently = self.corrected.get(&peer).is_some_and(|at| now.since(*at) < CORRECTION_PAUSE);
        if !recently {
            self.corrected.insert(peer, now);
        }
        !recently
    }

    /// Has the peer another layout under a number known here? Then nothing of it is taken.
    fn conflicts(&self, from: NodeId, digest: &LayoutDigest, versions: &[Arc<Layout>], turn: &mut Turn<'_>) -> bool {
        let other_hash = self.hashes.get(&digest.newest).is_some_and(|hash| *hash != digest.newest_hash);
        let own = self.state.newest();
        let differs = |layout: &&Arc<Layout>| {
            let same_number = self.state.version(layout.version);
            same_number.is_some_and(|known| known != *layout)
                || layout.cluster != own.cluster
                || layout.partitioning != own.partitioning
        };
        let other = versions.iter().find(differs).map(|layout| layout.version);
        let conflict = other.or(other_hash.then_some(digest.newest));
        if let Some(version) = conflict {
            turn.notice(LayoutNotice::Conflict { from, version });
        }
        conflict.is_some()
    }

    fn take_trackers(&mut self, news: &LayoutNews, turn: &mut Turn<'_>) {
        for (node, tracker) in &news.trackers {
            if *node != self.me {
                self.state.trackers.raise(*node, *tracker);
            } else if self.state.trackers.is_behind(*node, *tracker) && self.remembered != Some(*tracker) {
                self.remembered = Some(*tracker);
                // A node's own tracker leaves it only once durable: nobody can know more of it than the node itself, unless
                // its state was set back. What it had acknowledged it has to come to anew, from owning nothing.
                turn.notice(LayoutNotice::SetBack);
            }
        }
    }

    /// Takes the next versions one by one, or, if the peer's oldest is newer than all known here, all it has. Then this
    /// node has been away while everyone who counts went on: it owns nothing that is still asked for, unless its
    /// state was set back.
    fn take_versions(&mut self, news: &LayoutNews) {
        let newest = self.state.newest().version;
        if news.digest.oldest > newest {
            let whole = news.versions.first().is_some_and(|first| first.version == news.digest.oldest);
            if whole && self.state.ending.is_empty() {
                self.state.replace(news.versions.clone());
            }
            return;
        }
        for layout in &news.versions {
            if self.state.follows(layout) && self.state.can_adopt() {
                self.state.adopt(Arc::clone(layout));
            }
        }
    }

    /// A node that is new in the newest version, or in none, reads by what the others do. Old members go by
    /// their trackers alone.
    pub(super) fn take_over_reading(&mut self, reading: u64) {
        let state = &mut self.state;
        let newcomer = state.is_newcomer(self.me) && state.acceptor.accepted.is_none();
        if newcomer && state.version(reading).is_some() {
            state.reading = state.reading.max(reading);
        }
    }

    /// Is there anything durable here that the sender of this lacks?
    fn knows_more_than(&self, news: &LayoutNews) -> bool {
        let saved: &LayoutState = &self.saved;
        let newer = saved.newest().version > news.digest.newest;
        let ended = saved.oldest() > news.digest.oldest;
        let ordered = saved.pauses > news.digest.pauses;
        newer || ended || ordered || self.has_later_trackers(news)
    }

    fn has_later_trackers(&self, news: &LayoutNews) -> bool {
        // Those it does not name are of versions it does not know, or that have ended there.
        news.trackers.iter().any(|(node, theirs)| {
            let own = self.saved.trackers.of(*node);
            own.acknowledged > theirs.acknowledged
                || own.synced > theirs.synced
                || own.sync_acknowledged > theirs.sync_acknowledged
        })
    }
}

/// Could an honest peer have sent it?
fn is_sound(news: &LayoutNews) -> bool {
    let LayoutNews { digest, versions, .. } = news;
    let span = digest.newest.checked_sub(digest.oldest).is_some_and(|span| span < MAX_LIVE_LAYOUTS as u64);
    let chain = versions.iter().zip(versions.iter().skip(1)).all(|(before, after)| follows(before, after));
    let ends = versions.last().is_none_or(|last| last.version == digest.newest);
    let begins = versions.first().is_none_or(|first| first.version >= digest.oldest);
    span && chain && ends && begins && digest.pauses <= MAX_PAUSES
}
