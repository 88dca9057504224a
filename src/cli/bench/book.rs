//! What was acknowledged, for `--verify`: after the run every key is read, and what is found must not be
//! older than what was acknowledged.

use std::collections::BTreeMap;
use std::time::Instant;

/// Every key that was written, with the writes that may be its last.
///
/// A plain write supersedes what was acknowledged before it began. So the value found in the end may be any
/// write that had not ended when the newest acknowledged one began, and no other.
#[derive(Debug, Default)]
pub(super) struct Book {
    keys: BTreeMap<u64, Page>,
    writes: u64,
}

#[derive(Debug, Default)]
struct Page {
    /// When the newest of the acknowledged writes began.
    newest_began: Option<Instant>,
    /// Writes that may be found.
    writes: Vec<Write>,
}

#[derive(Debug)]
struct Write {
    number: u64,
    /// None: never answered, or in doubt; it may happen at any time.
    ended: Option<Instant>,
    deletes: bool,
}

/// What a key was found to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// These writes' values.
    Values(Vec<u64>),
    /// Nothing.
    Absent,
}

/// What is wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// An acknowledged write is gone, and nothing that may have superseded it is there.
    Lost,
    /// A value was found that is older than what was acknowledged before.
    Stale,
}

/// What a write is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Value,
    Delete,
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Acknowledged,
    /// It certainly did not happen.
    Refused,
    /// It may have happened, or may yet.
    InDoubt,
}

impl Book {
    /// A number for the next write.
    pub(super) fn begin(&mut self, key: u64, kind: Kind) -> u64 {
        self.writes += 1;
        let write = Write { number: self.writes, ended: None, deletes: kind == Kind::Delete };
        self.keys.entry(key).or_default().writes.push(write);
        self.writes
    }

    /// The write that began then has ended.
    pub(super) fn end(&mut self, key: u64, number: u64, (began, ended): (Instant, Instant), ending: Ending) {
        let Some(page) = self.keys.get_mut(&key) else { return };
        match ending {
            Ending::Refused => page.writes.retain(|write| write.number != number),
            Ending::InDoubt => {}
            Ending::Acknowledged => {
                let write = page.writes.iter_mut().find(|write| write.number == number);
                write.into_iter().for_each(|write| write.ended = Some(ended));
                let newest = page.newest_began.map_or(began, |newest| newest.max(began));
                page.newest_began = Some(newest);
                page.writes.retain(|write| write.ended.is_none_or(|ended| ended >= newest));
            }
        }
    }

    /// Every key that was written.
    pub(super) fn keys(&self) -> impl Iterator<Item = u64> {
        self.keys.keys().copied()
    }

    /// Is this what may be there?
    pub(super) fn judge(&self, key: u64, found: &Found) -> Result<(), Wrong> {
        let Some(page) = self.keys.get(&key) else { return Ok(()) };
        let may_be = |number: u64| page.writes.iter().any(|write| write.number == number && !write.deletes);
        match found {
            Found::Values(numbers) if numbers.iter().all(|number| may_be(*number)) => Ok(()),
            Found::Values(_) => Err(Wrong::Stale),
            Found::Absent if page.newest_began.is_none() => Ok(()),
            Found::Absent if page.writes.iter().any(|write| write.deletes) => Ok(()),
            Found::Absent => Err(Wrong::Lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    struct Scene {
        book: Book,
        start: Instant,
    }

    impl Scene {
        fn new() -> Scene {
            Scene { book: Book::default(), start: Instant::now() }
        }

        fn write(&mut self, kind: Kind, from: u64, to: u64, ending: Ending) -> u64 {
            let at = |milliseconds| self.start + Duration::from_millis(milliseconds);
            let number = self.book.begin(1, kind);
            self.book.end(1, number, (at(from), at(to)), ending);
            number
        }

        fn judge(&self, numbers: &[u64]) -> Result<(), Wrong> {
            let found = if numbers.is_empty() { Found::Absent } else { Found::Values(numbers.to_vec()) };
            self.book.judge(1, &found)
        }
    }

    #[test]
    fn the_last_of_several_in_sequence_must_be_there() {
        let mut scene = Scene::new();
        let first = scene.write(Kind::Value, 0, 1, Ending::Acknowledged);
        let second = scene.write(Kind::Value, 2, 3, Ending::Acknowledged);
        assert_eq!(scene.judge(&[second]), Ok(()));
        assert_eq!(scene.judge(&[first]), Err(Wrong::Stale));
        assert_eq!(scene.judge(&[first, second]), Err(Wrong::Stale));
        assert_eq!(scene.judge(&[]), Err(Wrong::Lost));
    }

    #[test]
    fn of_concurrent_ones_any_may_be_there() {
        let mut scene = Scene::new();
        let first = scene.write(Kind::Value, 0, 5, Ending::Acknowledged);
        let second = scene.write(Kind::Value, 2, 3, Ending::Acknowledged);
        for found in [vec![first], vec![second], vec![first, second]] {
            assert_eq!(scene.judge(&found), Ok(()));
        }
    }

    #[test]
    fn one_in_doubt_may_be_there_and_a_refused_one_may_not() {
        let mut scene = Scene::new();
        let doubtful = scene.write(Kind::Value, 0, 1, Ending::InDoubt);
        assert_eq!((scene.judge(&[]), scene.judge(&[doubtful])), (Ok(()), Ok(())));
        let last = scene.write(Kind::Value, 2, 3, Ending::Acknowledged);
        let refused = scene.write(Kind::Value, 4, 5, Ending::Refused);
        assert_eq!((scene.judge(&[doubtful]), scene.judge(&[last])), (Ok(()), Ok(())));
        assert_eq!(scene.judge(&[refused]), Err(Wrong::Stale));
    }

    #[test]
    fn only_a_delete_that_may_be_the_last_explains_an_absent_key() {
        let mut scene = Scene::new();
        scene.write(Kind::Delete, 0, 1, Ending::Acknowledged);
        assert_eq!(scene.judge(&[]), Ok(()));
        scene.write(Kind::Value, 2, 3, Ending::Acknowledged);
        assert_eq!(scene.judge(&[]), Err(Wrong::Lost));
        scene.write(Kind::Delete, 2, 6, Ending::Acknowledged);
        assert_eq!(scene.judge(&[]), Ok(()));
    }
}
