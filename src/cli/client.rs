//! Runs the commands that talk to a cluster as a client.

use super::block_on::block_on;
use super::exit::ExitStatus;
use super::export::{self, ExportArgs, ListArgs};
use super::import::{self, ImportArgs};
use super::kv::{self, DeleteArgs, Exit, GetArgs, Output, PutArgs};
use std::fs::File;
use std::io::{self, BufReader};
use std::process::ExitCode;

/// `dunlin put`
pub(super) fn put(args: &PutArgs) -> ExitCode {
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let output = Output { stdout: &mut stdout, stderr: &mut stderr };
    run(async { kv::put(args, &mut io::stdin(), output).await })
}

/// `dunlin get`
pub(super) fn get(args: &GetArgs) -> ExitCode {
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    run(kv::get(args, Output { stdout: &mut stdout, stderr: &mut stderr }))
}

/// `dunlin delete`
pub(super) fn delete(args: &DeleteArgs) -> ExitCode {
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    run(kv::delete(args, Output { stdout: &mut stdout, stderr: &mut stderr }))
}

/// `dunlin list`
pub(super) fn list(args: &ListArgs) -> ExitCode {
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    run(export::list(args, Output { stdout: &mut stdout, stderr: &mut stderr }))
}

/// `dunlin export`
pub(super) fn export(args: &ExportArgs) -> ExitCode {
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    run(export::export(args, Output { stdout: &mut stdout, stderr: &mut stderr }))
}

/// `dunlin import`
pub(super) fn import(args: &ImportArgs) -> ExitCode {
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let output = Output { stdout: &mut stdout, stderr: &mut stderr };
    run(async {
        if args.file == "-" {
            return import::import(args, &mut BufReader::new(io::stdin()), output).await;
        }
        import::import(args, &mut BufReader::new(File::open(&args.file)?), output).await
    })
}

fn run(command: impl Future<Output = io::Result<Exit>>) -> ExitCode {
    match block_on(command).and_then(|exit| exit) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            eprintln!("dunlin: {error}");
            ExitStatus::CLIENT_FAILED.into()
        }
    }
}
