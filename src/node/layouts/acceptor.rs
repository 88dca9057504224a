//! One voice in the decision on the next version.

use crate::replication::Ballot;
use crate::ring::Layout;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a node has promised and accepted for the version after its newest. Paxos stands on this never being
/// forgotten, so it is durable before anyone is answered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Acceptor {
    /// The highest attempt it takes part in. A proposer keeps its own attempts here too, member or not, so that it
    /// never uses one twice.
    pub(super) promised: Option<Ballot>,
    /// The layout accepted in the highest attempt that was.
    pub(super) accepted: Option<(Ballot, Arc<Layout>)>,
}

/// What to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Done now: answer once it is durable.
    Done,
    /// Done before. Silence: the answer is under way, or lost, and then a higher attempt follows.
    Repeated,
    /// This one was promised.
    Refused(Ballot),
}

impl Acceptor {
    pub(super) fn prepare(&mut self, ballot: Ballot) -> Verdict {
        match self.promised {
            Some(promised) if promised > ballot => Verdict::Refused(promised),
            Some(promised) if promised == ballot => Verdict::Repeated,
            _ => {
                self.promised = Some(ballot);
                Verdict::Done
            }
        }
    }

    pub(super) fn accept(&mut self, ballot: Ballot, layout: &Arc<Layout>) -> Verdict {
        match (self.promised, &self.accepted) {
            (Some(promised), _) if promised > ballot => Verdict::Refused(promised),
            (_, Some((accepted, _))) if *accepted == ballot => Verdict::Repeated,
            _ => {
                self.promised = Some(ballot);
                self.accepted = Some((ballot, Arc::clone(layout)));
                Verdict::Done
            }
        }
    }

    /// The round of the next attempt of anyone who knows this.
    pub(super) fn next_round(&self) -> u64 {
        self.promised.map_or(1, |ballot| ballot.round.saturating_add(1))
    }
}
