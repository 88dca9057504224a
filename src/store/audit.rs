//! Holding what a directory says in one place against what it says in another. Nothing is written.

use super::cipher::Seal;
use super::codec::Codec;
use super::compaction::may_fill_a_slot;
use super::inspect::Contents;
use super::key_file::{EntryKind, KeyEntry, KeyFile, KeyRun, KeySource, Merge};
use super::mend::{ReadBack, SealedFrames, key_file_is_sound};
use super::reader::OpenSegment;
use super::scan::{Framed, Window};
use super::sealed::SealedSegment;
use super::segment::{Origin, SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use super::setback::Setback;
use super::survey::Survey;
use super::tail::TailSegment;
use super::tracker::ClockTracker;
use super::verdict::Verdict;
use super::{Birth, Body, Disk, Finding, FindingKind, OpenError, Reader, Sequence};
use crate::base::Key;
use crate::causal::{Actor, Dot};
use crate::ring::PartitionId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most contradictions told: beyond, one more says nothing new.
pub(super) const MAX_CONTRADICTIONS: usize = 100;

/// Two places in a directory that do not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contradiction {
    /// The manifest counts other records, bytes or sequences in a sealed segment than there are.
    Manifest {
        /// Which.
        segment: u32,
    },
    /// A line of a key file leads to no record, or to another one than it says.
    KeyLine {
        /// Whose key file.
        segment: u32,
        /// Where it leads.
        offset: u32,
        /// What it says is there.
        key: Key,
    },
    /// A record that its segment's key file does not lead to.
    Unlisted {
        /// Which segment.
        segment: u32,
        /// Where it is.
        offset: u32,
        /// Its key.
        key: Key,
    },
    /// The checkpoint says of a partition something else than the records before it.
    Checkpoint {
        /// Which.
        partition: PartitionId,
    },
    /// A live version of a complete partition that the partition's clock does not know.
    Clock {
        /// Which.
        partition: PartitionId,
        /// The version's dot.
        dot: Dot,
    },
    /// The clock has a dot of the own actor that its counter has not reached: it would be minted again.
    Counter {
        /// Which partition's.
        partition: PartitionId,
    },
    /// An open hint without a record.
    Hint {
        /// Which.
        sequence: Sequence,
    },
}

/// What an audit has found.
pub(super) struct Audit<'a, D: Disk> {
    disk: &'a Arc<D>,
    reader: Reader<D>,
    verdict: &'a Verdict,
    pub(super) contents: Contents,
    pub(super) findings: Vec<Finding>,
    pub(super) contradictions: Vec<Contradiction>,
    /// Bytes of current records, by segment; none unless every key can be found.
    pub(super) current_bytes: Option<BTreeMap<u32, u64>>,
    tails: Vec<TailSegment>,
    /// The records' word for what the checkpoint says; none where compaction has dropped some.
    replayed: Option<ClockTracker>,
}

/// Who writes, and what partitions without a record are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    pub(super) actor: Actor,
    pub(super) birth: Birth,
}

impl Owner {
    /// Without a readable identity: no counter counts.
    pub(super) const NOBODY: Owner = Owner { actor: Actor(0), birth: Birth::Filling };
}

impl<'a, D: Disk> Audit<'a, D> {
    /// Reads everything that counts. Of segments under a data key that `codec` does not know only what is not encrypted.
    pub(super) fn of(
        disk: &'a Arc<D>,
        codec: Arc<Codec>,
        survey: &Survey,
        verdict: &'a Verdict,
        owner: Owner,
    ) -> Result<Self, OpenError> {
        let reader = Reader::new(disk.clone(), codec);
        for sealed in &verdict.sealed.segments {
            reader.admit(sealed.segment, sealed.generation, None);
        }
        survey.segments.iter().for_each(|(segment, found)| reader.admit(*segment, found.header.generation, None));
        let mut audit = Audit {
            disk,
            reader,
            verdict,
            contents: Contents::default(),
            findings: Vec::new(),
            contradictions: Vec::new(),
            current_bytes: None,
            tails: Vec::new(),
            replayed: verdict.lost.is_empty().then(|| ClockTracker::new(owner.actor, owner.birth)),
        };
        let mut listed = Listed::Whole;
        for sealed in &verdict.sealed.segments {
            listed = listed.and(audit.look_at_sealed(sealed)?);
        }
        listed = listed.and(audit.read_tail(survey, owner.actor)?);
        let checkpoint = survey.sealed.as_ref().and_then(|(_, checkpoint)| checkpoint.as_ref());
        let mut tracker = match checkpoint {
            Some(checkpoint) => checkpoint.tracker(owner.actor, owner.birth),
            None => ClockTracker::new(owner.actor, owner.birth),
        };
        audit.compare_checkpoint(&tracker);
        audit.tails.iter().for_each(|tail| tracker.apply(&tail.steps));
        audit.check_counters(&tracker);
        if listed == Listed::Whole {
            audit.look_at_keys(&tracker)?;
        }
        Ok(audit)
    }

    fn note(&mut self, contradiction: Contradiction) {
        if self.contradictions.len() < MAX_CONTRADICTIONS {
            self.contradictions.push(contradiction);
        }
    }

    /// Its records against the manifest and the key file. Does the key file lead to every record?
    fn look_at_sealed(&mut self, sealed: &SealedSegment) -> Result<Listed, OpenError> {
        if self.seal(sealed.data_key).is_locked() {
            return self.look_at_locked(sealed);
        }
        let contents = &mut self.contents;
        let see = |record: &_| contents.count(record);
        let back = ReadBack::read(&**self.disk, &self.reader, sealed, &self.verdict.lost, see)?;
        self.findings.extend(back.findings.iter().cloned());
        self.replay(sealed, &back.found)?;
        let missing = back.missing(sealed);
        let found = back.found.sealed(sealed.key_file);
        if missing.is_none() && found != *sealed {
            self.note(Contradiction::Manifest { segment: sealed.segment });
        }
        let is_whole = missing.is_none();
        self.findings.extend(missing);
        if !key_file_is_sound(self.disk, self.reader.codec().keys(), sealed)? {
            self.findings.push(Finding::of_segment(FindingKind::DamagedKeyFile, sealed.segment));
            return Ok(Listed::InPart);
        }
        if is_whole {
            self.compare_keys(sealed, back.found.run.joined())?;
        }
        Ok(Listed::Whole)
    }

    /// The same without its data key: checksums are over what is encrypted.
    fn look_at_locked(&mut self, sealed: &SealedSegment) -> Result<Listed, OpenError> {
        self.replayed = None;
        let found = SealedFrames::read(&**self.disk, &self.reader, sealed, &self.verdict.lost)?;
        let missing = found.missing(sealed);
        if missing.is_none() && !found.are_counted(sealed) {
            self.note(Contradiction::Manifest { segment: sealed.segment });
        }
        self.findings.extend(found.findings.into_iter().chain(missing));
        if !key_file_is_sound(self.disk, self.reader.codec().keys(), sealed)? {
            self.findings.push(Finding::of_segment(FindingKind::DamagedKeyFile, sealed.segment));
        }
        Ok(Listed::InPart)
    }

    /// Walks through key file and records side by side: both are in the order of keys.
    fn compare_keys(&mut self, sealed: &SealedSegment, mut run: KeyRun) -> Result<(), OpenError> {
        run.sort();
        let segment = sealed.segment;
        let mut lines = self.key_file(sealed)?.iter_from(&[]);
        let mut records = run.iter();
        let mut next = (lines.next().map_err(unreadable)?, records.next());
        loop {
            let behind = match &next {
                (None, None) => return Ok(()),
                (Some(_), None) => Behind::Line,
                (None, Some(_)) => Behind::Record,
                (Some(line), Some(record)) if line == record => Behind::Neither,
                (Some(line), Some(record)) if rank(line) <= rank(record) => Behind::Line,
                _ => Behind::Record,
            };
            if behind == Behind::Line
                && let Some(KeyEntry { offset, key, .. }) = next.0.take()
            {
                self.note(Contradiction::KeyLine { segment, offset, key });
            }
            if behind == Behind::Record
                && let Some(KeyEntry { offset, key, .. }) = next.1.take()
            {
                self.note(Contradiction::Unlisted { segment, offset, key });
            }
            if behind != Behind::Record {
                next.0 = lines.next().map_err(unreadable)?;
            }
            if behind != Behind::Line {
                next.1 = records.next();
            }
        }
    }

    fn key_file(&self, sealed: &SealedSegment) -> Result<KeyFile<D>, OpenError> {
        let seal = self.seal(sealed.data_key);
        KeyFile::open(self.disk.clone(), sealed.segment, sealed.generation, seal).map_err(unreadable)
    }

    fn seal(&self, data_key: u8) -> Seal {
        self.reader.codec().keys().seal(data_key)
    }

    /// Plays a segment's records, unless compaction has made it: then others are gone.
    fn replay(&mut self, sealed: &SealedSegment, found: &TailSegment) -> Result<(), OpenError> {
        let file = self.disk.open(&segment_name(sealed.segment))?;
        let header = SegmentHeader::decode(&self.disk.read_at(&file, 0, SEGMENT_HEADER_BYTES)?, sealed.segment);
        if header.is_ok_and(|header| header.origin == Origin::Appended) && found.records == sealed.records {
            self.replayed.iter_mut().for_each(|tracker| tracker.apply(&found.steps));
        } else {
            self.replayed = None;
        }
        Ok(())
    }

    /// A log of which nothing was dropped says what its checkpoint does. Counters are compared with clocks.
    fn compare_checkpoint(&mut self, checkpoint: &ClockTracker) {
        let records: u64 = self.verdict.sealed.segments.iter().map(|sealed| sealed.records).sum();
        let Some(replayed) = self.replayed.take().filter(|_| records == self.verdict.sealed.through.0) else { return };
        let partitions: BTreeSet<PartitionId> =
            replayed.partitions.keys().chain(checkpoint.partitions.keys()).copied().collect();
        for partition in partitions {
            // Born complete, and filling since a reset or a restore: what it was before that, nothing says.
            let counts = |complete| complete && replayed.birth == Birth::Complete;
            let said = |tracker: &ClockTracker| {
                let claims = tracker.partitions.get(&partition);
                claims.map(|claims| (claims.clock.clone(), counts(claims.complete), claims.dropped))
            };
            if said(&replayed) != said(checkpoint) {
                self.note(Contradiction::Checkpoint { partition });
            }
        }
        let hints: Vec<Sequence> =
            replayed.hints.keys().filter(|hint| !checkpoint.hints.contains_key(hint)).copied().collect();
        hints.into_iter().for_each(|sequence| self.note(Contradiction::Hint { sequence }));
    }

    fn check_counters(&mut self, tracker: &ClockTracker) {
        for (partition, claims) in &tracker.partitions {
            let highest = claims.clock.of(tracker.actor).map_or(0, |own| own.highest());
            if highest > claims.minted {
                self.note(Contradiction::Counter { partition: *partition });
            }
        }
    }

    /// Does what was read lead to every record?
    fn read_tail(&mut self, survey: &Survey, actor: Actor) -> Result<Listed, OpenError> {
        let mut listed = Listed::Whole;
        let mut accepted = self.verdict.accepted.clone();
        accepted.sort_by_key(|framed| framed.place);
        for run in accepted.chunk_by(|a, b| a.place.segment == b.place.segment) {
            let Some(Framed { place, .. }) = run.first() else { continue };
            let seal = self.seal(survey.segments.get(&place.segment).map_or(0, |found| found.header.data_key));
            if seal.is_locked() {
                listed = Listed::InPart;
                continue;
            }
            let Some(OpenSegment { file, generation }) = self.reader.file(place.segment)? else { continue };
            let mut window = Window::new(&**self.disk, &file, Framed::end(run));
            let mut tail = TailSegment::new(place.segment, generation, seal);
            for framed in run {
                match window.record(self.reader.codec(), framed, generation)? {
                    Some(record) => {
                        self.contents.count(&record);
                        tail.note(actor, framed.sequence, &record, framed.place);
                    }
                    None => self.contents.not_understood += 1,
                }
            }
            self.tails.push(tail);
        }
        Ok(listed)
    }

    /// Which records are current: they are what is not garbage, and their versions are in the clock.
    fn look_at_keys(&mut self, tracker: &ClockTracker) -> Result<(), OpenError> {
        let (mut bytes, mut live) = (BTreeMap::new(), BTreeMap::<u32, Vec<Framed>>::new());
        let mut hints: BTreeSet<Sequence> = tracker.hints.keys().copied().collect();
        let mut merge = Merge::new(self.sources()?).map_err(unreadable)?;
        let mut newest: Option<(Key, BTreeSet<PartitionId>)> = None;
        while let Some((segment, entry)) = merge.next().map_err(unreadable)? {
            let current = match entry.kind {
                EntryKind::Hint => hints.remove(&entry.sequence),
                kind => {
                    let kept = tracker.keeps(entry.partition, entry.sequence);
                    is_first(&mut newest, &entry) && kept && may_fill_a_slot(kind)
                }
            };
            if !current {
                continue;
            }
            *bytes.entry(segment).or_default() += u64::from(entry.length);
            if matches!(entry.kind, EntryKind::Live | EntryKind::LiveWithLeftover) {
                let place = super::Place { segment, offset: entry.offset, length: entry.length };
                live.entry(segment).or_default().push(Framed { sequence: entry.sequence, place });
            }
        }
        drop(merge);
        hints.into_iter().for_each(|sequence| self.note(Contradiction::Hint { sequence }));
        self.current_bytes = Some(bytes);
        live.into_values().try_for_each(|live| self.check_versions(live, tracker))
    }

    fn sources(&self) -> Result<Vec<KeySource<'_, D>>, OpenError> {
        let mut sources = Vec::new();
        for sealed in &self.verdict.sealed.segments {
            sources.push(KeySource::File(self.key_file(sealed)?.iter_from(&[])));
        }
        sources.extend(self.tails.iter().flat_map(|tail| tail.run.pieces()).map(|piece| KeySource::Run(piece.iter())));
        Ok(sources)
    }

    /// Live records of one segment against the clock. In a partition that is filling the clock may still be behind
    /// (PROTOCOL R8).
    fn check_versions(&mut self, mut live: Vec<Framed>, tracker: &ClockTracker) -> Result<(), OpenError> {
        live.sort_by_key(|framed| framed.place);
        let Some(Framed { place, .. }) = live.first() else { return Ok(()) };
        let Some(OpenSegment { file, generation }) = self.reader.file(place.segment)? else { return Ok(()) };
        let mut window = Window::new(&**self.disk, &file, Framed::end(&live));
        for framed in &live {
            // Those that cannot be read are told of already.
            let Some(record) = window.record(self.reader.codec(), framed, generation)? else { continue };
            let claims = tracker.partitions.get(&record.partition).filter(|claims| claims.complete);
            if let (Some(claims), Body::Object { object, .. }) = (claims, &record.body) {
                let unknown =
                    object.versions.iter().map(|version| version.dot).find(|dot| !claims.clock.contains(*dot));
                let partition = record.partition;
                unknown.into_iter().for_each(|dot| self.note(Contradiction::Clock { partition, dot }));
            }
        }
        Ok(())
    }
}

/// Does a key file lead to every record of its segment?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listed {
    Whole,
    InPart,
}

impl Listed {
    fn and(self, other: Listed) -> Listed {
        if self == Listed::Whole { other } else { self }
    }
}

/// Which of two things in order has one that the other has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    Neither,
    Line,
    Record,
}

/// The order of a key file.
fn rank(entry: &KeyEntry) -> (&Key, std::cmp::Reverse<(Sequence, u32)>) {
    (&entry.key, std::cmp::Reverse((entry.sequence, entry.offset)))
}

/// Entries come with the highest sequence first: is this the first of its key and partition?
fn is_first(newest: &mut Option<(Key, BTreeSet<PartitionId>)>, entry: &KeyEntry) -> bool {
    match newest {
        Some((key, partitions)) if *key == entry.key => partitions.insert(entry.partition),
        _ => {
            *newest = Some((entry.key.clone(), BTreeSet::from([entry.partition])));
            true
        }
    }
}

/// A key file that was sound a moment ago.
fn unreadable(error: super::key_file::KeyFileError) -> OpenError {
    match Setback::key_file(error) {
        Setback::Failed(error) | Setback::Doubt(_, error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{HybridTime, NodeId};
    use crate::causal::{Content, DotSet, Filled, Object, Version};
    use crate::store::checkpoint::Checkpoint;
    use crate::store::identity::{FoundIdentity, Identity};
    use crate::store::key_file::write_key_file;
    use crate::store::memory::MemoryDisk;
    use crate::store::segment::quarantine_name;
    use crate::store::{CodecOptions, Depth, Durability, HintBody, Inspection, OpenOptions, Record, inspect, open};

    const PARTITION: PartitionId = PartitionId(3);

    fn dot(counter: u64) -> Dot {
        Dot { actor: Actor(7), counter }
    }

    /// The `counter`th record: one in seven is a delete, one in eleven a hint.
    fn record(counter: u64) -> Record {
        let content = Content {
            value: vec![counter as u8; 40].into(),
            content_type: String::new(),
            metadata: vec![],
            written_at: HybridTime(1),
            expires_at: None,
        };
        let versions = if counter.is_multiple_of(7) { vec![] } else { vec![Version { dot: dot(counter), content }] };
        let key = Key::new(format!("key {}", counter % 90)).unwrap();
        let minted = Some(counter);
        let body = if counter.is_multiple_of(11) {
            let state = Filled { versions, context: DotSet::from(dot(counter)) };
            Body::Hint(HintBody { targets: vec![NodeId(1)], key, state, dots: dot(counter).into(), minted })
        } else {
            let object = Object { versions, leftover: DotSet::EMPTY };
            Body::Object { key, object, dots: dot(counter).into(), minted }
        };
        Record { partition: PARTITION, body }
    }

    /// A closed store of several sealed segments.
    fn store() -> Arc<MemoryDisk> {
        let disk = Arc::new(MemoryDisk::default());
        let options = OpenOptions {
            fresh_actor: Actor(7),
            segment_bytes: 4096,
            durability: Durability::Fsync,
            boot: 1,
            birth: Birth::Complete,
            codec: CodecOptions::default(),
        };
        let mut log = open(disk.clone(), options).unwrap().log;
        (1..=200).for_each(|counter| drop(log.append(&[record(counter)]).unwrap()));
        log.close().unwrap();
        disk
    }

    fn inspected(disk: &Arc<MemoryDisk>) -> Inspection {
        inspect(disk, Depth::Records).unwrap()
    }

    fn contradictions(disk: &Arc<MemoryDisk>) -> Vec<Contradiction> {
        let inspection = inspected(disk);
        assert_eq!(inspection.is_damaged(), !inspection.contradictions.is_empty());
        assert_eq!(inspection.findings, []);
        inspection.contradictions
    }

    fn change_identity(disk: &MemoryDisk, change: impl FnOnce(&mut Identity)) {
        let FoundIdentity::Known(mut identity) = Identity::read(disk).unwrap() else { panic!("no identity") };
        change(&mut identity);
        identity.replace(disk).unwrap();
    }

    /// Writes a key file with other entries, sound and as the manifest says.
    fn change_entries(disk: &Arc<MemoryDisk>, change: impl FnOnce(&mut Vec<KeyEntry>)) {
        change_identity(disk, |identity| {
            let mut sealed = identity.sealed.get(2).unwrap().clone();
            let mut entries = Vec::new();
            let mut cursor = KeyFile::open(disk.clone(), 2, sealed.generation, Seal::default()).unwrap().iter_from(&[]);
            while let Some(entry) = cursor.next().unwrap() {
                entries.push(entry);
            }
            change(&mut entries);
            let mut run = KeyRun::new(2, sealed.generation, Seal::default());
            entries.iter().for_each(|entry| run.push(entry));
            sealed.key_file = write_key_file(&**disk, &mut run).unwrap().into();
            identity.sealed.put(sealed);
        });
    }

    /// Writes another checkpoint, sound and as the manifest says.
    fn change_checkpoint(disk: &Arc<MemoryDisk>, change: impl FnOnce(&mut ClockTracker)) {
        change_identity(disk, |identity| {
            let stamp = identity.sealed.checkpoint.unwrap();
            let found = Checkpoint::read(&**disk, stamp).unwrap().unwrap();
            let mut tracker = found.tracker(identity.actor, identity.birth);
            change(&mut tracker);
            identity.sealed.checkpoint = Some(Checkpoint::of(&tracker, stamp.sequence).write(&**disk).unwrap());
        });
    }

    #[test]
    fn a_sound_store_agrees_with_itself_and_its_garbage_is_what_was_superseded() {
        let disk = store();
        assert_eq!(contradictions(&disk), []);
        let sealed = inspected(&disk).sealed;
        let current: Vec<u64> = sealed.iter().map(|sealed| sealed.current_bytes.unwrap()).collect();
        // The last 90 records, which fill two segments or so, have superseded the others but for hints.
        assert!(sealed.len() > 4 && current[0] < sealed[0].bytes / 3, "{current:?}");
        assert!(current[sealed.len() - 1] > sealed[sealed.len() - 1].bytes / 2, "{current:?}");
        assert!(inspect(&disk, Depth::Frames).unwrap().sealed.iter().all(|sealed| sealed.current_bytes.is_none()));
    }

    #[test]
    fn a_line_that_leads_to_another_record_or_to_none_is_found() {
        let disk = store();
        let mut said = None;
        change_entries(&disk, |entries| {
            said = Some((entries[5].offset, entries[5].key.clone()));
            entries[5].key = Key::new("another").unwrap();
        });
        let (offset, key) = said.unwrap();
        let another = Key::new("another").unwrap();
        assert_eq!(
            contradictions(&disk),
            [
                Contradiction::KeyLine { segment: 2, offset, key: another },
                Contradiction::Unlisted { segment: 2, offset, key }
            ]
        );
    }

    #[test]
    fn a_record_that_no_line_leads_to_is_found() {
        let disk = store();
        let mut gone = None;
        change_entries(&disk, |entries| gone = Some(entries.pop().unwrap()));
        let KeyEntry { offset, key, .. } = gone.unwrap();
        assert!(contradictions(&disk).contains(&Contradiction::Unlisted { segment: 2, offset, key }));
    }

    #[test]
    fn a_manifest_that_counts_other_records_is_found() {
        let changes: [fn(&mut SealedSegment); 2] = [|sealed| sealed.records -= 1, |sealed| sealed.bytes += 8];
        for change in changes {
            let disk = store();
            change_identity(&disk, |identity| {
                let mut sealed = identity.sealed.get(2).unwrap().clone();
                change(&mut sealed);
                identity.sealed.put(sealed);
            });
            assert_eq!(contradictions(&disk), [Contradiction::Manifest { segment: 2 }]);
        }
    }

    #[test]
    fn a_checkpoint_that_claims_more_or_less_than_the_records_is_found() {
        let disk = store();
        let more = Dot { actor: Actor(8), counter: 1 };
        change_checkpoint(&disk, |tracker| tracker.partitions.get_mut(&PARTITION).unwrap().clock.insert(more));
        assert_eq!(contradictions(&disk), [Contradiction::Checkpoint { partition: PARTITION }]);
        let disk = store();
        let less = (1..200).map(dot).collect::<DotSet>();
        change_checkpoint(&disk, |tracker| tracker.partitions.get_mut(&PARTITION).unwrap().clock = less);
        let unknown = Contradiction::Clock { partition: PARTITION, dot: dot(200) };
        assert_eq!(contradictions(&disk), [Contradiction::Checkpoint { partition: PARTITION }, unknown]);
    }

    #[test]
    fn a_counter_behind_its_own_dots_is_found() {
        let disk = store();
        change_checkpoint(&disk, |tracker| tracker.partitions.get_mut(&PARTITION).unwrap().minted = 100);
        assert_eq!(contradictions(&disk), [Contradiction::Counter { partition: PARTITION }]);
    }

    #[test]
    fn hints_that_the_checkpoint_has_too_many_or_too_few_of_are_found() {
        let disk = store();
        change_checkpoint(&disk, |tracker| drop(tracker.hints.insert(Sequence(5), vec![NodeId(1)])));
        assert_eq!(contradictions(&disk), [Contradiction::Hint { sequence: Sequence(5) }]);
        let disk = store();
        change_checkpoint(&disk, |tracker| drop(tracker.hints.remove(&Sequence(11))));
        assert_eq!(contradictions(&disk), [Contradiction::Hint { sequence: Sequence(11) }]);
    }

    #[test]
    fn segments_that_were_set_aside_are_named() {
        let disk = store();
        disk.create(&quarantine_name(9)).unwrap();
        assert_eq!(inspected(&disk).quarantined, [quarantine_name(9)]);
    }
}
