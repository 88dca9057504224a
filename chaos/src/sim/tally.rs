//! "Sometimes" counters: what a range of seeds has seen at least once, and how often.

use std::collections::BTreeMap;
use std::fmt;

/// Counts by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<String, u64>);

impl Tally {
    /// Counts one.
    pub fn count(&mut self, name: &str) {
        self.add(name, 1);
    }

    /// Counts `more`.
    pub fn add(&mut self, name: &str, more: u64) {
        match self.0.get_mut(name) {
            Some(count) => *count += more,
            None => {
                self.0.insert(name.into(), more);
            }
        }
    }

    /// How often `name` was counted.
    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Adds another run's counts.
    pub fn merge(&mut self, other: &Tally) {
        other.0.iter().for_each(|(name, count)| self.add(name, *count));
    }

    /// Names of `expected` that were never counted.
    pub fn never<'a>(&self, expected: &[&'a str]) -> Vec<&'a str> {
        expected.iter().copied().filter(|name| self.of(name) == 0).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, count)| writeln!(f, "  {count:>12}  {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_gaps_show() {
        let (mut a, mut b) = (Tally::default(), Tally::default());
        a.count("crash");
        b.add("crash", 2);
        a.merge(&b);
        assert_eq!(a.of("crash"), 3);
        assert_eq!(a.never(&["crash", "wipe"]), ["wipe"]);
    }
}
