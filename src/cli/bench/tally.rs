//! What happened: latencies, counts, and how they went second by second.

use super::operation::Operation;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// Three digits: a latency is told to a thousandth of itself.
const SIGNIFICANT_DIGITS: u8 = 3;

/// One second's plot needs no more.
const SIGNIFICANT_DIGITS_OF_A_SECOND: u8 = 2;

/// A latency beyond an hour counts as one: longer than any time-out.
const LONGEST_NANOSECONDS: u64 = 3_600_000_000_000;

/// Latencies in nanoseconds.
pub(super) type Latencies = Histogram<u64>;

/// Everything counted in one stage.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) operations: BTreeMap<Operation, Latencies>,
    /// Reads of keys that have no value. Their latencies count.
    pub(super) misses: u64,
    /// Answers with siblings. Their latencies count.
    pub(super) siblings: u64,
    /// Requests that failed, by how: no latency is recorded for them.
    pub(super) failures: BTreeMap<String, u64>,
    /// How long after it was due a request was sent although a connection was idle: the generator's own
    /// delay, part of every latency at a fixed rate.
    pub(super) lateness: Option<Latencies>,
    pub(super) seconds: Vec<Second>,
    running: Option<Latencies>,
    running_failures: u64,
}

/// One second of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Second {
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// A read found nothing.
    Miss,
    /// A read found several values.
    Siblings,
    /// A status, or what became of the connection.
    Failed(String),
}

impl Tally {
    pub(super) fn record(&mut self, operation: Operation, latency: Duration, outcome: Outcome) {
        match outcome {
            Outcome::Failed(how) => {
                *self.failures.entry(how).or_default() += 1;
                self.running_failures += 1;
                return;
            }
            Outcome::Miss => self.misses += 1,
            Outcome::Siblings => self.siblings += 1,
            Outcome::Done => {}
        }
        let latencies = self.operations.entry(operation).or_insert_with(|| latencies(SIGNIFICANT_DIGITS));
        latencies.saturating_record(nanoseconds(latency));
        let running = self.running.get_or_insert_with(latencies_of_a_second);
        running.saturating_record(nanoseconds(latency));
    }

    pub(super) fn late(&mut self, by: Duration) {
        let lateness = self.lateness.get_or_insert_with(|| latencies(SIGNIFICANT_DIGITS));
        lateness.saturating_record(nanoseconds(by));
    }

    /// Ends a second.
    pub(super) fn second(&mut self) -> Second {
        let running = self.running.get_or_insert_with(latencies_of_a_second);
        let microseconds = |quantile| running.value_at_quantile(quantile) / 1000;
        let second = Second {
            done: running.len(),
            failed: std::mem::take(&mut self.running_failures),
            p50_us: microseconds(0.5),
            p99_us: microseconds(0.99),
        };
        running.reset();
        self.seconds.push(second);
        second
    }

    /// Requests that did what they were asked.
    pub(super) fn done(&self) -> u64 {
        self.operations.values().map(Latencies::len).sum()
    }

    pub(super) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// The latencies of all operations together.
    pub(super) fn all(&self) -> Latencies {
        let mut all = latencies(SIGNIFICANT_DIGITS);
        for latencies in self.operations.values() {
            // Both resize themselves: nothing can be out of range.
            let _ = all.add(latencies);
        }
        all
    }
}

fn latencies_of_a_second() -> Latencies {
    latencies(SIGNIFICANT_DIGITS_OF_A_SECOND)
}

fn latencies(significant_digits: u8) -> Latencies {
    Latencies::new_with_bounds(1, LONGEST_NANOSECONDS, significant_digits)
        .expect("the bounds and the digits are allowed ones")
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_by_kind_and_have_no_latency() {
        let mut tally = Tally::default();
        tally.record(Operation::Read, Duration::from_micros(100), Outcome::Done);
        tally.record(Operation::Read, Duration::from_micros(300), Outcome::Miss);
        tally.record(Operation::Update, Duration::from_secs(9), Outcome::Failed("503".into()));
        assert_eq!((tally.done(), tally.failed(), tally.misses), (2, 1, 1));
        assert!(tally.all().max() < 301_000);
        let second = tally.second();
        assert_eq!((second.done, second.failed), (2, 1));
        assert!((298..=302).contains(&second.p99_us), "{}", second.p99_us);
        assert_eq!(tally.second(), Second::default());
    }
}
