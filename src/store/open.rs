//! Opening a data directory: survey, verdict, recovery, and what has to be written before anything is served.

use super::cipher::DataKeys;
use super::codec::{Codec, CodecOptions};
use super::identity::{Birth, Durability, Ending, FoundIdentity, Identity};
use super::recovery::Recovery;
use super::setback::Setback;
use super::survey::Survey;
use super::verdict::{Care, Trust, Verdict};
use super::{Disk, DiskErrorKind, Log, OpenError, Opening, Reader, Recovered};
use crate::causal::Actor;
use std::sync::Arc;

/// Default size of a segment: 256 of them hold 16 GiB, and losing one to damage costs little.
pub const DEFAULT_SEGMENT_BYTES: u32 = 64 << 20;

/// How to open a store.
#[derive(Debug, Clone)]
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
    /// How payloads are encoded.
    pub codec: CodecOptions,
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
    let opening = Attempts { directory: disk.identity()?, disk, options };
    let mut care = Care::Trusting;
    loop {
        match opening.attempt(care) {
            Ok(opened) => return Ok(opened),
            Err(Setback::Doubt(more, _)) if more > care => care = more,
            Err(Setback::Doubt(_, error) | Setback::Failed(error)) => return Err(error),
        }
    }
}

/// An opening, begun again with more care whenever it meets damage.
struct Attempts<D: Disk> {
    disk: Arc<D>,
    options: OpenOptions,
    /// [`Disk::identity`] of now.
    directory: u64,
}

impl<D: Disk> Attempts<D> {
    /// What an attempt has written when it meets damage is what one cut short by a crash would have left.
    fn attempt(&self, care: Care) -> Result<Opened<D>, Setback> {
        let survey = Survey::take(&*self.disk)?;
        let CodecOptions { compression, encryption } = &self.options.codec;
        let keys = DataKeys::open(&*self.disk, encryption.as_ref(), &survey.data_keys())?;
        let codec = Arc::new(Codec::new(compression.clone(), keys));
        let verdict = Verdict::reach(&survey, (self.directory, self.options.boot), care);
        let identity = next_identity(&self.options, self.directory, &survey, &verdict);
        Recovery::begin(self.disk.clone(), &self.options, identity, survey, verdict, care, &codec)?.run()
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
        Opening::Renewed { reason } if reason.fills() => Birth::Filling,
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
        sealed: verdict.sealed.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{HybridTime, Key};
    use crate::causal::{Content, Dot, DotSet, Object, Version};
    use crate::ring::PartitionId;
    use crate::store::frame::Entry;
    use crate::store::identity::marker_name;
    use crate::store::job::MAX_UNSEALED;
    use crate::store::key_file::key_file_name;
    use crate::store::memory::MemoryDisk;
    use crate::store::sealed::SealedLog;
    use crate::store::segment::{Origin, SegmentHeader, segment_name};
    use crate::store::{Body, FindingKind, Record, RenewalReason, Sequence};

    fn options(actor: u64) -> OpenOptions {
        OpenOptions {
            fresh_actor: Actor(actor),
            segment_bytes: 1 << 16,
            durability: Durability::Fsync,
            boot: 1,
            birth: Birth::Complete,
            codec: CodecOptions::default(),
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
        let codec = log.reader.codec().clone();
        let entries: Vec<Entry> = entries.iter().map(|(at, record)| Entry::of(&codec, Sequence(*at), record)).collect();
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
        crate::base::mutation::activate(Some(crate::base::Mutation::DiskPositionOrder));
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

    /// A closed store of several sealed segments, and what it opens as.
    fn sealed_store() -> (Arc<MemoryDisk>, Recovered) {
        let disk = Arc::new(MemoryDisk::default());
        let small = OpenOptions { segment_bytes: 4096, ..options(7) };
        let mut store = open(disk.clone(), small).unwrap();
        for counter in 1..200 {
            store.log.append(&[put(&format!("key {}", counter % 70), counter, counter)]).unwrap();
            store.log.do_jobs().unwrap();
        }
        store.log.close().unwrap();
        let recovered = open(disk.clone(), options(8)).unwrap().recovered;
        assert_eq!((recovered.opening, &recovered.findings), (Opening::Kept, &vec![]));
        (disk, recovered)
    }

    fn identity_of(disk: &MemoryDisk) -> Identity {
        let FoundIdentity::Known(identity) = Identity::read(disk).unwrap() else { panic!("no identity") };
        *identity
    }

    #[test]
    fn a_directory_without_sealed_segments_is_scanned_and_sealed() {
        let (disk, before) = sealed_store();
        let sealed = identity_of(&disk).sealed.segments.len();
        assert!(sealed > 4, "{sealed}");
        // As format 1 leaves it: the segments alone.
        Identity { sealed: SealedLog::default(), ..identity_of(&disk) }.replace(&*disk).unwrap();
        let scanned = open(disk.clone(), options(9)).unwrap().recovered;
        assert_eq!((scanned.opening, scanned.findings), (Opening::Kept, vec![]));
        let (scanned, before) = (&scanned.tables[&PartitionId(0)], &before.tables[&PartitionId(0)]);
        assert_eq!((&scanned.index, &scanned.clock, scanned.hash), (&before.index, &before.clock, before.hash));
        assert_eq!(identity_of(&disk).sealed.segments.len(), sealed - MAX_UNSEALED);
    }

    #[test]
    fn what_the_manifest_has_done_with_is_removed() {
        let (disk, _) = sealed_store();
        let mut identity = identity_of(&disk);
        let number = identity.sealed.first_tail + 7;
        // A segment below the tail that is not listed, and a compaction's output that is not yet.
        let listed = disk.open(&segment_name(2)).unwrap();
        let header = disk.read_at(&listed, 0, 64).unwrap();
        let header = SegmentHeader::decode(&header, 2).unwrap();
        let output = SegmentHeader { segment: number, origin: Origin::Compacted, ..header };
        disk.write_at(&disk.create(&segment_name(number)).unwrap(), 0, &output.encode()).unwrap();
        identity.sealed.segments.retain(|sealed| sealed.segment != 2);
        identity.replace(&*disk).unwrap();
        let recovered = open(disk.clone(), options(9)).unwrap().recovered;
        assert_eq!(recovered.opening, Opening::Kept);
        let spent: Vec<u32> = recovered.findings.iter().map(|finding| finding.segment).collect();
        assert_eq!(spent, [2, number]);
        assert!(recovered.findings.iter().all(|finding| finding.kind == FindingKind::SpentSegment));
        for segment in spent {
            assert!(disk.open(&segment_name(segment)).is_err());
        }
        assert!(disk.open(&key_file_name(2)).is_err());
    }

    #[test]
    fn a_damaged_record_is_dealt_with_at_the_opening_after_it_was_read() {
        let (disk, _) = sealed_store();
        let store = open(disk.clone(), options(9)).unwrap();
        let key = Key::new("key 3").unwrap();
        let place = store.recovered.tables[&PartitionId(0)].index.candidates(key.hash64()).next().unwrap();
        let file = disk.open(&segment_name(place.segment)).unwrap();
        disk.write_at(&file, u64::from(place.offset) + 40, &[0xff; 3]).unwrap();
        assert_eq!(open(disk.clone(), options(10)).unwrap().recovered.opening, Opening::Kept);
        assert!(store.reader.read(place).is_err());
        let recovered = open(disk.clone(), options(11)).unwrap().recovered;
        assert_eq!(recovered.opening, Opening::Renewed { reason: RenewalReason::Damage });
        let older = recovered.tables[&PartitionId(0)].index.candidates(key.hash64()).next().unwrap();
        assert_ne!(older, place);
        assert_eq!(open(disk, options(12)).unwrap().recovered.opening, Opening::Kept);
    }

    /// The time to open a copy of the directory, three times; the best counts.
    fn seconds_to_open(disk: &MemoryDisk, keys: usize) -> f64 {
        let once = || {
            let disk = Arc::new(disk.copied());
            let begin = std::time::Instant::now();
            let store = open(disk, OpenOptions { segment_bytes: DEFAULT_SEGMENT_BYTES, ..options(8) }).unwrap();
            let seconds = begin.elapsed().as_secs_f64();
            let found: usize = store.recovered.tables.values().map(|table| table.index.len()).sum();
            assert_eq!((store.recovered.opening, found), (Opening::Kept, keys));
            seconds
        };
        (0..3).map(|_| once()).fold(f64::MAX, f64::min)
    }

    #[test]
    #[ignore = "measures; run in release"]
    fn seconds_to_restart_with_a_million_keys() {
        const KEYS: u64 = 1_000_000;
        let disk = Arc::new(MemoryDisk::default());
        let options = OpenOptions { segment_bytes: DEFAULT_SEGMENT_BYTES, ..options(7) };
        let mut log = open(disk.clone(), options).unwrap().log;
        let record = |counter: u64| {
            let mut record = put(&format!("{:016x}", counter.wrapping_mul(0x9e37_79b9_7f4a_7c15)), counter, counter);
            record.partition = PartitionId((counter % 64) as u32);
            if let Body::Object { object, .. } = &mut record.body {
                object.versions[0].content.value = vec![7; 100].into();
            }
            record
        };
        for first in (1..=KEYS).step_by(1000) {
            log.append(&(first..first + 1000).map(record).collect::<Vec<_>>()).unwrap();
            log.do_jobs().unwrap();
        }
        let crashed = disk.copied();
        log.close().unwrap();
        let scanned = disk.copied();
        Identity { sealed: SealedLog::default(), ..identity_of(&scanned) }.replace(&scanned).unwrap();
        println!("scanned, sealed again: {:.2} s", seconds_to_open(&scanned, KEYS as usize));
        println!("after a crash: {:.2} s", seconds_to_open(&crashed, KEYS as usize));
        println!("after a clean end: {:.2} s", seconds_to_open(&disk, KEYS as usize));
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
