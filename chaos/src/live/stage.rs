//! A cluster under load, and what scenarios do with it.

use super::book::State;
use super::cluster::{Cluster, find_binary};
use super::convergence::{CONVERGENCE_LIMIT, until_converged};
use super::fleet::Fleet;
use super::history::History;
use super::input::Records;
use super::load::Load;
use super::options::Live;
use super::probe::Probe;
use super::report::{Event, InputReport, Report, RotReport};
use super::rot::{Rot, SEGMENT_BYTES, rot};
use super::scenario::Scenario;
use super::verify::{Of, read_back};
use super::watch::Watch;
use dunlin::base::Random;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How long nodes may take to be ready and to see each other, recovery included.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// Between two looks whether they are.
const READY_INTERVAL: Duration = Duration::from_millis(50);

/// Starts of one node before it is given up. Another process may take its port while it is away.
const MAX_STARTS: u32 = 3;

/// Records of a run that ends by time: more than any machine writes in its longest run.
const ENDLESS_RECORDS: usize = 100_000_000;

/// Everything of one run. The nodes end with it.
pub(super) struct Stage {
    pub(super) cluster: Cluster,
    pub(super) load: Arc<Load>,
    pub(super) watch: Watch,
    pub(super) random: Random,
    pub(super) report: Report,
    options: Live,
    /// Every node that was killed so far.
    killed: BTreeSet<String>,
    probe: Arc<Probe>,
    clients: JoinSet<()>,
    load_began: Option<Instant>,
    load_seconds: f64,
}

/// A point of the load: a part of its records, or of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part(pub(super) u32, pub(super) u32);

impl Stage {
    /// Makes a cluster, and waits until it can be used.
    pub(super) async fn set(options: &Live) -> Result<Stage, String> {
        let seed = options.seed.unwrap_or(0);
        let binary = find_binary(options.binary.as_deref())?;
        let records = records(options, seed)?;
        let mut random = Random::from_seed(seed);
        let (nodes, more) = (options.nodes as usize, options.scenario.more_nodes());
        let cluster = Cluster::make(&binary, nodes, more, options.keeping())?;
        let history = History::create(&cluster.directory().join("history.ndjson"))?;
        let fleet = Arc::new(Fleet::new(nodes, more));
        let load = Load::new(cluster.urls(), fleet, Arc::new(records), random.fork(), history);
        let load = Arc::new(load.map_err(|error| error.to_string())?);
        let probe = Arc::new(Probe::new(cluster.urls()).map_err(|error| error.to_string())?);
        let report = opened_report(options, &cluster, &load.records);
        let watch = Watch::start(Arc::clone(&load), Arc::clone(&probe));
        let mut stage = Stage {
            cluster,
            load,
            watch,
            random,
            report,
            options: options.clone(),
            killed: BTreeSet::new(),
            probe,
            clients: JoinSet::new(),
            load_began: None,
            load_seconds: 0.0,
        };
        if options.scenario == Scenario::Rot {
            stage.cluster.nodes.iter_mut().for_each(|node| node.set("DUNLIN_STORAGE_SEGMENT_BYTES", SEGMENT_BYTES));
        }
        stage.cluster.start_all()?;
        stage.until_ready().await?;
        Ok(stage)
    }

    /// Starts the clients. By time, they write for this part of the duration.
    pub(super) fn start_load(&mut self, part: Part) {
        if let Some(duration) = self.options.duration {
            self.load.end_at(Instant::now() + part.of(duration));
        }
        self.load_began = Some(Instant::now());
        self.clients = self.load.start(self.options.connections as usize);
    }

    /// Returns when the load is so far.
    pub(super) async fn until(&self, part: Part) {
        match (self.options.duration, self.load_began) {
            (Some(duration), Some(began)) => tokio::time::sleep_until((began + part.of(duration)).into()).await,
            _ => self.load.until_settled(self.record_at(part)).await,
        }
    }

    /// Lets the load go no further than this, until the gate is opened. Not if it ends by time.
    pub(super) fn close_gate(&self, part: Part) {
        if self.options.duration.is_none() {
            self.load.set_gate(self.record_at(part));
        }
    }

    /// Lets the load go on to its end.
    pub(super) fn open_gate(&self) {
        self.load.set_gate(usize::MAX);
    }

    /// Returns when all clients have ended.
    pub(super) async fn end_load(&mut self) {
        while self.clients.join_next().await.is_some() {}
        self.load_seconds += self.load_began.take().map_or(0.0, |began| began.elapsed().as_secs_f64());
        let seconds = self.load_seconds;
        self.load.with_book(|book| self.report.set_load(book, seconds));
    }

    /// SIGKILL to these nodes, at once.
    pub(super) fn kill(&mut self, nodes: &[usize]) -> Result<(), String> {
        self.load.killed(nodes);
        let names: Vec<String> = nodes.iter().map(|node| self.cluster.nodes[*node].name.clone()).collect();
        self.tell(&format!("SIGKILL of {}", names.join(", ")));
        self.killed.extend(names);
        self.cluster.kill(nodes)
    }

    /// Starts these nodes again, without waiting until they are ready. Returns when that was, in the run's time.
    pub(super) fn restart(&mut self, nodes: &[usize]) -> Result<u64, String> {
        let names: Vec<String> = nodes.iter().map(|node| self.cluster.nodes[*node].name.clone()).collect();
        let at_ms = self.tell(&format!("restart of {}", names.join(", ")));
        nodes.iter().for_each(|node| self.load.fleet.restarted(*node));
        nodes.iter().try_for_each(|node| self.cluster.nodes[*node].start())?;
        Ok(at_ms)
    }

    /// Returns once all nodes are ready and see each other.
    pub(super) async fn until_ready(&mut self) -> Result<(), String> {
        let (begun, mut starts) = (Instant::now(), 1);
        loop {
            if let Some(words) = self.cluster.ended().into_iter().next() {
                starts += 1;
                if starts > MAX_STARTS || !words.contains("cannot listen") {
                    return Err(words);
                }
                self.cluster.nodes.iter_mut().try_for_each(|node| node.start_if_ended())?;
            }
            match self.not_ready().await {
                None => break,
                Some(why) if begun.elapsed() >= READY_LIMIT => {
                    return Err(format!("not ready after {} s: {why}", READY_LIMIT.as_secs()));
                }
                Some(_) => sleep(READY_INTERVAL).await,
            }
        }
        (0..self.cluster.nodes.len()).for_each(|node| self.load.fleet.returned(node));
        let (nodes, took_ms) = (self.cluster.nodes.len(), begun.elapsed().as_millis());
        self.tell(&format!("{nodes} nodes ready after {took_ms} ms"));
        Ok(())
    }

    async fn not_ready(&self) -> Option<String> {
        let nodes = self.cluster.nodes.len();
        for (node, process) in self.cluster.nodes.iter().enumerate() {
            let seen = async {
                self.probe.ready(node).await?;
                let alive = self.probe.cluster(node).await?.alive();
                if alive == nodes { Ok(()) } else { Err(format!("sees {alive} of {nodes} nodes alive")) }
            };
            if let Err(why) = seen.await {
                return Some(format!("{}: {why}", process.name));
            }
        }
        None
    }

    /// Waits until no hint is left anywhere; reports how long after `since_ms` that was.
    pub(super) async fn until_no_hints(&mut self, since_ms: u64) {
        let found = self.watch.until(CONVERGENCE_LIMIT, |hints| hints.now == Some(0)).await;
        let none_since_ms = found.and_then(|hints| hints.none_since_ms);
        let took_ms = none_since_ms.map(|at_ms| at_ms.saturating_sub(since_ms));
        self.report.hints.none_after_ms = took_ms;
        self.tell(&took_ms.map_or("hints remain".into(), |ms| format!("no hint from {ms} ms after the restart on")));
    }

    /// Waits until replicas are equal.
    pub(super) async fn until_converged(&mut self) {
        let names: Vec<String> = self.cluster.nodes.iter().map(|node| node.name.clone()).collect();
        let found = until_converged(&self.probe, &names).await;
        match &found {
            Ok(found) => self.tell(&format!("replicas equal after {} ms, {} keys", found.ms, found.keys)),
            Err(difference) => self.tell(difference),
        };
        self.report.add_convergence(found);
    }

    /// Changes bytes of a node's sealed segments while it runs. Returns when, in the run's time.
    pub(super) fn rot(&mut self, node: usize) -> Result<u64, String> {
        let data = self.cluster.nodes[node].data();
        let Rot { segments, bytes } = rot(&data, &mut self.random).map_err(|error| error.to_string())?;
        let name = self.cluster.nodes[node].name.clone();
        let at_ms = self.tell(&format!("{bytes} bytes changed in {segments} sealed segments of {name}"));
        let before = self.report.rot.unwrap_or_default();
        let (segments, bytes) = (before.segments + segments, before.bytes + bytes);
        self.report.rot = Some(RotReport { segments, bytes, ..before });
        Ok(at_ms)
    }

    /// Waits until the node has repaired all that it has found.
    pub(super) async fn until_repaired(&mut self, node: usize) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let damaged = self.probe.metric(node, "dunlin_damaged_records_total").await?;
            let repaired = self.probe.metric(node, "dunlin_repaired_records_total").await?;
            let done = damaged > 0 && damaged == repaired;
            let took_ms = begun.elapsed().as_millis() as u64;
            let rot = self.report.rot.get_or_insert_default();
            (rot.damaged, rot.repaired, rot.repaired_after_ms) = (damaged, repaired, done.then_some(took_ms));
            if done || begun.elapsed() >= CONVERGENCE_LIMIT {
                self.tell(&format!("{repaired} of {damaged} damaged records repaired after {took_ms} ms"));
                return Ok(());
            }
            sleep(READY_INTERVAL).await;
        }
    }

    /// Reads everything that was tried through every node from all replicas, except these records.
    pub(super) async fn read_back(&mut self, except: &BTreeSet<usize>) -> Result<(), String> {
        self.read_from(self.cluster.replicas, except).await
    }

    /// Reads everything that was tried through every node from a majority: while a replica fills, there are no more.
    pub(super) async fn read_from_majority(&mut self) -> Result<(), String> {
        self.read_from(self.cluster.replicas / 2 + 1, &BTreeSet::new()).await
    }

    async fn read_from(&mut self, required: usize, except: &BTreeSet<usize>) -> Result<(), String> {
        let tried = self.load.with_book(|book| book.tried());
        let tried: Vec<(usize, State)> = tried.into_iter().filter(|(record, _)| !except.contains(record)).collect();
        let expected = (tried.len() * self.cluster.nodes.len()) as u64;
        let (fleet, records) = (Arc::clone(&self.load.fleet), Arc::clone(&self.load.records));
        let (of, clients) = (Of { required, replicas: self.cluster.replicas }, self.options.connections as usize);
        let reading = read_back(self.cluster.urls(), fleet, records, tried, of, clients).await;
        let reading = reading.map_err(|error| error.to_string())?;
        self.tell(&format!("{} reads in {:.1} s, {} wrong", reading.reads, reading.seconds, reading.violations));
        self.report.add_reading(reading, expected);
        Ok(())
    }

    /// Tells of each failure at a living node who the primaries were, and counts those that the node asked
    /// had to pass on, and may have passed on to a killed one.
    async fn name_primaries(&mut self) {
        let failures = &mut self.report.failures;
        for failure in failures.told.iter_mut().filter(|failure| !failure.class.excused()) {
            let key = self.load.records.get(failure.record).map(|record| record.key).unwrap_or_default();
            failure.primaries = self.probe.primaries(&key).await.unwrap_or_default();
            let passed_on = !failure.primaries.contains(&failure.node);
            let to_killed = failure.primaries.iter().any(|primary| self.killed.contains(primary));
            failures.passed_on += u64::from(passed_on && to_killed);
        }
    }

    /// The report, with what the nodes' processes have to say.
    pub(super) async fn close(mut self) -> Report {
        self.name_primaries().await;
        self.report.violations.extend(self.cluster.ended());
        self.report.violations.extend(self.cluster.nodes.iter().flat_map(|node| node.panics()));
        let judged = super::verdict::judge(&self.report, self.options.strictness());
        self.report.violations.extend(judged);
        self.report.conclude();
        if !self.report.held() {
            self.cluster.keep();
        }
        self.report
    }

    /// For questions to the nodes.
    pub(super) fn probe(&self) -> &Probe {
        &self.probe
    }

    /// Notes what happened, and returns when.
    pub(super) fn tell(&mut self, what: &str) -> u64 {
        let at_ms = self.load.fleet.now_ms();
        self.load.event(at_ms, what);
        self.report.events.push(Event { at_ms, what: what.into() });
        eprintln!("chaos: {:6.1} s  {what}", at_ms as f64 / 1e3);
        at_ms
    }

    fn record_at(&self, part: Part) -> usize {
        let count = self.load.records.count() as u64;
        (count * u64::from(part.0)).div_ceil(u64::from(part.1)) as usize
    }
}

impl Part {
    /// All of it.
    pub(super) const WHOLE: Part = Part(1, 1);

    fn of(self, duration: Duration) -> Duration {
        duration * self.0 / self.1
    }
}

fn records(options: &Live, seed: u64) -> Result<Records, String> {
    match (&options.input, options.duration) {
        (Some(path), _) => Records::read(path),
        (None, Some(_)) => Ok(Records::Generated { seed, count: ENDLESS_RECORDS }),
        (None, None) => Ok(Records::Generated { seed, count: options.generated() }),
    }
}

fn opened_report(options: &Live, cluster: &Cluster, records: &Records) -> Report {
    let from = options.input.as_ref().map_or("generated".into(), |path| path.display().to_string());
    let counted = options.duration.is_none().then(|| records.count());
    let mut report = Report {
        scenario: options.scenario.to_string(),
        seed: options.seed.unwrap_or(0),
        nodes: cluster.nodes.len(),
        replicas: cluster.replicas,
        connections: options.connections as usize,
        input: InputReport { from, records: counted, ..InputReport::default() },
        replay: options.replay(),
        ..Report::default()
    };
    report.set_skipped(records.skipped());
    report
}
