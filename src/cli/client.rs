//! Runs the commands that talk to a cluster as a client.

use super::block_on::block_on;
use super::exit::ExitStatus;
use super::kv::{self, DeleteArgs, Exit, GetArgs, Output, PutArgs};
use std::io;
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

fn run(command: impl Future<Output = io::Result<Exit>>) -> ExitCode {
    match block_on(command).and_then(|exit| exit) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(error) => {
            eprintln!("dunlin: {error}");
            ExitStatus::CLIENT_FAILED.into()
        }
    }
}
