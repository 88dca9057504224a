//! Where a key file's blocks lie, and which keys are in which: its index, in memory.

use super::layout::HEADER_BYTES;
use super::varint::{take_bytes, take_varint};
use crate::store::frame::u32_at;

/// The blocks of a key file in order: their separators in one arena, 32 bytes for each.
#[derive(Debug)]
pub(super) struct BlockList {
    separators: Vec<u8>,
    blocks: Vec<BlockPlace>,
}

/// One block. Keys below its separator are in blocks before it, unless one key goes across.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockPlace {
    pub(super) offset: u64,
    pub(super) length: usize,
    pub(super) checksum: u32,
    separator_bytes: u16,
    separator_at: usize,
}

impl BlockList {
    /// Reads the index; none if it does not list blocks that fill the file up to `end`.
    pub(super) fn decode(mut bytes: &[u8], end: u64) -> Option<BlockList> {
        let mut list = BlockList { separators: Vec::new(), blocks: Vec::new() };
        let mut offset = HEADER_BYTES as u64;
        while !bytes.is_empty() {
            let separator_bytes = u16::try_from(take_varint(&mut bytes)?).ok()?;
            let separator = take_bytes(&mut bytes, usize::from(separator_bytes))?;
            let length = take_varint(&mut bytes)?;
            let checksum = u32_at(take_bytes(&mut bytes, 4)?, 0)?;
            let separator_at = list.separators.len();
            list.separators.extend_from_slice(separator);
            let block =
                BlockPlace { offset, length: usize::try_from(length).ok()?, checksum, separator_bytes, separator_at };
            list.blocks.push(block);
            offset = offset.checked_add(length)?;
        }
        list.separators.shrink_to_fit();
        list.blocks.shrink_to_fit();
        (offset == end).then_some(list)
    }

    /// How many blocks.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// The block of this number.
    pub(super) fn get(&self, number: usize) -> Option<BlockPlace> {
        self.blocks.get(number).copied()
    }

    /// The number of the first block that may hold `key` or a higher one. One block more than need be when
    /// the separator is the key itself: only so the entries of one key in two blocks are all found.
    pub(super) fn first_for(&self, key: &[u8]) -> usize {
        self.blocks.partition_point(|block| self.separator(block) < key).saturating_sub(1)
    }

    fn separator(&self, block: &BlockPlace) -> &[u8] {
        let range = block.separator_at..block.separator_at + usize::from(block.separator_bytes);
        self.separators.get(range).expect("a block's separator was put into the arena with it")
    }
}
