//! The ring's own hash: the same on every machine, in every build, for ever.

use std::hash::{BuildHasher, Hasher};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// xxh3 over what is written, each piece seeded with the hash of those before it; integers little-endian.
/// The standard library's integers are in the machine's order and its hashers may change.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RingHasher(u64);

impl BuildHasher for RingHasher {
    type Hasher = Self;
    fn build_hasher(&self) -> Self {
        *self
    }
}

impl Hasher for RingHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_u8(&mut self, value: u8) {
        self.write(&[value]);
    }

    fn write_u32(&mut self, value: u32) {
        self.write(&value.to_le_bytes());
    }

    fn write_u64(&mut self, value: u64) {
        self.write(&value.to_le_bytes());
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_hashed_as_little_endian_bytes() {
        let hasher = RingHasher::default();
        assert_eq!(hasher.hash_one(7u64), xxh3_64_with_seed(&[7, 0, 0, 0, 0, 0, 0, 0], 0));
        assert_eq!(hasher.hash_one(7u32), xxh3_64_with_seed(&[7, 0, 0, 0], 0));
    }

    #[test]
    fn the_order_of_pieces_matters() {
        let hasher = RingHasher::default();
        assert_ne!(hasher.hash_one((1u32, 2u32)), hasher.hash_one((2u32, 1u32)));
    }
}
