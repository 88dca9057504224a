//! What each shard shows of itself, put together.

use super::status::Holding;
use crate::node::NodeStatus;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the shards' drivers leave what they show; the first shows the whole. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct StatusBoard(Arc<Mutex<Board>>);

#[derive(Debug)]
struct Board {
    /// By shard; none before a shard has shown anything.
    parts: Vec<Option<Part>>,
    /// All that is held, by partition.
    holdings: Arc<Vec<Holding>>,
    holdings_stale: bool,
}

#[derive(Debug, Default)]
struct Part {
    node: NodeStatus,
    holdings: Vec<Holding>,
}

impl StatusBoard {
    pub(super) fn new(shards: usize) -> StatusBoard {
        let parts = (0..shards).map(|_| None).collect();
        StatusBoard(Arc::new(Mutex::new(Board { parts, holdings: Arc::default(), holdings_stale: true })))
    }

    /// A shard shows itself; `holdings` if they may have changed.
    pub(super) fn put(&self, shard: usize, node: NodeStatus, holdings: Option<Vec<Holding>>) {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = board.parts.get_mut(shard) else { return };
        let part = slot.get_or_insert_default();
        part.node = node;
        if let Some(holdings) = holdings {
            part.holdings = holdings;
            board.holdings_stale = true;
        }
    }

    /// The node as a whole; none before every shard has shown itself.
    pub(super) fn whole(&self) -> Option<(NodeStatus, Arc<Vec<Holding>>)> {
        let mut board = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut node = NodeStatus::default();
        for part in &board.parts {
            let part = &part.as_ref()?.node;
            for (target, (count, bytes)) in &part.hints {
                let held = node.hints.entry(*target).or_default();
                *held = (held.0 + count, held.1 + bytes);
            }
            node.filling.extend(&part.filling);
            for (source, transfer) in &part.transfers {
                node.transfers.entry(*source).or_default().add(transfer);
            }
            node.transfer_idle = node.transfer_idle.max(part.transfer_idle);
            node.leftovers += part.leftovers;
            node.keys += part.keys;
        }
        node.filling.sort_unstable();
        if std::mem::take(&mut board.holdings_stale) {
            let all = board.parts.iter().flatten().flat_map(|part| part.holdings.iter().cloned());
            let mut all: Vec<Holding> = all.collect();
            all.sort_by_key(|holding| holding.partition);
            board.holdings = Arc::new(all);
        }
        Some((node, Arc::clone(&board.holdings)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::NodeId;
    use crate::ring::PartitionId;

    fn held(partition: u32) -> Holding {
        Holding { partition, ..Holding::default() }
    }

    #[test]
    fn the_whole_is_shown_once_every_shard_has_shown_itself() {
        let board = StatusBoard::new(2);
        let part = |keys, filling: u32| NodeStatus {
            hints: [(NodeId(7), (1, 10))].into(),
            filling: vec![PartitionId(filling)],
            leftovers: 1,
            keys,
            ..NodeStatus::default()
        };
        board.put(1, part(3, 1), Some(vec![held(1), held(3)]));
        assert_eq!(board.whole(), None);
        board.put(0, part(4, 0), Some(vec![held(0), held(2)]));
        let (node, holdings) = board.whole().unwrap();
        assert_eq!((node.keys, node.leftovers, node.hints[&NodeId(7)]), (7, 2, (2, 20)));
        assert_eq!(node.filling, [PartitionId(0), PartitionId(1)]);
        assert_eq!(holdings.iter().map(|holding| holding.partition).collect::<Vec<_>>(), [0, 1, 2, 3]);
        board.put(1, part(5, 1), None);
        let (node, unchanged) = board.whole().unwrap();
        assert_eq!((node.keys, Arc::ptr_eq(&holdings, &unchanged)), (9, true));
    }
}
