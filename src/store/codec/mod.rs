//! Floor 2: how a record's payload is stored.
//!
//! Owns: the way from a record to a frame's payload and back, which compression a key's records get, and that what
//! is compressed is encrypted after it. Must not know: files, what a record means. Invariant: what is decoded is what was encoded, whatever
//! the rules say by now; a payload that lies about its length costs no more memory than the longest frame.

mod block;
mod compression;
mod rules;
#[cfg(test)]
mod tests;
#[cfg(feature = "runtime")]
mod zstd;

pub use compression::Compression;
pub(super) use compression::Encoding;
pub use rules::CompressionRules;

use super::Record;
use super::cipher::{DataKeys, Encryption, Seal, Spot, TAG_BYTES};
use super::frame::{MAX_PAYLOAD_BYTES, MAX_RECORD_BYTES};
use crate::base::Key;
use serde::Deserialize;

/// Deepest nesting a record may have; the deepest has nine levels.
const MAX_DEPTH: usize = 32;

/// Shorter payloads are stored as they are: they hold little but a key, a dot and a time, which do not repeat.
const MIN_COMPRESSED_BYTES: usize = 128;

/// What compression must save to be kept: one part in so many. Less is not worth decoding at every read.
const LEAST_GAIN: usize = 8;

/// How to encode what is written from now on.
#[derive(Debug, Clone, Default)]
pub struct CodecOptions {
    /// Which records are compressed, and how.
    pub compression: CompressionRules,
    /// How all of it is encrypted; none for not at all, which a directory that is encrypted refuses.
    pub encryption: Option<Encryption>,
}

/// Encodes and decodes the payloads of one store.
#[derive(Debug)]
pub(super) struct Codec {
    compression: CompressionRules,
    keys: DataKeys,
}

/// A payload ready for a frame, which encrypts it in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) encoding: Encoding,
    pub(super) bytes: Vec<u8>,
}

/// Why a payload whose checksum fits cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undecodable {
    NoKey,
    Forged,
    NotCompressed,
    NotARecord,
}

impl Undecodable {
    /// In words.
    pub(super) fn what(self) -> &'static str {
        match self {
            Undecodable::NoKey => "the checksum fits, the data key is not known",
            Undecodable::Forged => "the checksum fits, the contents were not encrypted for this place",
            Undecodable::NotCompressed => "the checksum fits, the contents cannot be decompressed",
            Undecodable::NotARecord => "the checksum fits, the contents are not a record",
        }
    }
}

impl Codec {
    pub(super) fn new(compression: CompressionRules, keys: DataKeys) -> Codec {
        Codec { compression, keys }
    }

    /// The data keys there are.
    pub(super) fn keys(&self) -> &DataKeys {
        &self.keys
    }

    /// Under which data key a new segment is sealed.
    pub(super) fn current_seal(&self) -> Seal {
        self.keys.seal(self.keys.current())
    }

    /// A record's payload.
    pub(super) fn encode(&self, record: &Record) -> Stored {
        let plain = rmp_serde::to_vec(record).expect("records hold nothing MessagePack cannot say");
        self.stored(self.compression.of(record.body.key()), plain)
    }

    /// Encrypts a payload in the place where it is to stay; what belongs behind it.
    pub(super) fn seal(&self, encoding: Encoding, spot: Spot<'_>, payload: &mut [u8]) -> Option<[u8; TAG_BYTES]> {
        self.keys.get(encoding.data_key).map(|key| key.seal_frame(spot, payload))
    }

    /// What was encrypted in a place.
    pub(super) fn open(&self, encoding: Encoding, spot: Spot<'_>, payload: &[u8]) -> Result<Vec<u8>, Undecodable> {
        let key = self.keys.get(encoding.data_key).ok_or(Undecodable::NoKey)?;
        key.open_frame(spot, payload).ok_or(Undecodable::Forged)
    }

    /// The record in an opened payload.
    pub(super) fn decode(&self, encoding: Encoding, payload: &[u8]) -> Result<Record, Undecodable> {
        match encoding.compression {
            Compression::None => record_in(payload),
            compression => record_in(&decompressed(compression, payload)?),
        }
    }

    /// The opened payload of a record of `key` for another place: as it is, if it has the compression that the rules
    /// give the key.
    pub(super) fn encode_again(&self, key: &Key, encoding: Encoding, payload: Vec<u8>) -> Result<Stored, Undecodable> {
        let wanted = self.compression.of(Some(key));
        let plain = match encoding.compression {
            found if found == wanted && found != Compression::None => {
                let encoding = Encoding { data_key: self.keys.current(), ..encoding };
                return Ok(Stored { encoding, bytes: payload });
            }
            Compression::None => payload,
            found => decompressed(found, &payload)?,
        };
        Ok(self.stored(wanted, plain))
    }

    fn stored(&self, compression: Compression, plain: Vec<u8>) -> Stored {
        let (compression, bytes) = compressed(compression, plain);
        Stored { encoding: Encoding { compression, data_key: self.keys.current() }, bytes }
    }
}

impl Stored {
    /// Bytes in a frame.
    pub(super) fn sealed_bytes(&self) -> usize {
        self.bytes.len() + if self.encoding.data_key == 0 { 0 } else { TAG_BYTES }
    }
}

/// Compresses what is worth it. What is too long for a frame stays so, to be refused as what it is: it could
/// not be read back.
fn compressed(compression: Compression, plain: Vec<u8>) -> (Compression, Vec<u8>) {
    let worth_trying = (MIN_COMPRESSED_BYTES..=MAX_RECORD_BYTES).contains(&plain.len());
    let block = if worth_trying { block::compress(compression, &plain) } else { None };
    match block.filter(|block| block.len() <= plain.len() - plain.len() / LEAST_GAIN) {
        Some(block) => (compression, block),
        None => (Compression::None, plain),
    }
}

fn decompressed(compression: Compression, payload: &[u8]) -> Result<Vec<u8>, Undecodable> {
    block::decompress(compression, payload, MAX_PAYLOAD_BYTES).ok_or(Undecodable::NotCompressed)
}

fn record_in(plain: &[u8]) -> Result<Record, Undecodable> {
    let mut decoder = rmp_serde::Deserializer::from_read_ref(plain);
    decoder.set_max_depth(MAX_DEPTH);
    Record::deserialize(&mut decoder).map_err(|_| Undecodable::NotARecord)
}
