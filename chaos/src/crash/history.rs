//! What a store was told and has answered, and what it may be after a crash.

use super::model::Model;
use crate::sim::SimDisk;
use dunlin::base::Random;
use dunlin::causal::Actor;
use dunlin::store::{Body, Durability, OpenOptions, Opened, Opening, Record, RenewalReason};
use std::collections::BTreeSet;

/// One store's life so far, as its node would remember it.
#[derive(Debug, Clone)]
pub(super) struct History {
    /// What the last opening that ended gave, and whose counters are in it.
    pub(super) base: Model,
    /// The actor of that opening.
    pub(super) actor: u64,
    /// Records since then, in order; the first `acknowledged` of them were answered for.
    pub(super) told: Vec<Told>,
    /// How many.
    pub(super) acknowledged: usize,
    /// When appends are answered.
    pub(super) durability: Durability,
    /// Machine starts so far.
    pub(super) boot: u64,
    /// Which openings may, or must, find more wrong than a crash.
    pub(super) doubt: Doubt,
    /// Openings begun: each draws an actor of its own.
    pub(super) openings: u64,
    /// Master keys: the one in force, and the one before; none while the store is not encrypted.
    pub(super) masters: Vec<u8>,
    /// Own dots that were answered for, ever: actor, partition, counter.
    pub(super) minted: BTreeSet<(u64, u32, u64)>,
}

/// A record on its way into the log.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// Under which it is, or would be, if that is known.
    pub(super) sequence: u64,
    /// What it says.
    pub(super) record: Record,
}

/// Whether clocks may be reset by the next opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// A mere crash: they may not.
    None,
    /// A call was made to fail, and word of it may have been left.
    Possible,
    /// Word has been left, or the directory is a copy: they must be, and the actor goes.
    Certain,
}

/// What happened to the machine before an opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It ran on: the page cache has everything.
    Process,
    /// The power was gone.
    Machine,
}

/// The actor of the first opening; each later one draws the next.
const FIRST_ACTOR: u64 = 1000;

impl History {
    /// Nothing told yet.
    pub(super) fn new(random: &mut Random) -> History {
        let durability = if random.chance(0.2) { Durability::Os } else { Durability::Fsync };
        History {
            base: Model::default(),
            actor: FIRST_ACTOR,
            told: Vec::new(),
            acknowledged: 0,
            durability,
            boot: 1,
            doubt: Doubt::None,
            openings: 0,
            masters: if random.chance(0.4) { vec![1] } else { Vec::new() },
            minted: BTreeSet::new(),
        }
    }

    /// How the opening begun last, or now to be judged, is made.
    pub(super) fn options(&self) -> OpenOptions {
        let plain = super::model::options(self.fresh_actor());
        let options = OpenOptions { durability: self.durability, boot: self.boot, ..plain };
        super::model::encrypted(options, &self.masters, 100 + self.openings as u8)
    }

    /// The actor that it is offered.
    fn fresh_actor(&self) -> u64 {
        FIRST_ACTOR + self.openings
    }

    /// From the next opening on there is another master key: a store that was not encrypted becomes so, another
    /// one gets a new data key.
    pub(super) fn change_master(&mut self) {
        self.masters.insert(0, self.masters.first().map_or(1, |master| master + 1));
        self.masters.truncate(2);
    }

    /// A batch is handed to the log.
    pub(super) fn tell(&mut self, last: u64, batch: &[Record]) {
        let numbered = batch.iter().zip(last + 1..);
        self.told.extend(numbered.map(|(record, sequence)| Told { sequence, record: record.clone() }));
    }

    /// It was answered for: all told until now must last, and no dot of it may be minted again.
    pub(super) fn acknowledge(&mut self) -> Result<(), String> {
        for told in self.told.get(self.acknowledged..).unwrap_or_default() {
            let dots = match &told.record.body {
                Body::Object { dots, minted: Some(_), .. } | Body::Void { dots, .. } => dots,
                Body::Hint(hint) => &hint.dots,
                _ => continue,
            };
            for dot in dots.dots() {
                if !self.minted.insert((dot.actor.0, told.record.partition.0, dot.counter)) {
                    return Err(format!("{dot} was minted twice in {:?}", told.record.partition));
                }
            }
        }
        self.acknowledged = self.told.len();
        Ok(())
    }

    /// Goes on from what an opening gave, once it was judged.
    pub(super) fn go_on(&mut self, opened: &Opened<SimDisk>, model: Model) {
        (self.base, self.actor) = (model, opened.recovered.actor.0);
        self.told.clear();
        (self.acknowledged, self.doubt) = (0, Doubt::None);
    }

    /// Is this what some allowed prefix of the history amounts to?
    pub(super) fn judge(&self, opened: &Opened<SimDisk>, model: &Model, ending: Ending) -> Result<(), String> {
        let recovered = &opened.recovered;
        let renewed = !matches!(recovered.opening, Opening::New | Opening::Kept);
        if renewed && recovered.actor != Actor(self.fresh_actor()) {
            return Err(format!("{:?} under the old actor", recovered.opening));
        }
        let reset = matches!(recovered.opening, Opening::Renewed { reason } if reason.resets());
        if reset && self.doubt == Doubt::None {
            return Err(format!("a mere crash was taken for {:?}: {:?}", recovered.opening, recovered.findings));
        }
        let restarted = recovered.opening == Opening::Renewed { reason: RenewalReason::MachineRestart };
        if restarted && (self.durability == Durability::Fsync || ending == Ending::Process) {
            return Err("nothing was at stake, and the actor was given up".into());
        }
        let plain = self.doubt != Doubt::Certain && !reset;
        let spared = self.doubt == Doubt::None;
        if self.some_prefix(recovered.actor.0, ending, |expected| {
            (plain && expected == model) || (!spared && is_reset_of(model, expected) && recovered.actor.0 != self.actor)
        }) {
            return Ok(());
        }
        let (lowest, highest) = (self.lowest(ending), self.told.len());
        Err(format!(
            "opened as {:?}, it is no prefix of {lowest}..={highest}: {model:#?}\nbut should be one up to {:#?}\n{:?}",
            recovered.opening,
            self.expected(highest, recovered.actor.0),
            recovered.findings
        ))
    }

    /// How many of the records told must be there.
    fn lowest(&self, ending: Ending) -> usize {
        let unsynced = ending == Ending::Machine || self.doubt != Doubt::None;
        if self.durability == Durability::Os && unsynced { 0 } else { self.acknowledged }
    }

    fn some_prefix(&self, actor: u64, ending: Ending, fits: impl Fn(&Model) -> bool) -> bool {
        let lowest = self.lowest(ending);
        let mut expected = self.expected(lowest, actor);
        fits(&expected)
            || self.told.iter().skip(lowest).any(|told| {
                self.play(&mut expected, told, actor);
                fits(&expected)
            })
    }

    /// The base and so many records, with the counters of this actor only (PROTOCOL R9).
    fn expected(&self, records: usize, actor: u64) -> Model {
        let mut expected = self.base.clone();
        if actor != self.actor {
            expected.partitions.values_mut().for_each(|partition| partition.minted = 0);
        }
        self.told.iter().take(records).for_each(|told| self.play(&mut expected, told, actor));
        expected
    }

    fn play(&self, expected: &mut Model, told: &Told, actor: u64) {
        expected.play(told.sequence, &told.record);
        if actor != self.actor {
            let partition = expected.partitions.get_mut(&told.record.partition);
            partition.into_iter().for_each(|partition| partition.minted = 0);
        }
    }
}

/// Does a model claim exactly the live versions of another? What keys without one had seen may be back: the
/// clock does not cover it any more.
fn is_reset_of(model: &Model, expected: &Model) -> bool {
    let mut model = model.clone();
    model
        .partitions
        .values_mut()
        .for_each(|partition| partition.objects.retain(|_, object| !object.versions.is_empty()));
    model == expected.clone().reset()
}
