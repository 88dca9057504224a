//! One point: a node, a load, one call tampered with, and what is there afterwards.

use super::load;
use super::node::{Node, Started};
use super::rehearsal::{Fault, tracer};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

/// `dunlin serve` did not start, or ended, and starting it again may help.
const FAILED: i32 = 1;

/// `dunlin serve` could not make a write durable.
const STORE_POISONED: i32 = 10;

/// SIGKILL's number.
const SIGKILL: i32 = 9;

/// What is done, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) call: &'static str,
    pub(super) fault: Fault,
    /// The how-manieth such call of a thread.
    pub(super) nth: u64,
    /// How long the load goes on if nothing happens.
    pub(super) longest: Duration,
    /// Which load.
    pub(super) seed: u64,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// When the process ended.
    pub(super) phase: Phase,
    /// How the next opening went on.
    pub(super) opening: &'static str,
    /// Writes that had been answered.
    pub(super) answered: u64,
    /// Keys read back.
    pub(super) read: u64,
    /// What is wrong.
    pub(super) broken: Vec<String>,
}

/// When the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Before it served.
    Opening,
    /// Under load.
    Serving,
    /// The call was never made: it was killed at the end.
    NotReached,
}

impl Outcome {
    /// Was the call never made, and nothing else wrong?
    pub(super) fn is_miss(&self) -> bool {
        self.phase == Phase::NotReached && self.broken.is_empty()
    }
}

impl Point {
    /// Runs it in a new directory. An error means that it could not be run.
    pub(super) async fn run(&self, binary: &Path, home: &Path, flags: &[&str]) -> Result<Outcome, String> {
        let mut node = Node::make(binary, home, flags)?;
        let trace = home.join("trace");
        let (started, mut broken) =
            (node.start(&tracer(self.call, Some((self.fault, self.nth)), &trace)).await?, Vec::new());
        let mut ledger = Default::default();
        let phase = match started {
            Started::Ended(status) => {
                broken.extend(self.misended(status, Phase::Opening, &node.words()));
                Phase::Opening
            }
            Started::Ready => {
                ledger = load::run(&mut node, self.seed, self.longest).await?;
                self.end(&mut node, &trace, &mut broken).await?
            }
        };
        match node.start(&[]).await? {
            Started::Ready => {}
            Started::Ended(status) => {
                broken.push(format!("does not start again ({status}): {}", node.words()));
                return Ok(Outcome { phase, opening: "none", answered: ledger.answered, read: 0, broken });
            }
        }
        let words = node.words();
        let opening = opening(&words);
        broken.extend(self.misopened(phase, opening, &words));
        let read = load::read_back(&node.client()?, &ledger).await.unwrap_or_else(|what| {
            broken.push(what);
            0
        });
        node.kill().await?;
        Ok(Outcome { phase, opening, answered: ledger.answered, read, broken })
    }

    /// Waits for the end of a node whose load has stopped.
    async fn end(&self, node: &mut Node, trace: &Path, broken: &mut Vec<String>) -> Result<Phase, String> {
        let injected = std::fs::read_to_string(trace).is_ok_and(|text| text.contains("(INJECTED)"));
        let patience = if injected { 500 } else { 50 };
        for _ in 0..patience {
            if let Some(status) = node.ended()? {
                broken.extend(self.misended(status, Phase::Serving, &node.words()));
                return Ok(Phase::Serving);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        node.kill().await?;
        if injected && self.fault == Fault::Error {
            broken.push(format!("{} failed, and the node went on", self.call));
            return Ok(Phase::Serving);
        }
        Ok(Phase::NotReached)
    }

    /// What is wrong with such an end.
    fn misended(&self, status: ExitStatus, phase: Phase, words: &str) -> Option<String> {
        let as_told = match (self.fault, phase) {
            // strace ends as what it traces does.
            (Fault::Kill, _) => status.signal() == Some(SIGKILL),
            (Fault::Error, Phase::Opening) => {
                matches!(status.code(), Some(FAILED | STORE_POISONED)) && says_error(words)
            }
            (Fault::Error, _) => status.code() == Some(STORE_POISONED) && words.contains("the store is poisoned: "),
        };
        (!as_told).then(|| format!("ended by {status}: {}", words.lines().last().unwrap_or_default()))
    }

    /// What is wrong with such an opening.
    fn misopened(&self, phase: Phase, opening: &str, words: &str) -> Option<String> {
        let as_told = match (self.fault, phase) {
            (Fault::Error, Phase::Serving) => opening == "reset",
            (_, Phase::Opening) => opening != "torn",
            _ => matches!(opening, "kept" | "torn"),
        };
        (!as_told).then(|| format!("the next opening: {opening}: {words}"))
    }
}

fn says_error(words: &str) -> bool {
    words.lines().any(|line| line.starts_with("dunlin: ") && line.contains("os error 5"))
}

/// How an opening went on, by what the node has told.
fn opening(words: &str) -> &'static str {
    if words.contains("new data directory") {
        "new"
    } else if words.contains("reason=TornTail") {
        "torn"
    } else if words.contains("under a new actor") {
        "reset"
    } else {
        "kept"
    }
}
