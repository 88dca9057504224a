//! What a run saw, for people and programs.

use super::book::{Book, Failure, State};
use super::convergence::Converged;
use super::input::Skipped;
use super::outcome::Class;
use super::verify::Reading;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// A run with fewer acknowledged operations of a kind proves nothing (RELIABILITY section 5).
const MIN_OPERATIONS: u64 = 1_000;

/// The report of one run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub(super) scenario: String,
    pub(super) seed: u64,
    pub(super) nodes: usize,
    pub(super) replicas: usize,
    pub(super) connections: usize,
    pub(super) input: InputReport,
    pub(super) events: Vec<Event>,
    pub(super) puts: PutReport,
    pub(super) failures: FailureReport,
    pub(super) hints: HintReport,
    /// One for each time replicas were compared.
    pub(super) convergence: Vec<ConvergenceReport>,
    pub(super) reads: ReadReport,
    /// What rotted, and what became of it; none if nothing was made to.
    pub(super) rot: Option<RotReport>,
    /// Changes of the layout; none if there were none.
    pub(super) layout: Option<LayoutReport>,
    /// Too few operations to count as a run.
    pub(super) void: bool,
    pub(super) violations: Vec<String>,
    /// `held` or `broken`.
    pub(super) verdict: &'static str,
    /// The command that does the same again. Timing is the machine's: it may end differently.
    pub(super) replay: String,
}

/// Something the scenario did.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Event {
    pub(super) at_ms: u64,
    pub(super) what: String,
}

/// Where the records came from.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct InputReport {
    pub(super) from: String,
    /// Records that were to be written; none if that was a question of time.
    pub(super) records: Option<usize>,
    /// Left out: the key had come before.
    pub(super) repeated: usize,
    /// Left out: no key, or beyond a limit.
    pub(super) unusable: usize,
}

/// The writes.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct PutReport {
    pub(super) acknowledged: u64,
    pub(super) requests: u64,
    /// Records that needed more than one request.
    pub(super) retried: u64,
    /// Records still in doubt at the end.
    pub(super) in_doubt: u64,
    /// Records tried and, by the answers, not written.
    pub(super) not_written: u64,
    pub(super) given_up: u64,
    pub(super) seconds: f64,
    pub(super) per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

/// Failed requests.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct FailureReport {
    /// In flight at a killed node: expected.
    pub(super) at_killed: u64,
    /// In flight at a killed node that another had passed them on to, answered 504 by that other, retried
    /// elsewhere.
    pub(super) passed_to_killed: u64,
    pub(super) not_written: u64,
    pub(super) unknown: u64,
    pub(super) rejected: u64,
    /// All but those two.
    pub(super) other: u64,
    /// Of those told: asked of a node that is no primary of the key, while a killed node is one.
    pub(super) passed_on: u64,
    /// Of all requests.
    pub(super) other_share: f64,
    /// From a kill to the last other failure after it.
    pub(super) window_ms: u64,
    /// The first of them.
    pub(super) told: Vec<Failure>,
}

/// Hints on all nodes.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct HintReport {
    /// The most that was seen while a node was away; none if that was not looked for.
    pub(super) max_while_away: Option<u64>,
    /// From the restart to the time from which on none was seen; none if some remained.
    pub(super) none_after_ms: Option<u64>,
}

/// Damage to one node's data.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct RotReport {
    pub(super) segments: usize,
    pub(super) bytes: u64,
    /// Records that the node found damaged, all counted.
    pub(super) damaged: u64,
    /// Those of them that count no more.
    pub(super) repaired: u64,
    /// From the last question that met damage to the last repair, at most.
    pub(super) repaired_after_ms: Option<u64>,
}

/// Changes of the layout under load.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct LayoutReport {
    /// Puts while nothing changed, before, between and after.
    pub(super) quiet: Vec<Latencies>,
    pub(super) changes: Vec<ChangeReport>,
}

/// One change.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ChangeReport {
    pub(super) what: String,
    /// From the operator's command until every node went by the new version alone.
    pub(super) ms: u64,
    /// Copies of partitions that moved.
    pub(super) moves: u64,
    /// Copies there are.
    pub(super) copies: u64,
    /// What was sent to fill them.
    pub(super) transferred: Transferred,
    /// Objects sent, by those that the moved copies hold: 1 is ideal.
    pub(super) objects_to_ideal: f64,
    /// Puts meanwhile.
    pub(super) puts: Latencies,
}

/// What copies are made of.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Transferred {
    pub(super) objects: u64,
    pub(super) bytes: u64,
}

/// How long acknowledged requests of a stretch of time took.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Latencies {
    pub(super) count: usize,
    pub(super) per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

/// Replicas compared.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ConvergenceReport {
    /// How long it took; none if they still differ.
    pub(super) ms: Option<u64>,
    pub(super) partitions: usize,
    pub(super) keys: u64,
}

/// The final reads.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct ReadReport {
    pub(super) reads: u64,
    pub(super) expected: u64,
    pub(super) retried: u64,
    pub(super) wrong: u64,
    pub(super) seconds: f64,
    pub(super) per_second: f64,
}

impl Report {
    /// Did every promise hold?
    pub fn held(&self) -> bool {
        self.violations.is_empty()
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        let Report { puts, reads, failures, verdict, .. } = self;
        format!(
            "{}: {verdict}; {} writes acknowledged ({:.0}/s), {} reads ({:.0}/s, {} wrong), {} requests failed at \
             killed nodes, {} in flight at the killed node, answered 504, retried elsewhere, {} failed at living nodes, \
             {} violations",
            self.scenario,
            puts.acknowledged,
            puts.per_second,
            reads.reads,
            reads.per_second,
            reads.wrong,
            failures.at_killed,
            failures.passed_to_killed,
            failures.other,
            self.violations.len()
        )
    }

    pub(super) fn set_skipped(&mut self, skipped: Skipped) {
        (self.input.repeated, self.input.unusable) = (skipped.repeated, skipped.unusable);
    }

    pub(super) fn add_convergence(&mut self, found: Result<Converged, String>) {
        let converged = found.as_ref().ok();
        self.convergence.push(ConvergenceReport {
            ms: converged.map(|found| found.ms),
            partitions: converged.map_or(0, |found| found.partitions),
            keys: converged.map_or(0, |found| found.keys),
        });
        self.violations.extend(found.err());
    }

    pub(super) fn add_reading(&mut self, reading: Reading, expected: u64) {
        let reads = &mut self.reads;
        reads.reads += reading.reads;
        reads.expected += expected;
        reads.retried += reading.retried;
        reads.wrong += reading.violations;
        reads.seconds += reading.seconds;
        reads.per_second = rate(reads.reads, reads.seconds);
        let untold = reading.violations.saturating_sub(reading.told.len() as u64);
        self.violations.extend(reading.told);
        if untold > 0 {
            self.violations.push(format!("and {untold} more reads found something wrong"));
        }
    }

    pub(super) fn set_load(&mut self, book: &Book, seconds: f64) {
        let Latencies { p50_ms, p99_ms, max_ms, .. } =
            Latencies::of(&book.latencies_us, Duration::from_secs_f64(seconds));
        self.puts = PutReport {
            acknowledged: book.acknowledged,
            requests: book.attempts,
            retried: book.retried,
            in_doubt: book.count(State::InDoubt),
            not_written: book.count(State::NotWritten),
            given_up: book.given_up,
            seconds,
            per_second: rate(book.acknowledged, seconds),
            p50_ms,
            p99_ms,
            max_ms,
        };
        let other = book.other_failures();
        self.failures = FailureReport {
            at_killed: book.failures(Class::AtKilled),
            passed_to_killed: book.failures(Class::PassedToKilled),
            not_written: book.failures(Class::NotWritten),
            unknown: book.failures(Class::Unknown),
            rejected: book.failures(Class::Rejected),
            other,
            other_share: if book.attempts == 0 { 0.0 } else { other as f64 / book.attempts as f64 },
            window_ms: book.window_ms(),
            passed_on: 0,
            told: book.told().to_vec(),
        };
    }

    /// To be called last.
    pub(super) fn conclude(&mut self) {
        self.void = self.puts.acknowledged < MIN_OPERATIONS || self.reads.reads < MIN_OPERATIONS;
        self.verdict = if self.held() { "held" } else { "broken" };
    }
}

impl Latencies {
    /// Of these, in microseconds, over so long.
    pub(super) fn of(latencies_us: &[u32], length: Duration) -> Latencies {
        let mut sorted = latencies_us.to_vec();
        sorted.sort_unstable();
        let quantile = |share: f64| {
            let at = (sorted.len() as f64 * share) as usize;
            sorted.get(at).or(sorted.last()).map_or(0.0, |us| f64::from(*us) / 1e3)
        };
        Latencies {
            count: sorted.len(),
            per_second: rate(sorted.len() as u64, length.as_secs_f64()),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            max_ms: quantile(1.0),
        }
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latencies { per_second, p50_ms, p99_ms, max_ms, .. } = self;
        write!(f, "{per_second:.0} puts/s, p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, at most {max_ms:.0} ms")
    }
}

fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::outcome::Doubt;

    #[test]
    fn a_load_is_summed_up_with_its_failures_by_class() {
        let mut book = Book::default();
        book.attempts = 10;
        for latency_us in 1..=100u32 {
            book.settle(latency_us as usize, Ok(latency_us * 1_000));
        }
        book.settle(0, Err(Doubt::InDoubt));
        book.killed(100);
        book.failed(Class::AtKilled, 150, "node1".into(), "reset".into(), 3);
        book.failed(Class::PassedToKilled, 160, "node2".into(), "504".into(), 5);
        book.failed(Class::Unknown, 900, "node2".into(), "504".into(), 4);
        let mut report = Report::default();
        report.set_load(&book, 4.0);
        assert_eq!((report.puts.acknowledged, report.puts.in_doubt, report.puts.per_second), (100, 1, 25.0));
        assert_eq!((report.puts.p50_ms, report.puts.p99_ms, report.puts.max_ms), (51.0, 100.0, 100.0));
        let failures = &report.failures;
        assert_eq!((failures.at_killed, failures.passed_to_killed), (1, 1));
        assert_eq!((failures.unknown, failures.other), (1, 1));
        assert!(report.summary().contains("1 in flight at the killed node, answered 504, retried elsewhere"));
        assert_eq!((failures.other_share, failures.window_ms), (0.1, 800));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["failures"]["told"][0]["class"], "at_killed");
    }

    #[test]
    fn a_run_of_few_operations_is_void_and_one_violation_breaks_it() {
        let mut report = Report::default();
        report.conclude();
        assert!(report.void && report.held());
        report.violations.push("lost".into());
        report.conclude();
        assert_eq!((report.held(), report.verdict), (false, "broken"));
    }
}
