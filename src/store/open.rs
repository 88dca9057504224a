//! Opening a data directory: survey, verdict, replay, and what has to be written before anything is served.

use super::frame::{self, Entry};
use super::identity::{
    Birth, Durability, Ending, FoundIdentity, Identity, genesis_name, marker_name, put_marker, sync_names,
};
use super::log::{Phase, Settings, unexpected_full};
use super::reader::OpenSegment;
use super::replay::Replay;
use super::scan::{Framed, Window};
use super::segment::{quarantine_name, segment_name};
use super::survey::Survey;
use super::verdict::{Trust, Verdict};
use super::{
    AppendError, Body, Disk, DiskError, DiskErrorKind, Log, OpenError, Opening, PartitionTable, Published, Reader,
    Record, Recovered, Sequence,
};
use crate::base::{Mutation, broken};
use crate::causal::Actor;
use std::sync::Arc;

/// Bytes of the unproven tail copied at once: bounds memory, costs nothing in speed.
const COPY_BYTES: usize = 8 << 20;

/// Smallest segment: a header and a few records. Tests use it; below it every record would roll.
const MIN_SEGMENT_BYTES: u32 = 4096;

/// Default size of a segment: 256 of them hold 16 GiB, and losing one to damage costs little.
pub const DEFAULT_SEGMENT_BYTES: u32 = 64 << 20;

/// How to open a store.
#[derive(Debug, Clone, Copy)]
pub struct OpenOptions {
    /// Drawn by the driver for this opening; used if a new actor is needed.
    pub fresh_actor: Actor,
    /// Bytes of a new segment; a longer batch gets a segment of its own size.
    pub segment_bytes: u32,
    /// When an append is answered.
    pub durability: Durability,
    /// Hash of the kernel's boot id: tells a restarted process from a restarted machine.
    pub boot: u64,
    /// What a new directory is born as; with a file `genesis` in it, always complete.
    pub birth: Birth,
}

/// An open store.
pub struct Opened<D: Disk> {
    /// The writing end; one owner.
    pub log: Log<D>,
    /// The reading end; clone it freely.
    pub reader: Reader<D>,
    /// The state to go on from.
    pub recovered: Recovered,
}

/// Opens the directory, recovers its state, and makes durable all that it hands out.
pub fn open<D: Disk>(disk: Arc<D>, options: OpenOptions) -> Result<Opened<D>, OpenError> {
    disk.lock().map_err(|error| match error.kind {
        DiskErrorKind::Locked => OpenError::Locked,
        _ => error.into(),
    })?;
    let directory = disk.identity()?;
    let survey = Survey::take(&*disk)?;
    let verdict = Verdict::reach(&survey, directory, options.boot);
    let recovery = Recovery::begin(disk, &options, directory, survey, &verdict)?;
    recovery.run(&verdict)
}

/// An opening half-way.
struct Recovery<D: Disk> {
    log: Log<D>,
    survey: Survey,
    replay: Replay,
}

impl<D: Disk> Recovery<D> {
    /// Decides the identity. What a crash from here on must not forget is written first.
    fn begin(
        disk: Arc<D>,
        options: &OpenOptions,
        directory: u64,
        survey: Survey,
        verdict: &Verdict,
    ) -> Result<Self, OpenError> {
        let identity = next_identity(options, directory, &survey, verdict);
        match verdict.opening {
            Opening::Renewed { reason } if reason.resets() => put_marker(&*disk, &marker_name())?,
            Opening::Renewed { .. } => identity.replace(&*disk)?,
            Opening::New | Opening::Kept => {}
        }
        let mut blank = PartitionTable::default();
        blank.complete = identity.birth == Birth::Complete;
        let reader = Reader::new(disk.clone());
        for (segment, found) in survey.segments.range(..=identity.newest) {
            reader.admit(*segment, found.header.generation, None);
        }
        let settings = Settings {
            segment_bytes: options.segment_bytes.max(MIN_SEGMENT_BYTES),
            durability: options.durability,
            nonce: options.fresh_actor.0 ^ options.boot.rotate_left(32),
        };
        let log = Log {
            disk,
            reader,
            settings,
            phase: Phase::Recovering,
            active: None,
            unfinished: None,
            next_segment: survey.highest.max(identity.newest) + 1,
            last: verdict.last,
            durable: verdict.durable,
            predecessor: verdict.end,
            failed: None,
            identity,
        };
        Ok(Recovery { replay: Replay::new(log.identity.actor, blank), log, survey })
    }

    fn run(mut self, verdict: &Verdict) -> Result<Opened<D>, OpenError> {
        self.remove_unanswered()?;
        let proven = verdict.accepted.partition_point(|framed| framed.sequence <= verdict.durable);
        let (proven, tail) = verdict.accepted.split_at(proven);
        if broken(Mutation::DiskPositionOrder) {
            let mut by_position = proven.to_vec();
            by_position.sort_by_key(|framed| framed.place);
            self.play_all(&by_position)?;
        } else {
            self.play_all(proven)?;
        }
        self.copy_tail(tail)?;
        let resets = match verdict.opening {
            Opening::Renewed { reason } if reason.resets() => self.write_resets()?,
            _ => Vec::new(),
        };
        let torn = verdict.findings.iter().any(|finding| finding.kind == super::FindingKind::TornTail);
        if torn && self.log.active.is_none() {
            self.log.roll(Sequence(verdict.last.0 + 1), 0).map_err(append_failed)?;
        }
        self.log.sync().map_err(append_failed)?;
        self.settle()?;
        let (mut tables, hints) = self.replay.finish();
        for (record, place) in resets {
            if let Some(table) = tables.get_mut(&record.partition) {
                table.publish(&record, place, &Published::default());
            }
        }
        let recovered = Recovered {
            actor: self.log.identity.actor,
            opening: verdict.opening,
            tables,
            hints,
            complete_by_default: self.log.identity.birth == Birth::Complete,
            findings: verdict.findings.clone(),
        };
        Ok(Opened { reader: self.log.reader.clone(), log: self.log, recovered })
    }

    /// Takes away segments that were begun and never answered for, so that their names are free.
    fn remove_unanswered(&mut self) -> Result<(), DiskError> {
        let unanswered = self.survey.beyond(self.log.identity.newest);
        for segment in &unanswered {
            self.log.disk.remove(&segment_name(*segment))?;
        }
        if unanswered.is_empty() { Ok(()) } else { sync_names(&*self.log.disk) }
    }

    /// Plays records that are durable where they lie.
    fn play_all(&mut self, frames: &[Framed]) -> Result<(), OpenError> {
        for run in frames.chunk_by(|a, b| a.place.segment == b.place.segment) {
            let Some(first) = run.first() else { continue };
            let Some(OpenSegment { file, generation }) = self.log.reader.file(first.place.segment)? else {
                continue;
            };
            let disk = self.log.disk.clone();
            let mut window = Window::new(&*disk, &file, Framed::end(run));
            for framed in run {
                let Framed { sequence, place } = *framed;
                let record =
                    window.frame(framed.seat(generation))?.ok().and_then(|(_, payload)| frame::decode(payload));
                let record = record.ok_or(OpenError::NotUnderstood { sequence, place })?;
                self.replay.play(sequence, record, place);
            }
        }
        Ok(())
    }

    /// Writes the records behind the last durable marker anew, under their own sequences: they may be
    /// in the page cache alone, and a sync of the old file would not tell (PROTOCOL R17).
    fn copy_tail(&mut self, tail: &[Framed]) -> Result<(), OpenError> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for framed in tail {
            let payload = self.log.reader.read_payload(framed.place)?;
            bytes += payload.len();
            batch.push((*framed, payload));
            if bytes >= COPY_BYTES {
                self.copy_batch(std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        self.copy_batch(batch)
    }

    fn copy_batch(&mut self, batch: Vec<(Framed, Vec<u8>)>) -> Result<(), OpenError> {
        let mut records = Vec::with_capacity(batch.len());
        for (Framed { sequence, place }, payload) in batch {
            let record = frame::decode(&payload).ok_or(OpenError::NotUnderstood { sequence, place })?;
            records.push((Entry::of(sequence, &record), record));
        }
        let (entries, records): (Vec<Entry>, Vec<Record>) = records.into_iter().unzip();
        let places = self.log.write(&entries).map_err(append_failed)?;
        for ((entry, record), place) in entries.iter().zip(records).zip(places) {
            self.replay.play(entry.sequence, record, place);
        }
        Ok(())
    }

    /// R8 in its simple form: every partition claims the dots of its live versions, nothing else.
    fn write_resets(&mut self) -> Result<Vec<(Record, super::Place)>, OpenError> {
        let clocks = self.replay.reduced_clocks();
        let records: Vec<Record> =
            clocks.into_iter().map(|(partition, clock)| Record { partition, body: Body::Reset { clock } }).collect();
        let mut next = self.log.last.0;
        let entries: Vec<Entry> = records
            .iter()
            .map(|record| {
                next += 1;
                Entry::of(Sequence(next), record)
            })
            .collect();
        let places = self.log.write(&entries).map_err(append_failed)?;
        Ok(records.into_iter().zip(places).collect())
    }

    /// Makes the new identity the directory's, then takes away what it answers.
    fn settle(&mut self) -> Result<(), DiskError> {
        let log = &mut self.log;
        for segment in self.survey.headless.iter().filter(|segment| **segment <= log.identity.newest) {
            log.disk.rename(&segment_name(*segment), &quarantine_name(*segment))?;
        }
        log.phase = Phase::Serving;
        log.durable = log.last;
        log.identity.durable = log.last;
        log.identity.newest = log.newest().max(log.identity.newest);
        sync_names(&*log.disk)?;
        log.identity.replace(&*log.disk)?;
        let spent = [(self.survey.genesis, genesis_name()), (log.disk.open(&marker_name()).is_ok(), marker_name())];
        for (_, name) in spent.iter().filter(|(there, _)| *there) {
            log.disk.remove(name)?;
            sync_names(&*log.disk)?;
        }
        Ok(())
    }
}

/// The identity to go on under.
fn next_identity(options: &OpenOptions, directory: u64, survey: &Survey, verdict: &Verdict) -> Identity {
    let known = match &survey.identity {
        FoundIdentity::Known(identity) => Some(identity),
        _ => None,
    };
    let found = survey.segments.keys().chain(&survey.headless).max().copied().unwrap_or(0);
    let newest = match verdict.trust {
        Trust::Trusted => known.map_or(0, |identity| identity.newest),
        Trust::Absent => found,
    };
    let birth = match verdict.opening {
        Opening::New if survey.genesis => Birth::Complete,
        Opening::New => options.birth,
        Opening::Renewed { reason } if reason.resets() => Birth::Filling,
        _ => known.map_or(Birth::Filling, |identity| identity.birth),
    };
    let actor = match (verdict.opening, known) {
        (Opening::Kept, Some(identity)) => identity.actor,
        _ => options.fresh_actor,
    };
    Identity {
        actor,
        directory,
        boot: options.boot,
        ending: Ending::Open,
        birth,
        durability: options.durability,
        durable: verdict.durable,
        newest,
        lost: verdict.lost.ranges().collect(),
    }
}

fn append_failed(error: AppendError) -> OpenError {
    OpenError::Disk(match error {
        AppendError::Full => unexpected_full(),
        AppendError::Poisoned(error) => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{HybridTime, Key};
    use crate::causal::{Content, Dot, DotSet, Object, Version};
    use crate::ring::PartitionId;
    use crate::store::memory::MemoryDisk;

    fn options(actor: u64) -> OpenOptions {
        OpenOptions {
            fresh_actor: Actor(actor),
            segment_bytes: 1 << 16,
            durability: Durability::Fsync,
            boot: 1,
            birth: Birth::Complete,
        }
    }

    fn put(key: &str, counter: u64, superseded: u64) -> Record {
        let dot = Dot { actor: Actor(7), counter };
        let value = vec![counter as u8; 9].into();
        let content = Content {
            value,
            content_type: String::new(),
            metadata: vec![],
            written_at: HybridTime(0),
            expires_at: None,
        };
        let object = Object { versions: vec![Version { dot, content }], leftover: DotSet::EMPTY };
        let dots = (superseded..=counter).map(|counter| Dot { actor: Actor(7), counter }).collect();
        let key = Key::new(key.to_owned()).unwrap();
        Record { partition: PartitionId(0), body: Body::Object { key, object, dots, minted: Some(counter) } }
    }

    /// A log as compaction leaves it: an older record of a key behind a newer one.
    fn older_record_found_last() {
        let disk = Arc::new(MemoryDisk::default());
        let mut log = open(disk.clone(), options(7)).unwrap().log;
        let entries = [(2, put("a", 2, 1)), (1, put("a", 1, 1)), (3, put("b", 3, 3))];
        let entries: Vec<Entry> = entries.iter().map(|(at, record)| Entry::of(Sequence(*at), record)).collect();
        log.write(&entries).unwrap();
        log.close().unwrap();
        let store = open(disk, options(8)).unwrap();
        assert_eq!(store.recovered.opening, Opening::Kept);
        let table = &store.recovered.tables[&PartitionId(0)];
        let key = Key::new("a").unwrap();
        let places: Vec<_> = table.index.candidates(key.hash64()).collect();
        assert_eq!(places.len(), 1);
        assert_eq!(store.reader.read(places[0]).unwrap(), put("a", 2, 1));
    }

    #[test]
    fn the_highest_sequence_of_a_key_wins_wherever_it_lies() {
        older_record_found_last();
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn recovery_by_position_is_noticed() {
        crate::base::mutation::activate(Some(Mutation::DiskPositionOrder));
        let outcome = std::panic::catch_unwind(older_record_found_last);
        crate::base::mutation::activate(None);
        assert!(outcome.is_err());
    }

    #[test]
    fn a_batch_longer_than_a_segment_gets_its_own() {
        let disk = Arc::new(MemoryDisk::default());
        let mut store = open(disk.clone(), options(7)).unwrap();
        let batch: Vec<Record> = (1..2000).map(|counter| put(&format!("key {counter}"), counter, counter)).collect();
        let places = store.log.append(&batch).unwrap();
        assert!(places.iter().all(|(place, _)| place.segment == 1));
        store.log.append(&batch[..100]).unwrap();
        assert_eq!(store.log.newest(), 2);
        store.log.close().unwrap();
        let store = open(disk, options(8)).unwrap();
        assert_eq!(store.recovered.tables[&PartitionId(0)].index.len(), 1999);
    }

    #[test]
    fn a_segment_of_a_later_format_is_refused_and_left_alone() {
        let disk = Arc::new(MemoryDisk::default());
        let mut store = open(disk.clone(), options(7)).unwrap();
        store.log.append(&[put("a", 1, 1)]).unwrap();
        store.log.close().unwrap();
        let file = disk.open(&segment_name(1)).unwrap();
        let mut header = disk.read_at(&file, 0, 60).unwrap();
        header[8] = 9;
        header.extend(crc32c::crc32c(&header).to_le_bytes());
        disk.write_at(&file, 0, &header).unwrap();
        let refused = OpenError::UnknownFormat { file: "segment-00000001.log".into(), format: 9 };
        assert_eq!(open(disk.clone(), options(8)).err(), Some(refused));
        assert!(disk.open(&marker_name()).is_err());
    }
}
