//! This run against an earlier one, stage by stage.

use super::report::{Report, StageReport};
use std::fmt::Write;
use std::path::Path;

/// Reads an earlier result.
pub(super) fn read(path: &Path) -> Result<Report, String> {
    let told = |error: &dyn std::fmt::Display| format!("--compare {}: {error}", path.display());
    let text = std::fs::read(path).map_err(|error| told(&error))?;
    let report: Report = serde_json::from_slice(&text).map_err(|error| told(&error))?;
    if report.format != super::report::FORMAT {
        return Err(told(&format!("its format is {}, this program knows {}", report.format, super::report::FORMAT)));
    }
    Ok(report)
}

/// The ratios now / then of what both have measured.
pub(super) fn text(now: &Report, then: &Report) -> String {
    let mut text = String::new();
    for stage in &now.stages {
        // Writing to memory cannot fail.
        match then.stages.iter().find(|earlier| earlier.name == stage.name) {
            Some(earlier) => _ = writeln!(text, "{}", line(stage, earlier)),
            None => _ = writeln!(text, "{:<16} not in the earlier result", stage.name),
        }
    }
    if now.machine.processor != then.machine.processor || now.machine.cores != then.machine.cores {
        text.push_str("the earlier result is of another machine\n");
    }
    text
}

fn line(now: &StageReport, then: &StageReport) -> String {
    let mut line = format!("{:<16}", now.name);
    let figures = [
        ("rate", Some(now.per_second), Some(then.per_second)),
        ("p50", Some(now.latency.p50_us), Some(then.latency.p50_us)),
        ("p99", Some(now.latency.p99_us), Some(then.latency.p99_us)),
        ("nodes' cpu", now.server_cpu_us_per_request, then.server_cpu_us_per_request),
    ];
    for (name, now, then) in figures {
        if let Some((now, then)) = now.zip(then.filter(|then| *then > 0.0)) {
            let _ = write!(line, "   {name} x {:.2}", now / then);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::report::tests::report;

    #[test]
    fn ratios_are_of_stages_of_the_same_name() {
        let (now, mut then) = (report(&["put", "get"]), report(&["put"]));
        then.stages[0].per_second /= 2.0;
        then.stages[0].server_cpu_us_per_request = None;
        let text = text(&now, &then);
        assert_eq!(text.lines().next(), Some("put                rate x 2.00   p50 x 1.00   p99 x 1.00"));
        assert!(text.contains("get              not in the earlier result"), "{text}");
    }

    #[test]
    fn another_format_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let other = Report { format: 9, ..report(&[]) };
        std::fs::write(file.path(), serde_json::to_vec(&other).unwrap()).unwrap();
        assert!(read(file.path()).unwrap_err().contains("its format is 9"));
        assert!(read(Path::new("/nonexistent")).is_err());
    }
}
