//! A block of entries: each key without what it shares with the one before.

use super::EntryKind;
use super::entry::Facts;
use super::varint::{put_varint, take_bytes, take_varint};
use crate::base::limits::MAX_KEY_BYTES;
use crate::ring::PartitionId;
use crate::store::Sequence;

/// A block is ended once it has this many bytes: one read, and small enough to look through for one key.
pub(super) const BLOCK_BYTES: usize = 16 << 10;

/// Set in the byte of the kind when an entry hash follows; without it the hash is 0.
const HAS_HASH: u8 = 0x80;

/// Frames begin and end at multiples of 8: turned by three bits their numbers are short, and none is lost.
const TURN_BITS: u32 = 3;

/// A block while it is written.
#[derive(Debug, Default)]
pub(super) struct BlockBuilder {
    pub(super) bytes: Vec<u8>,
    key: Vec<u8>,
}

/// A block while it is read.
#[derive(Debug, Default)]
pub(super) struct Block {
    bytes: Vec<u8>,
    at: usize,
    key: Vec<u8>,
}

/// The checksum fits and the contents are no entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotEntries;

impl BlockBuilder {
    /// Appends the next entry in order. `lowest`: the lowest sequence of the file.
    pub(super) fn put(&mut self, lowest: Sequence, key: &[u8], facts: &Facts) {
        let shared = shared_bytes(&self.key, key);
        let suffix = key.get(shared..).unwrap_or_default();
        put_varint(&mut self.bytes, shared as u64);
        put_varint(&mut self.bytes, suffix.len() as u64);
        self.bytes.extend_from_slice(suffix);
        let has_hash = if facts.entry_hash == 0 { 0 } else { HAS_HASH };
        self.bytes.push(byte_of(facts.kind) | has_hash);
        put_varint(&mut self.bytes, u64::from(facts.partition.0));
        put_varint(&mut self.bytes, facts.sequence.0.wrapping_sub(lowest.0));
        put_varint(&mut self.bytes, u64::from(facts.offset.rotate_right(TURN_BITS)));
        put_varint(&mut self.bytes, u64::from(facts.length.rotate_right(TURN_BITS)));
        if facts.entry_hash != 0 {
            self.bytes.extend_from_slice(&facts.entry_hash.to_le_bytes());
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(suffix);
    }

    /// Begins the next block.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.key.clear();
    }
}

impl Block {
    /// A block of verified bytes.
    pub(super) fn new(bytes: Vec<u8>) -> Block {
        Block { bytes, at: 0, key: Vec::new() }
    }

    /// The key of the entry read last.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// Reads the next entry, none at the block's end. After an error the block stays where it is.
    pub(super) fn next(&mut self, lowest: Sequence) -> Result<Option<Facts>, NotEntries> {
        let mut rest = self.bytes.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let (shared, suffix, facts) = take_entry(&mut rest, lowest).ok_or(NotEntries)?;
        let fits = shared <= self.key.len() && (1..=MAX_KEY_BYTES).contains(&(shared + suffix.len()));
        if !fits {
            return Err(NotEntries);
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(suffix);
        self.at = self.bytes.len() - rest.len();
        Ok(Some(facts))
    }
}

/// How many bytes two keys have in common at their beginning.
pub(super) fn shared_bytes(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn take_entry<'a>(rest: &mut &'a [u8], lowest: Sequence) -> Option<(usize, &'a [u8], Facts)> {
    let shared = usize::try_from(take_varint(rest)?).ok().filter(|shared| *shared <= MAX_KEY_BYTES)?;
    let suffix_bytes = usize::try_from(take_varint(rest)?).ok()?;
    let suffix = take_bytes(rest, suffix_bytes)?;
    let kind_byte = *take_bytes(rest, 1)?.first()?;
    let kind = kind_of(kind_byte & !HAS_HASH)?;
    let partition = PartitionId(take_u32(rest)?);
    let sequence = Sequence(lowest.0.checked_add(take_varint(rest)?)?);
    let offset = take_u32(rest)?.rotate_left(TURN_BITS);
    let length = take_u32(rest)?.rotate_left(TURN_BITS);
    let entry_hash = match kind_byte & HAS_HASH {
        0 => 0,
        _ => u64::from_le_bytes(take_bytes(rest, 8)?.try_into().ok()?),
    };
    Some((shared, suffix, Facts { partition, sequence, offset, length, entry_hash, kind }))
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    u32::try_from(take_varint(rest)?).ok()
}

fn byte_of(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::Live => 1,
        EntryKind::LiveWithLeftover => 2,
        EntryKind::Gone => 3,
        EntryKind::GoneWithLeftover => 4,
        EntryKind::Hint => 5,
    }
}

fn kind_of(byte: u8) -> Option<EntryKind> {
    match byte {
        1 => Some(EntryKind::Live),
        2 => Some(EntryKind::LiveWithLeftover),
        3 => Some(EntryKind::Gone),
        4 => Some(EntryKind::GoneWithLeftover),
        5 => Some(EntryKind::Hint),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_that_are_no_entries_are_refused_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            lowest in any::<u64>(),
        ) {
            let mut block = Block::new(bytes);
            while let Ok(Some(_)) = block.next(Sequence(lowest)) {
                prop_assert!((1..=MAX_KEY_BYTES).contains(&block.key().len()));
            }
            let (before, after) = (block.next(Sequence(lowest)), block.next(Sequence(lowest)));
            prop_assert_eq!(before, after);
        }
    }
}
