//! Clients that write every record once, each to a random living node, and again elsewhere if that fails.

use super::book::{Book, State};
use super::fleet::{Fleet, Mark};
use super::history::History;
use super::input::{Record, Records};
use super::outcome::{Class, Doubt, Fate, Outcome, Seen, classify};
use dunlin::base::Random;
use dunlin::client::{Answer, Client, ClientError, Request};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a client waits for an answer: well above the time-out of a request (2 s), so that what
/// ends here is a node that does not keep it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one record is tried: as long as a cluster may take to converge.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// Before a refused request goes elsewhere, so that refusals do not become a storm.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Characters of an error's body that are kept.
const MAX_TOLD_CHARACTERS: usize = 300;

/// A load and its accounts, shared by its clients.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) fleet: Arc<Fleet>,
    pub(super) records: Arc<Records>,
    client: Client,
    inner: Mutex<Inner>,
    /// Records below this number may be taken.
    gate: watch::Sender<usize>,
    /// Records that are done with, one way or the other.
    settled: watch::Sender<usize>,
    halted: watch::Sender<bool>,
    ends_at: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Inner {
    next: usize,
    rounds: Rounds,
    again: Vec<usize>,
    random: Random,
    book: Book,
    history: History,
}

/// How often every record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rounds {
    One,
    /// Again and again, until the load is halted.
    Endless,
}

impl Load {
    /// A load that takes all records as fast as it can.
    pub(super) fn new(
        urls: Vec<String>,
        fleet: Arc<Fleet>,
        records: Arc<Records>,
        random: Random,
        history: History,
    ) -> Result<Load, ClientError> {
        let inner = Inner { next: 0, rounds: Rounds::One, again: Vec::new(), random, book: Book::default(), history };
        Ok(Load {
            fleet,
            records,
            client: Client::new(urls)?.with_timeout(ANSWER_TIMEOUT),
            inner: Mutex::new(inner),
            gate: watch::Sender::new(usize::MAX),
            settled: watch::Sender::new(0),
            halted: watch::Sender::new(false),
            ends_at: Mutex::new(None),
        })
    }

    /// Starts so many clients; they end when there is nothing left to take, or when the load is halted.
    pub(super) fn start(self: &Arc<Self>, clients: usize) -> JoinSet<()> {
        self.halted.send_replace(false);
        let mut running = JoinSet::new();
        for _ in 0..clients {
            let load = Arc::clone(self);
            running.spawn(async move {
                while let Some(record) = load.take().await {
                    load.put(record).await;
                }
            });
        }
        running
    }

    /// No record is taken after this instant.
    pub(super) fn end_at(&self, instant: Instant) {
        *self.ends_at.lock().expect("held for this statement only") = Some(instant);
    }

    /// Holds back records from this number on, until the gate is moved.
    pub(super) fn set_gate(&self, record: usize) {
        self.gate.send_replace(record);
    }

    /// Takes no more records, and tries none again.
    pub(super) fn halt(&self) {
        self.halted.send_replace(true);
    }

    /// Puts what is not acknowledged back, to be tried again by the next clients.
    pub(super) fn take_up_again(&self) {
        let mut inner = self.inner();
        let open = inner.book.tried().into_iter().filter(|(_, state)| *state != State::Acknowledged);
        inner.again = open.map(|(record, _)| record).collect();
    }

    /// Writes the records again and again from here on, each with the value it has.
    pub(super) fn go_round(&self) {
        self.inner().rounds = Rounds::Endless;
    }

    /// Returns when so many records are done with.
    pub(super) async fn until_settled(&self, count: usize) {
        // The sender is in `self`.
        let _ = self.settled.subscribe().wait_for(|settled| *settled >= count).await;
    }

    /// Notes what the scenario does.
    pub(super) fn event(&self, at_ms: u64, what: &str) {
        self.inner().history.event(at_ms, what);
    }

    /// These nodes are being killed: nobody is sent there any more, and failures are timed from now.
    pub(super) fn killed(&self, nodes: &[usize]) {
        nodes.iter().for_each(|node| self.fleet.killed(*node));
        self.inner().book.killed(self.fleet.now_ms());
    }

    /// Looks into the accounts.
    pub(super) fn with_book<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.inner().book)
    }

    async fn take(&self) -> Option<usize> {
        let (mut gate, mut halted) = (self.gate.subscribe(), self.halted.subscribe());
        loop {
            let over =
                self.ends_at.lock().expect("held for this statement only").is_some_and(|end| Instant::now() >= end);
            if *halted.borrow_and_update() || over {
                return None;
            }
            {
                let mut inner = self.inner();
                if let Some(record) = inner.again.pop() {
                    return Some(record);
                }
                if inner.next >= self.records.count() && inner.rounds == Rounds::Endless {
                    inner.next = 0;
                }
                if inner.next >= self.records.count() {
                    return None;
                }
                if inner.next < *gate.borrow_and_update() {
                    inner.next += 1;
                    return Some(inner.next - 1);
                }
            }
            tokio::select! {
                _ = gate.changed() => {}
                _ = halted.changed() => {}
            }
        }
    }

    async fn put(&self, number: usize) {
        let Some(record) = self.records.get(number) else { return };
        let (begun, mut attempts, mut doubt) = (Instant::now(), 0u64, Doubt::NothingWritten);
        let outcome = loop {
            let Some(mark) = self.choose() else { break Err(doubt) };
            attempts += 1;
            match self.attempt(number, &record, mark).await {
                Ok(latency_us) => break Ok(latency_us),
                Err((class, this)) => {
                    doubt = doubt.max(this);
                    if *self.halted.borrow() {
                        break Err(doubt);
                    }
                    if class == Class::Rejected || begun.elapsed() >= GIVE_UP_AFTER {
                        self.inner().book.given_up += 1;
                        break Err(doubt);
                    }
                    if class == Class::NotWritten {
                        tokio::time::sleep(RETRY_PAUSE).await;
                    }
                }
            }
        };
        {
            let mut inner = self.inner();
            inner.book.retried += u64::from(attempts > 1);
            inner.book.settle(number, outcome);
        }
        self.settled.send_modify(|settled| *settled += 1);
    }

    fn choose(&self) -> Option<Mark> {
        self.fleet.choose(&mut self.inner().random)
    }

    async fn attempt(&self, number: usize, record: &Record, mark: Mark) -> Result<u32, (Class, Doubt)> {
        {
            let mut inner = self.inner();
            inner.book.attempts += 1;
            inner.history.sending(self.fleet.now_ms(), number, mark.node);
        }
        let begun = Instant::now();
        let result = self.client.send(Request::put(&record.key, record.value.clone()).at(mark.node)).await;
        let latency_us = begun.elapsed().as_micros() as u32;
        let (seen, at_ms) = (Seen::of(&result), self.fleet.now_ms());
        let fate = match seen {
            Seen::Status(_) => Fate::Lived,
            Seen::LostAt(node) => self.fleet.fate_passed_on(mark, node),
            Seen::Unreachable | Seen::NoAnswer => self.fleet.fate(mark),
        };
        let mut inner = self.inner();
        inner.history.came(at_ms, number, mark.node, seen);
        match classify(seen, fate) {
            Outcome::Acknowledged => Ok(latency_us),
            Outcome::Failed(class, doubt) => {
                let node = format!("node{}", mark.node + 1);
                inner.book.failed(class, at_ms, node, told(&result), number);
                Err((class, doubt))
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("held only within this file, where nothing panics while it is")
    }
}

fn told(result: &Result<Answer, ClientError>) -> String {
    match result {
        Ok(answer) => {
            let body = String::from_utf8_lossy(&answer.body);
            format!("{} {}", answer.status.as_u16(), body.chars().take(MAX_TOLD_CHARACTERS).collect::<String>())
        }
        Err(error) => error.to_string(),
    }
}
