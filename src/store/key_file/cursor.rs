//! Reading a key file in order, one block in memory.

use super::block::Block;
use super::entry::Facts;
use super::reader::Parts;
use super::{KeyEntry, KeyFileError};
use crate::base::Key;
use crate::store::Disk;
use bytes::Bytes;
use std::sync::Arc;

/// Entries of one key file in order of key, then the highest sequence first.
pub(crate) struct KeyCursor<D: Disk> {
    parts: Arc<Parts<D>>,
    block: Block,
    next_block: usize,
    /// Keys below this are passed over; empty once one is reached that is not.
    start: Vec<u8>,
    /// An entry that was looked at and not passed.
    peeked: Option<Facts>,
}

impl<D: Disk> KeyCursor<D> {
    pub(super) fn new(parts: Arc<Parts<D>>, start: &[u8]) -> Self {
        let next_block = parts.first_block_for(start);
        KeyCursor { parts, block: Block::default(), next_block, start: start.to_vec(), peeked: None }
    }

    /// The segment of the key file.
    pub(crate) fn segment(&self) -> u32 {
        self.parts.segment()
    }

    /// The next entry, none at the end. After an error the cursor stays where it is: nothing is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<KeyEntry>, KeyFileError> {
        let Some(facts) = self.advance()? else { return Ok(None) };
        let key = Key::new(Bytes::copy_from_slice(self.key())).expect("a block refuses what is not as long as a key");
        Ok(Some(KeyEntry::new(key, facts)))
    }

    /// Looks at the next entry, whose key is then [`KeyCursor::key`], and stays before it.
    pub(super) fn peek(&mut self) -> Result<Option<Facts>, KeyFileError> {
        if self.peeked.is_none() {
            self.peeked = self.advance()?;
        }
        Ok(self.peeked)
    }

    /// Goes behind the entry that was looked at.
    pub(super) fn pass(&mut self) {
        self.peeked = None;
    }

    /// Goes to the next entry, whose key is then [`KeyCursor::key`].
    pub(super) fn advance(&mut self) -> Result<Option<Facts>, KeyFileError> {
        loop {
            let read = self.block.next(self.parts.lowest());
            match read.map_err(|_| self.parts.damaged("a block's checksum fits, its contents are no entries"))? {
                Some(_) if self.key() < self.start.as_slice() => {}
                Some(facts) => {
                    self.start.clear();
                    return Ok(Some(facts));
                }
                None => match self.parts.block(self.next_block)? {
                    Some(block) => {
                        self.block = block;
                        self.next_block += 1;
                    }
                    None => return Ok(None),
                },
            }
        }
    }

    /// The key of the entry read last.
    pub(super) fn key(&self) -> &[u8] {
        self.block.key()
    }
}
