//! P5: a deleted or overwritten value never returns.

use super::{Broken, Shown};
use crate::sim::WriteSet;
use crate::sim::oracle::Oracle;

/// Judges one read: nothing shown was superseded by something else shown, nor, if the read is strict, by
/// a write that it must cover. After the loss of a disk only the latter: see [`Oracle::lost_any`].
pub fn check_resurrected(oracle: &Oracle, shown: &Shown) -> Vec<Broken> {
    let beside = shown.writes.iter().filter(|id| oracle.knows(*id) && !oracle.lost_any());
    let mut dead = oracle.dead(beside);
    if shown.strict {
        dead.union(&oracle.dead(oracle.must_cover(shown.key, shown.reads, shown.begun)));
    }
    returned(&shown.writes, &dead, shown.key, "a read")
}

/// At the end: nothing live was superseded by a live or an acknowledged write; after the loss of a disk,
/// by one whose copies outnumber the losses.
pub fn check_resurrected_at_end(oracle: &Oracle, key: usize, live: &WriteSet) -> Vec<Broken> {
    let acknowledged = oracle.of_key(key).iter().copied().filter(|id| oracle.protected(*id));
    let survivors = acknowledged.chain(live.iter().filter(|id| oracle.knows(*id) && !oracle.lost_any()));
    returned(live, &oracle.dead(survivors), key, "the end")
}

fn returned(live: &WriteSet, dead: &WriteSet, key: usize, place: &str) -> Vec<Broken> {
    live.iter()
        .filter(|id| dead.contains(*id))
        .map(|id| {
            Broken::new("P5 no resurrection", format!("{id:?} of key {key} is superseded; {place} shows {live:?}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::histories::{acknowledged, read, set};
    use super::*;
    use crate::sim::oracle::{Kind, Seen};
    use dunlin::base::Time;

    #[test]
    fn a_value_beside_its_successor_is_reported() {
        let mut oracle = Oracle::new(1, 3);
        let a = acknowledged(&mut oracle, 0, Kind::Put, Seen::Exactly(set(&[])));
        let b = acknowledged(&mut oracle, 10, Kind::Put, Seen::Exactly(set(&[a])));
        assert_eq!(check_resurrected(&oracle, &read(5, &[a])), []);
        assert_eq!(check_resurrected(&oracle, &Shown { strict: false, ..read(5, &[a, b]) }).len(), 1);
        assert_eq!(check_resurrected_at_end(&oracle, 0, &set(&[a, b])).len(), 1);
        assert_eq!(check_resurrected_at_end(&oracle, 0, &set(&[b])), []);
    }

    #[test]
    fn a_lost_disk_excuses_only_what_was_not_acknowledged_widely_enough() {
        let mut oracle = Oracle::new(1, 3);
        let a = acknowledged(&mut oracle, 0, Kind::Put, Seen::Exactly(set(&[])));
        let b = acknowledged(&mut oracle, 10, Kind::Put, Seen::Exactly(set(&[a])));
        oracle.lose_disk(Time(15));
        assert_eq!(check_resurrected(&oracle, &Shown { strict: false, ..read(20, &[a, b]) }), []);
        assert_eq!(check_resurrected(&oracle, &read(20, &[a, b])).len(), 1);
        assert_eq!(check_resurrected_at_end(&oracle, 0, &set(&[a, b])).len(), 1);
        oracle.lose_disk(Time(16));
        assert_eq!(check_resurrected_at_end(&oracle, 0, &set(&[a, b])), []);
    }

    #[test]
    fn a_deleted_value_that_returns_is_reported() {
        let mut oracle = Oracle::new(1, 3);
        let a = acknowledged(&mut oracle, 0, Kind::Put, Seen::Exactly(set(&[])));
        acknowledged(&mut oracle, 10, Kind::Delete, Seen::Exactly(set(&[a])));
        assert_eq!(check_resurrected(&oracle, &read(20, &[a])).len(), 1);
        assert_eq!(check_resurrected(&oracle, &Shown { strict: false, ..read(20, &[a]) }), [], "may be stale");
        assert_eq!(check_resurrected_at_end(&oracle, 0, &set(&[a])).len(), 1);
    }
}
