//! P6 in its sharpest form: without faults, everything succeeds.

use super::Broken;
use dunlin::replication::{Failure, Outcome};

/// Judges one answer of a cluster without faults.
pub fn check_available(outcome: &Outcome) -> Option<Broken> {
    match outcome {
        // A client's own doing.
        Outcome::Failed(Failure::TooManySiblings { .. }) => None,
        Outcome::Failed(failure) => {
            Some(Broken::new("P6 available", format!("no fault is injected, yet a request failed: {failure:?}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_without_a_fault_is_reported() {
        assert!(check_available(&Outcome::Failed(Failure::NotReady)).is_some());
        assert!(check_available(&Outcome::PreconditionFailed { live_hash: 0 }).is_none());
    }
}
