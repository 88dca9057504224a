//! A timer for a deadline that moves all the time.

use std::pin::Pin;
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// How far ahead a deadline is set that never comes.
const FAR: Duration = Duration::from_secs(3600);

/// Rings at its deadline or before. Deadlines move back more often than they come: a timer made or moved for each
/// would wake its runtime's thread for nothing, so one that is early is left to ring, and is set anew then.
pub(super) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// One that rings in an hour. Must be called within a tokio runtime.
    pub(super) fn new() -> Self {
        Self(Box::pin(tokio::time::sleep(FAR)))
    }

    /// Waits until `due`, or until an earlier deadline that it was given before. Cancel-safe.
    pub(super) async fn rings(&mut self, due: Instant) {
        let due = tokio::time::Instant::from_std(due.min(Instant::now() + FAR));
        if due < self.0.deadline() || self.0.is_elapsed() {
            self.0.as_mut().reset(due);
        }
        self.0.as_mut().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(future: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future);
    }

    #[test]
    fn a_deadline_that_comes_nearer_is_kept() {
        run(async {
            let (mut alarm, begin) = (Alarm::new(), Instant::now());
            let due = begin + Duration::from_millis(20);
            alarm.rings(due).await;
            assert!(Instant::now() >= due && begin.elapsed() < FAR);
        });
    }

    #[test]
    fn one_that_has_rung_early_is_set_anew() {
        run(async {
            let (mut alarm, begin) = (Alarm::new(), Instant::now());
            let (soon, late) = (begin + Duration::from_millis(10), begin + Duration::from_millis(40));
            tokio::select! {
                biased;
                () = alarm.rings(soon) => panic!("too soon"),
                () = std::future::ready(()) => {}
            }
            let mut rings = 0;
            while Instant::now() < late {
                alarm.rings(late).await;
                rings += 1;
            }
            assert!((1..=2).contains(&rings), "{rings}");
        });
    }

    #[test]
    fn a_deadline_beyond_all_time_is_none() {
        run(async {
            let mut alarm = Alarm::new();
            let far = Instant::now() + Duration::from_secs(1 << 40);
            tokio::select! {
                biased;
                () = alarm.rings(far) => panic!("it rang"),
                () = std::future::ready(()) => {}
            }
        });
    }
}
