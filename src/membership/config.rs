//! The detector's settings.

use crate::base::Random;
use std::time::Duration;

/// Is Lifeguard on? Its parts: local health, suspicion that starts long and shrinks with confirmations,
/// relays that say that they live. Off is plain SWIM, to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifeguard {
    /// As shipped.
    On,
    /// Every suspicion takes its shortest time, and this node never doubts itself.
    Off,
}

/// Up to so many members each down one is retried at the pauses set here. In a larger cluster, where as
/// many more retry it, and as many more may be down, the pauses are as many times longer: what a node
/// sends, and what a dead one is sent, stays the same.
const RETRY_CROWD: usize = 32;

/// Timings and fan-outs. The defaults find a killed node of a small cluster suspect within about one
/// second and down within about two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectorConfig {
    /// The incarnation to start with. Must be above every one of earlier lives of this node: persist
    /// it, or take the wall clock's milliseconds. If it is not, the node refutes its own past, which
    /// costs a few messages.
    pub first_incarnation: u64,
    /// The time from one round of probing to the next. Shorter finds failures sooner and sends more; all
    /// other durations should be chosen with it.
    pub probe_interval: Duration,
    /// How many members are probed in one round, at least 1. With two, in a cluster of up to five
    /// everyone is probed by everyone each second; a killed node is seldom found late by bad luck.
    pub probes_per_round: usize,
    /// How long the direct ping, and after it the indirect ones, may take: well above a round trip.
    /// Twice this should stay below `probe_interval`; otherwise rounds stretch.
    pub ping_timeout: Duration,
    /// How many others are asked to ping a member that did not answer. 0: none.
    pub indirect_probes: usize,
    /// How many probe intervals a suspect has to refute in a small cluster, at least. Lower finds failures sooner
    /// and condemns slow or badly connected nodes more often.
    pub suspicion_multiplier: u32,
    /// How often the whole state is compared with that of one random member.
    pub full_sync_interval: Duration,
    /// Is Lifeguard on?
    pub lifeguard: Lifeguard,
    /// First pause before a down member or a silent seed is tried again; it doubles.
    pub retry_base: Duration,
    /// Longest such pause, in a small cluster: how late a healed partition may be noticed.
    pub retry_cap: Duration,
}

/// A zero duration would make the detector spin; this is the least any of them counts as.
const SHORTEST: Duration = Duration::from_millis(1);

impl Default for DetectorConfig {
    fn default() -> Self {
        Self {
            first_incarnation: 1,
            probe_interval: Duration::from_millis(500),
            probes_per_round: 2,
            ping_timeout: Duration::from_millis(200),
            indirect_probes: 3,
            suspicion_multiplier: 2,
            full_sync_interval: Duration::from_secs(10),
            lifeguard: Lifeguard::On,
            retry_base: Duration::from_millis(500),
            retry_cap: Duration::from_secs(5),
        }
    }
}

impl DetectorConfig {
    /// The same with no duration below a millisecond.
    pub(super) fn sane(mut self) -> Self {
        for duration in [
            &mut self.probe_interval,
            &mut self.ping_timeout,
            &mut self.full_sync_interval,
            &mut self.retry_base,
            &mut self.retry_cap,
        ] {
            *duration = (*duration).max(SHORTEST);
        }
        self
    }

    /// The pause after the `attempt`-th unanswered try: doubling up to the cap, less up to a quarter by
    /// chance, so that nodes cut off together do not all call at once. `members` are all that are known.
    pub(super) fn retry_pause(&self, attempt: u32, members: usize, random: &mut Random) -> Duration {
        let crowds = u32::try_from(members.div_ceil(RETRY_CROWD).max(1)).unwrap_or(u32::MAX);
        let whole = self.retry_base.saturating_mul(1 << attempt.min(16)).min(self.retry_cap).saturating_mul(crowds);
        let micros = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(random.between(micros - micros / 4, micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule: retries slow down to the cap and go on at it for ever.
    #[test]
    fn retries_double_up_to_the_cap() {
        let (config, mut random) = (DetectorConfig::default(), Random::from_seed(1));
        for attempt in [0, 1, 2, 9, u32::MAX] {
            let pause = config.retry_pause(attempt, 5, &mut random);
            let whole = config.retry_base.saturating_mul(1 << attempt.min(4)).min(config.retry_cap);
            assert!(pause <= whole && pause * 4 >= whole * 3, "attempt {attempt}: {pause:?}");
        }
    }

    /// Rule: ten times the members retry ten times as seldom each.
    #[test]
    fn a_larger_cluster_retries_as_often_in_all() {
        let (config, mut random) = (DetectorConfig::default(), Random::from_seed(1));
        let pause = config.retry_pause(u32::MAX, 10 * RETRY_CROWD, &mut random);
        assert!(pause <= config.retry_cap * 10 && pause * 4 >= config.retry_cap * 30, "{pause:?}");
    }
}
