//! What detectors got right and wrong.

use dunlin::base::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Deaths, and who knows of them.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    open: BTreeMap<u32, Death>,
    /// Times from a death until everyone knew.
    known_after: Vec<Duration>,
    /// Deaths that somebody had not heard of when the node started again.
    missed: u64,
    /// Verdicts about living nodes: node and incarnation, since each incarnation is condemned once.
    false_deaths: BTreeSet<(u32, u64)>,
    /// Suspicions of living nodes, one for each node and incarnation.
    false_suspicions: BTreeSet<(u32, u64)>,
}

#[derive(Debug)]
struct Death {
    at: Time,
    ignorant: BTreeSet<u32>,
}

impl Ledger {
    /// A node died; `others` live.
    pub(super) fn died(&mut self, node: u32, at: Time, others: BTreeSet<u32>) {
        self.open.insert(node, Death { at, ignorant: others });
    }

    /// `observer` holds `node` down. It is a false verdict if the node is not known to have died. The
    /// death is known by all when nobody is ignorant but those excused: who stands still hears nothing.
    pub(super) fn down(&mut self, observer: u32, node: u32, incarnation: u64, now: Time, excused: &BTreeSet<u32>) {
        let Some(death) = self.open.get_mut(&node) else {
            self.false_deaths.insert((node, incarnation));
            return;
        };
        death.ignorant.remove(&observer);
        self.settle(node, now, excused);
    }

    /// `node`, which lives, is suspected.
    pub(super) fn suspected(&mut self, node: u32, incarnation: u64) {
        if !self.open.contains_key(&node) {
            self.false_suspicions.insert((node, incarnation));
        }
    }

    /// Somebody died or stands still: who remains may all know.
    pub(super) fn excuse(&mut self, now: Time, excused: &BTreeSet<u32>) {
        let open: Vec<u32> = self.open.keys().copied().collect();
        open.into_iter().for_each(|node| self.settle(node, now, excused));
    }

    fn settle(&mut self, node: u32, now: Time, excused: &BTreeSet<u32>) {
        let Some(death) = self.open.get_mut(&node) else { return };
        let known = death.ignorant.len() <= excused.len() && death.ignorant.is_subset(excused);
        if known && death.at != Time::NEVER {
            self.known_after.push(now.since(death.at));
            death.at = Time::NEVER;
        }
    }

    /// The dead node started again.
    pub(super) fn returned(&mut self, node: u32) {
        if self.open.remove(&node).is_some_and(|death| death.at != Time::NEVER) {
            self.missed += 1;
        }
        // It was told of the others when it started.
        for death in self.open.values_mut() {
            death.ignorant.remove(&node);
        }
    }

    /// Forgets what was found so far, but not who is dead.
    pub(super) fn begin(&mut self) {
        self.known_after.clear();
        self.missed = 0;
        self.false_deaths.clear();
        self.false_suspicions.clear();
    }

    /// The times until deaths were known, shortest first.
    pub(super) fn known_after(&self) -> Vec<Duration> {
        let mut times = self.known_after.clone();
        times.sort_unstable();
        times
    }

    /// Deaths not known by all within [`super::case::DEAD_FOR`].
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// Living nodes condemned, by node and incarnation.
    pub(super) fn false_deaths(&self) -> impl Iterator<Item = u32> {
        self.false_deaths.iter().map(|(node, _)| *node)
    }

    /// How many suspicions were false.
    pub(super) fn false_suspicions(&self) -> u64 {
        self.false_suspicions.len() as u64
    }
}
