//! Answers, and the headers they share.

use super::timestamp;
use crate::base::WallTime;
use bytes::Bytes;
use http_body_util::channel::Channel;
use http_body_util::{Either, Full};
use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use serde::Serialize;

/// What a handler gives back.
pub(super) type Response = hyper::Response<Body>;

/// The body of an answer: whole, since a value is at most a few megabytes; a listing that streams comes by a channel.
pub(super) type Body = Either<Full<Bytes>, Channel<Bytes, CutShort>>;

/// A stream that ends before it is complete: the connection is closed without the mark of a body's end, so that
/// no client takes what it has for all.
#[derive(Debug, thiserror::Error)]
#[error("the listing could not be completed")]
pub(super) struct CutShort;

/// The token of what the client was shown, or hands back.
pub(super) const CONTEXT: HeaderName = HeaderName::from_static("dunlin-context");
/// Durable copies or answers, over N.
pub(super) const ACKS: HeaderName = HeaderName::from_static("dunlin-acks");
/// How many of them were hints or fallbacks.
pub(super) const HINTED: HeaderName = HeaderName::from_static("dunlin-hinted");
/// The name of the node that answered.
pub(super) const NODE: HeaderName = HeaderName::from_static("dunlin-node");
/// When the version expires.
pub(super) const EXPIRES_AT: HeaderName = HeaderName::from_static("dunlin-expires-at");
/// How strictly a condition was checked.
pub(super) const CONDITION: HeaderName = HeaderName::from_static("dunlin-condition");
/// How many siblings there are, when one was chosen.
pub(super) const SIBLINGS: HeaderName = HeaderName::from_static("dunlin-siblings");
/// Time to live of a new version.
pub(super) const TTL: HeaderName = HeaderName::from_static("dunlin-ttl");
/// Prefix of the metadata headers.
pub(super) const META_PREFIX: &str = "dunlin-meta-";

/// What a value without a usable type is.
pub(super) const OCTET_STREAM: &str = "application/octet-stream";

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = status;
    response
}

/// An answer with a body. A type that no header can carry becomes plain bytes: it came from a client.
pub(super) fn with_body(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Response {
    with_type(status, content_type, Either::Left(Full::new(body.into())))
}

/// An answer that comes in pieces.
pub(super) fn streamed(content_type: &str, pieces: Channel<Bytes, CutShort>) -> Response {
    with_type(StatusCode::OK, content_type, Either::Right(pieces))
}

fn with_type(status: StatusCode, content_type: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let content_type = HeaderValue::from_str(content_type).unwrap_or(HeaderValue::from_static(OCTET_STREAM));
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// An answer in JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec());
    with_body(status, "application/json", body)
}

/// Sets a header; a value not allowed in a header is left out.
pub(super) fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// The token, as context and as entity tag.
pub(super) fn set_token(response: &mut Response, token: &str) {
    set(response, CONTEXT, token);
    set(response, ETAG, &format!("\"{token}\""));
}

/// How many took part.
pub(super) fn set_acks(response: &mut Response, acks: usize, replicas: usize, hinted: usize) {
    set(response, ACKS, &format!("{acks}/{replicas}"));
    if hinted > 0 {
        set(response, HINTED, &hinted.to_string());
    }
}

/// When a version was written and when it expires.
pub(super) fn set_times(response: &mut Response, written_at: WallTime, expires_at: Option<WallTime>) {
    set(response, hyper::header::LAST_MODIFIED, &timestamp::http_date(written_at));
    if let Some(expires_at) = expires_at {
        set(response, EXPIRES_AT, &timestamp::rfc3339(expires_at));
    }
}

/// Stored bytes may be hostile: no browser guesses their type or runs them with this origin's rights.
pub(super) fn set_untrusted(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'"));
}
