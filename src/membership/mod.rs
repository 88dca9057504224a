//! Membership, floor 2: who is in the cluster and who answers. SWIM with suspicion, incarnations and
//! Lifeguard.
//!
//! Owns: the list of members and their states, probing, suspicion, gossip, the messages for these
//! (docs/membership.md has them field by field).
//! Must not know: layout, placement, quorums, sockets. A verdict changes routing, never ownership.
//! Routing may still try a [`MemberState::Suspect`] member; a [`MemberState::Down`] one it may not.
//!
//! Invariant: what is known of a member only ever moves up in the order of [`Member::supersedes`],
//! whatever the order of messages; and only its owner raises a member's incarnation. So all nodes
//! that hear the same rumours agree, and whoever lives can always talk itself alive again.

mod config;
mod detector;
mod event;
mod fingerprints;
mod health;
mod identity;
mod incoming;
mod member;
mod message;
mod outgoing;
mod own;
mod probe;
mod record;
mod relay;
mod roster;
mod rounds;
mod rumours;
mod schedule;
mod suspicion;
mod sync;
mod table;

#[cfg(test)]
mod tests;

pub use config::{DetectorConfig, Lifeguard};
pub use detector::Detector;
pub use event::{Counters, DetectorEffect, DetectorInput, MemberEvent};
pub use identity::{Identity, IdentityError, MAX_ADDRESS_BYTES, MAX_NAME_BYTES, MAX_VERSION_BYTES, MAX_ZONE_BYTES};
pub use member::{MAX_INCARNATION, MAX_MEMBERS, Member, MemberState};
pub use message::{MAX_DATAGRAM_BYTES, MAX_FULL_SYNC_BYTES};
pub use table::MemberTable;
