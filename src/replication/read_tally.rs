//! What do the answers to a read add up to, and who was behind?

use super::{Known, ReadReply};
use crate::base::{HybridTime, NodeId};
use crate::causal::{Content, DotSet, Filled, Outline, Version};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Merges the answers to one read. Pure: replies in, state out.
#[derive(Debug, Clone)]
pub struct ReadTally {
    required: usize,
    /// What the asker held when it asked; "same" means exactly this (PROTOCOL R15).
    own: Option<Filled>,
    merged: Filled,
    /// Live hash of each counted answer.
    answers: BTreeMap<NodeId, u64>,
}

impl ReadTally {
    /// A tally that needs `required` answers.
    pub fn new(required: usize) -> Self {
        Self { required, own: None, merged: Filled::default(), answers: BTreeMap::new() }
    }

    /// The asker's own state, which counts as an answer.
    pub fn count_own(&mut self, node: NodeId, state: &Filled) {
        self.own = Some(state.clone());
        self.count(node, state);
    }

    /// What the request to others says the asker has.
    pub fn known(&self) -> Option<Known> {
        let own = self.own.as_ref()?;
        Some(Known { live_hash: own.live_hash(), context_hash: own.context.hash64() })
    }

    /// A replica's reply. False if it does not count: filling, failed, or "same" as nothing.
    pub fn answer(&mut self, node: NodeId, reply: ReadReply) -> bool {
        let state = match reply {
            ReadReply::Same => self.own.clone(),
            ReadReply::SameVersions { context } => {
                self.own.as_ref().map(|own| Filled { versions: own.versions.clone(), context })
            }
            ReadReply::State(state) => Some(state),
            ReadReply::Outline(outline) => Some(without_values(outline)),
            ReadReply::Filling | ReadReply::Failed => None,
        };
        match state {
            Some(state) => self.count(node, &state),
            None => return false,
        }
        true
    }

    /// Enough answers.
    pub fn is_enough(&self) -> bool {
        self.answers.len() >= self.required
    }

    /// How many are needed.
    pub fn required(&self) -> usize {
        self.required
    }

    /// How many counted.
    pub fn answers(&self) -> usize {
        self.answers.len()
    }

    /// Has this node's answer counted?
    pub fn has(&self, node: NodeId) -> bool {
        self.answers.contains_key(&node)
    }

    /// The merged state so far.
    pub fn merged(&self) -> &Filled {
        &self.merged
    }

    /// Everything any answer has seen of the key.
    pub fn context(&self) -> &DotSet {
        &self.merged.context
    }

    /// Nodes whose live versions are not the merged ones: read repair pushes the merge to them.
    pub fn behind(&self) -> Vec<NodeId> {
        let whole = self.merged.live_hash();
        self.answers.iter().filter(|(_, live)| **live != whole).map(|(node, _)| *node).collect()
    }

    fn count(&mut self, node: NodeId, state: &Filled) {
        self.answers.insert(node, state.live_hash());
        self.merged = std::mem::take(&mut self.merged).merge(state);
    }
}

/// An outline as a state: good for deciding, never to be stored or shown.
fn without_values(outline: Outline) -> Filled {
    let nothing = Content {
        value: Bytes::new(),
        content_type: String::new(),
        metadata: Vec::new(),
        written_at: HybridTime::default(),
        expires_at: None,
    };
    let versions = outline.versions.iter().map(|v| Version { dot: v.dot, content: nothing.clone() }).collect();
    Filled { versions, context: outline.context }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{Actor, Dot};

    fn state(live: &[u64], seen: &[u64]) -> Filled {
        let dot = |counter: &u64| Dot { actor: Actor(1), counter: *counter };
        let outline = Outline {
            versions: live.iter().map(|c| Version { dot: dot(c), content: () }).collect(),
            context: seen.iter().map(dot).collect(),
        };
        without_values(outline)
    }

    #[test]
    fn same_means_exactly_what_the_asker_had() {
        let mut tally = ReadTally::new(2);
        tally.count_own(NodeId(1), &state(&[2], &[1, 2]));
        assert!(!tally.is_enough());
        assert!(tally.answer(NodeId(2), ReadReply::Same));
        assert!(tally.is_enough() && tally.behind().is_empty());
        assert_eq!(tally.merged(), &state(&[2], &[1, 2]));
    }

    #[test]
    fn a_context_alone_can_supersede_what_the_others_show() {
        let mut tally = ReadTally::new(2);
        tally.count_own(NodeId(1), &state(&[1], &[1]));
        tally.answer(NodeId(2), ReadReply::State(state(&[], &[1, 2])));
        assert!(tally.merged().versions.is_empty());
        assert_eq!(tally.behind(), [NodeId(1)]);
    }

    #[test]
    fn a_filling_replica_and_a_failed_one_do_not_count() {
        let mut tally = ReadTally::new(1);
        assert!(!tally.answer(NodeId(1), ReadReply::Filling));
        assert!(!tally.answer(NodeId(2), ReadReply::Failed));
        assert!(!tally.answer(NodeId(3), ReadReply::Same), "the asker had nothing to be the same as");
        assert!(!tally.is_enough());
    }
}
