//! Every byte of every file of a small store flipped, one at a time: what is read then is right, or nothing.

use super::Scene;
use super::enumeration::caught;
use super::model::{self, Model};
use crate::sim::SimDisk;
use crate::sim::disk::Fate;
use dunlin::base::{Key, Random};
use dunlin::causal::Object;
use dunlin::ring::PartitionId;
use dunlin::store::{Body, OpenOptions, Opened, Opening, Place, Record, RenewalReason, open};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Sealed segments of the store.
const SEALED: usize = 3;

/// Records behind them, in the tail.
const TAIL: usize = 5;

/// Keys of each of the two partitions.
const KEYS: u64 = 12;

/// A segment's header: without it the whole segment is given up.
const HEADER_BYTES: usize = 64;

/// Who opens the store after a flip; and who after that.
const ACTORS: [u64; 2] = [70, 71];

/// How the store was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// The power went: there is a tail to be scanned.
    Crash,
    /// It was closed, and everything sealed.
    Close,
}

/// Whether the store is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// It is not.
    Plain,
    /// It is.
    Encrypted,
}

impl Secrecy {
    /// Both.
    pub const ALL: [Secrecy; 2] = [Secrecy::Plain, Secrecy::Encrypted];

    /// How such a store is opened, always under the same keys.
    pub(super) fn options(self, actor: u64) -> OpenOptions {
        match self {
            Secrecy::Plain => model::options(actor),
            Secrecy::Encrypted => model::encrypted(model::options(actor), &[1], 2),
        }
    }
}

/// Which bits of which bytes.
#[derive(Debug, Clone, Copy)]
pub struct Coverage {
    /// Every so many bytes, from a random one on; 1 for every byte.
    pub every: usize,
    /// In how many bytes, of those, all eight bits are flipped: one in so many; in the others a random one.
    pub all_bits_every: u64,
}

/// What the flips of one kind of file came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileFlips {
    /// Bytes flipped.
    pub bytes: u64,
    /// Bits flipped.
    pub bits: u64,
    /// Openings that noticed nothing that mattered.
    pub kept: u64,
    /// Openings that took the last batch for torn.
    pub torn: u64,
    /// Openings that reset the clocks.
    pub reset: u64,
    /// Keys whose own record was hit, or its segment's header, and that could not be read.
    pub gone: u64,
    /// Such keys of which an older state was read, to be set right by the other replicas.
    pub older: u64,
}

/// What all flips came to, by kind of file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flips {
    /// By the first part of the file's name.
    pub files: BTreeMap<String, FileFlips>,
}

/// A store, and what is in it.
struct Written {
    disk: SimDisk,
    secrecy: Secrecy,
    /// Every record, and where it is.
    records: Vec<(Record, Place)>,
    /// What they amount to.
    full: Model,
}

/// Flips bits of a store drawn from `seed`, one at a time; stops at the first that breaks a promise.
pub fn flip(seed: u64, leaving: Leaving, secrecy: Secrecy, coverage: Coverage) -> (Flips, Option<String>) {
    let mut random = Random::from_seed(seed);
    let written = Written::new(&mut random, leaving, secrecy);
    let mut flips = Flips::default();
    for name in written.disk.file_names() {
        let length = written.disk.contents(&name).map_or(0, |bytes| bytes.len());
        let kind = name.split(['-', '.']).next().unwrap_or_default().to_owned();
        let first = random.below(coverage.every as u64) as usize;
        for at in (first..length).step_by(coverage.every) {
            let file = flips.files.entry(kind.clone()).or_default();
            file.bytes += 1;
            let one = random.below(8) as u8;
            let all = random.below(coverage.all_bits_every) == 0;
            for bit in if all { 0..8 } else { one..one + 1 } {
                file.bits += 1;
                if let Err(what) = written.judge(&name, at, bit, file) {
                    return (flips, Some(format!("{name}, byte {at}, bit {bit} (seed {seed}): {what}")));
                }
            }
        }
    }
    (flips, None)
}

impl Written {
    fn new(random: &mut Random, leaving: Leaving, secrecy: Secrecy) -> Written {
        let disk = Arc::new(SimDisk::new(1));
        let mut scene = Scene::open(&disk, secrecy.options(model::ACTOR)).unwrap();
        let (mut records, mut counters) = (Vec::new(), [0u64; 2]);
        // A close seals the tail, too.
        let sealed = if leaving == Leaving::Close { SEALED - 1 } else { SEALED };
        let mut behind = 0;
        while behind < TAIL {
            let partition = random.below(2) as u32;
            let key = format!("key-{}", random.below(KEYS));
            let counter = &mut counters[partition as usize];
            *counter += 1;
            let dot = model::dot(model::ACTOR, *counter);
            let record = match random.below(6) {
                0 => model::delete(partition, &key, dot),
                _ => model::put(partition, &key, dot, random.below(700) as usize),
            };
            let places = scene.append(std::slice::from_ref(&record)).unwrap();
            records.extend(places.into_iter().map(|(place, _)| (record.clone(), place)));
            scene.work().unwrap();
            let key_files = disk.file_names().iter().filter(|name| name.starts_with("keys-")).count();
            behind += usize::from(key_files >= sealed);
        }
        if leaving == Leaving::Close {
            scene.close().unwrap();
        }
        disk.crash_with(|_| Fate::Dropped);
        let full = Model::of(records.iter().map(|(record, _)| record));
        Written { disk: disk.snapshot(), secrecy, records, full }
    }

    /// Opens twice after a flip, and reads everything each time.
    fn judge(&self, name: &str, at: usize, bit: u8, flips: &mut FileFlips) -> Result<(), String> {
        let disk = Arc::new(self.disk.snapshot());
        if !disk.flip_bit(name, at, bit) {
            return Err("there is no such byte".into());
        }
        for actor in ACTORS {
            let opened = caught(|| open(disk.clone(), self.secrecy.options(actor)).map_err(|error| error.to_string()))?;
            if actor == ACTORS[0] {
                match opened.recovered.opening {
                    Opening::New => return Err("taken for a new directory".into()),
                    Opening::Kept => flips.kept += 1,
                    Opening::Renewed { reason: RenewalReason::TornTail } => flips.torn += 1,
                    Opening::Renewed { .. } => flips.reset += 1,
                }
            }
            caught(|| self.read_everything(&opened, (name, at), flips))?;
            disk.end_process();
        }
        Ok(())
    }

    fn read_everything(
        &self,
        opened: &Opened<SimDisk>,
        hit: (&str, usize),
        flips: &mut FileFlips,
    ) -> Result<(), String> {
        let found = read(opened)?;
        let mut states: BTreeMap<(PartitionId, &Key), Vec<(&Object, Place)>> = BTreeMap::new();
        for (record, place) in &self.records {
            let Body::Object { key, object, .. } = &record.body else { continue };
            states.entry((record.partition, key)).or_default().push((object, *place));
        }
        for ((partition, key), states) in states {
            let right = self.full.partitions[&partition].objects.get(key);
            let read = found.get(&(partition, key.clone()));
            if read == right {
                continue;
            }
            let own = states.last().is_some_and(|(_, place)| is_hit(*place, hit));
            match read {
                _ if !own => return Err(format!("{key} of {partition:?} was not hit, and is {read:?}")),
                None => flips.gone += 1,
                Some(read) if states.iter().any(|(state, _)| *state == read) => flips.older += 1,
                Some(read) => return Err(format!("{key} was never {read:?}")),
            }
        }
        Ok(())
    }
}

/// Everything that a store gives out.
fn read(opened: &Opened<SimDisk>) -> Result<BTreeMap<(PartitionId, Key), Object>, String> {
    let mut found = BTreeMap::new();
    for (partition, table) in &opened.recovered.tables {
        for (_, place) in table.index.from(0) {
            let Ok(record) = opened.reader.read(place) else { continue };
            let Body::Object { key, object, .. } = record.body else { return Err("a slot holds no object".into()) };
            if record.partition != *partition {
                return Err(format!("{key} lies in another partition"));
            }
            found.insert((*partition, key), object);
        }
    }
    Ok(found)
}

/// Is this byte in a record, or in the header of its segment?
fn is_hit(place: Place, (name, at): (&str, usize)) -> bool {
    let frame: Range<usize> = place.offset as usize..(place.offset + place.length) as usize;
    name == format!("segment-{:08x}.log", place.segment) && (at < HEADER_BYTES || frame.contains(&at))
}

impl Flips {
    /// Bits flipped in all.
    pub fn bits(&self) -> u64 {
        self.files.values().map(|file| file.bits).sum()
    }
}

impl fmt::Display for Flips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = ["bytes", "bits", "kept", "torn tail", "reset", "keys gone", "keys older"];
        write!(f, "{:<12}", "file")?;
        title.iter().try_for_each(|word| write!(f, "{word:>11}"))?;
        self.files.iter().try_for_each(|(name, file)| {
            let FileFlips { bytes, bits, kept, torn, reset, gone, older } = file;
            write!(f, "\n{name:<12}")?;
            [bytes, bits, kept, torn, reset, gone, older].iter().try_for_each(|figure| write!(f, "{figure:>11}"))
        })
    }
}
