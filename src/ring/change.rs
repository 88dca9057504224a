//! Changes that are staged: what an operator wants of the next layout, as data.

use super::{Layout, LayoutError, LayoutNode, MAX_NODES, MAX_REPLICAS};
use crate::base::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most changes staged at once: every node of the largest layout may leave and another join.
pub const MAX_STAGED: usize = 2 * MAX_NODES;

/// One thing that shall be different in the next version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A node comes.
    Join {
        /// Which, with its zone, capacity and addresses.
        node: LayoutNode,
    },
    /// A node goes.
    Leave {
        /// Which.
        node: NodeId,
        /// Can it still be copied from?
        declared: Departure,
    },
    /// A node takes the place of another: if their shares are equal, its copies and no others move.
    Replace {
        /// Who goes.
        old: NodeId,
        /// Who comes.
        new: LayoutNode,
        /// Can the old one still be copied from?
        declared: Departure,
    },
    /// A node's share becomes larger or smaller.
    Weight {
        /// Whose.
        node: NodeId,
        /// At least 1.
        capacity: u32,
    },
    /// A node stands, or is said to stand, elsewhere.
    Zone {
        /// Which node.
        node: NodeId,
        /// Where.
        zone: String,
    },
    /// Another number of copies (N), 1 to [`MAX_REPLICAS`].
    Replicas(usize),
}

/// What the operator says of a node that goes. Only a person can know that a node is dead for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Departure {
    /// It answers, or will again: it stays until all it has is copied.
    Alive,
    /// It never comes back: nobody waits for it, and what only it had is lost.
    Dead,
}

/// Changes in the order in which they were staged, and the version of the layout they start from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// The version they change. With another one in force they are void.
    pub base: u64,
    /// Each is possible after those before it.
    pub changes: Vec<Change>,
}

/// Why a change is not possible, and what would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// They were staged on another version.
    #[error("staged on layout {base}, but layout {current} is in force; abort and stage again")]
    Outdated {
        /// Staged on this version.
        base: u64,
        /// The version in force.
        current: u64,
    },
    /// Nothing is staged.
    #[error("nothing is staged; stage a change first")]
    NothingStaged,
    /// [`MAX_STAGED`] reached.
    #[error("{MAX_STAGED} changes are staged, and no more are allowed; apply them or abort")]
    TooMany,
    /// There is no such node.
    #[error("node {0} is not in the layout; only its nodes can be changed")]
    Unknown(NodeId),
    /// It goes with these changes.
    #[error("node {0} leaves with these changes; to keep it, abort and stage the others again")]
    Leaving(NodeId),
    /// It comes with these changes, so it cannot also go.
    #[error("node {0:?} only joins with these changes; to leave it out, abort and stage the others again")]
    Newcomer(String),
    /// A node with this id is there.
    #[error("node {id} is in the layout already, as {name:?}")]
    AlreadyThere {
        /// Its id.
        id: NodeId,
        /// Its name.
        name: String,
    },
    /// It was declared dead, and what it has was given up.
    #[error("node {0} was declared dead; it may come back with an empty data directory, under a new id")]
    DeclaredDead(NodeId),
    /// Another node has this name.
    #[error("the name {name:?} is taken by node {by}; choose another")]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        by: NodeId,
    },
    /// An address that another node, or the same one, has already.
    #[error("the address {address:?} is taken by node {by:?}; every node needs two of its own")]
    AddressTaken {
        /// The address.
        address: String,
        /// The name of the node that has it.
        by: String,
    },
    /// A node without an address.
    #[error("node {0:?} lacks an address; every node needs one for data and one for membership")]
    NoAddress(String),
    /// Nobody would be left.
    #[error("node {0:?} is the last one; let another join first")]
    LastNode(String),
    /// It is so already.
    #[error("{0} already; there is nothing to change")]
    Same(String),
    /// The layout would not be one.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl Staged {
    /// Nothing staged yet.
    pub fn on(layout: &Layout) -> Self {
        Self { base: layout.version, changes: Vec::new() }
    }

    /// Adds a change that is possible after those staged; otherwise nothing is altered. `layout` is the one in force.
    pub fn stage(&mut self, layout: &Layout, change: Change) -> Result<(), ChangeError> {
        if self.changes.len() >= MAX_STAGED {
            return Err(ChangeError::TooMany);
        }
        self.draft(layout)?.apply(&change)?;
        self.changes.push(change);
        Ok(())
    }

    /// Plans the version in which all of this is so. `layout` is the one in force; every change is checked anew, since
    /// what was staged may have come from elsewhere.
    pub fn plan(&self, layout: &Layout) -> Result<Layout, ChangeError> {
        match self.changes.len() {
            0 => return Err(ChangeError::NothingStaged),
            1..=MAX_STAGED => {}
            _ => return Err(ChangeError::TooMany),
        }
        let draft = self.draft(layout)?;
        let heirs = draft.heirs();
        let next = layout.change_replacing(draft.nodes, draft.replicas, &heirs)?;
        Ok(next.declaring_dead(draft.dead)?)
    }

    fn draft<'a>(&self, layout: &'a Layout) -> Result<Draft<'a>, ChangeError> {
        if self.base != layout.version {
            return Err(ChangeError::Outdated { base: self.base, current: layout.version });
        }
        let mut draft = Draft {
            layout,
            nodes: layout.nodes.clone(),
            replicas: layout.replicas,
            dead: BTreeSet::new(),
            replaced: Vec::new(),
        };
        self.changes.iter().try_for_each(|change| draft.apply(change))?;
        Ok(draft)
    }
}

/// The next layout in the making.
struct Draft<'a> {
    layout: &'a Layout,
    nodes: Vec<LayoutNode>,
    replicas: usize,
    dead: BTreeSet<NodeId>,
    /// Who goes, and who takes its place.
    replaced: Vec<(NodeId, NodeId)>,
}

impl Draft<'_> {
    fn apply(&mut self, change: &Change) -> Result<(), ChangeError> {
        match change {
            Change::Join { node } => self.enter(node, None),
            Change::Leave { node, declared } => {
                if let [last] = &self.nodes[..]
                    && last.id == *node
                {
                    return Err(ChangeError::LastNode(last.name.clone()));
                }
                self.check_may_leave(*node)?;
                self.remove(*node, *declared);
                Ok(())
            }
            Change::Replace { old, new, declared } => {
                self.check_may_leave(*old)?;
                self.enter(new, Some(*old))?;
                self.remove(*old, *declared);
                self.replaced.push((*old, new.id));
                Ok(())
            }
            Change::Weight { node, capacity } => self.weigh(*node, *capacity),
            Change::Zone { node, zone } => {
                let node = self.node(*node)?;
                if node.zone == *zone {
                    return Err(ChangeError::Same(format!("node {:?} is in zone {zone:?}", node.name)));
                }
                node.zone.clone_from(zone);
                Ok(())
            }
            Change::Replicas(replicas) => self.replicate(*replicas),
        }
    }

    /// Adds a node; `place` goes, so that its name and addresses are free.
    fn enter(&mut self, node: &LayoutNode, place: Option<NodeId>) -> Result<(), ChangeError> {
        if let Some(there) = self.nodes.iter().find(|there| there.id == node.id) {
            return Err(ChangeError::AlreadyThere { id: node.id, name: there.name.clone() });
        }
        if self.layout.node(node.id).is_some() {
            return Err(ChangeError::Leaving(node.id));
        }
        if self.layout.dead.contains(&node.id) {
            return Err(ChangeError::DeclaredDead(node.id));
        }
        let others = || self.nodes.iter().filter(|other| Some(other.id) != place);
        if node.name.is_empty() {
            return Err(LayoutError::Nameless(node.id).into());
        }
        if let Some(other) = others().find(|other| other.name == node.name) {
            return Err(ChangeError::NameTaken { name: node.name.clone(), by: other.id });
        }
        check_addresses(node, others())?;
        if node.capacity == 0 {
            return Err(LayoutError::ZeroCapacity(node.name.clone()).into());
        }
        let count = others().count() + 1;
        if count > MAX_NODES {
            return Err(LayoutError::TooManyNodes(count).into());
        }
        self.nodes.push(node.clone());
        Ok(())
    }

    fn check_may_leave(&mut self, id: NodeId) -> Result<(), ChangeError> {
        let name = self.node(id)?.name.clone();
        if self.layout.node(id).is_some() { Ok(()) } else { Err(ChangeError::Newcomer(name)) }
    }

    fn remove(&mut self, id: NodeId, declared: Departure) {
        self.nodes.retain(|node| node.id != id);
        if declared == Departure::Dead {
            self.dead.insert(id);
        }
    }

    fn weigh(&mut self, id: NodeId, capacity: u32) -> Result<(), ChangeError> {
        let node = self.node(id)?;
        if capacity == 0 {
            return Err(LayoutError::ZeroCapacity(node.name.clone()).into());
        }
        if node.capacity == capacity {
            return Err(ChangeError::Same(format!("node {:?} has capacity {capacity}", node.name)));
        }
        node.capacity = capacity;
        Ok(())
    }

    fn replicate(&mut self, replicas: usize) -> Result<(), ChangeError> {
        if !(1..=MAX_REPLICAS).contains(&replicas) {
            return Err(LayoutError::Replicas(replicas).into());
        }
        if self.replicas == replicas {
            return Err(ChangeError::Same(format!("there are {replicas} replicas")));
        }
        self.replicas = replicas;
        Ok(())
    }

    /// Those that can have the place of the one they replace: in another zone it would not be theirs, and copies that
    /// may stay where they are would make way for them.
    fn heirs(&self) -> Vec<(NodeId, NodeId)> {
        let zone_of = |id: NodeId| self.nodes.iter().find(|node| node.id == id).map(|node| node.zone.as_str());
        let same =
            |(old, new): &&(NodeId, NodeId)| self.layout.node(*old).map(|old| old.zone.as_str()) == zone_of(*new);
        self.replaced.iter().filter(same).copied().collect()
    }

    fn node(&mut self, id: NodeId) -> Result<&mut LayoutNode, ChangeError> {
        let gone = self.layout.node(id).is_some();
        let missing = if gone { ChangeError::Leaving(id) } else { ChangeError::Unknown(id) };
        self.nodes.iter_mut().find(|node| node.id == id).ok_or(missing)
    }
}

fn check_addresses<'a>(node: &LayoutNode, others: impl Iterator<Item = &'a LayoutNode>) -> Result<(), ChangeError> {
    let own = [&node.address, &node.membership_address];
    if own.iter().any(|address| address.is_empty()) {
        return Err(ChangeError::NoAddress(node.name.clone()));
    }
    let taken =
        |address: &String, by: &LayoutNode| ChangeError::AddressTaken { address: address.clone(), by: by.name.clone() };
    if node.address == node.membership_address {
        return Err(taken(&node.address, node));
    }
    for other in others {
        if let Some(address) = own.iter().find(|own| [&other.address, &other.membership_address].contains(own)) {
            return Err(taken(address, other));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::layout::testing::{layout, node, nodes, zoned};
    use crate::ring::moves;

    fn staged(layout: &Layout, changes: &[Change]) -> Result<Staged, ChangeError> {
        let mut staged = Staged::on(layout);
        changes.iter().try_for_each(|change| staged.stage(layout, change.clone()))?;
        Ok(staged)
    }

    fn refusal(layout: &Layout, changes: &[Change]) -> ChangeError {
        staged(layout, changes).unwrap_err()
    }

    fn join(id: u64, name: &str) -> Change {
        Change::Join { node: node(id, name, 0) }
    }

    fn leave(node: NodeId) -> Change {
        Change::Leave { node, declared: Departure::Alive }
    }

    #[test]
    fn all_that_is_staged_is_so_in_the_next_version() {
        let layout = layout(64, 3, nodes(5));
        let id = |place: usize| layout.nodes[place].id;
        let changes = [
            join(7, "x"),
            Change::Leave { node: id(0), declared: Departure::Dead },
            Change::Replace { old: id(1), new: node(8, "y", 0), declared: Departure::Alive },
            Change::Weight { node: id(2), capacity: 4 },
            Change::Zone { node: id(3), zone: "far".into() },
            Change::Replicas(2),
        ];
        let next = staged(&layout, &changes).unwrap().plan(&layout).unwrap();
        assert_eq!((next.version, next.replicas, next.nodes.len()), (2, 2, 5));
        assert!(next.node(NodeId(7)).is_some() && next.node(NodeId(8)).is_some());
        assert!(next.node(id(0)).is_none() && next.node(id(1)).is_none());
        assert_eq!(next.dead, [id(0)]);
        assert_eq!((next.node(id(2)).unwrap().capacity, next.node(id(3)).unwrap().zone.as_str()), (4, "far"));
    }

    #[test]
    fn what_is_staged_survives_its_encoding() {
        let layout = layout(8, 2, nodes(3));
        let changes = [join(7, "x"), leave(layout.nodes[0].id), Change::Replicas(1)];
        let staged = staged(&layout, &changes).unwrap();
        let bytes = rmp_serde::to_vec(&staged).unwrap();
        assert_eq!(rmp_serde::from_slice::<Staged>(&bytes).unwrap(), staged);
    }

    #[test]
    fn who_replaces_another_takes_its_place_and_nothing_else_moves() {
        // 192 copies do not divide by these zones: the roundings must stay where they are.
        for replaced in 0..7 {
            let layout = layout(64, 3, zoned(&[3, 2, 2]));
            let old = layout.nodes[replaced].clone();
            let new = LayoutNode { zone: old.zone.clone(), ..node(77, "x", 0) };
            let change = Change::Replace { old: old.id, new, declared: Departure::Dead };
            let next = staged(&layout, &[change]).unwrap().plan(&layout).unwrap();
            assert!(next.partitions_of(NodeId(77)).eq(layout.partitions_of(old.id)));
            assert!(moves(&layout, &next).iter().all(|gain| gain.node == NodeId(77)));
            let leads = |layout: &Layout, id| {
                layout.partitioning.all().filter(|&p| layout.primaries(p)[0] == id).collect::<Vec<_>>()
            };
            assert_eq!(leads(&next, NodeId(77)), leads(&layout, old.id));
        }
    }

    #[test]
    fn who_replaces_another_may_have_its_name_and_addresses() {
        let layout = layout(8, 2, nodes(3));
        let new = LayoutNode { id: NodeId(1), ..layout.nodes[0].clone() };
        let change = Change::Replace { old: layout.nodes[0].id, new, declared: Departure::Dead };
        assert_eq!(staged(&layout, &[change]).unwrap().plan(&layout).unwrap().node_named("n0").unwrap().id, NodeId(1));
    }

    #[test]
    fn what_is_impossible_is_refused_by_name_and_alters_nothing() {
        let layout = layout(8, 2, nodes(3));
        let there = layout.nodes[0].clone();
        let id = there.id;
        let stranger = NodeId(9);
        assert_eq!(refusal(&layout, &[leave(stranger)]), ChangeError::Unknown(stranger));
        assert_eq!(refusal(&layout, &[leave(id), leave(id)]), ChangeError::Leaving(id));
        assert_eq!(refusal(&layout, &[join(9, "x"), leave(stranger)]), ChangeError::Newcomer("x".into()));
        let again = Change::Join { node: there.clone() };
        assert!(matches!(refusal(&layout, std::slice::from_ref(&again)), ChangeError::AlreadyThere { .. }));
        assert_eq!(refusal(&layout, &[leave(id), again]), ChangeError::Leaving(id));
        assert!(matches!(refusal(&layout, &[join(9, "n1")]), ChangeError::NameTaken { .. }));
        assert_eq!(refusal(&layout, &[join(9, "")]), LayoutError::Nameless(stranger).into());
        let moved = Change::Join { node: LayoutNode { address: there.address.clone(), ..node(9, "x", 0) } };
        assert!(matches!(refusal(&layout, &[moved]), ChangeError::AddressTaken { by, .. } if by == "n0"));
        let everybody: Vec<Change> = layout.nodes.iter().map(|node| leave(node.id)).collect();
        assert_eq!(refusal(&layout, &everybody), ChangeError::LastNode("n2".into()));
        let weightless = Change::Weight { node: id, capacity: 0 };
        assert_eq!(refusal(&layout, &[weightless]), LayoutError::ZeroCapacity("n0".into()).into());
        assert!(matches!(refusal(&layout, &[Change::Weight { node: id, capacity: 1 }]), ChangeError::Same(_)));
        assert!(matches!(refusal(&layout, &[Change::Zone { node: id, zone: "z0".into() }]), ChangeError::Same(_)));
        assert!(matches!(refusal(&layout, &[Change::Replicas(2)]), ChangeError::Same(_)));
        assert_eq!(refusal(&layout, &[Change::Replicas(17)]), LayoutError::Replicas(17).into());
        let mut staged = staged(&layout, &[Change::Replicas(1)]).unwrap();
        assert!(staged.stage(&layout, leave(stranger)).is_err());
        assert_eq!(staged.changes, [Change::Replicas(1)]);
    }

    #[test]
    fn only_the_version_they_were_staged_on_can_be_changed() {
        let layout = layout(8, 2, nodes(3));
        let staged = staged(&layout, &[Change::Replicas(3)]).unwrap();
        let next = staged.plan(&layout).unwrap();
        assert_eq!(staged.plan(&next), Err(ChangeError::Outdated { base: 1, current: 2 }));
        assert_eq!(Staged::on(&next).plan(&next), Err(ChangeError::NothingStaged));
    }

    #[test]
    fn who_was_declared_dead_does_not_come_back_as_the_same() {
        let layout = layout(8, 2, nodes(3));
        let dead = layout.nodes[0].clone();
        let change = Change::Leave { node: dead.id, declared: Departure::Dead };
        let next = staged(&layout, &[change]).unwrap().plan(&layout).unwrap();
        assert_eq!(refusal(&next, &[Change::Join { node: dead.clone() }]), ChangeError::DeclaredDead(dead.id));
    }
}
