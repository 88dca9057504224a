//! The instructions of a process, counted by valgrind's cachegrind.

use micro::Case;
use std::fs;
use std::io::ErrorKind;
use std::process::{Command, Output};

/// Operations of the shorter run: after them everything that is made at the first use is made.
const FEW: u32 = 4;

/// Instructions of one operation, the mean of [`Case::rounds`].
pub(crate) fn instructions(case: &Case) -> Result<u64, String> {
    let few = instructions_of_run(case, FEW)?;
    let many = instructions_of_run(case, FEW + case.rounds)?;
    let rounds = u64::from(case.rounds);
    Ok((many.saturating_sub(few) + rounds / 2) / rounds)
}

/// Valgrind's version, if it is there.
pub(crate) fn version() -> Result<String, String> {
    let output = output_of(Command::new("valgrind").arg("--version"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn instructions_of_run(case: &Case, operations: u32) -> Result<u64, String> {
    let directory = tempfile::tempdir().map_err(|error| format!("no temporary directory: {error}"))?;
    let (counted, program) = (directory.path().join("counted"), std::env::current_exe());
    let mut command = Command::new("valgrind");
    command
        .args(["--quiet", "--tool=cachegrind", "--cache-sim=no", "--branch-sim=no"])
        .arg(format!("--cachegrind-out-file={}", counted.display()))
        .arg(program.map_err(|error| format!("where this program is cannot be told: {error}"))?)
        .args([&case.label(), "--operations", &operations.to_string()]);
    output_of(&mut command)?;
    let text = fs::read_to_string(&counted).map_err(|error| format!("valgrind has written nothing: {error}"))?;
    let summary = text.lines().find_map(|line| line.strip_prefix("summary:"));
    let total = summary.and_then(|total| total.trim().parse().ok());
    total.ok_or_else(|| "valgrind's file has no summary of one number: its format has changed".to_owned())
}

fn output_of(command: &mut Command) -> Result<Output, String> {
    let output = command.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => "valgrind is not installed; on Debian and Ubuntu: apt-get install valgrind".to_owned(),
        _ => format!("valgrind does not start: {error}"),
    })?;
    let said = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(output) } else { Err(format!("valgrind failed ({}): {}", output.status, said())) }
}
