//! The points by call and fault, and what became of them.

use super::point::{Outcome, Phase, Point};
use super::rehearsal::Fault;
use std::collections::BTreeMap;
use std::fmt;

/// A line of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Line {
    points: u64,
    phases: BTreeMap<Phase, u64>,
    openings: BTreeMap<&'static str, u64>,
    answered: u64,
    read: u64,
    broken: u64,
}

/// Outcomes, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table {
    lines: BTreeMap<(Fault, &'static str), Line>,
    /// What is wrong, point by point.
    pub(super) broken: Vec<String>,
}

impl Table {
    pub(super) fn note(&mut self, point: &Point, outcome: Outcome) {
        let line = self.lines.entry((point.fault, point.call)).or_default();
        line.points += 1;
        *line.phases.entry(outcome.phase).or_default() += 1;
        *line.openings.entry(outcome.opening).or_default() += 1;
        line.answered += outcome.answered;
        line.read += outcome.read;
        line.broken += u64::from(!outcome.broken.is_empty());
        let place = format!("{} at {} {} (load {})", point.fault, point.call, point.nth, point.seed);
        self.broken.extend(outcome.broken.into_iter().map(|what| format!("{place}: {what}")));
    }

    /// Points whose call was reached.
    pub(super) fn reached(&self) -> u64 {
        let missed = |line: &Line| line.phases.get(&Phase::NotReached).copied().unwrap_or(0);
        self.lines.values().map(|line| line.points - missed(line)).sum()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<9}{:<11}{:>7}{:>9}{:>9}{:>9}{:>6}{:>6}{:>6}{:>6}{:>10}{:>8}{:>8}",
            "fault",
            "call",
            "points",
            "opening",
            "serving",
            "missed",
            "kept",
            "torn",
            "reset",
            "new",
            "answered",
            "read",
            "broken"
        )?;
        for ((fault, call), line) in &self.lines {
            let phase = |phase| line.phases.get(&phase).copied().unwrap_or(0);
            let opening = |opening| line.openings.get(opening).copied().unwrap_or(0);
            writeln!(
                f,
                "{:<9}{call:<11}{:>7}{:>9}{:>9}{:>9}{:>6}{:>6}{:>6}{:>6}{:>10}{:>8}{:>8}",
                fault.to_string(),
                line.points,
                phase(Phase::Opening),
                phase(Phase::Serving),
                phase(Phase::NotReached),
                opening("kept"),
                opening("torn"),
                opening("reset"),
                opening("new"),
                line.answered,
                line.read,
                line.broken
            )?;
        }
        Ok(())
    }
}
