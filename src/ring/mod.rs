//! Floor 1: who owns what.
//!
//! Owns: partitions of the hash space, the layout (a versioned list of nodes and the placement table
//! that belongs to it), the changes staged for the next one, the rule that plans its table, what that means,
//! and the preference list of a partition.
//! Must not know: who is up (it is told), how a layout travels or comes into force.
//! Invariant: a table is data. It is planned once, by whoever stages a change, and checked by everyone;
//! a row names distinct nodes, in distinct zones when zones allow. docs/placement.md explains the rule.

mod chain;
mod change;
mod hasher;
mod layout;
mod leader;
mod loss;
mod moves;
mod order;
mod partition;
mod placement;
mod plan;
mod preference;
mod quota;
mod record;
mod spread;
mod table;

pub use change::{Change, ChangeError, Departure, MAX_STAGED, Staged};
pub use layout::{Layout, LayoutError, LayoutNode, MAX_NODES, MAX_REPLICAS};
pub use loss::{Harm, Loss};
pub use moves::{Move, moves};
pub use partition::{PartitionId, Partitioning, PartitioningError};
pub use placement::{MAX_FALLBACKS, Placement};
pub use plan::{ChangePlan, Estimates, Held, Link, NodePlan, Risk, Step, ZonePlan};
pub use preference::{Candidate, Role, preference};
