//! Floor 6: the command line.
//!
//! Owns: commands, what they print, their exit status; how clusters are born (`cluster init`) and how a
//! whole one runs on one machine (`dev`). Must not know: what happens inside a node: it starts
//! `runtime::server` or talks HTTP like anybody else. Invariant: standard output carries only what a
//! program may want to read; everything for people is on standard error.
//!
//! A command is a struct of arguments with a `run`, in a file of its own, and a line in [`Command`].

mod backup;
mod bench;
mod block_on;
mod certs;
mod client;
mod cluster;
mod dev;
mod exit;
pub mod export;
pub mod import;
mod inspect;
pub mod kv;
mod logging;
mod overrides;
pub mod pages;
mod pid_file;
mod serve;
mod shutdown;

use clap::{Parser, Subcommand};
use exit::ExitStatus;
use std::process::ExitCode;

/// Commands that talk to a cluster as a client: their exit statuses are API.md's, also for a wrong call.
const CLIENT_COMMANDS: &[&str] = &["put", "get", "delete", "list", "export", "import"];

/// A leaderless key-value store: always writeable, never silently lost, spoken to with curl.
#[derive(Parser)]
#[command(name = "dunlin", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Dev(dev::Dev),
    Serve(serve::Serve),
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    #[command(subcommand)]
    Certs(certs::CertsCommand),
    Put(kv::PutArgs),
    Get(kv::GetArgs),
    Delete(kv::DeleteArgs),
    List(export::ListArgs),
    Export(export::ExportArgs),
    Import(import::ImportArgs),
    Inspect(inspect::Inspect),
    Backup(backup::Backup),
    Bench(Box<bench::Bench>),
}

/// Runs the command the process was started with.
pub fn main() -> ExitCode {
    let command = match CommandLine::try_parse() {
        Ok(line) => line.command,
        Err(error) => return not_parsed(&error).into(),
    };
    let result = match command {
        Command::Dev(dev) => dev.run(),
        Command::Serve(serve) => serve.run(),
        Command::Cluster(command) => command.run(),
        Command::Certs(command) => command.run(),
        Command::Put(args) => return client::put(&args),
        Command::Get(args) => return client::get(&args),
        Command::Delete(args) => return client::delete(&args),
        Command::List(args) => return client::list(&args),
        Command::Export(args) => return client::export(&args),
        Command::Import(args) => return client::import(&args),
        Command::Inspect(inspect) => inspect.run(),
        Command::Backup(backup) => backup.run(),
        Command::Bench(bench) => bench.run(),
    };
    match result {
        Ok(()) => ExitStatus::OK.into(),
        Err(failure) => {
            eprintln!("dunlin: {failure}");
            failure.status.into()
        }
    }
}

/// Prints help, version or what is wrong with the call.
fn not_parsed(error: &clap::Error) -> ExitStatus {
    // A closed standard output or error leaves nobody to tell.
    let _ = error.print();
    let client = std::env::args().nth(1).is_some_and(|command| CLIENT_COMMANDS.contains(&command.as_str()));
    match (error.use_stderr(), client) {
        (false, _) => ExitStatus::OK,
        (true, true) => ExitStatus::CLIENT_FAILED,
        (true, false) => ExitStatus::USAGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
