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
}

/// A node's standing when a request was sent to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) node: usize,
    kills: u32,
}

impl Fleet {
    /// All of them up, at the beginning of the run's time.
    pub(super) fn new(nodes: usize) -> Fleet {
        Fleet { started: Instant::now(), nodes: Mutex::new(vec![Standing { up: true, kills: 0 }; nodes]) }
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
        let nodes = self.nodes();
        let up: Vec<usize> = (0..nodes.len()).filter(|node| nodes[*node].up).collect();
        random.pick(&up).map(|node| Mark { node: *node, kills: nodes[*node].kills })
    }

    /// What has become of the node since the mark was made.
    pub(super) fn fate(&self, mark: Mark) -> Fate {
        let standing = self.nodes()[mark.node];
        if standing.up && standing.kills == mark.kills { Fate::Lived } else { Fate::Killed }
    }

    /// Those that are up.
    pub(super) fn up(&self) -> Vec<usize> {
        let nodes = self.nodes();
        (0..nodes.len()).filter(|node| nodes[*node].up).collect()
    }

    /// It is being killed: nobody is sent there any more.
    pub(super) fn killed(&self, node: usize) {
        let standing = &mut self.nodes()[node];
        (standing.up, standing.kills) = (false, standing.kills + 1);
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
        let (fleet, mut random) = (Fleet::new(1), Random::from_seed(1));
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
}
