//! How a node's layouts are agreed on, how they spread, and when they end. One page: docs/layout.md.
//!
//! ```text
//!  apply, messages ----> +---------------------+ ----> send (best effort)
//!  persisted ----------> |  LayoutKeeper       | ----> persist (one answer each)
//!  drained, complete --> |    acceptor         | ----> live layouts, for the shards
//!  peers, time --------> |    trackers         | ----> applied (once per apply), notices
//!                        +---------------------+
//! ```
//!
//! Owns: the live versions, what was promised and accepted for the next one, the trackers of all nodes. Must not know:
//! partitions' data, shards, files, who is up other than as told. Invariants: one layout per number; whatever leaves the
//! keeper is durable before; no node that counts reads by a version that has ended anywhere.

mod acceptor;
mod agreement;
mod effect;
mod gossip;
mod input;
mod keeper;
mod live;
mod proposal;
mod state;
mod trackers;

#[cfg(test)]
mod tests;

pub use effect::{ApplyError, LayoutEffect, LayoutNotice};
pub use input::{LayoutInput, LayoutTimings};
pub use keeper::LayoutKeeper;
pub use live::{LiveLayouts, MAX_LIVE_LAYOUTS, Transfers};
pub use state::{LayoutState, LayoutStateError};
