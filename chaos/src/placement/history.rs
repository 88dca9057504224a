//! A cluster that is changed again and again, at random.

use dunlin::base::{ClusterId, NodeId, Random};
use dunlin::ring::{Change, ChangeError, Departure, Layout, LayoutNode, Partitioning, Staged};
use std::time::{Duration, Instant};

/// How many nodes the clusters of a class have.
#[derive(Debug, Clone, Copy)]
pub struct SizeClass {
    /// Fewest.
    pub least: usize,
    /// Most.
    pub most: usize,
}

/// The classes that are told apart.
pub const SIZE_CLASSES: [SizeClass; 4] = [
    SizeClass { least: 3, most: 9 },
    SizeClass { least: 10, most: 29 },
    SizeClass { least: 30, most: 99 },
    SizeClass { least: 100, most: 300 },
];

/// What was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is named for its change")]
pub enum Kind {
    Join,
    Leave,
    Replace,
    Weight,
    Zone,
    Replicas,
    Several,
}

/// One change that was made.
pub struct Changed {
    /// What it was.
    pub kind: Kind,
    /// The layout in force until then.
    pub from: Layout,
    /// The next one.
    pub to: Layout,
    /// How long planning it took.
    pub took: Duration,
}

/// How capacities are drawn.
#[derive(Clone, Copy)]
enum Capacities {
    Equal,
    /// 1 to 8.
    Uniform,
    /// A power of two from 1 to 32.
    Powers,
}

/// A cluster and the seed of what happens to it.
pub struct History {
    random: Random,
    class: SizeClass,
    capacities: Capacities,
    zones: u64,
    layout: Layout,
    born: u64,
}

impl History {
    /// A cluster of this class with its first layout.
    pub fn begin(seed: u64, class: SizeClass, partitioning: Partitioning) -> Result<Self, ChangeError> {
        let mut random = Random::from_seed(seed);
        let capacities = [Capacities::Equal, Capacities::Uniform, Capacities::Powers];
        let capacities = *random.pick(&capacities).unwrap_or(&Capacities::Equal);
        let zones = random.between(1, 8);
        let replicas = if random.chance(0.7) { 3 } else { random.between(1, 5) as usize };
        let mut born = 0;
        let count = random.between(class.least as u64, class.most as u64);
        let nodes = (0..count).map(|_| newcomer(&mut random, &mut born, capacities, zones)).collect();
        let layout = Layout::first(ClusterId(u128::from(seed)), partitioning, replicas, nodes)?;
        Ok(Self { random, class, capacities, zones, layout, born })
    }

    /// The layout in force.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Changes one thing, or a few at once.
    pub fn change(&mut self) -> Result<Changed, ChangeError> {
        let wanted = if self.random.chance(0.25) { self.random.between(2, 4) as usize } else { 1 };
        let mut staged = Staged::on(&self.layout);
        let (mut joined, mut left, mut kind) = (0, 0, Kind::Several);
        while staged.changes.len() < wanted {
            let (drawn, change) = self.draw();
            let size = self.layout.nodes.len() + joined - left;
            let too_many = drawn == Kind::Join && size >= self.class.most;
            let too_few = drawn == Kind::Leave && size <= self.class.least;
            // What is not possible after the others is drawn again.
            if too_many || too_few || staged.stage(&self.layout, change).is_err() {
                continue;
            }
            joined += usize::from(drawn == Kind::Join);
            left += usize::from(drawn == Kind::Leave);
            kind = if wanted == 1 { drawn } else { Kind::Several };
        }
        let begun = Instant::now();
        let to = staged.plan(&self.layout)?;
        let took = begun.elapsed();
        let from = std::mem::replace(&mut self.layout, to.clone());
        Ok(Changed { kind, from, to, took })
    }

    fn draw(&mut self) -> (Kind, Change) {
        let declared = if self.random.chance(0.5) { Departure::Dead } else { Departure::Alive };
        let node = self.random.pick(&self.layout.nodes).map_or(NodeId(0), |node| node.id);
        match self.random.below(20) {
            0..=5 => (Kind::Join, Change::Join { node: self.newcomer() }),
            6..=9 => (Kind::Leave, Change::Leave { node, declared }),
            10..=12 => (Kind::Replace, Change::Replace { old: node, new: self.successor(node), declared }),
            13..=15 => {
                let capacity = self.capacities.draw(&mut self.random);
                // Where all are equal, now and then one is not.
                let capacity = if matches!(self.capacities, Capacities::Equal) { 2 } else { capacity };
                (Kind::Weight, Change::Weight { node, capacity })
            }
            16..=18 => (Kind::Zone, Change::Zone { node, zone: zone(&mut self.random, self.zones) }),
            _ => (Kind::Replicas, Change::Replicas(self.random.between(1, 5) as usize)),
        }
    }

    /// Mostly what it replaces over again; sometimes another machine elsewhere.
    fn successor(&mut self, old: NodeId) -> LayoutNode {
        let (mut new, alike) = (self.newcomer(), self.random.chance(0.8));
        if let Some(old) = self.layout.node(old).filter(|_| alike) {
            new.zone.clone_from(&old.zone);
            new.capacity = old.capacity;
        }
        new
    }

    fn newcomer(&mut self) -> LayoutNode {
        newcomer(&mut self.random, &mut self.born, self.capacities, self.zones)
    }
}

impl Capacities {
    fn draw(self, random: &mut Random) -> u32 {
        match self {
            Self::Equal => 1,
            Self::Uniform => random.between(1, 8) as u32,
            Self::Powers => 1 << random.below(6),
        }
    }
}

fn newcomer(random: &mut Random, born: &mut u64, capacities: Capacities, zones: u64) -> LayoutNode {
    *born += 1;
    LayoutNode {
        id: NodeId(random.u64()),
        name: format!("n{born}"),
        zone: zone(random, zones),
        capacity: capacities.draw(random),
        address: format!("n{born}:7400"),
        membership_address: format!("n{born}:7401"),
    }
}

fn zone(random: &mut Random, zones: u64) -> String {
    format!("z{}", random.below(zones))
}
