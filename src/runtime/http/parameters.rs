//! The knobs of a request: what may stand behind the `?`.

use super::path::percent_decoded;
use super::problem::{Code, Problem};
use crate::replication::{Options, Quorum, Sloppiness};
use serde_json::json;

/// Longest a client may wait, in milliseconds: each waiting request holds memory on this node.
pub const MAX_TIMEOUT_MS: u64 = crate::base::limits::MAX_TIMEOUT_MS;

/// Longest time to live, in milliseconds (100 years): far beyond any use, far below overflow.
pub const MAX_TTL_MS: u64 = 100 * 365 * 86_400_000;

/// What a reader gets when there are siblings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Choice<'a> {
    /// All of them.
    #[default]
    All,
    /// `?sibling=<id>`
    One(&'a str),
    /// `?resolve=newest`
    Newest,
}

/// The parameters of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parameters<'a> {
    /// Quorums, sloppiness, time-out.
    pub(super) options: Options,
    /// `ttl=`, in milliseconds.
    pub(super) ttl_ms: Option<u64>,
    /// `sibling=` or `resolve=`.
    pub(super) choice: Choice<'a>,
}

/// The parameters an operation knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// GET and HEAD of a key.
    Read,
    /// PUT and POST.
    Put,
    /// DELETE.
    Delete,
    /// No parameter at all.
    Nothing,
}

/// What a bare number means.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    /// `timeout=500`
    Milliseconds,
    /// `ttl=600`
    Seconds,
}

impl Allowed {
    fn names(self) -> &'static [&'static str] {
        match self {
            Allowed::Read => &["r", "w", "sloppy", "timeout", "sibling", "resolve"],
            Allowed::Put => &["r", "w", "sloppy", "timeout", "ttl"],
            Allowed::Delete => &["r", "w", "sloppy", "timeout"],
            Allowed::Nothing => &[],
        }
    }
}

impl<'a> Parameters<'a> {
    /// Reads a query. What is unknown, repeated or malformed is refused, never ignored.
    pub(super) fn of(query: Option<&'a str>, allowed: Allowed, defaults: Options) -> Result<Parameters<'a>, Problem> {
        let mut parameters = Parameters { options: defaults, ttl_ms: None, choice: Choice::All };
        let mut seen: Vec<&str> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !allowed.names().contains(&name) {
                return Err(unknown(name, allowed.names()));
            }
            if seen.contains(&name) {
                return Err(invalid(name, "is given twice", &["once"]));
            }
            seen.push(name);
            parameters.take(name, value)?;
        }
        if seen.contains(&"sibling") && seen.contains(&"resolve") {
            return Err(invalid("resolve", "excludes sibling", &["sibling", "resolve"]));
        }
        Ok(parameters)
    }

    fn take(&mut self, name: &str, raw: &'a str) -> Result<(), Problem> {
        let decoded = percent_decoded(raw).and_then(|bytes| String::from_utf8(bytes).ok());
        let value = decoded.ok_or_else(|| invalid(name, "is not percent-encoded UTF-8", &["percent-encoded text"]))?;
        match name {
            "r" => self.options.r = quorum(name, &value)?,
            "w" => self.options.w = quorum(name, &value)?,
            "sloppy" => self.options.sloppiness = sloppiness(&value)?,
            "timeout" => self.options.timeout_ms = duration(name, &value, Unit::Milliseconds, MAX_TIMEOUT_MS)?,
            "ttl" => self.ttl_ms = Some(duration(name, &value, Unit::Seconds, MAX_TTL_MS)?),
            "sibling" => self.choice = Choice::One(raw),
            "resolve" if value == "newest" => self.choice = Choice::Newest,
            _ => return Err(invalid(name, "is not known", &["newest"])),
        }
        Ok(())
    }
}

pub(super) fn quorum(name: &str, value: &str) -> Result<Quorum, Problem> {
    match value {
        "one" => Ok(Quorum::Count(1)),
        "quorum" => Ok(Quorum::Majority),
        "all" => Ok(Quorum::All),
        number => digits(number)
            .and_then(|count| u8::try_from(count).ok())
            .filter(|count| *count > 0)
            .map(Quorum::Count)
            .ok_or_else(|| invalid(name, "is no quorum", &["1..N", "one", "quorum", "all"])),
    }
}

pub(super) fn sloppiness(value: &str) -> Result<Sloppiness, Problem> {
    match value {
        "true" => Ok(Sloppiness::Sloppy),
        "false" => Ok(Sloppiness::Strict),
        _ => Err(invalid("sloppy", "is neither", &["true", "false"])),
    }
}

/// A duration in milliseconds, 1 to `limit_ms`: `500ms`, `2s`, `10m`, `1h`, `7d`, or a bare number.
pub(super) fn duration(name: &str, value: &str, bare: Unit, limit_ms: u64) -> Result<u64, Problem> {
    let number_ends = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, suffix) = value.split_at(number_ends);
    let unit_ms = match (suffix, bare) {
        ("ms", _) | ("", Unit::Milliseconds) => Some(1),
        ("s", _) | ("", Unit::Seconds) => Some(1_000),
        ("m", _) => Some(60_000),
        ("h", _) => Some(3_600_000),
        ("d", _) => Some(86_400_000),
        _ => None,
    };
    let total = digits(number).zip(unit_ms).and_then(|(number, unit): (u64, u64)| number.checked_mul(unit));
    total.filter(|ms| (1..=limit_ms).contains(ms)).ok_or_else(|| {
        let bare = match bare {
            Unit::Milliseconds => "a bare number of milliseconds",
            Unit::Seconds => "a bare number of seconds",
        };
        invalid(name, "is no duration in bounds", &["500ms", "2s", "10m", "1h", "7d", bare])
            .with("limit", format!("{limit_ms}ms"))
    })
}

/// Digits alone: `+5` is no number here.
pub(super) fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A parameter or header whose value is not allowed.
pub(super) fn invalid(name: &str, why: &str, allowed: &[&str]) -> Problem {
    let detail = format!("{name} {why}; allowed: {}", allowed.join(", "));
    Problem::new(Code::ParameterInvalid, detail).with("parameter", name).with("allowed", json!(allowed))
}

pub(super) fn unknown(name: &str, names: &[&str]) -> Problem {
    let list = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let detail = format!("there is no parameter {name:?} here; allowed: {list}");
    Problem::new(Code::ParameterUnknown, detail).with("parameter", name).with("allowed", json!(names))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(query: &str, allowed: Allowed) -> Result<Parameters<'_>, Code> {
        Parameters::of(Some(query), allowed, Options::default()).map_err(|problem| problem.code)
    }

    #[test]
    fn every_knob_is_understood() {
        let read = parsed("r=one&sloppy=false&timeout=500ms&resolve=newest", Allowed::Read).unwrap();
        assert_eq!((read.options.r, read.options.sloppiness), (Quorum::Count(1), Sloppiness::Strict));
        assert_eq!((read.options.timeout_ms, read.choice), (500, Choice::Newest));
        let put = parsed("w=3&r=all&ttl=10m&timeout=2s", Allowed::Put).unwrap();
        assert_eq!((put.options.w, put.options.r), (Quorum::Count(3), Quorum::All));
        assert_eq!((put.ttl_ms, put.options.timeout_ms), (Some(600_000), 2_000));
        assert_eq!(parsed("sibling=a-1", Allowed::Read).unwrap().choice, Choice::One("a-1"));
        assert_eq!(parsed("&w=quorum&", Allowed::Delete).unwrap().options, Options::default());
    }

    #[test]
    fn a_bare_number_has_the_units_of_its_parameter() {
        assert_eq!(parsed("timeout=500", Allowed::Read).unwrap().options.timeout_ms, 500);
        assert_eq!(parsed("ttl=600", Allowed::Put).unwrap().ttl_ms, Some(600_000));
    }

    #[test]
    fn what_is_not_allowed_here_is_refused() {
        for (query, allowed) in [
            ("x=1", Allowed::Read),
            ("ttl=1", Allowed::Read),
            ("resolve=newest", Allowed::Put),
            ("r=1", Allowed::Nothing),
        ] {
            assert_eq!(parsed(query, allowed), Err(Code::ParameterUnknown), "{query}");
        }
        let problem = Parameters::of(Some("R=1"), Allowed::Delete, Options::default()).unwrap_err();
        assert!(problem == unknown("R", Allowed::Delete.names()));
    }

    #[test]
    fn malformed_values_are_refused() {
        for query in [
            "r=0",
            "r=-1",
            "r=256",
            "r=",
            "r",
            "r=two",
            "r=1&r=1",
            "sloppy=yes",
            "sloppy=",
            "timeout=0",
            "timeout=60001",
            "timeout=1.5s",
            "timeout=s",
            "timeout=+5",
            "timeout=99999999999999999999",
            "timeout=18446744073709551615d",
            "resolve=oldest",
            "resolve=newest&sibling=a-1",
            "r=%zz",
            "r=%ff",
        ] {
            assert_eq!(parsed(query, Allowed::Read), Err(Code::ParameterInvalid), "{query}");
        }
        assert!(parsed("timeout=60000", Allowed::Read).is_ok() && parsed("timeout=1", Allowed::Read).is_ok());
    }
}
