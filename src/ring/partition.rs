//! The fixed slices of the hash space.

use crate::base::Key;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One slice of the hash space: `0..count`. All keys of a partition share their replicas.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId(pub u32);

/// How the hash space is cut: into a power of two of partitions, chosen when the cluster is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Partitioning(u32);

/// The number of partitions is not a power of two in `1..=65536`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} partitions: a power of two from 1 to {max} is expected", max = Partitioning::MAX_COUNT)]
pub struct PartitioningError(pub u32);

impl Partitioning {
    /// Partitions of a new cluster: about ten per node at a hundred nodes, and clocks still small.
    pub const DEFAULT_COUNT: u32 = 1024;
    /// Most partitions. Each costs every replica a clock; more than this serves no cluster we can test.
    pub const MAX_COUNT: u32 = 65_536;

    /// Cuts the hash space into `count` partitions.
    pub fn new(count: u32) -> Result<Self, PartitioningError> {
        if count.is_power_of_two() && count <= Self::MAX_COUNT {
            Ok(Self(count))
        } else {
            Err(PartitioningError(count))
        }
    }

    /// The number of partitions.
    pub fn count(self) -> u32 {
        self.0
    }

    /// The partition of a key's hash: its top bits.
    pub fn partition_of_hash(self, hash: u64) -> PartitionId {
        // With one partition there are no bits to take, and a shift by 64 is none at all.
        let top = hash.checked_shr(u64::BITS - self.0.trailing_zeros()).unwrap_or(0);
        PartitionId(top as u32)
    }

    /// The partition of a key.
    pub fn of(self, key: &Key) -> PartitionId {
        self.partition_of_hash(key.hash64())
    }

    /// Every partition, in order.
    pub fn all(self) -> impl DoubleEndedIterator<Item = PartitionId> + ExactSizeIterator + Clone {
        (0..self.0).map(PartitionId)
    }
}

impl Default for Partitioning {
    fn default() -> Self {
        Self(Self::DEFAULT_COUNT)
    }
}

impl TryFrom<u32> for Partitioning {
    type Error = PartitioningError;
    fn try_from(count: u32) -> Result<Self, PartitioningError> {
        Self::new(count)
    }
}

impl From<Partitioning> for u32 {
    fn from(partitioning: Partitioning) -> u32 {
        partitioning.0
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition-{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_bits_choose_the_partition_at_every_count() {
        for bits in 0..=16 {
            let cut = Partitioning::new(1 << bits).unwrap();
            assert_eq!(cut.partition_of_hash(0), PartitionId(0));
            assert_eq!(cut.partition_of_hash(u64::MAX), PartitionId((1 << bits) - 1));
            assert_eq!(cut.all().count(), 1 << bits);
        }
    }

    #[test]
    fn one_partition_takes_every_key() {
        let one = Partitioning::new(1).unwrap();
        assert_eq!(one.of(&Key::new("anything").unwrap()), PartitionId(0));
    }

    #[test]
    fn only_powers_of_two_within_the_limit_are_counts() {
        for count in [0, 3, 1000, 131_072] {
            assert_eq!(Partitioning::new(count), Err(PartitioningError(count)));
        }
    }

    #[test]
    fn a_key_stays_in_its_partition_for_ever() {
        let place = |text: &'static str| Partitioning::default().of(&Key::new(text).unwrap()).0;
        assert_eq!([place("a"), place("dunlin"), place("user:1")], [923, 744, 237]);
    }
}
