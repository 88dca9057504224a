//! The command line of the chaos harness: `chaos sim`, `chaos mutants`, `chaos list`.

#![allow(clippy::indexing_slicing, reason = "see the library's page")]

use chaos::sim::{DunlinMachine, Report, Tally, Voice, run};
use clap::{Parser, Subcommand};
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
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Sim { seed, seeds, loud, keep_going } => {
            let (first, last) = seeds.or(seed.map(|seed| (seed, seed))).unwrap_or((0, 0));
            simulate(first, last, if loud { Voice::Loud } else { Voice::Quiet }, keep_going)
        }
    }
}

fn simulate(first: u64, last: u64, voice: Voice, keep_going: bool) -> ExitCode {
    let begun = std::time::Instant::now();
    let (mut tally, mut broken, mut runs, mut successes, mut hash) = (Tally::default(), 0u64, 0u64, 0u64, 0u64);
    for seed in first..=last {
        let report = run(seed, &DunlinMachine::build, voice);
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
