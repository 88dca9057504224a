//! P3 and P7 for listings: what is there is on the page, and nothing else is.

use super::{Broken, Shown, check_stale};
use crate::sim::WriteSet;
use crate::sim::oracle::{Fate, Kind, Oracle};
use dunlin::base::{Key, Time};
use dunlin::store::{KeyPage, KeyQuery, Reach};

/// What a successful listing showed.
#[derive(Debug)]
pub struct Listed<'a> {
    /// What was asked for.
    pub query: &'a KeyQuery,
    /// The answer.
    pub page: &'a KeyPage,
    /// How many replicas of each partition were asked for.
    pub reads: usize,
    /// When it was sent.
    pub begun: Time,
    /// When it was answered.
    pub ended: Time,
}

/// Judges a page: a key that it passes over is judged as a strict read that shows nothing, and one that it names must
/// have been written.
pub fn check_listed(oracle: &Oracle, keys: &[Key], listed: &Listed<'_>) -> Vec<Broken> {
    let Listed { query, page, reads, begun, ended } = *listed;
    let mut broken = Vec::new();
    let asked_for = |key: &Key| key.as_bytes().starts_with(&query.prefix) && key.as_bytes() >= query.from.as_ref();
    let reached = |key: &Key| match &page.reach {
        Reach::Through(last) => key <= last,
        Reach::End => true,
    };
    let wrong = page.keys.iter().any(|key| !asked_for(key) || !reached(key)) || !page.keys.is_sorted_by(|a, b| a < b);
    if wrong || page.keys.len() > query.limit {
        broken.push(Broken::new("listings are in order", format!("{query:?} is answered {page:?}")));
    }
    if page.keys.iter().any(|key| !keys.contains(key)) {
        broken.push(Broken::new("P7 no corrupt bytes", format!("a page names a key that nobody wrote: {page:?}")));
    }
    for (number, key) in keys.iter().enumerate() {
        if page.keys.contains(key) {
            let may_be = |id: &crate::sim::WriteId| {
                let write = oracle.write(*id);
                write.kind == Kind::Put && write.fate != Fate::NotWritten && write.invoked <= ended
            };
            if !oracle.of_key(number).iter().any(may_be) {
                broken.push(Broken::new("P7 no corrupt bytes", format!("key {number} is listed and was never put")));
            }
        } else if asked_for(key) && reached(key) {
            let shown = Shown { key: number, writes: WriteSet::default(), reads, strict: true, begun, ended };
            broken.extend(check_stale(oracle, &shown));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::super::histories::{acknowledged, set};
    use super::*;
    use crate::sim::oracle::Seen;

    fn key(text: &'static str) -> Key {
        Key::new(text).unwrap()
    }

    fn judged(oracle: &Oracle, begun: u64, names: &[&'static str], reach: Reach) -> usize {
        let query = KeyQuery { prefix: "k".into(), from: "k1".into(), limit: 2 };
        let page = KeyPage { keys: names.iter().map(|name| key(name)).collect(), reach };
        let listed = Listed { query: &query, page: &page, reads: 2, begun: Time(begun), ended: Time(begun + 1) };
        check_listed(oracle, &[key("k1"), key("k2")], &listed).len()
    }

    #[test]
    fn a_page_that_passes_over_what_was_acknowledged_is_reported() {
        let mut oracle = Oracle::new(2, 3);
        let put = acknowledged(&mut oracle, 0, Kind::Put, Seen::Exactly(set(&[])));
        assert_eq!(judged(&oracle, 9, &["k1"], Reach::End), 0);
        assert_eq!(judged(&oracle, 9, &[], Reach::End), 1);
        assert_eq!(judged(&oracle, 9, &[], Reach::Through(key("k0"))), 0, "it does not come that far");
        assert_eq!(judged(&oracle, 0, &[], Reach::End), 0, "it was not acknowledged yet");
        acknowledged(&mut oracle, 20, Kind::Delete, Seen::Exactly(set(&[put])));
        assert_eq!(judged(&oracle, 30, &[], Reach::End), 0);
    }

    #[test]
    fn a_page_with_what_was_never_written_or_out_of_order_is_reported() {
        let mut oracle = Oracle::new(2, 3);
        acknowledged(&mut oracle, 0, Kind::Put, Seen::Exactly(set(&[])));
        assert_eq!(judged(&oracle, 9, &["k1", "k2"], Reach::End), 1);
        assert_eq!(judged(&oracle, 9, &["k1", "kx"], Reach::End), 1);
        assert_eq!(judged(&oracle, 9, &["k1", "k1"], Reach::End), 1);
        assert_eq!(judged(&oracle, 9, &["k1"], Reach::Through(key("k0"))), 1);
    }
}
