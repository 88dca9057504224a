//! What a run is made of.

use super::keys::Distribution;
use super::operation::{Mix, Operation};
use super::supply::{Length, Pace};
use super::value::Sizes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A load and how it is measured.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) load: Load,
    pub(super) stages: Vec<Stage>,
}

/// What does not change between stages.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) connections: usize,
    /// Keys that exist once the first stage has written them.
    pub(super) keys: u64,
    pub(super) sizes: Sizes,
    /// Keys a scan asks for, at most.
    pub(super) scan_length: u32,
    /// Parameters of every request, as in a URL: `?r=1&w=2`, or nothing.
    pub(super) knobs: String,
    /// A request without an answer after this long has failed.
    pub(super) timeout: Duration,
    pub(super) seed: u64,
}

/// One stretch of load.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    pub(super) name: String,
    pub(super) mix: Mix,
    pub(super) distribution: Distribution,
    pub(super) pace: StagePace,
    pub(super) length: Length,
    pub(super) role: Role,
}

/// How fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum StagePace {
    Fixed(Pace),
    /// A share of what the last closed stage reached.
    ShareOfPeak(f64),
}

/// What a stage is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Writes each key once, in order.
    Prepare,
    /// Its figures are thrown away.
    WarmUp,
    /// Its figures are the result.
    Measure,
}

/// A named set of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Workload {
    /// Updates alone
    Put,
    /// Reads alone
    Get,
    /// YCSB A: half reads, half updates
    A,
    /// YCSB B: 95 % reads, 5 % updates
    B,
    /// YCSB C: reads alone, zipfian
    C,
    /// YCSB D: 95 % reads of the newest keys, 5 % inserts
    D,
    /// YCSB E: 95 % scans, 5 % inserts
    E,
    /// YCSB F: half reads, half read-modify-write
    F,
}

impl Workload {
    /// What it asks for, and of which keys.
    pub(super) fn parts(self) -> (Mix, Distribution) {
        let mix = |text: &str| text.parse().unwrap_or_else(|_| Mix::only(Operation::Read));
        match self {
            Workload::Put => (Mix::only(Operation::Update), Distribution::Uniform),
            Workload::Get => (Mix::only(Operation::Read), Distribution::Uniform),
            Workload::A => (mix("read=50,update=50"), Distribution::Zipf),
            Workload::B => (mix("read=95,update=5"), Distribution::Zipf),
            Workload::C => (Mix::only(Operation::Read), Distribution::Zipf),
            Workload::D => (mix("read=95,insert=5"), Distribution::Latest),
            Workload::E => (mix("scan=95,insert=5"), Distribution::Zipf),
            Workload::F => (mix("read=50,read-modify-write=50"), Distribution::Zipf),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Workload::Put => "put",
            Workload::Get => "get",
            Workload::A => "a",
            Workload::B => "b",
            Workload::C => "c",
            Workload::D => "d",
            Workload::E => "e",
            Workload::F => "f",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn workloads_are_those_of_ycsb() {
        let texts: Vec<String> = Workload::value_variants()
            .iter()
            .map(|workload| {
                let (mix, distribution) = workload.parts();
                format!("{} {} {}", workload.name(), mix.text(), distribution.text())
            })
            .collect();
        let expected = [
            "put update=1 uniform",
            "get read=1 uniform",
            "a read=50,update=50 zipf",
            "b read=95,update=5 zipf",
            "c read=1 zipf",
            "d read=95,insert=5 latest",
            "e scan=95,insert=5 zipf",
            "f read=50,read-modify-write=50 zipf",
        ];
        assert_eq!(texts, expected);
    }
}
