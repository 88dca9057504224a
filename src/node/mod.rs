//! Floor 4: one node, the only thing drivers touch.
//!
//! ```text
//!              Input                                    Effect
//!  command ------------> +---------------------+ ------------> send (best effort)
//!  message ------------> |  Node               | ------------> append, read (one answer each)
//!  store answer -------> |   Shard .. Shard    | ------------> answer a client (exactly once)
//!  view, time ---------> |                     | ------------> notice (logs, metrics, status)
//!                        +---------------------+
//!                                  ^ view
//!  gossip, links, time-> +---------------------+ ------------> gossip (best effort)
//!                        |  Control            | ------------> members (logs, metrics, status)
//!                        +---------------------+
//! ```
//!
//! In production each shard is driven by itself, as a `Node` of one shard (`Node::into_parts`, decision 0035).
//!
//! Owns: shards, routing, what happens when; who is up, and the layout in force. Must not know: sockets, files, threads, clocks. Invariant:
//! whatever claims durability is produced only while a storage answer is handled.

mod appends;
mod change;
mod control;
mod core;
mod counting;
mod damage;
mod effect;
mod exchange;
mod fill;
mod forwards;
mod hints;
mod input;
mod layouts;
mod listings;
mod loads;
mod pace;
mod peers;
mod presence;
mod pulls;
mod reads;
mod replica;
mod rows;
mod serving;
mod shard;
mod timers;
mod timings;
mod transfer;
mod writes;

#[cfg(test)]
mod tests;

pub use self::control::{Control, ControlEffect, ControlInput};
pub use self::core::{Node, NodeOptions, NodeStatus, PartitionReport, Route, Sharding};
pub use effect::{Effect, Notice, Reuse};
pub use input::{Input, PeerState, Space, StoreAnswer, View};
pub use layouts::{
    ApplyError, LayoutEffect, LayoutInput, LayoutKeeper, LayoutNotice, LayoutState, LayoutStateError, LayoutTimings,
    LiveLayouts, MAX_LIVE_LAYOUTS, Transfers,
};
pub use pace::transfer_cost;
pub use presence::Presence;
pub use timings::Timings;
pub use transfer::{Transfer, TransferError};
