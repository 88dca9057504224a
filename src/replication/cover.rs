//! Which replicas a listing asks for which partitions, and what their answers add up to.

use crate::base::{Key, Mutation, NodeId, broken};
use crate::ring::{Layout, PartitionId};
use crate::store::{KeyPage, Reach};
use std::collections::{BTreeMap, BTreeSet};

/// Most keys on one page of a listing: what a node holds in memory for it, and reads one by one.
pub const MAX_PAGE_KEYS: usize = 1000;

/// A listing needs R complete replicas of every partition: then whatever W replicas hold is listed by one of them.
/// Pure: says whom to ask, takes their answers, merges.
#[derive(Debug, Clone)]
pub struct Cover {
    required: usize,
    standing: BTreeMap<PartitionId, BTreeMap<NodeId, Standing>>,
    pages: Vec<KeyPage>,
    answered: BTreeSet<NodeId>,
}

/// What a replica is to a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is asked.
    Asked,
    /// It is asked, and another is asked in its place if there is one.
    Late,
    /// It has answered.
    Answered,
    /// It cannot be counted: filling, down, or its store failed.
    Unfit,
}

/// A partition that too few replicas are left for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uncovered {
    /// How many are needed.
    pub required: usize,
    /// How many there are.
    pub reachable: usize,
}

impl Cover {
    /// A cover by `required` replicas of each partition.
    pub fn new(required: usize) -> Self {
        Cover { required, standing: BTreeMap::new(), pages: Vec::new(), answered: BTreeSet::new() }
    }

    /// Whom to ask for what, besides those who were. Of a partition's replicas those that `rank` lowest come first;
    /// those it does not rank cannot be asked. Ranking them alike everywhere, few nodes are asked. Late ones may answer
    /// yet: with nobody to stand in for them they are waited for.
    pub fn missing(
        &self,
        layout: &Layout,
        rank: impl Fn(NodeId) -> Option<u64>,
    ) -> Result<BTreeMap<NodeId, Vec<PartitionId>>, Uncovered> {
        let mut asks: BTreeMap<NodeId, Vec<PartitionId>> = BTreeMap::new();
        let nobody = BTreeMap::new();
        for partition in layout.partitioning.all() {
            let standing = self.standing.get(&partition).unwrap_or(&nobody);
            let counted = |standing: &&Standing| matches!(standing, Standing::Asked | Standing::Answered);
            let have = standing.values().filter(counted).count();
            let late = standing.values().filter(|standing| **standing == Standing::Late).count();
            let new = layout.primaries(partition).iter().filter(|node| !standing.contains_key(node));
            let mut new: Vec<(u64, NodeId)> = new.filter_map(|node| Some((rank(*node)?, *node))).collect();
            let reachable = have + late + new.len();
            if reachable < self.required {
                return Err(Uncovered { required: self.required, reachable });
            }
            new.sort_unstable();
            for (_, node) in new.into_iter().take(self.required.saturating_sub(have)) {
                asks.entry(node).or_default().push(partition);
            }
        }
        Ok(asks)
    }

    /// A node is asked for these partitions.
    pub fn asked(&mut self, node: NodeId, partitions: &[PartitionId]) {
        self.set(node, partitions, Standing::Asked);
    }

    /// It takes long: whatever it was asked for is asked of others, too, as far as there are others.
    pub fn late(&mut self, node: NodeId, partitions: &[PartitionId]) {
        self.set(node, partitions, Standing::Late);
    }

    /// It will not answer for these partitions.
    pub fn unfit(&mut self, node: NodeId, partitions: &[PartitionId]) {
        self.set(node, partitions, Standing::Unfit);
    }

    /// Its keys of these partitions.
    pub fn answer(&mut self, node: NodeId, partitions: &[PartitionId], page: KeyPage) {
        self.set(node, partitions, Standing::Answered);
        self.answered.insert(node);
        self.pages.push(page);
    }

    /// Has every partition of the layout enough answers?
    pub fn is_complete(&self, layout: &Layout) -> bool {
        let answers = |partition: &PartitionId| {
            let standing = self.standing.get(partition).into_iter().flat_map(BTreeMap::values);
            standing.filter(|standing| **standing == Standing::Answered).count()
        };
        layout.partitioning.all().all(|partition| answers(&partition) >= self.required)
    }

    /// How many replicas of each partition are needed.
    pub fn required(&self) -> usize {
        self.required
    }

    /// How many nodes have answered.
    pub fn answers(&self) -> usize {
        self.answered.len()
    }

    /// The keys of all answers, in order, as far as every answer is complete, and `limit` at most. A key is one that
    /// some replica holds a version of: whether it exists is for a read to say.
    pub fn merged(self, limit: usize) -> KeyPage {
        let through = self.pages.iter().filter_map(|page| page.reach.through());
        let border = if broken(Mutation::ListingSkips) { through.max() } else { through.min() }.cloned();
        let within = |key: &Key| border.as_ref().is_none_or(|border| key <= border);
        let keys: BTreeSet<&Key> = self.pages.iter().flat_map(|page| &page.keys).filter(|key| within(key)).collect();
        let cut = keys.len() > limit;
        let keys: Vec<Key> = keys.into_iter().take(limit).cloned().collect();
        let reach = match (cut, border) {
            (true, _) => keys.last().cloned().map_or(Reach::End, Reach::Through),
            (false, Some(border)) => Reach::Through(border),
            (false, None) => Reach::End,
        };
        KeyPage { keys, reach }
    }

    fn set(&mut self, node: NodeId, partitions: &[PartitionId], standing: Standing) {
        for partition in partitions {
            self.standing.entry(*partition).or_default().insert(node, standing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ClusterId;
    use crate::ring::{LayoutNode, Partitioning};

    fn layout(nodes: u64) -> Layout {
        let node = |id: u64| LayoutNode {
            id: NodeId(id),
            name: format!("n{id}"),
            zone: String::new(),
            capacity: 1,
            address: String::new(),
            membership_address: String::new(),
        };
        Layout::first(ClusterId(1), Partitioning::new(16).unwrap(), 3, (1..=nodes).map(node).collect()).unwrap()
    }

    fn page(keys: &[&str], through: Option<&str>) -> KeyPage {
        let key = |text: &str| Key::new(text.to_owned()).unwrap();
        let reach = through.map_or(Reach::End, |through| Reach::Through(key(through)));
        KeyPage { keys: keys.iter().map(|text| key(text)).collect(), reach }
    }

    #[test]
    fn as_few_nodes_are_asked_as_hold_every_partition_often_enough() {
        let (layout, cover) = (layout(3), Cover::new(2));
        let asks = cover.missing(&layout, |node| Some(node.0)).unwrap();
        assert_eq!(asks.keys().copied().collect::<Vec<_>>(), [NodeId(1), NodeId(2)]);
        assert!(asks.values().all(|partitions| partitions.len() == 16));
        let down = |node: NodeId| (node != NodeId(2)).then_some(node.0);
        assert_eq!(cover.missing(&layout, down).unwrap().into_keys().collect::<Vec<_>>(), [NodeId(1), NodeId(3)]);
    }

    #[test]
    fn a_partition_with_too_few_replicas_left_is_uncovered() {
        let (layout, mut cover) = (layout(4), Cover::new(2));
        let partition = PartitionId(0);
        let primaries = layout.primaries(partition).to_vec();
        cover.unfit(primaries[0], &[partition]);
        let asks = cover.missing(&layout, |node| Some(node.0)).unwrap();
        assert!(!asks.get(&primaries[0]).is_some_and(|partitions| partitions.contains(&partition)));
        cover.unfit(primaries[1], &[partition]);
        let uncovered = cover.missing(&layout, |node| Some(node.0));
        assert_eq!(uncovered, Err(Uncovered { required: 2, reachable: 1 }));
    }

    #[test]
    fn a_late_node_that_nobody_can_stand_in_for_is_waited_for() {
        let (layout, mut cover) = (layout(3), Cover::new(3));
        let all: Vec<PartitionId> = layout.partitioning.all().collect();
        [1, 2, 3].into_iter().for_each(|node| cover.asked(NodeId(node), &all));
        cover.late(NodeId(2), &all);
        cover.answer(NodeId(1), &all, page(&[], None));
        assert_eq!(cover.missing(&layout, |node| Some(node.0)), Ok(BTreeMap::new()));
        cover.unfit(NodeId(2), &all);
        let uncovered = cover.missing(&layout, |node| Some(node.0));
        assert_eq!(uncovered, Err(Uncovered { required: 3, reachable: 2 }));
    }

    #[test]
    fn a_late_node_is_replaced_and_counts_once_it_answers() {
        let (layout, mut cover) = (layout(3), Cover::new(2));
        for (node, partitions) in cover.missing(&layout, |node| Some(node.0)).unwrap() {
            cover.asked(node, &partitions);
        }
        assert!(cover.missing(&layout, |node| Some(node.0)).unwrap().is_empty());
        let all: Vec<PartitionId> = layout.partitioning.all().collect();
        cover.late(NodeId(2), &all);
        assert_eq!(cover.missing(&layout, |node| Some(node.0)).unwrap().into_keys().collect::<Vec<_>>(), [NodeId(3)]);
        cover.answer(NodeId(1), &all, page(&[], None));
        assert!(!cover.is_complete(&layout));
        cover.answer(NodeId(2), &all, page(&[], None));
        assert!(cover.is_complete(&layout) && cover.answers() == 2);
    }

    fn pages_are_merged() {
        let merged = |pages: Vec<KeyPage>, limit| Cover { pages, ..Cover::new(1) }.merged(limit);
        let (one, two) = (page(&["a", "c", "e"], Some("e")), page(&["b", "c", "x", "z"], None));
        assert_eq!(merged(vec![one.clone(), two.clone()], 9), page(&["a", "b", "c", "e"], Some("e")));
        assert_eq!(merged(vec![one, two.clone()], 2), page(&["a", "b"], Some("b")));
        let (near, far) = (page(&["a", "c"], Some("c")), page(&["b", "x"], Some("x")));
        assert_eq!(merged(vec![near, far], 9), page(&["a", "b", "c"], Some("c")));
        assert_eq!(merged(vec![two.clone(), page(&[], Some("a"))], 9), page(&[], Some("a")));
        assert_eq!(merged(vec![two.clone(), page(&["y"], None)], 9), page(&["b", "c", "x", "y", "z"], None));
    }

    #[test]
    fn a_merged_page_ends_where_the_first_of_its_parts_does() {
        pages_are_merged();
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn a_page_that_goes_beyond_one_of_its_parts_is_noticed() {
        crate::base::mutation::activate(Some(Mutation::ListingSkips));
        let outcome = std::panic::catch_unwind(pages_are_merged);
        crate::base::mutation::activate(None);
        assert!(outcome.is_err());
    }
}
