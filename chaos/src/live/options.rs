//! `chaos live`: the command line.

use super::cluster::Keep;
use super::scenario::{self, Scenario};
use super::verdict::Strictness;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Records that are made unless told otherwise.
const DEFAULT_RECORDS: usize = 10_000;

/// Exit status after Ctrl-C: the shells' number for "interrupted".
const INTERRUPTED: u8 = 130;

/// Break a cluster of real processes and look whether it keeps its promises
///
/// Prints a report as JSON on standard output, all else on standard error. Exit status 0: every promise held. After a
/// failure the directory with the nodes' logs, their data and the history of requests is kept.
#[derive(Debug, Clone, clap::Args)]
pub struct Live {
    /// What happens; `chaos list` tells of each
    #[arg(long)]
    pub(super) scenario: Scenario,
    /// How long to write, instead of a number of records: 60s, 5m
    #[arg(long, value_parser = parse_duration, conflicts_with_all = ["input", "records"])]
    pub(super) duration: Option<Duration>,
    /// Which nodes are asked and killed, and what is made to be written [default: the clock]
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// How many nodes; each record is kept by three of them
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(3..=32))]
    pub(super) nodes: u64,
    /// Records to write: Debian control stanzas (apt-cache dumpavail), or lines of key TAB value
    #[arg(long, value_name = "FILE")]
    pub(super) input: Option<PathBuf>,
    /// How many records to make up if there is no file [default: 10000]
    #[arg(long, conflicts_with = "input", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(super) records: Option<u64>,
    /// Clients that write at the same time
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub(super) connections: u64,
    /// The program under test [default: dunlin beside this program]
    #[arg(long, value_name = "PATH")]
    pub(super) binary: Option<PathBuf>,
    /// Where the report goes [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// No request may fail but those in flight at a killed node (sent or passed on to it), not even within the budget of promise P6
    #[arg(long)]
    pub(super) strict: bool,
    /// Leave the run's directory behind
    #[arg(long)]
    pub(super) keep: bool,
}

impl Live {
    /// Runs the scenario.
    pub fn run(mut self) -> ExitCode {
        // Chosen here, so that the replay command can name it.
        self.seed.get_or_insert_with(seed_of_clock);
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return failed(&format!("cannot start the runtime: {error}")),
        };
        let ended = runtime.block_on(async {
            tokio::select! {
                result = scenario::run(&self) => Some(result),
                () = interrupted() => None,
            }
        });
        // Dropping the run's future has ended the nodes and removed their directory.
        match ended {
            None => ExitCode::from(INTERRUPTED),
            Some(Err(error)) => failed(&error),
            Some(Ok(report)) => self.tell(&report),
        }
    }

    fn tell(&self, report: &super::Report) -> ExitCode {
        let text = match serde_json::to_string_pretty(report) {
            Ok(text) => text,
            Err(error) => return failed(&format!("cannot write the report: {error}")),
        };
        match &self.report {
            None => println!("{text}"),
            Some(path) => {
                if let Err(error) = std::fs::write(path, text + "\n") {
                    return failed(&format!("{}: {error}", path.display()));
                }
            }
        }
        eprintln!("chaos: {}", report.summary());
        if report.void {
            eprintln!("chaos: too few operations: this run proves nothing");
        }
        if report.held() {
            return ExitCode::SUCCESS;
        }
        for violation in &report.violations {
            eprintln!("chaos: broken: {violation}");
        }
        eprintln!("chaos: seed {}; again: {}", report.seed, report.replay);
        ExitCode::FAILURE
    }

    /// How many records to make up, if it is a question of number.
    pub(super) fn generated(&self) -> usize {
        self.records.map_or(DEFAULT_RECORDS, |records| records as usize)
    }

    pub(super) fn keeping(&self) -> Keep {
        if self.keep { Keep::Everything } else { Keep::Nothing }
    }

    pub(super) fn strictness(&self) -> Strictness {
        match self.scenario {
            _ if self.strict => Strictness::NoneFails,
            Scenario::LayoutChanges => Strictness::Share,
            Scenario::KillOne | Scenario::KillAll | Scenario::Rot => Strictness::Budget,
        }
    }

    /// The command that does the same again.
    pub(super) fn replay(&self) -> String {
        let mut words = vec!["cargo run --release -p chaos -- live".to_string()];
        words.push(format!("--scenario {} --nodes {}", self.scenario, self.nodes));
        words.push(format!("--connections {}", self.connections));
        words.extend(self.seed.map(|seed| format!("--seed {seed}")));
        words.extend(self.duration.map(|duration| format!("--duration {}ms", duration.as_millis())));
        words.extend(self.input.as_ref().map(|path| format!("--input {}", path.display())));
        words.extend(self.records.map(|records| format!("--records {records}")));
        words.extend(self.binary.as_ref().map(|path| format!("--binary {}", path.display())));
        words.extend(self.strict.then(|| "--strict".into()));
        words.join(" ")
    }
}

fn failed(error: &str) -> ExitCode {
    eprintln!("chaos: {error}");
    ExitCode::FAILURE
}

fn seed_of_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_micros() as u64)
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        // Without them a signal ends the process the system's way, and the nodes see their input end.
        _ => std::future::pending().await,
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let at = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number: u64 = number.parse().map_err(|_| format!("{text}: a number with ms, s or m is expected"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "" | "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        _ => Err(format!("{text}: a number with ms, s or m is expected")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        live: Live,
    }

    fn parse(line: &str) -> Live {
        Line::try_parse_from(line.split_whitespace()).unwrap().live
    }

    #[test]
    fn the_replay_command_says_the_same_again() {
        let line = "live --scenario kill-one --seed 7 --nodes 3 --connections 8 --duration 90s --binary b --strict";
        let replay = parse(line).replay();
        let again = replay.split_once("-- ").unwrap().1;
        assert_eq!(parse(again).replay(), replay);
        assert!(replay.contains("--duration 90000ms") && replay.contains("--seed 7"), "{replay}");
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(parse_duration("1h").is_err() && parse_duration("").is_err() && parse_duration("s").is_err());
    }
}
