//! Which key a recent dot belongs to: how an exchange finds what a peer lacks.

use crate::base::Key;
use crate::causal::{Actor, Dot};
use std::collections::{BTreeMap, VecDeque};

/// Most recent dots remembered per partition. Beyond it the oldest are forgotten, and an exchange that misses them
/// falls back to a full listing: 1,024 dots of keys of 16 bytes are 0.1 MiB per busy partition.
const MAX_RECENT_DOTS: usize = 1024;

/// An actor's counters, lowest first, with the bytes of their keys.
type Row = VecDeque<(u64, Box<[u8]>)>;

/// The dots that came last, with their keys. An actor's dots come nearly in order: they lie in a row, and keys are
/// copied into it, for shared ones would keep alive what they were cut from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecentDots {
    rows: BTreeMap<Actor, Row>,
    /// In order of arrival, oldest first.
    arrivals: VecDeque<Dot>,
}

impl RecentDots {
    /// The key a dot belongs to, if that is remembered.
    pub fn key_of(&self, dot: Dot) -> Option<Key> {
        let row = self.rows.get(&dot.actor)?;
        let (_, key) = row.get(row.binary_search_by_key(&dot.counter, |(counter, _)| *counter).ok()?)?;
        Key::new(key.to_vec()).ok()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.arrivals.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// Remembers the newest.
    pub(super) fn arrived(&mut self, dot: Dot, key: &Key) {
        // Room first: a full row would grow to twice its size for one dot more.
        self.forget(MAX_RECENT_DOTS - 1);
        if self.insert(dot, key) {
            self.arrivals.push_back(dot);
        }
    }

    /// Remembers one that is older than all others, while there is room.
    pub(super) fn recall(&mut self, dot: Dot, key: &Key) {
        if self.arrivals.len() < MAX_RECENT_DOTS && self.insert(dot, key) {
            self.arrivals.push_front(dot);
        }
    }

    /// Forgets the oldest above `limit`.
    pub(super) fn forget(&mut self, limit: usize) {
        while self.arrivals.len() > limit {
            let Some(Dot { actor, counter }) = self.arrivals.pop_front() else { return };
            let Some(row) = self.rows.get_mut(&actor) else { continue };
            if let Ok(at) = row.binary_search_by_key(&counter, |(counter, _)| *counter) {
                row.remove(at);
            }
            if row.is_empty() {
                self.rows.remove(&actor);
            }
        }
    }

    /// Was it not there?
    fn insert(&mut self, dot: Dot, key: &Key) -> bool {
        let row = self.rows.entry(dot.actor).or_default();
        let at = match row.back() {
            Some((last, _)) if *last >= dot.counter => row.binary_search_by_key(&dot.counter, |(counter, _)| *counter),
            _ => Err(row.len()),
        };
        if let Err(at) = at {
            row.insert(at, (dot.counter, key.as_bytes().into()));
        }
        at.is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Random;

    fn key_for(dot: Dot) -> Key {
        Key::new(format!("key-{}-{}", dot.actor.0, dot.counter)).unwrap()
    }

    /// A map and a queue, as plainly as can be.
    #[derive(Default)]
    struct Plain {
        keys: BTreeMap<Dot, Key>,
        arrivals: VecDeque<Dot>,
    }

    impl Plain {
        fn forget(&mut self, limit: usize) {
            while self.arrivals.len() > limit {
                let oldest = self.arrivals.pop_front().unwrap();
                self.keys.remove(&oldest);
            }
        }
    }

    #[test]
    fn whatever_comes_in_whatever_order_it_is_what_a_map_and_a_queue_are() {
        for seed in 0..20 {
            let (mut random, mut recent, mut plain) =
                (Random::from_seed(seed), RecentDots::default(), Plain::default());
            for _ in 0..6_000 {
                let dot = Dot { actor: Actor(random.below(3)), counter: random.below(2_000) };
                let key = key_for(dot);
                match random.below(1_000) {
                    0 => {
                        let limit = random.below(MAX_RECENT_DOTS as u64) as usize;
                        recent.forget(limit);
                        plain.forget(limit);
                    }
                    1..200 => {
                        recent.recall(dot, &key);
                        if plain.arrivals.len() < MAX_RECENT_DOTS && plain.keys.insert(dot, key).is_none() {
                            plain.arrivals.push_front(dot);
                        }
                    }
                    _ => {
                        recent.arrived(dot, &key);
                        plain.forget(MAX_RECENT_DOTS - 1);
                        if plain.keys.insert(dot, key).is_none() {
                            plain.arrivals.push_back(dot);
                        }
                    }
                }
                let asked = Dot { actor: Actor(random.below(4)), counter: random.below(2_000) };
                assert_eq!(recent.key_of(asked).as_ref(), plain.keys.get(&asked));
            }
            assert_eq!((recent.len(), &recent.arrivals), (plain.keys.len(), &plain.arrivals));
            assert!(plain.keys.iter().all(|(dot, key)| recent.key_of(*dot).as_ref() == Some(key)));
            assert_eq!(recent.rows.values().map(VecDeque::len).sum::<usize>(), recent.len());
        }
    }

    #[test]
    fn a_row_that_is_full_grows_no_more() {
        let mut recent = RecentDots::default();
        for counter in 1..10_000 {
            let dot = Dot { actor: Actor(1), counter };
            recent.arrived(dot, &key_for(dot));
        }
        assert_eq!(recent.len(), MAX_RECENT_DOTS);
        assert!(recent.arrivals.capacity() < 2 * MAX_RECENT_DOTS);
        assert!(recent.rows.values().all(|row| row.capacity() < 2 * MAX_RECENT_DOTS));
    }
}
