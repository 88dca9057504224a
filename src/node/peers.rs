//! How peers have been answering lately: who is silent, and when to ask another.

use crate::base::{NodeId, Time};
use smallvec::SmallVec;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Answers remembered per peer for the hedge delay: enough for a p95, few enough to follow a change.
const REMEMBERED_ANSWERS: usize = 32;

/// What this shard has seen of each peer. Advice for routing only; the failure detector decides who
/// is down.
#[derive(Debug, Default)]
pub(super) struct Peers {
    peers: BTreeMap<NodeId, Peer>,
}

#[derive(Debug, Default)]
struct Peer {
    /// Since when a request waits without anything having been heard.
    owes_since: Option<Time>,
    answers: VecDeque<Duration>,
}

impl Peers {
    /// A request that wants an answer was sent.
    pub(super) fn asked(&mut self, node: NodeId, now: Time) {
        self.peers.entry(node).or_default().owes_since.get_or_insert(now);
    }

    /// Anything at all was heard.
    pub(super) fn heard(&mut self, node: NodeId) {
        self.peers.entry(node).or_default().owes_since = None;
    }

    /// A read was answered after this long.
    pub(super) fn answered(&mut self, node: NodeId, after: Duration) {
        let answers = &mut self.peers.entry(node).or_default().answers;
        answers.push_back(after);
        if answers.len() > REMEMBERED_ANSWERS {
            answers.pop_front();
        }
    }

    /// Owes an answer for longer than `patience`.
    pub(super) fn is_silent(&self, node: NodeId, now: Time, patience: Duration) -> bool {
        let owes_since = self.peers.get(&node).and_then(|peer| peer.owes_since);
        owes_since.is_some_and(|since| now.since(since) > patience)
    }

    /// When to ask another besides `node`: the 95th percentile of its recent answers.
    pub(super) fn hedge_delay(&self, node: NodeId) -> Option<Duration> {
        let answers = self.peers.get(&node)?.answers.iter().copied();
        let mut answers: SmallVec<[Duration; REMEMBERED_ANSWERS]> = answers.collect();
        let at = (answers.len() * 95).div_ceil(100).checked_sub(1)?;
        Some(*answers.select_nth_unstable(at).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_silent_only_while_it_owes_an_answer() {
        let (mut peers, node, patience) = (Peers::default(), NodeId(1), Duration::from_millis(200));
        let at = |ms: u64| Time(ms * 1000);
        peers.asked(node, at(0));
        peers.asked(node, at(150));
        assert!(!peers.is_silent(node, at(200), patience));
        assert!(peers.is_silent(node, at(201), patience));
        peers.heard(node);
        assert!(!peers.is_silent(node, at(9_000), patience));
    }

    #[test]
    fn the_hedge_delay_is_the_95th_percentile() {
        let (mut peers, node) = (Peers::default(), NodeId(1));
        assert_eq!(peers.hedge_delay(node), None);
        (1..=20).for_each(|ms| peers.answered(node, Duration::from_millis(ms)));
        assert_eq!(peers.hedge_delay(node), Some(Duration::from_millis(19)));
    }
}
