//! A random life of one store: batches of every kind, compaction between them, ends of every kind.

use super::history::{Doubt, Ending, History};
use super::model::{self, Model};
use super::{Going, Pace, Scene, Worker};
use crate::sim::SimDisk;
use crate::sim::disk::Operation;
use dunlin::base::{NodeId, Random};
use dunlin::causal::Dot;
use dunlin::ring::PartitionId;
use dunlin::store::{AppendError, Body, CompactionError, Durability, OpenOptions, Record, Sequence};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Lives of one script; each ends in another way, and the next opening recovers.
const LIVES: u64 = 4;

/// Most steps of one life.
const STEPS: u64 = 30;

/// Partitions written to: few, so that keys are overwritten.
const PARTITIONS: u64 = 3;

/// Keys of each.
const KEYS: u64 = 6;

/// Other nodes, whose dots arrive.
const PEERS: u64 = 3;

/// Where in a script the power went.
pub(super) struct Cut {
    /// The disk as the crash finds it.
    pub(super) disk: SimDisk,
    /// What it must still hold.
    pub(super) history: History,
    /// In which step.
    pub(super) step: &'static str,
    /// In which call; none if the script came to its end first.
    pub(super) refused: Option<Operation>,
}

/// What ends a script early.
enum Stop {
    /// The power is gone.
    Power,
    /// A promise is broken.
    Broken(String),
}

/// Plays the script of `seed` until the power goes in the call after `calls` changing ones.
pub(super) fn play(seed: u64, calls: u64) -> Result<Cut, String> {
    let mut random = Random::from_seed(seed);
    let history = History::new(&mut random);
    let disk = Arc::new(SimDisk::new(1));
    let (step, ending) = ("opening: first", Ending::Process);
    let mut player = Player { disk, history, random, left: calls, step, ending, last: None };
    match player.play() {
        Err(Stop::Broken(what)) => Err(what),
        Ok(()) | Err(Stop::Power) => Ok(Cut {
            disk: player.disk.snapshot(),
            refused: player.disk.refused(),
            step: player.step,
            history: player.history,
        }),
    }
}

struct Player {
    disk: Arc<SimDisk>,
    history: History,
    random: Random,
    /// Changing calls left at the beginning of this life.
    left: u64,
    step: &'static str,
    /// What has happened since the last opening that ended.
    ending: Ending,
    /// The last sequence of the log, once something was answered.
    last: Option<u64>,
}

impl Player {
    fn play(&mut self) -> Result<(), Stop> {
        for life in 0..LIVES {
            let scene = self.open()?;
            self.live(scene)?;
            if life + 1 < LIVES {
                self.settle();
            }
        }
        Ok(())
    }

    /// Opens, now and then after openings that are cut short themselves.
    fn open(&mut self) -> Result<Scene, Stop> {
        while self.history.openings > 0 && self.random.chance(0.25) {
            let calls = self.random.below(24);
            if calls >= self.left {
                break;
            }
            self.disk.cut_power_after(calls);
            let options = self.options();
            let opened = Scene::open(&self.disk, options);
            self.left -= calls - self.disk.power_left().unwrap_or(0);
            if let Ok(scene) = opened {
                self.disk.cut_power_after(self.left);
                return self.opened(scene);
            }
            self.crash();
        }
        self.disk.cut_power_after(self.left);
        let options = self.options();
        match Scene::open(&self.disk, options) {
            Ok(scene) => self.opened(scene),
            Err(error) => Err(self.stopped(&error)),
        }
    }

    fn opened(&mut self, scene: Scene) -> Result<Scene, Stop> {
        let model = Model::read(&scene.store);
        self.history.judge(&scene.store, &model, self.ending).map_err(Stop::Broken)?;
        self.history.go_on(&scene.store, model);
        (self.last, self.ending) = (None, Ending::Process);
        Ok(scene)
    }

    /// How to open now. Every attempt draws an actor of its own.
    fn options(&mut self) -> OpenOptions {
        self.history.openings += 1;
        self.history.options()
    }

    /// Steps until the life ends, and its end.
    fn live(&mut self, mut scene: Scene) -> Result<(), Stop> {
        let mut counters = self.counters(&scene);
        scene.jobs = Worker::new(*self.random.pick(&Pace::ALL).unwrap());
        for _ in 0..self.random.between(STEPS / 3, STEPS) {
            if self.random.chance(0.4) {
                self.step = scene.stage.next();
                match scene.go_on() {
                    Ok(Going::On | Going::Over) => {}
                    Err(CompactionError::Failed(error)) => return self.failed(&error),
                    Err(error) => return Err(self.stopped(&error)),
                }
                continue;
            }
            if self.history.doubt == Doubt::None && self.random.chance(0.02) {
                self.arm();
            }
            let batch = self.draw(&scene, &mut counters);
            self.history.tell(self.last.unwrap_or(0), &batch);
            match scene.append(&batch) {
                Ok(places) => {
                    self.last = places.last().map(|(_, sequence)| sequence.0);
                    self.history.acknowledge().map_err(Stop::Broken)?;
                }
                Err(AppendError::Poisoned(error)) => return self.failed(&error),
                Err(AppendError::Full) => return Err(Stop::Broken("no space was ever short".into())),
            }
            self.step = "job";
            if let Err(AppendError::Poisoned(error)) = scene.work() {
                return self.failed(&error);
            }
        }
        if self.random.chance(0.3) {
            self.step = "close";
            if scene.close().is_err() && self.disk.refused().is_some() {
                return Err(Stop::Power);
            }
        }
        Ok(())
    }

    /// A call failed: for want of power, or because it was made to.
    fn failed(&mut self, error: &dyn std::fmt::Display) -> Result<(), Stop> {
        if self.disk.refused().is_some() {
            return Err(Stop::Power);
        }
        if self.history.doubt == Doubt::None {
            return Err(Stop::Broken(format!("{} failed by itself: {error}", self.step)));
        }
        self.history.doubt = Doubt::Certain;
        Ok(())
    }

    fn stopped(&self, error: &dyn std::fmt::Display) -> Stop {
        match self.disk.refused() {
            Some(_) => Stop::Power,
            None => Stop::Broken(format!("{}: {error}", self.step)),
        }
    }

    /// Makes a sync or a write of the near future fail.
    fn arm(&mut self) {
        self.history.doubt = Doubt::Possible;
        let nth = self.random.below(6);
        if self.random.chance(0.5) { self.disk.fail_sync(nth) } else { self.disk.fail_write(nth) }
    }

    /// The end of a life, and in which step the next opening is.
    fn settle(&mut self) {
        self.left = self.disk.power_left().unwrap_or(self.left);
        self.disk.disarm();
        if self.random.chance(0.3) {
            self.history.change_master();
        }
        let renews = self.history.durability == Durability::Os;
        match (self.random.below(10), self.history.doubt) {
            (0, Doubt::None) => {
                self.disk = Arc::new(self.disk.copied(2 + self.history.openings));
                self.history.doubt = Doubt::Certain;
                self.step = "opening: reset of a copy";
            }
            (_, Doubt::Certain) => {
                self.disk.end_process();
                self.step = "opening: reset after a failed call";
            }
            (1..5, _) => {
                self.disk.end_process();
                self.step = "opening: after a kill or close";
            }
            _ => {
                self.crash();
                self.step = if renews { "opening: new actor, unsynced" } else { "opening: after a crash" };
            }
        }
    }

    fn crash(&mut self) {
        self.disk.crash(&mut self.random);
        self.history.boot += 1;
        self.ending = Ending::Machine;
    }

    fn counters(&self, scene: &Scene) -> BTreeMap<u32, u64> {
        let minted = |id| scene.tables.get(&PartitionId(id)).map_or(0, |table| table.minted);
        (0..PARTITIONS as u32).map(|id| (id, minted(id))).collect()
    }

    fn draw(&mut self, scene: &Scene, counters: &mut BTreeMap<u32, u64>) -> Vec<Record> {
        if self.random.chance(0.15) {
            self.step = "batch";
            return (0..self.random.between(2, 5)).map(|_| self.record(scene, counters).1).collect();
        }
        let (step, record) = self.record(scene, counters);
        self.step = step;
        vec![record]
    }

    /// One record of any kind, and what it is called.
    fn record(&mut self, scene: &Scene, counters: &mut BTreeMap<u32, u64>) -> (&'static str, Record) {
        let partition = self.random.below(PARTITIONS) as u32;
        let key = format!("key-{}", self.random.below(KEYS));
        // A long one now and then gets a segment of its own.
        let long = self.random.chance(0.03);
        let bytes = if long { 5000 } else { self.random.below(1200) as usize };
        let actor = self.history.actor;
        let mut mint = || {
            let counter = counters.entry(partition).or_default();
            *counter += 1;
            model::dot(actor, *counter)
        };
        match self.random.below(20) {
            0..3 => ("delete", model::delete(partition, &key, mint())),
            3 => ("replicated put", model::put(partition, &key, self.foreign(), bytes)),
            4 => ("void", void(partition, mint())),
            5 => ("join", model::plain(partition, Body::Join { dots: (0..3).map(|_| self.foreign()).collect() })),
            6 if self.last.is_some() => {
                let targets: Vec<u64> = (1..=self.random.between(1, 3)).collect();
                ("hint", model::hint(partition, &key, mint(), &targets))
            }
            7 | 8 => match self.open_hint() {
                Some((hint, target)) => {
                    ("hint done", model::plain(partition, Body::HintDone { hint: Sequence(hint), target }))
                }
                None => ("complete", model::plain(partition, Body::Complete)),
            },
            9 => {
                let leftover = [self.foreign(), self.foreign()];
                ("put with a leftover", minted(model::ahead(partition, &key, mint(), leftover)))
            }
            10 => {
                let leftover = self.foreign();
                ("delete with a leftover", model::gone_ahead(partition, &key, mint(), leftover))
            }
            11 if self.random.chance(0.4) => ("drop", model::plain(partition, Body::Drop)),
            _ => {
                let held = scene.is_held(partition, &key);
                (if held { "overwrite" } else { "put" }, minted(model::put(partition, &key, mint(), bytes)))
            }
        }
    }

    /// A dot of another node.
    fn foreign(&mut self) -> Dot {
        model::dot(1 + self.random.below(PEERS), 1 + self.random.below(40))
    }

    /// A hint that is open at the last answer, and one of its targets.
    fn open_hint(&mut self) -> Option<(u64, NodeId)> {
        let mut model = Model { hints: self.history.base.hints.clone(), ..Model::default() };
        self.history.told.iter().for_each(|told| model.play(told.sequence, &told.record));
        let open: Vec<(u64, NodeId)> =
            model.hints.iter().flat_map(|(hint, targets)| targets.iter().map(|target| (*hint, *target))).collect();
        self.random.pick(&open).copied()
    }
}

/// With the counter of its dot, whoever the actor.
fn minted(mut record: Record) -> Record {
    if let Body::Object { dots, minted, .. } = &mut record.body {
        *minted = dots.dots().next().map(|dot| dot.counter);
    }
    record
}

fn void(partition: u32, burnt: Dot) -> Record {
    model::plain(partition, Body::Void { dots: burnt.into(), minted: burnt.counter })
}
