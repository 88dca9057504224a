//! How well this node itself does: Lifeguard's local health.

use std::time::Duration;

/// The worst score: timeouts of nine times their length. More would leave a slow node without any
/// probes, and so without a way to find that it is well again.
const WORST: u32 = 8;

/// 0 when all is well. A node whose own probes fail, whose relays are silent, or who is suspected, is
/// likelier slow itself than surrounded by slow ones: it waits longer before it accuses anyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Health {
    score: u32,
}

impl Health {
    /// Something went wrong that may be this node's own fault.
    pub(super) fn worsen(&mut self, by: u32) {
        self.score = self.score.saturating_add(by).min(WORST);
    }

    /// Something went well.
    pub(super) fn improve(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    /// A duration, as long as this node's health makes it.
    pub(super) fn scale(self, duration: Duration) -> Duration {
        duration.saturating_mul(self.score + 1)
    }

    /// The score.
    pub(super) fn score(self) -> u32 {
        self.score
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule: patience grows with every doubt, up to a limit, and comes back step by step.
    #[test]
    fn patience_grows_and_comes_back() {
        let (mut health, second) = (Health::default(), Duration::from_secs(1));
        assert_eq!(health.scale(second), second);
        health.worsen(3);
        assert_eq!(health.scale(second), second * 4);
        health.worsen(100);
        assert_eq!(health.scale(second), second * 9);
        (0..20).for_each(|_| health.improve());
        assert_eq!(health, Health::default());
    }
}
