//! The preference list: whom to ask for a partition, given who is up. After `riak_core_apl`.

use super::{Layout, PartitionId};
use crate::base::NodeId;

/// A node to ask, and as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Whom to ask.
    pub node: NodeId,
    /// As what.
    pub role: Role,
}

/// As what a node is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It owns the partition.
    Primary,
    /// It holds hints for a primary that is down.
    Fallback {
        /// That primary.
        stands_in_for: NodeId,
    },
}

/// The primaries that are up in the order of the row, then for each primary that is down the next
/// fallback that is up. Shorter than the row when fallbacks run out. `up` is asked once per node needed.
pub fn preference(layout: &Layout, partition: PartitionId, up: impl Fn(NodeId) -> bool) -> Vec<Candidate> {
    let (reachable, down): (Vec<NodeId>, Vec<NodeId>) = layout.primaries(partition).iter().partition(|&&node| up(node));
    let fallbacks = layout.fallbacks(partition).iter().copied().filter(|&node| up(node));
    let stand_in = |(stands_in_for, node)| Candidate { node, role: Role::Fallback { stands_in_for } };
    let primaries = reachable.into_iter().map(|node| Candidate { node, role: Role::Primary });
    primaries.chain(down.into_iter().zip(fallbacks).map(stand_in)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::layout::testing::{layout, nodes};

    const PARTITION: PartitionId = PartitionId(5);

    #[test]
    fn with_all_up_the_list_is_the_primaries() {
        let layout = layout(8, 3, nodes(5));
        let list = preference(&layout, PARTITION, |_| true);
        assert!(list.iter().all(|candidate| candidate.role == Role::Primary));
        assert!(list.iter().map(|candidate| candidate.node).eq(layout.primaries(PARTITION).iter().copied()));
    }

    #[test]
    fn each_down_primary_gets_the_next_fallback_that_is_up() {
        let layout = layout(8, 3, nodes(7));
        let (primaries, fallbacks) = (layout.primaries(PARTITION), layout.fallbacks(PARTITION));
        let down = [primaries[0], primaries[2], fallbacks[1]];
        let list = preference(&layout, PARTITION, |node| !down.contains(&node));
        let fallback = |place: usize, primary: usize| Candidate {
            node: fallbacks[place],
            role: Role::Fallback { stands_in_for: primaries[primary] },
        };
        let expected = [Candidate { node: primaries[1], role: Role::Primary }, fallback(0, 0), fallback(2, 2)];
        assert_eq!(list, expected);
    }

    #[test]
    fn the_list_is_short_when_too_few_are_up() {
        let layout = layout(8, 3, nodes(4));
        let lone = layout.fallbacks(PARTITION)[0];
        let first = layout.primaries(PARTITION)[0];
        let list = preference(&layout, PARTITION, |node| node == lone);
        assert_eq!(list, [Candidate { node: lone, role: Role::Fallback { stands_in_for: first } }]);
        assert!(preference(&layout, PARTITION, |_| false).is_empty());
    }
}
