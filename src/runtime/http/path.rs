//! Paths: which endpoint a raw path names, and the key in it.

use super::problem::{Code, Problem};
use crate::base::limits::MAX_KEY_BYTES;
use crate::base::{Key, KeyError};
use hyper::Method;

/// What a path names. The key, where there is one, is still percent-encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint<'a> {
    /// `/kv/<key>`
    Value(&'a str),
    /// `/kv`
    Collection,
    /// `/livez`
    Live,
    /// `/readyz`
    Ready,
    /// `/metrics`
    Metrics,
    /// `/cluster`
    Cluster,
    /// `/cluster/ring`
    Ring,
    /// `/cluster/partitions`
    Partitions,
    /// `/admin/layout`
    Layout,
    /// `/admin/layout/changes`
    LayoutChanges,
    /// `/admin/layout/plan`
    LayoutPlan,
    /// `/admin/layout/pause`
    LayoutPause,
    /// `/admin/layout/resume`
    LayoutResume,
    /// `/admin/layout/apply`
    LayoutApply,
    /// `/cluster/ring/<key>`
    RingOfKey(&'a str),
    /// What a later version brings.
    Later,
    /// Nothing.
    Unknown,
}

/// Endpoints of section 4 of the contract that are not there yet.
const LATER: [&str; 4] = ["/batch", "/openapi.json", "/docs", "/admin"];

impl<'a> Endpoint<'a> {
    /// The endpoint of a raw path. Nothing is decoded or normalised.
    pub(super) fn of(path: &'a str) -> Endpoint<'a> {
        if let Some(key) = path.strip_prefix("/kv/") {
            return Endpoint::Value(key);
        }
        if let Some(key) = path.strip_prefix("/cluster/ring/") {
            return Endpoint::RingOfKey(key);
        }
        match path {
            "/kv" => Endpoint::Collection,
            "/livez" => Endpoint::Live,
            "/readyz" => Endpoint::Ready,
            "/metrics" => Endpoint::Metrics,
            "/cluster" => Endpoint::Cluster,
            "/cluster/ring" => Endpoint::Ring,
            "/cluster/partitions" => Endpoint::Partitions,
            "/admin/layout" => Endpoint::Layout,
            "/admin/layout/changes" => Endpoint::LayoutChanges,
            "/admin/layout/plan" => Endpoint::LayoutPlan,
            "/admin/layout/apply" => Endpoint::LayoutApply,
            "/admin/layout/pause" => Endpoint::LayoutPause,
            "/admin/layout/resume" => Endpoint::LayoutResume,
            later if LATER.contains(&later) || later.starts_with("/admin/") => Endpoint::Later,
            _ => Endpoint::Unknown,
        }
    }

    /// The methods it takes; none named: all, since nothing is known of it.
    pub(super) fn methods(self) -> &'static [Method] {
        match self {
            Endpoint::Value(_) => &[Method::GET, Method::HEAD, Method::PUT, Method::DELETE],
            Endpoint::Collection => &[Method::GET, Method::HEAD, Method::POST],
            Endpoint::LayoutChanges => &[Method::POST, Method::DELETE],
            Endpoint::LayoutApply | Endpoint::LayoutPause | Endpoint::LayoutResume => &[Method::POST],
            Endpoint::Later | Endpoint::Unknown => &[],
            _ => &[Method::GET, Method::HEAD],
        }
    }

    /// Its name in metrics, by method: never anything a client chose.
    pub(super) fn operation(self, method: &Method) -> &'static str {
        match (self, method.as_str()) {
            (Endpoint::Value(_), "GET") => "get",
            (Endpoint::Value(_), "HEAD") => "head",
            (Endpoint::Value(_), "PUT") => "put",
            (Endpoint::Value(_), "DELETE") => "delete",
            (Endpoint::Collection, "POST") => "post",
            (Endpoint::Collection, "GET" | "HEAD") => "list",
            (Endpoint::Live | Endpoint::Ready, _) => "health",
            (Endpoint::Metrics, _) => "metrics",
            (Endpoint::Layout | Endpoint::LayoutChanges | Endpoint::LayoutPlan, _) => "admin",
            (Endpoint::LayoutApply | Endpoint::LayoutPause | Endpoint::LayoutResume, _) => "admin",
            (Endpoint::Cluster | Endpoint::Ring | Endpoint::Partitions | Endpoint::RingOfKey(_), _) => "cluster",
            _ => "other",
        }
    }
}

/// The key in a raw path: percent-decoded once, to bytes; every other character stands for itself.
pub(super) fn decode_key(raw: &str) -> Result<Key, Problem> {
    let bytes = percent_decoded(raw).ok_or_else(|| {
        Problem::new(Code::KeyEncoding, "a % in the path is not followed by two hexadecimal digits")
            .with("allowed", "every byte of a key may be written as %XX; a percent sign itself is %25")
    })?;
    Key::new(bytes).map_err(|error| match error {
        KeyError::Empty => Problem::new(Code::KeyEmpty, error.to_string()).with("limit", MAX_KEY_BYTES),
        KeyError::TooLong(_) => Problem::new(Code::KeyTooLong, error.to_string()).with("limit", MAX_KEY_BYTES),
    })
}

/// Percent-decoding as RFC 3986 has it; none if a `%` begins no escape.
pub(super) fn percent_decoded(raw: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = after.split_first_chunk::<2>()?;
        bytes.push(hex_digit(digits[0])? << 4 | hex_digit(digits[1])?);
        rest = after;
    }
    Some(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(raw: &str) -> Result<Vec<u8>, Code> {
        decode_key(raw).map(|key| key.as_bytes().to_vec()).map_err(|problem| problem.code)
    }

    #[test]
    fn a_key_is_decoded_once_and_nothing_is_normalised() {
        assert_eq!(decoded("a+b"), Ok(b"a+b".to_vec()));
        assert_eq!(decoded("a/../b//c/."), Ok(b"a/../b//c/.".to_vec()));
        assert_eq!(decoded("%2e%2E%2F%2541"), Ok(b"../%41".to_vec()));
        assert_eq!(decoded("%00"), Ok(vec![0]));
        let all: String = (0..=255).map(|byte| format!("%{byte:02x}")).collect();
        assert_eq!(decoded(&all), Ok((0..=255).collect()));
    }

    #[test]
    fn a_broken_escape_is_refused() {
        for raw in ["%", "a%", "%4", "%zz", "%+1", "%%41", "%4%31"] {
            assert_eq!(decoded(raw), Err(Code::KeyEncoding), "{raw}");
        }
    }

    #[test]
    fn length_counts_decoded_bytes() {
        assert_eq!(decoded(""), Err(Code::KeyEmpty));
        assert_eq!(decoded(&"%41".repeat(MAX_KEY_BYTES)).map(|key| key.len()), Ok(MAX_KEY_BYTES));
        assert_eq!(decoded(&"%41".repeat(MAX_KEY_BYTES + 1)), Err(Code::KeyTooLong));
    }

    #[test]
    fn a_path_names_one_endpoint_as_it_stands() {
        assert_eq!(Endpoint::of("/kv/a/b"), Endpoint::Value("a/b"));
        assert_eq!(Endpoint::of("/kv/"), Endpoint::Value(""));
        assert_eq!(Endpoint::of("/kv//"), Endpoint::Value("/"));
        assert_eq!(Endpoint::of("/kv/../livez"), Endpoint::Value("../livez"));
        assert_eq!(Endpoint::of("/kv"), Endpoint::Collection);
        assert_eq!(Endpoint::of("/KV/a"), Endpoint::Unknown);
        assert_eq!(Endpoint::of("/cluster/ring/a"), Endpoint::RingOfKey("a"));
        assert_eq!(Endpoint::of("/admin/layout"), Endpoint::Layout);
        assert_eq!(Endpoint::of("/admin/users"), Endpoint::Later);
    }
}
