//! The mutation gate: with one rule broken on purpose, some seed must fail.
//!
//! A suite that passes proves little unless it is known to fail. Each deliberate fault of the core is
//! switched on in turn and seeds are run until one of them notices.

use super::{DunlinMachine, Report, Voice, run};
use dunlin::base::Mutation;
use dunlin::base::mutation::activate;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Faults that no simulated cluster can show, and where they are noticed instead.
pub const ELSEWHERE: &[(Mutation, &str)] = &[
    (Mutation::TokenNotVerified, "tokens pass through the simulator opaquely: unit tests of causal::token"),
    (Mutation::TruncateAtFirstBadRecord, "storage crash tests: chaos/tests/store.rs"),
    (Mutation::ChecksumWithoutOffset, "storage crash tests: chaos/tests/store.rs"),
    (Mutation::SkipDirectorySync, "storage crash tests: chaos/tests/store.rs"),
    (Mutation::DiskNoPrefix, "storage crash tests: chaos/tests/store.rs"),
    (Mutation::DiskPositionOrder, "storage crash tests: chaos/tests/store.rs"),
];

/// What became of one fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hunt {
    /// This seed noticed: the promise it saw broken, and how many seeds it took.
    Caught {
        /// The first seed that failed.
        seed: u64,
        /// How many seeds were run.
        runs: u64,
        /// What it said.
        promise: String,
    },
    /// None of so many seeds did.
    Survived {
        /// How many seeds were run.
        runs: u64,
    },
}

/// Runs seeds `first..first + limit` with this rule broken until one fails that holds with every rule kept.
pub fn hunt(mutation: Mutation, first: u64, limit: u64) -> Hunt {
    let found = (first..first + limit).find_map(|seed| {
        let promise = attempt(Some(mutation), seed)?;
        attempt(None, seed).is_none().then_some((seed, promise))
    });
    match found {
        Some((seed, promise)) => Hunt::Caught { seed, runs: seed - first + 1, promise },
        None => Hunt::Survived { runs: limit },
    }
}

/// The first promise that a seed sees broken, with this rule broken or none.
fn attempt(mutation: Option<Mutation>, seed: u64) -> Option<String> {
    activate(mutation);
    // A core that panics under a fault has noticed it, too.
    let outcome = catch_unwind(AssertUnwindSafe(|| run(seed, &DunlinMachine::build, Voice::Quiet)));
    activate(None);
    promise_broken(outcome.ok())
}

fn promise_broken(report: Option<Report>) -> Option<String> {
    match report {
        None => Some("no panic".into()),
        Some(report) => report.broken.first().map(|broken| broken.promise.to_owned()),
    }
}

/// Where a fault is noticed if not here.
pub fn elsewhere(mutation: Mutation) -> Option<&'static str> {
    ELSEWHERE.iter().find(|(other, _)| *other == mutation).map(|(_, place)| *place)
}
