//! Key files and the tail's entries as tables: which record of each key counts.

use super::key_file::{EntryKind, KeyEntry, KeyFile, KeyFileError, KeySource, Merge};
use super::latest::Latest;
use super::reader::OpenSegment;
use super::scan::{Framed, Window};
use super::setback::Setback;
use super::tracker::ClockTracker;
use super::{Body, Disk, Log, OpenError, PartitionTable, Place, Published, Sequence};
use crate::base::{Key, Mutation, broken};
use crate::causal::DotSet;
use crate::ring::PartitionId;
use std::collections::BTreeMap;

/// What the entries of a log amount to.
pub(super) struct Gathered {
    /// Keys and hashes. Clocks and leftovers are still to come.
    pub(super) tables: BTreeMap<PartitionId, PartitionTable>,
    /// Keys whose record holds a leftover, and what their slot holds so far.
    pub(super) leftovers: Vec<(Place, Published)>,
    /// Where the hints asked for are.
    pub(super) hints: BTreeMap<Sequence, Place>,
    /// The latest records of the sealed log.
    pub(super) latest: Latest,
    /// Slots not filled yet.
    slots: Vec<Slot>,
}

/// Most slots that are collected before they are filled, 4 MiB of them. Key files come in the order of keys, which is
/// none for the index: filled in the order of partitions and hashes, a slot is near the one before it.
const SLOTS_AT_ONCE: usize = 1 << 17;

/// A slot to be filled.
struct Slot {
    partition: PartitionId,
    key_hash: u64,
    place: Place,
    entry_hash: u64,
}

/// The records that count of one key: the same key may be in several partitions only in tests.
#[derive(Default)]
struct Newest {
    entries: Vec<(u32, KeyEntry)>,
}

impl Gathered {
    /// Merges the key files of the sealed log and the runs of the tail. `tracker` says which hints to look for, and what
    /// was dropped. Memory: the tables, one block of each key file, and the slots that are collected.
    pub(super) fn from_log<D: Disk>(
        log: &Log<D>,
        tables: BTreeMap<PartitionId, PartitionTable>,
        tracker: &ClockTracker,
    ) -> Result<Gathered, KeyFileError> {
        let mut merge = Merge::new(sources(log)?)?;
        let (leftovers, slots, hints, latest) = (Vec::new(), Vec::new(), BTreeMap::new(), Latest::default());
        let mut gathered = Gathered { tables, leftovers, hints, latest, slots };
        let mut newest = Newest::default();
        while let Some((segment, entry)) = merge.next()? {
            if entry.kind != EntryKind::Hint && !tracker.keeps(entry.partition, entry.sequence) {
                continue;
            }
            if entry.sequence <= log.identity.sealed.through {
                gathered.latest.offer(&entry, place_of(segment, &entry));
            }
            if entry.kind != EntryKind::Hint {
                if newest.are_not_of(&entry.key) {
                    newest.entries.drain(..).for_each(|(segment, entry)| gathered.take(segment, &entry));
                }
                newest.offer(segment, entry);
            } else if tracker.hints.contains_key(&entry.sequence) {
                gathered.hints.entry(entry.sequence).or_insert(place_of(segment, &entry));
            }
        }
        newest.entries.drain(..).for_each(|(segment, entry)| gathered.take(segment, &entry));
        gathered.fill();
        gathered.slots = Vec::new();
        Ok(gathered)
    }

    fn take(&mut self, segment: u32, entry: &KeyEntry) {
        let (place, &KeyEntry { partition, entry_hash, .. }) = (place_of(segment, entry), entry);
        let before = match entry.kind {
            EntryKind::Live | EntryKind::LiveWithLeftover => {
                self.slots.push(Slot { partition, key_hash: entry.key.hash64(), place, entry_hash });
                Published { place: Some(place), entry_hash }
            }
            EntryKind::Gone | EntryKind::GoneWithLeftover | EntryKind::Hint => Published::default(),
        };
        if matches!(entry.kind, EntryKind::LiveWithLeftover | EntryKind::GoneWithLeftover) {
            self.leftovers.push((place, before));
        }
        if self.slots.len() >= SLOTS_AT_ONCE {
            self.fill();
        }
    }

    /// Fills the slots collected.
    fn fill(&mut self) {
        self.slots.sort_unstable_by_key(|slot| (slot.partition, slot.key_hash));
        for Slot { partition, key_hash, place, entry_hash } in self.slots.drain(..) {
            self.tables.entry(partition).or_default().restore(key_hash, place, entry_hash);
        }
    }

    /// The dots of live versions (PROTOCOL R8): every live record is read, segment by segment.
    pub(super) fn live_dots<D: Disk>(&self, log: &Log<D>) -> Result<BTreeMap<PartitionId, DotSet>, Setback> {
        let mut clocks: BTreeMap<PartitionId, DotSet> = BTreeMap::new();
        for source in sources(log).map_err(Setback::key_file)? {
            let mut live = self.live_places(source).map_err(Setback::key_file)?;
            live.sort_by_key(|framed| framed.place);
            let Some(Framed { place, .. }) = live.first() else { continue };
            let Some(OpenSegment { file, generation }) = log.reader.file(place.segment)? else { continue };
            let mut window = Window::new(&*log.disk, &file, Framed::end(&live));
            for framed in &live {
                let record = window.record(log.reader.codec(), framed, generation)?;
                let Framed { sequence, place } = *framed;
                let record = record.ok_or(OpenError::NotUnderstood { sequence, place })?;
                if let Body::Object { object, .. } = &record.body {
                    let clock = clocks.entry(record.partition).or_default();
                    object.versions.iter().for_each(|version| clock.insert(version.dot));
                }
            }
        }
        Ok(clocks)
    }

    /// The records of one source that fill a slot with live versions.
    fn live_places<D: Disk>(&self, source: KeySource<'_, D>) -> Result<Vec<Framed>, KeyFileError> {
        let mut merge = Merge::new(vec![source])?;
        let mut live = Vec::new();
        while let Some((segment, entry)) = merge.next()? {
            let place = place_of(segment, &entry);
            let counts = |table: &PartitionTable| table.index.holds(entry.key.hash64(), place);
            if self.tables.get(&entry.partition).is_some_and(counts) {
                live.push(Framed { sequence: entry.sequence, place });
            }
        }
        Ok(live)
    }
}

impl Newest {
    fn are_not_of(&self, key: &Key) -> bool {
        self.entries.first().is_some_and(|(_, entry)| entry.key != *key)
    }

    /// Entries come with the highest sequence first: it wins, wherever it lies (PROTOCOL R12a).
    fn offer(&mut self, segment: u32, entry: KeyEntry) {
        match self.entries.iter_mut().find(|(_, other)| other.partition == entry.partition) {
            None => self.entries.push((segment, entry)),
            Some(other) if broken(Mutation::DiskPositionOrder) => {
                if place_of(segment, &entry) > place_of(other.0, &other.1) {
                    *other = (segment, entry);
                }
            }
            Some(_) => {}
        }
    }
}

fn place_of(segment: u32, entry: &KeyEntry) -> Place {
    Place { segment, offset: entry.offset, length: entry.length }
}

/// All that says where keys are: the key file of each sealed segment, the run of each other.
fn sources<D: Disk>(log: &Log<D>) -> Result<Vec<KeySource<'_, D>>, KeyFileError> {
    let mut sources = Vec::new();
    for sealed in &log.identity.sealed.segments {
        let seal = log.reader.codec().keys().seal(sealed.data_key);
        let file = KeyFile::open(log.disk.clone(), sealed.segment, sealed.generation, seal)?;
        if sealed.key_file != file.summary().into() {
            return Err(KeyFileError::Damaged { segment: sealed.segment, what: "not the one the manifest speaks of" });
        }
        sources.push(KeySource::File(file.iter_from(&[])));
    }
    sources.extend(log.tails().flat_map(|tail| tail.run.pieces()).map(|piece| KeySource::Run(piece.iter())));
    Ok(sources)
}
