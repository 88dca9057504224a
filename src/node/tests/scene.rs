//! A few nodes wired by hand. Nothing moves by itself: a test says which log flushes, which letters arrive
//! and when time passes.

use crate::base::{ClusterId, Key, NodeId, Now, Time, WallTime};
use crate::causal::{Actor, DotSet, entry_hash};
use crate::node::{
    Effect, Input, LiveLayouts, Node, NodeOptions, NodeStatus, Notice, PartitionReport, PeerState, StoreAnswer,
    Timings, View,
};
use crate::replication::{
    Command, Condition, Failure, ListCommand, Message, NewContent, Operation, Options, Outcome, WriteResult,
};
use crate::ring::{Layout, LayoutNode, PartitionId, Partitioning};
use crate::store::{
    Birth, Body, CodecOptions, Durability, Holder, KeyPage, KeyQuery, LostRecord, MemoryDisk, Moved, OpenOptions,
    Opened, Opening, PartitionTable, Place, Published, Reach, Reader, Record, Recovered, Sequence, open,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Exchanges happen when a test says so: [`Scene::exchange`].
const EXCHANGE_INTERVAL: Duration = Duration::from_secs(3600);

/// The one partition of a scene.
pub(super) const PARTITION: PartitionId = PartitionId(0);

/// The one segment of a scene's logs.
const SEGMENT: u32 = u32::MAX;

/// Nodes with their logs, the letters between them, and the answers to clients.
pub(super) struct Scene {
    layout: Arc<Layout>,
    stations: BTreeMap<NodeId, Station>,
    post: Vec<Letter>,
    answers: BTreeMap<u64, Vec<Outcome>>,
    now: Now,
    next_request: u64,
    generation: u64,
    shards: BTreeMap<NodeId, usize>,
}

/// One node and its disk.
struct Station {
    node: Node,
    log: Vec<Record>,
    /// So many of the log's first records were copied and are gone.
    gone: usize,
    appends: VecDeque<(usize, u64, Record)>,
    reads: VecDeque<(usize, u64, Place)>,
    lists: VecDeque<(u64, KeyQuery, Vec<PartitionId>)>,
    reading: Reading,
    /// What was written before the last clean restart.
    stored: Option<Reader<MemoryDisk>>,
    resumed: usize,
    /// Numbers of records that the disk does not give back.
    lost: BTreeSet<usize>,
    /// New actors asked for and not given.
    renewals: usize,
    notices: Vec<Notice>,
    drained: Vec<u64>,
    filled: Vec<u64>,
    down: Vec<NodeId>,
    /// The layouts it goes by, if not the scene's own alone.
    layouts: Option<Arc<LiveLayouts>>,
}

/// When a disk answers reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    AtOnce,
    Held,
}

/// A message on its way.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) message: Message,
}

impl Scene {
    /// `nodes` nodes, N = 3 or fewer, one partition, everybody up, complete and idle.
    pub(super) fn of(nodes: u64) -> Self {
        Self::with_shards(&vec![1; nodes as usize])
    }

    /// One node for each number: so many shards it has.
    pub(super) fn with_shards(shards: &[usize]) -> Self {
        Self::new(1, shards)
    }

    /// `partitions` partitions on one node for each number of shards.
    pub(super) fn new(partitions: u32, shards: &[usize]) -> Self {
        let nodes = (1..=shards.len() as u64).map(layout_node).collect();
        let layout = Layout::first(ClusterId(1), Partitioning::new(partitions).unwrap(), 3, nodes).unwrap();
        let mut scene = Self {
            layout: Arc::new(layout),
            stations: BTreeMap::new(),
            post: Vec::new(),
            answers: BTreeMap::new(),
            now: Now { time: Time(1), wall: WallTime(1_000_000) },
            next_request: 0,
            generation: 0,
            shards: (1..).map(NodeId).zip(shards.iter().copied()).collect(),
        };
        for id in scene.shards.keys().copied().collect::<Vec<_>>() {
            scene.open(id, true);
        }
        scene.settle();
        scene
    }

    fn open(&mut self, id: NodeId, complete: bool) {
        self.open_with(id, complete, Vec::new());
    }

    fn open_with(&mut self, id: NodeId, complete: bool, log: Vec<Record>) {
        let recovered = Recovered {
            actor: Actor(id.0 * 100 + self.generation + 1),
            opening: Opening::New,
            tables: replay(&log, complete),
            hints: BTreeMap::new(),
            complete_by_default: complete,
            findings: Vec::new(),
        };
        self.start(id, recovered, log);
    }

    fn start(&mut self, id: NodeId, recovered: Recovered, log: Vec<Record>) {
        self.generation += 1;
        let options = NodeOptions {
            node: id,
            epoch: self.generation,
            shards: self.shards[&id],
            seed: self.generation,
            timings: Timings { exchange_interval: EXCHANGE_INTERVAL, ..Timings::default() },
        };
        let down = self.stations.get(&id).map(|station| station.down.clone()).unwrap_or_default();
        let layouts = self.stations.get(&id).and_then(|station| station.layouts.clone());
        let view = self.view(id, &down);
        let station = Station {
            node: Node::new(options, view, recovered),
            log,
            gone: 0,
            appends: VecDeque::new(),
            reads: VecDeque::new(),
            lists: VecDeque::new(),
            reading: Reading::AtOnce,
            stored: None,
            resumed: 0,
            lost: BTreeSet::new(),
            renewals: 0,
            notices: Vec::new(),
            drained: Vec::new(),
            filled: Vec::new(),
            down,
            layouts,
        };
        self.stations.insert(id, station);
        self.feed(id, Input::Tick);
    }

    /// The node loses its disk and process, and comes back empty, filling, under a new actor.
    pub(super) fn wipe(&mut self, id: NodeId) {
        self.open(id, false);
    }

    /// The node's process ends and it comes back with all it had durable, complete, under a new actor.
    pub(super) fn renew(&mut self, id: NodeId) {
        let log = std::mem::take(&mut self.station(id).log);
        let complete = self.is_complete(id);
        self.open_with(id, complete, log);
    }

    /// The node's process ends cleanly; its store is opened again, under the same actor.
    pub(super) fn restart(&mut self, id: NodeId) {
        let disk = Arc::new(MemoryDisk::default());
        let options = OpenOptions {
            fresh_actor: self.actor(id),
            segment_bytes: 1 << 16,
            durability: Durability::Fsync,
            boot: 1,
            birth: Birth::Complete,
            codec: CodecOptions::default(),
        };
        let mut log = open(disk.clone(), options.clone()).unwrap().log;
        log.append(&std::mem::take(&mut self.station(id).log)).unwrap();
        log.close().unwrap();
        let Opened { reader, recovered, .. } = open(disk, options).unwrap();
        self.start(id, recovered, Vec::new());
        self.station(id).stored = Some(reader);
    }

    /// The node finds its disk damaged, every record that counts intact: it comes back filling, under a new
    /// actor, and claims the dots of its live versions alone (PROTOCOL R8).
    pub(super) fn damage(&mut self, id: NodeId) {
        let mut log = std::mem::take(&mut self.station(id).log);
        let mut live: BTreeMap<Key, DotSet> = BTreeMap::new();
        for record in &log {
            if let Body::Object { key, object, .. } = &record.body {
                live.insert(key.clone(), object.versions.iter().map(|version| version.dot).collect());
            }
        }
        let mut clock = DotSet::EMPTY;
        live.values().for_each(|dots| clock.union(dots));
        log.push(Record { partition: PARTITION, body: Body::Reset { clock } });
        self.open_with(id, false, log);
    }

    fn view(&self, me: NodeId, down: &[NodeId]) -> Arc<View> {
        let state = |id: &NodeId| if down.contains(id) { PeerState::Down } else { PeerState::Up { epoch: 0 } };
        let peers = self.layout.nodes.iter().map(|node| node.id).filter(|id| *id != me);
        let layouts = self.stations.get(&me).and_then(|station| station.layouts.clone());
        Arc::new(View {
            me,
            layouts: layouts.unwrap_or_else(|| Arc::new(LiveLayouts::only(Arc::clone(&self.layout)))),
            peers: peers.map(|id| (id, state(&id))).collect(),
        })
    }

    /// The layout that follows `before` and has these nodes alone.
    pub(super) fn next_layout(&self, before: &Layout, nodes: &[NodeId]) -> Layout {
        let nodes = self.layout.nodes.iter().filter(|node| nodes.contains(&node.id)).cloned().collect();
        before.change(nodes, before.replicas).unwrap()
    }

    /// The layout that the scene begins with.
    pub(super) fn first_layout(&self) -> Arc<Layout> {
        Arc::clone(&self.layout)
    }

    /// The node's control tells it of other layouts. Their revision is counted here.
    pub(super) fn goes_by(&mut self, id: NodeId, layouts: LiveLayouts) {
        let station = self.station(id);
        let revision = station.layouts.as_ref().map_or(1, |before| before.revision) + 1;
        station.layouts = Some(Arc::new(LiveLayouts { revision, ..layouts }));
        self.show(id);
    }

    /// Versions that the node has said to be complete in.
    pub(super) fn filled(&mut self, id: NodeId) -> Vec<u64> {
        self.station(id).filled.clone()
    }

    /// The primaries, the leader first.
    pub(super) fn primaries(&self) -> [NodeId; 3] {
        self.layout.primaries(PARTITION).try_into().unwrap()
    }

    /// The fallbacks in their order.
    pub(super) fn fallbacks<const COUNT: usize>(&self) -> [NodeId; COUNT] {
        self.layout.fallbacks(PARTITION).try_into().unwrap()
    }

    /// `by` believes `node` down.
    pub(super) fn down(&mut self, by: NodeId, node: NodeId) {
        self.station(by).down.push(node);
        self.show(by);
    }

    /// `by` believes `node` up again.
    pub(super) fn up(&mut self, by: NodeId, node: NodeId) {
        self.station(by).down.retain(|down| *down != node);
        self.show(by);
    }

    fn show(&mut self, to: NodeId) {
        let down = self.station(to).down.clone();
        let view = self.view(to, &down);
        self.feed(to, Input::View(view));
    }

    /// A client asks `at`; the answer is found under the number returned.
    pub(super) fn command(&mut self, at: NodeId, command: Command) -> u64 {
        self.next_request += 1;
        let request = self.next_request;
        self.feed(at, Input::Command { request, command });
        request
    }

    /// Asks, and lets everything happen that wants to. The one answer.
    pub(super) fn ask(&mut self, at: NodeId, command: Command) -> Outcome {
        let request = self.command(at, command);
        self.settle();
        self.answer(request).expect("answered once nothing is left to do")
    }

    /// The command's answer, if it came. More than one is an error.
    pub(super) fn answer(&self, request: u64) -> Option<Outcome> {
        let answers = self.answers.get(&request)?;
        assert_eq!(answers.len(), 1, "a command is answered exactly once");
        answers.first().cloned()
    }

    /// One thing happens to one node.
    pub(super) fn feed(&mut self, at: NodeId, input: Input) {
        let mut effects = Vec::new();
        let now = self.now;
        self.station(at).node.handle(now, input, &mut effects);
        effects.into_iter().for_each(|effect| self.carry_out(at, effect));
        if self.station(at).reading == Reading::AtOnce {
            self.read(at);
            self.list(at);
        }
    }

    fn carry_out(&mut self, at: NodeId, effect: Effect) {
        let station = self.stations.get_mut(&at).unwrap();
        match effect {
            Effect::Send { to, message } => {
                self.post.extend(to.into_iter().map(|to| Letter { from: at, to, message: message.clone() }));
            }
            Effect::Append { shard, id, record } => station.appends.push_back((shard, id, record)),
            Effect::Read { shard, id, place, .. } => station.reads.push_back((shard, id, place)),
            Effect::Renew => station.renewals += 1,
            Effect::List { id, query, partitions } => station.lists.push_back((id, query, partitions)),
            Effect::Resume { .. } => station.resumed += 1,
            Effect::Answer { request, outcome } => self.answers.entry(request).or_default().push(outcome),
            Effect::Drained { revision, .. } => station.drained.push(revision),
            Effect::Filled { version, .. } => station.filled.push(version),
            Effect::Notice(notice) => station.notices.push(notice),
        }
    }

    fn station(&mut self, id: NodeId) -> &mut Station {
        self.stations.get_mut(&id).unwrap()
    }

    /// Everything the node has appended becomes durable, and what it appends meanwhile.
    pub(super) fn flush(&mut self, at: NodeId) {
        while !self.station(at).appends.is_empty() {
            self.flush_one(at);
        }
    }

    /// The oldest record the node has appended becomes durable.
    pub(super) fn flush_one(&mut self, at: NodeId) {
        let station = self.station(at);
        let Some((shard, id, record)) = station.appends.pop_front() else { return };
        station.log.push(record);
        let number = station.log.len() as u32;
        let (place, sequence) = (place(number), Sequence(number.into()));
        self.feed(at, Input::Store { shard, id, answer: StoreAnswer::Appended { place, sequence } });
    }

    /// Everything the node has appended fails, one answer each, in order, as a driver does until the
    /// shard resumes.
    pub(super) fn fail_appends(&mut self, at: NodeId) {
        let failing: Vec<_> = self.station(at).appends.drain(..).collect();
        for (shard, id, _) in failing {
            self.feed(at, Input::Store { shard, id, answer: StoreAnswer::AppendFailed });
        }
    }

    /// How often the node has told its log to go on after a failure.
    pub(super) fn resumed(&mut self, at: NodeId) -> usize {
        self.station(at).resumed
    }

    /// Records appended and not flushed.
    pub(super) fn appended(&mut self, at: NodeId) -> Vec<Record> {
        self.station(at).appends.iter().map(|(_, _, record)| record.clone()).collect()
    }

    /// From here on the node's reads wait for [`Scene::read`].
    pub(super) fn hold_reads(&mut self, at: NodeId) {
        self.station(at).reading = Reading::Held;
    }

    /// The disk answers every read the node has asked for.
    pub(super) fn read(&mut self, at: NodeId) {
        while let Some((shard, id, place)) = self.station(at).reads.pop_front() {
            let station = self.station(at);
            let number = place.offset as usize / 8 - 1;
            let there = number >= station.gone && !station.lost.contains(&number);
            let record = match &station.stored {
                Some(reader) if place.segment != SEGMENT => reader.read(place).ok(),
                _ => station.log.get(number).filter(|_| there).cloned(),
            };
            let answer = match record {
                Some(record) => StoreAnswer::Read(Arc::new(record)),
                None => StoreAnswer::ReadFailed,
            };
            self.feed(at, Input::Store { shard, id, answer });
        }
    }

    /// The newest record of a key cannot be read from now on; nobody knows yet.
    pub(super) fn lose_record(&mut self, at: NodeId, key: &str) -> LostRecord {
        let station = self.station(at);
        let newest = station
            .log
            .iter()
            .rposition(|record| record.body.slot_key().is_some_and(|k| k.as_bytes() == key.as_bytes()));
        let number = newest.expect("the key has a record");
        station.lost.insert(number);
        let Record { partition, body } = &station.log[number];
        let Body::Object { key, object, .. } = body else { panic!("it has a slot key") };
        let (holder, entry_hash) = (Holder::Key(key.clone()), entry_hash(key, &object.versions));
        LostRecord { partition: *partition, holder, place: place(number as u32 + 1), entry_hash }
    }

    /// The one hint the node holds cannot be read from now on.
    pub(super) fn lose_hint(&mut self, at: NodeId) -> LostRecord {
        let station = self.station(at);
        let number = station.log.iter().rposition(|record| matches!(record.body, Body::Hint(_))).expect("it holds one");
        station.lost.insert(number);
        let (holder, place) = (Holder::Hint(Sequence(number as u64 + 1)), place(number as u32 + 1));
        LostRecord { partition: station.log[number].partition, holder, place, entry_hash: 0 }
    }

    /// The new actor that the node waits for.
    pub(super) fn give_actor(&mut self, at: NodeId, actor: Actor) {
        assert_eq!(std::mem::take(&mut self.station(at).renewals), 1, "asked for once");
        self.feed(at, Input::Renewed { actor });
    }

    /// Does this record still count at the node?
    pub(super) fn is_current(&mut self, at: NodeId, lost: &LostRecord) -> bool {
        self.station(at).node.is_current(lost.partition, &lost.holder, lost.place)
    }

    /// What the node's log alone gives back: the keys of an opening that trusts it.
    pub(super) fn replayed(&mut self, at: NodeId) -> PartitionTable {
        replay(&self.station(at).log, true).remove(&PARTITION).unwrap_or_default()
    }

    /// The store answers every listing the node has asked for.
    pub(super) fn list(&mut self, at: NodeId) {
        while let Some((id, query, partitions)) = self.station(at).lists.pop_front() {
            let page = page_of(&self.station(at).log, &query, &partitions);
            self.feed(at, Input::Listed { id, page: Some(page) });
        }
    }

    /// The store cannot list its keys.
    pub(super) fn fail_lists(&mut self, at: NodeId) {
        while let Some((id, ..)) = self.station(at).lists.pop_front() {
            self.feed(at, Input::Listed { id, page: None });
        }
    }

    /// A client asks `at` for a page; the answer is found under the number returned.
    pub(super) fn list_command(&mut self, at: NodeId, command: ListCommand) -> u64 {
        self.next_request += 1;
        let request = self.next_request;
        self.feed(at, Input::List { request, command });
        request
    }

    /// Compaction copies every record that counts, and removes all that were there.
    pub(super) fn compact(&mut self, at: NodeId) {
        let station = self.station(at);
        let mut moved = Vec::new();
        for number in station.gone..station.log.len() {
            let record = station.log[number].clone();
            let (partition, from) = (record.partition, place(number as u32 + 1));
            let holder = match &record.body {
                Body::Object { key, .. } => Holder::Key(key.clone()),
                Body::Hint(_) => Holder::Hint(Sequence(number as u64 + 1)),
                _ => continue,
            };
            if station.node.is_current(partition, &holder, from) {
                station.log.push(record);
                moved.push(Moved { partition, holder, from, to: place(station.log.len() as u32) });
            }
        }
        station.gone = station.log.len() - moved.len();
        self.feed(at, Input::Relocated(moved));
    }

    /// The disk cannot read what the node has asked for.
    pub(super) fn fail_reads(&mut self, at: NodeId) {
        let failing: Vec<_> = self.station(at).reads.drain(..).collect();
        for (shard, id, _) in failing {
            self.feed(at, Input::Store { shard, id, answer: StoreAnswer::ReadFailed });
        }
    }

    /// Reads the node waits for.
    pub(super) fn reads_waiting(&mut self, at: NodeId) -> usize {
        self.station(at).reads.len()
    }

    /// Letters on their way from one node to another.
    pub(super) fn letters(&self, from: NodeId, to: NodeId) -> Vec<Letter> {
        self.post.iter().filter(|letter| (letter.from, letter.to) == (from, to)).cloned().collect()
    }

    /// Nodes that letters of `from` are on their way to.
    pub(super) fn recipients(&self, from: NodeId) -> Vec<NodeId> {
        self.post.iter().filter(|letter| letter.from == from).map(|letter| letter.to).collect()
    }

    /// Letters from one node to another arrive, those written meanwhile excepted.
    pub(super) fn deliver(&mut self, from: NodeId, to: NodeId) {
        for letter in self.lose(from, to) {
            self.hand_over(letter);
        }
    }

    /// One letter arrives; it may have arrived before.
    pub(super) fn hand_over(&mut self, letter: Letter) {
        self.feed(letter.to, Input::Message { from: letter.from, message: letter.message });
    }

    /// Letters from one node to another vanish.
    pub(super) fn lose(&mut self, from: NodeId, to: NodeId) -> Vec<Letter> {
        let (lost, kept) = self.post.drain(..).partition(|letter| (letter.from, letter.to) == (from, to));
        self.post = kept;
        lost
    }

    /// Every letter to or from the node vanishes.
    pub(super) fn isolate(&mut self, node: NodeId) {
        self.post.retain(|letter| letter.from != node && letter.to != node);
    }

    /// Flushes and delivers until nothing is left to do. No time passes.
    pub(super) fn settle(&mut self) {
        self.settle_without(&[]);
    }

    /// Like [`Scene::settle`], but these nodes are cut off: they hear nothing, and nothing is heard of them.
    pub(super) fn settle_without(&mut self, cut_off: &[NodeId]) {
        let ids: Vec<NodeId> = self.stations.keys().copied().filter(|id| !cut_off.contains(id)).collect();
        for _ in 0..1000 {
            cut_off.iter().for_each(|id| self.isolate(*id));
            ids.iter().for_each(|id| self.flush(*id));
            cut_off.iter().for_each(|id| self.isolate(*id));
            if self.post.is_empty() {
                return;
            }
            std::mem::take(&mut self.post).into_iter().for_each(|letter| self.hand_over(letter));
        }
        panic!("the scene does not come to rest");
    }

    /// Time passes in steps of its nodes' deadlines; letters and logs stand still.
    pub(super) fn wait(&mut self, ms: u64) {
        let end = self.now.time + Duration::from_millis(ms);
        while self.now.time < end {
            let next = self.stations.values().map(|station| station.node.deadline()).min().unwrap_or(end);
            let next = next.max(Time(self.now.time.0 + 1)).min(end);
            self.now.wall.0 += next.since(self.now.time).as_millis() as u64;
            self.now.time = next;
            for id in self.stations.keys().copied().collect::<Vec<_>>() {
                self.feed(id, Input::Tick);
            }
        }
    }

    /// One round of exchange everywhere, with everybody.
    pub(super) fn exchange(&mut self) {
        for _ in 0..8 {
            self.wait(EXCHANGE_INTERVAL.as_millis() as u64 * 5 / 4);
            self.settle();
        }
    }

    /// What the node has noticed so often.
    pub(super) fn noticed(&mut self, at: NodeId, notice: Notice) -> usize {
        self.station(at).notices.iter().filter(|seen| **seen == notice).count()
    }

    /// The node's durable state of the partition.
    pub(super) fn report(&mut self, at: NodeId) -> PartitionReport {
        self.report_of(at, PARTITION)
    }

    /// The node's durable state of a partition.
    pub(super) fn report_of(&mut self, at: NodeId, partition: PartitionId) -> PartitionReport {
        self.station(at).node.partition_report(partition).unwrap()
    }

    /// What the node shows of itself.
    pub(super) fn status(&mut self, at: NodeId) -> NodeStatus {
        self.station(at).node.status()
    }

    /// Does the node count towards R?
    pub(super) fn is_complete(&mut self, at: NodeId) -> bool {
        self.station(at).node.status().filling.is_empty()
    }

    /// Letters between these two alone arrive, until none is left; their logs flush.
    pub(super) fn talk(&mut self, asker: NodeId, source: NodeId) {
        for _ in 0..8 {
            self.deliver(asker, source);
            self.flush(source);
            self.deliver(source, asker);
            self.flush(asker);
        }
    }

    /// Hints held for `target`.
    pub(super) fn hints(&mut self, at: NodeId, target: NodeId) -> u64 {
        self.station(at).node.status().hints.get(&target).map_or(0, |(count, _)| *count)
    }

    /// The node under its actor of now.
    pub(super) fn actor(&mut self, at: NodeId) -> Actor {
        self.station(at).node.shard(0).me.actor
    }

    /// Nothing is open: no command, load, session, job or hint under way.
    pub(super) fn assert_idle(&mut self) {
        for (id, station) in &self.stations {
            for at in 0..self.shards[id] {
                let shard = station.node.shard(at);
                assert!(shard.writes.is_empty(), "{id:?} has open writes: {:?}", shard.writes);
                assert!(shard.reads.is_empty(), "{id:?} has open reads");
                assert!(shard.forwards.is_empty(), "{id:?} has open forwards");
                assert!(shard.loads.is_empty(), "{id:?} has open loads");
                assert!(shard.updating.is_empty(), "{id:?} has keys that wait");
                assert!(shard.pull_jobs.is_empty(), "{id:?} has open pull jobs");
            }
        }
    }
}

/// The tables a log gives back, counters left out: they belong to the actor of before.
fn replay(log: &[Record], complete: bool) -> BTreeMap<PartitionId, PartitionTable> {
    let mut tables: BTreeMap<PartitionId, PartitionTable> = BTreeMap::new();
    let mut slots: BTreeMap<(PartitionId, Key), Published> = BTreeMap::new();
    for (record, number) in log.iter().zip(1u32..) {
        let table = tables.entry(record.partition).or_default();
        let before = record.body.slot_key().and_then(|key| slots.get(&(record.partition, key.clone())));
        let now = table.publish(record, place(number), &before.cloned().unwrap_or_default());
        if let Some(key) = record.body.slot_key() {
            slots.insert((record.partition, key.clone()), now);
        }
        if record.body == Body::Drop {
            slots.retain(|(partition, _), _| *partition != record.partition);
        }
    }
    for table in tables.values_mut() {
        (table.minted, table.complete) = (0, complete);
    }
    tables
}

fn place(number: u32) -> Place {
    Place { segment: SEGMENT, offset: number * 8, length: 104 }
}

fn layout_node(id: u64) -> LayoutNode {
    LayoutNode {
        id: NodeId(id),
        name: format!("n{id}"),
        zone: "z".into(),
        capacity: 1,
        address: format!("n{id}:7400"),
        membership_address: format!("n{id}:7401"),
    }
}

/// Reads a key.
pub(super) fn get(key: &'static str) -> Command {
    Command { key: Key::new(key).unwrap(), operation: Operation::Get, options: Options::default() }
}

/// Writes a value, without token or condition.
pub(super) fn put(key: &'static str, value: &'static str) -> Command {
    let content = NewContent { value: value.into(), content_type: String::new(), metadata: Vec::new(), ttl_ms: None };
    write(key, Some(content))
}

/// Writes these bytes, whatever else the key holds.
pub(super) fn put_beside(key: &'static str, value: bytes::Bytes) -> Command {
    let content = NewContent { value, content_type: String::new(), metadata: Vec::new(), ttl_ms: None };
    write(key, Some(content)).having_seen(&DotSet::EMPTY)
}

/// Deletes a key, without token or condition.
pub(super) fn delete(key: &'static str) -> Command {
    write(key, None)
}

fn write(key: &'static str, content: Option<NewContent>) -> Command {
    let operation = Operation::Write { content, seen: None, condition: Condition::Always };
    Command { key: Key::new(key).unwrap(), operation, options: Options::default() }
}

/// What a client may add to a command.
pub(super) trait Wish {
    /// The client hands this context back.
    fn having_seen(self, context: &DotSet) -> Self;
    /// Only if this holds.
    fn only_if(self, condition: Condition) -> Self;
    /// Other options.
    fn with(self, change: impl FnOnce(&mut Options)) -> Self;
}

impl Wish for Command {
    fn having_seen(mut self, context: &DotSet) -> Self {
        if let Operation::Write { seen, .. } = &mut self.operation {
            *seen = Some(context.clone());
        }
        self
    }

    fn only_if(mut self, wanted: Condition) -> Self {
        if let Operation::Write { condition, .. } = &mut self.operation {
            *condition = wanted;
        }
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }
}

/// The values a read found, sorted.
pub(super) fn values(outcome: &Outcome) -> Vec<String> {
    let Outcome::Read(result) = outcome else { panic!("not a read's success: {outcome:?}") };
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    let mut values: Vec<String> = result.state.versions.iter().map(|v| text(&v.content.value)).collect();
    values.sort();
    values
}

/// What a write did.
pub(super) fn written(outcome: Outcome) -> WriteResult {
    let Outcome::Written(result) = outcome else { panic!("not a write's success: {outcome:?}") };
    result
}

/// Why a command failed.
pub(super) fn failure(outcome: Option<Outcome>) -> Failure {
    let Some(Outcome::Failed(failure)) = outcome else { panic!("not a failure: {outcome:?}") };
    failure
}

/// What a store would list: keys whose newest record has a version.
fn page_of(log: &[Record], query: &KeyQuery, partitions: &[PartitionId]) -> KeyPage {
    let mut newest: BTreeMap<&Key, (PartitionId, bool)> = BTreeMap::new();
    for record in log {
        if let Body::Object { key, object, .. } = &record.body {
            newest.insert(key, (record.partition, !object.versions.is_empty()));
        }
    }
    let asked_for = |key: &Key| key.as_bytes().starts_with(&query.prefix) && key.as_bytes() >= query.from.as_ref();
    let live =
        newest.into_iter().filter(|(key, (partition, live))| *live && partitions.contains(partition) && asked_for(key));
    let mut keys: Vec<Key> = live.map(|(key, _)| key.clone()).collect();
    if keys.len() < query.limit {
        return KeyPage { keys, reach: Reach::End };
    }
    keys.truncate(query.limit);
    let reach = keys.last().cloned().map_or(Reach::End, Reach::Through);
    KeyPage { keys, reach }
}
