//! The result of a run: for programs as JSON, for people as text.

use super::progress::milliseconds;
use super::run::{Shared, Used};
use super::supply::Pace;
use super::tally::{Latencies, Second};
use super::verify::Verification;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    /// Of this file's form.
    pub(super) format: u32,
    pub(super) version: String,
    /// The command line.
    pub(super) command: Vec<String>,
    pub(super) machine: Machine,
    pub(super) load: LoadReport,
    pub(super) stages: Vec<StageReport>,
    pub(super) verification: Option<Verification>,
}

/// The one form there is.
pub(super) const FORMAT: u32 = 1;

/// Where it ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) processor: String,
    pub(super) cores: usize,
    pub(super) kernel: String,
    /// Seconds since 1970, at the end.
    pub(super) ended_at: u64,
}

/// The load that all stages share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct LoadReport {
    pub(super) nodes: Vec<String>,
    /// Nodes whose processes were watched: those on this machine.
    pub(super) watched_nodes: usize,
    pub(super) connections: usize,
    pub(super) keys: u64,
    pub(super) value_size: String,
    pub(super) knobs: String,
    pub(super) route: String,
    pub(super) seed: u64,
}

/// One measured stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct StageReport {
    pub(super) name: String,
    pub(super) mix: String,
    pub(super) distribution: String,
    /// Requests a second that were due; none in a closed loop.
    pub(super) offered_per_second: Option<f64>,
    pub(super) seconds: f64,
    /// Requests a second that did what they were asked.
    pub(super) per_second: f64,
    pub(super) latency: Percentiles,
    pub(super) operations: BTreeMap<String, Percentiles>,
    pub(super) misses: u64,
    pub(super) siblings: u64,
    pub(super) failed: u64,
    pub(super) failures: BTreeMap<String, u64>,
    /// How late the generator itself sent requests for which a connection was idle; open loops only.
    pub(super) lateness: Option<Percentiles>,
    /// Processor time of all watched nodes, per request done.
    pub(super) server_cpu_us_per_request: Option<f64>,
    pub(super) server_anonymous_bytes: Option<u64>,
    /// The generator's own processor time, per request done.
    pub(super) own_cpu_us_per_request: f64,
    pub(super) each_second: Vec<Second>,
    /// The curve of the latencies: (percentile, microseconds).
    pub(super) curve: Vec<(f64, f64)>,
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Percentiles {
    pub(super) count: u64,
    pub(super) mean_us: f64,
    pub(super) p50_us: f64,
    pub(super) p90_us: f64,
    pub(super) p99_us: f64,
    pub(super) p99_9_us: f64,
    pub(super) p99_99_us: f64,
    pub(super) max_us: f64,
}

impl Percentiles {
    pub(super) fn of(latencies: &Latencies) -> Percentiles {
        let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
        Percentiles {
            count: latencies.len(),
            mean_us: latencies.mean() / 1000.0,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            p99_99_us: at(0.9999),
            max_us: latencies.max() as f64 / 1000.0,
        }
    }
}

impl StageReport {
    pub(super) fn new(shared: &Shared, pace: Pace, elapsed: Duration, used: &Used) -> StageReport {
        let tally = shared.tally.borrow();
        let (all, done, seconds) = (tally.all(), tally.done(), elapsed.as_secs_f64());
        let each = |seconds: f64| seconds * 1e6 / done.max(1) as f64;
        let operations =
            tally.operations.iter().map(|(operation, latencies)| (operation.name().into(), Percentiles::of(latencies)));
        StageReport {
            name: shared.stage.name.clone(),
            mix: shared.stage.mix.text(),
            distribution: shared.stage.distribution.text(),
            offered_per_second: match pace {
                Pace::Closed => None,
                Pace::Open { per_second } => Some(per_second),
            },
            seconds,
            per_second: done as f64 / seconds.max(f64::MIN_POSITIVE),
            latency: Percentiles::of(&all),
            operations: operations.collect(),
            misses: tally.misses,
            siblings: tally.siblings,
            failed: tally.failed(),
            failures: tally.failures.clone(),
            lateness: tally.lateness.as_ref().map(Percentiles::of),
            server_cpu_us_per_request: used.server_cpu_seconds().map(each),
            server_anonymous_bytes: used.server_anonymous_bytes(),
            own_cpu_us_per_request: each(used.own_cpu_seconds()),
            each_second: tally.seconds.clone(),
            curve: curve(&all),
        }
    }

    /// The stage in one line.
    pub(super) fn line(&self) -> String {
        let mut line = format!("{:<16} {:>9.0}/s", self.name, self.per_second);
        let Percentiles { p50_us, p99_us, p99_9_us, max_us, .. } = self.latency;
        for (name, microseconds) in [("p50", p50_us), ("p99", p99_us), ("p99.9", p99_9_us), ("max", max_us)] {
            // Writing to memory cannot fail.
            let _ = write!(line, "   {name} {}", milliseconds(microseconds as u64));
        }
        if let Some(offered) = self.offered_per_second {
            let _ = write!(line, "   of {offered:.0}/s offered");
        }
        if let Some(microseconds) = self.server_cpu_us_per_request {
            let _ = write!(line, "   nodes {microseconds:.1} us cpu");
        }
        let _ = write!(line, "   generator {:.1} us cpu", self.own_cpu_us_per_request);
        for (how, count) in &self.failures {
            let _ = write!(line, "   failed {how}: {count}");
        }
        line
    }
}

impl Report {
    /// The result for people.
    pub(super) fn text(&self) -> String {
        let mut text: String = self.stages.iter().map(|stage| stage.line() + "\n").collect();
        if let Some(Verification { keys, wrong, examples }) = &self.verification {
            // Writing to memory cannot fail.
            let _ = writeln!(text, "verified: {keys} keys, {wrong} wrong");
            examples.iter().for_each(|example| text.push_str(&format!("  {example}\n")));
        }
        text
    }
}

impl Machine {
    /// This one.
    pub(super) fn here() -> Machine {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let processor = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Machine {
            processor: processor.map_or_else(|| "unknown".into(), |(_, name)| name.trim().to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            ended_at: now.as_secs(),
        }
    }
}

/// Points that follow the tail: each halves the distance to 100 %.
fn curve(latencies: &Latencies) -> Vec<(f64, f64)> {
    if latencies.is_empty() {
        return Vec::new();
    }
    let points =
        latencies.iter_quantiles(4).map(|step| (step.quantile() * 100.0, step.value_iterated_to() as f64 / 1000.0));
    points.collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A result with these stages.
    pub(in crate::cli::bench) fn report(stages: &[&str]) -> Report {
        let latency = Percentiles { count: 10, p50_us: 100.0, p99_us: 300.0, ..Percentiles::default() };
        let stage = |name: &&str| StageReport {
            name: (*name).into(),
            mix: "read=1".into(),
            distribution: "uniform".into(),
            offered_per_second: Some(20.0),
            seconds: 1.0,
            per_second: 10.0,
            latency,
            operations: BTreeMap::from([("read".into(), latency)]),
            misses: 0,
            siblings: 0,
            failed: 1,
            failures: BTreeMap::from([("503".into(), 1)]),
            lateness: None,
            server_cpu_us_per_request: Some(30.0),
            server_anonymous_bytes: None,
            own_cpu_us_per_request: 5.0,
            each_second: vec![Second { done: 10, failed: 1, p50_us: 100, p99_us: 300 }],
            curve: vec![(50.0, 100.0), (100.0, 300.0)],
        };
        Report {
            format: FORMAT,
            version: "0".into(),
            command: vec!["dunlin".into(), "bench".into()],
            machine: Machine { processor: "p".into(), cores: 2, kernel: "k".into(), ended_at: 1 },
            load: LoadReport {
                nodes: vec!["http://127.0.0.1:1".into()],
                watched_nodes: 1,
                connections: 1,
                keys: 10,
                value_size: "100".into(),
                knobs: String::new(),
                route: "any".into(),
                seed: 1,
            },
            stages: stages.iter().map(stage).collect(),
            verification: Some(Verification { keys: 10, wrong: 1, examples: vec!["key 1: lost".into()] }),
        }
    }

    #[test]
    fn a_result_is_read_back_as_it_was_written() {
        let report = report(&["put", "get"]);
        let read: Report = serde_json::from_slice(&serde_json::to_vec(&report).unwrap()).unwrap();
        assert_eq!(read, report);
    }

    #[test]
    fn people_are_told_rates_failures_and_what_is_wrong() {
        let text = report(&["put"]).text();
        for part in ["10/s", "p99 0.30 ms", "of 20/s offered", "nodes 30.0 us cpu", "failed 503: 1", "10 keys, 1 wrong"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
