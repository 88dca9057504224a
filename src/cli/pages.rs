//! The keys of a cluster, page after page, as a client reads them.

use crate::client::{Answer, Client, Method, Request};
use clap::Args;
use serde_json::Value;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Where the first node of `dunlin dev` listens.
const DEFAULT_URL: &str = "http://127.0.0.1:8101";

/// How often a request that changed nothing is made again, and the pause between: a node restarts within that.
const MAX_ATTEMPTS: u32 = 6;
const PAUSE: Duration = Duration::from_secs(1);

/// Which cluster, and how it is asked.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// A node of the cluster
    #[arg(long, env = "DUNLIN_URL", default_value = DEFAULT_URL)]
    pub url: String,
    /// How long the cluster may take for each request: 500ms, 2s
    #[arg(long)]
    pub timeout: Option<String>,
}

/// Which keys.
#[derive(Debug, Clone, Args)]
pub struct RangeArgs {
    /// What the keys begin with: its bytes as given
    pub prefix: Option<OsString>,
    /// The first key, or where it would be
    #[arg(long)]
    pub start: Option<OsString>,
}

/// A walk through the keys.
pub(super) struct Pages<'a> {
    client: &'a Client,
    request: Request,
    cursor: Cursor,
}

/// Where a walk is.
enum Cursor {
    Start(Vec<u8>),
    Next(String),
    End,
}

impl ClusterArgs {
    /// A client of the cluster.
    pub(super) fn client(&self) -> Result<Client, String> {
        Client::new([self.url.as_str()]).map_err(|error| error.to_string())
    }

    /// A request with the knobs.
    pub(super) fn knobs(&self, request: Request) -> Request {
        match &self.timeout {
            Some(timeout) => request.query("timeout", timeout),
            None => request,
        }
    }
}

impl<'a> Pages<'a> {
    /// From the first key of the range on; with values if `values` says "true".
    pub(super) fn new(client: &'a Client, cluster: &ClusterArgs, range: &RangeArgs, values: &'static str) -> Pages<'a> {
        let request = cluster.knobs(Request::raw(Method::GET, "/kv")).query("values", values);
        let request = match &range.prefix {
            Some(prefix) => request.query_bytes("prefix", prefix.as_bytes()),
            None => request,
        };
        let start = range.start.as_deref().unwrap_or_default().as_bytes().to_vec();
        Pages { client, request, cursor: Cursor::Start(start) }
    }

    /// The next items, `limit` at most and perhaps none; nothing at the end.
    pub(super) async fn next(&mut self, limit: usize) -> Result<Option<Vec<Value>>, String> {
        let request = self.request.clone();
        let request = match &self.cursor {
            Cursor::Start(start) => request.query_bytes("start", start),
            Cursor::Next(cursor) => request.query("cursor", cursor),
            Cursor::End => return Ok(None),
        };
        let answer = patient(self.client, request.query("limit", &limit.to_string())).await?;
        let mut page = answer.json().ok_or("the answer is no JSON: is this a Dunlin node?")?;
        self.cursor = match page.get("next").and_then(Value::as_str) {
            Some(next) => Cursor::Next(next.to_owned()),
            None => Cursor::End,
        };
        match page.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(Some(items)),
            _ => Err("the answer has no items".into()),
        }
    }
}

/// Sends a request until it succeeds, as long as trying again changes nothing.
pub(super) async fn patient(client: &Client, request: Request) -> Result<Answer, String> {
    for attempt in 1.. {
        let failed = match client.send(request.clone()).await {
            Ok(answer) if answer.status.is_success() => return Ok(answer),
            Ok(answer) => {
                let retryable = answer.json().is_some_and(|problem| problem.get("retryable") == Some(&true.into()));
                let told = told(&answer);
                if !retryable {
                    return Err(told);
                }
                told
            }
            Err(error) => return Err(error.to_string()),
        };
        if attempt >= MAX_ATTEMPTS {
            return Err(failed);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err("not tried".into())
}

/// What an answer that is no success says.
pub(super) fn told(answer: &Answer) -> String {
    let problem = answer.json().unwrap_or_default();
    let text = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    format!("{}: {}: {}", answer.status.as_u16(), text("title"), text("detail"))
}
