//! R13: plain writes one after the other do not conflict while the primaries can be reached.

use super::{Broken, Shown};
use crate::sim::WriteId;
use crate::sim::oracle::{Fate, Oracle, Seen};

/// Judges one read of a cluster without faults: of two values shown, neither is a plain write sent after
/// the other was acknowledged.
pub fn check_siblings(oracle: &Oracle, shown: &Shown) -> Vec<Broken> {
    let live: Vec<WriteId> = shown.writes.iter().filter(|id| oracle.knows(*id)).collect();
    let pairs = live.iter().flat_map(|older| live.iter().map(move |newer| (*older, *newer)));
    pairs
        .filter(|(older, newer)| must_supersede(oracle, *older, *newer))
        .map(|(older, newer)| {
            let what =
                format!("plain {newer:?} of key {} began after {older:?} was acknowledged; both live", shown.key);
            Broken::new("R13 no false siblings", what)
        })
        .collect()
}

fn must_supersede(oracle: &Oracle, older: WriteId, newer: WriteId) -> bool {
    let (first, second) = (oracle.write(older), oracle.write(newer));
    let plain = !matches!(second.seen, Seen::Exactly(_));
    let met = first.copies + second.reads > oracle.replicas() && first.strict;
    plain && met && first.fate == Fate::Acknowledged && first.ended <= second.invoked && older != newer
}

#[cfg(test)]
mod tests {
    use super::super::histories::{acknowledged, read, set};
    use super::*;
    use crate::sim::oracle::Kind;

    #[test]
    fn plain_writes_in_sequence_that_conflict_are_reported() {
        let mut oracle = Oracle::new(1, 3);
        let a = acknowledged(&mut oracle, 0, Kind::Put, Seen::Unknown);
        let b = acknowledged(&mut oracle, 10, Kind::Put, Seen::Unknown);
        assert_eq!(check_siblings(&oracle, &read(20, &[a, b])).len(), 1);
        assert_eq!(check_siblings(&oracle, &read(20, &[b])), []);
    }

    #[test]
    fn concurrent_writes_and_stale_tokens_may_conflict() {
        let mut oracle = Oracle::new(1, 3);
        let a = acknowledged(&mut oracle, 0, Kind::Put, Seen::Unknown);
        let b = acknowledged(&mut oracle, 0, Kind::Put, Seen::Unknown);
        let c = acknowledged(&mut oracle, 10, Kind::Put, Seen::Exactly(set(&[])));
        assert_eq!(check_siblings(&oracle, &read(20, &[a, b, c])), []);
    }
}
