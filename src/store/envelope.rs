//! A small file that is read and replaced whole: magic, format, length, checksum, payload.

use super::frame::u32_at;

/// Bytes before the payload.
pub(super) const ENVELOPE_BYTES: usize = 20;

/// The checksum covers what lies before it, and the payload.
const CHECKSUM_AT: usize = 16;

/// An intact file's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    pub(super) format: u32,
    /// Of the whole file; tells this file from another intact one of its name.
    pub(super) checksum: u32,
    pub(super) payload: &'a [u8],
}

/// The file's bytes. Longest payload: 4 GiB, far above what any caller lets through.
pub(super) fn seal(magic: &[u8; 8], format: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENVELOPE_BYTES + payload.len());
    bytes.extend(magic);
    bytes.extend(format.to_le_bytes());
    bytes.extend((payload.len() as u32).to_le_bytes());
    let sum = crc32c::crc32c_append(crc32c::crc32c(&bytes), payload);
    bytes.extend(sum.to_le_bytes());
    bytes.extend(payload);
    bytes
}

/// Checks a file's bytes; none if they are damaged or another kind of file's.
pub(super) fn open<'a>(magic: &[u8; 8], bytes: &'a [u8]) -> Option<Envelope<'a>> {
    let (header, payload) = bytes.split_at_checked(ENVELOPE_BYTES)?;
    let checksum = crc32c::crc32c_append(crc32c::crc32c(header.get(..CHECKSUM_AT)?), payload);
    let intact = header.starts_with(magic)
        && u32_at(header, 12)? as usize == payload.len()
        && u32_at(header, CHECKSUM_AT)? == checksum;
    intact.then_some(Envelope { format: u32_at(header, 8)?, checksum, payload })
}
