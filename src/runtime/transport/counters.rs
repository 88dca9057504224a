//! What the transport counts, since the start.

use std::sync::atomic::{AtomicU64, Ordering};

/// One count.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

/// The live counts of one endpoint.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sent: Counter,
    pub(crate) received: Counter,
    pub(crate) dropped_full: Counter,
    pub(crate) dropped_unreachable: Counter,
    pub(crate) dropped_unknown: Counter,
    pub(crate) dropped_too_long: Counter,
    pub(crate) dropped_unread: Counter,
    pub(crate) malformed: Counter,
    pub(crate) refused: Counter,
    pub(crate) failed_dials: Counter,
    pub(crate) abandoned_dials: Counter,
    pub(crate) connected: Counter,
    pub(crate) resets: Counter,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransportCounters {
    /// Frames (or datagrams) handed to a connection.
    pub sent: u64,
    /// Messages (or datagrams) received whole.
    pub received: u64,
    /// Dropped because the receiver's queue was full.
    pub dropped_full: u64,
    /// Dropped because the receiver could not be reached.
    pub dropped_unreachable: u64,
    /// Dropped because the receiver has no address.
    pub dropped_unknown: u64,
    /// Dropped because they are above the limit.
    pub dropped_too_long: u64,
    /// Received and dropped because the node did not read them (datagrams only).
    pub dropped_unread: u64,
    /// Connections closed because what came was not as it should be.
    pub malformed: u64,
    /// Incoming connections refused: too many, no certificate, another cluster's.
    pub refused: u64,
    /// Dials that did not end in a connection.
    pub failed_dials: u64,
    /// Dials begun anew because the peer showed that it lives.
    pub abandoned_dials: u64,
    /// Dials that did.
    pub connected: u64,
    /// Outgoing connections that ended because the peer had restarted: its reset said so.
    pub resets: u64,
}

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn snapshot(&self) -> TransportCounters {
        TransportCounters {
            sent: self.sent.get(),
            received: self.received.get(),
            dropped_full: self.dropped_full.get(),
            dropped_unreachable: self.dropped_unreachable.get(),
            dropped_unknown: self.dropped_unknown.get(),
            dropped_too_long: self.dropped_too_long.get(),
            dropped_unread: self.dropped_unread.get(),
            malformed: self.malformed.get(),
            refused: self.refused.get(),
            failed_dials: self.failed_dials.get(),
            abandoned_dials: self.abandoned_dials.get(),
            connected: self.connected.get(),
            resets: self.resets.get(),
        }
    }
}
