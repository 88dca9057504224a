//! How fast replicas fill: clients come first.

use crate::base::Time;
use std::time::Duration;

/// What a page of a listing takes besides its objects: two messages, and a record of its own at the end.
const PAGE_COST: u64 = 8 << 10;

/// What an object takes besides its bytes: it is read, looked for, merged, appended and indexed, some tens of microseconds
/// of a core in all.
const OBJECT_COST: u64 = 1536;

/// Without a command of a client for so long, nobody is there to be disturbed.
const QUIET_AFTER: Duration = Duration::from_secs(1);

/// How many times the rate is taken while nobody is disturbed: what is under way when a client comes is two pages.
const QUIET_FACTOR: u64 = 8;

/// What so many objects of so many bytes in all count against the rate, the pages that they come in aside.
pub fn transfer_cost(objects: u64, bytes: u64) -> u64 {
    objects.saturating_mul(OBJECT_COST).saturating_add(bytes)
}

/// A rate kept on average: whatever was taken is paid for before more is asked for. Nothing is saved up, so that an
/// idle hour is not followed by a flood. While no client comes, it is a higher one.
#[derive(Debug)]
pub(super) struct Pace {
    /// While clients come.
    bytes_per_second: u64,
    free_at: Time,
    /// When the last client came.
    client_at: Option<Time>,
}

impl Pace {
    /// At so many bytes a second, at least one.
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), free_at: Time::default(), client_at: None }
    }

    /// A client's command came, or a part of one.
    pub(super) fn client_came(&mut self, now: Time) {
        self.client_at = Some(now);
    }

    /// A page of so many objects was taken.
    pub(super) fn take_page(&mut self, now: Time, objects: u64, bytes: u64) {
        self.spend(now, transfer_cost(objects, bytes).saturating_add(PAGE_COST));
    }

    fn spend(&mut self, now: Time, bytes: u64) {
        let quiet = self.client_at.is_none_or(|client_at| now.since(client_at) >= QUIET_AFTER);
        let rate = self.bytes_per_second.saturating_mul(if quiet { QUIET_FACTOR } else { 1 });
        let micros = bytes.saturating_mul(1_000_000) / rate;
        self.free_at = self.free_at.max(now) + Duration::from_micros(micros);
    }

    /// When more may be asked for, if not now.
    pub(super) fn busy_until(&self, now: Time) -> Option<Time> {
        (self.free_at > now).then_some(self.free_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_paid_for_and_nothing_is_saved_up() {
        let mut pace = Pace::new(1_000);
        (0..10).for_each(|second| pace.client_came(Time(second * 1_000_000)));
        assert_eq!(pace.busy_until(Time(5)), None);
        pace.spend(Time(0), 500);
        pace.spend(Time(0), 500);
        assert_eq!(pace.busy_until(Time(0)), Some(Time(1_000_000)));
        assert_eq!(pace.busy_until(Time(1_000_000)), None);
        pace.spend(Time(9_000_000), 1);
        assert_eq!(pace.busy_until(Time(9_000_000)), Some(Time(9_001_000)));
    }

    #[test]
    fn while_no_client_comes_more_is_taken() {
        let mut pace = Pace::new(1_000);
        pace.spend(Time(0), 800);
        assert_eq!(pace.busy_until(Time(0)), Some(Time(100_000)), "none has ever come");
        pace.client_came(Time(100_000));
        pace.spend(Time(1_000_000), 100);
        assert_eq!(pace.busy_until(Time(1_000_000)), Some(Time(1_100_000)));
        pace.spend(Time(1_100_000), 800);
        assert_eq!(pace.busy_until(Time(1_100_000)), Some(Time(1_200_000)), "a second without one");
    }
}
