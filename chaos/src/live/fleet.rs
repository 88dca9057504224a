//! Which nodes are worth asking, and which were killed when.

use super::outcome::Fate;
use dunlin::base::Random;
use std::sync::Mutex;
use std::time::Instant;

/// What clients and the scenario share about the nodes.
#[derive(Debug)]
pub(super) struct Fleet {
    started: Instant,
    nodes: Mutex<Vec<Standing>>,
}

#[derive(Debug, Clone, Copy)]
struct Standing {
    up: bool,
    kills: u32,
    /// The last kill.
    killed_ms: Option<u64>,
    /// The start after it.
    restarted_ms: Option<u64>,
}

/// A node's standing when a request was sent to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) node: usize,
    /// When it was made, in the run's time.
    pub(super) at_ms: u64,
    kills: u32,
}

/// A request begun later than this after a kill had no reason to go to the killed node: promise P6 gives the
/// others so long to notice.
const UNNOTICED_MS: u64 = 2_000;

/// The number of the node of this name.
pub(super) fn node_of(name: &str) -> Option<usize> {
    name.strip_prefix("node")?.parse::<usize>().ok()?.checked_sub(1)
}

impl Fleet {
    /// So many up, and so many more that are not there yet, at the beginning of the run's time.
    pub(super) fn new(nodes: usize, more: usize) -> Fleet {
        let standing = Standing { up: true, kills: 0, killed_ms: None, restarted_ms: None };
        let mut standings = vec![standing; nodes];
        standings.resize(nodes + more, Standing { up: false, ..standing });
        Fleet { started: Instant::now(), nodes: Mutex::new(standings) }
    }

    /// Milliseconds since the run began.
    pub(super) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// How many nodes there are, up or not.
    pub(super) fn count(&self) -> usize {
        self.nodes().len()
    }

    /// One of those that are up; none if none is.
    pub(super) fn choose(&self, random: &mut Random) -> Option<Mark> {
        let at_ms = self.now_ms();
        let nodes = self.nodes();
        let up: Vec<usize> = (0..nodes.len()).filter(|node| nodes[*node].up).collect();
        random.pick(&up).map(|node| Mark { node: *node, at_ms, kills: nodes[*node].kills })
    }

    /// What has become of the node since the mark was made.
    pub(super) fn fate(&self, mark: Mark) -> Fate {
        let standing = self.nodes()[mark.node];
        if standing.up && standing.kills == mark.kills { Fate::Lived } else { Fate::Killed }
    }

    /// What became of a request, begun at the mark, that another node passed on to this one and that an
    /// answer calls lost there. A node that was started again before the request began has no excuse.
    pub(super) fn fate_passed_on(&self, mark: Mark, node: usize) -> Fate {
        let Some(standing) = self.nodes().get(node).copied() else { return Fate::Lived };
        let lately = standing.killed_ms.is_some_and(|killed_ms| mark.at_ms <= killed_ms + UNNOTICED_MS);
        let was_back = standing.restarted_ms.is_some_and(|restarted_ms| restarted_ms <= mark.at_ms);
        if lately && !was_back { Fate::Killed } else { Fate::Lived }
    }

    /// Those that are up.
    pub(super) fn up(&self) -> Vec<usize> {
        let nodes = self.nodes();
        (0..nodes.len()).filter(|node| nodes[*node].up).collect()
    }

    /// It is being killed: nobody is sent there any more.
    pub(super) fn killed(&self, node: usize) {
        let now_ms = self.now_ms();
        let standing = &mut self.nodes()[node];
        let kills = standing.kills + 1;
        *standing = Standing { up: false, kills, killed_ms: Some(now_ms), restarted_ms: None };
    }

    /// Its process is being started again.
    pub(super) fn restarted(&self, node: usize) {
        let now_ms = self.now_ms();
        self.nodes()[node].restarted_ms = Some(now_ms);
    }

    /// It is ready again.
    pub(super) fn returned(&self, node: usize) {
        self.nodes()[node].up = true;
    }

    fn nodes(&self) -> std::sync::MutexGuard<'_, Vec<Standing>> {
        self.nodes.lock().expect("held only within this file, where nothing panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_open_across_a_kill_is_at_a_killed_node_even_after_the_restart() {
        let (fleet, mut random) = (Fleet::new(1, 0), Random::from_seed(1));
        let before = fleet.choose(&mut random).unwrap();
        assert_eq!(fleet.fate(before), Fate::Lived);
        fleet.killed(0);
        assert_eq!(fleet.fate(before), Fate::Killed);
        assert!(fleet.choose(&mut random).is_none());
        fleet.returned(0);
        assert_eq!(fleet.fate(before), Fate::Killed);
        let after = fleet.choose(&mut random).unwrap();
        assert_eq!(fleet.fate(after), Fate::Lived);
    }

    #[test]
    fn a_request_passed_on_is_lost_with_a_node_only_around_its_kill() {
        let (fleet, mut random) = (Fleet::new(2, 0), Random::from_seed(1));
        let mark = fleet.choose(&mut random).unwrap();
        assert_eq!(fleet.fate_passed_on(mark, 1), Fate::Lived, "nothing was killed");
        fleet.killed(1);
        let killed_ms = fleet.nodes()[1].killed_ms.unwrap();
        let fate = |at_ms| fleet.fate_passed_on(Mark { at_ms, ..mark }, 1);
        assert_eq!(fate(0), Fate::Killed, "begun before the kill");
        assert_eq!(fate(killed_ms + 2_000), Fate::Killed, "not yet noticed");
        assert_eq!(fate(killed_ms + 2_001), Fate::Lived, "long noticed");
        assert_eq!(fleet.fate_passed_on(mark, 0), Fate::Lived, "another node");
        assert_eq!(fleet.fate_passed_on(mark, 7), Fate::Lived, "no such node");
        fleet.nodes()[1].restarted_ms = Some(50);
        assert_eq!(fate(49), Fate::Killed);
        assert_eq!(fate(50), Fate::Lived, "it was back");
    }

    #[test]
    fn nodes_are_numbered_from_one() {
        assert_eq!((node_of("node1"), node_of("node12")), (Some(0), Some(11)));
        assert_eq!((node_of("node0"), node_of("n1"), node_of("")), (None, None, None));
    }
}
