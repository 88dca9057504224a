//! How a run ended, for people.

use super::checkers::Broken;
use super::tally::Tally;
use std::fmt;

/// One run.
#[derive(Debug, Clone)]
pub struct Report {
    /// What it was made from.
    pub seed: u64,
    /// What did not hold; nothing if all did.
    pub broken: Vec<Broken>,
    /// Hash of the whole trace: the same for the same seed and the same program.
    pub trace_hash: u64,
    /// How many events.
    pub events: u64,
    /// Requests that succeeded.
    pub succeeded: u64,
    /// What happened how often.
    pub tally: Tally,
    /// The last events, a line each.
    pub last: Vec<String>,
    /// What the run was made of.
    pub swarm: String,
}

/// How many violations of one run are shown: the first ones tell, the others follow from them.
const SHOWN_VIOLATIONS: usize = 5;

impl Report {
    /// Every promise held.
    pub fn held(&self) -> bool {
        self.broken.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { seed, events, succeeded, trace_hash, .. } = self;
        if self.held() {
            return write!(f, "seed {seed}: held; {events} events, {succeeded} successes, trace {trace_hash:016x}");
        }
        writeln!(f, "{}", self.swarm)?;
        writeln!(f, "last events:")?;
        self.last.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        writeln!(f, "seed {seed}: BROKEN after {events} events, trace {trace_hash:016x}")?;
        for Broken { promise, what } in self.broken.iter().take(SHOWN_VIOLATIONS) {
            writeln!(f, "  {promise}: {what}")?;
        }
        write!(f, "replay: cargo run --release -p chaos -- sim --seed {seed} --loud")
    }
}
