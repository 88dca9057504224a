//! Dunlin: a leaderless, Dynamo-style key-value store.
//!
//! The crate is a house of floors; arrows point down only (docs/ARCHITECTURE.md has the picture,
//! `tests/tidy.rs` the check). Floors 0-4 are sans-IO: they read no clock, no entropy, no socket and
//! no file, so that a whole cluster runs in one thread from one seed. Floors 5 and 6 are behind the
//! feature `runtime`.

pub mod base;
pub mod causal;
pub mod membership;
pub mod node;
pub mod replication;
pub mod ring;
pub mod store;

#[cfg(feature = "runtime")]
pub mod cli;
#[cfg(feature = "runtime")]
pub mod client;
#[cfg(feature = "runtime")]
pub mod runtime;
