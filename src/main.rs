//! The one binary: everything is in `dunlin::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dunlin::cli::main()
}
