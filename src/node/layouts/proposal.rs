//! An attempt, or several, to have a version decided.

use crate::base::{NodeId, Time};
use crate::replication::Ballot;
use crate::ring::Layout;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a proposer knows. It may be forgotten at any time: all that must last is with the acceptors.
#[derive(Debug)]
pub(super) struct Proposal {
    /// The version to decide.
    pub(super) version: u64,
    /// The operator's; none if the node only wants an outcome for what it has accepted.
    pub(super) wish: Option<Wish>,
    pub(super) phase: Phase,
    /// When the phase ends for want of answers.
    pub(super) until: Time,
    /// When to give up altogether.
    pub(super) give_up: Time,
    /// The highest round met.
    pub(super) highest_round: u64,
    /// Who answered the last attempt.
    pub(super) answered: BTreeSet<NodeId>,
}

/// What an operator asked for.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) request: u64,
    pub(super) layout: Arc<Layout>,
    pub(super) exposure: Exposure,
}

/// Can others make a wish come true without its proposer?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exposure {
    /// Nobody has been asked to accept it.
    None,
    /// Somebody may have accepted it.
    Asked,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Asking for promises.
    Promising { ballot: Ballot, promises: BTreeMap<NodeId, Option<(Ballot, Arc<Layout>)>> },
    /// Asking to accept. The readings are those of who has.
    Accepting { ballot: Ballot, layout: Arc<Layout>, accepted: BTreeMap<NodeId, u64> },
    /// Waiting for the next attempt.
    Pausing,
    /// A majority has accepted this: it is the next version, as soon as this node can adopt it.
    Chosen { layout: Arc<Layout>, reading: u64 },
}

impl Proposal {
    /// Begins with a pause that is over.
    pub(super) fn new(version: u64, wish: Option<Wish>, now: Time, give_up: Time) -> Self {
        let (phase, answered) = (Phase::Pausing, BTreeSet::new());
        Self { version, wish, phase, until: now, give_up, highest_round: 0, answered }
    }

    /// When it wants to be looked at.
    pub(super) fn deadline(&self) -> Time {
        match self.phase {
            Phase::Chosen { .. } => Time::NEVER,
            _ => self.until.min(self.give_up),
        }
    }

    pub(super) fn ballot(&self) -> Option<Ballot> {
        match self.phase {
            Phase::Promising { ballot, .. } | Phase::Accepting { ballot, .. } => Some(ballot),
            Phase::Pausing | Phase::Chosen { .. } => None,
        }
    }

    /// What must be proposed after these promises: what was accepted in the highest attempt, else the wish.
    pub(super) fn value(&self) -> Option<Arc<Layout>> {
        let Phase::Promising { promises, .. } = &self.phase else { return None };
        let accepted = promises.values().flatten().max_by_key(|(ballot, _)| *ballot);
        let wished = || self.wish.as_ref().map(|wish| Arc::clone(&wish.layout));
        accepted.map(|(_, layout)| Arc::clone(layout)).or_else(wished)
    }

    /// From now on others may finish it.
    pub(super) fn expose(&mut self, layout: &Arc<Layout>) {
        if let Some(wish) = self.wish.as_mut().filter(|wish| wish.layout == *layout) {
            wish.exposure = Exposure::Asked;
        }
    }
}
