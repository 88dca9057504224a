//! The command `chaos detector`.

use super::case::{Case, Connections};
use super::figures::HEADS;
use super::table;
use super::world::World;
use clap::{Args, ValueEnum};
use dunlin::membership::Lifeguard;
use std::process::ExitCode;
use std::time::Duration;

/// A healed network counts as not healed after this.
const HEAL_LIMIT: Duration = Duration::from_secs(600);

/// How exactly the time of healing is measured.
const HEAL_STEP: Duration = Duration::from_millis(500);

/// Watch failure detectors alone: how soon deaths are known, what that costs, who is condemned falsely.
#[derive(Debug, Args)]
pub struct Trial {
    /// How many nodes.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=16_384))]
    nodes: u32,
    /// Virtual hours.
    #[arg(long, default_value_t = 1.0)]
    hours: f64,
    /// Percent of packets lost.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// Percent of nodes that stand still again and again.
    #[arg(long, default_value_t = 0.0)]
    stall: f64,
    /// For how many seconds at most; at least for one.
    #[arg(long, default_value_t = 5.0)]
    stall_seconds: f64,
    /// Lifeguard, or plain SWIM.
    #[arg(long, value_enum, default_value_t = Switch::On)]
    lifeguard: Switch,
    /// Dialled as the transport does it, or always there.
    #[arg(long, value_enum, default_value_t = Connections::Dialled)]
    connections: Connections,
    /// A healthy node dies every so many seconds.
    #[arg(long, default_value_t = 60.0)]
    death_every: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Instead: divide the network in halves for so many seconds, and tell how long healing takes.
    #[arg(long, conflicts_with = "table")]
    partition: Option<f64>,
    /// Run the whole set of loss and stalls, each without and with Lifeguard.
    #[arg(long, conflicts_with_all = ["loss", "stall", "stall_seconds", "lifeguard"])]
    table: bool,
}

/// On or off.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Switch {
    On,
    Off,
}

impl Trial {
    /// Runs it.
    pub fn run(&self) -> ExitCode {
        if self.table {
            println!("{HEADS}");
            table::cases(&self.case()).for_each(watch);
            return ExitCode::SUCCESS;
        }
        match self.partition {
            Some(seconds) => self.divide(Duration::from_secs_f64(seconds)),
            None => {
                println!("{HEADS}");
                watch(self.case());
                ExitCode::SUCCESS
            }
        }
    }

    fn case(&self) -> Case {
        Case {
            nodes: self.nodes,
            length: Duration::from_secs_f64(self.hours * 3600.0),
            loss: self.loss / 100.0,
            stalling: self.stall / 100.0,
            longest_stall: Duration::from_secs_f64(self.stall_seconds),
            connections: self.connections,
            lifeguard: match self.lifeguard {
                Switch::On => Lifeguard::On,
                Switch::Off => Lifeguard::Off,
            },
            death_every: Duration::from_secs_f64(self.death_every),
            seed: self.seed,
        }
    }

    fn divide(&self, length: Duration) -> ExitCode {
        // Nobody dies meanwhile: who is down is on the other side.
        let mut world = World::new(Case { death_every: length + HEAL_LIMIT * 2, ..self.case() });
        world.divide(self.nodes / 2);
        world.run(length);
        world.heal();
        let mut took = Duration::ZERO;
        while !world.agrees() && took < HEAL_LIMIT {
            world.run(HEAL_STEP);
            took += HEAL_STEP;
        }
        let nodes = self.nodes;
        println!("{nodes} nodes, halves apart for {length:?}: all alive to all after {took:?}");
        if world.agrees() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Runs one case; of a long one, says every hour how it goes.
fn watch(case: Case) {
    const HOUR: Duration = Duration::from_secs(3600);
    let mut left = case.length;
    let mut world = World::new(case);
    while left > HOUR {
        world.run(HOUR);
        left -= HOUR;
        eprintln!("{}", world.figures());
    }
    world.run(left);
    println!("{}", world.figures());
}
