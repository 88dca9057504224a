//! Everyone known, and what each of them is known to know.

use super::event::MemberEvent;
use super::identity::Identity;
use super::member::{MAX_MEMBERS, Member, MemberState};
use super::table::MemberTable;
use crate::base::NodeId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All members, this node among them, and a contact for each other one.
#[derive(Debug)]
pub(super) struct Roster {
    me: NodeId,
    members: MemberTable,
    /// All reachable members but this node, in order of id: asked for with every message.
    reachable: Vec<NodeId>,
    contacts: BTreeMap<NodeId, Contact>,
}

/// What passed directly between this node and another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Contact {
    /// The incarnation of this node that the other said it holds.
    pub(super) holds: Option<u64>,
    /// The other's own incarnation as it last said itself.
    pub(super) says: Option<u64>,
    /// Unanswered retries since it went down.
    pub(super) attempts: u32,
    /// Is its identity missing, or not the one it has now?
    pub(super) lacks: Lacks,
    /// The incarnation at which two of it were seen and reported.
    conflict: Option<u64>,
}

/// What is missing here of another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Lacks {
    /// Nothing.
    #[default]
    Nothing,
    /// It was said to have an identity that is not held.
    Identity,
}

/// What hearing a record did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Merged {
    /// Nothing new.
    Known,
    /// An unknown member, and no room for it.
    Full,
    /// The record was taken; the one before it, if any.
    Changed(Option<Box<Member>>),
}

impl Roster {
    /// This node alone.
    pub(super) fn new(own: Member) -> Self {
        Self {
            me: own.node(),
            members: MemberTable::from_iter([own]),
            reachable: Vec::new(),
            contacts: BTreeMap::new(),
        }
    }

    /// Takes in others, all at once; of those known already nothing.
    pub(super) fn extend(&mut self, others: MemberTable) {
        let known = std::mem::replace(&mut self.members, others);
        for member in known.values() {
            // What is equal stays shared.
            if self.members.get(&member.node()) != Some(member) {
                self.members.insert(member.clone());
            }
        }
        let reachable = self.members.values().filter(|member| member.state.is_reachable());
        self.reachable = reachable.map(Member::node).filter(|node| *node != self.me).collect();
    }

    /// Everyone.
    pub(super) fn members(&self) -> &MemberTable {
        &self.members
    }

    /// A member's record.
    pub(super) fn get(&self, node: NodeId) -> Option<&Member> {
        self.members.get(&node)
    }

    /// This node's record.
    pub(super) fn own(&self) -> &Member {
        self.members.get(&self.me).expect("inserted by new, never removed")
    }

    /// Replaces this node's record; the caller raised its incarnation.
    pub(super) fn set_own(&mut self, own: Member) {
        self.replace(own);
    }

    /// The contact with another node; none before it is a member.
    pub(super) fn contact(&mut self, node: NodeId) -> Option<&mut Contact> {
        (node != self.me && self.members.get(&node).is_some()).then(|| self.contacts.entry(node).or_default())
    }

    /// What is missing here of another node.
    pub(super) fn lacks(&self, node: NodeId) -> Lacks {
        self.contacts.get(&node).map_or(Lacks::Nothing, |contact| contact.lacks)
    }

    /// Is it known, alive or suspect?
    pub(super) fn is_reachable(&self, node: NodeId) -> bool {
        self.get(node).is_some_and(|member| member.state.is_reachable())
    }

    /// All reachable members but this node, in order of id.
    pub(super) fn reachable_peers(&self) -> &[NodeId] {
        &self.reachable
    }

    /// Takes a record of another node if it supersedes what is held.
    pub(super) fn merge(&mut self, record: &Member) -> Merged {
        let held = self.get(record.node());
        match held {
            Some(held) if !record.supersedes(held) => Merged::Known,
            None if self.members.len() >= MAX_MEMBERS => Merged::Full,
            Some(held) if held.identity == record.identity => {
                let identity = Arc::clone(&held.identity);
                Merged::Changed(self.replace(Member { identity, ..*record }).map(Box::new))
            }
            _ => Merged::Changed(self.replace(record.clone()).map(Box::new)),
        }
    }

    /// Puts a record in the place of the one before it.
    fn replace(&mut self, member: Member) -> Option<Member> {
        let (node, is_reachable) = (member.node(), member.state.is_reachable());
        if node != self.me {
            match self.reachable.binary_search(&node) {
                Ok(place) if !is_reachable => drop(self.reachable.remove(place)),
                Err(place) if is_reachable => self.reachable.insert(place, node),
                Ok(_) | Err(_) => {}
            }
        }
        self.members.insert(member)
    }

    /// Two processes claim the node of `record`: both at one incarnation, at different addresses.
    /// Told once per incarnation.
    pub(super) fn conflict(&mut self, record: &Member) -> Option<MemberEvent> {
        let held = self.get(record.node())?;
        if held.incarnation != record.incarnation || held.identity.same_addresses(&record.identity) {
            return None;
        }
        let event = conflict_event(held, record);
        let contact = self.contact(record.node())?;
        let told_before = contact.conflict.replace(record.incarnation) == Some(record.incarnation);
        (!told_before).then_some(event)
    }
}

/// The event that shows both claims.
pub(super) fn conflict_event(held: &Member, heard: &Member) -> MemberEvent {
    MemberEvent::Conflict {
        node: held.node(),
        incarnation: heard.incarnation,
        held: held.identity.membership_address.clone(),
        heard: heard.identity.membership_address.clone(),
    }
}

/// What the change from `before` to `after` means to others.
pub(super) fn events(before: Option<&Member>, after: &Member) -> Vec<MemberEvent> {
    let node = after.node();
    let mut events = Vec::new();
    if before.is_none() && after.state.is_reachable() {
        events.push(MemberEvent::Joined(node));
    }
    let old_identity: Option<&Identity> = before.map(|member| &*member.identity);
    if old_identity.is_some_and(|identity| *identity != *after.identity) {
        events.push(MemberEvent::IdentityChanged(node));
    }
    let old_state = before.map(|member| member.state);
    match after.state {
        state if old_state == Some(state) => {}
        MemberState::Alive if before.is_none() => {}
        MemberState::Alive => events.push(MemberEvent::Alive(node)),
        MemberState::Suspect => events.push(MemberEvent::Suspect(node)),
        MemberState::Down => events.push(MemberEvent::Down(node)),
        MemberState::Left => events.push(MemberEvent::Left(node)),
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::tests::identity;

    fn alive(node: u64) -> Member {
        Member { identity: identity(node).into(), incarnation: 1, state: MemberState::Alive }
    }

    /// Rule: members are never removed, so a full roster refuses new ones; news of known ones goes on.
    #[test]
    fn a_full_roster_refuses_only_unknown_members() {
        let mut roster = Roster::new(alive(0));
        for node in 1..MAX_MEMBERS as u64 {
            assert_eq!(roster.merge(&alive(node)), Merged::Changed(None));
        }
        assert_eq!(roster.merge(&alive(u64::MAX)), Merged::Full);
        let down = alive(5).judged(MemberState::Down);
        assert_eq!(roster.merge(&down), Merged::Changed(Some(Box::new(alive(5)))));
    }

    /// Rule: one node at one incarnation has one set of addresses. Two sets are two processes; that is
    /// told once per incarnation, and the same one is kept whatever came first.
    #[test]
    fn a_conflict_is_told_once_and_settled_alike_everywhere() {
        let twin = Member { identity: Identity { peer_address: "twin".into(), ..identity(5) }.into(), ..alive(5) };
        let mut kept = Vec::new();
        for (first, second) in [(alive(5), twin.clone()), (twin, alive(5))] {
            let mut roster = Roster::new(alive(0));
            roster.merge(&first);
            assert!(matches!(roster.conflict(&second), Some(MemberEvent::Conflict { .. })));
            roster.merge(&second);
            assert_eq!(roster.conflict(&first), None);
            assert_eq!(roster.conflict(&second), None);
            kept.push(roster.get(NodeId(5)).cloned());
        }
        assert_eq!(kept[0], kept[1]);
    }
}
