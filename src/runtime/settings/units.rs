//! Durations and sizes as people write them.

use super::value::{Input, Setting};
use super::{Bounds, Shape};
use std::time::Duration;

const DURATION_UNITS: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
const SIZE_UNITS: &[(&str, u64)] = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Reads `500ms`, `2s`, `10m`, `1h`, or a bare number of milliseconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, DURATION_UNITS).map(Duration::from_millis)
}

/// Writes a duration of whole milliseconds in its largest whole unit: `2s`.
pub fn duration_text(duration: Duration) -> String {
    write(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), DURATION_UNITS)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "" => 1,
        unit => units.iter().find(|(name, _)| *name == unit)?.1,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn write(value: u64, units: &[(&str, u64)]) -> String {
    let fitting = units.iter().rev().find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
    match fitting {
        Some((unit, factor)) => format!("{}{unit}", value / factor),
        None => value.to_string(),
    }
}

impl Setting for Duration {
    const SHAPE: Shape = Shape::Quoted;

    fn read(input: &Input) -> Option<Self> {
        let ms = input.number().or_else(|| parse(input.text()?, DURATION_UNITS))?;
        input.bounds.hold(ms).then(|| Duration::from_millis(ms))
    }

    fn allowed(bounds: Bounds) -> String {
        let text = |ms| write(ms, DURATION_UNITS);
        format!(
            "a duration from {} to {} (500ms, 2s, 10m, 1h; a bare number: ms)",
            text(bounds.least),
            text(bounds.most)
        )
    }
}

impl Setting for Size {
    const SHAPE: Shape = Shape::Quoted;

    fn read(input: &Input) -> Option<Self> {
        let bytes = input.number().or_else(|| parse(input.text()?, SIZE_UNITS))?;
        input.bounds.hold(bytes).then_some(Size(bytes))
    }

    fn allowed(bounds: Bounds) -> String {
        let text = |bytes| write(bytes, SIZE_UNITS);
        format!("a size from {} to {} (64MiB, 1GiB; a bare number: bytes)", text(bounds.least), text(bounds.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_units_and_bare_milliseconds() {
        let ms = |text| parse_duration(text).map(|duration| duration.as_millis());
        assert_eq!(ms("500ms"), Some(500));
        assert_eq!(ms("2s"), Some(2_000));
        assert_eq!(ms("10m"), Some(600_000));
        assert_eq!(ms("250"), Some(250));
        for bad in ["", "s", "-1s", "1.5s", "2 days", "99999999999999999999", "18446744073709551615h"] {
            assert_eq!(ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_value_is_written_in_its_largest_whole_unit() {
        assert_eq!(write(90_000, DURATION_UNITS), "90s");
        assert_eq!(write(64 << 20, SIZE_UNITS), "64MiB");
        assert_eq!(write(1_500, SIZE_UNITS), "1500B");
        assert_eq!(write(0, SIZE_UNITS), "0");
    }
}
