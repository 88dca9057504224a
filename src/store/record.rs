//! The log's vocabulary: the only ways a replica's durable state changes.

use super::Sequence;
use crate::base::{Key, NodeId};
use crate::causal::{DotSet, Filled, Object};
use crate::ring::PartitionId;
use serde::{Deserialize, Serialize};

/// One step of one partition's durable state. Replaying the log's records in order of their sequence
/// gives the state back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Whose state changes.
    pub partition: PartitionId,
    /// How.
    pub body: Body,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// A key's new state, together with the dots that enter the clock by it.
    Object {
        /// The key.
        key: Key,
        /// Its state, stripped against a clock that is durable before this record.
        object: Object,
        /// Dots whose effect this record is; they enter the clock with it, never apart.
        dots: DotSet,
        /// The store's own counter in this partition, if this record minted one.
        minted: Option<u64>,
    },
    /// An exchange's end: dots whose effects all precede this record (PROTOCOL R2).
    Join {
        /// The dots.
        dots: DotSet,
    },
    /// Own dots burnt by a failed append: seen, without effect (PROTOCOL R3).
    Void {
        /// The burnt dots.
        dots: DotSet,
        /// The own counter, at least the highest of them.
        minted: u64,
    },
    /// A write held for primaries that could not be reached.
    Hint(HintBody),
    /// A hint's target has it durably (PROTOCOL R5).
    HintDone {
        /// The hint: the sequence of its record.
        hint: Sequence,
        /// Who has it.
        target: NodeId,
    },
    /// From here on this replica is complete in the partition (PROTOCOL R6).
    Complete,
    /// The clock is replaced by what was read back intact, and the replica is filling (PROTOCOL R8).
    /// Written by the store when it opens after damage, and by the node for what it has lost or gained.
    Reset {
        /// The dots of live versions read back intact.
        clock: DotSet,
    },
    /// The partition is not this node's any more: whatever lies before this record of its keys counts for nothing, its
    /// clock claims nothing, and the replica is filling. The counter stays (PROTOCOL R9), and so do hints.
    Drop,
}

/// A hint: one write, one record, whatever the number of its targets (PROTOCOL R11).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HintBody {
    /// Primaries it is held for.
    pub targets: Vec<NodeId>,
    /// The key.
    pub key: Key,
    /// The key's whole state, filled.
    pub state: Filled,
    /// Dots whose effect this is.
    pub dots: DotSet,
    /// The holder's own counter in the partition, if it coordinated the write itself.
    pub minted: Option<u64>,
}

impl Body {
    /// The key whose slot this record fills, if any.
    pub fn slot_key(&self) -> Option<&Key> {
        match self {
            Body::Object { key, .. } => Some(key),
            _ => None,
        }
    }

    /// The key that it is about, if any.
    pub(super) fn key(&self) -> Option<&Key> {
        match self {
            Body::Object { key, .. } => Some(key),
            Body::Hint(hint) => Some(&hint.key),
            Body::Join { .. } | Body::Void { .. } | Body::HintDone { .. } | Body::Complete => None,
            Body::Reset { .. } | Body::Drop => None,
        }
    }
}
