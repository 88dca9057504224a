//! A compressed block: the length it had, u32 little-endian, then what the algorithm makes of it.

use super::Compression;
use crate::store::frame::u32_at;

/// Bytes of the length.
const LENGTH_BYTES: usize = 4;

/// The block of some bytes; none without compression, or if the algorithm fails.
pub(super) fn compress(compression: Compression, plain: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(plain.len()).ok()?;
    let body = match compression {
        Compression::None => return None,
        Compression::Lz4 => lz4_flex::block::compress(plain),
        Compression::Zstd => zstd_compress(plain)?,
    };
    Some([length.to_le_bytes().as_slice(), &body].concat())
}

/// What a block was made of; none if it was not made by this algorithm, or of more than `most_bytes`: so many
/// are allocated at the utmost, whatever the block says.
pub(super) fn decompress(compression: Compression, block: &[u8], most_bytes: usize) -> Option<Vec<u8>> {
    let length = u32_at(block, 0).map(|length| length as usize).filter(|length| *length <= most_bytes)?;
    let body = block.get(LENGTH_BYTES..)?;
    let plain = match compression {
        Compression::None => return None,
        Compression::Lz4 => {
            let mut plain = vec![0; length];
            let written = lz4_flex::block::decompress_into(body, &mut plain).ok()?;
            plain.truncate(written);
            plain
        }
        Compression::Zstd => zstd_decompress(body, length)?,
    };
    (plain.len() == length).then_some(plain)
}

#[cfg(feature = "runtime")]
use super::zstd::{compress as zstd_compress, decompress as zstd_decompress};

/// Without its library nothing is compressed so; [`super::Encoding::of_flags`] refuses what others have.
#[cfg(not(feature = "runtime"))]
fn zstd_compress(_: &[u8]) -> Option<Vec<u8>> {
    None
}

#[cfg(not(feature = "runtime"))]
fn zstd_decompress(_: &[u8], _: usize) -> Option<Vec<u8>> {
    None
}
