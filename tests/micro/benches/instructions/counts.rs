//! Counts beside those last accepted.

use super::valgrind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::process::Command;

/// The counts last accepted. Kept with the code, so that a change of them is seen in its diff.
const ACCEPTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/counts.json");

/// The workspace's manifest, for its profile.
const MANIFEST: &str = include_str!("../../../../Cargo.toml");

/// Moves above this are said, in percent: what unrelated changes do to inlining is mostly below it.
const WORTH_SAYING_PERCENT: f64 = 2.0;

/// And above this: from run to run a count moves by an instruction or two.
const WORTH_SAYING_INSTRUCTIONS: u64 = 2;

/// What is counted, and under what.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Counts are comparable only where this is equal.
    pub(crate) toolchain: Toolchain,
    /// By case.
    pub(crate) instructions: BTreeMap<String, u64>,
}

/// What the counts depend on besides the code.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Toolchain {
    rustc: String,
    profile: String,
    architecture: String,
    valgrind: String,
}

impl Toolchain {
    /// The one at hand.
    pub(crate) fn present() -> Result<Self, String> {
        let rustc = Command::new("rustc").arg("--version").output();
        let rustc = rustc.map_err(|error| format!("rustc does not say its version: {error}"))?;
        Ok(Self {
            rustc: String::from_utf8_lossy(&rustc.stdout).trim().to_owned(),
            profile: release_profile(MANIFEST),
            architecture: std::env::consts::ARCH.to_owned(),
            valgrind: valgrind::version()?,
        })
    }

    /// A line for everything that was another when `accepted` was counted.
    pub(crate) fn differences(&self, accepted: &Self) -> impl Iterator<Item = String> {
        let pairs = [
            ("rustc", &self.rustc, &accepted.rustc),
            ("profile", &self.profile, &accepted.profile),
            ("architecture", &self.architecture, &accepted.architecture),
            ("valgrind", &self.valgrind, &accepted.valgrind),
        ];
        let differing = pairs.into_iter().filter(|(_, now, accepted)| now != accepted && !accepted.is_empty());
        differing.map(|(what, now, accepted)| format!("not comparable: {what} is {now}, accepted was {accepted}"))
    }
}

impl Counts {
    /// Those last accepted; none if there are none yet.
    pub(crate) fn accepted() -> Result<Self, String> {
        match fs::read_to_string(ACCEPTED) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| format!("{ACCEPTED}: {error}")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("{ACCEPTED}: {error}")),
        }
    }

    /// Makes these the accepted ones.
    pub(crate) fn accept(&self) -> Result<(), String> {
        fs::write(ACCEPTED, self.json()? + "\n").map_err(|error| format!("{ACCEPTED}: {error}"))
    }

    pub(crate) fn json(&self) -> Result<String, String> {
        serde_json::to_string_pretty(self).map_err(|error| error.to_string())
    }

    /// What has moved, in a sentence.
    pub(crate) fn verdict(&self, accepted: &Self) -> String {
        let before = |label: &String| accepted.instructions.get(label).copied();
        let moved = self.instructions.iter().filter(|(label, now)| moved_percent(**now, before(label)).is_some());
        match moved.count() {
            0 => format!("nothing has moved by more than {WORTH_SAYING_PERCENT} %"),
            moved => format!("moved by more than {WORTH_SAYING_PERCENT} %: {moved} of {}", self.instructions.len()),
        }
    }
}

/// A line of the table. How much a count has moved is said only if that is worth it.
pub(crate) fn row(label: &str, now: u64, accepted: Option<u64>) -> String {
    let moved = moved_percent(now, accepted).map_or_else(String::new, |percent| format!(" {percent:>+8.1} %"));
    let accepted = accepted.map_or_else(|| "new".to_owned(), |accepted| accepted.to_string());
    format!("{label:<52} {now:>13} {accepted:>13}{moved}")
}

fn moved_percent(now: u64, accepted: Option<u64>) -> Option<f64> {
    let accepted = accepted?;
    let percent = (now as f64 - accepted as f64) / accepted.max(1) as f64 * 100.0;
    let moved = percent.abs() > WORTH_SAYING_PERCENT && now.abs_diff(accepted) > WORTH_SAYING_INSTRUCTIONS;
    moved.then_some(percent)
}

/// The settings of `[profile.release]`, which benchmarks inherit, in one line. Of `panic` cargo takes no notice in them.
fn release_profile(manifest: &str) -> String {
    let section = manifest.lines().skip_while(|line| line.trim() != "[profile.release]").skip(1);
    let settings = section.take_while(|line| !line.starts_with('['));
    let settings = settings.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    settings.collect::<Vec<_>>().join(", ")
}
