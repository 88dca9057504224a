//! One checker, one file, one promise of RELIABILITY.md.
//!
//! A checker is told what clients saw and what the [`Oracle`](super::oracle::Oracle) knows, and says what
//! is broken. None of them knows the protocol. Each has negative controls: bad histories that it must report.

mod answered;
mod available;
mod converged;
mod honest;
mod listed;
mod lost;
mod meeting;
mod quorum;
mod resurrected;
mod siblings;
mod stale;
mod torn;

pub use answered::{Requests, Unanswered};
pub use available::check_available;
pub use converged::{Holding, Leftovers, check_converged};
pub use honest::check_honest;
pub use listed::{Listed, check_listed};
pub use lost::check_lost;
pub use meeting::check_meeting;
pub use quorum::{check_durable, check_quorum};
pub use resurrected::{check_resurrected, check_resurrected_at_end};
pub use siblings::check_siblings;
pub use stale::check_stale;
pub use torn::check_torn;

use super::WriteSet;
use dunlin::base::Time;

/// A promise that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Number and name in RELIABILITY.md.
    pub promise: &'static str,
    /// What was seen.
    pub what: String,
}

/// What a successful read showed.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Number of the key.
    pub key: usize,
    /// The live values, by the writes that made them.
    pub writes: WriteSet,
    /// How many replicas it asked for.
    pub reads: usize,
    /// Only primaries count.
    pub strict: bool,
    /// When it was sent.
    pub begun: Time,
    /// When it was answered.
    pub ended: Time,
}

impl Broken {
    fn new(promise: &'static str, what: String) -> Self {
        Self { promise, what }
    }
}

#[cfg(test)]
pub(crate) mod histories {
    //! Small histories for negative controls.
    use super::super::oracle::{Fate, Kind, Oracle, Seen, Write};
    use super::super::{WriteId, WriteSet};
    use super::Shown;
    use dunlin::base::Time;

    pub(crate) fn set(ids: &[WriteId]) -> WriteSet {
        ids.iter().copied().collect()
    }

    /// A strict quorum write of key 0 at N=3, sent at `at`, acknowledged one microsecond later.
    pub(crate) fn acknowledged(oracle: &mut Oracle, at: u64, kind: Kind, seen: Seen) -> WriteId {
        let write = Write {
            key: 0,
            kind,
            seen,
            invoked: Time(at),
            ended: Time::NEVER,
            fate: Fate::Open,
            copies: 2,
            reads: 2,
            strict: true,
        };
        let id = oracle.begin(write);
        oracle.end(id, Fate::Acknowledged, Time(at + 1));
        id
    }

    /// A strict quorum read of key 0 begun at `at`.
    pub(crate) fn read(at: u64, shown: &[WriteId]) -> Shown {
        Shown { key: 0, writes: set(shown), reads: 2, strict: true, begun: Time(at), ended: Time(at + 1) }
    }
}
