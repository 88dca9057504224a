//! Writes by number, and sets of them.

use std::fmt;

/// A client's write, numbered by the harness from 0. Every value carries its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId(pub u32);

/// A set of writes, as bits: a run has hundreds of writes and unites such sets all the time.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct WriteSet(Vec<u64>);

impl WriteSet {
    /// Adds one write; true if it was not in yet.
    pub fn insert(&mut self, write: WriteId) -> bool {
        let (word, bit) = (write.0 as usize / 64, 1 << (write.0 % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    /// Is this write in?
    pub fn contains(&self, write: WriteId) -> bool {
        self.0.get(write.0 as usize / 64).is_some_and(|word| word & (1 << (write.0 % 64)) != 0)
    }

    /// Adds every write of `other`; true if that changed anything.
    pub fn union(&mut self, other: &WriteSet) -> bool {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        let mut changed = false;
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            changed |= *theirs & !*mine != 0;
            *mine |= theirs;
        }
        changed
    }

    /// The writes, ascending.
    pub fn iter(&self) -> impl Iterator<Item = WriteId> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let (base, mut word) = (at as u32 * 64, *word);
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros())?;
                word &= word - 1;
                Some(WriteId(base + bit))
            })
        })
    }

    /// No write at all.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}

impl FromIterator<WriteId> for WriteSet {
    fn from_iter<I: IntoIterator<Item = WriteId>>(writes: I) -> Self {
        let mut set = WriteSet::default();
        writes.into_iter().for_each(|write| {
            set.insert(write);
        });
        set
    }
}

impl fmt::Debug for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}", self.0)
    }
}

impl fmt::Debug for WriteSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_set_is_a_set() {
        let mut set: WriteSet = [WriteId(3), WriteId(200), WriteId(64)].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [WriteId(3), WriteId(64), WriteId(200)]);
        assert!(set.contains(WriteId(64)) && !set.contains(WriteId(65)) && !set.contains(WriteId(9_999)));
        assert!(!set.union(&[WriteId(3)].into_iter().collect()));
        assert!(set.union(&[WriteId(4)].into_iter().collect()));
        assert_eq!(set.len(), 4);
    }
}
