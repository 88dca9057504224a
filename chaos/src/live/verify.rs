//! Reads every record back through every node, from as many of its replicas as is asked.

use super::book::State;
use super::fleet::Fleet;
use super::input::{Record, Records, carries_its_hash};
use dunlin::client::{Answer, Client, ClientError, Request};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Sent with every read: the replicas asked must answer, and nobody may stand in for one.
const TIMEOUT: &str = "10s";

/// How long the client waits: longer than the node may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Tries of one read: a replica may be late once, not for ever.
const MAX_TRIES: u32 = 3;

/// Before a read is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Violations told in full; beyond, they are only counted.
const MAX_TOLD_VIOLATIONS: usize = 20;

/// Between two lines of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    /// 200, with these bytes, from so many of so many replicas.
    Value { equal: bool, length: usize, whole: bool, acks: String },
    /// 404
    Nothing,
    /// 409
    Siblings,
    /// No answer to be judged.
    Failed(String),
}

/// What all reads found.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Reading {
    pub(super) reads: u64,
    /// Reads that were tried more than once.
    pub(super) retried: u64,
    pub(super) seconds: f64,
    pub(super) violations: u64,
    pub(super) told: Vec<String>,
}

/// From how many replicas each record is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Of {
    pub(super) required: usize,
    pub(super) replicas: usize,
}

/// The work of all readers.
struct Readers {
    client: Client,
    fleet: Arc<Fleet>,
    records: Arc<Records>,
    tried: Vec<(usize, State)>,
    of: Of,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next: usize,
    reading: Reading,
    /// Records in doubt: are they there? The first node's answer.
    in_doubt: BTreeMap<usize, bool>,
    told_at: Option<Instant>,
}

/// Reads all of these records through all nodes, so many at a time.
pub(super) async fn read_back(
    urls: Vec<String>,
    fleet: Arc<Fleet>,
    records: Arc<Records>,
    tried: Vec<(usize, State)>,
    of: Of,
    clients: usize,
) -> Result<Reading, ClientError> {
    let client = Client::new(urls)?.with_timeout(ANSWER_TIMEOUT);
    let begun = Instant::now();
    let readers = Arc::new(Readers { client, fleet, records, tried, of, inner: Mutex::default() });
    let mut running = JoinSet::new();
    for _ in 0..clients {
        let readers = Arc::clone(&readers);
        running.spawn(async move {
            while let Some((node, record, state)) = readers.take() {
                readers.check(node, record, state).await;
            }
        });
    }
    running.join_all().await;
    let mut reading = std::mem::take(&mut readers.inner().reading);
    reading.seconds = begun.elapsed().as_secs_f64();
    Ok(reading)
}

impl Readers {
    /// The next read: all records at one node, then at the next.
    fn take(&self) -> Option<(usize, usize, State)> {
        let mut inner = self.inner();
        let (node, at) = (inner.next.checked_div(self.tried.len())?, inner.next % self.tried.len());
        if node >= self.fleet.count() {
            return None;
        }
        inner.next += 1;
        if inner.told_at.is_none_or(|told| told.elapsed() >= PROGRESS_INTERVAL) {
            inner.told_at = Some(Instant::now());
            let (reads, violations) = (inner.reading.reads, inner.reading.violations);
            let all = self.tried.len() * self.fleet.count();
            let seconds = self.fleet.now_ms() as f64 / 1e3;
            eprintln!("chaos: {seconds:6.1} s  {reads} of {all} reads, {violations} wrong");
        }
        let (record, state) = self.tried[at];
        Some((node, record, state))
    }

    async fn check(&self, node: usize, number: usize, state: State) {
        let Some(record) = self.records.get(number) else { return };
        let mut tries = 0;
        let found = loop {
            tries += 1;
            let required = self.of.required.to_string();
            let request = Request::get(&record.key).query("r", &required).query("sloppy", "false");
            let found = found(&self.client.send(request.query("timeout", TIMEOUT).at(node)).await, &record);
            if tries == MAX_TRIES || !matches!(found, Found::Failed(_)) {
                break found;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        };
        let mut inner = self.inner();
        inner.reading.reads += 1;
        inner.reading.retried += u64::from(tries > 1);
        let wrong = judge(state, &found, self.of).err().or_else(|| {
            let same = self.of.required == self.of.replicas;
            inner.disagreement(number, state, &found).filter(|_| same)
        });
        if let Some(wrong) = wrong {
            inner.reading.violations += 1;
            if inner.reading.told.len() < MAX_TOLD_VIOLATIONS {
                let key = String::from_utf8_lossy(&record.key);
                inner.reading.told.push(format!("{key} (record {number}) through node{}: {wrong}", node + 1));
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("held only within this file, where nothing panics while it is")
    }
}

impl Inner {
    /// Two nodes that ask the same replicas see the same, also of a record in doubt.
    fn disagreement(&mut self, record: usize, state: State, found: &Found) -> Option<String> {
        let there = matches!(found, Found::Value { .. });
        if state != State::InDoubt {
            return None;
        }
        let first = *self.in_doubt.entry(record).or_insert(there);
        let is = |there| if there { "there" } else { "not there" };
        (first != there).then(|| format!("{}, and through another node {}", is(there), is(first)))
    }
}

fn found(result: &Result<Answer, ClientError>, record: &Record) -> Found {
    match result {
        Err(error) => Found::Failed(error.to_string()),
        Ok(answer) => match answer.status.as_u16() {
            200 => Found::Value {
                equal: answer.body == record.value,
                length: answer.body.len(),
                whole: carries_its_hash(&answer.body),
                acks: answer.header("dunlin-acks").unwrap_or("none told").to_owned(),
            },
            404 => Found::Nothing,
            409 => Found::Siblings,
            status => Found::Failed(format!("{status} {}", answer.code().unwrap_or_default())),
        },
    }
}

/// Is what was found what is promised?
fn judge(state: State, found: &Found, of: Of) -> Result<(), String> {
    match (state, found) {
        (_, Found::Failed(why)) => Err(format!("cannot be read: {why}")),
        (_, Found::Siblings) => Err("has siblings, though all its writes were the same".into()),
        (State::Acknowledged, Found::Nothing) => Err("was acknowledged and is lost".into()),
        (State::NotWritten | State::InDoubt, Found::Nothing) => Ok(()),
        (_, Found::Value { equal: false, length, whole, .. }) => {
            let of = if *whole { "another record's value" } else { "no value of this run" };
            Err(format!("has other bytes than were written: {length} of them, {of}"))
        }
        (State::NotWritten, Found::Value { .. }) => Err("was answered as not written, and is there".into()),
        (State::Acknowledged | State::InDoubt, Found::Value { acks, .. }) => {
            let Of { required, replicas } = of;
            let enough = (required..=replicas).any(|number| *acks == format!("{number}/{replicas}"));
            if enough { Ok(()) } else { Err(format!("was read from {acks} replicas instead of {required}/{replicas}")) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Of = Of { required: 3, replicas: 3 };

    fn value() -> Found {
        Found::Value { equal: true, length: 5, whole: false, acks: "3/3".into() }
    }

    fn other_value() -> Found {
        Found::Value { equal: false, length: 5, whole: true, acks: "3/3".into() }
    }

    #[test]
    fn what_is_promised_is_accepted() {
        assert_eq!(judge(State::Acknowledged, &value(), ALL), Ok(()));
        assert_eq!(judge(State::InDoubt, &value(), ALL), Ok(()));
        assert_eq!(judge(State::InDoubt, &Found::Nothing, ALL), Ok(()));
        assert_eq!(judge(State::NotWritten, &Found::Nothing, ALL), Ok(()));
    }

    #[test]
    fn every_broken_promise_is_noticed() {
        let notices = |state, found: &Found, word: &str| {
            let wrong = judge(state, found, ALL).unwrap_err();
            assert!(wrong.contains(word), "{wrong}");
        };
        notices(State::Acknowledged, &Found::Nothing, "lost");
        notices(State::NotWritten, &value(), "not written");
        for state in [State::Acknowledged, State::InDoubt, State::NotWritten] {
            notices(state, &other_value(), "other bytes");
            notices(state, &Found::Siblings, "siblings");
            notices(state, &Found::Failed("504".into()), "504");
        }
        let two = Found::Value { equal: true, length: 5, whole: false, acks: "2/3".into() };
        notices(State::Acknowledged, &two, "2/3");
        assert_eq!(judge(State::Acknowledged, &two, Of { required: 2, ..ALL }), Ok(()));
    }

    #[test]
    fn nodes_that_disagree_about_a_record_in_doubt_are_noticed() {
        let mut inner = Inner::default();
        assert_eq!(inner.disagreement(1, State::InDoubt, &Found::Nothing), None);
        assert_eq!(inner.disagreement(1, State::InDoubt, &Found::Nothing), None);
        assert!(inner.disagreement(1, State::InDoubt, &value()).is_some());
        assert_eq!(inner.disagreement(2, State::InDoubt, &value()), None);
    }
}
