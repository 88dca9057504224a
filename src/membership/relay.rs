//! Pings made on behalf of others.

use crate::base::{NodeId, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most indirect pings under way. An honest cluster has a handful; a flood of requests must not grow
/// memory. Beyond it requests are ignored: the asker has asked others too.
const MAX_RELAYS: usize = 256;

/// Whom to tell when the target answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relay {
    /// Who asked.
    pub(super) asker: NodeId,
    /// Where the asker is.
    pub(super) address: String,
    /// The asker's number of the probe.
    pub(super) sequence: u64,
    /// Who was pinged.
    pub(super) target: NodeId,
}

/// The relays under way, by the number of the ping made for each.
#[derive(Debug, Default)]
pub(super) struct Relays {
    waiting: BTreeMap<u64, (Time, Relay)>,
}

impl Relays {
    /// Remembers a relay until `now + lifetime`; false when full.
    pub(super) fn insert(&mut self, sequence: u64, relay: Relay, now: Time, lifetime: Duration) -> bool {
        self.waiting.retain(|_, (expires, _)| *expires > now);
        if self.waiting.len() >= MAX_RELAYS {
            return false;
        }
        self.waiting.insert(sequence, (now + lifetime, relay));
        true
    }

    /// The relay of ping `sequence`, if its target has not answered.
    pub(super) fn get(&self, sequence: u64) -> Option<&Relay> {
        self.waiting.get(&sequence).map(|(_, relay)| relay)
    }

    /// The relay whose target just answered ping `sequence`; once.
    pub(super) fn take(&mut self, sequence: u64, target: NodeId) -> Option<Relay> {
        match self.waiting.get(&sequence) {
            Some((_, relay)) if relay.target == target => self.waiting.remove(&sequence).map(|(_, relay)| relay),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay() -> Relay {
        Relay { asker: NodeId(1), address: "a".into(), sequence: 7, target: NodeId(2) }
    }

    /// Rule: only the target's own answer is passed on, and once.
    #[test]
    fn only_the_target_answers_a_relay() {
        let mut relays = Relays::default();
        assert!(relays.insert(5, relay(), Time(0), Duration::from_secs(1)));
        assert_eq!(relays.take(5, NodeId(3)), None);
        assert_eq!(relays.take(5, NodeId(2)), Some(relay()));
        assert_eq!(relays.take(5, NodeId(2)), None);
    }

    /// Rule: relays are bounded, and time makes room again.
    #[test]
    fn relays_are_bounded_and_expire() {
        let mut relays = Relays::default();
        for sequence in 0..MAX_RELAYS as u64 {
            assert!(relays.insert(sequence, relay(), Time(0), Duration::from_secs(1)));
        }
        assert!(!relays.insert(9999, relay(), Time(1), Duration::from_secs(1)));
        assert!(relays.insert(9999, relay(), Time(2_000_000), Duration::from_secs(1)));
    }
}
