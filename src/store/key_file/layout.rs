//! The two ends of a key file, and how its checksums are bound to it.

use crate::store::Sequence;
use crate::store::cipher::Spot;
use crate::store::frame::{u32_at, u64_at};

/// Bytes before the first block.
pub(super) const HEADER_BYTES: usize = 32;

/// Bytes behind the filter.
pub(super) const FOOTER_BYTES: usize = 48;

/// Where the footer's own checksum begins.
pub(super) const FOOTER_CHECKSUM_AT: usize = 44;

const MAGIC: &[u8; 8] = b"DUNLINKY";
/// Of a file that is not encrypted.
const FORMAT_PLAIN: u32 = 1;
/// Its blocks and its index are encrypted, its filter has other hashes.
const FORMAT_SEALED: u32 = 2;
const HEADER_CHECKSUM_AT: usize = 28;

/// Where a part of a key file lies: part of its checksum, so that it is valid in one place only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) segment: u32,
    pub(super) generation: u64,
    pub(super) offset: u64,
}

/// Why a header is not the expected one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// Too short or damaged.
    Damaged,
    /// Intact, and of another segment or generation.
    OfAnother,
    /// Intact, and of a format of a later version.
    UnknownFormat(u32),
}

/// Where the parts of a key file begin, and what its entries are as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) index_at: u64,
    pub(super) filter_at: u64,
    pub(super) entries: u64,
    pub(super) lowest: Sequence,
    pub(super) highest: Sequence,
}

impl Seat {
    /// crc32c over the seat and the bytes.
    pub(super) fn checksum(self, bytes: &[u8]) -> u32 {
        let mut sum = crc32c::crc32c(&self.segment.to_le_bytes());
        sum = crc32c::crc32c_append(sum, &self.generation.to_le_bytes());
        sum = crc32c::crc32c_append(sum, &self.offset.to_le_bytes());
        crc32c::crc32c_append(sum, bytes)
    }

    /// The same as what encryption binds bytes to; `beside` is [`Seat::beside`].
    pub(super) fn spot(self, beside: &[u8]) -> Spot<'_> {
        Spot { generation: self.generation, offset: self.offset, beside }
    }

    pub(super) fn beside(self) -> [u8; 12] {
        let mut beside = [0; 12];
        let bytes = self.segment.to_le_bytes().into_iter().chain(self.offset.to_le_bytes());
        beside.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        beside
    }
}

/// The header's bytes.
pub(super) fn encode_header(segment: u32, generation: u64, data_key: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend(MAGIC);
    bytes.extend(format_under(data_key).to_le_bytes());
    bytes.extend(segment.to_le_bytes());
    bytes.extend(generation.to_le_bytes());
    bytes.push(data_key);
    bytes.resize(HEADER_CHECKSUM_AT, 0);
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

fn format_under(data_key: u8) -> u32 {
    if data_key == 0 { FORMAT_PLAIN } else { FORMAT_SEALED }
}

/// Is this the header of the key file of that segment?
pub(super) fn check_header(bytes: &[u8], segment: u32, generation: u64, data_key: u8) -> Result<(), HeaderError> {
    let sum = bytes.get(..HEADER_CHECKSUM_AT).map(crc32c::crc32c);
    let intact = bytes.starts_with(MAGIC) && sum.is_some() && u32_at(bytes, HEADER_CHECKSUM_AT) == sum;
    match u32_at(bytes, 8) {
        Some(FORMAT_PLAIN | FORMAT_SEALED) if intact => {}
        Some(format) if intact => return Err(HeaderError::UnknownFormat(format)),
        _ => return Err(HeaderError::Damaged),
    }
    let ours = u32_at(bytes, 8) == Some(format_under(data_key))
        && u32_at(bytes, 12) == Some(segment)
        && u64_at(bytes, 16) == Some(generation)
        && bytes.get(24) == Some(&data_key);
    if ours { Ok(()) } else { Err(HeaderError::OfAnother) }
}

impl Footer {
    /// The footer's bytes, its checksum left out.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FOOTER_BYTES);
        for number in [self.index_at, self.filter_at, self.entries, self.lowest.0, self.highest.0] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.resize(FOOTER_CHECKSUM_AT, 0);
        bytes
    }

    /// Reads a footer, nothing verified; none if it is too short.
    pub(super) fn decode(bytes: &[u8]) -> Option<Footer> {
        Some(Footer {
            index_at: u64_at(bytes, 0)?,
            filter_at: u64_at(bytes, 8)?,
            entries: u64_at(bytes, 16)?,
            lowest: Sequence(u64_at(bytes, 24)?),
            highest: Sequence(u64_at(bytes, 32)?),
        })
    }
}
