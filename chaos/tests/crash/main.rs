//! Crash tests of the store: every prefix of its disk calls, every un-synced change kept or lost,
//! every byte flipped.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use chaos::crash::model;

mod backup;
mod compaction;
mod damage;
mod flips;
mod lives;
#[cfg(feature = "mutants")]
mod mutants;
mod power;
mod states;
