//! Writing a run as a key file.

use super::block::{BLOCK_BYTES, BlockBuilder, shared_bytes};
use super::filter::{Filter, key_hash};
use super::key_file_name;
use super::layout::{Footer, Seat, encode_header};
use super::varint::put_varint;
use super::{KeyFileSummary, KeyRun};
use crate::store::{Disk, DiskError, DiskErrorKind, FileName, Sequence};

/// Bytes gathered before they are written: few calls, and little memory.
const WRITE_BYTES: usize = 256 << 10;

/// Sorts a run and writes it as the key file of its segment, replacing what is there under that name. The
/// contents are synced, the name is not: `sync_dir` is the caller's. A file not finished is taken away again.
pub(crate) fn write_key_file<D: Disk>(disk: &D, run: &mut KeyRun) -> Result<KeyFileSummary, DiskError> {
    run.sort();
    let name = key_file_name(run.segment());
    remove_if_there(disk, &name)?;
    let file = disk.create(&name)?;
    let written = write_parts(disk, &file, run);
    if written.is_err() {
        // It would fill the disk further; the error that counts is the first, and nothing refers to the file.
        let _ = disk.remove(&name);
    }
    written
}

fn write_parts<D: Disk>(disk: &D, file: &D::File, run: &KeyRun) -> Result<KeyFileSummary, DiskError> {
    let (range, keys) = survey(run);
    let mut output = Output { disk, file, written: 0, pending: Vec::new() };
    let header = encode_header(run.segment(), run.generation(), run.seal().number);
    output.put(&header)?;
    let (mut index, filter) = write_blocks(&mut output, run, range.0, Filter::for_keys(keys))?;
    let index_at = output.at();
    seal_part(run, index_at, &mut index);
    output.put(&index)?;
    let filter_at = output.at();
    let mut checksum = crc32c::crc32c_append(crc32c::crc32c(&header), &index);
    for line in filter.into_lines(Seat { segment: run.segment(), generation: run.generation(), offset: filter_at }) {
        checksum = crc32c::crc32c_append(checksum, &line);
        output.put(&line)?;
    }
    let footer = Footer { index_at, filter_at, entries: run.len() as u64, lowest: range.0, highest: range.1 };
    let mut footer_bytes = footer.encode();
    checksum = crc32c::crc32c_append(checksum, &footer_bytes);
    footer_bytes.extend(checksum.to_le_bytes());
    output.put(&footer_bytes)?;
    output.flush()?;
    disk.sync(file)?;
    Ok(footer.summary(output.at(), checksum))
}

/// Writes the blocks; gives back the index, and the filter with all keys in it.
fn write_blocks<D: Disk>(
    output: &mut Output<'_, D>,
    run: &KeyRun,
    lowest: Sequence,
    mut filter: Filter,
) -> Result<(Vec<u8>, Filter), DiskError> {
    let (mut index, mut block) = (Vec::new(), BlockBuilder::default());
    let mut before: &[u8] = &[];
    let mut separator: &[u8] = &[];
    let mut cursor = run.iter();
    while let Some((key, facts)) = cursor.next_borrowed() {
        if key != before {
            filter.insert(key_hash(run.seal(), key));
        }
        if block.bytes.is_empty() {
            separator = separator_of(before, key);
        }
        block.put(lowest, key, &facts);
        before = key;
        if block.bytes.len() >= BLOCK_BYTES {
            end_block(output, run, &mut index, separator, &mut block)?;
        }
    }
    if !block.bytes.is_empty() {
        end_block(output, run, &mut index, separator, &mut block)?;
    }
    Ok((index, filter))
}

/// Writes one block and its line of the index.
fn end_block<D: Disk>(
    output: &mut Output<'_, D>,
    run: &KeyRun,
    index: &mut Vec<u8>,
    separator: &[u8],
    block: &mut BlockBuilder,
) -> Result<(), DiskError> {
    let seat = seal_part(run, output.at(), &mut block.bytes);
    put_varint(index, separator.len() as u64);
    index.extend_from_slice(separator);
    put_varint(index, block.bytes.len() as u64);
    index.extend(seat.checksum(&block.bytes).to_le_bytes());
    output.put(&block.bytes)?;
    block.clear();
    Ok(())
}

/// Encrypts a part that is to lie at `offset`, if the segment is; the part's seat.
fn seal_part(run: &KeyRun, offset: u64, part: &mut Vec<u8>) -> Seat {
    let seat = Seat { segment: run.segment(), generation: run.generation(), offset };
    if let Some(key) = &run.seal().key {
        key.seal_part(seat.spot(&seat.beside()), part);
    }
    seat
}

/// What parts two blocks: as much of the first key as tells it from the last key before.
fn separator_of<'a>(before: &[u8], key: &'a [u8]) -> &'a [u8] {
    key.get(..=shared_bytes(before, key)).unwrap_or(key)
}

/// Lowest and highest sequence, and the number of different keys of a sorted run.
fn survey(run: &KeyRun) -> ((Sequence, Sequence), u64) {
    let mut range: Option<(Sequence, Sequence)> = None;
    let (mut keys, mut before): (u64, &[u8]) = (0, &[]);
    let mut cursor = run.iter();
    while let Some((key, facts)) = cursor.next_borrowed() {
        let (low, high) = range.unwrap_or((facts.sequence, facts.sequence));
        range = Some((low.min(facts.sequence), high.max(facts.sequence)));
        keys += u64::from(key != before);
        before = key;
    }
    (range.unwrap_or_default(), keys)
}

fn remove_if_there<D: Disk>(disk: &D, name: &FileName) -> Result<(), DiskError> {
    match disk.remove(name) {
        Err(error) if error.kind != DiskErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A file that only grows.
struct Output<'a, D: Disk> {
    disk: &'a D,
    file: &'a D::File,
    written: u64,
    pending: Vec<u8>,
}

impl<D: Disk> Output<'_, D> {
    /// Where the next byte will lie.
    fn at(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        self.disk.write_at(self.file, self.written, &self.pending)?;
        self.written = self.at();
        self.pending.clear();
        Ok(())
    }
}
