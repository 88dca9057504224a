//! One node: its detector, its process, what waits for it.

use super::links::Links;
use bytes::Bytes;
use dunlin::base::Time;
use dunlin::membership::{Detector, DetectorInput};
use std::collections::VecDeque;

/// As `runtime::detector::RECEIVED`: what a process that stands still finds when it goes on; the rest is
/// dropped.
const MOST_WAITING: usize = 1024;

/// One node.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) detector: Detector,
    pub(super) process: Process,
    pub(super) links: Links,
    /// Which process this is; another has other connections.
    pub(super) life: u32,
    /// When it began.
    pub(super) since: Time,
    /// When the queue will wake it.
    pub(super) tick: Time,
    pub(super) incarnation: u64,
    waiting: VecDeque<(u32, Post)>,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    /// It runs.
    Running,
    /// It stands still since then.
    Stalled(Time),
    /// It is gone.
    Dead,
}

/// A message under way.
#[derive(Debug, Clone)]
pub(super) enum Post {
    Datagram(Bytes),
    FullSync(Bytes),
}

impl Host {
    /// A process that begins now.
    pub(super) fn new(detector: Detector, incarnation: u64, life: u32, now: Time) -> Self {
        Self {
            detector,
            process: Process::Running,
            links: Links::default(),
            life,
            since: now,
            tick: Time::NEVER,
            incarnation,
            waiting: VecDeque::new(),
        }
    }

    /// It is not dead, whether or not it stands still.
    pub(super) fn lives(&self) -> bool {
        self.process != Process::Dead
    }

    /// Keeps a message until the process goes on.
    pub(super) fn keep(&mut self, from: u32, post: Post) {
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push_back((from, post));
        }
    }

    /// What was kept.
    pub(super) fn take_waiting(&mut self) -> VecDeque<(u32, Post)> {
        std::mem::take(&mut self.waiting)
    }
}

impl Post {
    /// As the detector of the receiver takes it.
    pub(super) fn input(self, sender: dunlin::base::NodeId, from: String) -> DetectorInput {
        match self {
            Post::Datagram(bytes) => DetectorInput::Datagram { sender, from, bytes },
            Post::FullSync(bytes) => DetectorInput::FullSync { sender, from, bytes },
        }
    }
}
