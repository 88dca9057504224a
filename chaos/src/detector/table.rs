//! The whole set of cases whose figures are in docs/membership.md.

use super::case::{Case, Connections};
use dunlin::membership::Lifeguard;
use std::time::Duration;

/// Sizes, and how many seconds of each are worth their time.
const SIZES: [(u32, u64); 4] = [(10, 14_400), (100, 3_600), (1_000, 600), (10_000, 60)];

/// Loss and share of stalling nodes, in percent, and their longest stall in seconds.
const TROUBLES: [(u32, u32, u64); 6] = [(0, 0, 5), (5, 0, 5), (20, 0, 5), (5, 1, 5), (5, 1, 10), (5, 10, 10)];

/// All cases, small clusters first, each without and with Lifeguard.
pub(super) fn cases(seed: u64) -> impl Iterator<Item = Case> {
    SIZES.into_iter().flat_map(move |(nodes, seconds)| {
        TROUBLES.into_iter().flat_map(move |(loss, stalling, longest)| {
            [Lifeguard::Off, Lifeguard::On].map(|lifeguard| Case {
                nodes,
                length: Duration::from_secs(seconds),
                loss: f64::from(loss) / 100.0,
                stalling: f64::from(stalling) / 100.0,
                longest_stall: Duration::from_secs(longest),
                connections: Connections::Dialled,
                lifeguard,
                // A hundred deaths or more, but for the largest cluster, whose minute has a dozen.
                death_every: Duration::from_secs((seconds / 120).clamp(5, 60)),
                seed,
            })
        })
    })
}
