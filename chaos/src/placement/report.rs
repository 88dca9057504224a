//! What was measured of one class of clusters.

use super::history::{Changed, History, Kind, SizeClass};
use super::optimum::least_moves;
use super::shares::{Shares, rounded_down, rounded_up};
use dunlin::ring::{ChangeError, Layout, Partitioning, moves};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Copies moved in all, for each that had to be.
const MOST_MOVED: f64 = 1.05;

/// Load of the fullest node for what its share rounded up would be.
const MOST_UNEVEN: f64 = 1.05;

/// What one class of clusters showed.
pub struct Report {
    class: SizeClass,
    histories: u64,
    /// For each layout, the load of the fullest node for its fair share.
    fullest: Vec<f64>,
    /// The load of any node for its share rounded up, the worst.
    above_least: f64,
    /// How far any node is from its share, in partitions, the worst.
    furthest: f64,
    /// Nodes with less than their share rounded down, or more than it rounded up.
    unfair: u64,
    rows: u64,
    crowded_rows: u64,
    by_kind: BTreeMap<Kind, Movement>,
    took: Vec<Duration>,
}

/// What was moved by changes of a kind.
#[derive(Default, Clone, Copy)]
struct Movement {
    changes: u64,
    moved: u64,
    least: u64,
    unproved: u64,
}

/// Runs histories of one class, each of so many changes, and measures every layout and every change.
pub fn measure(
    class: SizeClass,
    seeds: std::ops::Range<u64>,
    changes: u64,
    partitioning: Partitioning,
) -> Result<Report, ChangeError> {
    let mut report = Report::of(class);
    for seed in seeds {
        let mut history = History::begin(seed, class, partitioning)?;
        report.histories += 1;
        report.judge(history.layout());
        for _ in 0..changes {
            let changed = history.change()?;
            report.judge(&changed.to);
            report.compare(&changed);
        }
    }
    Ok(report)
}

impl Report {
    fn of(class: SizeClass) -> Self {
        Self {
            class,
            histories: 0,
            fullest: Vec::new(),
            above_least: 0.0,
            furthest: 0.0,
            unfair: 0,
            rows: 0,
            crowded_rows: 0,
            by_kind: BTreeMap::new(),
            took: Vec::new(),
        }
    }

    fn judge(&mut self, layout: &Layout) {
        let shares = Shares::of(layout);
        let mut load = vec![0usize; layout.nodes.len()];
        let mut in_zone = vec![0usize; shares.zones.len()];
        for partition in layout.partitioning.all() {
            in_zone.fill(0);
            for id in layout.primaries(partition) {
                // A node that is not in the layout would have been refused when it was planned.
                if let Ok(place) = layout.nodes.binary_search_by_key(id, |node| node.id) {
                    load[place] += 1;
                    in_zone[shares.zone_of[place]] += 1;
                }
            }
            let spread =
                in_zone.iter().zip(&shares.per_row).all(|(held, (least, most))| (least..=most).contains(&held));
            self.rows += 1;
            self.crowded_rows += u64::from(!spread);
        }
        let mut fullest = 0f64;
        for (&load, &share) in load.iter().zip(&shares.nodes) {
            fullest = fullest.max(load as f64 / share.max(f64::MIN_POSITIVE));
            self.above_least = self.above_least.max(load as f64 / rounded_up(share).max(1) as f64);
            self.furthest = self.furthest.max((load as f64 - share).abs());
            self.unfair += u64::from(!(rounded_down(share)..=rounded_up(share)).contains(&load));
        }
        self.fullest.push(fullest);
    }

    fn compare(&mut self, changed: &Changed) {
        let least = least_moves(&changed.from, &changed.to);
        let movement = self.by_kind.entry(changed.kind).or_default();
        movement.changes += 1;
        movement.moved += moves(&changed.from, &changed.to).len() as u64;
        movement.least += least.moves as u64;
        movement.unproved += u64::from(!least.proved);
        self.took.push(changed.took);
    }

    /// Are the targets met?
    pub fn is_good(&self) -> bool {
        let all = self.movement();
        self.crowded_rows == 0 && self.above_least <= MOST_UNEVEN && all.ratio() <= MOST_MOVED && all.unproved == 0
    }

    fn movement(&self) -> Movement {
        self.by_kind.values().fold(Movement::default(), |sum, one| Movement {
            changes: sum.changes + one.changes,
            moved: sum.moved + one.moved,
            least: sum.least + one.least,
            unproved: sum.unproved + one.unproved,
        })
    }

    fn time(&self, share: f64) -> Duration {
        let mut took = self.took.clone();
        took.sort_unstable();
        let last = took.len().saturating_sub(1);
        took.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
    }
}

impl Movement {
    fn ratio(self) -> f64 {
        if self.moved == self.least { 1.0 } else { self.moved as f64 / self.least as f64 }
    }
}

impl fmt::Display for Movement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { changes, moved, least, .. } = self;
        write!(f, "{changes:>5} changes, {moved:>8} moved, least possible {least:>8}, {:.4}", self.ratio())?;
        if self.unproved > 0 { write!(f, " (of {} not proved)", self.unproved) } else { Ok(()) }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SizeClass { least, most } = self.class;
        let worst = self.fullest.iter().copied().fold(0.0, f64::max);
        let mean = self.fullest.iter().sum::<f64>() / self.fullest.len().max(1) as f64;
        writeln!(f, "{least} to {most} nodes, {} histories, {} layouts", self.histories, self.fullest.len())?;
        writeln!(f, "  fullest node for its fair share: worst {worst:.3}, mean {mean:.3}")?;
        writeln!(f, "  fullest node for its share rounded up: worst {:.3}", self.above_least)?;
        writeln!(
            f,
            "  furthest from the fair share: {:.3} partitions; nodes off by one or more: {}",
            self.furthest, self.unfair
        )?;
        writeln!(f, "  rows not as far apart as zones allow: {} of {}", self.crowded_rows, self.rows)?;
        for (kind, movement) in &self.by_kind {
            writeln!(f, "  {:<9}{movement}", format!("{kind:?}"))?;
        }
        writeln!(f, "  {:<9}{}", "all", self.movement())?;
        let milliseconds = |share| self.time(share).as_secs_f64() * 1e3;
        write!(
            f,
            "  time to plan: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            milliseconds(0.5),
            milliseconds(0.99),
            milliseconds(1.0)
        )
    }
}
