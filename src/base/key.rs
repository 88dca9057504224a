//! A key: 1 to 1024 bytes, any bytes.

use super::limits::MAX_KEY_BYTES;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A client's key. Never normalised; cheap to clone. No file name is ever built from one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Bytes", into = "Bytes")]
pub struct Key(Bytes);

/// Why some bytes are not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No byte at all.
    #[error("the key is empty; 1 to {MAX_KEY_BYTES} bytes are allowed")]
    Empty,
    /// More than [`MAX_KEY_BYTES`].
    #[error("the key has {0} bytes; 1 to {MAX_KEY_BYTES} are allowed")]
    TooLong(usize),
}

impl Key {
    /// Checks the length and takes the bytes as they are.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, KeyError> {
        let bytes = bytes.into();
        match bytes.len() {
            0 => Err(KeyError::Empty),
            1..=MAX_KEY_BYTES => Ok(Self(bytes)),
            long => Err(KeyError::TooLong(long)),
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The 64-bit hash that places the key: partition by its top bits, slot by the whole.
    pub fn hash64(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&self.0)
    }
}

impl TryFrom<Bytes> for Key {
    type Error = KeyError;
    fn try_from(bytes: Bytes) -> Result<Self, KeyError> {
        Self::new(bytes)
    }
}

impl From<Key> for Bytes {
    fn from(key: Key) -> Bytes {
        key.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_checked_at_both_ends() {
        assert_eq!(Key::new(""), Err(KeyError::Empty));
        assert!(Key::new(vec![0u8; MAX_KEY_BYTES]).is_ok());
        assert_eq!(Key::new(vec![0u8; MAX_KEY_BYTES + 1]), Err(KeyError::TooLong(MAX_KEY_BYTES + 1)));
    }
}
