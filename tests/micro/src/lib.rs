//! One operation of each hot part of Dunlin, to be repeated: `benches/time.rs` says how long it takes,
//! `benches/instructions/` how many instructions (docs/benchmarks.md).

pub mod causal;
mod cluster;
pub mod codec;
pub mod node;
pub mod placement;
mod samples;
pub mod store;
pub mod transport;

use std::fmt;
use std::hint::black_box;

/// An operation, its surroundings within. It leaves them as it found them, or the same to its own next call, so
/// that the thousandth costs what the first did.
pub type Operation = Box<dyn FnMut()>;

/// What is measured.
#[derive(Debug)]
pub struct Case {
    /// Whose cost it is: a module of this crate.
    pub group: &'static str,
    /// What one operation does.
    pub name: &'static str,
    /// Operations that one count of instructions is the mean of: enough that what happens now and then, the growth
    /// of a table, has its share.
    pub rounds: u32,
    prepare: fn() -> Operation,
}

impl Case {
    /// Makes the surroundings; nothing of that belongs to the operation.
    pub fn prepare(&self) -> Operation {
        (self.prepare)()
    }

    /// Its name among those of all groups.
    pub fn label(&self) -> String {
        format!("{}, {}", self.group, self.name)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// All cases.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    [causal::CASES, store::CASES, codec::CASES, placement::CASES, transport::CASES, node::CASES].into_iter().flatten()
}

/// An operation of a closure. What it returns counts as used, and dropping it is part of the operation.
fn operation<T>(mut once: impl FnMut() -> T + 'static) -> Operation {
    Box::new(move || drop(black_box(once())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_case_can_be_repeated() {
        for case in cases() {
            let mut operation = case.prepare();
            (0..3).for_each(|_| operation());
        }
    }

    #[test]
    fn every_case_has_a_name_of_its_own() {
        let names: BTreeSet<_> = cases().map(Case::label).collect();
        assert_eq!(names.len(), cases().count());
    }
}
