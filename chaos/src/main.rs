//! The command line of the chaos harness.

#[cfg(feature = "live")]
use chaos::live::{Live, SCENARIOS};
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
    #[cfg(feature = "live")]
    Live(Live),
    /// List what there is to run.
    List,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        #[cfg(feature = "live")]
        Command::Live(live) => live.run(),
        Command::List => {
            #[cfg(feature = "live")]
            for (scenario, what) in SCENARIOS {
                println!("live {scenario}: {what}");
            }
            ExitCode::SUCCESS
        }
    }
}
