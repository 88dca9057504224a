//! What a run consists of: things that happen, each at its time.

use super::detection::Gossip;
use super::parcel::Parcel;
use super::station::Answers;
use dunlin::causal::Actor;
use dunlin::node::{ControlInput, Input, LayoutState};
use dunlin::ring::PartitionId;
use dunlin::store::{KeyQuery, Place};

/// Something that will happen.
pub(super) enum Happening {
    Deliver { to: usize, from: usize, kind: &'static str, parcel: Parcel },
    Tick { node: usize, boot: u64 },
    Flush { node: usize, boot: u64 },
    Flushed { node: usize, boot: u64, answers: Answers },
    Renewed { node: usize, boot: u64, actor: Actor },
    Maintain { node: usize, boot: u64 },
    Scrub { node: usize, boot: u64 },
    ReadDone { node: usize, boot: u64, shard: usize, id: u64, place: Place },
    ListDone { node: usize, boot: u64, id: u64, query: KeyQuery, partitions: Vec<PartitionId> },
    Ask { node: usize, boot: u64, asked: Box<Input> },
    Overdue { request: u64 },
    Hear { to: usize, from: usize, gossip: Gossip },
    ControlTick { node: usize, boot: u64 },
    Control { node: usize, boot: u64, input: Box<ControlInput> },
    LayoutsDurable { node: usize, boot: u64, state: Box<LayoutState> },
    ChangeLayout,
    Detect { node: usize },
    Watch { node: usize },
    Client { client: usize },
    Restart { node: usize },
    Disturb,
    Mend,
    RepairDisk { node: usize },
}

impl Happening {
    /// The process it happens to; it waits if that stands still.
    pub(super) fn node(&self) -> Option<usize> {
        match self {
            Happening::Deliver { to: node, .. }
            | Happening::Hear { to: node, .. }
            | Happening::ControlTick { node, .. }
            | Happening::Control { node, .. }
            | Happening::LayoutsDurable { node, .. }
            | Happening::Tick { node, .. }
            | Happening::Flush { node, .. }
            | Happening::Flushed { node, .. }
            | Happening::Renewed { node, .. }
            | Happening::Maintain { node, .. }
            | Happening::Scrub { node, .. }
            | Happening::ReadDone { node, .. }
            | Happening::ListDone { node, .. }
            | Happening::Detect { node }
            | Happening::Watch { node }
            | Happening::Ask { node, .. } => Some(*node),
            _ => None,
        }
    }
}
