//! How many crash states were judged, by what was interrupted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Counts of states by step and by what the interrupted call was about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct States {
    counts: BTreeMap<(&'static str, &'static str), u64>,
    total: u64,
    /// Scripts played to their end.
    pub scripts: u64,
}

impl States {
    /// One more.
    pub fn count(&mut self, step: &'static str, place: &'static str) {
        *self.counts.entry((step, place)).or_default() += 1;
        self.total += 1;
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Those of one step.
    pub fn of_step(&self, step: &str) -> u64 {
        self.counts.iter().filter(|((of, _), _)| *of == step).map(|(_, count)| count).sum()
    }

    /// Those in whose step a call about this was interrupted.
    pub fn of_place(&self, place: &str) -> u64 {
        self.counts.iter().filter(|((_, of), _)| *of == place).map(|(_, count)| count).sum()
    }
}

impl fmt::Display for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: BTreeSet<&str> = self.counts.keys().map(|(step, _)| *step).collect();
        let places: BTreeSet<&str> = self.counts.keys().map(|(_, place)| *place).collect();
        write!(f, "{:<32}{:>9}", "the power went in", "states")?;
        places.iter().try_for_each(|place| write!(f, "{place:>11}"))?;
        for step in steps {
            write!(f, "\n{step:<32}{:>9}", self.of_step(step))?;
            for place in &places {
                let count = self.counts.iter().find(|((s, p), _)| *s == step && p == place).map(|(_, count)| *count);
                write!(f, "{:>11}", count.map_or(String::new(), |count| count.to_string()))?;
            }
        }
        write!(f, "\n{:<32}{:>9}", "all", self.total)?;
        places.iter().try_for_each(|place| write!(f, "{:>11}", self.of_place(place)))
    }
}
