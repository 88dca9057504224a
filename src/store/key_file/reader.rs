//! One key file, opened: looking up a key, and reading in order.

use super::block::Block;
use super::block_list::BlockList;
use super::filter::{LINE_BYTES, key_hash, line_allows, line_of, seat_of};
use super::key_file_name;
use super::layout::{FOOTER_BYTES, FOOTER_CHECKSUM_AT, Footer, HEADER_BYTES, HeaderError, Seat, check_header};
use super::{KeyCursor, KeyEntry, KeyFileError, KeyFileSummary};
use crate::base::{Key, Random};
use crate::store::cipher::Seal;
use crate::store::frame::u32_at;
use crate::store::{Disk, DiskError, Sequence};
use std::sync::Arc;

/// Bytes read at once where much is only verified.
const VERIFY_BYTES: u64 = 64 << 10;

/// Entries drawn from one block of a sample: neighbours share their fate more often than others.
const DRAWN_PER_BLOCK: usize = 4;

/// An open key file. Clones and cursors share the descriptor and the list of blocks.
pub(crate) struct KeyFile<D: Disk> {
    parts: Arc<Parts<D>>,
}

/// What is kept of an open key file.
pub(super) struct Parts<D: Disk> {
    bytes: Bytes<D>,
    footer: Footer,
    summary: KeyFileSummary,
    blocks: BlockList,
}

/// Whether the file stays open between two reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Descriptor {
    /// It does: a file that has lost its name can still be read.
    Kept,
    /// It is opened for each read: there may be more key files than a process may have descriptors.
    PerRead,
}

/// All of a key file but its blocks and its filter.
struct Frame {
    footer: Footer,
    summary: KeyFileSummary,
    /// As it lies there, encrypted or not.
    index: Vec<u8>,
}

/// A file, read under the name of its segment.
struct Bytes<D: Disk> {
    disk: Arc<D>,
    /// None is opened for each read.
    file: Option<D::File>,
    segment: u32,
    generation: u64,
    seal: Seal,
}

impl<D: Disk> Clone for KeyFile<D> {
    fn clone(&self) -> Self {
        KeyFile { parts: self.parts.clone() }
    }
}

impl<D: Disk> KeyFile<D> {
    /// Opens the key file of a segment, sealed as that is; verifies all of it but the blocks' contents, which are verified
    /// when read.
    pub(in crate::store) fn open(
        disk: Arc<D>,
        segment: u32,
        generation: u64,
        seal: Seal,
    ) -> Result<Self, KeyFileError> {
        Self::open_as(disk, segment, generation, seal, Descriptor::Kept)
    }

    /// The same, with its descriptor kept or not.
    pub(in crate::store) fn open_as(
        disk: Arc<D>,
        segment: u32,
        generation: u64,
        seal: Seal,
        descriptor: Descriptor,
    ) -> Result<Self, KeyFileError> {
        let file = disk.open(&key_file_name(segment))?;
        let mut parts = Parts::read(Bytes { disk, file: Some(file), segment, generation, seal })?;
        if descriptor == Descriptor::PerRead {
            parts.bytes.file = None;
        }
        Ok(KeyFile { parts: Arc::new(parts) })
    }

    /// The summary of a key file that nobody can open for want of its data key. Verifies all but the blocks: what they
    /// should be is in the index, which is encrypted.
    pub(in crate::store) fn summary_of_locked(
        disk: Arc<D>,
        segment: u32,
        generation: u64,
        seal: Seal,
    ) -> Result<KeyFileSummary, KeyFileError> {
        let file = Some(disk.open(&key_file_name(segment))?);
        Bytes { disk, file, segment, generation, seal }.frame().map(|frame| frame.summary)
    }

    /// The segment it belongs to.
    pub(crate) fn segment(&self) -> u32 {
        self.parts.segment()
    }

    /// What the manifest keeps of it.
    pub(crate) fn summary(&self) -> KeyFileSummary {
        self.parts.summary
    }

    /// May the key have an entry? `false` is certain; `true` is wrong for about one absent key in a hundred,
    /// and is the answer when the filter cannot be read: asking [`KeyFile::get`] decides it.
    pub(crate) fn may_contain(&self, key: &Key) -> bool {
        self.parts.filter_allows(key_hash(&self.parts.bytes.seal, key.as_bytes())).unwrap_or(true)
    }

    /// All entries of a key, the highest sequence first.
    pub(crate) fn get(&self, key: &Key) -> Result<Vec<KeyEntry>, KeyFileError> {
        let mut cursor = self.iter_from(key.as_bytes());
        let mut found = Vec::new();
        while let Some(facts) = cursor.advance()? {
            if cursor.key() != key.as_bytes() {
                break;
            }
            found.push(KeyEntry::new(key.clone(), facts));
        }
        Ok(found)
    }

    /// Entries drawn at random, up to `count` of them: whole blocks are drawn and entries from them, so that few
    /// blocks are read. An entry may come twice.
    pub(crate) fn sample(&self, random: &mut Random, count: usize) -> Result<Vec<KeyEntry>, KeyFileError> {
        let blocks = self.parts.blocks.len();
        let mut drawn = Vec::with_capacity(count);
        while blocks > 0 && drawn.len() < count {
            let entries = self.parts.entries_of(random.below(blocks as u64) as usize)?;
            let more = DRAWN_PER_BLOCK.min(count - drawn.len());
            drawn.extend((0..more).filter_map(|_| random.pick(&entries).cloned()));
            if entries.is_empty() {
                return Err(self.parts.damaged("a block without entries"));
            }
        }
        Ok(drawn)
    }

    /// Entries whose key is at least `start`, in order; an empty `start` gives all.
    pub(crate) fn iter_from(&self, start: &[u8]) -> KeyCursor<D> {
        KeyCursor::new(self.parts.clone(), start)
    }
}

impl<D: Disk> Parts<D> {
    fn read(bytes: Bytes<D>) -> Result<Self, KeyFileError> {
        let Frame { footer, summary, index } = bytes.frame()?;
        let index = bytes.opened(footer.index_at, index)?;
        let blocks = BlockList::decode(&index, footer.index_at)
            .ok_or_else(|| bytes.damaged("the index does not list the blocks"))?;
        Ok(Parts { summary, bytes, footer, blocks })
    }

    pub(super) fn segment(&self) -> u32 {
        self.bytes.segment
    }

    /// The lowest sequence of the file, from which those of the entries count.
    pub(super) fn lowest(&self) -> Sequence {
        self.footer.lowest
    }

    /// The first block that may hold `key` or a higher one.
    pub(super) fn first_block_for(&self, key: &[u8]) -> usize {
        self.blocks.first_for(key)
    }

    /// Reads and verifies a block; none behind the last.
    pub(super) fn block(&self, number: usize) -> Result<Option<Block>, KeyFileError> {
        let Some(place) = self.blocks.get(number) else { return Ok(None) };
        let bytes = self.bytes.read(place.offset, place.length as u64)?;
        if self.bytes.seat(place.offset).checksum(&bytes) != place.checksum {
            return Err(self.damaged("the checksum of a block does not fit"));
        }
        Ok(Some(Block::new(self.bytes.opened(place.offset, bytes)?)))
    }

    fn entries_of(&self, number: usize) -> Result<Vec<KeyEntry>, KeyFileError> {
        let mut block = self.block(number)?.unwrap_or_default();
        let mut entries = Vec::new();
        let broken = |_| self.damaged("a block's checksum fits, its contents are no entries");
        while let Some(facts) = block.next(self.lowest()).map_err(broken)? {
            let key = Key::new(bytes::Bytes::copy_from_slice(block.key()));
            entries.push(KeyEntry::new(key.map_err(|_| self.damaged("a key of no length"))?, facts));
        }
        Ok(entries)
    }

    pub(super) fn damaged(&self, what: &'static str) -> KeyFileError {
        self.bytes.damaged(what)
    }

    /// What the filter says of a key's hash; none if it cannot be read.
    fn filter_allows(&self, hash: u64) -> Option<bool> {
        let begin = self.footer.filter_at;
        let lines = self.summary.bytes.checked_sub(begin + FOOTER_BYTES as u64)? / LINE_BYTES as u64;
        if lines == 0 {
            return Some(false);
        }
        let seat = seat_of(self.bytes.seat(begin), line_of(hash, lines));
        let line = self.bytes.read(seat.offset, LINE_BYTES as u64).ok()?;
        line_allows(seat, &line, hash)
    }
}

impl Footer {
    /// Do the parts follow one another, up to a footer at `footer_at`?
    fn fits(&self, footer_at: u64) -> bool {
        let filter_bytes = footer_at.checked_sub(self.filter_at);
        (HEADER_BYTES as u64..=self.filter_at).contains(&self.index_at)
            && filter_bytes.is_some_and(|bytes| bytes % LINE_BYTES as u64 == 0)
    }
}

impl<D: Disk> Bytes<D> {
    /// Header, index, filter and footer, verified by their checksum.
    fn frame(&self) -> Result<Frame, KeyFileError> {
        let header = self.read(0, HEADER_BYTES as u64)?;
        check_header(&header, self.segment, self.generation, self.seal.number)
            .map_err(|error| self.header_error(error))?;
        let length = self.with_file(|disk, file| disk.len(file))?;
        let footer_at =
            length.checked_sub(FOOTER_BYTES as u64).ok_or_else(|| self.damaged("too short for a footer"))?;
        let footer_bytes = self.read(footer_at, FOOTER_BYTES as u64)?;
        let footer = Footer::decode(&footer_bytes)
            .filter(|footer| footer.fits(footer_at))
            .ok_or_else(|| self.damaged("the footer does not fit the file"))?;
        let index = self.read(footer.index_at, footer.filter_at - footer.index_at)?;
        let mut checksum = crc32c::crc32c_append(crc32c::crc32c(&header), &index);
        checksum = self.checksum_of(checksum, footer.filter_at, footer_at)?;
        let own = footer_bytes.get(..FOOTER_CHECKSUM_AT).unwrap_or_default();
        checksum = crc32c::crc32c_append(checksum, own);
        if u32_at(&footer_bytes, FOOTER_CHECKSUM_AT) != Some(checksum) {
            return Err(self.damaged("the checksum of index, filter and footer does not fit"));
        }
        Ok(Frame { footer, summary: footer.summary(length, checksum), index })
    }

    /// Exactly `length` bytes at `offset`.
    fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, KeyFileError> {
        let length = usize::try_from(length).map_err(|_| self.damaged("a part is longer than memory"))?;
        let bytes = self.with_file(|disk, file| disk.read_at(file, offset, length))?;
        if bytes.len() == length { Ok(bytes) } else { Err(self.damaged("the file ends too early")) }
    }

    fn with_file<T>(&self, ask: impl FnOnce(&D, &D::File) -> Result<T, DiskError>) -> Result<T, DiskError> {
        match &self.file {
            Some(file) => ask(&self.disk, file),
            None => ask(&self.disk, &self.disk.open(&key_file_name(self.segment))?),
        }
    }

    /// A part that lies at `offset`, verified: what was encrypted, if the file is.
    fn opened(&self, offset: u64, part: Vec<u8>) -> Result<Vec<u8>, KeyFileError> {
        let seat = self.seat(offset);
        match &self.seal {
            Seal { number: 0, .. } => Ok(part),
            Seal { key: None, .. } => Err(self.damaged("its data key is not known")),
            Seal { key: Some(key), .. } => key
                .open_part(seat.spot(&seat.beside()), &part)
                .ok_or_else(|| self.damaged("the checksum of a part fits, it was not encrypted for this place")),
        }
    }

    /// The checksum, continued over the bytes from `begin` to `end`.
    fn checksum_of(&self, mut checksum: u32, begin: u64, end: u64) -> Result<u32, KeyFileError> {
        let mut at = begin;
        while at < end {
            let bytes = self.read(at, VERIFY_BYTES.min(end - at))?;
            checksum = crc32c::crc32c_append(checksum, &bytes);
            at += bytes.len() as u64;
        }
        Ok(checksum)
    }

    fn seat(&self, offset: u64) -> Seat {
        Seat { segment: self.segment, generation: self.generation, offset }
    }

    fn damaged(&self, what: &'static str) -> KeyFileError {
        KeyFileError::Damaged { segment: self.segment, what }
    }

    fn header_error(&self, error: HeaderError) -> KeyFileError {
        match error {
            HeaderError::Damaged => self.damaged("the header is damaged"),
            HeaderError::OfAnother => self.damaged("it belongs to another segment or generation"),
            HeaderError::UnknownFormat(format) => KeyFileError::UnknownFormat { segment: self.segment, format },
        }
    }
}
