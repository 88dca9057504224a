//! Time as the driver tells it. Nothing in floors 0-4 reads a clock.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// Microseconds on the driver's monotonic clock since an arbitrary start. Never crosses nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

/// Milliseconds since the Unix epoch by the node's wall clock; may jump, may be wrong by years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct WallTime(pub u64);

/// A hybrid logical time: 48 bits of milliseconds, 16 bits of counter. It decides only which sibling
/// is "newest" and what `Last-Modified` shows; never what survives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct HybridTime(pub u64);

/// Both clocks at the instant of one input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// For deadlines.
    pub time: Time,
    /// For expiry and "newest".
    pub wall: WallTime,
}

impl Time {
    /// Further than any deadline.
    pub const NEVER: Time = Time(u64::MAX);

    /// Time since `earlier`; zero if it is not earlier.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    fn sub(self, duration: Duration) -> Time {
        Time(self.0.saturating_sub(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl HybridTime {
    /// The hybrid time of a wall-clock instant, counter zero.
    pub fn from_wall(wall: WallTime) -> Self {
        Self((wall.0 & 0xffff_ffff_ffff) << 16)
    }

    /// The wall-clock part.
    pub fn wall(self) -> WallTime {
        WallTime(self.0 >> 16)
    }
}

impl fmt::Debug for HybridTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.wall().0, self.0 & 0xffff)
    }
}
