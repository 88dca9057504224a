//! `GET /kv`: a page of keys as JSON, or all of them as lines.

use super::accept::Accept;
use super::answer::{self, CutShort, Response};
use super::list_parameters::{DEFAULT_LIMIT, ListParameters, cursor};
use super::problem::{Code, Problem};
use super::state::HttpState;
use super::walk::{Found, Walk};
use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use hyper::header::{CACHE_CONTROL, HeaderMap, HeaderName, VARY};
use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Most listings at once: each may hold some forty megabytes of values. Further ones are told 503.
pub const MAX_LISTINGS: usize = 16;

/// One item to a line.
const NDJSON: &str = "application/x-ndjson";

/// Items found before they are sent, in a stream.
const PIECE_ITEMS: usize = 256;

/// Pieces on their way to a client that reads slowly: the walk waits.
const MAX_PIECES: usize = 2;

/// How often a stream tries again before it gives up, and how long it waits before: a restarting node comes back
/// within that.
const MAX_ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Where the next page begins, in an answer that has no place for it.
const NEXT: HeaderName = HeaderName::from_static("dunlin-next");

/// A listing that is asked for.
pub(super) struct Listing<'a> {
    pub(super) state: &'a HttpState,
    pub(super) method: &'a Method,
    pub(super) query: Option<&'a str>,
    pub(super) headers: &'a HeaderMap,
}

impl Listing<'_> {
    /// The answer. An error is one before the first item.
    pub(super) async fn answer(self) -> Result<Response, Problem> {
        let accept = Accept::of(self.headers);
        let lines = accept.names(NDJSON);
        if !lines && !accept.takes("application/json") {
            let allowed = json!(["application/json", NDJSON]);
            return Err(Problem::new(Code::NotAcceptable, "a listing is JSON").with("allowed", allowed));
        }
        let parameters = ListParameters::of(self.query, self.state.defaults)?;
        let permit = Arc::clone(&self.state.listings).try_acquire_owned().map_err(|_| {
            Problem::new(Code::Overloaded, "the node has too many listings open").with("retryable", true)
        })?;
        let (prefix, limit) = (parameters.prefix.clone(), parameters.limit);
        let HttpState { core, secrets, wall_clock, .. } = self.state;
        let secret = secrets.sealing().clone();
        let mut walk = Walk { core: core.clone(), secret, wall_clock: *wall_clock, parameters };
        let first = walk.next(limit.unwrap_or(if lines { PIECE_ITEMS } else { DEFAULT_LIMIT })).await?;
        let next = first.through.as_ref().map(|last| cursor(last, &prefix));
        let mut response = match next {
            Some(_) if lines && limit.is_none() && *self.method == Method::GET => streamed(walk, first, permit),
            next if lines => {
                let mut response = answer::with_body(StatusCode::OK, NDJSON, lines_of(&first.items));
                next.iter().for_each(|next| answer::set(&mut response, NEXT, next));
                response
            }
            next => answer::json(StatusCode::OK, &page(first.items, next)),
        };
        answer::set_untrusted(&mut response);
        answer::set(&mut response, VARY, "accept");
        answer::set(&mut response, CACHE_CONTROL, "no-cache");
        Ok(response)
    }
}

fn page(items: Vec<Map<String, Value>>, next: Option<String>) -> Value {
    let mut page = Map::new();
    page.insert("items".into(), items.into_iter().map(Value::Object).collect());
    page.extend(next.map(|next| ("next".to_owned(), next.into())));
    Value::Object(page)
}

fn lines_of(items: &[Map<String, Value>]) -> Bytes {
    let mut lines = Vec::new();
    for item in items {
        // Writing JSON to memory fails for no value made of JSON.
        let _ = serde_json::to_writer(&mut lines, item);
        lines.push(b'\n');
    }
    lines.into()
}

fn streamed(walk: Walk, first: Found, permit: OwnedSemaphorePermit) -> Response {
    let (sender, pieces) = Channel::new(MAX_PIECES);
    tokio::spawn(async move {
        send_all(walk, first, sender).await;
        drop(permit);
    });
    answer::streamed(NDJSON, pieces)
}

/// Sends piece after piece; ends early if the client has gone away.
async fn send_all(mut walk: Walk, mut found: Found, mut sender: Sender<Bytes, CutShort>) {
    loop {
        let lines = lines_of(&found.items);
        if !lines.is_empty() && sender.send_data(lines).await.is_err() {
            return;
        }
        if found.through.is_none() {
            return;
        }
        found = match go_on(&mut walk).await {
            Ok(found) => found,
            Err(problem) => {
                let line = Bytes::from(format!("{}\n", json!({ "problem": problem.members() })));
                // Either way the client sees that this is not the end.
                let _ = sender.send_data(line).await;
                return sender.abort(CutShort);
            }
        };
    }
}

/// The next piece, after some attempts if need be.
async fn go_on(walk: &mut Walk) -> Result<Found, Problem> {
    for _ in 1..MAX_ATTEMPTS {
        if let Ok(found) = walk.next(PIECE_ITEMS).await {
            return Ok(found);
        }
        tokio::time::sleep(PAUSE).await;
    }
    walk.next(PIECE_ITEMS).await
}
