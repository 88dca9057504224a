//! The network between nodes: messages are lost, late, doubled, replayed, cut off.

use super::swarm::{LONGEST_DELAY, Weather};
use dunlin::base::{Random, Time};
use dunlin::replication::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A replayed message comes this late, at most: after crashes, wipes and restarts.
const LATEST_REPLAY: Duration = Duration::from_secs(60);

/// How much a clogged link holds back, at most.
const LONGEST_CLOG: Duration = Duration::from_secs(5);

/// Message-level network. Links are directed and keep no order.
pub(super) struct Network {
    random: Random,
    weather: Weather,
    /// Links that pass nothing.
    cuts: BTreeSet<(usize, usize)>,
    /// Links that hold everything back until then.
    clogs: BTreeMap<(usize, usize), Time>,
    /// A kind of message that is lost everywhere until then.
    muted: Option<(&'static str, Time)>,
}

/// Why a message did not come, or came more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mishap {
    /// Lost, cut off or muted.
    Lost,
    /// Late by more than a second.
    Late,
    /// Twice.
    Doubled,
    /// Again, much later.
    Replayed,
}

impl Network {
    /// A whole network under this weather.
    pub(super) fn new(random: Random, weather: Weather) -> Self {
        Self { random, weather, cuts: BTreeSet::new(), clogs: BTreeMap::new(), muted: None }
    }

    /// When a message sent now arrives: never, once, or more than once.
    pub(super) fn route(&mut self, now: Time, link: (usize, usize), kind: &'static str) -> (Vec<Time>, Option<Mishap>) {
        let muted = self.muted.is_some_and(|(name, until)| name == kind && now < until);
        if muted || self.cuts.contains(&link) || self.random.chance(self.weather.loss) {
            return (Vec::new(), Some(Mishap::Lost));
        }
        let first = now + self.delay(now, link);
        let mut mishap = (first.since(now) > Duration::from_secs(1)).then_some(Mishap::Late);
        let mut arrivals = vec![first];
        if repeatable(kind) {
            if self.random.chance(self.weather.duplication) {
                arrivals.push(now + self.delay(now, link));
                mishap = Some(Mishap::Doubled);
            }
            if self.random.chance(self.weather.replay) {
                arrivals.push(first + self.up_to(LATEST_REPLAY));
                mishap = Some(Mishap::Replayed);
            }
        }
        (arrivals, mishap)
    }

    fn delay(&mut self, now: Time, link: (usize, usize)) -> Duration {
        let usual = Duration::from_micros(20) + self.up_to(self.weather.delay);
        let tail = if self.random.chance(self.weather.tail) { self.up_to(LONGEST_DELAY) } else { Duration::ZERO };
        let held = self.clogs.get(&link).map_or(Duration::ZERO, |until| until.since(now));
        usual + tail + held
    }

    fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_micros(self.random.below(longest.as_micros() as u64 + 1))
    }

    /// Can `link` pass anything?
    pub(super) fn is_cut(&self, link: (usize, usize)) -> bool {
        self.cuts.contains(&link)
    }

    /// Cuts links in one of the usual shapes; returns the shape's name.
    pub(super) fn partition(&mut self, nodes: usize) -> &'static str {
        let shape = self.random.below(5);
        let mut order: Vec<usize> = (0..nodes).collect();
        self.random.shuffle(&mut order);
        let (first, half) = (order[0], nodes / 2);
        let left: BTreeSet<usize> = order[..half.max(1)].iter().copied().collect();
        let sides = |a: usize, b: usize| left.contains(&a) != left.contains(&b);
        let everyone = (0..nodes).flat_map(|a| (0..nodes).map(move |b| (a, b))).filter(|(a, b)| a != b);
        let random = &mut self.random;
        let (name, cut): (_, Vec<(usize, usize)>) = match shape {
            0 => ("one", everyone.filter(|(a, b)| *a == first || *b == first).collect()),
            1 => ("halves", everyone.filter(|(a, b)| sides(*a, *b)).collect()),
            2 => ("bridge", everyone.filter(|(a, b)| sides(*a, *b) && *a != first && *b != first).collect()),
            3 => ("one way", everyone.filter(|(a, b)| sides(*a, *b) && left.contains(a)).collect()),
            _ => ("random", everyone.filter(|_| random.chance(0.3)).collect()),
        };
        self.cuts.extend(cut);
        name
    }

    /// Holds one random link back until some time from now.
    pub(super) fn clog(&mut self, now: Time, nodes: usize) {
        let link = (self.random.below(nodes as u64) as usize, self.random.below(nodes as u64) as usize);
        let until = now + self.up_to(LONGEST_CLOG);
        self.clogs.insert(link, until);
    }

    /// Loses every message of one random kind until then.
    pub(super) fn mute(&mut self, until: Time) -> &'static str {
        let kind = KINDS[self.random.below(KINDS.len() as u64) as usize];
        self.muted = Some((kind, until));
        kind
    }

    /// Mends every link.
    pub(super) fn mend(&mut self) {
        self.cuts.clear();
    }

    /// Ends every disturbance.
    pub(super) fn heal(&mut self) {
        self.mend();
        self.clogs.clear();
        self.muted = None;
        self.weather = Weather::FAIR;
    }
}

/// Transport delivers a request at most once (one stream, never sent again), and a forwarded command is
/// the one message that is not safe to repeat.
fn repeatable(kind: &str) -> bool {
    kind != "forward"
}

/// Kinds of messages, for muting and traces.
const KINDS: [&str; 13] = [
    "forward",
    "forwarded",
    "read",
    "read answer",
    "replicate",
    "replicated",
    "clock query",
    "clock answer",
    "pull",
    "pulled",
    "datagram",
    "full sync",
    "nothing",
];

/// A message's kind, by name.
pub(super) fn kind_of(message: &Message) -> &'static str {
    match message {
        Message::Forward { .. } => "forward",
        Message::Forwarded { .. } => "forwarded",
        Message::Read { .. } => "read",
        Message::ReadAnswer { .. } => "read answer",
        Message::Replicate { .. } => "replicate",
        Message::Replicated { .. } => "replicated",
        Message::ClockQuery { .. } => "clock query",
        Message::ClockAnswer { .. } => "clock answer",
        Message::Pull { .. } => "pull",
        Message::Pulled { .. } => "pulled",
        Message::List { .. } => "list",
        Message::Listed { .. } => "listed",
        Message::Layout(_) => "layout",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foul() -> Weather {
        Weather { loss: 0.2, duplication: 0.3, replay: 0.3, tail: 0.2, delay: Duration::from_millis(5) }
    }

    #[test]
    fn foul_weather_loses_delays_doubles_and_replays() {
        let mut network = Network::new(Random::from_seed(1), foul());
        let routes: Vec<_> = (0..500).map(|_| network.route(Time(0), (0, 1), "replicate")).collect();
        for mishap in [Mishap::Lost, Mishap::Late, Mishap::Doubled, Mishap::Replayed] {
            assert!(routes.iter().any(|(_, seen)| *seen == Some(mishap)), "{mishap:?}");
        }
        assert!(routes.iter().all(|(arrivals, _)| arrivals.iter().all(|at| *at > Time(0))));
    }

    #[test]
    fn a_forward_comes_at_most_once() {
        let mut network = Network::new(Random::from_seed(1), foul());
        assert!((0..500).all(|_| network.route(Time(0), (0, 1), "forward").0.len() <= 1));
    }

    #[test]
    fn a_cut_link_passes_nothing_until_it_is_mended() {
        let mut network = Network::new(Random::from_seed(3), Weather::FAIR);
        network.cuts.insert((0, 1));
        assert!(network.route(Time(0), (0, 1), "read").0.is_empty());
        assert_eq!(network.route(Time(0), (1, 0), "read").0.len(), 1);
        network.mend();
        assert_eq!(network.route(Time(0), (0, 1), "read").0.len(), 1);
    }

    #[test]
    fn every_partition_cuts_something_and_never_a_node_from_itself() {
        for seed in 0..50 {
            let mut network = Network::new(Random::from_seed(seed), Weather::FAIR);
            let name = network.partition(5);
            assert!(!network.cuts.is_empty() || name == "random", "{name}");
            assert!(network.cuts.iter().all(|(a, b)| a != b));
        }
    }
}
