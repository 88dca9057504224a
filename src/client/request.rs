//! What is asked, and what came back.

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// Everything but the unreserved characters of RFC 3986 is escaped, so that no proxy normalises a key.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// A request to one of the nodes.
#[derive(Debug, Clone)]
pub struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) node: Option<usize>,
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// The path of a key, every byte that might mean something escaped.
pub fn key_path(key: &[u8]) -> String {
    format!("/kv/{}", percent_encode(key, ESCAPED))
}

impl Request {
    /// Any request: `path` is sent as it stands, query included.
    pub fn raw(method: Method, path: impl Into<String>) -> Request {
        Request { method, path: path.into(), headers: HeaderMap::new(), body: Bytes::new(), node: None }
    }

    /// Reads a key.
    pub fn get(key: &[u8]) -> Request {
        Self::raw(Method::GET, key_path(key))
    }

    /// Reads a key's headers.
    pub fn head(key: &[u8]) -> Request {
        Self::raw(Method::HEAD, key_path(key))
    }

    /// Writes a key.
    pub fn put(key: &[u8], value: impl Into<Bytes>) -> Request {
        Self::raw(Method::PUT, key_path(key)).body(value)
    }

    /// Deletes a key.
    pub fn delete(key: &[u8]) -> Request {
        Self::raw(Method::DELETE, key_path(key))
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Request {
        self.body = body.into();
        self
    }

    /// Adds a parameter; its value is escaped.
    pub fn query(self, name: &str, value: &str) -> Request {
        self.query_bytes(name, value.as_bytes())
    }

    /// Adds a parameter of any bytes, escaped.
    pub fn query_bytes(mut self, name: &str, value: &[u8]) -> Request {
        let separator = if self.path.contains('?') { '&' } else { '?' };
        self.path.push(separator);
        self.path.push_str(&format!("{name}={}", percent_encode(value, ESCAPED)));
        self
    }

    /// Adds a header; one whose value no header can carry is left out.
    pub fn header(mut self, name: HeaderName, value: &str) -> Request {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }

    /// Hands back what an answer's `Dunlin-Context` said.
    pub fn context(self, token: &str) -> Request {
        self.header(HeaderName::from_static("dunlin-context"), token)
    }

    /// Sends to the client's `node`-th URL (modulo their number) instead of to the next in turn.
    pub fn at(mut self, node: usize) -> Request {
        self.node = Some(node);
        self
    }
}

impl Answer {
    /// A header as text; none if absent or no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The context token.
    pub fn context(&self) -> Option<&str> {
        self.header("dunlin-context")
    }

    /// The body as JSON.
    pub fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The `code` of a problem.
    pub fn code(&self) -> Option<String> {
        self.json()?.get("code")?.as_str().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_escaped_byte_by_byte() {
        assert_eq!(key_path(b"a/../b c+%\x00\xff"), "/kv/a%2F%2E%2E%2Fb%20c%2B%25%00%FF");
        assert_eq!(key_path(b"Az09-_~"), "/kv/Az09-_~");
    }

    #[test]
    fn parameters_are_joined_and_escaped() {
        assert_eq!(Request::get(b"k").query("r", "1").query("sibling", "a&b").path, "/kv/k?r=1&sibling=a%26b");
    }
}
