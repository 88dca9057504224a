//! What happened, as one number and as the last few lines.

use dunlin::base::Time;
use std::collections::VecDeque;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How many events a report shows: what led to a violation is usually within one command's life.
const LAST_EVENTS: usize = 60;

/// One event. Kept as numbers: only a failed run is ever printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    /// When.
    pub at: Time,
    /// Where; the highest number is "the world".
    pub node: usize,
    /// What.
    pub kind: &'static str,
    /// Which request, peer or the like.
    pub subject: u64,
    /// Hash of the contents.
    pub content: u64,
}

/// A node number that means no node.
pub(super) const WORLD: usize = usize::MAX;

/// Whether events are printed as they happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Voice {
    /// Only a failure is printed.
    #[default]
    Quiet,
    /// Every event goes to standard output.
    Loud,
}

/// The trace of a run. The same seed gives the same hash.
#[derive(Debug, Default)]
pub(super) struct Trace {
    hash: u64,
    events: u64,
    last: VecDeque<Event>,
    voice: Voice,
}

impl Trace {
    /// An empty trace.
    pub(super) fn new(voice: Voice) -> Self {
        Self { voice, ..Self::default() }
    }

    /// Adds an event.
    pub(super) fn note(&mut self, event: Event) {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&event.at.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&(event.node as u64).to_le_bytes());
        bytes[16..24].copy_from_slice(&event.subject.to_le_bytes());
        bytes[24..].copy_from_slice(&event.content.to_le_bytes());
        self.hash = xxh3_64_with_seed(&bytes, xxh3_64_with_seed(event.kind.as_bytes(), self.hash));
        self.events += 1;
        if self.voice == Voice::Loud {
            println!("{}", event.line());
        }
        if self.last.len() == LAST_EVENTS {
            self.last.pop_front();
        }
        self.last.push_back(event);
    }

    /// The hash of everything so far.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// The last events, oldest first, a line each.
    pub(super) fn last_lines(&self) -> Vec<String> {
        self.last.iter().map(Event::line).collect()
    }
}

impl Event {
    fn line(&self) -> String {
        let node = if self.node == WORLD { "-".into() } else { self.node.to_string() };
        let seconds = self.at.0 as f64 / 1e6;
        format!("{seconds:12.6} s  node {node:>2}  {:<24} {:>6}  {:016x}", self.kind, self.subject, self.content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: u64) -> Event {
        Event { at: Time(at), node: 1, kind: "tick", subject: 3, content: 4 }
    }

    #[test]
    fn the_hash_depends_on_every_field_and_on_the_order() {
        let hash = |events: &[Event]| {
            let mut trace = Trace::default();
            events.iter().for_each(|event| trace.note(*event));
            trace.hash()
        };
        let whole = hash(&[event(1), event(2)]);
        assert_eq!(whole, hash(&[event(1), event(2)]));
        assert_ne!(whole, hash(&[event(2), event(1)]));
        for other in [
            Event { node: 2, ..event(2) },
            Event { kind: "flush", ..event(2) },
            Event { subject: 9, ..event(2) },
            Event { content: 9, ..event(2) },
        ] {
            assert_ne!(whole, hash(&[event(1), other]));
        }
    }

    #[test]
    fn only_the_last_events_are_kept() {
        let mut trace = Trace::default();
        (0..500).for_each(|at| trace.note(event(at)));
        assert_eq!(trace.last_lines().len(), LAST_EVENTS);
        assert_eq!(trace.events(), 500);
    }
}
