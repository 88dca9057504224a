//! One store under crashes and rot: the power goes at every call of its disk, every byte is flipped, and what
//! recovery makes of it is judged.
//!
//! ```text
//!  script --> Scene (store, tables, compaction) --> SimDisk --cut at call n--> fates --> recovery --> History judges
//! ```
//!
//! Owns: random scripts, the plain map they must amount to, the enumeration of crash states and of flipped bits. Must not know: how the
//! store does what it does. Invariant: the same seed gives the same states.

#![allow(clippy::unwrap_used, reason = "a store that makes the harness panic is caught, and reported as broken")]

mod enumeration;
mod flips;
pub mod golden;
mod history;
mod jobs;
pub mod model;
mod scene;
mod script;
mod states;

pub use enumeration::{Broken, enumerate};
pub use flips::{Coverage, FileFlips, Flips, Leaving, Secrecy, flip};
pub use jobs::{Pace, Worker};
pub use scene::{Going, Scene, Stage};
pub use states::States;
