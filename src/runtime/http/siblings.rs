//! Several values in one answer: as JSON, and as multipart.

use super::shown::Shown;
use super::timestamp;
use crate::base::Key;
use crate::causal::Actor;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Most bytes of values a 409 carries: an error is read whole by every client, wanted or not.
pub const MAX_CONFLICT_BYTES: usize = 1 << 20;

/// Most bytes of values an envelope or a multipart answer carries: it is built in memory.
pub const MAX_ENVELOPE_BYTES: usize = 16 << 20;

/// How values stand in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// `value` when the bytes are UTF-8, else `value_b64`.
    Readable,
    /// `value_b64` always.
    Base64,
}

/// Which of the values are carried: the newest, as long as they fit.
pub(super) fn fitting(values: &[Shown], limit_bytes: usize) -> Vec<&Shown> {
    let mut left = limit_bytes;
    let fits = |shown: &&Shown| match left.checked_sub(shown.content.value.len()) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    values.iter().filter(fits).collect()
}

/// Members `key`, `context`, `siblings`, and `truncated: true` if not every value is carried.
pub(super) fn envelope(
    key: &Key,
    context: &str,
    values: &[Shown],
    carried: &[&Shown],
    form: Values,
    actors: &BTreeMap<Actor, String>,
) -> Map<String, Value> {
    let mut members = key_members(key);
    members.insert("context".into(), context.into());
    let siblings = values.iter().map(|shown| {
        let whole = carried.iter().any(|carried| carried.dot == shown.dot);
        sibling(shown, whole.then_some(form), actors)
    });
    members.insert("siblings".into(), siblings.collect());
    if carried.len() < values.len() {
        members.insert("truncated".into(), true.into());
    }
    members
}

/// `key`, or `key_b64` if its bytes are no text.
pub(super) fn key_members(key: &Key) -> Map<String, Value> {
    let (name, text) = readable("key", key.as_bytes());
    Map::from_iter([(name, text)])
}

pub(super) fn sibling(shown: &Shown, form: Option<Values>, actors: &BTreeMap<Actor, String>) -> Value {
    let content = &shown.content;
    let mut members = Map::new();
    members.insert("id".into(), shown.dot.to_string().into());
    match form {
        Some(Values::Readable) => members.extend([readable("value", &content.value)]),
        Some(Values::Base64) => members.extend([("value_b64".into(), STANDARD.encode(&content.value).into())]),
        None => members.extend([("truncated".into(), true.into())]),
    }
    members.insert("size".into(), content.value.len().into());
    members.insert("content_type".into(), content.content_type.clone().into());
    members.insert("modified".into(), timestamp::rfc3339(content.written_at.wall()).into());
    members.insert("expires_at".into(), json!(content.expires_at.map(timestamp::rfc3339)));
    members.insert("node".into(), json!(actors.get(&shown.dot.actor)));
    if !content.metadata.is_empty() {
        let metadata = content.metadata.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        members.insert("metadata".into(), Value::Object(metadata.collect()));
    }
    Value::Object(members)
}

pub(super) fn readable(name: &str, bytes: &[u8]) -> (String, Value) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (name.to_owned(), text.into()),
        Err(_) => (format!("{name}_b64"), STANDARD.encode(bytes).into()),
    }
}

/// The values raw, one part each (RFC 2046), with the content type that names the boundary.
pub(super) fn multipart(values: &[&Shown], seed: u64) -> (String, Vec<u8>) {
    let boundary = boundary(values, seed);
    let mut body = Vec::new();
    for shown in values {
        body.extend(format!("--{boundary}\r\n{}\r\n", part_headers(shown)).into_bytes());
        body.extend_from_slice(&shown.content.value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend(format!("--{boundary}--\r\n").into_bytes());
    (format!("multipart/mixed; boundary={boundary}"), body)
}

fn part_headers(shown: &Shown) -> String {
    let content = &shown.content;
    // Stored types and metadata were header values once, but may come from a peer: no line end may slip in.
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let mut headers = format!(
        "Content-Type: {}\r\nContent-Length: {}\r\nDunlin-Sibling: {}\r\nLast-Modified: {}\r\n",
        clean(&content.content_type),
        content.value.len(),
        shown.dot,
        timestamp::http_date(content.written_at.wall()),
    );
    if let Some(expires_at) = content.expires_at {
        headers.push_str(&format!("Dunlin-Expires-At: {}\r\n", timestamp::rfc3339(expires_at)));
    }
    for (name, value) in &content.metadata {
        headers.push_str(&format!("Dunlin-Meta-{}: {}\r\n", clean(name), clean(value)));
    }
    headers
}

/// A boundary that stands in none of the values.
fn boundary(values: &[&Shown], seed: u64) -> String {
    let mut number = seed;
    loop {
        let boundary = format!("dunlin-{number:016x}");
        let taken = values.iter().any(|shown| holds(&shown.content.value, boundary.as_bytes()));
        if !taken {
            return boundary;
        }
        number = number.wrapping_add(1);
    }
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{HybridTime, WallTime};
    use crate::causal::{Content, Dot};

    fn shown(counter: u64, value: &[u8]) -> Shown {
        let dot = Dot { actor: Actor(1), counter };
        let content = Content {
            value: value.to_vec().into(),
            content_type: "text/plain\r\nEvil: 1".into(),
            metadata: vec![("colour".into(), "red".into())],
            written_at: HybridTime::from_wall(WallTime(0)),
            expires_at: Some(WallTime(1000)),
        };
        Shown { dot, content, dots: vec![dot] }
    }

    #[test]
    fn bytes_that_are_no_text_are_base64() {
        let values = [shown(2, b"\xff\x00"), shown(1, b"text")];
        let actors = BTreeMap::from([(Actor(1), "n1".to_owned())]);
        let carried: Vec<&Shown> = values.iter().collect();
        let key = Key::new(vec![0xff]).unwrap();
        let body = Value::Object(envelope(&key, "t", &values, &carried, Values::Readable, &actors));
        assert_eq!((&body["key_b64"], &body["context"]), (&json!("/w=="), &json!("t")));
        assert_eq!(body["siblings"][0]["value_b64"], json!("/wA="));
        assert_eq!(body["siblings"][1]["value"], json!("text"));
        assert_eq!(body["siblings"][1]["id"], json!("0000000000000001-1"));
        assert_eq!(body["siblings"][1]["node"], json!("n1"));
        assert_eq!(body["siblings"][1]["expires_at"], json!("1970-01-01T00:00:01.000Z"));
        assert_eq!(body["siblings"][1]["metadata"], json!({"colour": "red"}));
        assert_eq!(body.get("truncated"), None);
    }

    #[test]
    fn values_beyond_the_limit_are_cut_and_said_to_be() {
        let values = [shown(3, b"123"), shown(2, b"123456"), shown(1, b"12")];
        let carried = fitting(&values, 5);
        assert_eq!(carried.iter().map(|shown| shown.dot.counter).collect::<Vec<_>>(), [3, 1]);
        let key = Key::new("k").unwrap();
        let body = Value::Object(envelope(&key, "t", &values, &carried, Values::Base64, &BTreeMap::new()));
        assert_eq!((&body["truncated"], &body["siblings"][1]["truncated"]), (&json!(true), &json!(true)));
        assert_eq!((&body["siblings"][1]["value_b64"], &body["siblings"][1]["size"]), (&Value::Null, &json!(6)));
    }

    #[test]
    fn a_boundary_never_stands_in_a_value_and_no_header_is_smuggled() {
        let values = [shown(1, b"--dunlin-0000000000000007--"), shown(2, b"x")];
        let (content_type, body) = multipart(&values.iter().collect::<Vec<_>>(), 7);
        assert_eq!(content_type, "multipart/mixed; boundary=dunlin-0000000000000008");
        let text = String::from_utf8(body).unwrap();
        assert_eq!(text.matches("--dunlin-0000000000000008").count(), 3);
        assert!(text.contains("Content-Type: text/plainEvil: 1\r\n") && text.contains("Dunlin-Meta-colour: red\r\n"));
    }
}
