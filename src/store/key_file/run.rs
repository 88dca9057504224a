//! The entries of one segment in memory, while it is written or until its key file is.

use super::entry::{Facts, order};
use super::{EntryKind, KeyEntry};
use crate::base::Key;
use crate::ring::PartitionId;
use crate::store::Sequence;
use crate::store::cipher::Seal;
use bytes::Bytes;
use std::{slice, vec};

/// Collects the entries of one segment: key bytes in one arena, 40 bytes of facts for each.
#[derive(Debug, Clone)]
pub(crate) struct KeyRun {
    segment: u32,
    generation: u64,
    seal: Seal,
    keys: Vec<u8>,
    slots: Vec<Slot>,
    in_order: bool,
}

/// One entry: where its key lies in the arena, and the rest of it. Flat, for [`Facts`] inside would cost padding.
#[derive(Debug, Clone, Copy)]
struct Slot {
    key_at: usize,
    sequence: Sequence,
    entry_hash: u64,
    partition: PartitionId,
    offset: u32,
    length: u32,
    key_bytes: u16,
    kind: EntryKind,
}

/// The entries of a run in the order of a key file.
pub(crate) struct RunCursor<'a> {
    run: &'a KeyRun,
    slots: Slots<'a>,
}

enum Slots<'a> {
    InOrder(slice::Iter<'a, Slot>),
    Picked(vec::IntoIter<&'a Slot>),
}

impl KeyRun {
    /// An empty run for the segment of this number and generation, whose key file is sealed as it is.
    pub(in crate::store) fn new(segment: u32, generation: u64, seal: Seal) -> KeyRun {
        KeyRun { segment, generation, seal, keys: Vec::new(), slots: Vec::new(), in_order: true }
    }

    /// The segment it belongs to.
    pub(crate) fn segment(&self) -> u32 {
        self.segment
    }

    /// That segment's generation.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// An empty run for the same segment.
    pub(in crate::store) fn emptied(&self) -> KeyRun {
        KeyRun::new(self.segment, self.generation, self.seal.clone())
    }

    /// Under which data key the segment and its key file are encrypted.
    pub(in crate::store) fn seal(&self) -> &Seal {
        &self.seal
    }

    /// Adds an entry, in any order.
    pub(crate) fn push(&mut self, entry: &KeyEntry) {
        let KeyEntry { partition, ref key, sequence, offset, length, entry_hash, kind } = *entry;
        let (key, key_at) = (key.as_bytes(), self.keys.len());
        let slot = Slot { key_at, sequence, entry_hash, partition, offset, length, key_bytes: key.len() as u16, kind };
        let follows = |last| order(self.pair(last), (key, slot.facts())).is_le();
        self.in_order &= self.slots.last().is_none_or(follows);
        self.slots.push(slot);
        self.keys.extend_from_slice(key);
    }

    /// Adds all entries of another run.
    pub(crate) fn extend(&mut self, other: &KeyRun) {
        let moved = self.keys.len();
        self.keys.extend_from_slice(&other.keys);
        self.slots.extend(other.slots.iter().map(|slot| Slot { key_at: slot.key_at + moved, ..*slot }));
        self.in_order = self.slots.is_empty();
    }

    /// How many entries.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// No entry at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Memory held, in bytes.
    pub(crate) fn bytes_held(&self) -> usize {
        self.keys.capacity() + self.slots.capacity() * size_of::<Slot>()
    }

    /// Brings the entries into the order of a key file. Only saves work: what reads a run that is not
    /// sorted sorts references to its entries.
    pub(crate) fn sort(&mut self) {
        if !self.in_order {
            let keys = &self.keys;
            // Stable on purpose: it is quick where a sorted run has only grown since.
            self.slots.sort_by(|a, b| order(pair(keys, a), pair(keys, b)));
            self.in_order = true;
        }
    }

    /// All entries in the order of a key file.
    pub(crate) fn iter(&self) -> RunCursor<'_> {
        self.iter_from(&[])
    }

    /// Entries whose key is at least `start`, in the order of a key file.
    pub(crate) fn iter_from(&self, start: &[u8]) -> RunCursor<'_> {
        let slots = if self.in_order {
            let skipped = self.slots.partition_point(|slot| self.pair(slot).0 < start);
            Slots::InOrder(self.slots.get(skipped..).unwrap_or_default().iter())
        } else {
            let mut picked: Vec<&Slot> = self.slots.iter().filter(|slot| self.pair(slot).0 >= start).collect();
            picked.sort_by(|a, b| order(self.pair(a), self.pair(b)));
            Slots::Picked(picked.into_iter())
        };
        RunCursor { run: self, slots }
    }

    /// The numbers of all slots, in the order of a key file.
    pub(super) fn slots_in_order(&self) -> Vec<u32> {
        let mut numbered: Vec<(u32, &Slot)> = (0..).zip(&self.slots).collect();
        if !self.in_order {
            numbered.sort_by(|(_, a), (_, b)| order(self.pair(a), self.pair(b)));
        }
        numbered.into_iter().map(|(number, _)| number).collect()
    }

    /// The entry in a slot.
    pub(super) fn pair_at(&self, slot: u32) -> Option<(&[u8], Facts)> {
        self.slots.get(slot as usize).map(|slot| self.pair(slot))
    }

    fn pair(&self, slot: &Slot) -> (&[u8], Facts) {
        pair(&self.keys, slot)
    }
}

impl Slot {
    fn facts(&self) -> Facts {
        let Slot { partition, sequence, offset, length, entry_hash, kind, .. } = *self;
        Facts { partition, sequence, offset, length, entry_hash, kind }
    }
}

fn pair<'a>(keys: &'a [u8], slot: &Slot) -> (&'a [u8], Facts) {
    let key = keys.get(slot.key_at..slot.key_at + usize::from(slot.key_bytes));
    (key.expect("a slot's key was put into the arena with it, and nothing leaves the arena"), slot.facts())
}

impl<'a> RunCursor<'a> {
    /// The segment of the run.
    pub(crate) fn segment(&self) -> u32 {
        self.run.segment
    }

    /// The next entry, its key not copied.
    pub(super) fn next_borrowed(&mut self) -> Option<(&'a [u8], Facts)> {
        let slot = match &mut self.slots {
            Slots::InOrder(slots) => slots.next(),
            Slots::Picked(slots) => slots.next(),
        };
        slot.map(|slot| self.run.pair(slot))
    }
}

impl Iterator for RunCursor<'_> {
    type Item = KeyEntry;

    fn next(&mut self) -> Option<KeyEntry> {
        let (key, facts) = self.next_borrowed()?;
        let key = Key::new(Bytes::copy_from_slice(key)).expect("the arena holds keys that were keys when pushed");
        Some(KeyEntry::new(key, facts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_costs_its_key_and_forty_bytes() {
        assert_eq!(size_of::<Slot>(), 40);
    }
}
