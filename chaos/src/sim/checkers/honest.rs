//! P11: nothing answered as "not written" ever appears.

use super::Broken;
use crate::sim::WriteSet;
use crate::sim::oracle::{Fate, Oracle};

/// Judges whatever a key showed, to anyone, at any time.
pub fn check_honest(oracle: &Oracle, key: usize, shown: &WriteSet) -> Vec<Broken> {
    shown
        .iter()
        .filter(|id| oracle.knows(*id) && oracle.write(*id).fate == Fate::NotWritten)
        .map(|id| {
            Broken::new("P11 honest errors", format!("{id:?} of key {key} was answered \"not written\" and is live"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::histories::{acknowledged, set};
    use super::*;
    use crate::sim::oracle::{Kind, Seen};
    use dunlin::base::Time;

    #[test]
    fn a_write_that_failed_for_certain_and_shows_up_is_reported() {
        let mut oracle = Oracle::new(1, 3);
        let a = acknowledged(&mut oracle, 0, Kind::Put, Seen::Unknown);
        assert_eq!(check_honest(&oracle, 0, &set(&[a])), []);
        oracle.end(a, Fate::InDoubt, Time(1));
        assert_eq!(check_honest(&oracle, 0, &set(&[a])), []);
        oracle.end(a, Fate::NotWritten, Time(1));
        assert_eq!(check_honest(&oracle, 0, &set(&[a])).len(), 1);
    }
}
