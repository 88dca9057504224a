//! What one message says of one member.

use super::identity::Identity;
use super::member::{MAX_INCARNATION, Member, MemberState};
use super::message::encode_one;
use crate::base::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// One record on the wire. Most news changes no identity, and names it by its hash: a fifth of the bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) subject: Subject,
    pub(super) incarnation: u64,
    pub(super) state: MemberState,
    /// Of a suspect: who could not reach it. Different accusers confirm each other.
    pub(super) accuser: Option<NodeId>,
}

/// Whom a record is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Subject {
    /// With all it says of itself.
    #[serde(rename = "w")]
    Whole(Arc<Identity>),
    /// For those who hold the identity with this hash; others cannot use the record.
    #[serde(rename = "b")]
    Brief(NodeId, u64),
}

impl Record {
    /// All of `member`.
    pub(super) fn whole(member: &Member, accuser: Option<NodeId>) -> Self {
        Self::of(Subject::Whole(Arc::clone(&member.identity)), member, accuser)
    }

    /// `member` for those who know its identity.
    pub(super) fn brief(member: &Member, accuser: Option<NodeId>) -> Self {
        Self::of(Subject::Brief(member.node(), hash_of(&member.identity)), member, accuser)
    }

    fn of(subject: Subject, member: &Member, accuser: Option<NodeId>) -> Self {
        let accuser = accuser.filter(|_| member.state == MemberState::Suspect);
        Self { subject, incarnation: member.incarnation, state: member.state, accuser }
    }

    /// The member's node.
    pub(super) fn node(&self) -> NodeId {
        match &self.subject {
            Subject::Whole(identity) => identity.node,
            Subject::Brief(node, _) => *node,
        }
    }

    /// Does it say nothing newer than `held`, nor anything else of its identity?
    pub(super) fn repeats(&self, held: &Member) -> bool {
        let is_newer = (self.incarnation, self.state) > (held.incarnation, held.state);
        !is_newer && matches!(self.subject, Subject::Brief(..))
    }

    /// The member that is meant, given what is held of it; none if the record is brief and means an
    /// identity that is not held. A brief record that says nothing newer is not looked at so closely.
    pub(super) fn resolve(&self, held: Option<&Member>) -> Option<Member> {
        let (incarnation, state) = (self.incarnation, self.state);
        let identity = match &self.subject {
            Subject::Whole(identity) => Arc::clone(identity),
            Subject::Brief(_, hash) => {
                let held = held?;
                let newer = (incarnation, state) > (held.incarnation, held.state);
                if newer && *hash != hash_of(&held.identity) {
                    return None;
                }
                Arc::clone(&held.identity)
            }
        };
        Some(Member { identity, incarnation, state })
    }

    /// Is it within its limits, and of this cluster as far as it says?
    pub(super) fn is_valid(&self, cluster: ClusterId) -> bool {
        let described = match &self.subject {
            Subject::Whole(identity) => identity.cluster == cluster && identity.check().is_ok(),
            Subject::Brief(..) => true,
        };
        described && self.incarnation < MAX_INCARNATION
    }
}

/// Tells identities apart.
pub(super) fn hash_of(identity: &Identity) -> u64 {
    xxh3_64(&encode_one(identity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::tests::identity;

    fn held() -> Member {
        Member { identity: identity(1).into(), incarnation: 5, state: MemberState::Alive }
    }

    /// Rule: a brief record counts only for those who hold the identity it means: nobody takes a new
    /// incarnation for an old address.
    #[test]
    fn a_brief_record_means_one_identity() {
        let moved = Member { identity: Identity { zone: "b".into(), ..identity(1) }.into(), incarnation: 6, ..held() };
        let raised = Member { incarnation: 6, ..held() };
        assert_eq!(Record::brief(&raised, None).resolve(Some(&held())), Some(raised.clone()));
        assert_eq!(Record::brief(&moved, None).resolve(Some(&held())), None);
        assert_eq!(Record::brief(&raised, None).resolve(None), None);
        assert_eq!(Record::whole(&moved, None).resolve(Some(&held())), Some(moved));
    }

    /// Rule: a brief record repeats whatever is as new or newer; one with an identity may bring another one.
    #[test]
    fn only_a_brief_record_of_nothing_newer_repeats() {
        let suspect = held().judged(MemberState::Suspect);
        assert!(Record::brief(&held(), None).repeats(&held()));
        assert!(Record::brief(&held(), None).repeats(&suspect));
        assert!(!Record::brief(&suspect, None).repeats(&held()));
        assert!(!Record::whole(&held(), None).repeats(&held()));
    }

    /// Rule: only suspicion has an accuser.
    #[test]
    fn only_a_suspect_has_an_accuser() {
        let suspect = held().judged(MemberState::Suspect);
        assert_eq!(Record::brief(&suspect, Some(NodeId(2))).accuser, Some(NodeId(2)));
        assert_eq!(Record::brief(&held(), Some(NodeId(2))).accuser, None);
    }
}
