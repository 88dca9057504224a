//! The latest records of the sealed log, read back at an opening: by the dots in them exchanges find what a peer
//! lacks, without listing whole partitions.

use super::key_file::{EntryKind, KeyEntry};
use super::{Body, Disk, PartitionTable, Place, Reader, Sequence};
use crate::ring::PartitionId;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Most records read back: cold and scattered, they take a fifth of a second.
const MAX_RECORDS: usize = 4096;

/// Most bytes read back: large values must not make an opening slow.
const MAX_BYTES: u64 = 8 << 20;

/// Where the latest records are.
#[derive(Default)]
pub(super) struct Latest {
    /// The earliest on top.
    found: BinaryHeap<Reverse<(Sequence, Place)>>,
}

impl Latest {
    /// Looks at an entry of a key file, in any order.
    pub(super) fn offer(&mut self, entry: &KeyEntry, place: Place) {
        let full = self.found.len() >= MAX_RECORDS;
        let too_early = self.found.peek().is_some_and(|Reverse((earliest, _))| full && entry.sequence <= *earliest);
        if entry.kind == EntryKind::Hint || too_early {
            return;
        }
        self.found.push(Reverse((entry.sequence, place)));
        if self.found.len() > MAX_RECORDS {
            self.found.pop();
        }
    }

    /// Reads the records back, the latest first, and lets the tables remember their dots. A record that cannot be
    /// read ends it without a word, for it need not count any more: an exchange that misses a dot goes by a listing.
    pub(super) fn recall<D: Disk>(self, reader: &Reader<D>, tables: &mut BTreeMap<PartitionId, PartitionTable>) {
        let mut bytes = 0;
        for Reverse((_, place)) in self.found.into_sorted_vec() {
            bytes += u64::from(place.length);
            if bytes > MAX_BYTES {
                return;
            }
            let Ok(record) = reader.read_again(place) else { return };
            if let (Body::Object { key, dots, .. }, Some(table)) = (&record.body, tables.get_mut(&record.partition)) {
                table.recall(key, dots);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Key;

    #[test]
    fn only_the_latest_are_kept_and_no_hint() {
        let mut latest = Latest::default();
        let count = 2 * MAX_RECORDS as u64;
        for number in 0..count {
            // In no order of sequences.
            let sequence = Sequence(number * 5 % count);
            let kind = if sequence.0 == count - 1 { EntryKind::Hint } else { EntryKind::Live };
            let (partition, key) = (PartitionId(0), Key::new("k").unwrap());
            let entry = KeyEntry { partition, key, sequence, offset: 0, length: 8, entry_hash: 0, kind };
            latest.offer(&entry, Place { segment: 1, offset: 0, length: 8 });
        }
        let kept: Vec<u64> = latest.found.into_sorted_vec().iter().map(|Reverse((sequence, _))| sequence.0).collect();
        assert_eq!(kept, (count - 1 - MAX_RECORDS as u64..count - 1).rev().collect::<Vec<_>>());
    }
}
