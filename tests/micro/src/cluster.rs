//! Nodes in one thread: what they ask for happens at once.

use super::placement::layout;
use dunlin::base::{NodeId, Now, Time, WallTime};
use dunlin::node::{Effect, Input, LiveLayouts, Node, NodeOptions, PeerState, StoreAnswer, Timings, View};
use dunlin::replication::{Command, Outcome};
use dunlin::store::{Opening, Place, Record, Recovered, Sequence};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Records that a node's log holds before the oldest makes room: far more than there are keys, each of which is written
/// again long before.
const LOG_RECORDS: u64 = 1 << 14;

/// Between two commands: 50,000 a second.
const COMMAND_INTERVAL: Duration = Duration::from_micros(20);

/// Exchanges are not what is measured, and would hit some commands and not others.
const EXCHANGE_INTERVAL: Duration = Duration::from_secs(1 << 30);

/// Nodes that are up, complete, and idle between two commands.
pub(crate) struct Cluster {
    stations: BTreeMap<NodeId, Station>,
    /// What has happened and no node has been told yet.
    happened: VecDeque<(NodeId, Input)>,
    effects: Vec<Effect>,
    now: Now,
    commands: u64,
}

/// A node and its log.
struct Station {
    node: Node,
    records: Vec<Option<Arc<Record>>>,
    appended: u64,
}

impl Cluster {
    /// 1024 partitions, N = 3 or fewer.
    pub(crate) fn of(nodes: u64) -> Self {
        let layout = Arc::new(layout(nodes));
        let station = |id: NodeId| {
            let peers = layout.nodes.iter().map(|node| node.id).filter(|peer| *peer != id);
            let peers = peers.map(|peer| (peer, PeerState::Up { epoch: peer.0 })).collect();
            (
                id,
                Station::new(Arc::new(View {
                    me: id,
                    layouts: Arc::new(LiveLayouts::only(Arc::clone(&layout))),
                    peers,
                })),
            )
        };
        let stations = layout.nodes.iter().map(|node| station(node.id)).collect();
        let now = Now { time: Time(1), wall: WallTime(1 << 40) };
        Self { stations, happened: VecDeque::new(), effects: Vec::new(), now, commands: 0 }
    }

    /// Asks the first node, and lets everything happen that wants to.
    pub(crate) fn ask(&mut self, command: Command) -> Option<Outcome> {
        self.pass_time();
        self.commands += 1;
        let mut answer = None;
        self.happened.push_back((NodeId(1), Input::Command { request: self.commands, command }));
        while let Some((at, input)) = self.happened.pop_front() {
            self.handle(at, input, &mut answer);
        }
        answer
    }

    fn pass_time(&mut self) {
        let Now { time, wall } = &mut self.now;
        *time = *time + COMMAND_INTERVAL;
        wall.0 = (1 << 40) + time.0 / 1000;
        let due = self.stations.iter().filter(|(_, station)| station.node.deadline() <= *time);
        self.happened.extend(due.map(|(id, _)| (*id, Input::Tick)));
    }

    fn handle(&mut self, at: NodeId, input: Input, answer: &mut Option<Outcome>) {
        let Some(station) = self.stations.get_mut(&at) else { return };
        station.node.handle(self.now, input, &mut self.effects);
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Send { to, message } => {
                    let input = || Input::Message { from: at, message: message.clone() };
                    self.happened.extend(to.into_iter().map(|to| (to, input())));
                }
                Effect::Append { shard, id, record } => {
                    let answer = station.append(record);
                    self.happened.push_back((at, Input::Store { shard, id, answer }));
                }
                Effect::Read { shard, id, place, .. } => {
                    let answer = station.read(place);
                    self.happened.push_back((at, Input::Store { shard, id, answer }));
                }
                Effect::Answer { outcome, .. } => *answer = Some(outcome),
                Effect::List { .. }
                | Effect::Resume { .. }
                | Effect::Renew
                | Effect::Drained { .. }
                | Effect::Filled { .. }
                | Effect::Notice(_) => {}
            }
        }
    }
}

impl Station {
    fn new(view: Arc<View>) -> Self {
        let recovered = Recovered {
            actor: super::samples::actor(view.me.0),
            opening: Opening::New,
            tables: BTreeMap::new(),
            hints: BTreeMap::new(),
            complete_by_default: true,
            findings: Vec::new(),
        };
        let timings = Timings { exchange_interval: EXCHANGE_INTERVAL, ..Timings::default() };
        let options = NodeOptions { node: view.me, epoch: view.me.0, shards: 1, seed: view.me.0, timings };
        Self { node: Node::new(options, view, recovered), records: vec![None; LOG_RECORDS as usize], appended: 0 }
    }

    fn append(&mut self, record: Record) -> StoreAnswer {
        let at = self.appended % LOG_RECORDS;
        self.appended += 1;
        if let Some(room) = self.records.get_mut(at as usize) {
            *room = Some(Arc::new(record));
        }
        let place = Place { segment: 1, offset: at as u32 * 256, length: 256 };
        StoreAnswer::Appended { place, sequence: Sequence(self.appended) }
    }

    fn read(&self, place: Place) -> StoreAnswer {
        let record = self.records.get(place.offset as usize / 256).cloned().flatten();
        record.map_or(StoreAnswer::ReadFailed, StoreAnswer::Read)
    }
}
