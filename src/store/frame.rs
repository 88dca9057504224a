//! A record as bytes in a segment: a checked header and a payload.

use super::cipher::{Spot, TAG_BYTES};
use super::codec::{Codec, Encoding, Stored, Undecodable};
use super::{Body, Place, Record, Sequence};
use crate::base::{Key, Mutation, broken};
use std::borrow::Cow;

/// Bytes before a frame's payload.
pub(super) const FRAME_HEADER_BYTES: usize = 28;

/// From here on a frame's header is bound to what is encrypted behind it: length and checksum come after that.
const BOUND_FROM: usize = 8;
const BESIDE_BYTES: usize = 4 + FRAME_HEADER_BYTES - BOUND_FROM;

/// Frames begin at multiples of this, so that a search behind a bad frame looks at one place in eight.
pub(super) const FRAME_ALIGNMENT: usize = 8;

/// Longest frame. 64 siblings of 1 MiB fit four times over (replication never refuses siblings), and a
/// mad length cannot make recovery allocate more than this.
pub(super) const MAX_FRAME_BYTES: usize = 256 << 20;

/// Longest payload: it and its header are a frame.
pub(super) const MAX_PAYLOAD_BYTES: usize = MAX_FRAME_BYTES - FRAME_HEADER_BYTES;

/// Longest record that is taken, compressed or not: an opening with other settings may copy it as it is, with a tag.
pub(super) const MAX_RECORD_BYTES: usize = MAX_PAYLOAD_BYTES - TAG_BYTES;

/// A frame whose payload is a record as it is; its flags are 0.
const FORMAT_PLAIN: u8 = 1;

/// A frame whose flags say how its payload is encoded.
const FORMAT_ENCODED: u8 = 2;

/// Where a frame lies: part of its checksum, so that a frame is valid in one place only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) segment: u32,
    pub(super) generation: u64,
    pub(super) offset: u32,
}

/// What a frame says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) payload_bytes: u32,
    pub(super) checksum: u32,
    pub(super) format: u8,
    pub(super) kind: u8,
    pub(super) flags: u16,
    pub(super) sequence: Sequence,
    /// Every record up to this sequence was durable before this frame was written.
    pub(super) durable_before: Sequence,
}

/// A record ready to be framed.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    pub(super) sequence: Sequence,
    pub(super) record: &'a Record,
    payload: Stored,
}

/// A frame whose checksum fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) header: FrameHeader,
    encoding: Encoding,
    seat: Seat,
    bytes: &'a [u8],
    payload: &'a [u8],
}

/// Why some bytes are not a frame of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameError {
    /// Not a frame, or damaged.
    Damaged,
    /// A frame with a valid checksum, and a format or flags of a later version.
    UnknownFormat(u8),
}

impl Seat {
    /// Segment, generation, offset, little-endian: as one piece, for a checksum's call costs more than its bytes.
    fn bytes(self) -> [u8; 16] {
        let Seat { segment, generation, offset } = self;
        (u128::from(offset) << 96 | u128::from(generation) << 32 | u128::from(segment)).to_le_bytes()
    }
}

impl FrameHeader {
    /// Reads a header that may be one: the cheap checks that keep a search from hashing garbage.
    pub(super) fn parse(bytes: &[u8]) -> Option<FrameHeader> {
        let header = FrameHeader {
            payload_bytes: u32_at(bytes, 0)?,
            checksum: u32_at(bytes, 4)?,
            format: *bytes.get(8)?,
            kind: *bytes.get(9)?,
            flags: u16_at(bytes, 10)?,
            sequence: Sequence(u64_at(bytes, 12)?),
            durable_before: Sequence(u64_at(bytes, 20)?),
        };
        let plausible = header.payload_bytes > 0
            && header.frame_bytes() <= MAX_FRAME_BYTES
            && header.durable_before < header.sequence
            && header.format > 0;
        plausible.then_some(header)
    }

    /// Bytes of the whole frame, padding included.
    pub(super) fn frame_bytes(&self) -> usize {
        frame_bytes(self.payload_bytes as usize)
    }

    /// How the payload is stored; none if that is of a later version.
    fn encoding(&self) -> Option<Encoding> {
        match self.format {
            FORMAT_PLAIN => (self.flags == 0).then_some(Encoding::PLAIN),
            FORMAT_ENCODED => Encoding::of_flags(self.flags),
            _ => None,
        }
    }
}

impl<'a> Entry<'a> {
    /// Encodes a record.
    pub(super) fn of(codec: &Codec, sequence: Sequence, record: &'a Record) -> Self {
        Entry { sequence, record, payload: codec.encode(record) }
    }

    /// Encodes records that follow `last`.
    pub(super) fn all_after(codec: &Codec, last: Sequence, records: &'a [Record]) -> Vec<Self> {
        (last.0 + 1..).zip(records).map(|(sequence, record)| Entry::of(codec, Sequence(sequence), record)).collect()
    }

    /// Bytes this entry takes in a segment.
    pub(super) fn frame_bytes(&self) -> usize {
        frame_bytes(self.payload.sealed_bytes())
    }

    /// Is it longer than can be read back?
    pub(super) fn is_too_long(&self) -> bool {
        self.payload.bytes.len() > MAX_RECORD_BYTES
    }

    /// Appends the frame to `out`; returns its place.
    pub(super) fn put(&self, codec: &Codec, out: &mut Vec<u8>, seat: Seat, durable_before: Sequence) -> Place {
        put_frame(codec, out, seat, (kind_of(&self.record.body), self.sequence, durable_before), &self.payload)
    }
}

/// Appends a record as a frame of another place, under its own sequence; returns where. The record and all
/// before it must be durable.
pub(super) fn put_again(codec: &Codec, out: &mut Vec<u8>, seat: Seat, header: &FrameHeader, payload: &Stored) -> Place {
    let before = Sequence(header.sequence.0.saturating_sub(1));
    put_frame(codec, out, seat, (header.kind, header.sequence, before), payload)
}

fn put_frame(
    codec: &Codec,
    out: &mut Vec<u8>,
    seat: Seat,
    (kind, sequence, durable_before): (u8, Sequence, Sequence),
    payload: &Stored,
) -> Place {
    let Stored { encoding, bytes } = payload;
    let (start, length) = (out.len(), frame_bytes(payload.sealed_bytes()));
    let format = if *encoding == Encoding::PLAIN { FORMAT_PLAIN } else { FORMAT_ENCODED };
    out.reserve(length);
    out.extend_from_slice(&(payload.sealed_bytes() as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&[format, kind]);
    out.extend_from_slice(&encoding.flags().to_le_bytes());
    out.extend_from_slice(&sequence.0.to_le_bytes());
    out.extend_from_slice(&durable_before.0.to_le_bytes());
    out.extend_from_slice(bytes);
    if encoding.data_key > 0 {
        seal(codec, *encoding, seat, out, start);
    }
    out.resize(start + length, 0);
    let frame = out.get_mut(start..).unwrap_or_default();
    let checksum = checksum(seat, frame).to_le_bytes();
    frame.iter_mut().skip(4).zip(checksum).for_each(|(to, from)| *to = from);
    Place { segment: seat.segment, offset: seat.offset, length: length as u32 }
}

/// Encrypts the payload, which is all behind the header of the frame that begins at `start`, and puts its tag there.
fn seal(codec: &Codec, encoding: Encoding, seat: Seat, out: &mut Vec<u8>, start: usize) {
    let Some((header, payload)) = out.get_mut(start..).and_then(|frame| frame.split_at_mut_checked(FRAME_HEADER_BYTES))
    else {
        return;
    };
    let tag = codec.seal(encoding, seat.spot(&beside(seat, header)), payload);
    out.extend(tag.into_iter().flatten());
}

/// What an encrypted payload is bound to besides generation and offset: the segment, and the header but for length
/// and checksum.
fn beside(seat: Seat, frame: &[u8]) -> [u8; BESIDE_BYTES] {
    let mut beside = [0; BESIDE_BYTES];
    let bytes = seat.segment.to_le_bytes().into_iter().chain(frame.iter().copied().skip(BOUND_FROM));
    beside.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    beside
}

impl Seat {
    fn spot<'a>(&self, beside: &'a [u8]) -> Spot<'a> {
        Spot { generation: self.generation, offset: self.offset.into(), beside }
    }
}

/// Checks the frame that fills `bytes` and lies at `seat`.
pub(super) fn verify(seat: Seat, bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let header = FrameHeader::parse(bytes).ok_or(FrameError::Damaged)?;
    if header.frame_bytes() != bytes.len() || checksum(seat, bytes) != header.checksum {
        return Err(FrameError::Damaged);
    }
    let encoding = header.encoding().ok_or(FrameError::UnknownFormat(header.format))?;
    let end = FRAME_HEADER_BYTES + header.payload_bytes as usize;
    let payload = bytes.get(FRAME_HEADER_BYTES..end).ok_or(FrameError::Damaged)?;
    Ok(Frame { header, encoding, seat, bytes, payload })
}

impl Frame<'_> {
    /// The record in it.
    pub(super) fn record(&self, codec: &Codec) -> Result<Record, Undecodable> {
        codec.decode(self.encoding, &self.opened(codec)?)
    }

    /// Its payload for a frame of another place.
    pub(super) fn payload_again(&self, codec: &Codec, key: &Key) -> Result<Stored, Undecodable> {
        codec.encode_again(key, self.encoding, self.opened(codec)?.into_owned())
    }

    fn opened(&self, codec: &Codec) -> Result<Cow<'_, [u8]>, Undecodable> {
        if self.encoding.data_key == 0 {
            return Ok(Cow::Borrowed(self.payload));
        }
        codec.open(self.encoding, self.seat.spot(&beside(self.seat, self.bytes)), self.payload).map(Cow::Owned)
    }
}

/// crc32c over the seat and the frame, its own four bytes left out.
fn checksum(seat: Seat, frame: &[u8]) -> u32 {
    let mut sum = 0;
    if !broken(Mutation::ChecksumWithoutOffset) {
        sum = crc32c::crc32c_append(sum, &seat.bytes());
    }
    sum = crc32c::crc32c_append(sum, frame.get(..4).unwrap_or_default());
    crc32c::crc32c_append(sum, frame.get(8..).unwrap_or_default())
}

fn frame_bytes(payload: usize) -> usize {
    (FRAME_HEADER_BYTES + payload).next_multiple_of(FRAME_ALIGNMENT)
}

fn kind_of(body: &Body) -> u8 {
    match body {
        Body::Object { .. } => 1,
        Body::Join { .. } => 2,
        Body::Void { .. } => 3,
        Body::Hint(_) => 4,
        Body::HintDone { .. } => 5,
        Body::Complete => 6,
        Body::Reset { .. } => 7,
        Body::Drop => 8,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

/// The little-endian number at `at`, if the bytes reach so far.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

/// The little-endian number at `at`, if the bytes reach so far.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{Actor, Dot};
    use crate::ring::PartitionId;
    use crate::store::cipher::DataKeys;
    use crate::store::memory::MemoryDisk;
    use crate::store::{Compression, Encryption, SecretKey};
    use std::collections::BTreeSet;

    const SEAT: Seat = Seat { segment: 3, generation: 9, offset: 64 };

    fn codec(compression: Compression) -> Codec {
        Codec::new(compression.into(), DataKeys::default())
    }

    fn framed(compression: Compression) -> (Record, Vec<u8>) {
        let dots = (1..99).map(|below| Dot { actor: Actor(u64::MAX - below), counter: 1 }).collect();
        let record = Record { partition: PartitionId(5), body: Body::Join { dots } };
        let mut bytes = Vec::new();
        let codec = codec(compression);
        Entry::of(&codec, Sequence(4), &record).put(&codec, &mut bytes, SEAT, Sequence(2));
        (record, bytes)
    }

    #[test]
    fn a_frame_gives_its_record_back() {
        for (compression, format) in [(Compression::None, FORMAT_PLAIN), (Compression::Lz4, FORMAT_ENCODED)] {
            let (record, bytes) = framed(compression);
            let frame = verify(SEAT, &bytes).unwrap();
            let FrameHeader { sequence, durable_before, format: found, .. } = frame.header;
            assert_eq!((sequence, durable_before, found), (Sequence(4), Sequence(2), format));
            assert_eq!(frame.record(&codec(Compression::None)), Ok(record));
            assert_eq!(bytes.len() % FRAME_ALIGNMENT, 0);
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for bytes in [framed(Compression::None).1, framed(Compression::Lz4).1] {
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(verify(SEAT, &flipped), Err(FrameError::Damaged), "bit {bit}");
            }
        }
    }

    #[test]
    fn what_is_encrypted_opens_at_its_seat_as_a_whole_or_not_at_all() {
        let encryption =
            Encryption { master_keys: vec![SecretKey::new([1; 32])], fresh_data_key: SecretKey::new([2; 32]) };
        let keys = DataKeys::open(&MemoryDisk::default(), Some(&encryption), &BTreeSet::new()).unwrap();
        let codec = Codec::new(Compression::Lz4.into(), keys);
        let (record, plain) = framed(Compression::None);
        let mut bytes = Vec::new();
        Entry::of(&codec, Sequence(4), &record).put(&codec, &mut bytes, SEAT, Sequence(2));
        let opened = |seat, mut bytes: Vec<u8>| {
            let sum = checksum(seat, &bytes).to_le_bytes();
            bytes[4..8].copy_from_slice(&sum);
            verify(seat, &bytes).ok().and_then(|frame| frame.record(&codec).ok())
        };
        assert_eq!(opened(SEAT, bytes.clone()), Some(record));
        assert!(bytes.len() < plain.len(), "compressed before it is encrypted");
        // Whatever is changed, with a checksum that fits: length (0..4), checksum and padding are not authenticated.
        let end = FRAME_HEADER_BYTES + FrameHeader::parse(&bytes).unwrap().payload_bytes as usize;
        for bit in (8 * 8)..(end * 8) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(opened(SEAT, flipped), None, "bit {bit}");
        }
        for seat in [Seat { segment: 4, ..SEAT }, Seat { generation: 8, ..SEAT }, Seat { offset: 72, ..SEAT }] {
            assert_eq!(opened(seat, bytes.clone()), None);
        }
    }

    #[test]
    fn formats_and_flags_of_later_versions_are_told_from_damage() {
        for (at, value, format) in [(8, 3, 3), (10, 1, 1), (11, 1, 1)] {
            let (_, mut bytes) = framed(Compression::None);
            bytes[at] = value;
            let sum = checksum(SEAT, &bytes).to_le_bytes();
            bytes[4..8].copy_from_slice(&sum);
            assert_eq!(verify(SEAT, &bytes), Err(FrameError::UnknownFormat(format)));
        }
        let (_, mut bytes) = framed(Compression::Lz4);
        bytes[10] |= 0x40;
        let sum = checksum(SEAT, &bytes).to_le_bytes();
        bytes[4..8].copy_from_slice(&sum);
        assert_eq!(verify(SEAT, &bytes), Err(FrameError::UnknownFormat(FORMAT_ENCODED)));
    }

    #[test]
    fn a_frame_is_valid_at_its_own_seat_only() {
        let (_, bytes) = framed(Compression::Lz4);
        for seat in [Seat { segment: 4, ..SEAT }, Seat { generation: 8, ..SEAT }, Seat { offset: 72, ..SEAT }] {
            assert_eq!(verify(seat, &bytes), Err(FrameError::Damaged));
        }
    }
}
