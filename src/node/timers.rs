//! What a shard waits for. Each name says what its expiry means.

use crate::base::Time;
use std::collections::{BTreeMap, BTreeSet};

/// A deadline's meaning. A timer whose subject is gone means nothing, so none needs cancelling; those of commands are,
/// for there would be thousands of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A write: deadline for a client's answer.
    WriteDeadline(u64),
    /// A write has waited long enough for other replicas' contexts.
    WriteContexts(u64),
    /// A write's primaries had time to acknowledge: fallbacks are asked.
    WriteHint(u64),
    /// A read: deadline for a client's answer.
    ReadDeadline(u64),
    /// A read asks one more replica.
    ReadHedge(u64),
    /// A forwarded command was not answered in time.
    ForwardDeadline(u64),
    /// An exchange session made no progress.
    Session(u64),
    /// Time for a round of exchange.
    Exchange,
    /// Time to begin more sessions that fill partitions.
    Fill,
    /// Time to look at the hints.
    Hints,
    /// Time to look at what a change of the layout still needs.
    Layouts,
}

/// The set of deadlines; the next one is the minimum. Each name is in it once.
#[derive(Debug, Default)]
pub(super) struct Timers {
    set: BTreeSet<(Time, Timer)>,
    times: BTreeMap<Timer, Time>,
}

impl Timers {
    /// Sets a timer, or moves it.
    pub(super) fn set(&mut self, at: Time, timer: Timer) {
        if let Some(before) = self.times.insert(timer, at) {
            self.set.remove(&(before, timer));
        }
        self.set.insert((at, timer));
    }

    /// Nobody waits for it any more.
    pub(super) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.times.remove(&timer) {
            self.set.remove(&(at, timer));
        }
    }

    /// Takes the next timer that has come.
    pub(super) fn due(&mut self, now: Time) -> Option<Timer> {
        let first = *self.set.first()?;
        (first.0 <= now).then(|| {
            self.set.remove(&first);
            self.times.remove(&first.1);
            first.1
        })
    }

    pub(super) fn next(&self) -> Time {
        self.set.first().map_or(Time::NEVER, |(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_order_and_each_once() {
        let mut timers = Timers::default();
        timers.set(Time(5), Timer::Exchange);
        timers.set(Time(3), Timer::ReadHedge(1));
        timers.set(Time(4), Timer::Exchange);
        assert_eq!((timers.next(), timers.due(Time(2))), (Time(3), None));
        assert_eq!(timers.due(Time(9)), Some(Timer::ReadHedge(1)));
        assert_eq!(timers.due(Time(9)), Some(Timer::Exchange));
        assert_eq!((timers.due(Time(9)), timers.next()), (None, Time::NEVER));
    }

    #[test]
    fn a_cancelled_timer_never_comes() {
        let mut timers = Timers::default();
        timers.set(Time(3), Timer::WriteDeadline(1));
        timers.set(Time(4), Timer::WriteDeadline(2));
        timers.cancel(Timer::WriteDeadline(1));
        timers.cancel(Timer::ReadHedge(1));
        assert_eq!((timers.due(Time(9)), timers.due(Time(9))), (Some(Timer::WriteDeadline(2)), None));
        assert!(timers.set.is_empty() && timers.times.is_empty());
    }
}
