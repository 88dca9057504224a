//! How long a suspect has to refute: the formula and who confirmed; the timer is elsewhere.

use super::config::{DetectorConfig, Lifeguard};
use crate::base::{NodeId, Time};
use std::collections::BTreeSet;
use std::time::Duration;

/// Up to this many doublings the cluster counts as small: 7 members.
const SMALL_CLUSTER_DOUBLINGS: u32 = 3;

/// Each further doubling gives a suspect so many fifths more: 6.6 times the small cluster's time at 1,000
/// members. A pause of five seconds is refuted there; in a small one a quick verdict is worth more, since
/// fewer nodes pause at all.
const FIFTHS_PER_DOUBLING: u32 = 4;

/// Lifeguard: so many others must confirm a suspicion before it runs at its shortest.
const CONFIRMATIONS: usize = 3;

/// Lifeguard: an unconfirmed suspicion takes so many times the shortest.
const LONGEST: u32 = 3;

/// One suspicion under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suspicion {
    since: Time,
    limits: Limits,
    accusers: BTreeSet<NodeId>,
}

/// Between what a suspicion's time lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    shortest: Duration,
    longest: Duration,
    /// How many must confirm until it is the shortest.
    wanted: usize,
}

impl Suspicion {
    /// Begins, in a cluster of `reachable` members.
    pub(super) fn new(config: &DetectorConfig, reachable: usize, accuser: Option<NodeId>, now: Time) -> Self {
        let shortest = shortest_timeout(config.probe_interval, config.suspicion_multiplier, reachable);
        // The suspect and its first accuser cannot confirm.
        let wanted = match config.lifeguard {
            Lifeguard::On => CONFIRMATIONS.min(reachable.saturating_sub(2)),
            Lifeguard::Off => 0,
        };
        let limits = Limits { shortest, longest: shortest.saturating_mul(LONGEST), wanted };
        Self { since: now, limits, accusers: accuser.into_iter().collect() }
    }

    /// Counts another accuser; true if that makes the time shorter.
    pub(super) fn confirm(&mut self, accuser: NodeId) -> bool {
        self.confirmations() < self.limits.wanted && self.accusers.insert(accuser)
    }

    /// Who accused, the lowest id of them.
    pub(super) fn accuser(&self) -> Option<NodeId> {
        self.accusers.first().copied()
    }

    /// When the suspect's time is over.
    pub(super) fn deadline(&self) -> Time {
        self.since + self.limits.timeout(self.confirmations())
    }

    /// Gives it time back in which this node slept.
    pub(super) fn postpone(&mut self, by: Duration) {
        self.since = self.since + by;
    }

    /// The first accuser confirms nothing.
    fn confirmations(&self) -> usize {
        self.accusers.len().saturating_sub(1)
    }
}

impl Limits {
    /// Shrinks with the logarithm of the confirmations: the first tells most.
    fn timeout(&self, confirmations: usize) -> Duration {
        if confirmations >= self.wanted {
            return self.shortest;
        }
        let share = ((confirmations + 1) as f64).ln() / ((self.wanted + 1) as f64).ln();
        self.longest - (self.longest - self.shortest).mul_f64(share)
    }
}

/// The time a suspect has at least, in a cluster of `reachable` members: a refutation must travel there
/// and back by gossip, which takes rounds that grow with the logarithm of the size.
fn shortest_timeout(probe_interval: Duration, multiplier: u32, reachable: usize) -> Duration {
    let further = doublings(reachable).saturating_sub(SMALL_CLUSTER_DOUBLINGS);
    probe_interval.saturating_mul(multiplier.max(1)).saturating_mul(5 + FIFTHS_PER_DOUBLING * further) / 5
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
        let timeout = |members| shortest_timeout(Duration::from_millis(500), 2, members).as_millis();
        assert_eq!([3, 5, 7].map(timeout), [1000; 3]);
        assert_eq!([50, 1000].map(timeout), [3400, 6600]);
    }

    fn suspicion(lifeguard: Lifeguard, reachable: usize) -> Suspicion {
        let config = DetectorConfig { lifeguard, ..DetectorConfig::default() };
        Suspicion::new(&config, reachable, Some(NodeId(1)), Time(0))
    }

    fn milliseconds(suspicion: &Suspicion) -> u64 {
        suspicion.deadline().0 / 1000
    }

    /// Rule: a suspicion starts long and shrinks with the logarithm of those who confirm it; who said it
    /// before confirms nothing, and more than enough change nothing.
    #[test]
    fn confirmations_shorten_a_suspicion() {
        let mut suspicion = suspicion(Lifeguard::On, 1000);
        assert_eq!(milliseconds(&suspicion), 19_800);
        assert!(!suspicion.confirm(NodeId(1)));
        let times = [2, 3, 4].map(|accuser| {
            assert!(suspicion.confirm(NodeId(accuser)));
            milliseconds(&suspicion)
        });
        assert_eq!(times, [13_200, 9_339, 6_600]);
        assert!(!suspicion.confirm(NodeId(5)));
    }

    /// Rule: where nobody else could confirm, and without Lifeguard, the shortest time holds at once.
    #[test]
    fn without_others_the_shortest_time_holds() {
        assert_eq!(milliseconds(&suspicion(Lifeguard::On, 2)), 1000);
        assert_eq!(milliseconds(&suspicion(Lifeguard::Off, 1000)), 6600);
    }
}
