//! What a run found.

use super::case::Case;
use super::ledger::Ledger;
use super::wire::Traffic;
use std::fmt;
use std::time::Duration;

/// The figures of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// What was run.
    pub case: Case,
    /// How long, in virtual time.
    pub length: Duration,
    /// How many deaths became known to all who ran.
    pub deaths: usize,
    /// The median time until then.
    pub median: Duration,
    /// The 99th percentile: with fewer than a hundred deaths, the worst.
    pub p99: Duration,
    /// Deaths not known by all when the node started again.
    pub missed: u64,
    /// Living nodes that somebody held down, counted once for each incarnation.
    pub false_deaths: u64,
    /// Those of nodes that never stalled.
    pub healthy_false_deaths: u64,
    /// Living nodes that were suspected, counted likewise.
    pub false_suspicions: u64,
    /// What went over the network.
    pub traffic: Traffic,
}

impl Figures {
    pub(super) fn new(case: &Case, length: Duration, ledger: &Ledger, traffic: Traffic) -> Self {
        let times = ledger.known_after();
        let healthy = ledger.false_deaths().filter(|node| *node >= case.stalling_nodes()).count();
        Self {
            case: case.clone(),
            length,
            deaths: times.len(),
            median: percentile(&times, 50),
            p99: percentile(&times, 99),
            missed: ledger.missed(),
            false_deaths: ledger.false_deaths().count() as u64,
            healthy_false_deaths: healthy as u64,
            false_suspicions: ledger.false_suspicions(),
            traffic,
        }
    }

    /// Of something counted: how much for each node in each second.
    pub fn rate(&self, count: u64) -> f64 {
        count as f64 / f64::from(self.case.nodes) / self.length.as_secs_f64()
    }

    /// Of something counted: how much in an hour, in the whole cluster.
    pub fn hourly(&self, count: u64) -> f64 {
        count as f64 * 3600.0 / self.length.as_secs_f64()
    }
}

/// The smallest time that so many percent do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (case, traffic) = (&self.case, &self.traffic);
        write!(
            f,
            "| {} | {:.0} | {:.0} | {:.0} | {:?} | {:.0} | {} | {:.1} | {:.1} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.0} | {:.0} | {:.0} | {:.0} |",
            case.nodes,
            case.loss * 100.0,
            case.stalling * 100.0,
            case.longest_stall.as_secs_f64(),
            case.lifeguard,
            self.length.as_secs_f64(),
            self.deaths,
            self.median.as_secs_f64(),
            self.p99.as_secs_f64(),
            self.missed,
            self.hourly(self.false_deaths),
            self.hourly(self.healthy_false_deaths),
            self.hourly(self.false_suspicions),
            self.rate(traffic.messages),
            self.rate(traffic.payload),
            self.rate(traffic.packets),
            self.rate(traffic.handshake_bytes()),
            self.rate(traffic.keep_alive_bytes()),
        )
    }
}

/// The heads of the columns that [`Figures`] shows.
pub(super) const HEADS: &str = "| nodes | loss % | stalling % | up to s | Lifeguard | watched s | deaths | known by all p50 s | p99 s | missed | false deaths/h | of healthy/h | false suspicions/h | messages/node/s | payload B/node/s | with headers and acks | handshakes B/node/s | keep-alive B/node/s |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|";
