//! A few clients that put and delete keys of their own until the node is gone.

use super::ledger::{Ledger, State};
use super::node::Node;
use dunlin::base::Random;
use dunlin::client::{Client, Method, Request};
use std::time::{Duration, Instant};

/// Clients at the same time.
const CLIENTS: u64 = 8;

/// Keys of each: few, so that segments are soon worth compacting.
const KEYS: u64 = 5;

/// Longest value: a segment of 1 MiB is full after some two hundred writes.
const VALUE_BYTES: u64 = 10_000;

/// Writes until the node is gone or the time is up; what was answered.
pub(super) async fn run(node: &mut Node, seed: u64, longest: Duration) -> Result<Ledger, String> {
    let until = Instant::now() + longest;
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let random = Random::from_seed(seed.rotate_left(8) ^ number);
        writers.spawn(write(node.client()?, number, random, until));
    }
    let mut ledger = Ledger::default();
    while let Some(written) = writers.join_next().await {
        ledger.merge(written.map_err(|error| format!("a client of the load: {error}"))?);
    }
    Ok(ledger)
}

async fn write(client: Client, number: u64, mut random: Random, until: Instant) -> Ledger {
    let mut ledger = Ledger::default();
    for sequence in 0u64.. {
        if Instant::now() > until {
            break;
        }
        let key = format!("client-{number}-key-{}", random.below(KEYS));
        let state = (!random.chance(0.2)).then(|| {
            let mut value = format!("{key} {sequence} ").into_bytes();
            value.resize(random.between(value.len() as u64, VALUE_BYTES) as usize, b'.');
            value
        });
        if write_one(&client, &mut ledger, &key, state).await == Answer::None {
            break;
        }
    }
    ledger
}

/// What one write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Done.
    Done,
    /// Refused: nothing was written, and why.
    Refused(u16),
    /// No answer, or one that leaves it open.
    None,
}

/// Puts or deletes, and notes the answer.
pub(super) async fn write_one(client: &Client, ledger: &mut Ledger, key: &str, state: State) -> Answer {
    ledger.begin(key, state.clone());
    let request = match state {
        Some(value) => Request::put(key.as_bytes(), value),
        None => Request::delete(key.as_bytes()),
    };
    match client.send(request.query("w", "1")).await.map(|answer| answer.status.as_u16()) {
        // A delete of nothing leaves nothing.
        Ok(200..=299 | 404) => {
            ledger.done(key);
            Answer::Done
        }
        Ok(status @ (429 | 503 | 507)) => {
            ledger.refused(key);
            Answer::Refused(status)
        }
        _ => Answer::None,
    }
}

/// Reads every key and compares; how many were read.
pub(super) async fn read_back(client: &Client, ledger: &Ledger) -> Result<u64, String> {
    let mut read = 0;
    for key in ledger.keys() {
        let answer = client.send(Request::raw(Method::GET, dunlin::client::key_path(key.as_bytes()))).await;
        let answer = answer.map_err(|error| format!("reading {key}: {error}"))?;
        let found = match answer.status.as_u16() {
            200 => Some(answer.body.to_vec()),
            404 => None,
            status => return Err(format!("reading {key}: {status}")),
        };
        ledger.judge(key, &found)?;
        read += 1;
    }
    Ok(read)
}
