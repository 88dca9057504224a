//! How fast compaction copies: as fast as it may while nobody is served, else no faster than it has to.

use crate::node::Space;
use crate::replication::Clients;
use std::time::{Duration, Instant};

/// Bytes copied for each that is written, while clients are served. Each record is copied about 2.3 times
/// (docs/decisions/0024): with this compaction gains on what makes garbage. Records below 256 bytes count for more
/// than that, since each is looked at: there more garbage stays.
const COPIED_PER_WRITTEN: u64 = 4;

/// The part of the highest rate that is taken in any case, so that garbage of the past goes, too.
const LEAST_SHARE: u64 = 8;

/// Over which it is measured what is written: that comes in bursts, and asking ends a batch.
const MEASURED_OVER: Duration = Duration::from_secs(10);

/// The rate of each step.
#[derive(Debug)]
pub(super) struct CompactionPace {
    most: u64,
    /// When the log was asked last, and what had been written then.
    asked: (Instant, u64),
    /// For each second since the time before that.
    written_per_second: u64,
}

impl CompactionPace {
    /// At most so many bytes a second; nothing is written yet.
    pub(super) fn new(most: u64, now: Instant) -> Self {
        Self { most, asked: (now, 0), written_per_second: 0 }
    }

    /// Is it time to ask the log again?
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.asked.0) >= MEASURED_OVER
    }

    /// So many bytes have been written in all.
    pub(super) fn written(&mut self, now: Instant, written: u64) {
        let (then, before) = self.asked;
        let seconds = now.saturating_duration_since(then).as_secs_f64().max(0.001);
        self.written_per_second = (written.saturating_sub(before) as f64 / seconds) as u64;
        self.asked = (now, written);
    }

    /// How long to wait behind a step that cost so many bytes. Where space is short, puts wait for it.
    pub(super) fn pause(&self, spent: u64, clients: Clients, space: Space) -> Duration {
        let needed = self.written_per_second.saturating_mul(COPIED_PER_WRITTEN);
        let rate = match (clients, space) {
            (Clients::Absent, _) | (_, Space::Reserve) => self.most,
            (Clients::Served, Space::Plenty) => needed.clamp(self.most / LEAST_SHARE, self.most),
        };
        Duration::from_secs_f64(spent as f64 / rate.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Megabytes a second after ten seconds in which so many were written.
    fn rate_after(written: u64, clients: Clients, space: Space) -> u64 {
        let begun = Instant::now();
        let mut pace = CompactionPace::new(32_000_000, begun);
        assert!(!pace.is_due(begun));
        let now = begun + MEASURED_OVER;
        assert!(pace.is_due(now));
        pace.written(now, written * 1_000_000);
        assert!(!pace.is_due(now));
        (1.0 / pace.pause(1_000_000, clients, space).as_secs_f64()).round() as u64
    }

    #[test]
    fn beside_clients_it_follows_what_is_written() {
        let rate = |written| rate_after(written, Clients::Served, Space::Plenty);
        assert_eq!([0, 5, 30, 300].map(rate), [4, 4, 12, 32]);
    }

    #[test]
    fn it_goes_at_full_speed_where_nobody_is_served_or_puts_wait_for_space() {
        assert_eq!(rate_after(30, Clients::Absent, Space::Plenty), 32);
        assert_eq!(rate_after(0, Clients::Served, Space::Reserve), 32);
    }
}
