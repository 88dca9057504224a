//! What one run is about.

use dunlin::membership::Lifeguard;
use std::time::Duration;

/// A cluster and what befalls it.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// How many nodes.
    pub nodes: u32,
    /// How long it is watched, after [`WARM_UP`].
    pub length: Duration,
    /// The share of packets that are lost.
    pub loss: f64,
    /// The share of nodes that stand still again and again, always the same ones; at least one node if
    /// it is not zero.
    pub stalling: f64,
    /// How long they stand still at most; at least [`SHORTEST_STALL`].
    pub longest_stall: Duration,
    /// How messages travel.
    pub connections: Connections,
    /// Is Lifeguard on?
    pub lifeguard: Lifeguard,
    /// A healthy node dies so often.
    pub death_every: Duration,
    /// Decides everything else.
    pub seed: u64,
}

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Connections {
    /// As the transport has them: dialled when needed, a bounded number kept.
    Dialled,
    /// As if there were always one: what detectors do when handshakes do not disturb them.
    Standing,
}

/// Before this nothing is counted: detectors that start at once probe in step at first.
pub(super) const WARM_UP: Duration = Duration::from_secs(30);

/// A stall lasts for this long at least, unless the longest is shorter.
pub(super) const SHORTEST_STALL: Duration = Duration::from_secs(1);

/// Between two stalls of a node, from and to.
pub(super) const BETWEEN_STALLS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(30));

/// A dead node starts again after this; whoever has not heard of its death by then missed it.
pub(super) const DEAD_FOR: Duration = Duration::from_secs(60);

/// Nobody dies who has just begun: others may not have heard of it, and would have nothing to learn.
pub(super) const LIVES_FOR: Duration = Duration::from_secs(10);

impl Default for Case {
    fn default() -> Self {
        Self {
            nodes: 100,
            length: Duration::from_secs(600),
            loss: 0.0,
            stalling: 0.0,
            longest_stall: Duration::from_secs(5),
            connections: Connections::Dialled,
            lifeguard: Lifeguard::On,
            death_every: Duration::from_secs(60),
            seed: 1,
        }
    }
}

impl Case {
    /// How many nodes stall.
    pub fn stalling_nodes(&self) -> u32 {
        (f64::from(self.nodes) * self.stalling).ceil() as u32
    }
}
