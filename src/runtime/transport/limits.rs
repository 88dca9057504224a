//! The transport's limits, each with its reason.

use crate::base::limits::{MAX_DESCRIPTION_BYTES, MAX_SIBLINGS};
use std::time::Duration;

/// Longest frame when values may have so many bytes: a whole object travels in one, so every sibling at
/// its largest, and [`FRAME_OVERHEAD_BYTES`]. A frame's header holds 32 bits.
pub const fn max_frame_bytes(max_value_bytes: usize) -> usize {
    let whole = max_value_bytes.saturating_mul(MAX_SIBLINGS).saturating_add(FRAME_OVERHEAD_BYTES);
    if whole > u32::MAX as usize { u32::MAX as usize } else { whole }
}

/// What a frame holds besides values: key, contexts, metadata of every sibling (64 KiB each).
pub const FRAME_OVERHEAD_BYTES: usize = MAX_SIBLINGS * MAX_DESCRIPTION_BYTES;

/// Frames longer than this go by the bulk stream: some 50 packets, half a millisecond at 1 Gbit/s.
pub const BULK_FROM_BYTES: usize = 64 << 10;

/// What may wait for one peer in the foreground: above a second of what two cores can make.
pub const FOREGROUND_QUEUE_BYTES: usize = 16 << 20;

/// What may wait for one peer in bulk. One longer frame is taken if nothing else waits.
pub const BULK_QUEUE_BYTES: usize = 32 << 20;

/// What a frame in a queue costs besides its bytes (slot, allocation): so that tiny frames count too.
pub const QUEUED_FRAME_BYTES: usize = 64;

/// Most a writer hands over in one write: what the congestion window takes anyway.
pub const WRITE_BYTES: usize = 256 << 10;

/// Most a reader takes in before it decodes: one batch for the node.
pub const READ_BYTES: usize = 128 << 10;

/// A reader's or encoder's buffer that has grown above this is given back when it is empty.
pub const RETAINED_BUFFER_BYTES: usize = 1 << 20;

/// Batches that may wait for one shard; readers then stop, and so, by flow control, do their peers.
pub const RECEIVED_BATCHES: usize = 256;

/// What may wait for the node in the foreground, in bytes as received.
pub const FOREGROUND_RECEIVED_BYTES: usize = 32 << 20;

/// What may wait for the node in bulk: apart, so that bulk cannot hold up the foreground.
pub const BULK_RECEIVED_BYTES: usize = 64 << 20;

/// Nesting of a message; ours go to about ten.
pub const MAX_DEPTH: usize = 32;

/// Window of one stream: 4 MiB at 10 ms is 3 Gbit/s.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// Window of a connection: both streams' in full, so that a stalled one leaves the other its own.
pub const CONNECTION_WINDOW_BYTES: u32 = 2 * STREAM_WINDOW_BYTES;

/// The UDP socket's buffers, each direction: what a burst of 64 peers needs. The kernel may cap it.
pub const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Connections shaken hands with at a time; further ones are refused. A handshake costs a millisecond of CPU.
pub const MAX_HANDSHAKES: usize = 128;

/// From so many handshakes on, a dialler must first prove its address (QUIC Retry).
pub const RETRY_FROM_HANDSHAKES: usize = 32;

/// A handshake and all that belongs to it, either side.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that has been silent for so long is dead: detection by the detector is as fast.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// An idle connection speaks this often, so that it stays and so that a dead peer is noticed.
pub const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// First guess of a round trip (QUIC's is 333 ms): a lost first packet is repeated after three of these.
pub const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(100);

/// A dial so old that has led nowhere is begun anew when the peer shows that it lives: three round trips of 100 ms.
pub const STALE_DIAL: Duration = Duration::from_millis(300);

/// Wait before the second dial.
pub const FIRST_BACK_OFF: Duration = Duration::from_millis(50);

/// Longest wait between dials; for ever: a partition of any length heals.
pub const LAST_BACK_OFF: Duration = Duration::from_secs(1);

/// A connection that lasted so long was a good one: the back-off begins anew.
pub const GOOD_CONNECTION: Duration = Duration::from_secs(5);

/// Addresses tried per dial, when a name has several.
pub const MAX_ADDRESSES_PER_DIAL: usize = 4;

/// What closing waits for the peers to be told.
pub const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
