//! A new actor for a running node, in order behind the appends asked for before.

use super::machine::{Arming, Renewing};
use super::world::{Happening, World};
use dunlin::causal::Actor;
use dunlin::node::Input;
use std::time::Duration;

/// A driver asks a full disk again for a new actor.
const RENEWED_AGAIN: Duration = Duration::from_millis(200);

impl World {
    /// The log goes on under a new actor; the node hears of it some time later.
    pub(super) fn renew(&mut self, node: usize, before: Arming) {
        let (boot, actor) = (self.stations[node].boot, self.random.u64());
        let Some(running) = &mut self.stations[node].running else { return };
        let renewing = running.process.renew(actor);
        self.note_strike(node, before);
        match renewing {
            Renewing::Renewed(actor) => {
                let delay = self.up_to(self.swarm.flush_delay / 4);
                self.after(delay, Happening::Renewed { node, boot, actor });
            }
            Renewing::Full => self.after(RENEWED_AGAIN, Happening::Flush { node, boot }),
            Renewing::Poisoned => {
                self.tally.count("disk: log poisoned");
                self.power_off(node);
            }
        }
    }

    /// What the disk's clocks claimed of damaged partitions goes with this: it counts as lost now.
    pub(super) fn renewed(&mut self, node: usize, boot: u64, actor: Actor) {
        if !self.is_current(node, boot) {
            return;
        }
        self.note(node, "renewed", 0, 0);
        self.workload.oracle.lose_disk(self.now);
        if let Some(running) = &mut self.stations[node].running {
            running.queue.pop_front();
            running.flushing = false;
        }
        self.feed(node, Input::Renewed { actor });
        self.plan_flush(node);
    }
}
