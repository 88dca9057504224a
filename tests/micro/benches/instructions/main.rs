//! How many instructions one operation takes: `cargo bench -p micro --bench instructions`.
//!
//! ```text
//!  this program --+-- valgrind: this program, a case, few operations   --+
//!                 +-- valgrind: the same, so many more                 --+-- difference / so many --> table, counts.json
//! ```
//!
//! What the surroundings of a case cost is in both runs and cancels out. A count says nothing of misses of caches and
//! of the kernel's work, but a busy machine does not change it.

mod counts;
mod valgrind;

use clap::Parser;
use counts::{Counts, Toolchain};
use micro::{Case, cases};
use std::collections::BTreeMap;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(about = "Instructions of one operation, beside those last accepted")]
struct Arguments {
    /// Only cases with this in their name.
    filter: Option<String>,
    /// One document of JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// From now on compare with what is counted now: writes tests/micro/counts.json.
    #[arg(long, conflicts_with = "filter")]
    accept: bool,
    /// Do so many operations of the case with exactly this name, and nothing else: for a profiler.
    #[arg(long, requires = "filter")]
    operations: Option<u32>,
    /// What cargo says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match (arguments.operations, &arguments.filter) {
        (Some(operations), Some(label)) => operate(label, operations),
        _ => count(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn operate(wanted: &str, operations: u32) -> Result<(), String> {
    let case = cases().find(|case| case.label() == wanted).ok_or_else(|| format!("no case is called {wanted}"))?;
    let mut operation = case.prepare();
    (0..operations).for_each(|_| operation());
    Ok(())
}

fn count(arguments: &Arguments) -> Result<(), String> {
    let toolchain = Toolchain::present()?;
    let accepted = Counts::accepted()?;
    let wanted = |case: &&Case| arguments.filter.as_ref().is_none_or(|filter| case.label().contains(filter));
    if !arguments.json {
        toolchain.differences(&accepted.toolchain).for_each(|difference| println!("{difference}"));
        println!("{:<52} {:>13} {:>13}", "instructions of", "now", "accepted");
    }
    let mut instructions = BTreeMap::new();
    for case in cases().filter(wanted) {
        let (label, now) = (case.label(), valgrind::instructions(case)?);
        if !arguments.json {
            println!("{}", counts::row(&label, now, accepted.instructions.get(&label).copied()));
        }
        instructions.insert(label, now);
    }
    if instructions.is_empty() {
        return Err("no case has that in its name".to_owned());
    }
    let counts = Counts { toolchain, instructions };
    if arguments.json {
        println!("{}", counts.json()?);
    } else {
        println!("{}", counts.verdict(&accepted));
    }
    if arguments.accept { counts.accept() } else { Ok(()) }
}
