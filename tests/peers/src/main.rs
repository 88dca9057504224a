//! Dunlin's store beside other engines: same machine, same run, a process for each piece of work.
//!
//! ```text
//!  compare --+-- child: load    --+                 children print one line of JSON each;
//!  memory    +-- child: reads   --+-- one directory the parent prints them, then a table
//!  restart   +-- child: killed ---+
//! ```

mod data;
mod engine;
mod engines;
mod measure;
mod plan;
mod report;
mod space;
mod workload;

use clap::{Args, Parser, Subcommand, ValueEnum};
use measure::Line;
use std::path::PathBuf;
use std::time::Duration;
use workload::{Task, Workload};

#[derive(Debug, Parser)]
#[command(about = "Dunlin's store beside fjall, redb, rocksdb, a bare Bitcask and the raw disk")]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All engines, all workloads.
    Compare(Compare),
    /// Dunlin's memory per key at many counts.
    Memory(Scene),
    /// Opening ten million keys: clean and killed, in the page cache and not.
    Restart(Scene),
    /// The log's size under zipf overwrites of 20 times the data, compaction running.
    Space(Scene),
    /// One piece of work; what the others start.
    #[command(hide = true)]
    Child(Child),
}

/// Where, how long.
#[derive(Debug, Clone, Args)]
pub struct Scene {
    /// Directory for the stores; a new one in it is used and removed.
    #[arg(long, default_value = "/tmp")]
    pub directory: PathBuf,
    /// Smaller and shorter: two minutes instead of ten.
    #[arg(long)]
    pub quick: bool,
    /// Lines of JSON go here, too.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
struct Compare {
    #[command(flatten)]
    scene: Scene,
    /// Only these engines.
    #[arg(long, value_enum, value_delimiter = ',')]
    engines: Vec<EngineName>,
    /// Keys and bytes of a value, as `1000000x100`; several by commas.
    #[arg(long, value_delimiter = ',')]
    shapes: Vec<String>,
}

#[derive(Debug, Args)]
struct Child {
    #[arg(value_enum)]
    engine: EngineName,
    #[arg(value_enum)]
    workload: Workload,
    directory: PathBuf,
    keys: u64,
    value_bytes: usize,
    milliseconds: u64,
    threads: usize,
}

/// An engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EngineName {
    Dunlin,
    Fjall,
    Redb,
    #[cfg(feature = "rocksdb")]
    Rocksdb,
    Bitcask,
    Raw,
}

fn main() {
    match Program::parse().command {
        Command::Compare(Compare { scene, engines, shapes }) => plan::compare(&scene, &engines, &shapes),
        Command::Memory(scene) => plan::memory(&scene),
        Command::Restart(scene) => plan::restart(&scene),
        Command::Space(scene) => space::run(&scene),
        Command::Child(child) => work(child),
    }
}

fn work(child: Child) {
    let Child { engine, workload, directory, keys, value_bytes, milliseconds, threads } = child;
    let task = Task { directory, keys, value_bytes, duration: Duration::from_millis(milliseconds), threads };
    let figures = match engine {
        EngineName::Dunlin => workload::run::<engines::dunlin::Dunlin>(workload, &task),
        EngineName::Fjall => workload::run::<engines::fjall::Fjall>(workload, &task),
        EngineName::Redb => workload::run::<engines::redb::Redb>(workload, &task),
        #[cfg(feature = "rocksdb")]
        EngineName::Rocksdb => workload::run::<engines::rocksdb::Rocks>(workload, &task),
        EngineName::Bitcask => workload::run::<engines::bitcask::Bitcask>(workload, &task),
        EngineName::Raw => workload::run::<engines::raw::Raw>(workload, &task),
    };
    let line = Line { engine: name_of(engine), workload: name_of(workload), keys, value_bytes, figures };
    println!("{}", serde_json::to_string(&line).expect("figures are JSON"));
}

/// The name of a value as the command line has it.
fn name_of(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
