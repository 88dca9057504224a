//! PUT, POST and DELETE of a key: from a request to a command, and from its outcome to an answer.

use super::answer::{self, CONDITION, META_PREFIX, OCTET_STREAM, Response, TTL};
use super::parameters::{self, MAX_TTL_MS, Unit};
use super::problem::{Code, Problem};
use crate::base::Key;
use crate::causal::{DotSet, Token, TokenSecret};
use crate::replication::{Condition, NewContent, WriteResult};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderValue};
use std::collections::BTreeMap;

/// Longest content type stored: it lies in every record and goes out as one header.
pub const MAX_CONTENT_TYPE_BYTES: usize = 255;

/// Most bytes of `Dunlin-Meta-*` names and values of one version: they come back as headers, and
/// clients and proxies refuse heads beyond 8 KiB.
pub const MAX_METADATA_BYTES: usize = 4096;

/// What curl says when it was told nothing (`-d`, `--data-binary`): not meant as a type.
const FORM: &str = "application/x-www-form-urlencoded";

/// Which write a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteKind {
    /// PUT, or POST with a key of the server's choice.
    Put,
    /// DELETE.
    Delete,
}

/// What a request says of a new version, before its bytes have come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Description {
    content_type: String,
    metadata: Vec<(String, String)>,
    ttl_ms: Option<u64>,
}

impl Description {
    /// Content type, metadata and time to live of a request. The parameter `ttl` and the header
    /// `Dunlin-TTL` mean the same and exclude each other.
    pub(super) fn of(headers: &HeaderMap, ttl_ms: Option<u64>) -> Result<Description, Problem> {
        let ttl_ms = match (ttl_ms, headers.get(TTL)) {
            (Some(_), Some(_)) => return Err(parameters::invalid("Dunlin-TTL", "repeats ttl", &["one of them"])),
            (ttl_ms, None) => ttl_ms,
            (None, Some(value)) => {
                let text = value.to_str().unwrap_or_default().trim();
                Some(parameters::duration("Dunlin-TTL", text, Unit::Seconds, MAX_TTL_MS)?)
            }
        };
        Ok(Description { content_type: content_type(headers)?, metadata: metadata(headers)?, ttl_ms })
    }

    /// The version, now that its bytes are here.
    pub(super) fn with_value(self, value: Bytes) -> NewContent {
        let Description { content_type, metadata, ttl_ms } = self;
        NewContent { value, content_type, metadata, ttl_ms }
    }
}

fn content_type(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(OCTET_STREAM.into()) };
    let text = value.to_str().ok().map(str::trim).filter(|text| text.len() <= MAX_CONTENT_TYPE_BYTES);
    let text = text.ok_or_else(|| {
        parameters::invalid("Content-Type", "is not visible ASCII of allowed length", &["text/plain", "..."])
            .with("limit", MAX_CONTENT_TYPE_BYTES)
    })?;
    let meant = !text.is_empty() && !text.eq_ignore_ascii_case(FORM);
    Ok(if meant { text.into() } else { OCTET_STREAM.into() })
}

/// `Dunlin-Meta-*`, ascending by name; a repeated name joins its values, as any header does.
fn metadata(headers: &HeaderMap) -> Result<Vec<(String, String)>, Problem> {
    let mut pairs: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(META_PREFIX).filter(|name| !name.is_empty()) else { continue };
        let value = value.to_str().map_err(|_| parameters::invalid("Dunlin-Meta", "is no text", &["visible ASCII"]))?;
        pairs
            .entry(name.to_owned())
            .and_modify(|joined| {
                joined.push_str(", ");
                joined.push_str(value);
            })
            .or_insert_with(|| value.to_owned());
    }
    let bytes: usize = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_METADATA_BYTES {
        let problem = parameters::invalid("Dunlin-Meta", "has too many bytes", &["names and values up to the limit"]);
        return Err(problem.with("limit", MAX_METADATA_BYTES));
    }
    Ok(pairs.into_iter().collect())
}

/// The answer to a write that succeeded.
pub(super) fn written(kind: WriteKind, secret: &TokenSecret, key: &Key, result: WriteResult) -> Response {
    let status = match kind {
        WriteKind::Put if result.created => StatusCode::CREATED,
        WriteKind::Put | WriteKind::Delete => StatusCode::NO_CONTENT,
    };
    let mut response = answer::empty(status);
    let WriteResult { context, live, acks, replicas, hinted, written_at, expires_at, .. } = result;
    answer::set_token(&mut response, &Token::of(context, &live).seal(secret, key, &live));
    answer::set_acks(&mut response, acks, replicas, hinted);
    answer::set_times(&mut response, written_at.wall(), expires_at);
    response
}

/// The answer to a write whose condition did not hold: the tag of what there is, and no context,
/// since the client has not seen it (PROTOCOL R4).
pub(super) fn precondition_failed(secret: &TokenSecret, key: &Key, live_hash: u64) -> Response {
    let problem = Problem::new(Code::PreconditionFailed, "the key is not as the condition says; nothing was written");
    let mut response = problem.with("in_doubt", false).answer();
    let tag = Token { context: DotSet::EMPTY, live_hash }.seal(secret, key, &DotSet::EMPTY);
    answer::set(&mut response, ETAG, &format!("\"{tag}\""));
    response
}

/// Says how strictly a condition was checked, if there was one.
pub(super) fn set_condition(response: &mut Response, condition: &Condition) {
    if *condition != Condition::Always {
        response.headers_mut().insert(CONDITION, HeaderValue::from_static("best-effort"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{HybridTime, WallTime};
    use crate::causal::{Actor, Dot};
    use hyper::header::HeaderName;

    fn described(pairs: &[(&'static str, &str)], ttl_ms: Option<u64>) -> Result<Description, Code> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        Description::of(&headers, ttl_ms).map_err(|problem| problem.code)
    }

    #[test]
    fn a_missing_type_and_curls_default_are_plain_bytes() {
        for pairs in [&[][..], &[("content-type", FORM)], &[("content-type", "")]] {
            assert_eq!(described(pairs, None).unwrap().content_type, OCTET_STREAM);
        }
        assert_eq!(described(&[("content-type", "text/plain; a=b")], None).unwrap().content_type, "text/plain; a=b");
    }

    #[test]
    fn lengths_of_type_and_metadata_are_limited() {
        for (extra, fits) in [(0, true), (1, false)] {
            let long_type = "x".repeat(MAX_CONTENT_TYPE_BYTES + extra);
            assert_eq!(described(&[("content-type", &long_type)], None).is_ok(), fits);
            let long_value = "x".repeat(MAX_METADATA_BYTES - 1 + extra);
            assert_eq!(described(&[("dunlin-meta-a", &long_value)], None).is_ok(), fits);
        }
    }

    #[test]
    fn metadata_is_sorted_and_joined() {
        let pairs = [("dunlin-meta-b", "1"), ("dunlin-meta-a", "2"), ("dunlin-meta-b", "3"), ("dunlin-meta-", "4")];
        let expected = [("a", "2"), ("b", "1, 3")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(described(&pairs, None).unwrap().metadata, expected);
    }

    #[test]
    fn time_to_live_comes_from_one_place() {
        assert_eq!(described(&[("dunlin-ttl", "600")], None).unwrap().ttl_ms, Some(600_000));
        assert_eq!(described(&[], Some(5)).unwrap().ttl_ms, Some(5));
        assert_eq!(described(&[("dunlin-ttl", "1")], Some(5)), Err(Code::ParameterInvalid));
        assert_eq!(described(&[("dunlin-ttl", "0")], None), Err(Code::ParameterInvalid));
    }

    #[test]
    fn a_write_answers_with_a_token_of_itself_alone() {
        let dot = |counter| Dot { actor: Actor(1), counter };
        let (secret, key) = (TokenSecret::new([1; 32]), Key::new("k").unwrap());
        let result = WriteResult {
            created: false,
            context: [dot(1), dot(3)].into_iter().collect(),
            live: dot(3).into(),
            acks: 2,
            replicas: 3,
            hinted: 1,
            written_at: HybridTime::from_wall(WallTime(0)),
            expires_at: Some(WallTime(1500)),
        };
        let response = written(WriteKind::Put, &secret, &key, result.clone());
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(response.status(), 204);
        assert_eq!((header("dunlin-acks"), header("dunlin-hinted")), (Some("2/3"), Some("1")));
        assert_eq!(header("dunlin-expires-at"), Some("1970-01-01T00:00:01.500Z"));
        let token = Token::open(std::slice::from_ref(&secret), &key, header("dunlin-context").unwrap()).unwrap();
        assert_eq!(token, Token::of(result.context.clone(), &dot(3).into()));
        let created = WriteResult { created: true, ..result };
        assert_eq!(written(WriteKind::Put, &secret, &key, created.clone()).status(), 201);
        assert_eq!(written(WriteKind::Delete, &secret, &key, created).status(), 204);
    }

    #[test]
    fn a_failed_condition_shows_a_tag_without_a_context() {
        let (secret, key) = (TokenSecret::new([1; 32]), Key::new("k").unwrap());
        let response = precondition_failed(&secret, &key, 9);
        assert_eq!((response.status().as_u16(), response.headers().get("dunlin-context")), (412, None));
        let tag = response.headers()[ETAG].to_str().unwrap().trim_matches('"');
        let token = Token::open(&[secret], &key, tag).unwrap();
        assert!(token.context.is_empty() && token.live_hash == 9);
    }
}
