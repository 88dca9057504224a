//! Which partitions count towards R, for those who own none.

use crate::ring::PartitionId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One mark for each partition: does this node's replica of it count (PROTOCOL R6)? The replica keeps it, wherever its
/// shard runs; so a page of keys that is handed over while a mark stands was made of a replica that counted.
#[derive(Debug, Clone)]
pub(super) struct Counting(Arc<[AtomicBool]>);

/// A replica's own mark. One without a place in the table is kept for nobody.
#[derive(Debug, Default)]
pub(super) struct Mark(Option<(Counting, PartitionId)>);

impl Counting {
    /// None of so many partitions counts.
    pub(super) fn none_of(partitions: u32) -> Counting {
        Counting((0..partitions).map(|_| AtomicBool::new(false)).collect())
    }

    /// All do: the store was born with its cluster.
    pub(super) fn set_all(&self) {
        self.0.iter().for_each(|mark| mark.store(true, Ordering::SeqCst));
    }

    /// Does it count?
    pub(super) fn counts(&self, partition: PartitionId) -> bool {
        self.0.get(partition.0 as usize).is_some_and(|mark| mark.load(Ordering::SeqCst))
    }

    /// The mark of one partition.
    pub(super) fn mark(&self, partition: PartitionId) -> Mark {
        Mark(Some((self.clone(), partition)))
    }
}

impl Mark {
    /// What the replica says of itself from now on.
    pub(super) fn is(&self, counts: Counts) {
        if let Some((Counting(marks), partition)) = &self.0
            && let Some(mark) = marks.get(partition.0 as usize)
        {
            mark.store(counts == Counts::Towards, Ordering::SeqCst);
        }
    }
}

/// Does a replica count towards R?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counts {
    /// It does.
    Towards,
    /// It is filling, or has lost something.
    Not,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replicas_mark_is_seen_by_everyone_who_holds_the_table() {
        let counting = Counting::none_of(2);
        let (elsewhere, mark) = (counting.clone(), counting.mark(PartitionId(1)));
        mark.is(Counts::Towards);
        assert!(!elsewhere.counts(PartitionId(0)) && elsewhere.counts(PartitionId(1)));
        elsewhere.set_all();
        mark.is(Counts::Not);
        assert!(elsewhere.counts(PartitionId(0)) && !elsewhere.counts(PartitionId(1)));
    }

    #[test]
    fn a_partition_that_is_not_in_the_table_never_counts() {
        let counting = Counting::none_of(1);
        counting.mark(PartitionId(7)).is(Counts::Towards);
        Mark::default().is(Counts::Towards);
        assert!(!counting.counts(PartitionId(7)));
    }
}
