//! What a node says of itself to all others.

use crate::base::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};

/// Longest name. All limits here together let two whole records share one datagram.
pub const MAX_NAME_BYTES: usize = 64;

/// Longest address, `host:port`.
pub const MAX_ADDRESS_BYTES: usize = 96;

/// Longest zone.
pub const MAX_ZONE_BYTES: usize = 32;

/// Longest program version.
pub const MAX_VERSION_BYTES: usize = 32;

/// A node's description of itself. Only its owner changes it, each time with a raised incarnation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// The node; never changes.
    pub node: NodeId,
    /// Its cluster; records of another are refused.
    pub cluster: ClusterId,
    /// For people.
    pub name: String,
    /// Where peers send data requests.
    pub peer_address: String,
    /// Where this failure detector listens.
    pub membership_address: String,
    /// Where clients are served.
    pub http_address: String,
    /// What fails together with it.
    pub zone: String,
    /// Relative share of the data it takes.
    pub capacity: u32,
    /// Program version.
    pub version: String,
    /// The actor of its store (PROTOCOL R9); a new one tells that its store was opened anew.
    pub actor: u64,
    /// The newest layout it holds.
    pub layout_version: u64,
    /// The hash of that layout's placement; equal versions must have equal hashes.
    pub layout_hash: u64,
}

/// Why an identity cannot be gossiped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A text is longer than its limit.
    #[error("{field} has {bytes} bytes; at most {limit} are allowed")]
    TooLong {
        /// The field's name.
        field: &'static str,
        /// Its length.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// An update named another node or another cluster.
    #[error("a node's id and cluster id never change")]
    NotMine,
}

impl Identity {
    /// Are all texts within their limits?
    pub fn check(&self) -> Result<(), IdentityError> {
        let texts = [
            ("name", &self.name, MAX_NAME_BYTES),
            ("peer_address", &self.peer_address, MAX_ADDRESS_BYTES),
            ("membership_address", &self.membership_address, MAX_ADDRESS_BYTES),
            ("http_address", &self.http_address, MAX_ADDRESS_BYTES),
            ("zone", &self.zone, MAX_ZONE_BYTES),
            ("version", &self.version, MAX_VERSION_BYTES),
        ];
        match texts.into_iter().find(|(_, text, limit)| text.len() > *limit) {
            Some((field, text, limit)) => Err(IdentityError::TooLong { field, bytes: text.len(), limit }),
            None => Ok(()),
        }
    }

    /// May `next` replace this identity: the same node of the same cluster, within the limits?
    pub(super) fn may_become(&self, next: &Identity) -> Result<(), IdentityError> {
        if (next.node, next.cluster) != (self.node, self.cluster) {
            return Err(IdentityError::NotMine);
        }
        next.check()
    }

    /// Do both name the same endpoints? One process has one set of them; two sets are two processes.
    pub(super) fn same_addresses(&self, other: &Identity) -> bool {
        self.peer_address == other.peer_address
            && self.membership_address == other.membership_address
            && self.http_address == other.http_address
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::tests::identity;

    /// Rule: every text has a limit, and the error says which one was broken and by how much.
    #[test]
    fn a_text_over_its_limit_is_named() {
        let long = Identity { zone: "z".repeat(MAX_ZONE_BYTES + 1), ..identity(1) };
        assert_eq!(
            long.check(),
            Err(IdentityError::TooLong { field: "zone", bytes: MAX_ZONE_BYTES + 1, limit: MAX_ZONE_BYTES })
        );
    }

    /// Rule: an update may change everything but who the node is.
    #[test]
    fn an_update_never_changes_who_a_node_is() {
        let me = identity(1);
        assert_eq!(me.may_become(&identity(2)), Err(IdentityError::NotMine));
        assert_eq!(me.may_become(&Identity { capacity: 9, ..me.clone() }), Ok(()));
    }
}
