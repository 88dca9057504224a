//! What a person sees meanwhile, on standard error.

use super::report::StageReport;
use super::run::Shared;
use super::supply::Supply;
use std::rc::Rc;
use std::time::Duration;

/// A line a second.
const INTERVAL: Duration = Duration::from_secs(1);

/// Prints a line each second until it is dropped.
pub(super) async fn watch(shared: Rc<Shared>, supply: Rc<Supply>) {
    let mut ticks = tokio::time::interval_at((supply.began() + INTERVAL).into(), INTERVAL);
    loop {
        ticks.tick().await;
        let second = shared.tally.borrow_mut().second();
        let (name, elapsed) = (&shared.stage.name, supply.began().elapsed().as_secs());
        eprintln!(
            "{name:<16} {elapsed:>4} s {:>9}/s   p50 {:>8}   p99 {:>8}   failed {}",
            second.done,
            milliseconds(second.p50_us),
            milliseconds(second.p99_us),
            second.failed
        );
    }
}

/// Prints what a stage has come to.
pub(super) fn ended(report: &StageReport) {
    eprintln!("{}", report.line());
}

/// Microseconds as text in milliseconds.
pub(super) fn milliseconds(microseconds: u64) -> String {
    format!("{:.2} ms", microseconds as f64 / 1000.0)
}
