//! The records of all members, by node: looked up with every record that is heard, copied as a whole for
//! every snapshot of them.

use super::fingerprints::Fingerprints;
use super::member::{MAX_MEMBERS, Member};
use crate::base::NodeId;
use std::sync::Arc;

/// So many records are copied when one of them changes that a clone shares: 768 bytes.
const PAGE: usize = 32;

/// One record of each member. A clone shares all records, and each page of [`PAGE`] of them until one of
/// the two changes it: a snapshot costs a pointer for each page, and simulated nodes that know the same
/// share one memory. No member is ever taken out.
#[derive(Debug, Clone, Default)]
pub struct MemberTable {
    /// Sorted by node: where its record is. Shared until there is a new member.
    places: Arc<Vec<(NodeId, usize)>>,
    /// The records in the order in which their members came; every page but the last is full.
    pages: Vec<Arc<[Member]>>,
    fingerprints: Fingerprints,
}

impl MemberTable {
    /// How many members.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Is nobody known?
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// A member's record.
    pub fn get(&self, node: &NodeId) -> Option<&Member> {
        self.find(*node).ok().and_then(|place| self.at(place))
    }

    /// All, in order of id.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &Member)> {
        self.places.iter().filter_map(|(node, place)| Some((node, self.at(*place)?)))
    }

    /// All records, in order of id.
    pub fn values(&self) -> impl Iterator<Item = &Member> {
        self.iter().map(|(_, member)| member)
    }

    /// What is held, in short.
    pub(super) fn fingerprints(&self) -> &Fingerprints {
        &self.fingerprints
    }

    /// Puts a record in the place of the one before it.
    pub(super) fn insert(&mut self, member: Member) -> Option<Member> {
        self.fingerprints.toggle(&member);
        let before = match self.find(member.node()) {
            Ok(place) => self.replace(place, member),
            Err(among) => {
                let place = self.places.len();
                Arc::make_mut(&mut self.places).insert(among, (member.node(), place));
                self.append(member);
                None
            }
        };
        before.iter().for_each(|before| self.fingerprints.toggle(before));
        before
    }

    /// The place of a node's record, or where among the sorted nodes it belongs.
    fn find(&self, node: NodeId) -> Result<usize, usize> {
        let among = self.places.binary_search_by_key(&node, |(node, _)| *node)?;
        self.places.get(among).map(|(_, place)| *place).ok_or(among)
    }

    fn at(&self, place: usize) -> Option<&Member> {
        self.pages.get(place / PAGE)?.get(place % PAGE)
    }

    fn replace(&mut self, place: usize, member: Member) -> Option<Member> {
        let page = Arc::make_mut(self.pages.get_mut(place / PAGE)?);
        page.get_mut(place % PAGE).map(|held| std::mem::replace(held, member))
    }

    fn append(&mut self, member: Member) {
        match self.pages.last_mut().filter(|page| page.len() < PAGE) {
            Some(page) => *page = page.iter().cloned().chain([member]).collect(),
            None => self.pages.push(Arc::from([member])),
        }
    }
}

/// Of two records of one node the later one holds; nodes beyond [`MAX_MEMBERS`] are left out.
impl FromIterator<Member> for MemberTable {
    fn from_iter<I: IntoIterator<Item = Member>>(members: I) -> Self {
        let mut table = Self::default();
        for member in members {
            if table.len() < MAX_MEMBERS || table.find(member.node()).is_ok() {
                table.insert(member);
            }
        }
        table
    }
}

/// The same records, in whatever order they came.
impl PartialEq for MemberTable {
    fn eq(&self, other: &Self) -> bool {
        self.values().eq(other.values())
    }
}

impl Eq for MemberTable {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::MemberState;
    use crate::membership::tests::identity;

    fn alive(node: u64) -> Member {
        Member { identity: identity(node).into(), incarnation: 1, state: MemberState::Alive }
    }

    /// Rule: in whatever order members came, they are found, and told in order of id.
    #[test]
    fn members_are_in_order_of_id() {
        let numbers = [70, 3, 9, 41, 40, 1].into_iter().chain(100..200).chain(10..40);
        let table: MemberTable = numbers.clone().map(alive).collect();
        assert!(table.values().map(Member::node).is_sorted());
        assert_eq!(table.values().count(), table.len());
        assert!(numbers.clone().all(|node| table.get(&NodeId(node)) == Some(&alive(node))));
        assert_eq!(table.get(&NodeId(2)), None);
        let sorted: MemberTable =
            (0..300).filter(|node| numbers.clone().any(|number| number == *node)).map(alive).collect();
        assert_eq!((sorted.fingerprints(), &sorted), (table.fingerprints(), &table));
    }

    /// Rule: a clone is a snapshot: what changes later in one does not show in the other, and all else
    /// stays shared.
    #[test]
    fn a_clone_shares_what_neither_changes() {
        let before: MemberTable = (0..3 * PAGE as u64).map(alive).collect();
        let mut after = before.clone();
        let down = alive(1).judged(MemberState::Down);
        assert_eq!(after.insert(down.clone()), Some(alive(1)));
        assert_eq!((before.get(&NodeId(1)), after.get(&NodeId(1))), (Some(&alive(1)), Some(&down)));
        let shared = before.pages.iter().zip(&after.pages).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!((shared, Arc::ptr_eq(&before.places, &after.places)), (2, true));
        assert_ne!(before.fingerprints(), after.fingerprints());
        assert_eq!(after.insert(alive(999)), None);
        assert_eq!((before.len() + 1, before.get(&NodeId(999))), (after.len(), None));
    }

    /// Rule: no more members are taken in than the limit; those known are still replaced.
    #[test]
    fn a_table_holds_no_more_than_the_limit() {
        let limit = MAX_MEMBERS as u64;
        let down = alive(7).judged(MemberState::Down);
        let table: MemberTable = (0..limit + 5).map(alive).chain([down.clone()]).collect();
        assert_eq!((table.len(), table.get(&NodeId(7))), (MAX_MEMBERS, Some(&down)));
    }
}
