//! Floor 1: placement (partition, layout, preference list).

mod partition;

pub use partition::PartitionId;
