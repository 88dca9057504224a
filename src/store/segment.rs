//! One file of the log: its name and its header.

use super::frame::{u32_at, u64_at};
use super::{FileName, Sequence};

/// Bytes before a segment's first frame.
pub(super) const SEGMENT_HEADER_BYTES: usize = 64;

const MAGIC: &[u8; 8] = b"DUNLINSG";
const FORMAT: u32 = 1;
const CHECKSUM_AT: usize = 60;

/// The one flag of a header: [`Origin::Compacted`].
const COMPACTED: u8 = 1;

/// What a segment says about itself and about what came before it. Written and synced once, before the
/// segment's first frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// The number in the file's name.
    pub(super) segment: u32,
    /// Drawn for this file; part of every checksum in it, so that stale blocks of another are noticed.
    pub(super) generation: u64,
    /// The lowest sequence in the segment.
    pub(super) first: Sequence,
    /// Durable before this segment was made.
    pub(super) durable_before: Sequence,
    /// The segment written before this one; 0 when there is none.
    pub(super) predecessor: u32,
    /// Where the good part of the predecessor ends.
    pub(super) predecessor_end: u32,
    /// Highest sequence that counts in any older segment: what lies beyond was cut.
    pub(super) cut_after: Sequence,
    pub(super) origin: Origin,
    /// Under which data key its frames are encrypted; 0 for none.
    pub(super) data_key: u8,
}

/// How a segment comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Written by the log: it counts as soon as the manifest's `newest` says so.
    Appended,
    /// Copied together from sealed segments: it counts only if the manifest lists it.
    Compacted,
}

/// Why a header is not to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// Too short, damaged, or of another file.
    Damaged,
    /// Intact, and of a format of a later version.
    UnknownFormat(u32),
}

impl SegmentHeader {
    /// The header's bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        bytes.extend(MAGIC);
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend(self.segment.to_le_bytes());
        bytes.extend(self.generation.to_le_bytes());
        bytes.extend(self.first.0.to_le_bytes());
        bytes.extend(self.durable_before.0.to_le_bytes());
        bytes.extend(self.predecessor.to_le_bytes());
        bytes.extend(self.predecessor_end.to_le_bytes());
        bytes.extend(self.cut_after.0.to_le_bytes());
        bytes.extend([if self.origin == Origin::Compacted { COMPACTED } else { 0 }, self.data_key, 0, 0]);
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// Reads the header of the file called after `segment`.
    pub(super) fn decode(bytes: &[u8], segment: u32) -> Result<SegmentHeader, HeaderError> {
        let intact =
            bytes.starts_with(MAGIC) && u32_at(bytes, CHECKSUM_AT) == bytes.get(..CHECKSUM_AT).map(crc32c::crc32c);
        match u32_at(bytes, 8) {
            Some(FORMAT) if intact => {}
            Some(format) if intact => return Err(HeaderError::UnknownFormat(format)),
            _ => return Err(HeaderError::Damaged),
        }
        let header = || {
            Some(SegmentHeader {
                segment: u32_at(bytes, 12)?,
                generation: u64_at(bytes, 16)?,
                first: Sequence(u64_at(bytes, 24)?),
                durable_before: Sequence(u64_at(bytes, 32)?),
                predecessor: u32_at(bytes, 40)?,
                predecessor_end: u32_at(bytes, 44)?,
                cut_after: Sequence(u64_at(bytes, 48)?),
                origin: if bytes.get(56)? & COMPACTED == 0 { Origin::Appended } else { Origin::Compacted },
                data_key: *bytes.get(57)?,
            })
        };
        header().filter(|header| header.segment == segment).ok_or(HeaderError::Damaged)
    }
}

/// The file of a segment.
pub(super) fn segment_name(segment: u32) -> FileName {
    FileName(format!("segment-{segment:08x}.log"))
}

/// The file of a segment that is being made: for the log, or by compaction. It counts for nothing, whatever is in it.
pub(super) fn unfinished_name(segment: u32) -> FileName {
    FileName(format!("segment-{segment:08x}.new"))
}

/// Is this the name of a segment that is being made?
pub(super) fn is_unfinished(name: &FileName) -> bool {
    let digits = name.0.strip_prefix("segment-").and_then(|rest| rest.strip_suffix(".new"));
    let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    number.is_some_and(|number| unfinished_name(number) == *name)
}

/// Where a segment goes whose header cannot be read: kept for the operator, never read again.
pub(super) fn quarantine_name(segment: u32) -> FileName {
    FileName(format!("damaged-{segment:08x}.log"))
}

/// Is this the name of a segment that was set aside?
pub(super) fn is_quarantine(name: &FileName) -> bool {
    let digits = name.0.strip_prefix("damaged-").and_then(|rest| rest.strip_suffix(".log"));
    let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    number.is_some_and(|number| quarantine_name(number) == *name)
}

/// The segment a file holds, if its name is a segment's.
pub(super) fn segment_of(name: &FileName) -> Option<u32> {
    let digits = name.0.strip_prefix("segment-")?.strip_suffix(".log")?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    (segment_name(number) == *name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader {
        segment: 7,
        generation: 1 << 60,
        first: Sequence(40),
        durable_before: Sequence(39),
        predecessor: 6,
        predecessor_end: 4096,
        cut_after: Sequence(41),
        origin: Origin::Compacted,
        data_key: 9,
    };

    #[test]
    fn a_header_comes_back_and_every_flipped_bit_is_noticed() {
        let bytes = HEADER.encode();
        assert_eq!(SegmentHeader::decode(&bytes, 7), Ok(HEADER));
        assert_eq!(SegmentHeader::decode(&bytes, 8), Err(HeaderError::Damaged));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&flipped, 7), Err(HeaderError::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn a_later_format_is_told_from_damage() {
        let mut bytes = HEADER.encode();
        bytes[8] = 2;
        let sum = crc32c::crc32c(&bytes[..CHECKSUM_AT]).to_le_bytes();
        bytes[CHECKSUM_AT..].copy_from_slice(&sum);
        assert_eq!(SegmentHeader::decode(&bytes, 7), Err(HeaderError::UnknownFormat(2)));
    }

    #[test]
    fn only_an_unfinished_segments_exact_name_is_one() {
        assert!(is_unfinished(&unfinished_name(0xab)));
        for name in ["segment-000000ab.log", "segment-ab.new", "segment-000000AB.new", "identity.new"] {
            assert!(!is_unfinished(&FileName(name.into())), "{name}");
        }
    }

    #[test]
    fn only_a_segments_exact_name_is_one() {
        assert_eq!(segment_of(&segment_name(0xab)), Some(0xab));
        for name in
            ["segment-ab.log", "segment-000000AB.log", "segment-+00000ab.log", "segment-000000ab.tmp", "identity"]
        {
            assert_eq!(segment_of(&FileName(name.into())), None, "{name}");
        }
    }
}
