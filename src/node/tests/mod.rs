//! The node's machines, one file each: build a state, feed one event, look at the effects.
//!
//! [`scene`] is the vocabulary: a few nodes wired by hand, with a log and a post that do only what a test
//! tells them to.

mod appends;
mod control;
mod damage;
mod exchange;
mod forwards;
mod hints;
mod layout_changes;
mod listings;
#[cfg(feature = "mutants")]
mod mutants;
mod parts;
mod reads;
mod relocation;
mod scene;
mod writes;
