//! Looking closely at one sealed segment while the log is open.
//!
//! Every byte up to the segment's end is a frame, so one pass from front to back is enough where nothing is wrong.
//! Behind the first frame that is not as it was written, the key file says where the others lie.

use super::compaction::may_fill_a_slot;
use super::frame::Seat;
use super::identity::sync_names;
use super::key_file::{EntryKind, KeyCursor, KeyEntry, KeyFile, KeyFileError, write_key_file};
use super::mend::ReadBack;
use super::scan::Window;
use super::sealed::SealedSegment;
use super::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use super::setback::is_damage;
use super::verdict::lost_of;
use super::{Disk, DiskError, DiskErrorKind, Holder, Log, LostRecord, OpenError, Place, ReadError, Reader};
use crate::causal::Intervals;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What an entry of a key file costs besides its record: its bytes in the file, about.
const ENTRY_BYTES: usize = 40;

/// An examination under way. Nothing but a damaged key file is changed by it; it may run on any thread.
pub struct Examination<D: Disk> {
    disk: Arc<D>,
    reader: Reader<D>,
    sealed: SealedSegment,
    /// Sequences lost by damage that was dealt with at an opening.
    lost: Intervals,
    /// Offsets of records that a reader could not read.
    suspects: BTreeSet<u32>,
    stage: Stage<D>,
    /// Every frame that ends here or before is as it was written.
    intact_until: u64,
    verified_bytes: u64,
    damage: Damage,
}

enum Stage<D: Disk> {
    Frames { offset: u64 },
    Keys(KeyCursor<D>),
    Over,
}

/// What is wrong with a segment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Damage {
    /// Records that cannot be read back, and that may still count: ask `Node::is_current`.
    pub records: Vec<LostRecord>,
    /// Others that cannot be read back: deletes, which say nothing that the key file and the clock do not.
    pub others: Vec<Place>,
}

impl Damage {
    /// How many records.
    pub fn count(&self) -> usize {
        self.records.len() + self.others.len()
    }
}

/// How far an examination has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Examined {
    /// There is more to do: another step.
    More,
    /// Everything that can be asked for is as it was written.
    Sound,
    /// The key file was not, and has been written anew from the records.
    KeyFileMended,
    /// This is lost, perhaps nothing that has a key. The marker that tells the next opening to verify is there. When
    /// nothing of it counts any more: [`Log::settle`], [`Log::condemn`].
    Damaged(Damage),
    /// Records are lost, and the key file that would say which: the next opening has to deal with it.
    Opaque,
}

impl<D: Disk> Examination<D> {
    /// Does a bounded piece of the work: verifies about `budget_bytes`, one record at least; a key file is written
    /// anew in one piece. An error says nothing about the segment: try again later.
    pub fn step(&mut self, budget_bytes: usize) -> Result<Examined, DiskError> {
        match &mut self.stage {
            Stage::Frames { offset } => {
                let offset = *offset;
                self.verify_frames(offset, budget_bytes)
            }
            Stage::Keys(_) => self.verify_entries(budget_bytes),
            Stage::Over => Ok(Examined::Sound),
        }
    }

    /// The segment that is examined.
    pub fn segment(&self) -> u32 {
        self.sealed.segment
    }

    /// How much it has verified so far, about.
    pub fn verified_bytes(&self) -> u64 {
        self.verified_bytes
    }

    fn verify_frames(&mut self, mut offset: u64, budget_bytes: usize) -> Result<Examined, DiskError> {
        let SealedSegment { segment, generation, end, .. } = self.sealed;
        let file = match self.disk.open(&segment_name(segment)) {
            Err(error) if is_damage(&error) => return self.frames_verified(0),
            file => file?,
        };
        if offset == 0 {
            if !self.has_header(&file)? {
                return self.frames_verified(0);
            }
            offset = SEGMENT_HEADER_BYTES as u64;
        }
        let limit = self.disk.len(&file)?.min(u64::from(end));
        let pause = offset + budget_bytes.max(1) as u64;
        let mut window = Window::new(&*self.disk, &file, limit);
        while offset < limit {
            let seat = Seat { segment, generation, offset: offset as u32 };
            let Ok(header) = window.frame(seat)?.map(|frame| frame.header) else { break };
            offset += header.frame_bytes() as u64;
            self.verified_bytes += header.frame_bytes() as u64;
            if offset >= pause && offset < limit {
                self.stage = Stage::Frames { offset };
                return Ok(Examined::More);
            }
        }
        self.frames_verified(offset)
    }

    /// Goes on with the key file. `intact_until` is 0 if not even the header is intact.
    fn frames_verified(&mut self, intact_until: u64) -> Result<Examined, DiskError> {
        self.intact_until = intact_until;
        let SealedSegment { segment, generation, key_file, data_key, .. } = self.sealed;
        let seal = self.reader.codec().keys().seal(data_key);
        match KeyFile::open(self.disk.clone(), segment, generation, seal) {
            Ok(file) if key_file == file.summary().into() => {
                self.stage = Stage::Keys(file.iter_from(&[]));
                Ok(Examined::More)
            }
            Ok(_) => self.key_file_damaged(),
            Err(error) => self.key_file_failed(error),
        }
    }

    fn has_header(&self, file: &D::File) -> Result<bool, DiskError> {
        match self.disk.read_at(file, 0, SEGMENT_HEADER_BYTES) {
            Ok(bytes) => {
                let header = SegmentHeader::decode(&bytes, self.sealed.segment);
                Ok(header.is_ok_and(|header| header.generation == self.sealed.generation))
            }
            Err(error) if error.kind == DiskErrorKind::Failed => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn verify_entries(&mut self, budget_bytes: usize) -> Result<Examined, DiskError> {
        let mut spent = 0;
        while spent < budget_bytes.max(1) {
            let Stage::Keys(cursor) = &mut self.stage else { break };
            let entry = match cursor.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => return self.entries_verified(),
                Err(error) => return self.key_file_failed(error),
            };
            spent += ENTRY_BYTES;
            self.verified_bytes += ENTRY_BYTES as u64;
            let end = u64::from(entry.offset) + u64::from(entry.length);
            if end > self.intact_until || self.suspects.contains(&entry.offset) {
                spent += entry.length as usize;
                self.verify_record(entry)?;
            }
        }
        Ok(Examined::More)
    }

    fn verify_record(&mut self, entry: KeyEntry) -> Result<(), DiskError> {
        let place = Place { segment: self.sealed.segment, offset: entry.offset, length: entry.length };
        match self.reader.read_again(place) {
            Ok(_) => return Ok(()),
            Err(ReadError::Disk(error)) if !is_damage(&error) => return Err(error),
            // Known, and waiting to be compacted away.
            Err(_) if self.reader.is_settled(place) => return Ok(()),
            Err(_) => {}
        }
        let KeyEntry { partition, key, entry_hash, sequence, kind, .. } = entry;
        let holder = match kind {
            EntryKind::Hint => Holder::Hint(sequence),
            kind if may_fill_a_slot(kind) => Holder::Key(key),
            _ => {
                self.damage.others.push(place);
                return Ok(());
            }
        };
        self.damage.records.push(LostRecord { partition, holder, place, entry_hash });
        Ok(())
    }

    fn entries_verified(&mut self) -> Result<Examined, DiskError> {
        self.stage = Stage::Over;
        let whole = self.intact_until >= u64::from(self.sealed.end);
        if whole && self.damage.count() == 0 {
            return Ok(Examined::Sound);
        }
        if self.damage.count() > 0 {
            self.reader.doubt(self.sealed.segment)?;
        }
        Ok(Examined::Damaged(std::mem::take(&mut self.damage)))
    }

    fn key_file_failed(&mut self, error: KeyFileError) -> Result<Examined, DiskError> {
        match error {
            KeyFileError::Disk(error) if !is_damage(&error) => Err(error),
            _ => self.key_file_damaged(),
        }
    }

    /// Writes it anew, if that gives the very file that the manifest speaks of: then no record is lost.
    fn key_file_damaged(&mut self) -> Result<Examined, DiskError> {
        self.stage = Stage::Over;
        let back = match ReadBack::read(&*self.disk, &self.reader, &self.sealed, &self.lost, |_| {}) {
            Ok(back) => Some(back),
            Err(OpenError::Disk(error)) if !is_damage(&error) => return Err(error),
            Err(_) => None,
        };
        if let Some(back) = back.filter(|back| back.found.records == self.sealed.records) {
            let summary = write_key_file(&*self.disk, &mut back.found.run.joined())?;
            sync_names(&*self.disk)?;
            if self.sealed.key_file == summary.into() {
                return Ok(Examined::KeyFileMended);
            }
        }
        self.reader.doubt(self.sealed.segment)?;
        Ok(Examined::Opaque)
    }
}

impl<D: Disk> Log<D> {
    /// Begins to examine a segment; none if it is not sealed (any more). None, too, while a compaction tells the
    /// node what it has moved there: what does not count yet would pass for superseded.
    pub fn examine(&self, segment: u32) -> Option<Examination<D>> {
        if self.compacted.is_relocating(segment) {
            return None;
        }
        Some(Examination {
            disk: self.disk.clone(),
            reader: self.reader.clone(),
            sealed: self.identity.sealed.get(segment)?.clone(),
            lost: lost_of(&self.identity),
            suspects: self.reader.suspects_in(segment),
            stage: Stage::Frames { offset: 0 },
            intact_until: 0,
            verified_bytes: 0,
            damage: Damage::default(),
        })
    }

    /// The first sealed segment behind this one.
    pub fn sealed_behind(&self, segment: u32) -> Option<u32> {
        let numbers = self.identity.sealed.segments.iter().map(|sealed| sealed.segment);
        numbers.filter(|number| *number > segment).min()
    }

    /// Sees to it that a segment with suspects, which is not sealed, is so soon: only then is there a key file to
    /// repair by. Of a segment that is gone the suspects go, too.
    pub fn seal_off(&mut self, segment: u32) -> Result<(), super::AppendError> {
        if self.identity.sealed.get(segment).is_some() {
            return Ok(());
        }
        if !self.tails().any(|tail| tail.segment == segment) {
            // Compacted away meanwhile, the suspects with it.
            let looked_at = self.reader.suspects_in(segment);
            let settled = self.reader.settle(segment, &looked_at, std::iter::empty());
            return settled.map_err(|error| self.poison(error));
        }
        if self.newest() == segment {
            self.roll(super::Sequence(self.last.0 + 1), 0)?;
        }
        self.do_jobs()
    }

    /// A segment was examined, and of the damage that was found nothing counts any more. What superseded it is
    /// synced first; then the next opening need not verify, unless there are other suspects.
    pub fn settle(&mut self, examination: &Examination<D>, damage: &Damage) -> Result<(), super::AppendError> {
        if self.durable < self.last {
            self.sync()?;
        }
        let places = damage.records.iter().map(|lost| &lost.place).chain(&damage.others);
        let offsets = places.map(|place| place.offset);
        let settled = self.reader.settle(examination.segment(), &examination.suspects, offsets);
        settled.map_err(|error| self.poison(error))
    }

    /// A segment holds records that cannot be read and do not count: the next compaction takes it first.
    pub fn condemn(&mut self, segment: u32) {
        self.compacted.condemn(segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{HybridTime, Key};
    use crate::causal::{Actor, Content, Dot, DotSet, Object, Version};
    use crate::ring::PartitionId;
    use crate::store::identity::doubt_name;
    use crate::store::key_file::key_file_name;
    use crate::store::memory::MemoryDisk;
    use crate::store::{
        Birth, Body, CodecOptions, Compaction, CompactionOptions, Durability, OpenOptions, Opened, Opening, Progress,
        Record, open,
    };

    const PARTITION: PartitionId = PartitionId(0);

    struct Scene {
        disk: Arc<MemoryDisk>,
        store: Opened<MemoryDisk>,
    }

    fn opened(disk: &Arc<MemoryDisk>, actor: u64) -> Opened<MemoryDisk> {
        let options = OpenOptions {
            fresh_actor: Actor(actor),
            segment_bytes: 4096,
            durability: Durability::Fsync,
            boot: 1,
            birth: Birth::Complete,
            codec: CodecOptions::default(),
        };
        open(disk.clone(), options).unwrap()
    }

    /// A key's new state: a value, or none.
    fn record(key: &str, counter: u64, value: Option<Vec<u8>>) -> Record {
        let dot = Dot { actor: Actor(7), counter };
        let content = |value: Vec<u8>| Content {
            value: value.into(),
            content_type: String::new(),
            metadata: vec![],
            written_at: HybridTime(0),
            expires_at: None,
        };
        let versions = value.map(|value| Version { dot, content: content(value) }).into_iter().collect();
        let object = Object { versions, leftover: DotSet::EMPTY };
        let key = Key::new(key.to_owned()).unwrap();
        Record { partition: PARTITION, body: Body::Object { key, object, dots: dot.into(), minted: Some(counter) } }
    }

    /// A log whose first segment, of a dozen records, is sealed and sound.
    fn scene() -> Scene {
        let disk = Arc::new(MemoryDisk::default());
        let mut store = opened(&disk, 7);
        for counter in 1..=12 {
            let value = (counter % 4 != 0).then(|| vec![counter as u8; 200]);
            store.log.append(&[record(&format!("key {counter}"), counter, value)]).unwrap();
        }
        store.log.seal_off(1).unwrap();
        assert_eq!(store.log.sealed_behind(0), Some(1));
        Scene { disk, store }
    }

    impl Scene {
        fn flip(&self, name: &crate::store::FileName, at: usize) {
            let file = self.disk.open(name).unwrap();
            let byte = self.disk.read_at(&file, at as u64, 1).unwrap()[0];
            self.disk.write_at(&file, at as u64, &[byte ^ 0x10]).unwrap();
        }

        fn examine(&self, budget_bytes: usize) -> (Examination<MemoryDisk>, Examined) {
            let mut examination = self.store.log.examine(1).unwrap();
            loop {
                match examination.step(budget_bytes).unwrap() {
                    Examined::More => {}
                    examined => return (examination, examined),
                }
            }
        }

        fn is_doubted(&self) -> bool {
            self.disk.open(&doubt_name()).is_ok()
        }

        fn end_of_segment(&self) -> usize {
            self.store.log.examine(1).unwrap().sealed.end as usize
        }

        /// Compacts as if these records alone did not count.
        fn compact(&mut self, lost: &[LostRecord]) {
            let options = CompactionOptions { seed: 1, lowest_live_share: 0.0 };
            let mut compaction: Compaction<MemoryDisk> = self.store.log.begin_compaction(options);
            let mut ask = |asked: &[crate::store::Question]| {
                asked.iter().map(|question| lost.iter().all(|lost| lost.place != question.place)).collect()
            };
            while compaction.step(1 << 20, &mut ask).unwrap() == Progress::More {}
            self.store.log.install(&compaction).unwrap();
            let output = self.store.log.sealed_behind(1).unwrap();
            assert!(self.store.log.examine(output).is_none(), "the node knows nothing of it");
            self.store.log.retire(&compaction).unwrap();
            assert!(self.store.log.examine(output).is_some());
        }
    }

    #[test]
    fn a_sound_segment_is_sound_in_steps_of_any_size() {
        let scene = scene();
        for budget in [0, 1, 100, 4096, 1 << 20] {
            assert_eq!(scene.examine(budget).1, Examined::Sound, "steps of {budget}");
        }
        assert!(!scene.is_doubted());
    }

    #[test]
    fn every_flipped_byte_of_a_segment_is_found_and_costs_one_record() {
        let scene = scene();
        for at in 0..scene.end_of_segment() {
            scene.flip(&segment_name(1), at);
            let (examination, examined) = scene.examine(1 << 20);
            let Examined::Damaged(damage) = examined else { panic!("byte {at}: {examined:?}") };
            assert_eq!(damage.count(), usize::from(at >= SEGMENT_HEADER_BYTES), "byte {at}");
            assert_eq!(scene.is_doubted(), damage.count() > 0, "byte {at}");
            scene.flip(&segment_name(1), at);
            scene.store.reader.settle(1, &examination.suspects, std::iter::empty()).unwrap();
        }
        assert!(!scene.is_doubted());
    }

    #[test]
    fn every_flipped_byte_of_a_key_file_is_mended() {
        let scene = scene();
        let name = key_file_name(1);
        let contents = || {
            let file = scene.disk.open(&name).unwrap();
            scene.disk.read_at(&file, 0, 1 << 20).unwrap()
        };
        let before = contents();
        // The filter is verified as a whole with the footer; all of the file counts.
        for at in 0..before.len() {
            scene.flip(&name, at);
            assert_eq!(scene.examine(1 << 20).1, Examined::KeyFileMended, "byte {at}");
            assert_eq!(contents(), before, "byte {at}");
        }
    }

    #[test]
    fn a_lost_record_in_a_segment_without_a_key_file_is_left_to_the_next_opening() {
        let scene = scene();
        scene.flip(&segment_name(1), 500);
        scene.flip(&key_file_name(1), 50);
        assert_eq!(scene.examine(1 << 20).1, Examined::Opaque);
        assert!(scene.is_doubted());
        let Opening::Renewed { reason } = opened(&scene.disk, 9).recovered.opening else { panic!("kept") };
        assert!(reason.resets());
    }

    #[test]
    fn what_a_reader_met_is_a_suspect_until_it_is_settled() {
        let mut scene = scene();
        let key = Key::new("key 3").unwrap();
        let tables = opened(&Arc::new(scene.disk.copied()), 8).recovered.tables;
        let place = tables[&PARTITION].index.candidates(key.hash64()).next().unwrap();
        scene.flip(&segment_name(1), place.offset as usize + 40);
        assert!(scene.store.reader.read(place).is_err());
        assert_eq!((scene.store.reader.suspects(), scene.is_doubted()), (vec![1], true));
        let (examination, examined) = scene.examine(1 << 20);
        let Examined::Damaged(damage) = examined else { panic!("{examined:?}") };
        assert_eq!(damage.records.iter().map(|lost| &lost.holder).collect::<Vec<_>>(), [&Holder::Key(key)]);
        scene.store.log.append(&[record("key 3", 13, None)]).unwrap();
        scene.store.log.settle(&examination, &damage).unwrap();
        assert_eq!((scene.store.reader.suspects(), scene.is_doubted()), (vec![], false));
        assert!(scene.store.reader.read(place).is_err());
        assert_eq!((scene.store.reader.suspects(), scene.is_doubted()), (vec![], false), "known");
        assert_eq!(scene.examine(1 << 20).1, Examined::Damaged(Damage::default()), "known");
        assert_eq!(opened(&scene.disk, 9).recovered.opening, Opening::Kept);
    }

    #[test]
    fn a_condemned_segment_is_compacted_without_its_lost_records_and_with_its_lost_deletes() {
        let mut scene = scene();
        let end = scene.end_of_segment();
        // Records are of a kind by their length: the fourth, the eighth and the last are deletes.
        for at in [500, end - 20] {
            scene.flip(&segment_name(1), at);
        }
        let (examination, examined) = scene.examine(1 << 20);
        let Examined::Damaged(damage) = examined else { panic!("{examined:?}") };
        assert_eq!((damage.records.len(), damage.others.len()), (1, 1));
        scene.store.log.append(&[record("key 2", 13, None)]).unwrap();
        scene.store.log.settle(&examination, &damage).unwrap();
        scene.store.log.condemn(1);
        scene.compact(&damage.records);
        assert_eq!(scene.store.log.sealed_behind(1), Some(3), "the tail is 2, the output 3");
        assert!(scene.store.log.examine(1).is_none());
        let inspected = opened(&scene.disk, 9).recovered;
        assert_eq!(inspected.opening, Opening::Kept);
        assert_eq!(inspected.tables[&PARTITION].index.len(), 8);
    }
}
