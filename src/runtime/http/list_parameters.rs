//! What may stand behind `/kv?`, and the cursor.

use super::parameters::{self, MAX_TIMEOUT_MS, Unit, invalid};
use super::path::percent_decoded;
use super::problem::Problem;
use crate::base::Key;
use crate::base::limits::MAX_KEY_BYTES;
use crate::replication::{MAX_PAGE_KEYS, Options};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// How many keys a listing returns that does not say how many.
pub const DEFAULT_LIMIT: usize = 100;

/// Most keys of one answer but for a stream.
pub const MAX_LIMIT: usize = MAX_PAGE_KEYS;

/// The parameters that there are.
const NAMES: &[&str] = &["prefix", "start", "limit", "cursor", "values", "r", "sloppy", "timeout"];

/// The form of a cursor.
const CURSOR_FORMAT: u8 = 1;

/// Are values wanted, too?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Only what there is to say of them.
    Keys,
    /// The values, and the context that covers them.
    Values,
}

/// The parameters of one listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListParameters {
    /// Quorum, sloppiness, time-out.
    pub(super) options: Options,
    /// What the keys begin with.
    pub(super) prefix: Bytes,
    /// The lowest key wanted.
    pub(super) from: Bytes,
    /// How many; none if it does not say.
    pub(super) limit: Option<usize>,
    /// `values=`
    pub(super) wanted: Wanted,
}

impl ListParameters {
    /// Reads a query. What is unknown, repeated or malformed is refused, never ignored.
    pub(super) fn of(query: Option<&str>, defaults: Options) -> Result<ListParameters, Problem> {
        let nothing = Bytes::new();
        let (prefix, from) = (nothing.clone(), nothing);
        let mut parameters = ListParameters { options: defaults, prefix, from, limit: None, wanted: Wanted::Keys };
        let (mut seen, mut cursor) = (Vec::new(), None);
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, raw) = pair.split_once('=').unwrap_or((pair, ""));
            if !NAMES.contains(&name) {
                return Err(parameters::unknown(name, NAMES));
            }
            if seen.contains(&name) {
                return Err(invalid(name, "is given twice", &["once"]));
            }
            seen.push(name);
            let bytes = percent_decoded(raw)
                .ok_or_else(|| invalid(name, "is not percent-encoded", &["every byte may be written as %XX"]))?;
            match name {
                "cursor" => cursor = Some(bytes),
                _ => parameters.take(name, bytes)?,
            }
        }
        if seen.contains(&"start") && seen.contains(&"cursor") {
            return Err(invalid("cursor", "excludes start", &["start", "cursor"]));
        }
        if let Some(cursor) = cursor {
            let last = open_cursor(&cursor, &parameters.prefix)
                .ok_or_else(|| invalid("cursor", "is none of this prefix", &["the `next` of an answer, as it is"]))?;
            parameters.from = behind(&last);
        }
        Ok(parameters)
    }

    fn take(&mut self, name: &str, bytes: Vec<u8>) -> Result<(), Problem> {
        let text = || std::str::from_utf8(&bytes).unwrap_or_default();
        match name {
            "prefix" | "start" if bytes.len() > MAX_KEY_BYTES => {
                return Err(invalid(name, "is longer than any key", &["0..1024 bytes"]));
            }
            "prefix" => self.prefix = bytes.into(),
            "start" => self.from = bytes.into(),
            "limit" => self.limit = Some(limit(text())?),
            "values" => self.wanted = wanted(text())?,
            "r" => self.options.r = parameters::quorum(name, text())?,
            "sloppy" => self.options.sloppiness = parameters::sloppiness(text())?,
            _ => self.options.timeout_ms = parameters::duration(name, text(), Unit::Milliseconds, MAX_TIMEOUT_MS)?,
        }
        Ok(())
    }
}

fn limit(text: &str) -> Result<usize, Problem> {
    let limit = parameters::digits(text).and_then(|limit| usize::try_from(limit).ok());
    limit.filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(|| {
        invalid("limit", "is no number in bounds", &[&format!("1..{MAX_LIMIT}")]).with("limit", MAX_LIMIT)
    })
}

fn wanted(text: &str) -> Result<Wanted, Problem> {
    match text {
        "true" => Ok(Wanted::Values),
        "false" => Ok(Wanted::Keys),
        _ => Err(invalid("values", "is neither", &["true", "false"])),
    }
}

/// The lowest bytes above a key.
pub(super) fn behind(key: &Key) -> Bytes {
    [key.as_bytes(), &[0]].concat().into()
}

/// A cursor behind `last`, in a listing of this prefix. It is no secret, and forging one is choosing where to begin;
/// the check says only that it was handed back whole and with its prefix.
pub(super) fn cursor(last: &Key, prefix: &[u8]) -> String {
    let mut bytes = vec![CURSOR_FORMAT];
    bytes.extend(check(last.as_bytes(), prefix));
    bytes.extend_from_slice(last.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn open_cursor(text: &[u8], prefix: &[u8]) -> Option<Key> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (format, rest) = bytes.split_first()?;
    let (checked, last) = rest.split_first_chunk::<8>()?;
    let fits = *format == CURSOR_FORMAT && *checked == check(last, prefix);
    fits.then(|| Key::new(Bytes::copy_from_slice(last)).ok()).flatten()
}

fn check(last: &[u8], prefix: &[u8]) -> [u8; 8] {
    xxh3_64_with_seed(last, xxh3_64(prefix)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::Quorum;

    fn parsed(query: &str) -> Result<ListParameters, Problem> {
        ListParameters::of(Some(query), Options::default())
    }

    #[test]
    fn parameters_are_bytes_numbers_and_names() {
        let read = parsed("prefix=a%2Fb%ff&start=+x&limit=1000&values=true&r=one&timeout=1s").unwrap();
        assert_eq!((&read.prefix[..], &read.from[..]), (&b"a/b\xff"[..], &b"+x"[..]));
        assert_eq!((read.limit, read.wanted, read.options.r), (Some(1000), Wanted::Values, Quorum::Count(1)));
        assert_eq!(parsed("").unwrap().limit, None);
    }

    #[test]
    fn what_is_unknown_doubled_or_out_of_bounds_is_refused() {
        let long = format!("prefix={}", "a".repeat(MAX_KEY_BYTES + 1));
        for query in [
            "w=1",
            "limit=0",
            "limit=1001",
            "limit=+5",
            "limit=",
            "values=yes",
            "prefix=%f",
            "prefix=a&prefix=a",
            "start=a&cursor=b",
            "cursor=",
            "cursor=%ff",
            "cursor=AAAA",
            "timeout=0",
            long.as_str(),
        ] {
            assert!(parsed(query).is_err(), "{query}");
        }
    }

    #[test]
    fn a_cursor_goes_on_behind_its_key_with_its_prefix_only() {
        let text = cursor(&Key::new("ab").unwrap(), b"a");
        assert_eq!(&parsed(&format!("prefix=a&cursor={text}")).unwrap().from[..], b"ab\0");
        assert!(parsed(&format!("prefix=b&cursor={text}")).is_err());
        assert!(parsed(&format!("prefix=a&cursor={}", &text[1..])).is_err());
    }
}
