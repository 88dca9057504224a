//! The scenarios: what is broken when, and what is looked at afterwards.

use super::book::State;
use super::options::Live;
use super::report::Report;
use super::stage::{Part, Stage};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// How long hints may take to show after a node was killed. Above the wait before one is asked for
/// (300 ms) and the age of what nodes show.
const HINTS_SEEN_LIMIT: Duration = Duration::from_secs(15);

/// How long the load runs undisturbed, to compare with: some ten thousand writes.
const QUIET: Duration = Duration::from_secs(10);

/// What happens to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// One node is killed and comes back.
    KillOne,
    /// All nodes are killed at once, and come back.
    KillAll,
    /// Bytes of one node's sealed segments change while it runs.
    Rot,
    /// Two nodes join, two leave one after the other, one is replaced.
    LayoutChanges,
}

impl Scenario {
    /// Nodes that join in the course of it.
    pub(super) fn more_nodes(self) -> usize {
        match self {
            Scenario::LayoutChanges => 3,
            Scenario::KillOne | Scenario::KillAll | Scenario::Rot => 0,
        }
    }
}

/// All scenarios, with a line about each.
pub const SCENARIOS: &[(Scenario, &str)] = &[
    (
        Scenario::KillOne,
        "SIGKILL of one node a third of the way, restart at two thirds: nothing else fails, hints drain, all is read back",
    ),
    (
        Scenario::KillAll,
        "SIGKILL of all nodes at once half-way, restart: every acknowledged write is there, then the rest is written",
    ),
    (
        Scenario::Rot,
        "bytes of a running node's sealed segments change half-way: nothing wrong is read, nothing is lost, all is repaired",
    ),
    (
        Scenario::LayoutChanges,
        "with all records written again and again: two nodes join, one leaves, another leaves, one is replaced; nothing is lost",
    ),
];

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scenario::KillOne => "kill-one",
            Scenario::KillAll => "kill-all",
            Scenario::Rot => "rot",
            Scenario::LayoutChanges => "layout-changes",
        })
    }
}

/// Runs a scenario. An error means that it could not be run; what was broken is in the report.
pub async fn run(options: &Live) -> Result<Report, String> {
    let mut stage = Stage::set(options).await?;
    let played = match options.scenario {
        Scenario::KillOne => kill_one(&mut stage).await,
        Scenario::KillAll => kill_all(&mut stage).await,
        Scenario::Rot => rot(&mut stage).await,
        Scenario::LayoutChanges => layout_changes(&mut stage).await,
    };
    if played.is_err() {
        // Whoever wants to know why needs the logs.
        stage.cluster.keep();
    }
    played?;
    Ok(stage.close().await)
}

async fn kill_one(stage: &mut Stage) -> Result<(), String> {
    let victim = stage.random.below(stage.cluster.nodes.len() as u64) as usize;
    // A short load must not be over before anything has happened.
    stage.close_gate(Part(5, 6));
    stage.start_load(Part::WHOLE);
    stage.until(Part(1, 3)).await;
    stage.kill(&[victim])?;
    stage.watch.forget_most();
    stage.until(Part(2, 3)).await;
    let hints = stage.watch.until(HINTS_SEEN_LIMIT, |hints| hints.max > 0).await;
    stage.report.hints.max_while_away = Some(hints.map_or(0, |hints| hints.max));
    let restarted_ms = stage.restart(&[victim])?;
    stage.open_gate();
    stage.until_ready().await?;
    stage.end_load().await;
    stage.until_no_hints(restarted_ms).await;
    stage.until_converged().await;
    stage.read_back(&BTreeSet::new()).await
}

async fn kill_all(stage: &mut Stage) -> Result<(), String> {
    let all: Vec<usize> = (0..stage.cluster.nodes.len()).collect();
    stage.start_load(Part::WHOLE);
    stage.until(Part(1, 2)).await;
    stage.load.halt();
    stage.kill(&all)?;
    stage.end_load().await;
    let restarted_ms = stage.restart(&all)?;
    stage.until_ready().await?;
    stage.until_converged().await;
    stage.read_back(&BTreeSet::new()).await?;
    let read = stage.load.with_book(|book| book.tried());
    let acknowledged = read.into_iter().filter(|(_, state)| *state == State::Acknowledged);
    let read: BTreeSet<usize> = acknowledged.map(|(record, _)| record).collect();
    stage.load.take_up_again();
    stage.start_load(Part(1, 2));
    stage.end_load().await;
    stage.until_no_hints(restarted_ms).await;
    stage.until_converged().await;
    stage.read_back(&read).await
}

async fn rot(stage: &mut Stage) -> Result<(), String> {
    let victim = stage.random.below(stage.cluster.nodes.len() as u64) as usize;
    stage.start_load(Part::WHOLE);
    stage.until(Part(1, 2)).await;
    let rotted_ms = stage.rot(victim)?;
    stage.end_load().await;
    // Each record is asked of each node, which reads its own copy, so all damage that counts is met.
    stage.read_from_majority().await?;
    stage.until_repaired(victim).await?;
    stage.until_no_hints(rotted_ms).await;
    stage.until_converged().await;
    stage.read_back(&BTreeSet::new()).await
}

async fn layout_changes(stage: &mut Stage) -> Result<(), String> {
    stage.start_load(Part::WHOLE);
    stage.end_load().await;
    stage.load.go_round();
    stage.start_load(Part::WHOLE);
    stage.rest(QUIET).await;
    let joining: Vec<String> = (1..=3).map(|more| format!("node{}", stage.cluster.nodes.len() + more)).collect();
    let [fourth, fifth, sixth] = [0, 1, 2].map(|at| joining[at].as_str());
    stage.join(&[fourth, fifth]).await?;
    stage.change(&[&["join", fourth], &["join", fifth]]).await?;
    stage.rest(QUIET).await;
    stage.change(&[&["leave", "node2"]]).await?;
    stage.change(&[&["leave", fourth]]).await?;
    stage.join(&[sixth]).await?;
    stage.change(&[&["replace", "node1", sixth]]).await?;
    stage.rest(QUIET).await;
    stage.load.halt();
    stage.end_load().await;
    let ended_ms = stage.tell("the load ends");
    stage.until_no_hints(ended_ms).await;
    stage.until_converged().await;
    stage.read_back(&BTreeSet::new()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_scenario_is_listed_under_the_name_it_is_called_by() {
        for scenario in Scenario::value_variants() {
            let called = scenario.to_possible_value().map(|value| value.get_name().to_owned());
            assert_eq!(called, Some(scenario.to_string()));
            assert!(SCENARIOS.iter().any(|(listed, _)| listed == scenario));
        }
    }
}
