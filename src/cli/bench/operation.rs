//! What is asked of the cluster, and in which proportions.

use crate::base::Random;
use std::str::FromStr;

/// One kind of request, or a pair that belongs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    /// GET of a key that exists.
    Read,
    /// PUT over a key that exists.
    Update,
    /// PUT of a key that does not exist yet.
    Insert,
    /// GET, then PUT with its context; timed as one.
    ReadModifyWrite,
    /// A listing from a key on.
    Scan,
    /// DELETE of a key.
    Delete,
}

/// Weights of operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mix(Vec<(Operation, u32)>);

/// Every operation, in the order of reports.
pub(super) const OPERATIONS: [Operation; 6] = [
    Operation::Read,
    Operation::Update,
    Operation::Insert,
    Operation::ReadModifyWrite,
    Operation::Scan,
    Operation::Delete,
];

impl Operation {
    /// Its name on the command line and in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Operation::Read => "read",
            Operation::Update => "update",
            Operation::Insert => "insert",
            Operation::ReadModifyWrite => "read-modify-write",
            Operation::Scan => "scan",
            Operation::Delete => "delete",
        }
    }
}

impl Mix {
    /// One operation alone.
    pub(super) fn only(operation: Operation) -> Mix {
        Mix(vec![(operation, 1)])
    }

    /// Draws the next operation.
    pub(super) fn draw(&self, random: &mut Random) -> Operation {
        let mut left = random.below(self.0.iter().map(|(_, weight)| u64::from(*weight)).sum());
        for (operation, weight) in &self.0 {
            match left.checked_sub(u64::from(*weight)) {
                Some(rest) => left = rest,
                None => return *operation,
            }
        }
        Operation::Read
    }

    /// Is this operation ever drawn?
    pub(super) fn has(&self, operation: Operation) -> bool {
        self.0.iter().any(|(other, weight)| *other == operation && *weight > 0)
    }

    /// As it is written on the command line.
    pub(super) fn text(&self) -> String {
        let parts: Vec<String> =
            self.0.iter().map(|(operation, weight)| format!("{}={weight}", operation.name())).collect();
        parts.join(",")
    }
}

impl FromStr for Mix {
    type Err = String;

    /// `read=95,update=5`: weights, not necessarily percentages.
    fn from_str(text: &str) -> Result<Mix, String> {
        let mut mix = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').ok_or_else(|| format!("{part:?} is not OPERATION=WEIGHT"))?;
            let operation = OPERATIONS.into_iter().find(|operation| operation.name() == name.trim());
            let operation = operation.ok_or_else(|| format!("{name:?} is none of: {}", names()))?;
            let weight = weight.trim().parse::<u32>().map_err(|_| format!("{weight:?} is no whole number"))?;
            mix.push((operation, weight));
        }
        if mix.iter().all(|(_, weight)| *weight == 0) {
            return Err("at least one weight must be above 0".into());
        }
        Ok(Mix(mix))
    }
}

fn names() -> String {
    OPERATIONS.map(Operation::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_drawn_in_its_proportions() {
        let mix: Mix = "read=3,update=1".parse().unwrap();
        let mut random = Random::from_seed(1);
        let reads = (0..4000).filter(|_| mix.draw(&mut random) == Operation::Read).count();
        assert!((2800..3200).contains(&reads), "{reads}");
        assert!(mix.has(Operation::Update) && !mix.has(Operation::Scan));
        assert_eq!(mix.text(), "read=3,update=1");
    }

    #[test]
    fn a_bad_mix_says_what_is_allowed() {
        let refused = |text: &str| text.parse::<Mix>().unwrap_err();
        assert!(refused("reed=1").contains("read, update, insert, read-modify-write, scan, delete"));
        assert!(refused("read").contains("OPERATION=WEIGHT"));
        assert!(refused("read=0").contains("above 0"));
        assert!(refused("read=x").contains("whole number"));
    }
}
