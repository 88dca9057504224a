//! One request, from its head to its answer.

use super::accept::Accept;
use super::answer::{self, NODE, Response};
use super::body::{self, BodyLimits};
use super::cluster;
use super::conditions::{ReadConditions, WriteConditions};
use super::layout;
use super::list::Listing;
use super::parameters::{Allowed, Parameters};
use super::path::{self, Endpoint};
use super::problem::{Code, Problem};
use super::read::Reader;
use super::state::HttpState;
use super::write::{self, Description, WriteKind};
use crate::base::Key;
use crate::node::Transfers;
use crate::replication::{Command, Operation, Outcome};
use crate::runtime::metrics;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderMap, LOCATION};
use hyper::{Method, Request, StatusCode};
use serde_json::json;
use std::time::Instant;

impl HttpState {
    /// Answers one request. Never fails: an error is an answer too.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response {
        let started = Instant::now();
        let (head, mut body) = request.into_parts();
        let endpoint = Endpoint::of(head.uri.path());
        let exchange = Exchange { state: self, method: &head.method, query: head.uri.query(), headers: &head.headers };
        let mut response = match exchange.route(endpoint, &mut body).await {
            Ok(response) => response,
            Err(problem) => problem.answer(),
        };
        answer::set(&mut response, NODE, &self.core.status().node.name);
        if response.status() != StatusCode::REQUEST_TIMEOUT {
            body::drain(&head.headers, &mut body).await;
        }
        self.metrics.record(endpoint.operation(&head.method), response.status().as_u16(), started.elapsed());
        response
    }
}

/// A request without its body.
#[derive(Debug, Clone, Copy)]
struct Exchange<'a> {
    state: &'a HttpState,
    method: &'a Method,
    query: Option<&'a str>,
    headers: &'a HeaderMap,
}

impl Exchange<'_> {
    async fn route(self, endpoint: Endpoint<'_>, body: &mut Incoming) -> Result<Response, Problem> {
        self.check_method(endpoint)?;
        match endpoint {
            Endpoint::Value(raw_key) => self.value(path::decode_key(raw_key)?, body).await,
            Endpoint::Collection if self.method == Method::POST => self.post(body).await,
            Endpoint::Collection => {
                let Exchange { state, method, query, headers } = self;
                Listing { state, method, query, headers }.answer().await
            }
            Endpoint::Live => Ok(cluster::live()),
            Endpoint::Ready => Ok(cluster::ready(&self.state.core.status())),
            Endpoint::Metrics => {
                let text = self.state.metrics.render(&self.state.core.status());
                Ok(answer::with_body(StatusCode::OK, metrics::CONTENT_TYPE, text))
            }
            Endpoint::Cluster | Endpoint::Ring | Endpoint::Partitions | Endpoint::RingOfKey(_) => {
                self.cluster(endpoint)
            }
            Endpoint::Layout
            | Endpoint::LayoutChanges
            | Endpoint::LayoutPlan
            | Endpoint::LayoutApply
            | Endpoint::LayoutPause
            | Endpoint::LayoutResume => self.layout(endpoint, body).await,
            Endpoint::Later => Err(not_supported("this endpoint")),
            Endpoint::Unknown => Err(Problem::new(Code::NotFound, "there is no such endpoint; keys are under /kv/")),
        }
    }

    fn check_method(self, endpoint: Endpoint<'_>) -> Result<(), Problem> {
        let methods = endpoint.methods();
        if methods.is_empty() || methods.contains(self.method) {
            return Ok(());
        }
        let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
        let allow = names.join(", ");
        Err(Problem::new(Code::MethodNotAllowed, format!("allowed here: {allow}"))
            .with("allowed", json!(names))
            .header(ALLOW, &allow))
    }

    fn cluster(self, endpoint: Endpoint<'_>) -> Result<Response, Problem> {
        Parameters::of(self.query, Allowed::Nothing, self.state.defaults)?;
        let status = self.state.core.status();
        match endpoint {
            Endpoint::RingOfKey(raw_key) => cluster::ring_of_key(&status, raw_key),
            Endpoint::Ring => Ok(cluster::ring(&status)),
            Endpoint::Partitions => Ok(cluster::partitions(&status)),
            _ => Ok(cluster::cluster(&status)),
        }
    }

    async fn layout(self, endpoint: Endpoint<'_>, body: &mut Incoming) -> Result<Response, Problem> {
        Parameters::of(self.query, Allowed::Nothing, self.state.defaults)?;
        let Some(desk) = &self.state.layouts else { return Err(not_supported("changing the layout")) };
        match endpoint {
            Endpoint::LayoutPlan => layout::plan(desk),
            Endpoint::LayoutApply => layout::apply(desk).await,
            Endpoint::LayoutPause => layout::order(desk, Transfers::Paused).await,
            Endpoint::LayoutResume => layout::order(desk, Transfers::Running).await,
            Endpoint::LayoutChanges if self.method == Method::DELETE => Ok(layout::abort(desk)),
            Endpoint::LayoutChanges => {
                let HttpState { limits, bodies, .. } = self.state;
                let limits = BodyLimits { max_bytes: layout::MAX_CHANGE_BYTES, timeout: limits.body_timeout };
                let received = body::read(self.headers, body, limits, bodies).await?;
                layout::stage(desk, &received.value)
            }
            _ => Ok(layout::report(desk)),
        }
    }

    async fn value(self, key: Key, body: &mut Incoming) -> Result<Response, Problem> {
        if self.method == Method::PUT {
            self.put(key, body).await
        } else if self.method == Method::DELETE {
            self.delete(key).await
        } else {
            self.get(key).await
        }
    }

    /// HEAD is GET; the connection leaves the body out.
    async fn get(self, key: Key) -> Result<Response, Problem> {
        let parameters = Parameters::of(self.query, Allowed::Read, self.state.defaults)?;
        let conditions = ReadConditions::of(self.headers, self.state.secrets.accepted(), &key)?;
        let command = Command { key: key.clone(), operation: Operation::Get, options: parameters.options };
        let outcome = self.state.core.ask(command).await;
        let Outcome::Read(result) = outcome else { return Err(self.unsuccessful(outcome)) };
        let reader = Reader {
            key: &key,
            secret: self.state.secrets.sealing(),
            now: (self.state.wall_clock)(),
            actors: &self.state.core.status().actors,
            accept: Accept::of(self.headers),
            conditions,
            choice: parameters.choice,
        };
        Ok(reader.answer(result))
    }

    async fn put(self, key: Key, body: &mut Incoming) -> Result<Response, Problem> {
        let parameters = Parameters::of(self.query, Allowed::Put, self.state.defaults)?;
        let conditions = WriteConditions::of(self.headers, self.state.secrets.accepted(), &key)?;
        let description = Description::of(self.headers, parameters.ttl_ms)?;
        let HttpState { limits, bodies, .. } = self.state;
        let limits = BodyLimits { max_bytes: limits.max_value_bytes, timeout: limits.body_timeout };
        let received = body::read(self.headers, body, limits, bodies).await?;
        let WriteConditions { seen, condition } = conditions;
        let operation =
            Operation::Write { content: Some(description.with_value(received.value.clone())), seen, condition };
        self.write(WriteKind::Put, Command { key, operation, options: parameters.options }).await
    }

    async fn post(self, body: &mut Incoming) -> Result<Response, Problem> {
        let name = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>());
        let key = path::decode_key(&name)?;
        let mut response = self.put(key, body).await?;
        answer::set(&mut response, LOCATION, &format!("/kv/{name}"));
        Ok(response)
    }

    async fn delete(self, key: Key) -> Result<Response, Problem> {
        let parameters = Parameters::of(self.query, Allowed::Delete, self.state.defaults)?;
        let WriteConditions { seen, condition } =
            WriteConditions::of(self.headers, self.state.secrets.accepted(), &key)?;
        let operation = Operation::Write { content: None, seen, condition };
        self.write(WriteKind::Delete, Command { key, operation, options: parameters.options }).await
    }

    async fn write(self, kind: WriteKind, command: Command) -> Result<Response, Problem> {
        let key = command.key.clone();
        let condition = match &command.operation {
            Operation::Write { condition, .. } => Some(condition.clone()),
            Operation::Get => None,
        };
        let secret = self.state.secrets.sealing();
        let mut response = match self.state.core.ask(command).await {
            Outcome::Written(result) => write::written(kind, secret, &key, result),
            Outcome::PreconditionFailed { live_hash } => write::precondition_failed(secret, &key, live_hash),
            other => self.unsuccessful(other).answer(),
        };
        if let Some(condition) = condition {
            write::set_condition(&mut response, &condition);
        }
        Ok(response)
    }

    /// The problem in an outcome that is no success of the operation asked for.
    fn unsuccessful(self, outcome: Outcome) -> Problem {
        match outcome {
            Outcome::Failed(failure) => Problem::of(failure, &self.state.core.status()),
            // The core answers reads with reads and writes with writes; if it ever did not, what happened
            // to a write would be unknown.
            Outcome::Read(_) | Outcome::Written(_) | Outcome::Listed(_) | Outcome::PreconditionFailed { .. } => {
                Problem::new(Code::OutcomeUnknown, "the node answered another question").with("in_doubt", true)
            }
        }
    }
}

fn not_supported(what: &str) -> Problem {
    Problem::new(Code::NotSupported, format!("{what} comes with a later version")).with("retryable", false)
}
