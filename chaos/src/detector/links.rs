//! The connections one node has dialled, as `runtime::detector` keeps them: one for each direction, a
//! bounded number, the one unused for longest making room.

use dunlin::base::Time;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// As `runtime::detector::MAX_CONTACTS`.
const MOST: usize = 256;

/// As `runtime::detector::UNUSED`.
const UNUSED: Duration = Duration::from_secs(60);

/// All connections dialled by one node.
#[derive(Debug, Default)]
pub(super) struct Links {
    open: BTreeMap<u32, Link>,
    /// Uses, oldest first; one that is not its link's latest counts no more.
    uses: VecDeque<(u32, u64)>,
    clock: u64,
}

#[derive(Debug)]
struct Link {
    /// Which process was dialled.
    life: u32,
    /// The handshake is over.
    ready: Time,
    used: Time,
    stamp: u64,
}

impl Links {
    /// How many stand.
    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    /// All are gone, as after so long a silence that the peers gave up.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// When a message to `peer` can leave, if there is a connection to its present process.
    pub(super) fn reuse(&mut self, peer: u32, life: u32, now: Time) -> Option<Time> {
        let stamp = self.clock + 1;
        let link = self.open.get_mut(&peer).filter(|link| link.life == life && now.since(link.used) <= UNUSED)?;
        (link.used, link.stamp) = (now, stamp);
        let ready = link.ready;
        self.used(peer);
        Some(ready)
    }

    /// A new connection, usable from `ready` on.
    pub(super) fn dial(&mut self, peer: u32, life: u32, now: Time, ready: Time) {
        while self.open.len() >= MOST && !self.open.contains_key(&peer) {
            let Some((oldest, stamp)) = self.uses.pop_front() else { break };
            if self.is_latest(oldest, stamp) {
                self.open.remove(&oldest);
            }
        }
        self.open.insert(peer, Link { life, ready, used: now, stamp: self.clock + 1 });
        self.used(peer);
    }

    fn used(&mut self, peer: u32) {
        self.clock += 1;
        self.uses.push_back((peer, self.clock));
        while self.uses.front().is_some_and(|(peer, stamp)| !self.is_latest(*peer, *stamp)) {
            self.uses.pop_front();
        }
    }

    fn is_latest(&self, peer: u32, stamp: u64) -> bool {
        self.open.get(&peer).is_some_and(|link| link.stamp == stamp)
    }
}
