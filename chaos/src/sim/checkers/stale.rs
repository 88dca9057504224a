//! P3: a strict read begun after the acknowledgement of a strict write covers it, if R+W>N.

use super::{Broken, Shown};
use crate::sim::oracle::{Kind, Oracle};

/// Judges one read when it is answered: every write it must cover is shown or superseded.
pub fn check_stale(oracle: &Oracle, shown: &Shown) -> Vec<Broken> {
    if !shown.strict {
        return Vec::new();
    }
    let mut must =
        oracle.must_cover(shown.key, shown.reads, shown.begun).filter(|id| !shown.writes.contains(*id)).peekable();
    if must.peek().is_none() {
        return Vec::new();
    }
    let accounted = oracle.accounted(shown.key, &shown.writes, shown.ended);
    must.filter(|id| oracle.write(*id).kind == Kind::Put && !accounted.contains(*id))
        .map(|id| {
            let what =
                format!("{id:?} of key {} was acknowledged before the read; it showed {:?}", shown.key, shown.writes);
            Broken::new("P3 read your writes", what)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::histories::{acknowledged, read, set};
    use super::*;
    use crate::sim::oracle::Seen;

    #[test]
    fn a_read_that_misses_an_earlier_write_is_reported() {
        let mut oracle = Oracle::new(1, 3);
        let a = acknowledged(&mut oracle, 0, Kind::Put, Seen::Exactly(set(&[])));
        let b = acknowledged(&mut oracle, 10, Kind::Put, Seen::Exactly(set(&[a])));
        assert_eq!(check_stale(&oracle, &read(20, &[b])), []);
        assert_eq!(check_stale(&oracle, &read(20, &[a])).len(), 1);
        assert_eq!(check_stale(&oracle, &read(20, &[])).len(), 2);
        assert_eq!(check_stale(&oracle, &read(5, &[a])), [], "b was not acknowledged yet");
    }

    #[test]
    fn what_is_not_promised_is_not_demanded() {
        let mut oracle = Oracle::new(1, 3);
        acknowledged(&mut oracle, 0, Kind::Put, Seen::Exactly(set(&[])));
        assert_eq!(check_stale(&oracle, &Shown { strict: false, ..read(20, &[]) }), []);
        assert_eq!(check_stale(&oracle, &Shown { reads: 1, ..read(20, &[]) }), []);
    }
}
