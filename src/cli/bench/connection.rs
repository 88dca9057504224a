//! One connection's worth of load.

use super::book::{Ending, Kind};
use super::operation::Operation;
use super::plan::Role;
use super::run::Shared;
use super::supply::{Supply, Ticket, Waited};
use super::tally::Outcome;
use super::value::Mark;
use crate::base::Random;
use crate::client::Lane;
use std::io::Write;
use std::time::{Duration, Instant};

/// After a connection could not be made: a node that is starting again is not to be flooded.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// A request after the other, over one connection to each node that it talks to.
pub(super) struct Connection {
    index: usize,
    random: Random,
    lanes: Vec<Option<Lane>>,
    request: Vec<u8>,
    key: Vec<u8>,
}

/// What came back.
struct Answer {
    status: u16,
    context: Option<String>,
}

/// Why no answer came.
enum Failed {
    /// The request was never sent.
    NotSent(String),
    /// It was sent; what became of it is unknown.
    Unknown(String),
}

/// How a request is told.
#[derive(Debug, Clone, Copy)]
enum Method {
    Get,
    Put { bytes: usize, mark: Mark },
    Delete,
}

impl Connection {
    pub(super) fn new(index: usize, nodes: usize, mut random: Random) -> Connection {
        let lanes = (0..nodes).map(|_| None).collect();
        Connection { index, random: random.fork(), lanes, request: Vec::new(), key: Vec::new() }
    }

    /// Sends what is due until nothing is any more.
    pub(super) async fn run(mut self, shared: &Shared, supply: &Supply) -> Connection {
        while let Some(ticket) = supply.next().await {
            if ticket.waited == Waited::Connection {
                shared.tally.borrow_mut().late(ticket.due.elapsed());
            }
            let operation = shared.stage.mix.draw(&mut self.random);
            let key = self.choose(shared, operation, ticket);
            let outcome = self.perform(shared, operation, key).await;
            let failed = matches!(outcome, Outcome::Failed(_));
            shared.tally.borrow_mut().record(operation, ticket.due.elapsed(), outcome);
            if failed && self.lanes.iter().all(Option::is_none) {
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
        }
        self
    }

    fn choose(&mut self, shared: &Shared, operation: Operation, ticket: Ticket) -> u64 {
        match (shared.stage.role, operation) {
            (Role::Prepare, _) => ticket.number,
            (_, Operation::Insert) => shared.keys.borrow_mut().insert(),
            _ => shared.keys.borrow().draw(&mut self.random),
        }
    }

    async fn perform(&mut self, shared: &Shared, operation: Operation, key: u64) -> Outcome {
        match operation {
            Operation::Read => read_outcome(self.exchange(shared, key, Method::Get, None).await),
            Operation::Update | Operation::Insert => self.put(shared, key, None).await,
            Operation::Delete => self.delete(shared, key).await,
            Operation::Scan => self.scan(shared, key).await,
            Operation::ReadModifyWrite => match self.exchange(shared, key, Method::Get, None).await {
                Ok(Answer { status: 200 | 404 | 409, context, .. }) => self.put(shared, key, context).await,
                other => read_outcome(other),
            },
        }
    }

    async fn put(&mut self, shared: &Shared, key: u64, context: Option<String>) -> Outcome {
        let write = shared.begin(key, Kind::Value);
        let bytes = shared.values.draw_bytes(&mut self.random);
        let (began, method) = (Instant::now(), Method::Put { bytes, mark: Mark { write, key } });
        let answer = self.exchange(shared, key, method, context.as_deref()).await;
        write_outcome(shared, key, (write, began), answer)
    }

    async fn delete(&mut self, shared: &Shared, key: u64) -> Outcome {
        let (write, began) = (shared.begin(key, Kind::Delete), Instant::now());
        let answer = self.exchange(shared, key, Method::Delete, None).await;
        write_outcome(shared, key, (write, began), answer)
    }

    async fn scan(&mut self, shared: &Shared, key: u64) -> Outcome {
        let (start, limit) = (key_text(key), shared.load.scan_length);
        let node = self.index % self.lanes.len().max(1);
        let host = shared.target.nodes.get(node).map(|node| node.host.clone()).unwrap_or_default();
        self.request.clear();
        // Writing to memory cannot fail.
        let _ = write!(self.request, "GET /kv?start={start}&limit={limit} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        match self.send(shared, node).await {
            Ok(Answer { status: 200, .. }) => Outcome::Done,
            Ok(answer) => Outcome::Failed(answer.status.to_string()),
            Err(Failed::NotSent(why) | Failed::Unknown(why)) => Outcome::Failed(why),
        }
    }

    async fn exchange(
        &mut self,
        shared: &Shared,
        key: u64,
        method: Method,
        context: Option<&str>,
    ) -> Result<Answer, Failed> {
        self.key.clear();
        self.key.extend(key_text(key).as_bytes());
        let node = shared.target.node_for(self.index, &self.key);
        let host = shared.target.nodes.get(node).map(|node| node.host.as_str()).unwrap_or_default();
        self.request.clear();
        let verb = match method {
            Method::Get => "GET",
            Method::Put { .. } => "PUT",
            Method::Delete => "DELETE",
        };
        // Writing to memory cannot fail.
        let _ = write!(self.request, "{verb} /kv/{}{} HTTP/1.1\r\nHost: {host}\r\n", key_text(key), shared.load.knobs);
        if let Some(context) = context {
            let _ = write!(self.request, "Dunlin-Context: {context}\r\n");
        }
        if let Method::Put { bytes, mark } = method {
            let _ = write!(self.request, "Content-Length: {bytes}\r\n\r\n");
            shared.values.put(&mut self.request, bytes, mark, &mut self.random);
        } else {
            self.request.extend(b"\r\n");
        }
        self.send(shared, node).await
    }

    /// Sends the request that is ready, once. A connection that failed is made anew for the next one.
    async fn send(&mut self, shared: &Shared, node: usize) -> Result<Answer, Failed> {
        let Some((slot, target)) = self.lanes.get_mut(node).zip(shared.target.nodes.get(node)) else {
            return Err(Failed::NotSent("no such node".into()));
        };
        let mut lane = match slot.take().filter(Lane::is_open) {
            Some(lane) => lane,
            None => {
                let connecting = tokio::time::timeout(shared.load.timeout, Lane::connect(target.address));
                let connected = connecting.await.map_err(|_| Failed::NotSent("timeout of connecting".into()))?;
                connected.map_err(|error| Failed::NotSent(format!("connecting: {}", error.kind())))?
            }
        };
        let answered = tokio::time::timeout(shared.load.timeout, lane.exchange(&self.request)).await;
        let answer = answered.map_err(|_| Failed::Unknown("timeout".into()))?;
        let answer = answer.map_err(|error| Failed::Unknown(format!("broken: {}", error.kind())))?;
        let status = answer.status;
        let context = shared.wants_context().then(|| answer.context.map(str::to_owned)).flatten();
        *slot = Some(lane);
        Ok(Answer { status, context })
    }
}

/// The key of a number: sixteen bytes.
pub(super) fn key_text(key: u64) -> String {
    format!("key{key:013}")
}

fn read_outcome(answer: Result<Answer, Failed>) -> Outcome {
    match answer {
        Ok(Answer { status: 200, .. }) => Outcome::Done,
        Ok(Answer { status: 404, .. }) => Outcome::Miss,
        Ok(Answer { status: 409, .. }) => Outcome::Siblings,
        Ok(answer) => Outcome::Failed(answer.status.to_string()),
        Err(Failed::NotSent(why) | Failed::Unknown(why)) => Outcome::Failed(why),
    }
}

fn write_outcome(shared: &Shared, key: u64, write: (u64, Instant), answer: Result<Answer, Failed>) -> Outcome {
    let (ending, outcome) = match answer {
        Ok(Answer { status: 200 | 201 | 204, .. }) => (Ending::Acknowledged, Outcome::Done),
        // 504: in doubt. A server's other failures too, unless it says that nothing was written.
        Ok(answer @ Answer { status: 500 | 502 | 504, .. }) => {
            (Ending::InDoubt, Outcome::Failed(answer.status.to_string()))
        }
        Ok(answer) => (Ending::Refused, Outcome::Failed(answer.status.to_string())),
        Err(Failed::NotSent(why)) => (Ending::Refused, Outcome::Failed(why)),
        Err(Failed::Unknown(why)) => (Ending::InDoubt, Outcome::Failed(why)),
    };
    shared.end(key, write, ending);
    outcome
}
