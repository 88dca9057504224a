//! One page: many cursors as one.

use crate::base::Key;
use crate::ring::PartitionId;
use crate::store::key_file::{EntryKind, KeyFileError, NewestCursor, NewestEntry};
use crate::store::{Disk, Sequence};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::mem;

/// Keys looked at for one page, those passed over included: after some 30 ms it ends, however little it has found,
/// and says how far it came.
const MAX_LOOKED_AT: usize = 16_384;

/// Which keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyQuery {
    /// What they begin with; empty for all.
    pub prefix: Bytes,
    /// Where to begin: keys at least as high. Any bytes.
    pub from: Bytes,
    /// How many at most.
    pub limit: usize,
}

/// Keys in ascending order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPage {
    /// Each has a version in its newest record.
    pub keys: Vec<Key>,
    /// How far no key is missing.
    pub reach: Reach,
}

/// How far a page is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// Up to this key, it included. It need not be on the page.
    Through(Key),
    /// To the end of what was asked for.
    End,
}

impl Reach {
    /// The last key that is covered; none if all are.
    pub fn through(&self) -> Option<&Key> {
        match self {
            Reach::Through(key) => Some(key),
            Reach::End => None,
        }
    }
}

/// Cursors that are read as one: by key, then the highest sequence first. Holds one entry of each.
pub(super) struct Merge<D: Disk> {
    cursors: Vec<NewestCursor<D>>,
    heads: BinaryHeap<Head>,
}

/// The next entry of one cursor.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    entry: NewestEntry,
    cursor: usize,
}

impl<D: Disk> Merge<D> {
    /// Begins with the first entry of each.
    pub(super) fn new(mut cursors: Vec<NewestCursor<D>>) -> Result<Self, KeyFileError> {
        let mut heads = BinaryHeap::with_capacity(cursors.len());
        for (number, cursor) in cursors.iter_mut().enumerate() {
            heads.extend(cursor.next()?.map(|entry| Head { entry, cursor: number }));
        }
        Ok(Merge { cursors, heads })
    }

    /// Keys that the cursors, which begin where the query does, have next.
    pub(super) fn page(
        &mut self,
        query: &KeyQuery,
        wanted: &dyn Fn(PartitionId, Sequence) -> bool,
    ) -> Result<KeyPage, KeyFileError> {
        let mut keys = Vec::new();
        let mut last = None;
        for _ in 0..MAX_LOOKED_AT {
            if keys.len() >= query.limit {
                break;
            }
            let Some((key, found)) = self.next_key(&query.prefix, wanted)? else {
                return Ok(KeyPage { keys, reach: Reach::End });
            };
            if found == Found::Live {
                keys.push(key.clone());
            }
            last = Some(key);
        }
        let reach = last.map_or(Reach::End, Reach::Through);
        Ok(KeyPage { keys, reach })
    }

    /// The next key that begins with `prefix`.
    fn next_key(
        &mut self,
        prefix: &[u8],
        wanted: &dyn Fn(PartitionId, Sequence) -> bool,
    ) -> Result<Option<(Key, Found)>, KeyFileError> {
        let Some(first) = self.take_first()?.filter(|entry| entry.key.as_bytes().starts_with(prefix)) else {
            return Ok(None);
        };
        let (key, mut newest) = (first.key.clone(), first);
        while self.heads.peek().is_some_and(|head| head.entry.key == key) {
            // The highest sequence comes first; only a hint, which is no object, gives way.
            let Some(next) = self.take_first()? else { break };
            if newest.kind == EntryKind::Hint {
                newest = next;
            }
        }
        let live = matches!(newest.kind, EntryKind::Live | EntryKind::LiveWithLeftover);
        let live = live && wanted(newest.partition, newest.sequence);
        Ok(Some((key, if live { Found::Live } else { Found::PassedOver })))
    }

    fn take_first(&mut self) -> Result<Option<NewestEntry>, KeyFileError> {
        let Some(mut first) = self.heads.peek_mut() else { return Ok(None) };
        let number = first.cursor;
        let cursor = self.cursors.get_mut(number).expect("a head names the cursor it was read from");
        let taken = match cursor.next()? {
            Some(entry) => mem::replace(&mut *first, Head { entry, cursor: number }),
            None => PeekMut::pop(first),
        };
        Ok(Some(taken.entry))
    }
}

/// What is found of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// It belongs on the page.
    Live,
    /// It is deleted, only hinted at, or not asked for.
    PassedOver,
}

/// The highest head is the next: the order of what comes out, turned round.
impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        let rank = |head: &Head| (Reverse(head.entry.sequence), head.cursor);
        let order = self.entry.key.cmp(&other.entry.key).then_with(|| rank(self).cmp(&rank(other)));
        order.reverse()
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
