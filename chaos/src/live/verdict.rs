//! What the numbers of a run must be.

use super::convergence::CONVERGENCE_LIMIT;
use super::report::Report;

/// The share of requests that may fail at living nodes (promise P6).
const MAX_FAILED_SHARE: f64 = 0.001;

/// How long after a kill they may fail (promise P6).
const MAX_WINDOW_MS: u64 = 2_000;

/// What is expected of requests to living nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    /// Promise P6: a small share, for a short while.
    Budget,
    /// None fails.
    NoneFails,
    /// A small share, at any time: the layout changes again and again, and nothing is killed.
    Share,
}

/// The promises these numbers break.
pub(super) fn judge(report: &Report, strictness: Strictness) -> Vec<String> {
    let mut broken = Vec::new();
    broken.extend(failures(report, strictness));
    broken.extend(records(report));
    broken.extend(hints(report));
    broken.extend(rot(report));
    let reads = &report.reads;
    if reads.reads != reads.expected || reads.expected == 0 {
        broken.push(format!("{} of {} final reads were made", reads.reads, reads.expected));
    }
    if report.convergence.is_empty() {
        broken.push("replicas were never compared".into());
    }
    broken
}

fn rot(report: &Report) -> Option<String> {
    let rot = report.rot?;
    let sound = rot.damaged > 0 && rot.repaired == rot.damaged;
    (!sound).then(|| format!("{} of {} damaged records were repaired", rot.repaired, rot.damaged))
}

fn failures(report: &Report, strictness: Strictness) -> Vec<String> {
    let failures = &report.failures;
    let mut broken = Vec::new();
    if failures.rejected > 0 {
        broken.push(format!("{} requests got an answer no write may get", failures.rejected));
    }
    let in_time = failures.window_ms <= MAX_WINDOW_MS || strictness == Strictness::Share;
    let within = failures.other_share <= MAX_FAILED_SHARE && in_time;
    if failures.other > 0 && (strictness == Strictness::NoneFails || !within) {
        let allowed = match strictness {
            Strictness::NoneFails => "none may".into(),
            Strictness::Share => format!("{:.1} % may", MAX_FAILED_SHARE * 100.0),
            Strictness::Budget => format!("{:.1} % may, for {MAX_WINDOW_MS} ms", MAX_FAILED_SHARE * 100.0),
        };
        broken.push(format!(
            "{} requests ({:.3} %) failed at living nodes, the last {} ms after a kill; {allowed}",
            failures.other,
            failures.other_share * 100.0,
            failures.window_ms
        ));
    }
    broken
}

fn records(report: &Report) -> Vec<String> {
    let puts = &report.puts;
    let mut broken = Vec::new();
    let open = puts.in_doubt + puts.not_written;
    if open > 0 || puts.given_up > 0 {
        broken.push(format!("{open} records were never acknowledged, {} of them given up", puts.given_up));
    }
    if puts.acknowledged == 0 {
        broken.push("no write was acknowledged".into());
    }
    if let Some(records) = report.input.records.filter(|records| *records as u64 != puts.acknowledged + open) {
        broken.push(format!("{} of {records} records were tried", puts.acknowledged + open));
    }
    // The last comparison was made when all was written.
    let last = report.convergence.last().filter(|last| last.ms.is_some());
    if let Some(last) = last
        && !(puts.acknowledged..=puts.acknowledged + puts.in_doubt).contains(&last.keys)
    {
        broken.push(format!("nodes hold {} keys, {} were acknowledged", last.keys, puts.acknowledged));
    }
    broken
}

fn hints(report: &Report) -> Vec<String> {
    let mut broken = Vec::new();
    if report.hints.max_while_away == Some(0) {
        broken.push("no hint was seen while a node was away".into());
    }
    let limit_ms = CONVERGENCE_LIMIT.as_millis() as u64;
    if report.hints.none_after_ms.is_none() {
        broken.push(format!("hints remain {limit_ms} ms after the load and the restart"));
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::report::{ConvergenceReport, FailureReport, HintReport, InputReport, PutReport, ReadReport};

    fn good() -> Report {
        let keys = ConvergenceReport { ms: Some(1), partitions: 1_024, keys: 3_000 };
        Report {
            input: InputReport { records: Some(3_000), ..InputReport::default() },
            puts: PutReport { acknowledged: 3_000, requests: 3_030, ..PutReport::default() },
            failures: FailureReport { at_killed: 30, ..FailureReport::default() },
            hints: HintReport { max_while_away: Some(9), none_after_ms: Some(5) },
            convergence: vec![keys],
            reads: ReadReport { reads: 15_000, expected: 15_000, ..ReadReport::default() },
            ..Report::default()
        }
    }

    fn broken(spoil: impl Fn(&mut Report)) -> usize {
        let mut report = good();
        spoil(&mut report);
        judge(&report, Strictness::Budget).len()
    }

    #[test]
    fn a_good_run_breaks_nothing() {
        assert_eq!(judge(&good(), Strictness::NoneFails), Vec::<String>::new());
    }

    #[test]
    fn every_bad_number_is_noticed() {
        let spoilers: [fn(&mut Report); 12] = [
            |report| report.failures.rejected = 1,
            |report| (report.failures.other, report.failures.other_share) = (9, 0.0011),
            |report| (report.failures.other, report.failures.window_ms) = (1, 2_001),
            |report| report.puts.given_up = 1,
            |report| report.puts.not_written = 1,
            |report| report.puts.in_doubt = 1,
            |report| report.input.records = Some(3_001),
            |report| report.convergence[0].keys = 2_999,
            |report| report.hints.max_while_away = Some(0),
            |report| report.hints.none_after_ms = None,
            |report| report.reads.reads -= 1,
            |report| report.convergence.clear(),
        ];
        for (number, spoil) in spoilers.iter().enumerate() {
            assert!(broken(spoil) > 0, "spoiler {number}");
        }
        assert!(!judge(&Report::default(), Strictness::Budget).is_empty());
    }

    #[test]
    fn the_budget_excuses_little_and_strictness_nothing() {
        let mut report = good();
        (report.failures.other, report.failures.other_share, report.failures.window_ms) = (3, 0.001, 2_000);
        assert!(judge(&report, Strictness::Budget).is_empty());
        assert_eq!(judge(&report, Strictness::NoneFails).len(), 1);
    }
}
