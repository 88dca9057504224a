//! Test values: each says which write it is, and carries its own hash.

use super::WriteId;
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

/// Number and hash.
const FRAME_BYTES: usize = 4 + 8;

/// The value of a write: its number, `filler` bytes that depend on it, and the hash of both.
pub fn value_of(write: WriteId, filler: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(FRAME_BYTES + filler);
    bytes.extend(write.0.to_le_bytes());
    bytes.resize(4 + filler, write.0 as u8 ^ 0x5a);
    let hash = xxh3_64(&bytes);
    bytes.extend(hash.to_le_bytes());
    bytes.into()
}

/// Which write a value is; none if it is torn, or was never written by this harness.
pub fn write_of(value: &[u8]) -> Option<WriteId> {
    let (body, hash) = value.split_last_chunk::<8>()?;
    let number = body.first_chunk::<4>()?;
    (xxh3_64(body).to_le_bytes() == *hash).then(|| WriteId(u32::from_le_bytes(*number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_names_its_write() {
        assert_eq!(write_of(&value_of(WriteId(7), 0)), Some(WriteId(7)));
        assert_eq!(write_of(&value_of(WriteId(70_000), 500)), Some(WriteId(70_000)));
    }

    #[test]
    fn a_torn_value_names_none() {
        let whole = value_of(WriteId(7), 100);
        for cut in 0..whole.len() {
            assert_eq!(write_of(&whole[..cut]), None);
        }
        let mut flipped = whole.to_vec();
        flipped[20] ^= 1;
        assert_eq!(write_of(&flipped), None);
    }
}
