//! Floor 1: placement (partition, layout, preference list).

mod layout;
mod partition;

pub use layout::Layout;
pub use partition::PartitionId;
