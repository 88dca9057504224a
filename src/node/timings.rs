//! How long a node waits for what, each with its reason.

use std::time::Duration;

/// The core's periods, patiences and sizes. All may be set; the defaults suit one data centre.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// Between two rounds of exchange. Short enough to heal in seconds, long enough to cost nothing idle.
    pub exchange_interval: Duration,
    /// An exchange session without an answer for so long has lost its messages, and ends.
    pub session_patience: Duration,
    /// How long an up primary may take to acknowledge before a fallback is asked to hold a hint.
    pub hint_delay: Duration,
    /// Between two looks at the hints that can be drained.
    pub hint_interval: Duration,
    /// A hint sent and not acknowledged for so long is sent again.
    pub hint_patience: Duration,
    /// A peer that owes an answer for so long, without having been heard meanwhile, is passed over while
    /// others can be asked. It only re-orders, so it may be short: a forward sent to a node that has just
    /// died cannot be sent again, and under load a living one is heard every millisecond or two.
    pub silence: Duration,
    /// The shortest wait before another replica is asked besides the first.
    pub hedge_floor: Duration,
    /// Most objects in one answer of an exchange, and so in one page of a listing: some milliseconds at
    /// either end, for which clients wait.
    pub page_objects: usize,
    /// Most recent dots remembered per partition, at most 1,024. An exchange that misses older ones falls back to a
    /// full listing.
    pub recent_dots: usize,
    /// Bytes a second that the filling replicas of a node take, their costs included (`node::pace`): a change of the
    /// layout must not be felt by clients.
    pub fill_bytes_per_second: u64,
    /// How many bytes of hints this node holds; beyond, it refuses, and the coordinator asks another.
    pub hint_bytes: u64,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            exchange_interval: Duration::from_millis(1_000),
            session_patience: Duration::from_secs(3),
            hint_delay: Duration::from_millis(300),
            hint_interval: Duration::from_millis(250),
            hint_patience: Duration::from_secs(2),
            silence: Duration::from_millis(10),
            hedge_floor: Duration::from_millis(2),
            page_objects: 64,
            recent_dots: 1024,
            fill_bytes_per_second: 16 << 20,
            hint_bytes: 256 << 20,
        }
    }
}
