//! How much a change of the layout would transfer, and how fast, judged by the copies that this node holds.

use super::status::Holding;
use crate::node::transfer_cost;
use crate::ring::Estimates;

/// Sizes of copies, and the pace at which a node takes them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TransferEstimate {
    bytes: Vec<u64>,
    pace: Option<u64>,
}

impl TransferEstimate {
    /// A partition that is not held here is taken for as large as the mean of those that are. None if none is: a node
    /// that owns nothing knows no sizes.
    pub(super) fn of(holdings: &[Holding], partitions: usize, fill_bytes_per_second: u64) -> Option<TransferEstimate> {
        let held = u64::try_from(holdings.len()).ok().filter(|held| *held > 0)?;
        let (keys, total) = holdings.iter().fold((0, 0), |(keys, bytes), of| (keys + of.keys as u64, bytes + of.bytes));
        let mut bytes = vec![total / held; partitions];
        for holding in holdings {
            if let Some(bytes) = bytes.get_mut(holding.partition as usize) {
                *bytes = holding.bytes;
            }
        }
        // What objects cost besides their bytes takes its share of the rate.
        let share = |rate: u64| u128::from(rate) * u128::from(total) / u128::from(transfer_cost(keys, total).max(1));
        let pace = (total > 0).then(|| u64::try_from(share(fill_bytes_per_second)).unwrap_or(u64::MAX));
        Some(TransferEstimate { bytes, pace })
    }

    /// As a plan wants them.
    pub(super) fn for_plan(&self) -> Estimates<'_> {
        Estimates { bytes: Some(&self.bytes), pace: self.pace, ..Estimates::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(partition: u32, keys: usize, bytes: u64) -> Holding {
        Holding { partition, keys, bytes, ..Holding::default() }
    }

    #[test]
    fn what_is_not_held_here_is_as_large_as_the_mean() {
        let estimate = TransferEstimate::of(&[held(0, 1, 100), held(2, 1, 300)], 4, 1_000).unwrap();
        assert_eq!(estimate.bytes, [100, 200, 300, 200]);
    }

    #[test]
    fn small_objects_are_slower_than_their_bytes() {
        let pace = |keys, bytes| TransferEstimate::of(&[held(0, keys, bytes)], 1, 8 << 20).unwrap().pace;
        assert_eq!(pace(0, 0), None);
        let (small, large) = (pace(10_000, 1 << 20).unwrap(), pace(1, 1 << 20).unwrap());
        assert!(small * 10 < large && large < 8 << 20, "{small} {large}");
    }

    #[test]
    fn a_node_that_holds_nothing_knows_no_sizes() {
        assert_eq!(TransferEstimate::of(&[], 4, 1_000), None);
    }
}
