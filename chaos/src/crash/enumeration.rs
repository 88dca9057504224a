//! Every crash state of random scripts: the power goes at every call, and un-synced changes meet every fate.

use super::history::{Ending, History};
use super::model::{Model, assert_same};
use super::script::{self, Cut};
use super::states::States;
use super::{Going, Scene};
use crate::sim::SimDisk;
use crate::sim::disk::{Fate, Operation};
use dunlin::base::Random;
use dunlin::store::{Opening, open};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// One prefix in so many is recovered with the power going at every call of the recovery, too: such a prefix has
/// some hundred states.
const CUT_RECOVERIES: u64 = 16;

/// One state in so many is written to after its recovery, compacted, and crashed once more.
const LASTING: u64 = 8;

/// Random subsets of the un-synced changes tried for each prefix.
const SUBSETS: u64 = 4;

/// Ways to tear the last un-synced change, and all of them.
const TEARS: u64 = 4;

/// A state that broke a promise.
#[derive(Debug, Clone)]
pub struct Broken {
    /// The script.
    pub seed: u64,
    /// Changing calls before the power went.
    pub calls: u64,
    /// In which step.
    pub step: String,
    /// What is wrong.
    pub what: String,
}

/// Judges crash states of the scripts from `seed` on until there were so many, or one broke a promise. States that
/// a process cannot tell apart, with equal answers given before, count once.
pub fn enumerate(seed: u64, states: u64) -> (States, Option<Broken>) {
    let mut enumeration = Enumeration { states: States::default(), seen: BTreeSet::new() };
    for seed in seed.. {
        for calls in 0.. {
            let judged = enumeration.prefix(seed, calls);
            match judged {
                Ok(Progress::More) => {}
                Ok(Progress::ScriptEnded) => break,
                Err((step, what)) => return (enumeration.states, Some(Broken { seed, calls, step, what })),
            }
            if enumeration.states.total() >= states {
                return (enumeration.states, None);
            }
        }
        enumeration.states.scripts += 1;
    }
    (enumeration.states, None)
}

enum Progress {
    More,
    ScriptEnded,
}

struct Enumeration {
    states: States,
    /// Hashes of what was judged: the directory, and what must be in it.
    seen: BTreeSet<u64>,
}

impl Enumeration {
    /// All crashes after one prefix of a script's calls.
    fn prefix(&mut self, seed: u64, calls: u64) -> Result<Progress, (String, String)> {
        let played = caught(|| script::play(seed, calls)).map_err(|what| ("the script itself".to_owned(), what))?;
        let Cut { disk, history, step, refused, .. } = played;
        let mut random = Random::from_seed(seed.rotate_left(32) ^ calls);
        let place = (step, place_of(refused.as_ref()));
        let broken = |what| (format!("{step}, {}", place.1), what);
        for crash in crashes(&mut random, disk.unsynced()) {
            let crashed = crashed(&disk, &crash);
            self.state(&crashed, &history, place, &mut random).map_err(broken)?;
        }
        if random.below(CUT_RECOVERIES) == 0 {
            for fate in [Fate::Dropped, Fate::Kept, Fate::Torn(random.u64())] {
                let fates = vec![fate; disk.unsynced()];
                self.recoveries(&crashed(&disk, &fates), &history, &mut random).map_err(broken)?;
            }
        }
        Ok(if refused.is_some() { Progress::More } else { Progress::ScriptEnded })
    }

    /// The power goes again, at every call of the recovery.
    fn recoveries(&mut self, disk: &SimDisk, history: &History, random: &mut Random) -> Result<(), String> {
        let begun = begun(history);
        for inside in 0.. {
            let again = Arc::new(disk.snapshot());
            again.cut_power_after(inside);
            let opened = caught(|| Ok(open(again.clone(), begun.options()).map(drop)))?;
            let place = ("recovery from a crash", place_of(again.refused().as_ref()));
            for crash in crashes(random, again.unsynced()) {
                self.state(&crashed(&again, &crash), &begun, place, random)
                    .map_err(|what| format!("recovery cut at call {inside}: {what}"))?;
            }
            match (opened, again.refused()) {
                (Ok(()), _) => return Ok(()),
                (Err(_), Some(_)) => {}
                (Err(error), None) => return Err(format!("recovery failed: {error}")),
            }
        }
        Ok(())
    }

    /// One state: recovered twice and compared; now and then more is asked of it.
    fn state(
        &mut self,
        disk: &SimDisk,
        history: &History,
        place: (&'static str, &'static str),
        random: &mut Random,
    ) -> Result<(), String> {
        let promised = (history.acknowledged as u64) << 32 | history.told.len() as u64;
        let lasting = random.below(LASTING) == 0;
        if !self.seen.insert(disk.digest().rotate_left(17) ^ promised) {
            return Ok(());
        }
        self.states.count(place.0, place.1);
        let disk = Arc::new(disk.snapshot());
        caught(|| judge(&disk, history))?;
        if lasting { caught(|| go_on(&disk, history)) } else { Ok(()) }
    }
}

/// Recovers a crashed directory twice.
fn judge(disk: &Arc<SimDisk>, history: &History) -> Result<(), String> {
    let mut history = begun(history);
    let store = open(disk.clone(), history.options()).map_err(|error| format!("does not open: {error}"))?;
    let model = Model::read(&store);
    history.judge(&store, &model, Ending::Machine)?;
    disk.end_process();
    history.openings += 1;
    let again = open(disk.clone(), history.options()).map_err(|error| format!("does not open again: {error}"))?;
    if again.recovered.opening != Opening::Kept {
        return Err(format!("opened again, it is {:?}: {:?}", again.recovered.opening, again.recovered.findings));
    }
    assert_same(&store.recovered, &again.recovered, "opened again");
    disk.end_process();
    Ok(())
}

/// Writes to a recovered directory, compacts it, and crashes once more: all that was answered must be there.
fn go_on(disk: &Arc<SimDisk>, history: &History) -> Result<(), String> {
    let mut history = begun(&begun(history));
    let mut scene = Scene::open(disk, history.options()).map_err(|error| error.to_string())?;
    history.go_on(&scene.store, Model::read(&scene.store));
    let failed = |error: &dyn std::fmt::Display| format!("going on: {error}");
    let next = scene.tables.get(&dunlin::ring::PartitionId(0)).map_or(1, |table| table.minted + 1);
    for n in 0..3 {
        let batch = [super::model::put_by(history.actor, 0, &format!("key-{n}"), next + n, 700)];
        history.tell(0, &batch);
        scene.append(&batch).map_err(|error| failed(&error))?;
        history.acknowledge()?;
        scene.work().map_err(|error| failed(&error))?;
        for _ in 0..4 {
            if scene.go_on().map_err(|error| failed(&error))? == Going::Over {
                break;
            }
        }
    }
    let lasts = history.durability == dunlin::store::Durability::Fsync;
    disk.crash_with(|_| if lasts { Fate::Dropped } else { Fate::Kept });
    history.boot += 1;
    judge(disk, &history)
}

/// The history once another opening has begun, after a restart of the machine.
fn begun(history: &History) -> History {
    History { openings: history.openings + 1, boot: history.boot + 1, ..history.clone() }
}

/// Nothing kept, everything kept, each change alone lost and alone kept, random subsets, and torn in several ways:
/// what becomes of each un-synced change.
fn crashes(random: &mut Random, unsynced: usize) -> Vec<Vec<Fate>> {
    let all = |fate: &mut dyn FnMut(usize) -> Fate| (0..unsynced).map(fate).collect::<Vec<_>>();
    let mut crashes = vec![all(&mut |_| Fate::Dropped), all(&mut |_| Fate::Kept)];
    for one in 0..unsynced {
        crashes.push(all(&mut |at| if at == one { Fate::Dropped } else { Fate::Kept }));
        crashes.push(all(&mut |at| if at == one { Fate::Kept } else { Fate::Dropped }));
    }
    for _ in 0..SUBSETS {
        crashes.push(all(&mut |_| if random.chance(0.5) { Fate::Kept } else { Fate::Dropped }));
    }
    for _ in 0..TEARS {
        let seed = random.u64();
        crashes.push(all(&mut |at| if at + 1 == unsynced { Fate::Torn(seed) } else { Fate::Kept }));
        crashes.push(all(&mut |_| Fate::Torn(random.u64())));
    }
    crashes
}

fn crashed(disk: &SimDisk, fates: &[Fate]) -> SimDisk {
    let crashed = disk.snapshot();
    // What was to fail in this life fails no more.
    crashed.disarm();
    crashed.crash_with(|at| fates.get(at).copied().unwrap_or(Fate::Kept));
    crashed
}

/// What the call was about in which the power went.
fn place_of(refused: Option<&Operation>) -> &'static str {
    let Some(refused) = refused else { return "at the end" };
    let name = match refused {
        Operation::Create(name) | Operation::Allocate(name, _) | Operation::Sync(name) | Operation::Remove(name) => {
            name
        }
        Operation::Write(name, ..) | Operation::Rename(name, _) => name,
        Operation::SyncDirectory => return "names",
    };
    match (name.split(['-', '.']).next(), refused) {
        (_, Operation::Remove(_)) => "removal",
        (Some("identity"), _) => "manifest",
        (Some("keys"), _) if name.starts_with("keys-") => "key file",
        (Some("keys"), _) => "data keys",
        (Some("checkpoint"), _) => "checkpoint",
        (Some("segment"), Operation::Rename(..) | Operation::Write(_, 0, _)) => "roll, output",
        (Some("segment"), _) if name.ends_with(".new") => "segment made",
        (Some("segment"), _) => "tail",
        _ => "marker",
    }
}

/// A panic is a broken promise, too.
pub(super) fn caught<T>(judge: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(judge)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panicked: {}", text.unwrap_or_default()))
    })
}
