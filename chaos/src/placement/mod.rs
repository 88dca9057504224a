//! Placement through histories of changes: how even, how far apart, how little moved, how quickly planned.
//!
//! Owns: random histories, fair shares and the least possible movement, all worked out in other ways than the planner's.
//! Must not know: how the planner works; it sees layouts through their public face. Invariant: what is reported of a
//! seed depends on the seed alone, but for the times.

mod history;
mod optimum;
mod report;
mod shares;

pub use history::{Changed, History, Kind, SIZE_CLASSES, SizeClass};
pub use optimum::{Least, least_moves};
pub use report::{Report, measure};
pub use shares::Shares;
