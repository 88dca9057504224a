//! The whole set of cases whose figures are in docs/membership.md.

use super::case::Case;
use dunlin::membership::Lifeguard;
use std::time::Duration;

/// Loss and share of stalling nodes, in percent, and their longest stall in seconds.
const TROUBLES: [(u32, u32, u64); 6] = [(0, 0, 5), (5, 0, 5), (20, 0, 5), (5, 1, 5), (5, 1, 10), (5, 10, 10)];

/// The cluster of `case` under all troubles, each without and with Lifeguard.
pub(super) fn cases(case: &Case) -> impl Iterator<Item = Case> {
    TROUBLES.into_iter().flat_map(move |(loss, stalling, longest)| {
        [Lifeguard::Off, Lifeguard::On].map(|lifeguard| Case {
            loss: f64::from(loss) / 100.0,
            stalling: f64::from(stalling) / 100.0,
            longest_stall: Duration::from_secs(longest),
            lifeguard,
            ..case.clone()
        })
    })
}
