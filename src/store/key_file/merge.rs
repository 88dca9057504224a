//! Many key files and runs, read as one.

use super::{KeyCursor, KeyEntry, KeyFileError, RunCursor};
use crate::base::Key;
use crate::store::Disk;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::mem;

/// One of the things that are merged.
pub(crate) enum KeySource<'a, D: Disk> {
    /// The key file of a sealed segment.
    File(KeyCursor<D>),
    /// The entries of a tail segment.
    Run(RunCursor<'a>),
}

/// Many cursors as one: by key, then the highest sequence first; of two copies of a record the one in
/// the higher segment first. Holds one entry of each source.
pub(crate) struct Merge<'a, D: Disk> {
    sources: Vec<KeySource<'a, D>>,
    heads: BinaryHeap<Head>,
    failed: Option<KeyFileError>,
}

/// A key, and its entries with the segments they are of.
pub(crate) type KeyGroup = (Key, Vec<(u32, KeyEntry)>);

/// The next entry of one source.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    entry: KeyEntry,
    segment: u32,
    source: usize,
}

impl<'a, D: Disk> Merge<'a, D> {
    /// Begins with the first entry of every source; reads one block of each file.
    pub(crate) fn new(mut sources: Vec<KeySource<'a, D>>) -> Result<Self, KeyFileError> {
        let mut heads = BinaryHeap::with_capacity(sources.len());
        for (number, source) in sources.iter_mut().enumerate() {
            heads.extend(source.head(number)?);
        }
        Ok(Merge { sources, heads, failed: None })
    }

    /// The next entry and the segment it is of, none at the end. After an error only that error: nothing
    /// is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<(u32, KeyEntry)>, KeyFileError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.take_first().inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// The next key with all its entries, each with its segment. They are held in memory together: for keys
    /// written very often [`Merge::next`] is the better way. After an error only that error.
    pub(crate) fn next_key(&mut self) -> Result<Option<KeyGroup>, KeyFileError> {
        let Some(first) = self.next()? else { return Ok(None) };
        let key = first.1.key.clone();
        let mut entries = vec![first];
        while self.heads.peek().is_some_and(|head| head.entry.key == key) {
            entries.extend(self.next()?);
        }
        Ok(Some((key, entries)))
    }

    fn take_first(&mut self) -> Result<Option<(u32, KeyEntry)>, KeyFileError> {
        let Some(mut first) = self.heads.peek_mut() else { return Ok(None) };
        let source = self.sources.get_mut(first.source).expect("a head names the source it was read from");
        let taken = match source.head(first.source)? {
            Some(next) => mem::replace(&mut *first, next),
            None => PeekMut::pop(first),
        };
        Ok(Some((taken.segment, taken.entry)))
    }
}

impl<D: Disk> KeySource<'_, D> {
    fn head(&mut self, source: usize) -> Result<Option<Head>, KeyFileError> {
        let (segment, entry) = match self {
            KeySource::File(cursor) => (cursor.segment(), cursor.next()?),
            KeySource::Run(cursor) => (cursor.segment(), cursor.next()),
        };
        Ok(entry.map(|entry| Head { entry, segment, source }))
    }
}

/// The highest head is the next: the order of what comes out, turned round.
impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        let rank = |head: &Head| {
            let copies = Reverse((head.entry.sequence, head.segment, head.entry.offset));
            (copies, head.source)
        };
        let order = self.entry.key.cmp(&other.entry.key).then_with(|| rank(self).cmp(&rank(other)));
        order.reverse()
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
