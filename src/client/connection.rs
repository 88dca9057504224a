//! Connections to nodes.

use super::request::{Answer, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::{Method, Uri};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long an answer is waited for by default: longer than the longest time-out a request can ask for.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(65);

/// How long a connection is kept unused; shorter than a node keeps it, so that it does not break just
/// when it is wanted.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Most connections kept unused per node: as many as a benchmark opens.
pub const MAX_IDLE_PER_NODE: usize = 1024;

/// Longest answer read: above what a node puts into one (base64 of all its siblings).
pub const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A client of one cluster. Shared by reference; needs a tokio runtime.
#[derive(Debug)]
pub struct Client {
    connections: legacy::Client<HttpConnector, Full<bytes::Bytes>>,
    bases: Vec<String>,
    next: AtomicUsize,
    timeout: Duration,
}

/// No answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The client was made with a URL it cannot use, or with none.
    #[error("not a node's URL: {0:?}; http://HOST:PORT is expected")]
    Url(String),
    /// The request cannot be put into words of HTTP; it was never sent.
    #[error("not a request: {0}")]
    Request(String),
    /// No connection: the request was never sent.
    #[error("cannot connect to {url}: {reason}")]
    Unreachable {
        /// The node.
        url: String,
        /// The system's word for it.
        reason: String,
    },
    /// The connection broke or the answer was no HTTP. A write may or may not have happened.
    #[error("no answer from {url}: {reason}; a write may or may not have happened")]
    Broken {
        /// The node.
        url: String,
        /// What broke.
        reason: String,
    },
    /// No answer in time. A write may or may not have happened.
    #[error("no answer from {url} within {timeout_ms} ms; a write may or may not have happened")]
    TimedOut {
        /// The node.
        url: String,
        /// How long was waited, in milliseconds.
        timeout_ms: u128,
    },
}

impl Client {
    /// A client of the nodes at these URLs (`http://HOST:PORT`); requests go to them in turn.
    pub fn new(urls: impl IntoIterator<Item = impl Into<String>>) -> Result<Client, ClientError> {
        let bases = urls.into_iter().map(|url| base(url.into())).collect::<Result<Vec<String>, ClientError>>()?;
        if bases.is_empty() {
            return Err(ClientError::Url(String::new()));
        }
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let connections = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_PER_NODE)
            .build(connector);
        Ok(Client { connections, bases, next: AtomicUsize::new(0), timeout: ANSWER_TIMEOUT })
    }

    /// Waits this long for answers instead of [`ANSWER_TIMEOUT`].
    pub fn with_timeout(mut self, timeout: Duration) -> Client {
        self.timeout = timeout;
        self
    }

    /// How many nodes it knows.
    pub fn nodes(&self) -> usize {
        self.bases.len()
    }

    /// Sends a request once and reads the whole answer. A connection from the pool that turns out to be
    /// closed before anything was written to it is replaced; nothing else is tried again.
    pub async fn send(&self, request: Request) -> Result<Answer, ClientError> {
        let turn = request.node.unwrap_or_else(|| self.next.fetch_add(1, Ordering::Relaxed));
        let base = self.bases.get(turn % self.bases.len()).cloned().unwrap_or_default();
        match tokio::time::timeout(self.timeout, self.exchange(&base, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::TimedOut { url: base, timeout_ms: self.timeout.as_millis() }),
        }
    }

    /// Reads a key.
    pub async fn get(&self, key: &[u8]) -> Result<Answer, ClientError> {
        self.send(Request::get(key)).await
    }

    /// Reads a key's headers.
    pub async fn head(&self, key: &[u8]) -> Result<Answer, ClientError> {
        self.send(Request::head(key)).await
    }

    /// Writes a key over what the coordinator sees.
    pub async fn put(&self, key: &[u8], value: impl Into<bytes::Bytes>) -> Result<Answer, ClientError> {
        self.send(Request::put(key, value)).await
    }

    /// Deletes what the coordinator sees of a key.
    pub async fn delete(&self, key: &[u8]) -> Result<Answer, ClientError> {
        self.send(Request::delete(key)).await
    }

    async fn exchange(&self, base: &str, request: Request) -> Result<Answer, ClientError> {
        let Request { method, path, mut headers, body, .. } = request;
        if body.is_empty() && (method == Method::PUT || method == Method::POST) {
            // hyper says nothing about an empty body; a node wants to know that it is meant (411).
            headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
        }
        let uri: Uri = format!("{base}{path}").parse().map_err(|_| ClientError::Request(path))?;
        let mut sent = hyper::Request::new(Full::new(body));
        *sent.method_mut() = method;
        *sent.uri_mut() = uri;
        *sent.headers_mut() = headers;
        let response = self.connections.request(sent).await.map_err(|error| {
            let (url, reason) = (base.to_owned(), cause(&error));
            if error.is_connect() {
                ClientError::Unreachable { url, reason }
            } else {
                ClientError::Broken { url, reason }
            }
        })?;
        let (head, body) = response.into_parts();
        let collected = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        let body =
            collected.map_err(|error| ClientError::Broken { url: base.to_owned(), reason: error.to_string() })?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}

/// The innermost cause: the outer ones only say "client error".
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Scheme and authority alone.
fn base(url: String) -> Result<String, ClientError> {
    let usable = url.parse::<Uri>().ok().filter(|uri| {
        uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty()) && uri.path() == "/"
    });
    match usable {
        Some(uri) if uri.query().is_none() => Ok(url.trim_end_matches('/').to_owned()),
        _ => Err(ClientError::Url(url)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_scheme_and_authority() {
        assert_eq!(base("http://127.0.0.1:8101/".into()).as_deref(), Ok("http://127.0.0.1:8101"));
        assert_eq!(base("http://[::1]:8101".into()).as_deref(), Ok("http://[::1]:8101"));
        for url in ["", "127.0.0.1:8101", "https://a", "http://a/kv", "http://a?x", "ftp://a"] {
            assert!(base(url.into()).is_err(), "{url}");
        }
        assert!(Client::new(Vec::<String>::new()).is_err());
    }
}
