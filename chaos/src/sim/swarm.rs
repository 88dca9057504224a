//! What a seed draws: a cluster, a load, and a subset of faults with their rates.

use dunlin::base::Random;
use dunlin::node::Timings;
use std::collections::BTreeSet;
use std::time::Duration;

/// One class of faults. A run has a random subset of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A process and its machine stop; un-synced writes are kept, dropped or torn.
    Crash,
    /// The disk stops obeying in mid-write, and the machine with it.
    PowerCut,
    /// A process stands still and goes on with stale beliefs.
    Pause,
    /// A disk is lost; the node comes back with an empty one.
    Wipe,
    /// One sync fails: nobody knows what is on the disk.
    SyncError,
    /// Bits of a stopped machine's disk flip.
    Rot,
    /// Links are cut: one node, halves, random, a bridge, one way.
    Partition,
    /// One link delays everything for a while.
    Clog,
    /// One kind of message is lost everywhere for a while.
    Mute,
    /// A node believes something wrong of another.
    WrongVerdict,
    /// A wall clock jumps.
    ClockJump,
    /// A disk is full for a while.
    DiskFull,
    /// Reads of a disk fail now and then for a while.
    ReadErrors,
    /// A disk answers slowly for a while.
    SlowDisk,
}

impl Fault {
    /// Every class.
    pub const ALL: [Fault; 14] = [
        Fault::Crash,
        Fault::PowerCut,
        Fault::Pause,
        Fault::Wipe,
        Fault::SyncError,
        Fault::Rot,
        Fault::Partition,
        Fault::Clog,
        Fault::Mute,
        Fault::WrongVerdict,
        Fault::ClockJump,
        Fault::DiskFull,
        Fault::ReadErrors,
        Fault::SlowDisk,
    ];
}

/// How bad the network is for the whole of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// Messages lost, as a share.
    pub loss: f64,
    /// Messages delivered twice.
    pub duplication: f64,
    /// Messages delivered again much later.
    pub replay: f64,
    /// Messages delayed by up to [`LONGEST_DELAY`].
    pub tail: f64,
    /// The usual delay, at most.
    pub delay: Duration,
}

/// The longest delay of a message that is not replayed: beyond every patience of the core.
pub(super) const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// Whether messages pass through their encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// Handed over as they are.
    Direct,
    /// Encoded and decoded, as on the wire.
    Encoded,
}

/// Where a node's beliefs about the others come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detection {
    /// The world tells them, wrongly now and then.
    Told,
    /// Every node runs its failure detector, whose messages suffer as all others do.
    Real,
}

/// Some tens of pages a second.
const SLOW_FILL: u64 = 1 << 20;

/// Everything a run is made of.
#[derive(Debug, Clone)]
pub struct Swarm {
    /// How many nodes.
    pub nodes: usize,
    /// N.
    pub replicas: usize,
    /// Partitions of the hash space, a power of two.
    pub partitions: u32,
    /// Shards per node.
    pub shards: usize,
    /// How many keys clients use.
    pub keys: usize,
    /// Skew of keys: 0 is uniform; above, low keys are used more.
    pub skew: f64,
    /// How many clients, each with one request at a time.
    pub clients: usize,
    /// Requests in all.
    pub operations: usize,
    /// A client's pause between two requests, at most.
    pub think: Duration,
    /// Share of requests that are strict.
    pub strict: f64,
    /// Share of writes without token.
    pub plain: f64,
    /// Share of writes that are deletes.
    pub deletes: f64,
    /// Share of requests that are reads.
    pub reads: f64,
    /// Share of requests that list keys.
    pub listings: f64,
    /// Share of requests with a quorum other than the majority.
    pub odd_quorums: f64,
    /// Longest filler of a value in bytes.
    pub filler: usize,
    /// Objects in one page of a listing, and recent dots remembered: few, so that listings have several pages.
    pub page_objects: usize,
    /// Beyond these, an exchange lists.
    pub recent_dots: usize,
    /// Segment size of the stores in bytes.
    pub segment_bytes: u32,
    /// The network.
    pub weather: Weather,
    /// Encoded or not.
    pub passage: Passage,
    /// How failures are noticed.
    pub detection: Detection,
    /// Longest time from an append to its flush.
    pub flush_delay: Duration,
    /// Mean time between two steps of maintenance; none in runs without.
    pub upkeep: Option<Duration>,
    /// Mean time between two steps of the scrub; none in runs without.
    pub scrub: Option<Duration>,
    /// Mean time between two changes of the layout; none in runs without.
    pub layout_changes: Option<Duration>,
    /// The most that N becomes by such changes; N itself where none changes it.
    pub most_replicas: usize,
    /// Nodes in the first layout; the others are members without partitions.
    pub first_nodes: usize,
    /// Which faults there are.
    pub faults: BTreeSet<Fault>,
    /// Mean time between two faults.
    pub fault_interval: Duration,
}

impl Swarm {
    /// What this seed draws.
    pub fn draw(random: &mut Random) -> Self {
        let nodes = pick(random, &[1, 3, 3, 3, 3, 3, 4, 4, 5, 5, 5, 6, 7, 9]);
        let replicas = pick(random, &[1, 2, 3, 3, 3, 3, 3, 3, 3, 4, 5]).min(nodes);
        let faults = Self::draw_faults(random);
        let mut swarm = Self {
            nodes,
            replicas,
            partitions: pick(random, &[1, 1, 2, 4, 8, 16]),
            shards: pick(random, &[1, 1, 2, 3, 4]),
            keys: pick(random, &[1, 1, 2, 3, 5, 10, 20]),
            skew: pick(random, &[0.0, 1.0, 2.0]),
            clients: pick(random, &[1, 2, 3, 5, 8, 12]),
            operations: pick(random, &[100, 200, 300, 400]),
            think: Duration::from_millis(pick(random, &[20, 100, 500, 2_000])),
            strict: pick(random, &[0.0, 0.3, 1.0, 1.0]),
            plain: pick(random, &[0.0, 0.0, 0.1, 0.5, 1.0]),
            deletes: pick(random, &[0.0, 0.1, 0.3, 0.6]),
            reads: pick(random, &[0.3, 0.5, 0.7]),
            listings: 0.0,
            odd_quorums: pick(random, &[0.0, 0.0, 0.2, 0.6]),
            filler: pick(random, &[0, 40, 40, 500, 9_000]),
            page_objects: pick(random, &[1, 2, 4, 256]),
            recent_dots: pick(random, &[2, 16, 1024, 1024]),
            segment_bytes: pick(random, &[32 << 10, 256 << 10, 1 << 20]),
            weather: Weather::draw(random, if faults.is_empty() { 0.0 } else { 0.7 }),
            passage: pick(random, &[Passage::Direct, Passage::Direct, Passage::Direct, Passage::Encoded]),
            detection: pick(random, &[Detection::Told, Detection::Real]),
            flush_delay: Duration::from_micros(pick(random, &[300, 1_000, 5_000, 50_000])),
            fault_interval: Duration::from_millis(pick(random, &[300, 1_000, 3_000, 10_000])),
            upkeep: None,
            scrub: None,
            layout_changes: None,
            most_replicas: replicas,
            first_nodes: nodes,
            faults,
        };
        swarm.draw_upkeep(&mut random.clone());
        swarm.draw_scrub(&mut random.clone().fork());
        swarm.draw_listings(random.clone().fork());
        swarm.draw_layout_changes(random.clone().fork().fork());
        swarm
    }

    /// Half of the runs compact, and have segments small enough for it. Drawn beside the stream of the others, so
    /// that a seed without is what it was before there was compaction.
    fn draw_upkeep(&mut self, random: &mut Random) {
        self.upkeep = pick(random, &[None, None, Some(20), Some(200)]).map(Duration::from_millis);
        if self.upkeep.is_some() {
            self.segment_bytes = pick(random, &[4 << 10, 8 << 10, 32 << 10]);
        }
    }

    /// Most runs with rot scrub; in the others every opening after rot is told to verify. Small segments, so that
    /// something is sealed.
    fn draw_scrub(&mut self, random: &mut Random) {
        if self.faults.contains(&Fault::Rot) {
            self.scrub = pick(random, &[None, Some(2), Some(20), Some(200)]).map(Duration::from_millis);
        }
        if self.scrub.is_some() {
            // Many keys, or little of what is sealed would still count when it rots.
            self.keys = self.keys.max(pick(random, &[20, 40, 80]));
            self.operations = self.operations.max(300);
            self.segment_bytes = pick(random, &[4 << 10, 4 << 10, 8 << 10]);
        }
    }

    /// Two runs of five list keys, too. Drawn beside the stream of the others, for the same reason.
    fn draw_listings(&mut self, mut random: Random) {
        self.listings = pick(&mut random, &[0.0, 0.0, 0.0, 0.1, 0.3]);
    }

    /// A quarter of the runs that have a node to spare change their layout. They have real detectors, whose control
    /// keeps the layouts, and lose no disk whole: that is lost with its node's layouts, and then the node is replaced.
    /// Where N changes, none is damaged either: there may be one copy of everything.
    fn draw_layout_changes(&mut self, mut random: Random) {
        if self.nodes <= self.replicas || !random.chance(0.25) {
            return;
        }
        self.layout_changes = Some(Duration::from_millis(pick(&mut random, &[1_000, 3_000, 10_000, 30_000])));
        self.first_nodes = random.between(self.replicas as u64, self.nodes as u64) as usize;
        self.detection = Detection::Real;
        self.faults.remove(&Fault::Wipe);
        if random.chance(0.3) {
            self.most_replicas = self.replicas + 1;
            self.scrub = None;
            self.faults.retain(|fault| !matches!(fault, Fault::SyncError | Fault::Rot));
        }
    }

    /// Is N changed, too?
    pub fn changes_replicas(&self) -> bool {
        self.most_replicas > self.replicas
    }

    /// A tenth of the runs are calm; the others have each class with a chance of their own.
    fn draw_faults(random: &mut Random) -> BTreeSet<Fault> {
        let share = pick(random, &[0.0, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.6, 0.8]);
        Fault::ALL.into_iter().filter(|_| random.chance(share)).collect()
    }

    /// The core's, as this run has them.
    pub fn timings(&self) -> Timings {
        let (page_objects, recent_dots) = (self.page_objects, self.recent_dots);
        // Where pages are short, filling has to wait for its turn, too.
        let fill_bytes_per_second =
            if page_objects == 1 { SLOW_FILL } else { Timings::default().fill_bytes_per_second };
        Timings { page_objects, recent_dots, fill_bytes_per_second, ..Timings::default() }
    }

    /// No fault at all: everything must succeed.
    pub fn is_calm(&self) -> bool {
        self.faults.is_empty() && self.weather == Weather::FAIR && self.layout_changes.is_none()
    }
}

impl Weather {
    /// Nothing lost, nothing late.
    pub const FAIR: Weather =
        Weather { loss: 0.0, duplication: 0.0, replay: 0.0, tail: 0.0, delay: Duration::from_millis(2) };

    fn draw(random: &mut Random, foul: f64) -> Self {
        if !random.chance(foul) {
            return Self::FAIR;
        }
        Self {
            loss: pick(random, &[0.0, 0.0, 0.01, 0.1, 0.3]),
            duplication: pick(random, &[0.0, 0.0, 0.02, 0.2]),
            replay: pick(random, &[0.0, 0.0, 0.02, 0.1]),
            tail: pick(random, &[0.0, 0.0, 0.01, 0.1]),
            delay: Duration::from_millis(pick(random, &[1, 5, 50, 300])),
        }
    }
}

fn pick<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    choices[random.below(choices.len() as u64) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_draws_the_same() {
        let draw = |seed| format!("{:?}", Swarm::draw(&mut Random::from_seed(seed)));
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }

    #[test]
    fn every_fault_is_drawn_by_some_seed_and_some_seeds_are_calm() {
        let draws: Vec<Swarm> = (0..200).map(|seed| Swarm::draw(&mut Random::from_seed(seed))).collect();
        for fault in Fault::ALL {
            assert!(draws.iter().any(|swarm| swarm.faults.contains(&fault)), "{fault:?}");
        }
        assert!(draws.iter().any(Swarm::is_calm));
        assert!(draws.iter().all(|swarm| swarm.replicas <= swarm.nodes && swarm.partitions.is_power_of_two()));
    }
}
