//! What is held, in short: enough to find where two rosters differ.

use super::member::Member;
use super::message::encode_one;
use super::record::Record;
use crate::base::NodeId;
use xxhash_rust::xxh3::xxh3_64;

/// Members are dealt into so many buckets by their ids. Then a request for a full sync is half a kilobyte
/// whatever the cluster's size, and a bucket of the largest cluster fits one answer.
pub(super) const BUCKETS: usize = 64;

/// One number for each bucket, the same wherever the same records are held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprints([u64; BUCKETS]);

impl Default for Fingerprints {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

/// The bucket of a node.
pub(super) fn bucket_of(node: NodeId) -> usize {
    (node.0 % BUCKETS as u64) as usize
}

impl Fingerprints {
    /// Adds a record, or takes away one that was added before: it is the same.
    pub(super) fn toggle(&mut self, member: &Member) {
        if let Some(bucket) = self.0.get_mut(bucket_of(member.node())) {
            *bucket ^= xxh3_64(&encode_one(&Record::whole(member, None)));
        }
    }

    /// The buckets in which the other holds something else.
    pub(super) fn differing(&self, other: &Fingerprints) -> Vec<usize> {
        let pairs = self.0.iter().zip(&other.0).enumerate();
        pairs.filter(|(_, (mine, theirs))| mine != theirs).map(|(bucket, _)| bucket).collect()
    }

    /// As bytes, little-endian, bucket by bucket.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|bucket| bucket.to_le_bytes()).collect()
    }

    /// From bytes; none if there are too few or too many.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        let numbers: Vec<u64> = numbers.iter().map(|number| u64::from_le_bytes(*number)).collect();
        numbers.try_into().ok().filter(|_| rest.is_empty()).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::MemberState;
    use crate::membership::tests::identity;

    fn alive(node: u64) -> Member {
        Member { identity: identity(node).into(), incarnation: 1, state: MemberState::Alive }
    }

    /// Rule: the same records give the same fingerprints in whatever order they came, and a difference
    /// shows in its own bucket alone.
    #[test]
    fn a_difference_shows_in_its_bucket() {
        let (mut here, mut there) = (Fingerprints::default(), Fingerprints::default());
        (0..200).for_each(|node| here.toggle(&alive(node)));
        (0..200).rev().for_each(|node| there.toggle(&alive(node)));
        assert_eq!(here, there);
        there.toggle(&alive(70));
        there.toggle(&alive(70).judged(MemberState::Down));
        assert_eq!(here.differing(&there), [70 % BUCKETS]);
        assert_eq!(Fingerprints::from_bytes(&there.to_bytes()), Some(there));
        assert_eq!(Fingerprints::from_bytes(&[0; 8 * BUCKETS + 1]), None);
    }
}
