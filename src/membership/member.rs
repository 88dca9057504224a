//! A member as known here, and which of two records about it is the truth.

use super::identity::Identity;
use crate::base::NodeId;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::sync::Arc;

/// Most members known, down and left ones included: none is ever removed by time, and each costs about
/// 1 KiB here. Nothing that is sent grows with them, so the limit is memory alone: 16 MiB. Further ones
/// are not taken in, and counted.
pub const MAX_MEMBERS: usize = 16_384;

/// Incarnations are below this, so that there is always one above to refute with.
pub const MAX_INCARNATION: u64 = 1 << 62;

/// What is believed of a member. The order matters: at equal incarnations the later state wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MemberState {
    /// It answers.
    #[serde(rename = "a")]
    Alive,
    /// It did not answer somebody; it has a while to refute. Still counts as reachable.
    #[serde(rename = "s")]
    Suspect,
    /// It did not refute in time. Not reachable; retried for ever.
    #[serde(rename = "d")]
    Down,
    /// It said that it leaves. Not reachable; not retried.
    #[serde(rename = "l")]
    Left,
}

/// What is held of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it says of itself at this incarnation. Shared by all records it did not change between.
    pub identity: Arc<Identity>,
    /// Raised by its owner alone: to refute, to change its identity, to leave, at every restart.
    pub incarnation: u64,
    /// What is believed of it at this incarnation.
    pub state: MemberState,
}

impl MemberState {
    /// May queries be sent there?
    pub fn is_reachable(self) -> bool {
        matches!(self, MemberState::Alive | MemberState::Suspect)
    }
}

impl Member {
    /// The member's node.
    pub fn node(&self) -> NodeId {
        self.identity.node
    }

    /// Does this record replace `held`, one about the same node? A total order, so that the greatest
    /// record is the same in whatever order they arrive. Equal but for the identity means that two
    /// processes claim one id; then any fixed choice keeps everyone from flapping.
    pub fn supersedes(&self, held: &Member) -> bool {
        match (self.incarnation.cmp(&held.incarnation), self.state.cmp(&held.state)) {
            (Ordering::Greater, _) => true,
            (Ordering::Less, _) => false,
            (Ordering::Equal, Ordering::Greater) => true,
            (Ordering::Equal, Ordering::Less) => false,
            (Ordering::Equal, Ordering::Equal) => self.identity > held.identity,
        }
    }

    /// The same member at the same incarnation in another state: what a verdict says.
    pub(super) fn judged(&self, state: MemberState) -> Member {
        Member { state, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::MemberState::{Alive, Down, Left, Suspect};
    use super::*;
    use crate::membership::tests::identity;
    use proptest::prelude::*;

    fn record(incarnation: u64, state: MemberState) -> Member {
        Member { identity: identity(1).into(), incarnation, state }
    }

    fn merge(a: Member, b: Member) -> Member {
        if b.supersedes(&a) { b } else { a }
    }

    fn any_record() -> impl Strategy<Value = Member> {
        let states = prop_oneof![Just(Alive), Just(Suspect), Just(Down), Just(Left)];
        (0..4u64, states, 0..3u32).prop_map(|(incarnation, state, capacity)| Member {
            identity: Identity { capacity, ..identity(1) }.into(),
            incarnation,
            state,
        })
    }

    /// Rule: at one incarnation suspicion beats alive, down beats suspicion, left beats down; any
    /// higher incarnation beats them all, since only the owner can have raised it.
    #[test]
    fn precedence_is_incarnation_first_and_then_the_graver_state() {
        let ascending = [(1, Alive), (1, Suspect), (1, Down), (1, Left), (2, Alive), (2, Suspect)];
        for (position, (incarnation, state)) in ascending.into_iter().enumerate() {
            for (lower_incarnation, lower_state) in ascending.into_iter().take(position) {
                let (high, low) = (record(incarnation, state), record(lower_incarnation, lower_state));
                assert!(high.supersedes(&low), "{high:?} over {low:?}");
                assert!(!low.supersedes(&high), "{low:?} over {high:?}");
            }
        }
    }

    proptest! {
        /// Rule (the precedence law): merging rumours is commutative, associative and idempotent, so
        /// nodes that heard the same rumours in any order, any number of times, believe the same.
        #[test]
        fn merging_is_a_join(a in any_record(), b in any_record(), c in any_record()) {
            prop_assert_eq!(merge(a.clone(), b.clone()), merge(b.clone(), a.clone()));
            prop_assert_eq!(
                merge(merge(a.clone(), b.clone()), c.clone()),
                merge(a.clone(), merge(b, c))
            );
            prop_assert_eq!(merge(a.clone(), a.clone()), a);
        }
    }
}
