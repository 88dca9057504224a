//! Floor 6: the command line.
//!
//! Owns: commands, what they print, their exit status; how clusters are born (`cluster init`) and how a
//! whole one runs on one machine (`dev`). Must not know: what happens inside a node: it starts
//! `runtime::server` or talks HTTP like anybody else. Invariant: standard output carries only what a
//! program may want to read; everything for people is on standard error.
//!
//! A command is a struct of arguments with a `run`, in a file of its own, and a line in [`Command`].

mod block_on;
mod certs;
mod cluster;
mod dev;
mod exit;
pub mod kv;
mod logging;
mod overrides;
mod pid_file;
mod serve;
mod shutdown;

use block_on::block_on;
use clap::{Parser, Subcommand};
use exit::{ExitStatus, Failure};
use std::io;
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
    /// Write a value. Exit status: 0 done, 3 failed
    Put(kv::PutArgs),
    /// Read a value to standard output. Exit status: 0 done, 1 no value, 2 several values, 3 failed
    Get(kv::GetArgs),
    /// Delete a key, also one that has no value. Exit status: 0 done, 3 failed
    Delete(kv::DeleteArgs),
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    #[command(subcommand)]
    Certs(certs::CertsCommand),
}

/// Runs the command the process was started with.
pub fn main() -> ExitCode {
    let command = match CommandLine::try_parse() {
        Ok(line) => line.command,
        Err(error) => return not_parsed(&error).into(),
    };
    match command.run() {
        Ok(status) => status.into(),
        Err(failure) => {
            eprintln!("dunlin: {failure}");
            failure.status.into()
        }
    }
}

impl Command {
    fn run(self) -> Result<ExitStatus, Failure> {
        let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
        let output = kv::Output { stdout: &mut stdout, stderr: &mut stderr };
        let done = match self {
            Command::Put(args) => return client(kv::put(&args, &mut io::stdin(), output)),
            Command::Get(args) => return client(kv::get(&args, output)),
            Command::Delete(args) => return client(kv::delete(&args, output)),
            Command::Dev(dev) => dev.run(),
            Command::Serve(serve) => serve.run(),
            Command::Cluster(command) => command.run(),
            Command::Certs(command) => command.run(),
        };
        done.map(|()| ExitStatus::OK)
    }
}

/// Runs a command about a key; its own failures are told already.
fn client(command: impl Future<Output = io::Result<kv::Exit>>) -> Result<ExitStatus, Failure> {
    let ended = block_on(command)?;
    // Nobody reads what was asked for: a pipe that closed early, a full disk.
    let status = ended.map_or(ExitStatus::CLIENT_FAILED, |exit| ExitStatus::from_code(exit.code()));
    Ok(status)
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
