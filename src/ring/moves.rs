//! What a change of the layout transfers.

use super::{Layout, PartitionId};
use crate::base::NodeId;

/// A copy gained: the node must come to hold the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Move {
    /// What is copied.
    pub partition: PartitionId,
    /// Who gains the copy.
    pub node: NodeId,
}

/// The copies gained from one layout to another of the same cluster, in the order of partitions.
pub fn moves(from: &Layout, to: &Layout) -> Vec<Move> {
    let gained = |partition| {
        let gainers = to.primaries(partition).iter().filter(move |&&node| !from.is_primary(partition, node));
        gainers.map(move |&node| Move { partition, node })
    };
    to.partitioning.all().flat_map(gained).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::layout::testing::{layout, nodes};

    #[test]
    fn a_new_node_gains_exactly_what_it_then_owns() {
        let all = nodes(4);
        let three = layout(64, 3, all[..3].to_vec());
        let four = three.change(all.clone(), 3).unwrap();
        let newcomer = all[3].id;
        let owned: Vec<Move> =
            four.partitions_of(newcomer).map(|partition| Move { partition, node: newcomer }).collect();
        assert_eq!(moves(&three, &four), owned);
        assert_eq!(owned.len(), 48);
    }
}
