//! Names of outcomes, for traces and counters.

use dunlin::replication::{Failure, Outcome};
use dunlin::store::Reach;

/// What an answer is called.
pub(super) fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Read(read) if read.state.versions.is_empty() => "not found",
        Outcome::Read(read) if read.state.versions.len() > 2 => "three siblings",
        Outcome::Read(read) if read.state.versions.len() > 1 => "two siblings",
        Outcome::Read(_) => "found",
        Outcome::Written(_) => "written",
        Outcome::Listed(page) if page.reach == Reach::End => "last page",
        Outcome::Listed(_) => "page",
        Outcome::PreconditionFailed { .. } => "precondition failed",
        Outcome::Failed(failure) => failure_name(failure),
    }
}

fn failure_name(failure: &Failure) -> &'static str {
    match failure {
        Failure::TooFewReplicas { .. } => "too few replicas",
        Failure::OutcomeUnknown { .. } => "outcome unknown",
        Failure::ReadTimeout { .. } => "read timeout",
        Failure::QuorumTooLarge { .. } => "quorum too large",
        Failure::Overloaded => "overloaded",
        Failure::NotReady => "not ready",
        Failure::DiskFull => "disk full",
        Failure::TooManySiblings { .. } => "too many siblings",
        Failure::SiblingsTooLarge { .. } => "siblings too large",
    }
}
