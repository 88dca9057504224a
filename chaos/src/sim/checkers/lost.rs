//! P1, P2: an acknowledged value goes only because a client superseded it.

use super::Broken;
use crate::sim::WriteSet;
use crate::sim::oracle::{Kind, Oracle};
use dunlin::base::Time;

/// At the end, when replicas agree: every acknowledged value of the key is live, or was superseded by a
/// chain of writes that had seen it and ends in a live value or a delete.
pub fn check_lost(oracle: &Oracle, key: usize, live: &WriteSet) -> Vec<Broken> {
    let accounted = oracle.accounted(key, live, Time::NEVER);
    let acknowledged = oracle.of_key(key).iter().copied().filter(|id| oracle.protected(*id));
    let values = acknowledged.filter(|id| oracle.write(*id).kind == Kind::Put);
    values
        .filter(|id| !accounted.contains(*id))
        .map(|id| Broken::new("P2 no silent loss", format!("{id:?} of key {key} was acknowledged; live are {live:?}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::histories::{acknowledged, set};
    use super::*;
    use crate::sim::oracle::Seen;

    #[test]
    fn a_vanished_value_that_nobody_had_seen_is_reported() {
        let mut oracle = Oracle::new(1, 3);
        let a = acknowledged(&mut oracle, 0, Kind::Put, Seen::Exactly(set(&[])));
        let b = acknowledged(&mut oracle, 5, Kind::Put, Seen::Exactly(set(&[])));
        assert_eq!(check_lost(&oracle, 0, &set(&[a, b])), []);
        assert_eq!(check_lost(&oracle, 0, &set(&[b])).len(), 1);
        assert_eq!(check_lost(&oracle, 0, &set(&[])).len(), 2);
    }

    #[test]
    fn a_delete_of_something_else_is_no_excuse() {
        let mut oracle = Oracle::new(1, 3);
        let a = acknowledged(&mut oracle, 0, Kind::Put, Seen::Exactly(set(&[])));
        let b = acknowledged(&mut oracle, 5, Kind::Put, Seen::Exactly(set(&[])));
        acknowledged(&mut oracle, 9, Kind::Delete, Seen::Exactly(set(&[a])));
        assert_eq!(check_lost(&oracle, 0, &set(&[b])), []);
        assert_eq!(check_lost(&oracle, 0, &set(&[])).len(), 1);
    }
}
