//! The run: stage after stage over the same connections.

use super::book::{Book, Ending, Kind};
use super::connection::Connection;
use super::keys::Keys;
use super::operation::Operation;
use super::plan::{Load, Plan, Role, Stage, StagePace};
use super::progress;
use super::report::StageReport;
use super::supply::{Pace, Supply};
use super::tally::Tally;
use super::target::Target;
use super::usage::{Processes, Usage};
use super::value::Values;
use crate::base::Random;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;
use tokio::task::{JoinHandle, spawn_local};

/// What all connections share in one stage. One thread runs them all.
pub(super) struct Shared {
    pub(super) load: Load,
    pub(super) stage: Stage,
    pub(super) target: Rc<Target>,
    pub(super) values: Rc<Values>,
    pub(super) keys: RefCell<Keys>,
    pub(super) tally: RefCell<Tally>,
    book: Option<Rc<RefCell<Book>>>,
}

/// Everything that outlives a stage.
pub(super) struct Run {
    load: Load,
    target: Rc<Target>,
    values: Rc<Values>,
    connections: Vec<Connection>,
    book: Option<Rc<RefCell<Book>>>,
    keys: u64,
    /// Requests a second that the last closed stage reached.
    peak: f64,
    servers: Processes,
}

/// Is every acknowledged write looked for in the end?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verify {
    No,
    Yes,
}

impl Shared {
    /// A number for a write that begins.
    pub(super) fn begin(&self, key: u64, kind: Kind) -> u64 {
        self.book.as_ref().map_or(0, |book| book.borrow_mut().begin(key, kind))
    }

    /// A write has ended.
    pub(super) fn end(&self, key: u64, (write, began): (u64, Instant), ending: Ending) {
        if let Some(book) = &self.book {
            book.borrow_mut().end(key, write, (began, Instant::now()), ending);
        }
    }

    pub(super) fn wants_context(&self) -> bool {
        self.stage.mix.has(Operation::ReadModifyWrite)
    }
}

impl Run {
    pub(super) fn new(load: Load, target: Target, verify: Verify) -> Run {
        let mut random = Random::from_seed(load.seed);
        let values = Rc::new(Values::new(load.sizes, &mut random));
        let nodes = target.nodes.len();
        let connections = (0..load.connections).map(|index| Connection::new(index, nodes, random.fork())).collect();
        let servers = Processes::listening_at(&target.addresses());
        let book = (verify == Verify::Yes).then(Rc::default);
        let keys = load.keys;
        Run { load, target: Rc::new(target), values, connections, book, keys, peak: 0.0, servers }
    }

    /// How many of the nodes' processes can be watched.
    pub(super) fn servers(&self) -> usize {
        self.servers.len()
    }

    /// Runs all stages; needs a `LocalSet`.
    pub(super) async fn stages(&mut self, plan: &Plan) -> Result<Vec<StageReport>, String> {
        let mut reports = Vec::new();
        for stage in &plan.stages {
            let report = self.stage(stage).await?;
            if stage.role == Role::Measure {
                reports.push(report);
            }
        }
        Ok(reports)
    }

    async fn stage(&mut self, stage: &Stage) -> Result<StageReport, String> {
        let pace = match stage.pace {
            StagePace::Fixed(pace) => pace,
            StagePace::ShareOfPeak(share) => Pace::Open { per_second: (self.peak * share).max(1.0) },
        };
        let shared = Rc::new(Shared {
            load: self.load.clone(),
            stage: stage.clone(),
            target: Rc::clone(&self.target),
            values: Rc::clone(&self.values),
            keys: RefCell::new(Keys::new(stage.distribution, self.keys)),
            tally: RefCell::default(),
            book: self.book.clone(),
        });
        let before = (self.servers.usage(), Processes::own().usage());
        let supply = Rc::new(Supply::new(pace, stage.length));
        let running = self.start(&shared, &supply);
        let watcher = spawn_local(progress::watch(Rc::clone(&shared), Rc::clone(&supply)));
        supply.keep_time().map_err(|error| format!("the timekeeper's thread: {error}"))?;
        for connection in running {
            self.connections.push(connection.await.map_err(|error| format!("a connection's task: {error}"))?);
        }
        let elapsed = supply.began().elapsed();
        watcher.abort();
        self.keys = shared.keys.borrow().count();
        let after = (self.servers.usage(), Processes::own().usage());
        let report = StageReport::new(&shared, pace, elapsed, &Used { before, after, servers: self.servers.len() });
        if pace == Pace::Closed && stage.role == Role::Measure {
            self.peak = report.per_second;
        }
        progress::ended(&report);
        Ok(report)
    }

    fn start(&mut self, shared: &Rc<Shared>, supply: &Rc<Supply>) -> Vec<JoinHandle<Connection>> {
        let connections = self.connections.drain(..);
        let run = |connection: Connection| {
            let (shared, supply) = (Rc::clone(shared), Rc::clone(supply));
            spawn_local(async move { connection.run(&shared, &supply).await })
        };
        connections.map(run).collect()
    }

    /// What was acknowledged, if it is to be verified.
    pub(super) fn into_book(self) -> Option<Book> {
        self.book.map(|book| book.take())
    }
}

/// What was used, before and after.
pub(super) struct Used {
    before: (Usage, Usage),
    after: (Usage, Usage),
    servers: usize,
}

impl Used {
    /// Processor seconds of all nodes; none if they cannot be seen.
    pub(super) fn server_cpu_seconds(&self) -> Option<f64> {
        (self.servers > 0).then_some(self.after.0.cpu_seconds - self.before.0.cpu_seconds)
    }

    /// Processor seconds of this program.
    pub(super) fn own_cpu_seconds(&self) -> f64 {
        self.after.1.cpu_seconds - self.before.1.cpu_seconds
    }

    /// Anonymous memory of all nodes at the end.
    pub(super) fn server_anonymous_bytes(&self) -> Option<u64> {
        (self.servers > 0).then_some(self.after.0.anonymous_bytes)
    }
}
