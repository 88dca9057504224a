//! `chaos inject`: the command line, and all its points.

use super::disk_full;
use super::point::{Outcome, Point};
use super::rehearsal::{Fault, rehearse, strace_is_there};
use super::table::Table;
use crate::live::cluster::{find_binary, new_directory};
use dunlin::base::Random;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Load of most points.
const SHORT: Duration = Duration::from_secs(2);

/// Load of one in `LONG_EVERY`: the first compaction begins ten seconds after the start.
const LONG: Duration = Duration::from_secs(14);

/// How often a load is long.
const LONG_EVERY: u64 = 6;

/// What is done how often; a call that the rehearsal has not seen is left out.
const MIX: &[(Fault, &str, u64)] = &[
    (Fault::Error, "fdatasync", 5),
    (Fault::Error, "fsync", 3),
    (Fault::Kill, "pwrite64", 5),
    (Fault::Kill, "pwritev2", 2),
    (Fault::Kill, "fdatasync", 3),
    (Fault::Kill, "fsync", 2),
    (Fault::Kill, "rename", 3),
    (Fault::Kill, "renameat2", 1),
    (Fault::Kill, "unlink", 3),
    (Fault::Kill, "ftruncate", 1),
    (Fault::Kill, "fallocate", 1),
    (Fault::Kill, "write", 2),
];

/// Exit status of a run that could not be made here: it proves nothing, and must not pass for one that held.
const SKIPPED: u8 = 77;

/// Tamper with the system calls of a real node, and read everything back
///
/// Prints a table of points by fault and call. Exit status: 0 everything held, 1 something was broken, 77 it could not
/// be done here (no strace, no mount).
#[derive(Debug, Clone, clap::Args)]
pub struct Inject {
    /// How many points
    #[arg(long, default_value_t = 200)]
    points: u64,
    /// Which points
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Points at the same time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    jobs: u64,
    /// Fill a small file system under the node instead, and make space again (root only)
    #[arg(long)]
    disk_full: bool,
    /// The program under test [default: dunlin beside this program]
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Leave the directory behind
    #[arg(long)]
    keep: bool,
}

/// Why a run gives no answer.
#[derive(Debug)]
pub(super) enum NoRun {
    /// It cannot be done on this machine.
    Skipped(String),
    /// It went wrong.
    Failed(String),
}

impl From<String> for NoRun {
    fn from(error: String) -> NoRun {
        NoRun::Failed(error)
    }
}

impl Inject {
    /// Runs all points.
    pub fn run(&self) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return failed(&format!("cannot start the runtime: {error}")),
        };
        let directory = match new_directory() {
            Ok(directory) => directory,
            Err(error) => return failed(&error),
        };
        let ended = runtime.block_on(self.play(&directory));
        drop(runtime);
        if self.keep {
            eprintln!("chaos: kept {}", directory.display());
        } else if let Err(error) = std::fs::remove_dir_all(&directory) {
            eprintln!("chaos: cannot remove {}: {error}", directory.display());
        }
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(NoRun::Failed(error)) => failed(&error),
            Err(NoRun::Skipped(why)) => {
                eprintln!("chaos: skipped: {why}");
                ExitCode::from(SKIPPED)
            }
        }
    }

    async fn play(&self, directory: &Path) -> Result<(), NoRun> {
        let binary = find_binary(self.binary.as_deref())?;
        if self.disk_full {
            return disk_full::run(&binary, directory, self.seed).await;
        }
        strace_is_there().map_err(NoRun::Skipped)?;
        let begun = Instant::now();
        let short = rehearse(&binary, &directory.join("short"), FLAGS, SHORT).await?;
        let long = rehearse(&binary, &directory.join("long"), FLAGS, LONG).await?;
        eprintln!("chaos: calls of the busiest thread: {short:?}; with compaction {long:?}");
        let points = draw(self.seed, self.points, &short, &long);
        let table = self.run_points(&binary, directory, points).await?;
        print!("{table}");
        let (reached, broken) = (table.reached(), table.broken.len());
        println!(
            "{reached} points reached, {broken} broken, {:.0} s, seed {}",
            begun.elapsed().as_secs_f64(),
            self.seed
        );
        if broken == 0 { Ok(()) } else { Err(NoRun::Failed(table.broken.join("\n"))) }
    }

    async fn run_points(&self, binary: &Path, directory: &Path, points: Vec<Point>) -> Result<Table, String> {
        let at_once = Arc::new(tokio::sync::Semaphore::new(self.jobs as usize));
        let mut running = tokio::task::JoinSet::new();
        for (number, point) in points.into_iter().enumerate() {
            let (at_once, binary, home) =
                (at_once.clone(), binary.to_owned(), directory.join(format!("point{number}")));
            let keep = self.keep;
            running.spawn(async move {
                let _turn = at_once.acquire_owned().await;
                let mut point = point;
                let mut outcome = point.run(&binary, &home, FLAGS).await;
                // The machine was too slow for it: an earlier call will do.
                while point.nth > 1 && outcome.as_ref().is_ok_and(Outcome::is_miss) {
                    point.nth = (point.nth / 4).max(1);
                    let _ = std::fs::remove_dir_all(&home);
                    outcome = point.run(&binary, &home, FLAGS).await;
                }
                if !keep && outcome.as_ref().is_ok_and(|outcome| outcome.broken.is_empty()) {
                    // What was held is of no interest; what is left goes with the whole directory.
                    let _ = std::fs::remove_dir_all(&home);
                }
                (point, outcome)
            });
        }
        let mut table = Table::default();
        while let Some(ended) = running.join_next().await {
            let (point, outcome) = ended.map_err(|error| format!("a point: {error}"))?;
            table.note(&point, outcome.map_err(|error| format!("{point:?}: {error}"))?);
        }
        Ok(table)
    }
}

/// A disk shared with others must not look full.
const FLAGS: &[&str] = &["--storage-reserve-bytes", "0"];

/// Points of this seed. Long loads aim behind what short ones reach.
fn draw(seed: u64, points: u64, short: &BTreeMap<&'static str, u64>, long: &BTreeMap<&'static str, u64>) -> Vec<Point> {
    let mut random = Random::from_seed(seed);
    let mix: Vec<(Fault, &'static str)> = MIX
        .iter()
        .filter(|(_, call, _)| short.contains_key(call))
        .flat_map(|(fault, call, weight)| (0..*weight).map(|_| (*fault, *call)))
        .collect();
    let mut drawn = Vec::new();
    while let Some((fault, call)) = random.pick(&mix).copied().filter(|_| (drawn.len() as u64) < points) {
        // Rehearsals have the machine for themselves; points share it.
        let seen = |calls: &BTreeMap<&'static str, u64>| calls.get(call).map_or(1, |count| count.div_ceil(2));
        let (few, many) = (seen(short), seen(long));
        let is_long = random.below(LONG_EVERY) == 0 && many > few;
        let nth = if is_long { random.between(few + 1, many) } else { random.between(1, few) };
        drawn.push(Point { call, fault, nth, longest: if is_long { LONG } else { SHORT }, seed: random.u64() });
    }
    drawn
}

fn failed(error: &str) -> ExitCode {
    eprintln!("chaos: {error}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_name_calls_that_were_seen() {
        let short = BTreeMap::from([("fsync", 10), ("rename", 4)]);
        let long = BTreeMap::from([("fsync", 40), ("rename", 20), ("unlink", 9)]);
        let points = draw(1, 100, &short, &long);
        assert_eq!((points.len(), &points), (100, &draw(1, 100, &short, &long)));
        assert!(points.iter().all(|point| point.call != "unlink" && point.nth >= 1 && point.nth <= 36));
        assert!(points.iter().any(|point| point.nth > 10 && point.longest == LONG));
        assert!(draw(1, 5, &BTreeMap::new(), &long).is_empty());
    }
}
