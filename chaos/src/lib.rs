//! Breaks Dunlin on purpose, to find out what it promises in truth.
//!
//! [`detector`] watches failure detectors alone. [`crash`] takes the power from one store at every call of its disk. [`sim`] runs whole clusters in one thread from one seed, in virtual time, on the same core that the
//! binary runs. RELIABILITY.md's promises P1-P11 are its checkers; docs/testing.md says how to use it.
//! [`placement`] changes layouts at random and measures what the planner makes of it.

#![allow(clippy::indexing_slicing, reason = "the harness indexes its own tables; a panic here is a bug of the harness")]

pub mod crash;
pub mod detector;
#[cfg(feature = "live")]
pub mod live;
pub mod placement;
pub mod sim;
