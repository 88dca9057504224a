//! How long a suspect has to refute: the formula alone, the timer is elsewhere.

use std::time::Duration;

/// Up to this many doublings the cluster counts as small: 7 members.
const SMALL_CLUSTER_DOUBLINGS: u32 = 3;

/// The time a suspect has, in a cluster of `reachable` members: a refutation must travel there and
/// back by gossip, which takes rounds that grow with the logarithm of the size.
/// Lifeguard will shorten it with each independent confirmation, from a longer start.
pub(super) fn suspicion_timeout(probe_interval: Duration, multiplier: u32, reachable: usize) -> Duration {
    let doublings = doublings(reachable).max(SMALL_CLUSTER_DOUBLINGS);
    probe_interval.saturating_mul(multiplier.max(1)).saturating_mul(doublings) / SMALL_CLUSTER_DOUBLINGS
}

/// `ceil(log2(members + 1))`: rounds in which gossip that doubles reaches everyone.
pub(super) fn doublings(members: usize) -> u32 {
    usize::BITS - members.leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule: gossip doubles its hearers, so n members need ceil(log2(n+1)) rounds.
    #[test]
    fn doublings_are_the_rounded_up_logarithm() {
        for (members, expected) in [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (100, 7)] {
            assert_eq!(doublings(members), expected, "{members} members");
        }
    }

    /// Rule: the time to refute is constant in small clusters and grows with the logarithm in large ones.
    #[test]
    fn a_larger_cluster_gives_suspects_more_time() {
        let timeout = |members| suspicion_timeout(Duration::from_millis(500), 2, members).as_millis();
        assert_eq!([3, 5, 7].map(timeout), [1000; 3]);
        assert_eq!([50, 1000].map(timeout), [2000, 3333]);
    }
}
