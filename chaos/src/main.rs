//! The command line of the chaos harness: `chaos sim`, `chaos mutants`, `chaos placement`, `chaos list`.

#![allow(clippy::indexing_slicing, reason = "see the library's page")]

use chaos::crash::{Coverage, Leaving, Secrecy, enumerate, flip, golden};
use chaos::detector::Trial;
#[cfg(feature = "live")]
use chaos::live::{Inject, Live, SCENARIOS};
use chaos::placement::{SIZE_CLASSES, measure};
use chaos::sim::{DunlinMachine, Fault, Report, Swarm, Tally, Voice, run, run_undisturbed};
use clap::{Parser, Subcommand};
use dunlin::base::{Mutation, Random};
use dunlin::ring::Partitioning;

use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "chaos", about = "Breaks Dunlin on purpose", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run whole clusters in one thread, in virtual time, from a seed each.
    Sim {
        /// One seed.
        #[arg(long, required_unless_present = "seeds", conflicts_with = "seeds")]
        seed: Option<u64>,
        /// A range of seeds, both ends included: 1..1000.
        #[arg(long, value_parser = parse_range)]
        seeds: Option<(u64, u64)>,
        /// Print every event as it happens.
        #[arg(long)]
        loud: bool,
        /// Go on after a failure, and print only the violations.
        #[arg(long)]
        keep_going: bool,
        /// Leave out seeds whose layout never changes.
        #[arg(long)]
        layout_changes: bool,
        /// Leave out every fault, and let the network be fair.
        #[arg(long)]
        undisturbed: bool,
    },
    /// Break one rule of the core at a time: some seed must notice each.
    #[cfg(feature = "mutants")]
    Mutants {
        /// Only this one.
        #[arg(long)]
        only: Option<String>,
        /// Give up on one after so many seeds.
        #[arg(long, default_value_t = 2_000)]
        limit: u64,
        /// Which seed to begin with.
        #[arg(long, default_value_t = 0)]
        first: u64,
    },
    /// Take the power from one store at every call of its disk, and judge what recovery makes of it.
    Crash {
        /// Stop after so many different states.
        #[arg(long, default_value_t = 300_000)]
        states: u64,
        /// Which script to begin with.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Flip every byte of a small store, one at a time, and read all of it each time.
    Flips {
        /// Which store.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// All eight bits of one byte in so many; of the others a random one.
        #[arg(long, default_value_t = 8)]
        all_bits_every: u64,
    },
    /// Change layouts again and again at random, and measure how even, how far apart and how little moved they are.
    Placement {
        /// So many histories of each class of sizes.
        #[arg(long, default_value_t = 50)]
        histories: u64,
        /// So many changes in each.
        #[arg(long, default_value_t = 20)]
        changes: u64,
        /// Slices of the hash space, a power of two.
        #[arg(long, default_value_t = Partitioning::DEFAULT_COUNT)]
        partitions: u32,
        /// Seed of the first history.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Make a golden data directory of the present formats; never over one that is there.
    Golden {
        /// A new directory.
        #[arg(long)]
        dir: std::path::PathBuf,
    },
    Detector(Trial),
    #[cfg(feature = "live")]
    Live(Live),
    #[cfg(feature = "live")]
    Inject(Inject),
    /// List the classes of faults, the promises judged, and the deliberate faults of the core.
    List,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Sim { seed, seeds, loud, keep_going, layout_changes, undisturbed } => {
            let (first, last) = seeds.or(seed.map(|seed| (seed, seed))).unwrap_or((0, 0));
            let seeds = (first..=last).filter(|seed| !layout_changes || changes_layout(*seed));
            let voice = if loud { Voice::Loud } else { Voice::Quiet };
            let play = if undisturbed { run_undisturbed } else { run };
            simulate(seeds.map(|seed| play(seed, &DunlinMachine::build, voice)), keep_going)
        }
        #[cfg(feature = "mutants")]
        Command::Mutants { only, limit, first } => gate(only.as_deref(), first, limit),
        Command::Crash { states, seed } => crash(seed, states),
        Command::Flips { seed, all_bits_every } => flips(seed, all_bits_every),
        Command::Placement { histories, changes, partitions, seed } => placement(histories, changes, partitions, seed),
        Command::Golden { dir } => match write_golden(&dir) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("chaos: {}: {error}", dir.display());
                ExitCode::FAILURE
            }
        },
        Command::Detector(trial) => trial.run(),
        #[cfg(feature = "live")]
        Command::Live(live) => live.run(),
        #[cfg(feature = "live")]
        Command::Inject(inject) => inject.run(),
        Command::List => {
            list();
            ExitCode::SUCCESS
        }
    }
}

fn changes_layout(seed: u64) -> bool {
    Swarm::draw(&mut Random::from_seed(seed)).layout_changes.is_some()
}

fn simulate(reports: impl Iterator<Item = Report>, keep_going: bool) -> ExitCode {
    let begun = std::time::Instant::now();
    let (mut tally, mut broken, mut runs, mut successes, mut hash) = (Tally::default(), 0u64, 0u64, 0u64, 0u64);
    for report in reports {
        tally.merge(&report.tally);
        runs += 1;
        successes += report.succeeded;
        hash = hash.rotate_left(1) ^ report.trace_hash;
        if !report.held() {
            broken += 1;
            print_broken(&report, keep_going);
            if !keep_going {
                break;
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("seen:\n{tally}");
    println!(
        "{runs} seeds, {broken} broken, {successes} successful requests, {seconds:.1} s, {:.1} seeds/s, traces {hash:016x}",
        runs as f64 / seconds
    );
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Counts crash states; fails at the first that breaks a promise.
fn crash(seed: u64, states: u64) -> ExitCode {
    let begun = std::time::Instant::now();
    let (judged, broken) = enumerate(seed, states);
    println!("{judged}");
    let (total, scripts, seconds) = (judged.total(), judged.scripts, begun.elapsed().as_secs_f64());
    let bad = u64::from(broken.is_some());
    println!("{total} different states of {scripts} scripts, {bad} broken, {seconds:.1} s, from seed {seed}");
    let Some(broken) = broken else { return ExitCode::SUCCESS };
    println!("script {}, after {} calls, in {}: {}", broken.seed, broken.calls, broken.step, broken.what);
    ExitCode::FAILURE
}

/// Flips every byte of a crashed and of a closed store, and of such that are encrypted; fails at the first wrong value.
fn flips(seed: u64, all_bits_every: u64) -> ExitCode {
    let mut exit = ExitCode::SUCCESS;
    let coverage = Coverage { every: 1, all_bits_every: all_bits_every.max(1) };
    let leavings = [Leaving::Crash, Leaving::Close];
    for (leaving, secrecy) in leavings.into_iter().flat_map(|leaving| Secrecy::ALL.map(|secrecy| (leaving, secrecy))) {
        let begun = std::time::Instant::now();
        let (flips, broken) = flip(seed, leaving, secrecy, coverage);
        let bad = u64::from(broken.is_some());
        let (bits, seconds) = (flips.bits(), begun.elapsed().as_secs_f64());
        println!("{flips}\n{leaving:?}, {secrecy:?}: {bits} flips, {bad} broken, {seconds:.1} s");
        if let Some(broken) = broken {
            println!("{broken}");
            exit = ExitCode::FAILURE;
        }
    }
    exit
}

/// Measures one class of sizes after the other; fails if one misses a target.
fn placement(histories: u64, changes: u64, partitions: u32, seed: u64) -> ExitCode {
    let mut exit = ExitCode::SUCCESS;
    let measured = |class| {
        let partitioning = Partitioning::new(partitions).map_err(|error| error.to_string())?;
        let seeds = seed..seed.saturating_add(histories);
        measure(class, seeds, changes, partitioning).map_err(|error| error.to_string())
    };
    for class in SIZE_CLASSES {
        match measured(class) {
            Ok(report) => {
                println!("{report}");
                if !report.is_good() {
                    println!("  MISSES A TARGET");
                    exit = ExitCode::FAILURE;
                }
            }
            Err(error) => {
                eprintln!("chaos: {error}");
                exit = ExitCode::FAILURE;
            }
        }
    }
    exit
}

/// Writes a golden directory and what opening it gives.
fn write_golden(directory: &std::path::Path) -> std::io::Result<()> {
    let (files, expected) = golden::make();
    std::fs::create_dir(directory)?;
    for (name, bytes) in files {
        std::fs::write(directory.join(name), bytes)?;
    }
    std::fs::write(directory.join(golden::EXPECTED), expected)
}

/// What the simulator judges, by name.
const PROMISES: &[&str] = &[
    "P1 durable",
    "P2 no silent loss",
    "P3 read your writes",
    "P4 converges",
    "P5 no resurrection",
    "P6 available (without faults, and at the end)",
    "P7 no corrupt bytes",
    "P11 honest errors",
    "R13 no false siblings (without faults)",
    "R18 never sent twice",
    "R20 no clock without data",
    "R9 no counter goes back",
    "exactly one answer",
    "answered in time",
    "messages survive their encoding",
    "bounded work",
];

fn list() {
    #[cfg(feature = "live")]
    for (scenario, what) in SCENARIOS {
        println!("live {scenario}: {what}");
    }
    println!("faults of a run (chaos sim):");
    Fault::ALL.iter().for_each(|fault| println!("  {fault:?}"));
    println!("promises judged:");
    PROMISES.iter().for_each(|promise| println!("  {promise}"));
    println!("deliberate faults of the core (chaos mutants, with the feature of that name):");
    Mutation::ALL.iter().for_each(|(_, name, rule)| println!("  {name:<30} {rule}"));
}

/// Prints a line per deliberate fault; fails if one survives that the simulator should notice.
#[cfg(feature = "mutants")]
fn gate(only: Option<&str>, first: u64, limit: u64) -> ExitCode {
    use chaos::sim::mutants::{Hunt, elsewhere, hunt};
    let mut survivors = 0;
    println!("{:<30} {:<24} {:>6}  caught by", "fault", "rule", "seeds");
    for (mutation, name, rule) in Mutation::ALL.iter().filter(|(_, name, _)| only.is_none_or(|only| only == *name)) {
        if let Some(place) = elsewhere(*mutation).filter(|_| only.is_none()) {
            println!("{name:<30} {rule:<24} {:>6}  {place}", "-");
            continue;
        }
        match hunt(*mutation, first, limit) {
            Hunt::Caught { seed, runs, promise } => {
                println!("{name:<30} {rule:<24} {runs:>6}  {promise} (seed {seed})")
            }
            Hunt::Survived { runs } => {
                survivors += 1;
                println!("{name:<30} {rule:<24} {runs:>6}  NOT CAUGHT");
            }
        }
    }
    if survivors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_broken(report: &Report, briefly: bool) {
    if !briefly {
        return println!("{report}");
    }
    for broken in report.broken.iter().take(1) {
        println!("seed {}: {}: {}", report.seed, broken.promise, broken.what);
    }
}

fn parse_range(text: &str) -> Result<(u64, u64), String> {
    let (first, last) = text.split_once("..").ok_or("a range is FIRST..LAST, both included")?;
    let number = |text: &str| text.trim_start_matches('=').parse::<u64>().map_err(|error| format!("{text}: {error}"));
    let (first, last) = (number(first)?, number(last)?);
    if first > last { Err(format!("{first} is above {last}")) } else { Ok((first, last)) }
}
