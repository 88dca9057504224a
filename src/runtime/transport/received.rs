//! What the transport hands to the node.

use crate::base::NodeId;
use crate::replication::Message;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// Messages of one peer that came together, in the order they were sent on their stream.
#[derive(Debug)]
pub struct Received {
    /// Who sent them, by its certificate.
    pub from: NodeId,
    /// At least one.
    pub messages: Vec<Message>,
    /// Their part of what may wait for the node in all; given back with the last batch that shares it.
    pub(crate) _share: Arc<OwnedSemaphorePermit>,
}
