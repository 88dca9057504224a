//! What messages cost and how long they take. The sizes are estimates from the formats, not measured.

use dunlin::base::Random;
use std::time::Duration;

/// Around a datagram: IPv4 20, UDP 8, QUIC's short header 1 + 8 + 2, its tag 16, the frame's head 3.
const AROUND_DATAGRAM: u64 = 58;

/// A packet that only acknowledges: the same without a frame, and 6 for the ranges. Each direction has a
/// connection of its own, so there is never anything it could ride on.
const ACKNOWLEDGEMENT: u64 = 61;

/// Most that a packet of a stream carries.
const STREAM_PACKET: u64 = 1_140;

/// A handshake in which both show certificates, all packets of both ways: three of full size, the client's
/// last one, and what confirms it.
const HANDSHAKE: u64 = 5_000;

/// Packets of a handshake that each cost a timeout when lost.
const HANDSHAKE_PACKETS: i32 = 4;

/// As three times `transport::limits::INITIAL_ROUND_TRIP`.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_millis(300);

/// As `transport::limits::HANDSHAKE_TIMEOUT`: what waits for a dial is dropped by then.
const DIAL_LIMIT: Duration = Duration::from_secs(2);

/// A connection that is not used speaks once a second, and is answered.
const KEEP_ALIVE_PER_SECOND: u64 = AROUND_DATAGRAM + ACKNOWLEDGEMENT;

/// One way, from and to.
const DELAY: (u64, u64) = (200, 10_000);

/// All bytes that went over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Messages of detectors, datagrams and full syncs.
    pub messages: u64,
    /// Their own bytes.
    pub payload: u64,
    /// With all headers and acknowledgements.
    pub packets: u64,
    /// Handshakes begun.
    pub handshakes: u64,
    /// Seconds that connections stood open, summed over all.
    pub open_seconds: u64,
}

impl Traffic {
    /// Counts a datagram.
    pub(super) fn datagram(&mut self, bytes: usize) {
        self.messages += 1;
        self.payload += bytes as u64;
        self.packets += bytes as u64 + AROUND_DATAGRAM + ACKNOWLEDGEMENT;
    }

    /// Counts a message over a stream.
    pub(super) fn stream(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        self.messages += 1;
        self.payload += bytes;
        self.packets += bytes + bytes.div_ceil(STREAM_PACKET) * (AROUND_DATAGRAM + ACKNOWLEDGEMENT);
    }

    /// The bytes of all handshakes.
    pub fn handshake_bytes(&self) -> u64 {
        self.handshakes * HANDSHAKE
    }

    /// The bytes of what keeps connections open.
    pub fn keep_alive_bytes(&self) -> u64 {
        self.open_seconds * KEEP_ALIVE_PER_SECOND
    }
}

/// One way through the network.
pub(super) fn delay(random: &mut Random) -> Duration {
    Duration::from_micros(random.between(DELAY.0, DELAY.1))
}

/// How long a handshake takes; none if it is given up.
pub(super) fn handshake(random: &mut Random, loss: f64) -> Option<Duration> {
    let mut took = delay(random) + delay(random);
    let mut timeout = HANDSHAKE_TIMEOUT;
    while random.chance(1.0 - (1.0 - loss).powi(HANDSHAKE_PACKETS)) {
        took += timeout;
        timeout *= 2;
        if took > DIAL_LIMIT {
            return None;
        }
    }
    Some(took)
}

/// How much longer a stream takes that loses a packet.
pub(super) fn stream_delay(random: &mut Random, loss: f64) -> Duration {
    let mut took = delay(random);
    while random.chance(loss) {
        took += HANDSHAKE_TIMEOUT;
    }
    took
}
