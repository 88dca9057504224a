//! What is due when.

use crate::base::{NodeId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Something that will be due. Each exists at most once, and relays are
/// bounded, which bounds the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The next round of probing.
    Round,
    /// The direct ping of the round has had its time.
    PingTimeout,
    /// The indirect pings of the round have had theirs.
    ProbeTimeout,
    /// The next periodic full sync.
    FullSync,
    /// A suspect has had its time to refute.
    Suspicion(NodeId),
    /// A suspect or down member is pinged again.
    Retry(NodeId),
    /// The target of a relayed ping, by the ping's number, has had its time: the asker hears that.
    Nack(u64),
    /// A seed is pinged again; its place in the list.
    Seed(usize),
}

/// All timers that are set.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    by_time: BTreeSet<(Time, Timer)>,
    by_timer: BTreeMap<Timer, Time>,
}

impl Schedule {
    /// When the first timer is due, or [`Time::NEVER`].
    pub(super) fn first(&self) -> Time {
        self.by_time.first().map_or(Time::NEVER, |(at, _)| *at)
    }

    /// Sets a timer, in place of an earlier setting.
    pub(super) fn set(&mut self, timer: Timer, at: Time) {
        self.cancel(timer);
        self.by_time.insert((at, timer));
        self.by_timer.insert(timer, at);
    }

    /// Unsets a timer.
    pub(super) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.by_timer.remove(&timer) {
            self.by_time.remove(&(at, timer));
        }
    }

    /// Unsets all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes all that is due by now, earliest first. What they set anew is for the next call, so a
    /// call always ends.
    pub(super) fn take_due(&mut self, now: Time) -> Vec<Timer> {
        let due: Vec<Timer> = self.by_time.iter().take_while(|(at, _)| *at <= now).map(|(_, timer)| *timer).collect();
        for timer in &due {
            self.cancel(*timer);
        }
        due
    }

    /// Moves everything into the future: time in which this node slept is nobody's fault.
    pub(super) fn postpone(&mut self, by: Duration) {
        let timers: Vec<(Timer, Time)> = self.by_timer.iter().map(|(timer, at)| (*timer, *at + by)).collect();
        for (timer, at) in timers {
            self.set(timer, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule: a timer exists once; setting it again moves it.
    #[test]
    fn a_timer_set_twice_is_due_once() {
        let mut schedule = Schedule::default();
        schedule.set(Timer::Round, Time(5));
        schedule.set(Timer::FullSync, Time(7));
        schedule.set(Timer::Round, Time(9));
        assert_eq!(schedule.first(), Time(7));
        assert_eq!(schedule.take_due(Time(9)), [Timer::FullSync, Timer::Round]);
        assert_eq!(schedule.first(), Time::NEVER);
    }
}
