//! How fast replicas fill: clients come first.

use super::Presence;
use crate::base::Time;
use crate::replication::Clients;
use std::time::Duration;

/// What an object takes besides its bytes: it is read, sent, looked for, merged, appended and indexed, some 110 us of
/// a core at both ends, where a byte takes a few nanoseconds (docs/decisions/0044).
const OBJECT_COST: u64 = 24 << 10;

/// What a page of a listing takes besides its objects: two messages.
const PAGE_COST: u64 = OBJECT_COST;

/// For how long a source's word that it serves clients holds: its next page says it again.
const SERVED_FOR: Duration = Duration::from_secs(1);

/// How many times the rate is taken while nobody is served, here or at a source: what is under way when a client comes
/// is two pages.
const QUIET_FACTOR: u64 = 8;

/// What so many objects of so many bytes in all count against the rate, the pages that they come in aside.
pub fn transfer_cost(objects: u64, bytes: u64) -> u64 {
    objects.saturating_mul(OBJECT_COST).saturating_add(bytes)
}

/// A rate kept on average: whatever was taken is paid for before more is asked for. Nothing is saved up, so that an
/// idle hour is not followed by a flood. While no client is served, it is a higher one.
#[derive(Debug)]
pub(super) struct Pace {
    /// While clients are served.
    bytes_per_second: u64,
    free_at: Time,
    /// Who is served here.
    presence: Presence,
    /// When a source last said that it serves clients.
    served_elsewhere: Option<Time>,
}

impl Pace {
    /// At so many bytes a second, at least one.
    pub(super) fn new(bytes_per_second: u64, presence: Presence) -> Self {
        let bytes_per_second = bytes_per_second.max(1);
        Self { bytes_per_second, free_at: Time::default(), presence, served_elsewhere: None }
    }

    /// Who is served at a source.
    pub(super) fn source_serves(&mut self, now: Time, clients: Clients) {
        if clients == Clients::Served {
            self.served_elsewhere = Some(now);
        }
    }

    /// How many bytes a second now.
    fn rate(&self, now: Time) -> u64 {
        let elsewhere = self.served_elsewhere.is_some_and(|at| now.since(at) < SERVED_FOR);
        if elsewhere || self.presence.clients(now) == Clients::Served {
            return self.bytes_per_second;
        }
        self.bytes_per_second.saturating_mul(QUIET_FACTOR)
    }

    /// A page of so many objects was taken.
    pub(super) fn take_page(&mut self, now: Time, objects: u64, bytes: u64) {
        self.spend(now, transfer_cost(objects, bytes).saturating_add(PAGE_COST));
    }

    fn spend(&mut self, now: Time, bytes: u64) {
        let micros = bytes.saturating_mul(1_000_000) / self.rate(now);
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
    use crate::node::presence::wish_of_a_client;

    /// Of a node that serves clients for the next second.
    fn pace_beside_clients(bytes_per_second: u64, now: Time) -> Pace {
        let presence = Presence::default();
        presence.note(now, &wish_of_a_client());
        Pace::new(bytes_per_second, presence)
    }

    #[test]
    fn what_was_taken_is_paid_for_and_nothing_is_saved_up() {
        let mut pace = pace_beside_clients(1_000, Time(9_000_000));
        assert_eq!(pace.busy_until(Time(5)), None);
        pace.spend(Time(9_000_000), 500);
        pace.spend(Time(9_000_000), 400);
        assert_eq!(pace.busy_until(Time(9_000_000)), Some(Time(9_900_000)));
        assert_eq!(pace.busy_until(Time(9_900_000)), None);
        pace.spend(Time(9_990_000), 1);
        assert_eq!(pace.busy_until(Time(9_990_000)), Some(Time(9_991_000)));
    }

    #[test]
    fn while_no_client_comes_more_is_taken() {
        let mut pace = Pace::new(1_000, Presence::default());
        pace.spend(Time(0), 800);
        assert_eq!(pace.busy_until(Time(0)), Some(Time(100_000)), "none has ever come");
        pace.source_serves(Time(0), Clients::Absent);
        pace.source_serves(Time(100_000), Clients::Served);
        pace.spend(Time(1_000_000), 100);
        assert_eq!(pace.busy_until(Time(1_000_000)), Some(Time(1_100_000)));
        pace.spend(Time(1_100_000), 800);
        assert_eq!(pace.busy_until(Time(1_100_000)), Some(Time(1_200_000)), "a second without one");
    }
}
