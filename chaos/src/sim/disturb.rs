//! The faults: what is done to the world, and for how long.

use super::machine::{Arming, DiskFaults};
use super::scrub::Rotten;
use super::swarm::{Detection, Fault};
use super::trace::WORLD;
use super::world::{Happening, Phase, World};
use dunlin::base::Time;
use std::time::Duration;

/// Most disks lost in one run: each takes a while to make good.
const MOST_LOSSES: usize = 3;

impl World {
    /// One fault, then the next some time later.
    pub(super) fn disturb(&mut self) {
        if self.phase == Phase::Calm {
            return;
        }
        self.back_up();
        let faults: Vec<Fault> = self.swarm.faults.iter().copied().collect();
        if let Some(fault) = self.random.pick(&faults).copied() {
            self.inflict(fault);
        }
        self.plan_disturbance();
    }

    /// Plans the next fault, if the run has any.
    pub(super) fn plan_disturbance(&mut self) {
        if !self.swarm.faults.is_empty() {
            let delay = self.up_to(self.swarm.fault_interval * 2);
            self.after(delay, Happening::Disturb);
        }
    }

    fn inflict(&mut self, fault: Fault) {
        let node = self.random.below(self.swarm.nodes as u64) as usize;
        let done = match fault {
            Fault::Crash => self.crash(node),
            Fault::PowerCut => {
                let calls = self.random.below(12);
                self.break_disk(node, DiskFaults { calls_left: Some(calls), ..DiskFaults::default() }, 10)
            }
            Fault::Pause => self.stand_still(node),
            Fault::Wipe => self.wipe(node),
            Fault::SyncError => self.fail_sync(node),
            Fault::Rot => self.rot(node),
            Fault::Partition => self.partition(),
            Fault::Clog => {
                self.network.clog(self.now, self.swarm.nodes);
                true
            }
            Fault::Mute => {
                let until = self.now + self.long_tailed(100, 10_000);
                let kind = self.network.mute(until);
                self.note(WORLD, kind, until.0, 0);
                true
            }
            Fault::WrongVerdict => self.mislead(node),
            Fault::ClockJump => self.jump(node),
            Fault::DiskFull => self.break_disk(node, DiskFaults { full: true, ..DiskFaults::default() }, 10_000),
            Fault::ReadErrors => {
                let read_errors = self.random.unit() * 0.5;
                self.break_disk(node, DiskFaults { read_errors, ..DiskFaults::default() }, 5_000)
            }
            Fault::SlowDisk => {
                self.stations[node].slow_until = self.now + self.long_tailed(100, 30_000);
                true
            }
        };
        if done {
            self.tally.count(&format!("fault: {fault:?}"));
            self.note(node, "fault", fault as u64, 0);
        }
    }

    /// Between `low` and `high` milliseconds, short ones more often.
    fn long_tailed(&mut self, low: u64, high: u64) -> Duration {
        let factor = (high as f64 / low as f64).powf(self.random.unit());
        Duration::from_micros((low as f64 * factor * 1_000.0) as u64)
    }

    /// One machine stops, or now and then all of them at once.
    fn crash(&mut self, node: usize) -> bool {
        let all = self.random.chance(0.1);
        let nodes = if all { 0..self.swarm.nodes } else { node..node + 1 };
        nodes.for_each(|node| self.power_off(node));
        true
    }

    /// A process stops, with its machine or alone, and comes back later.
    pub(super) fn power_off(&mut self, node: usize) {
        if self.stations[node].running.is_none() {
            return;
        }
        self.kill(node);
        self.stations[node].machine.set_faults(DiskFaults::default());
        if self.random.chance(0.5) {
            self.stations[node].machine.crash(&mut self.random);
        } else {
            self.stations[node].machine.end_process();
        }
        let delay = if self.phase == Phase::Calm { Duration::ZERO } else { self.long_tailed(10, 20_000) };
        self.after(delay, Happening::Restart { node });
    }

    fn break_disk(&mut self, node: usize, faults: DiskFaults, longest_ms: u64) -> bool {
        self.stations[node].machine.set_faults(faults);
        if faults.calls_left.is_none() && faults.failing_sync.is_none() {
            let length = self.long_tailed(10, longest_ms);
            self.after(length, Happening::RepairDisk { node });
        }
        true
    }

    fn stand_still(&mut self, node: usize) -> bool {
        let length = self.long_tailed(10, 120_000);
        let runs = self.stations[node].running.is_some() && self.stations[node].paused_until <= self.now;
        if runs {
            self.pause(node, length);
        }
        runs
    }

    /// May another disk be lost? Only if the others can make it good: three replicas, every node running
    /// and complete, no fault pending that costs a disk.
    fn may_lose(&mut self) -> bool {
        if !(0..self.swarm.nodes).all(|node| self.is_scrubbed(node)) {
            return false;
        }
        let mut stations = self.stations.iter_mut();
        let whole = stations
            .all(|s| s.machine.arming() == Arming::Safe && s.running.as_mut().is_some_and(|r| r.process.is_complete()));
        whole && self.swarm.replicas >= 3 && self.losses < MOST_LOSSES
    }

    fn lose(&mut self) {
        self.losses += 1;
        self.workload.oracle.lose_disk(self.now);
    }

    /// A sync was asked to fail and has: the disk is lost now, not when it was asked to.
    pub(super) fn note_strike(&mut self, node: usize, before: Arming) {
        if before == Arming::Armed && self.stations[node].machine.arming() == Arming::Safe {
            self.workload.oracle.lose_disk(self.now);
        }
    }

    /// Where disks are lost, backups are taken now and then: of running nodes, and of those that stand still.
    fn back_up(&mut self) {
        if self.swarm.faults.contains(&Fault::Wipe) && self.backup_random.chance(0.5) {
            let node = self.backup_random.below(self.swarm.nodes as u64) as usize;
            if self.stations[node].machine.back_up() {
                self.tally.count("backup: taken");
            }
        }
    }

    /// The disk is lost; what replaces it is empty, or as the last backup was.
    fn wipe(&mut self, node: usize) -> bool {
        if !self.may_lose() {
            return false;
        }
        self.lose();
        self.kill(node);
        if self.backup_random.chance(0.5) && self.stations[node].machine.restore() {
            self.tally.count("backup: restored");
        } else {
            self.stations[node].machine.wipe();
        }
        self.stations[node].disk_lost = true;
        self.stations[node].incarnation = 0;
        let delay = self.long_tailed(10, 10_000);
        self.after(delay, Happening::Restart { node });
        true
    }

    /// A sync will fail: the node must take its disk for damaged, so it counts as lost when that happens.
    fn fail_sync(&mut self, node: usize) -> bool {
        if !self.may_lose() {
            return false;
        }
        self.losses += 1;
        let failing_sync = Some(self.random.below(4));
        self.break_disk(node, DiskFaults { failing_sync, ..DiskFaults::default() }, 10)
    }

    /// Some bits flip, while the machine runs or while it stands still. An opening that is not told to verify
    /// leaves what is sealed to the scrub.
    fn rot(&mut self, node: usize) -> bool {
        if !self.may_lose() {
            return false;
        }
        if self.swarm.scrub.is_some() {
            if self.scrub_random.chance(0.7) {
                return self.rot_under_way(node);
            }
            self.stations[node].rotten = Some(Rotten { boot: 0, rounds: 1 });
            self.losses += 1;
        } else {
            self.lose();
        }
        self.kill(node);
        self.stations[node].machine.end_process();
        let rotten = self.stations[node].machine.rot(&mut self.random);
        if rotten && (self.swarm.scrub.is_none() || self.scrub_random.chance(0.3)) {
            self.stations[node].machine.doubt();
        }
        let delay = self.long_tailed(10, 10_000);
        self.after(delay, Happening::Restart { node });
        rotten
    }

    fn partition(&mut self) -> bool {
        let shape = self.network.partition(self.swarm.nodes);
        self.tally.count(&format!("partition: {shape}"));
        self.note(WORLD, shape, 0, 0);
        let length = self.long_tailed(100, 30_000);
        self.after(length, Happening::Mend);
        true
    }

    /// A node believes the opposite of the truth about another.
    fn mislead(&mut self, node: usize) -> bool {
        let peer = self.random.below(self.swarm.nodes as u64) as usize;
        if peer == node || self.swarm.detection == Detection::Real {
            return false;
        }
        let (opposite, length) = (self.stations[node].told[peer].is_none(), self.long_tailed(100, 20_000));
        let until = self.now + length;
        self.stations[node].wrong.insert(peer, (opposite, until));
        self.detect(node);
        true
    }

    /// By milliseconds, by minutes, or by a century.
    fn jump(&mut self, node: usize) -> bool {
        let size = 1.5_f64.powi(self.random.between(6, 31) as i32) as i64;
        let size = if self.random.chance(0.05) { 3_155_760_000_000 } else { size };
        let sign = if self.random.chance(0.5) { 1 } else { -1 };
        self.stations[node].skew_ms = sign * size;
        true
    }

    /// Every fault ends, every node runs, every verdict is right.
    pub(super) fn heal(&mut self) {
        self.note(WORLD, "heal", 0, 0);
        self.phase = Phase::Calm;
        self.network.heal();
        for node in 0..self.swarm.nodes {
            let station = &mut self.stations[node];
            station.machine.set_faults(DiskFaults::default());
            station.machine.disarm();
            station.paused_until = Time(0);
            station.slow_until = Time(0);
            station.wrong.clear();
            self.after(Duration::ZERO, Happening::Restart { node });
        }
        // A second look, when all that can be booted has been.
        for node in 0..self.swarm.nodes {
            self.after(Duration::from_millis(10), Happening::Detect { node });
        }
    }
}
