//! After the run: every key that was written is read, and what was acknowledged must be there.

use super::book::{Book, Found, Wrong};
use super::connection::key_text;
use super::value::Mark;
use crate::client::{Client, Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::ACCEPT;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tokio::task::spawn_local;

/// Keys read at a time.
const READERS: usize = 32;

/// Wrong keys that are named.
const SHOWN_WRONG: usize = 10;

/// Shows all values of a key, however many there are.
const SIBLINGS: &str = "application/vnd.dunlin.siblings+json";

/// What verification has found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Verification {
    /// Keys read.
    pub(super) keys: u64,
    /// Keys that did not hold what was acknowledged, or that could not be read.
    pub(super) wrong: u64,
    /// Some of them.
    pub(super) examples: Vec<String>,
}

/// What matters of the envelope.
#[derive(Deserialize)]
struct Envelope {
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    value: Option<String>,
    value_b64: Option<String>,
}

struct Shared {
    client: Client,
    book: Book,
    keys: Vec<u64>,
    next: Cell<usize>,
    result: RefCell<Verification>,
}

/// Reads all keys of the book from nodes in turn, from a quorum each; needs a `LocalSet`.
pub(super) async fn verify(urls: &[String], book: Book) -> Result<Verification, String> {
    let client = Client::new(urls).map_err(|error| error.to_string())?;
    let keys = book.keys().collect();
    let shared = Rc::new(Shared { client, book, keys, next: Cell::default(), result: RefCell::default() });
    let readers: Vec<_> = (0..READERS).map(|_| spawn_local(read_some(Rc::clone(&shared)))).collect();
    for reader in readers {
        reader.await.map_err(|error| error.to_string())?;
    }
    Ok(shared.result.take())
}

async fn read_some(shared: Rc<Shared>) {
    while let Some(key) = shared.keys.get(shared.next.replace(shared.next.get() + 1)).copied() {
        let judged = read(&shared.client, key).await.and_then(|found| judge(&shared.book, key, &found));
        let mut result = shared.result.borrow_mut();
        result.keys += 1;
        if let Err(what) = judged {
            result.wrong += 1;
            if result.examples.len() < SHOWN_WRONG {
                result.examples.push(format!("{}: {what}", key_text(key)));
            }
        }
    }
}

async fn read(client: &Client, key: u64) -> Result<Found, String> {
    let request = Request::get(key_text(key).as_bytes()).header(ACCEPT, SIBLINGS);
    let answer = client.send(request).await.map_err(|error| error.to_string())?;
    if answer.status != StatusCode::OK {
        return Err(format!("could not be read: {}", answer.status.as_u16()));
    }
    found_in(&answer.body, key)
}

fn found_in(envelope: &[u8], key: u64) -> Result<Found, String> {
    let envelope: Envelope = serde_json::from_slice(envelope).map_err(|error| format!("no envelope: {error}"))?;
    let bytes = |sibling: Sibling| match (sibling.value, sibling.value_b64) {
        (Some(text), _) => Some(text.into_bytes()),
        (None, Some(encoded)) => STANDARD.decode(encoded).ok(),
        (None, None) => None,
    };
    let mark = |sibling| bytes(sibling).and_then(|value| Mark::read(&value)).filter(|mark| mark.key == key);
    let marks: Option<Vec<u64>> = envelope.siblings.into_iter().map(|sibling| Some(mark(sibling)?.write)).collect();
    match marks {
        None => Err("a value that was never written to it".into()),
        Some(writes) if writes.is_empty() => Ok(Found::Absent),
        Some(writes) => Ok(Found::Values(writes)),
    }
}

fn judge(book: &Book, key: u64, found: &Found) -> Result<(), String> {
    book.judge(key, found).map_err(|wrong| match wrong {
        Wrong::Lost => "an acknowledged write is lost".into(),
        Wrong::Stale => "a value older than an acknowledged one".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Random;
    use crate::cli::bench::value::Values;

    fn envelope(marks: &[Mark]) -> Vec<u8> {
        let mut random = Random::from_seed(1);
        let values = Values::new("60".parse().unwrap(), &mut random);
        let encoded = marks.iter().map(|mark| {
            let mut value = Vec::new();
            values.put(&mut value, 60, *mark, &mut random);
            format!(r#"{{"value_b64":"{}"}}"#, STANDARD.encode(value))
        });
        format!(r#"{{"key":"k","siblings":[{}]}}"#, encoded.collect::<Vec<_>>().join(",")).into_bytes()
    }

    #[test]
    fn all_values_of_a_key_are_seen() {
        let mark = |write| Mark { write, key: 5 };
        assert_eq!(found_in(&envelope(&[]), 5), Ok(Found::Absent));
        assert_eq!(found_in(&envelope(&[mark(3), mark(9)]), 5), Ok(Found::Values(vec![3, 9])));
        assert!(found_in(&envelope(&[mark(3)]), 6).is_err(), "another key's");
        assert!(found_in(br#"{"siblings":[{"value":"x"}]}"#, 5).is_err());
        assert!(found_in(b"", 5).is_err());
    }
}
