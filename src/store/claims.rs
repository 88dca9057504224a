//! What a partition's state holds besides its keys: clock, counter, completeness.

use super::{Body, HintBody, Sequence};
use crate::base::{Mutation, broken};
use crate::causal::{Actor, DotSet};
use serde::{Deserialize, Serialize};

/// One partition's claims: what it says of itself without looking at a key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Claims {
    /// Every dot whose effect is in the log.
    pub(super) clock: DotSet,
    /// The highest counter that the store's own actor has minted here.
    pub(super) minted: u64,
    /// May count towards R and coordinate.
    pub(super) complete: bool,
    /// Records of keys up to this one were dropped with the partition; 0 for none.
    #[serde(default)]
    pub(super) dropped: Sequence,
}

impl Claims {
    /// Plays one record of a log whose owner is `actor`.
    pub(super) fn play(&mut self, actor: Actor, body: &Body) {
        let counter = if is_own(actor, body) { counter(body) } else { 0 };
        play(&mut self.clock, &mut self.minted, &mut self.complete, body, counter);
    }
}

/// What a record does to a partition's claims: the one rule for tables, for the log and for recovery.
pub(super) fn play(clock: &mut DotSet, minted: &mut u64, complete: &mut bool, body: &Body, counter: u64) {
    *minted = counter.max(*minted);
    match body {
        Body::Object { dots, .. } | Body::Join { dots } | Body::Void { dots, .. } => clock.union(dots),
        Body::Hint(_) | Body::HintDone { .. } => {}
        Body::Complete => *complete = true,
        Body::Reset { clock: read_back } => {
            clock.clone_from(read_back);
            *complete = false;
        }
        Body::Drop => (*clock, *complete) = (DotSet::EMPTY, false),
    }
}

/// The own counter that a record carries; 0 for none.
pub(super) fn counter(body: &Body) -> u64 {
    match body {
        Body::Object { minted, .. } | Body::Hint(HintBody { minted, .. }) => minted.unwrap_or(0),
        Body::Void { minted, .. } => *minted,
        Body::Join { .. } | Body::HintDone { .. } | Body::Complete | Body::Reset { .. } | Body::Drop => 0,
    }
}

/// A counter belongs to the actor that minted it (PROTOCOL R9).
fn is_own(actor: Actor, body: &Body) -> bool {
    let dots = match body {
        Body::Object { dots, .. } | Body::Hint(HintBody { dots, .. }) | Body::Void { dots, .. } => dots,
        Body::Join { .. } | Body::HintDone { .. } | Body::Complete | Body::Reset { .. } | Body::Drop => return false,
    };
    dots.of(actor).is_some() && !broken(Mutation::CounterReuse)
}
