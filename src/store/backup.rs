//! A copy of a store that another process may be writing to.
//!
//! ```text
//!  manifest --> sealed segments, key files, checkpoint, finished tail   linked, or copied; never changed (1)
//!               the newest segment, up to its last whole record         only appended to: copied
//!               the manifest, as that of no directory                   written last, then the marker goes
//! ```
//!
//! (1) But for a key file that is found damaged, which is written anew: the opening of a backup verifies them all.
//!
//! The process that writes is not asked, and need not run: the manifest is replaced as a whole, and what it speaks of
//! stays until compaction does away with it. If that happens before all of it is taken hold of, it begins again.

use super::checkpoint::checkpoint_name;
use super::cipher::{intact_keys, keys_name};
use super::identity::{BACKUP, FoundIdentity, Identity, marker_name, put_marker, sync_names, unfinished_backup_name};
use super::key_file::key_file_name;
use super::scan::{Framed, Scan};
use super::segment::{Origin, SEGMENT_HEADER_BYTES, SegmentHeader, quarantine_name, segment_name, segment_of};
use super::{Disk, DiskError, DiskErrorKind, FileName, OpenError, Sequence};
use crate::base::Mutation;
use crate::base::mutation::broken;

/// How often it begins again because a file went away. Taking hold is a system call for each file, a compaction copies
/// whole segments: one such time is rare, and so many mean that a file is missing for good.
const MAX_ATTEMPTS: usize = 16;

/// Copied at once.
const COPY_BYTES: usize = 1 << 20;

/// Longest of the small files that are copied as a whole. Anything longer is not ours.
const MAX_SMALL_BYTES: usize = 16 << 20;

/// How the target gets a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linked {
    /// It has another name of the very file.
    Yes,
    /// That cannot be, between these directories: its bytes are copied.
    No,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BackedUp {
    /// Files linked.
    pub linked: u64,
    /// Files copied.
    pub copied: u64,
    /// Bytes of those.
    pub copied_bytes: u64,
    /// The last record.
    pub through: Sequence,
}

/// Why there is no backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// Somebody's files would be among it.
    #[error("the target is not empty")]
    NotEmpty,
    /// The source has no manifest, or a damaged one.
    #[error("there is no store with an intact manifest; a node that is started there deals with it")]
    NoStore,
    /// The source's last process could not vouch for the disk.
    #[error("the store is poisoned; a node that is started there deals with it")]
    Poisoned,
    /// Again and again a file was not there.
    #[error("{0} is missing, or files went away faster than they could be taken hold of")]
    Missing(FileName),
    /// Of a later version.
    #[error(transparent)]
    Source(#[from] OpenError),
    /// The disk failed or is full.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// A store as it was when its manifest was read.
struct Cut {
    identity: Identity,
    /// Files that are not written to any more.
    settled: Vec<FileName>,
    /// The segment that may be appended to; none if it is sealed.
    newest: Option<u32>,
    /// None for one that was not there.
    small: Vec<(FileName, Option<Vec<u8>>)>,
}

/// A file that cannot be linked: open, so that it stays whatever becomes of its name.
struct Held<F> {
    name: FileName,
    file: F,
    bytes: u64,
}

/// Makes in `target`, which must be empty, a store of everything that `source` had answered when this began. `link`
/// gives the target a file of the source's under its name, `NotFound` if the source has it no more. `beside` are small
/// files of the driver's that are copied, too, where they are there. All of it is durable when this returns; cut
/// short, the target is refused by every opening.
pub fn back_up<S: Disk, T: Disk>(
    source: &S,
    target: &T,
    beside: &[FileName],
    link: &mut dyn FnMut(&FileName) -> Result<Linked, DiskError>,
) -> Result<BackedUp, BackupError> {
    if !target.list()?.is_empty() {
        return Err(BackupError::NotEmpty);
    }
    put_marker(target, &unfinished_backup_name())?;
    let small = [&[keys_name()], beside].concat();
    let mut gone = FileName(String::new());
    for _ in 0..MAX_ATTEMPTS {
        match attempt(source, target, &small, link) {
            Err(Interrupted::Gone(name)) => gone = name,
            Err(Interrupted::Failed(error)) => return Err(error),
            Ok(done) => {
                target.remove(&unfinished_backup_name())?;
                sync_names(target)?;
                return Ok(done);
            }
        }
        for name in target.list()?.iter().filter(|name| **name != unfinished_backup_name()) {
            target.remove(name)?;
        }
    }
    Err(BackupError::Missing(gone))
}

/// Why an attempt ends early.
enum Interrupted {
    /// This file went away: begin again.
    Gone(FileName),
    Failed(BackupError),
}

impl<E: Into<BackupError>> From<E> for Interrupted {
    fn from(error: E) -> Self {
        Interrupted::Failed(error.into())
    }
}

fn attempt<S: Disk, T: Disk>(
    source: &S,
    target: &T,
    small: &[FileName],
    link: &mut dyn FnMut(&FileName) -> Result<Linked, DiskError>,
) -> Result<BackedUp, Interrupted> {
    let Cut { identity, settled, newest, small } = Cut::take(source, small)?;
    let mut done = BackedUp { through: identity.durable.max(identity.sealed.through), ..BackedUp::default() };
    let mut held = Vec::new();
    for name in settled {
        match link(&name).map_err(|error| or_gone(error, &name))? {
            Linked::Yes => done.linked += 1,
            Linked::No => held.push(hold(source, name)?),
        }
    }
    if let Some(segment) = newest {
        let newest;
        (newest, done.through) = hold_newest(source, segment, done.through)?;
        held.push(newest);
    }
    for (name, bytes) in &small {
        // What it speaks of may be gone before the files were taken hold of, or was not there yet when it was read.
        if read_beside(source, name)? != *bytes {
            return Err(Interrupted::Gone(name.clone()));
        }
        bytes.iter().try_for_each(|bytes| write_small(target, name, bytes))?;
    }
    for Held { name, file, bytes } in held {
        copy(source, target, &name, &file, bytes)?;
        done.copied += 1;
        done.copied_bytes += bytes;
    }
    // All of it is durable here: less than that, once it was copied elsewhere, is damage and no torn tail.
    Identity { directory: BACKUP, durable: done.through, ..identity }.replace(target)?;
    Ok(done)
}

impl Cut {
    fn take<S: Disk>(source: &S, small: &[FileName]) -> Result<Cut, Interrupted> {
        // Before the manifest, and the same once all is held: no data key that it needs was drawn or dropped meanwhile.
        let mut found = Vec::new();
        for name in small {
            found.push((name.clone(), read_beside(source, name)?));
        }
        let names = source.list()?;
        if names.contains(&unfinished_backup_name()) {
            return Err(OpenError::UnfinishedBackup.into());
        }
        if names.contains(&marker_name()) {
            return Err(BackupError::Poisoned.into());
        }
        let identity = match Identity::read(source)? {
            FoundIdentity::Known(identity) => *identity,
            FoundIdentity::UnknownFormat(format) => {
                return Err(OpenError::UnknownFormat { file: "identity".into(), format }.into());
            }
            FoundIdentity::Absent | FoundIdentity::Damaged => return Err(BackupError::NoStore.into()),
        };
        let sealed = &identity.sealed;
        let mut settled: Vec<FileName> =
            sealed.checkpoint.iter().map(|stamp| checkpoint_name(stamp.sequence)).collect();
        for sealed in &sealed.segments {
            settled.extend([segment_name(sealed.segment), key_file_name(sealed.segment)]);
        }
        settled.extend(finished_tail(source, &identity)?.into_iter().map(segment_name));
        let newest = Some(identity.newest).filter(|newest| *newest > 0 && sealed.get(*newest).is_none());
        Ok(Cut { identity, settled, newest, small: found })
    }
}

/// Segments that are neither sealed nor written to any more. One whose header is unreadable is among them: an opening
/// has to see it.
fn finished_tail<S: Disk>(source: &S, identity: &Identity) -> Result<Vec<u32>, Interrupted> {
    let sealed = &identity.sealed;
    let is_tail =
        |segment: u32| (sealed.first_tail.max(1)..=identity.newest).contains(&segment) && sealed.get(segment).is_none();
    let names = source.list()?;
    let mut finished = Vec::new();
    for segment in names.iter().filter_map(segment_of).filter(|segment| is_tail(*segment)) {
        let header = read_header(source, segment)?;
        if header.is_some_and(|header| header.origin == Origin::Compacted) {
            // The manifest does not speak of it.
            continue;
        }
        // Sealed, compacted and taken away since the manifest was read?
        let before = header.map_or(0, |header| header.predecessor);
        if is_tail(before) && ![segment_name(before), quarantine_name(before)].iter().any(|name| names.contains(name)) {
            return Err(Interrupted::Gone(segment_name(before)));
        }
        if segment != identity.newest {
            finished.push(segment);
        }
    }
    Ok(finished)
}

fn read_header<S: Disk>(source: &S, segment: u32) -> Result<Option<SegmentHeader>, Interrupted> {
    let name = segment_name(segment);
    let file = source.open(&name).map_err(|error| or_gone(error, &name))?;
    Ok(SegmentHeader::decode(&source.read_at(&file, 0, SEGMENT_HEADER_BYTES)?, segment).ok())
}

fn hold<S: Disk>(source: &S, name: FileName) -> Result<Held<S::File>, Interrupted> {
    let file = source.open(&name).map_err(|error| or_gone(error, &name))?;
    let bytes = source.len(&file)?;
    Ok(Held { name, file, bytes })
}

/// The newest segment up to the end of its last record, and the last sequence without a gap behind `before`. A batch that
/// is being written is cut off, or is a torn tail to whoever opens the copy.
fn hold_newest<S: Disk>(source: &S, segment: u32, before: Sequence) -> Result<(Held<S::File>, Sequence), Interrupted> {
    let held = hold(source, segment_name(segment))?;
    let header = SegmentHeader::decode(&source.read_at(&held.file, 0, SEGMENT_HEADER_BYTES)?, segment);
    let Ok(header) = header else { return Ok((held, before)) };
    let scan = Scan::run(source, &held.file, &header, held.bytes.min(u64::from(u32::MAX)))?;
    // What was written and never synced must not leave the node (PROTOCOL R1): lost there, its dots are minted again.
    if !broken(Mutation::BackupUnsynced) {
        source.sync(&held.file)?;
    }
    let follows = |through: Sequence, framed: &Framed| {
        if framed.sequence.0 == through.0 + 1 { framed.sequence } else { through }
    };
    let through = scan.frames.iter().fold(before, follows);
    let bytes = Framed::end(&scan.frames).max(SEGMENT_HEADER_BYTES as u64);
    Ok((Held { bytes, ..held }, through))
}

/// What the backup has under this name; none if it is not there. The data keys are put right if one copy of them is
/// damaged: the node that has the directory open cannot tell, and without them the rest of the backup is nothing.
fn read_beside<S: Disk>(source: &S, name: &FileName) -> Result<Option<Vec<u8>>, BackupError> {
    if *name == keys_name() { Ok(intact_keys(source)?) } else { Ok(read_small(source, name)?) }
}

/// A small file; none if it is not there.
fn read_small<S: Disk>(source: &S, name: &FileName) -> Result<Option<Vec<u8>>, DiskError> {
    match source.open(name) {
        Ok(file) => source.read_at(&file, 0, MAX_SMALL_BYTES).map(Some),
        Err(error) if error.kind == DiskErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn write_small<T: Disk>(target: &T, name: &FileName, bytes: &[u8]) -> Result<(), DiskError> {
    let file = target.create(name)?;
    target.write_at(&file, 0, bytes)?;
    target.sync(&file)
}

fn copy<S: Disk, T: Disk>(
    source: &S,
    target: &T,
    name: &FileName,
    file: &S::File,
    bytes: u64,
) -> Result<(), DiskError> {
    let written = target.create(name)?;
    let mut at = 0;
    while at < bytes {
        let piece = usize::try_from(bytes - at).unwrap_or(COPY_BYTES).min(COPY_BYTES);
        let read = source.read_at(file, at, piece)?;
        if read.is_empty() {
            break;
        }
        target.write_at(&written, at, &read)?;
        at += read.len() as u64;
    }
    target.sync(&written)
}

fn or_gone(error: DiskError, name: &FileName) -> Interrupted {
    match error.kind {
        DiskErrorKind::NotFound => Interrupted::Gone(name.clone()),
        _ => Interrupted::Failed(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{HybridTime, Key};
    use crate::causal::{Actor, Content, Dot, DotSet, Object, Version};
    use crate::ring::PartitionId;
    use crate::store::memory::MemoryDisk;
    use crate::store::{
        Birth, Body, CodecOptions, CompactionOptions, Durability, Log, OpenOptions, Opened, Opening, PartitionTable,
        Progress, Record, RenewalReason, open,
    };
    use std::sync::Arc;

    const PARTITION: PartitionId = PartitionId(3);

    fn options(actor: u64) -> OpenOptions {
        OpenOptions {
            fresh_actor: Actor(actor),
            segment_bytes: 4096,
            durability: Durability::Fsync,
            boot: 1,
            birth: Birth::Complete,
            codec: CodecOptions::default(),
        }
    }

    fn opened(disk: &Arc<MemoryDisk>, actor: u64) -> Opened<MemoryDisk> {
        open(disk.clone(), options(actor)).unwrap()
    }

    /// The `counter`th write: one key in seven is deleted.
    fn write(counter: u64) -> Record {
        let dot = Dot { actor: Actor(7), counter };
        let content = Content {
            value: vec![counter as u8; 50].into(),
            content_type: String::new(),
            metadata: vec![],
            written_at: HybridTime(1),
            expires_at: None,
        };
        let versions = if counter.is_multiple_of(7) { vec![] } else { vec![Version { dot, content }] };
        let object = Object { versions, leftover: DotSet::EMPTY };
        let key = Key::new(format!("key {}", counter % 40)).unwrap();
        let dots =
            (1..=counter).filter(|other| other % 40 == counter % 40).map(|counter| Dot { counter, ..dot }).collect();
        Record { partition: PARTITION, body: Body::Object { key, object, dots, minted: Some(counter) } }
    }

    fn write_all(log: &mut Log<MemoryDisk>, counters: std::ops::Range<u64>) {
        counters.for_each(|counter| drop(log.append(&[write(counter)]).unwrap()));
    }

    /// A store in the midst of its work: sealed segments, a finished one, one that is written to.
    fn source() -> (Arc<MemoryDisk>, Opened<MemoryDisk>) {
        let disk = Arc::new(MemoryDisk::default());
        let mut store = opened(&disk, 7);
        write_all(&mut store.log, 1..150);
        store.log.do_jobs().unwrap();
        while store.log.tails().count() < 2 {
            write_all(&mut store.log, 150..151);
        }
        (disk, store)
    }

    fn no_links(_: &FileName) -> Result<Linked, DiskError> {
        Ok(Linked::No)
    }

    fn table(opened: &Opened<MemoryDisk>) -> &PartitionTable {
        &opened.recovered.tables[&PARTITION]
    }

    #[test]
    fn a_backup_opens_with_everything_under_a_new_actor_and_fills() {
        let (disk, store) = source();
        let before = disk.contents();
        for linking in [Linked::Yes, Linked::No] {
            let target = Arc::new(MemoryDisk::default());
            let mut link = |name: &FileName| {
                if linking == Linked::Yes {
                    disk.link_to(&target, name);
                }
                Ok(linking)
            };
            let done = back_up(&*disk, &*target, &[], &mut link).unwrap();
            assert_eq!((done.through, done.copied == 1), (store.log.last, linking == Linked::Yes));
            assert_eq!(disk.contents(), before, "the source is only read");
            let crashed = opened(&Arc::new(disk.copied()), 8);
            let restored = opened(&target, 9);
            assert_eq!(restored.recovered.opening, Opening::Renewed { reason: RenewalReason::Restored });
            assert_eq!((restored.recovered.actor, &restored.recovered.findings), (Actor(9), &vec![]));
            let (now, then) = (table(&restored), table(&crashed));
            assert_eq!((&now.clock, now.hash, now.index.len()), (&then.clock, then.hash, then.index.len()));
            assert_eq!((now.minted, now.complete, then.complete), (0, false, true));
            assert!(!restored.recovered.complete_by_default);
            // The first opening has made it an ordinary directory, whatever becomes of its process.
            let again = opened(&Arc::new(target.copied()), 10);
            assert_eq!((again.recovered.opening, again.recovered.actor), (Opening::Kept, Actor(9)));
            assert_eq!((&table(&again).clock, table(&again).complete), (&then.clock, false));
        }
        assert_eq!(disk.contents(), before, "nor do openings of a backup with the same files touch it");
    }

    #[test]
    fn a_copy_of_a_backup_that_lost_its_end_is_damaged() {
        let (disk, store) = source();
        let target = Arc::new(MemoryDisk::default());
        back_up(&*disk, &*target, &[], &mut no_links).unwrap();
        let newest = segment_name(store.log.newest());
        let header = target.read_at(&target.open(&newest).unwrap(), 0, SEGMENT_HEADER_BYTES).unwrap();
        target.remove(&newest).unwrap();
        write_small(&*target, &newest, &header).unwrap();
        let restored = opened(&target, 9);
        assert_eq!(restored.recovered.opening, Opening::Renewed { reason: RenewalReason::Damage });
    }

    fn beside() -> FileName {
        FileName("node".into())
    }

    #[test]
    fn small_files_are_in_it() {
        let (disk, _) = source();
        write_small(&*disk, &beside(), b"one").unwrap();
        let target = MemoryDisk::default();
        back_up(&*disk, &target, &[beside(), FileName("absent".into())], &mut no_links).unwrap();
        assert_eq!(read_small(&target, &beside()).unwrap().unwrap(), b"one");
        assert!(!target.list().unwrap().contains(&unfinished_backup_name()));
    }

    /// Runs a compaction to its end, and begins another, which takes the files of the first away.
    fn compact(store: &mut Opened<MemoryDisk>) {
        for seed in [1, 2] {
            let mut compaction = store.log.begin_compaction(CompactionOptions { seed, lowest_live_share: 0.99 });
            loop {
                match compaction.step(1 << 20, &mut |questions| vec![true; questions.len()]).unwrap() {
                    Progress::More => {}
                    Progress::Nothing => return,
                    Progress::Copied => break,
                }
            }
            store.log.install(&compaction).unwrap();
            store.log.retire(&compaction).unwrap();
        }
    }

    #[test]
    fn files_that_compaction_takes_away_meanwhile_begin_it_again() {
        let (disk, mut store) = source();
        let (target, mut calls) = (Arc::new(MemoryDisk::default()), 0);
        let mut link = |name: &FileName| {
            calls += 1;
            if calls == 3 {
                compact(&mut store);
            }
            disk.open(name)?;
            disk.link_to(&target, name);
            Ok(Linked::Yes)
        };
        back_up(&*disk, &*target, &[], &mut link).unwrap();
        assert!(calls > 3 + 2, "{calls}");
        let restored = opened(&target, 9);
        assert_eq!(restored.recovered.opening, Opening::Renewed { reason: RenewalReason::Restored });
        assert_eq!(restored.recovered.findings, []);
        assert_eq!(table(&restored).index.len(), table(&opened(&disk, 8)).index.len());
    }

    #[test]
    fn a_finished_segment_that_is_gone_before_it_was_seen_is_missed() {
        let (disk, store) = source();
        let finished = store.log.tails().next().unwrap().segment;
        disk.remove(&segment_name(finished)).unwrap();
        let refused = back_up(&*disk, &MemoryDisk::default(), &[], &mut no_links).unwrap_err();
        assert_eq!(refused, BackupError::Missing(segment_name(finished)));
    }

    #[test]
    fn small_files_that_are_replaced_meanwhile_begin_it_again() {
        let (disk, _) = source();
        let name = beside();
        write_small(&*disk, &name, b"one").unwrap();
        let (target, mut calls) = (MemoryDisk::default(), 0);
        let mut link = |_: &FileName| {
            calls += 1;
            if calls == 1 {
                disk.remove(&name)?;
                write_small(&*disk, &name, b"another")?;
            }
            Ok(Linked::No)
        };
        back_up(&*disk, &target, &[beside()], &mut link).unwrap();
        assert_eq!(read_small(&target, &name).unwrap().unwrap(), b"another");
    }

    #[test]
    fn a_small_file_that_comes_meanwhile_is_in_it() {
        let (disk, _) = source();
        let name = beside();
        let (target, mut calls) = (MemoryDisk::default(), 0);
        let mut link = |_: &FileName| {
            calls += 1;
            if calls == 1 {
                write_small(&*disk, &name, b"the first")?;
            }
            Ok(Linked::No)
        };
        back_up(&*disk, &target, &[beside()], &mut link).unwrap();
        assert_eq!(read_small(&target, &name).unwrap().unwrap(), b"the first");
    }

    #[test]
    fn a_backup_with_a_lost_record_claims_only_what_is_there() {
        let (disk, _) = source();
        let target = Arc::new(MemoryDisk::default());
        back_up(&*disk, &*target, &[], &mut no_links).unwrap();
        let sealed = target.open(&segment_name(1)).unwrap();
        let at = target.read_at(&sealed, 0, 4096).unwrap().windows(20).position(|bytes| bytes == [9; 20]).unwrap();
        target.write_at(&sealed, at as u64, &[0]).unwrap();
        let restored = opened(&target, 9);
        assert_eq!(restored.recovered.opening, Opening::Renewed { reason: RenewalReason::Damage });
        assert!(!table(&restored).complete && table(&restored).clock.len() <= 40);
    }

    #[test]
    fn what_is_no_store_or_not_whole_is_refused_and_so_is_a_target_in_use() {
        let refused =
            |source: &MemoryDisk, target: &MemoryDisk| back_up(source, target, &[], &mut no_links).unwrap_err();
        let (disk, _) = source();
        let none = MemoryDisk::default();
        assert_eq!(refused(&disk, &disk.copied()), BackupError::NotEmpty);
        assert_eq!(refused(&none, &MemoryDisk::default()), BackupError::NoStore);
        let poisoned = disk.copied();
        put_marker(&poisoned, &marker_name()).unwrap();
        assert_eq!(refused(&poisoned, &MemoryDisk::default()), BackupError::Poisoned);
        let missing = disk.copied();
        missing.remove(&key_file_name(1)).unwrap();
        let target = Arc::new(MemoryDisk::default());
        assert_eq!(refused(&missing, &target), BackupError::Missing(key_file_name(1)));
        assert_eq!(open(target.clone(), options(1)).err(), Some(OpenError::UnfinishedBackup));
        assert_eq!(refused(&target, &MemoryDisk::default()), OpenError::UnfinishedBackup.into());
    }
}
