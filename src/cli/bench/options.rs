//! What can be asked on the command line.

use super::keys::Distribution;
use super::operation::{Mix, Operation};
use super::plan::{Load, Plan, Role, Stage, StagePace, Workload};
use super::run::Verify;
use super::supply::{Length, Pace};
use super::target::Route;
use super::value::{MARK_BYTES, Sizes};
use std::path::PathBuf;
use std::time::Duration;

/// Where the nodes of `dunlin dev` listen.
const DEFAULT_URLS: [&str; 3] = ["http://127.0.0.1:8101", "http://127.0.0.1:8102", "http://127.0.0.1:8103"];

/// Most connections: descriptors and ports of one address last for no more.
const MAX_CONNECTIONS: u64 = 20_000;

/// Shares of the peak at which latency is measured with `--knee`.
const KNEE_SHARES: [f64; 6] = [0.25, 0.5, 0.6, 0.7, 0.8, 0.9];

/// Measure a cluster under load
///
/// Writes --keys keys, then runs the workloads one after the other and prints rates, latencies and what they cost. A closed
/// loop (the default) finds out how much the cluster can do; --rate and --knee send requests when they are due, whatever
/// the answers do, and measure latency from then.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Bench {
    /// Nodes; connections are spread over them
    #[arg(long, value_delimiter = ',', default_values = DEFAULT_URLS, env = "DUNLIN_URL", value_name = "URL,...")]
    pub(super) url: Vec<String>,
    /// Start a fresh local cluster of so many nodes, measure it, and remove it
    #[arg(long, value_name = "NODES", num_args = 0..=1, default_missing_value = "3", conflicts_with = "url",
          value_parser = clap::value_parser!(u64).range(1..=32))]
    pub(super) local: Option<u64>,
    /// What to ask for, one stage each
    #[arg(long, value_delimiter = ',', value_enum, default_values = ["put", "get"], value_name = "NAME,...")]
    workload: Vec<Workload>,
    /// A mix of one's own instead, as weights: read=90,update=5,insert=1,read-modify-write=2,scan=1,delete=1
    #[arg(long, conflicts_with = "workload", value_parser = str::parse::<Mix>)]
    mix: Option<Mix>,
    /// How requests spread over keys, instead of the workload's own: uniform, zipf, latest, hot:KEYS:REQUESTS (percent)
    #[arg(long, value_parser = str::parse::<Distribution>)]
    distribution: Option<Distribution>,
    /// Connections
    #[arg(long, short, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=MAX_CONNECTIONS))]
    connections: u64,
    /// Keys that exist
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    keys: u64,
    /// Bytes of a value, or FROM..TO
    #[arg(long, default_value = "100", value_parser = str::parse::<Sizes>)]
    value_size: Sizes,
    /// Seconds each stage is measured
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    duration: f64,
    /// Seconds each workload runs before it is measured
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    warm_up: f64,
    /// Requests a second that are due, whatever the answers do; several: one stage each
    #[arg(long, value_delimiter = ',', value_parser = rate, value_name = "RATE,...")]
    rate: Vec<f64>,
    /// Measure the peak in a closed loop, then latency at rising shares of it
    #[arg(long, conflicts_with = "rate")]
    knee: bool,
    /// Keys a scan asks for
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    scan_length: u32,
    /// Which node a request goes to
    #[arg(long, value_enum, default_value = "any")]
    pub(super) route: Route,
    /// Do not write the keys first: they are there
    #[arg(long)]
    no_prepare: bool,
    /// Read back every key that was written, and judge what is there
    #[arg(long)]
    verify: bool,
    /// Replicas to ask: 1..N, one, quorum, all
    #[arg(long)]
    r: Option<String>,
    /// Durable copies to wait for: 1..N, one, quorum, all
    #[arg(long)]
    w: Option<String>,
    /// May other nodes stand in for replicas: true, false
    #[arg(long)]
    sloppy: Option<String>,
    /// Seconds after which a request without an answer has failed
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    timeout: f64,
    /// The same seed draws the same operations, keys and values
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    pub(super) output: Output,
}

/// Where the result goes, besides standard output.
#[derive(Debug, clap::Args)]
pub(super) struct Output {
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Write the result as a page
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
    /// Compare with an earlier result, as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) compare: Option<PathBuf>,
}

impl Bench {
    pub(super) fn verify(&self) -> Verify {
        if self.verify { Verify::Yes } else { Verify::No }
    }

    /// What is to be run.
    pub(super) fn plan(&self) -> Result<Plan, String> {
        if self.verify && self.value_size.from < MARK_BYTES {
            return Err(format!("--verify needs values of at least {MARK_BYTES} bytes: --value-size {MARK_BYTES}"));
        }
        if self.verify && self.no_prepare {
            return Err("--verify needs to have written all keys itself: leave out --no-prepare".into());
        }
        let load = Load {
            connections: self.connections as usize,
            keys: self.keys,
            sizes: self.value_size,
            scan_length: self.scan_length,
            knobs: self.knobs(),
            timeout: Duration::from_secs_f64(self.timeout),
            seed: self.seed,
        };
        let mut stages: Vec<Stage> = if self.no_prepare { Vec::new() } else { vec![self.prepare()] };
        for (name, mix, distribution) in self.loads() {
            stages.extend(self.stages(&name, &mix, distribution));
        }
        Ok(Plan { load, stages })
    }

    fn loads(&self) -> Vec<(String, Mix, Distribution)> {
        let own = |distribution| self.distribution.unwrap_or(distribution);
        if let Some(mix) = &self.mix {
            return vec![("mix".into(), mix.clone(), own(Distribution::Uniform))];
        }
        let named = self.workload.iter().map(|workload| {
            let (mix, distribution) = workload.parts();
            (workload.name().to_owned(), mix, own(distribution))
        });
        named.collect()
    }

    fn stages(&self, name: &str, mix: &Mix, distribution: Distribution) -> Vec<Stage> {
        let stage = |name: String, pace, seconds, role| Stage {
            name,
            mix: mix.clone(),
            distribution,
            pace,
            length: Length::Lasting(Duration::from_secs_f64(seconds)),
            role,
        };
        let closed = StagePace::Fixed(Pace::Closed);
        let mut stages = vec![stage(format!("{name} warm-up"), closed, self.warm_up, Role::WarmUp)];
        if self.rate.is_empty() {
            stages.push(stage(name.to_owned(), closed, self.duration, Role::Measure));
        }
        for per_second in &self.rate {
            let pace = StagePace::Fixed(Pace::Open { per_second: *per_second });
            stages.push(stage(format!("{name} at {per_second}"), pace, self.duration, Role::Measure));
        }
        if self.knee {
            let shares = KNEE_SHARES.iter().map(|share| (*share, StagePace::ShareOfPeak(*share)));
            let shares = shares.map(|(share, pace)| (format!("{name} at {:.0} %", share * 100.0), pace));
            stages.extend(shares.map(|(name, pace)| stage(name, pace, self.duration, Role::Measure)));
        }
        stages
    }

    fn prepare(&self) -> Stage {
        Stage {
            name: "prepare".into(),
            mix: Mix::only(Operation::Update),
            distribution: Distribution::Uniform,
            pace: StagePace::Fixed(Pace::Closed),
            length: Length::Requests(self.keys),
            role: Role::Prepare,
        }
    }

    fn knobs(&self) -> String {
        let knobs = [("r", &self.r), ("w", &self.w), ("sloppy", &self.sloppy)];
        let given: Vec<String> =
            knobs.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?))).collect();
        if given.is_empty() { String::new() } else { format!("?{}", given.join("&")) }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds.ok_or_else(|| "seconds from 0 to 86400 are allowed".into())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.1..=1e7).contains(rate));
    rate.ok_or_else(|| "requests a second, from 0.1 to 10000000".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        bench: Bench,
    }

    fn planned(line: &str) -> Result<Vec<String>, String> {
        let line = format!("bench {line}");
        let bench = Line::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?.bench;
        Ok(bench.plan()?.stages.into_iter().map(|stage| stage.name).collect())
    }

    #[test]
    fn the_standard_set_writes_and_reads() {
        assert_eq!(planned("").unwrap(), ["prepare", "put warm-up", "put", "get warm-up", "get"]);
    }

    #[test]
    fn rates_and_knees_are_stages_of_their_own() {
        assert_eq!(planned("--no-prepare --workload a --rate 100,200").unwrap(), ["a warm-up", "a at 100", "a at 200"]);
        let knee = planned("--mix read=1 --knee").unwrap();
        assert_eq!(knee[..4], ["prepare", "mix warm-up", "mix", "mix at 25 %"]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (line, said) in [
            ("--verify --value-size 10", "at least 40 bytes"),
            ("--verify --no-prepare", "leave out --no-prepare"),
            ("--rate 0", "requests a second"),
            ("--distribution pareto", "uniform, zipf, latest"),
            ("--connections 0", "1..=20000"),
        ] {
            let error = planned(line).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
