//! Errors as clients read them: RFC 9457 problem details with a stable code.

use super::answer::{self, Response};
use crate::replication::Failure;
use crate::runtime::status::ClusterStatus;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::{Map, Value, json};

/// What a client is told to wait before it tries again, in seconds: the shortest the header can say.
/// Elections and hand-overs there are none; a node that is suspected or full is so for about this long.
pub(super) const RETRY_AFTER_SECONDS: u64 = 1;

/// What went wrong, for programs. The names are final (docs/http-api.md lists them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the name is the code; `Code::meaning` says it in words")]
pub enum Code {
    KeyEmpty,
    KeyTooLong,
    KeyEncoding,
    ParameterUnknown,
    ParameterInvalid,
    TokenInvalid,
    RequestMalformed,
    RequestTimeout,
    ValueTooLarge,
    LengthRequired,
    PreconditionFailed,
    Siblings,
    NotFound,
    NotAcceptable,
    MethodNotAllowed,
    TooFewReplicas,
    Overloaded,
    NotReady,
    OutcomeUnknown,
    DiskFull,
    NotSupported,
}

/// An error on its way to a client.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Problem {
    /// What went wrong.
    pub(super) code: Code,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Code {
    /// Every code.
    pub const ALL: [Code; 21] = [
        Code::KeyEmpty,
        Code::KeyTooLong,
        Code::KeyEncoding,
        Code::ParameterUnknown,
        Code::ParameterInvalid,
        Code::TokenInvalid,
        Code::RequestMalformed,
        Code::RequestTimeout,
        Code::ValueTooLarge,
        Code::LengthRequired,
        Code::PreconditionFailed,
        Code::Siblings,
        Code::NotFound,
        Code::NotAcceptable,
        Code::MethodNotAllowed,
        Code::TooFewReplicas,
        Code::Overloaded,
        Code::NotReady,
        Code::OutcomeUnknown,
        Code::DiskFull,
        Code::NotSupported,
    ];

    /// Name, status and title.
    pub fn meaning(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Code::KeyEmpty => ("key_empty", StatusCode::BAD_REQUEST, "The key is empty"),
            Code::KeyTooLong => ("key_too_long", StatusCode::URI_TOO_LONG, "The key is too long"),
            Code::KeyEncoding => ("key_encoding", StatusCode::BAD_REQUEST, "The key is not percent-encoded correctly"),
            Code::ParameterUnknown => ("parameter_unknown", StatusCode::BAD_REQUEST, "Unknown parameter"),
            Code::ParameterInvalid => ("parameter_invalid", StatusCode::BAD_REQUEST, "Invalid parameter"),
            Code::TokenInvalid => ("token_invalid", StatusCode::BAD_REQUEST, "The context token does not verify"),
            Code::RequestMalformed => ("request_malformed", StatusCode::BAD_REQUEST, "The body is malformed"),
            Code::RequestTimeout => ("request_timeout", StatusCode::REQUEST_TIMEOUT, "The body came too slowly"),
            Code::ValueTooLarge => ("value_too_large", StatusCode::PAYLOAD_TOO_LARGE, "The value is too large"),
            Code::LengthRequired => ("length_required", StatusCode::LENGTH_REQUIRED, "The body needs a length"),
            Code::PreconditionFailed => {
                ("precondition_failed", StatusCode::PRECONDITION_FAILED, "The condition does not hold")
            }
            Code::Siblings => ("siblings", StatusCode::CONFLICT, "The key has siblings"),
            Code::NotFound => ("not_found", StatusCode::NOT_FOUND, "Not found"),
            Code::NotAcceptable => ("not_acceptable", StatusCode::NOT_ACCEPTABLE, "Not stored as an acceptable type"),
            Code::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
            Code::TooFewReplicas => ("too_few_replicas", StatusCode::SERVICE_UNAVAILABLE, "Too few replicas in reach"),
            Code::Overloaded => ("overloaded", StatusCode::SERVICE_UNAVAILABLE, "The node sheds load"),
            Code::NotReady => ("not_ready", StatusCode::SERVICE_UNAVAILABLE, "The node is not ready"),
            Code::OutcomeUnknown => ("outcome_unknown", StatusCode::GATEWAY_TIMEOUT, "Too few answers in time"),
            Code::DiskFull => ("disk_full", StatusCode::INSUFFICIENT_STORAGE, "The disk is full"),
            Code::NotSupported => ("not_supported", StatusCode::NOT_IMPLEMENTED, "Not supported yet"),
        }
    }
}

impl Problem {
    /// A problem with one sentence for people.
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Problem {
        let (name, status, title) = code.meaning();
        let mut members = Map::new();
        members.insert("type".into(), format!("urn:dunlin:problem:{name}").into());
        members.insert("title".into(), title.into());
        members.insert("status".into(), status.as_u16().into());
        members.insert("detail".into(), detail.into().into());
        members.insert("code".into(), name.into());
        Problem { code, members, headers: Vec::new() }
    }

    /// Adds a member.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.members.insert(name.into(), value.into());
        self
    }

    /// What the body says.
    pub(super) fn members(&self) -> &Map<String, Value> {
        &self.members
    }

    /// Adds a header; one whose value is not allowed in a header is left out.
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Problem {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    /// The answer. `503` always says when to try again.
    pub(super) fn answer(self) -> Response {
        let (_, status, _) = self.code.meaning();
        let body = Value::Object(self.members).to_string();
        let mut response = answer::with_body(status, "application/problem+json", body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        response
    }
}

impl Problem {
    /// A core's failure in a client's words; a node it names is named as people know it.
    pub(super) fn of(failure: Failure, status: &ClusterStatus) -> Problem {
        let coordinator = match &failure {
            Failure::OutcomeUnknown { coordinator, .. } => coordinator.map(|node| status.name_of(node)),
            _ => None,
        };
        let problem = Problem::from(failure);
        let Some(name) = coordinator else { return problem };
        let detail = format!("{name} was to coordinate the write and did not answer; it may or may not survive");
        problem.with("detail", detail).with("coordinator", name)
    }
}

/// A core's failure in a client's words, but for a node's name. 503: nothing was written. 504: it may have been.
impl From<Failure> for Problem {
    fn from(failure: Failure) -> Problem {
        match failure {
            Failure::TooFewReplicas { required, reachable } => unwritten(
                Code::TooFewReplicas,
                format!("{required} replicas are required and {reachable} can be reached; nothing was written"),
            )
            .with("required", required)
            .with("reachable", reachable),
            Failure::OutcomeUnknown { required, acks, .. } => Problem::new(
                Code::OutcomeUnknown,
                format!(
                    "{acks} of {required} required copies were acknowledged in time; the write may or may not survive"
                ),
            )
            .with("in_doubt", true)
            .with("retryable", false)
            .with("required", required)
            .with("acks", acks),
            Failure::ReadTimeout { required, answers } => {
                let detail =
                    format!("{answers} of {required} required replicas answered in time; a read changes nothing");
                unwritten(Code::OutcomeUnknown, detail).with("required", required).with("acks", answers)
            }
            Failure::QuorumTooLarge { replicas } => {
                Problem::new(Code::ParameterInvalid, format!("r and w are at most {replicas}, the number of replicas"))
                    .with("limit", replicas)
                    .with("allowed", json!([format!("1..{replicas}"), "one", "quorum", "all"]))
            }
            Failure::Overloaded => unwritten(Code::Overloaded, "the node has too much to do; nothing was written"),
            Failure::NotReady => unwritten(Code::NotReady, "the node is not ready for this key; nothing was written"),
            Failure::DiskFull => {
                unwritten(Code::DiskFull, "the disk's reserve is reached; puts are refused, deletes still taken")
            }
            Failure::TooManySiblings { limit } => beyond_siblings(limit, "siblings"),
            Failure::SiblingsTooLarge { limit } => beyond_siblings(limit, "bytes of siblings"),
        }
    }
}

fn beyond_siblings(limit: usize, what: &str) -> Problem {
    let detail = format!("the key would have more than {limit} {what}; read them and write with their context");
    Problem::new(Code::Siblings, detail).with("in_doubt", false).with("retryable", false).with("limit", limit)
}

fn unwritten(code: Code, detail: impl Into<String>) -> Problem {
    Problem::new(code, detail).with("in_doubt", false).with("retryable", true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn told(failure: Failure) -> (u16, Value, Option<String>) {
        let problem = Problem::from(failure);
        let members = Value::Object(problem.members.clone());
        let response = problem.answer();
        let retry = response.headers().get(RETRY_AFTER).map(|v| v.to_str().unwrap().to_owned());
        (response.status().as_u16(), members, retry)
    }

    #[test]
    fn nothing_written_is_503_and_says_when_to_retry() {
        for failure in [Failure::TooFewReplicas { required: 2, reachable: 1 }, Failure::Overloaded, Failure::NotReady] {
            let (status, members, retry) = told(failure);
            assert_eq!((status, retry.as_deref()), (503, Some("1")));
            assert_eq!((&members["in_doubt"], &members["retryable"]), (&json!(false), &json!(true)));
        }
    }

    #[test]
    fn a_write_in_doubt_is_504_and_says_so() {
        let (status, members, retry) = told(Failure::OutcomeUnknown { required: 2, acks: 1, coordinator: None });
        assert_eq!((status, retry), (504, None));
        assert_eq!((&members["in_doubt"], members.get("coordinator")), (&json!(true), None));
        assert_eq!((&members["acks"], &members["required"]), (&json!(1), &json!(2)));
    }

    #[test]
    fn a_read_that_timed_out_is_504_without_doubt() {
        let (status, members, _) = told(Failure::ReadTimeout { required: 2, answers: 1 });
        assert_eq!((status, &members["code"]), (504, &json!("outcome_unknown")));
        assert_eq!((&members["in_doubt"], &members["retryable"]), (&json!(false), &json!(true)));
    }

    #[test]
    fn the_other_failures_name_their_limits() {
        let (status, members, _) = told(Failure::QuorumTooLarge { replicas: 3 });
        assert_eq!((status, &members["allowed"]), (400, &json!(["1..3", "one", "quorum", "all"])));
        assert_eq!(told(Failure::DiskFull).0, 507);
        let (status, members, _) = told(Failure::TooManySiblings { limit: 64 });
        assert_eq!((status, &members["limit"]), (409, &json!(64)));
        let (status, members, _) = told(Failure::SiblingsTooLarge { limit: 1_000 });
        assert_eq!((status, &members["limit"], &members["in_doubt"]), (409, &json!(1_000), &json!(false)));
    }

    #[test]
    fn every_code_has_a_name_of_its_own_and_an_error_status() {
        let names: BTreeSet<&str> = Code::ALL.iter().map(|code| code.meaning().0).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| code.meaning().1.as_u16() >= 400));
    }
}
