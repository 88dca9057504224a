//! The store's disk on a real file system.

use crate::store::{Disk, DiskError, DiskErrorKind, FileName};
use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IoSliceMut};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

/// Reads above this look at the file's length first, so that a generous limit costs no memory.
const PLAIN_READ_BYTES: usize = 1 << 20;

/// Zeros written at once where the file system cannot reserve space.
const ZERO_BYTES: usize = 1 << 20;

/// A data directory. The lock taken with [`Disk::lock`] lasts as long as this value.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    directory: File,
    access: Access,
    /// Does the file system say what is in the page cache?
    tells_cached: AtomicBool,
}

/// What files are opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    ReadWrite,
    Read,
}

/// An open file, with its name for error messages.
#[derive(Debug)]
pub struct RealFile {
    file: File,
    name: String,
}

impl RealDisk {
    /// Opens a directory that exists.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DiskError> {
        RealDisk::open_for(Access::ReadWrite, path.into())
    }

    /// The same, to look at files that are there and no more: of a file system that is read-only, or of a node that
    /// runs.
    pub fn open_to_read(path: impl Into<PathBuf>) -> Result<Self, DiskError> {
        RealDisk::open_for(Access::Read, path.into())
    }

    fn open_for(access: Access, path: PathBuf) -> Result<Self, DiskError> {
        let directory = File::open(&path).map_err(|error| failure("open", &path.display().to_string(), &error))?;
        Ok(RealDisk { path, directory, access, tells_cached: AtomicBool::new(true) })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn named(&self, name: &FileName) -> PathBuf {
        self.path.join(&name.0)
    }

    fn in_directory<T>(&self, operation: &'static str, result: io::Result<T>) -> Result<T, DiskError> {
        result.map_err(|error| failure(operation, &self.path.display().to_string(), &error))
    }
}

impl RealFile {
    fn did<T>(&self, operation: &'static str, result: io::Result<T>) -> Result<T, DiskError> {
        result.map_err(|error| failure(operation, &self.name, &error))
    }
}

impl Disk for RealDisk {
    type File = RealFile;

    fn create(&self, name: &FileName) -> Result<RealFile, DiskError> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.named(name));
        let file = file.map_err(|error| failure("create", &name.0, &error))?;
        Ok(RealFile { file, name: name.0.clone() })
    }

    fn open(&self, name: &FileName) -> Result<RealFile, DiskError> {
        let writes = self.access == Access::ReadWrite;
        let file = OpenOptions::new().read(true).write(writes).open(self.named(name));
        let file = file.map_err(|error| failure("open", &name.0, &error))?;
        Ok(RealFile { file, name: name.0.clone() })
    }

    fn allocate(&self, file: &RealFile, length: u64) -> Result<(), DiskError> {
        let reserved = match rustix::fs::fallocate(&file.file, FallocateFlags::empty(), 0, length) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(&file.file, length),
            result => result.map_err(io::Error::from),
        };
        if reserved.is_err() {
            // What was reserved of it would only fill the disk further; the error that counts is the first.
            let _ = file.file.set_len(0);
        }
        file.did("allocate", reserved)
    }

    fn write_at(&self, file: &RealFile, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        file.did("write", file.file.write_all_at(bytes, offset))
    }

    fn read_at(&self, file: &RealFile, offset: u64, length: usize) -> Result<Vec<u8>, DiskError> {
        let mut length = length;
        if length > PLAIN_READ_BYTES {
            let rest = self.len(file)?.saturating_sub(offset);
            length = length.min(usize::try_from(rest).unwrap_or(usize::MAX));
        }
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.file.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failure("read", &file.name, &error)),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// By `RWF_NOWAIT`. A file system that does not know it is read plainly: its reads may wait.
    fn read_cached(&self, file: &RealFile, offset: u64, length: usize) -> Result<Option<Vec<u8>>, DiskError> {
        if !self.tells_cached.load(Ordering::Relaxed) {
            return self.read_at(file, offset, length).map(Some);
        }
        let mut bytes = vec![0; length];
        let read = preadv2(&file.file, &mut [IoSliceMut::new(&mut bytes)], offset, ReadWriteFlags::NOWAIT);
        match read {
            Ok(read) if read == length => Ok(Some(bytes)),
            // Part of it is at hand, or the end of the file is near: whoever may wait finds out.
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                self.tells_cached.store(false, Ordering::Relaxed);
                self.read_at(file, offset, length).map(Some)
            }
            Err(error) => Err(failure("read", &file.name, &error.into())),
        }
    }

    fn sync(&self, file: &RealFile) -> Result<(), DiskError> {
        file.did("sync", file.file.sync_data())
    }

    fn len(&self, file: &RealFile) -> Result<u64, DiskError> {
        file.did("stat", file.file.metadata()).map(|metadata| metadata.len())
    }

    fn list(&self) -> Result<Vec<FileName>, DiskError> {
        let mut names = Vec::new();
        for entry in self.in_directory("list", fs::read_dir(&self.path))? {
            // A name that is not text is not one of ours.
            names.extend(self.in_directory("list", entry)?.file_name().into_string().ok().map(FileName));
        }
        names.sort();
        Ok(names)
    }

    fn remove(&self, name: &FileName) -> Result<(), DiskError> {
        fs::remove_file(self.named(name)).map_err(|error| failure("remove", &name.0, &error))
    }

    fn rename(&self, from: &FileName, to: &FileName) -> Result<(), DiskError> {
        fs::rename(self.named(from), self.named(to)).map_err(|error| failure("rename", &from.0, &error))
    }

    fn sync_dir(&self) -> Result<(), DiskError> {
        self.in_directory("sync", self.directory.sync_all())
    }

    fn free_space(&self) -> Result<(u64, u64), DiskError> {
        let space = self.in_directory("statvfs", rustix::fs::fstatvfs(&self.directory).map_err(io::Error::from))?;
        let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
        Ok((bytes(space.f_bavail), bytes(space.f_blocks)))
    }

    fn lock(&self) -> Result<(), DiskError> {
        match rustix::fs::flock(&self.directory, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                let error = failure("lock", &self.path.display().to_string(), &io::Error::from(Errno::WOULDBLOCK));
                Err(DiskError { kind: DiskErrorKind::Locked, ..error })
            }
            result => self.in_directory("lock", result.map_err(io::Error::from)),
        }
    }

    /// Inode and birth time: a copied or restored directory differs in one of them. Where the file
    /// system knows no birth time, the inode alone has to do.
    fn identity(&self) -> Result<u64, DiskError> {
        let metadata = self.in_directory("stat", self.directory.metadata())?;
        let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let born = born.map_or(0, |born| born.as_nanos());
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        hasher.update(&metadata.ino().to_le_bytes());
        hasher.update(&born.to_le_bytes());
        Ok(hasher.digest())
    }
}

fn write_zeros(file: &File, length: u64) -> io::Result<()> {
    let zeros = vec![0; ZERO_BYTES];
    let mut at = file.metadata()?.len();
    while at < length {
        let piece = usize::try_from(length - at).unwrap_or(ZERO_BYTES).min(ZERO_BYTES);
        file.write_all_at(zeros.get(..piece).unwrap_or_default(), at)?;
        at += piece as u64;
    }
    Ok(())
}

fn failure(operation: &'static str, file: &str, error: &io::Error) -> DiskError {
    DiskError { kind: kind_of(error), operation, file: file.to_owned(), detail: error.to_string() }
}

/// What an error of the system is to the store.
pub(super) fn kind_of(error: &io::Error) -> DiskErrorKind {
    let number = error.raw_os_error().map(Errno::from_raw_os_error);
    match error.kind() {
        _ if matches!(number, Some(Errno::MFILE | Errno::NFILE)) => DiskErrorKind::TooManyOpenFiles,
        ErrorKind::NotFound => DiskErrorKind::NotFound,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => DiskErrorKind::Full,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => DiskErrorKind::Refused,
        _ => DiskErrorKind::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{Actor, Dot, DotSet};
    use crate::ring::PartitionId;
    use crate::store::{
        Birth, Body, CodecOptions, Durability, OpenError, OpenOptions, Opening, Record, RenewalReason, open,
    };
    use std::sync::Arc;

    fn options(actor: u64) -> OpenOptions {
        OpenOptions {
            fresh_actor: Actor(actor),
            segment_bytes: 8192,
            durability: Durability::Fsync,
            boot: 1,
            birth: Birth::Filling,
            codec: CodecOptions::default(),
        }
    }

    fn record(counter: u64) -> Record {
        let dots = DotSet::from(Dot { actor: Actor(7), counter });
        Record { partition: PartitionId(counter as u32 % 4), body: Body::Void { dots, minted: counter } }
    }

    fn disk(path: &Path) -> Arc<RealDisk> {
        Arc::new(RealDisk::open(path).unwrap())
    }

    #[test]
    fn a_store_comes_back_whether_or_not_it_was_closed() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("genesis"), "").unwrap();
        let mut expected = Vec::new();
        for round in 0..6u64 {
            let mut store = open(disk(directory.path()), options(7 + round)).unwrap();
            assert_eq!(store.recovered.opening, if round == 0 { Opening::New } else { Opening::Kept });
            assert!(store.recovered.complete_by_default);
            assert!(!directory.path().join("genesis").exists());
            assert_eq!(store.recovered.findings, []);
            let seen: u64 = store.recovered.tables.values().map(|table| table.clock.len()).sum();
            assert_eq!(seen, expected.len() as u64);
            for n in 0..100 {
                let record = record(round * 100 + n + 1);
                let places = store.log.append(std::slice::from_ref(&record)).unwrap();
                expected.push((places[0].0, record));
            }
            for (place, record) in expected.iter().rev().take(100) {
                assert_eq!(&store.reader.read(*place).unwrap(), record);
            }
            if round % 2 == 0 {
                store.log.close().unwrap();
            }
        }
    }

    #[test]
    fn a_log_may_move_to_a_thread_and_a_reader_be_shared() {
        fn moves<T: Send>() {}
        fn shared<T: Clone + Send + Sync>() {}
        moves::<crate::store::Log<RealDisk>>();
        shared::<crate::store::Reader<RealDisk>>();
    }

    #[test]
    fn a_directory_is_held_by_one_process_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let held = open(disk(directory.path()), options(1)).unwrap();
        assert_eq!(open(disk(directory.path()), options(2)).err(), Some(OpenError::Locked));
        drop(held);
        assert!(open(disk(directory.path()), options(3)).is_ok());
    }

    #[test]
    fn a_copied_directory_gets_a_new_actor_and_fills_again() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut store = open(disk(from.path()), options(7)).unwrap();
        store.log.append(&[record(1)]).unwrap();
        store.log.close().unwrap();
        for entry in fs::read_dir(from.path()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
        }
        let copy = open(disk(to.path()), options(8)).unwrap();
        assert_eq!(copy.recovered.opening, Opening::Renewed { reason: RenewalReason::Copied });
        assert_eq!(copy.recovered.actor, Actor(8));
        assert!(copy.recovered.tables.values().all(|table| !table.complete && table.minted == 0));
    }

    #[test]
    fn a_disk_that_is_only_looked_at_opens_files_that_cannot_be_written() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), "abc").unwrap();
        let disk = RealDisk::open_to_read(directory.path()).unwrap();
        let file = disk.open(&FileName("a".into())).unwrap();
        assert_eq!(disk.read_at(&file, 1, 9).unwrap(), b"bc");
        assert!(disk.write_at(&file, 0, b"x").is_err());
        assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"abc");
    }

    #[test]
    fn the_system_calls_keep_to_the_contract() {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(directory.path()).unwrap();
        let name = |text: &str| FileName(text.into());
        let file = disk.create(&name("a")).unwrap();
        assert_eq!(disk.create(&name("a")).unwrap_err().kind, DiskErrorKind::Failed);
        assert_eq!(disk.open(&name("b")).unwrap_err().kind, DiskErrorKind::NotFound);
        disk.allocate(&file, 10_000).unwrap();
        assert_eq!(disk.len(&file).unwrap(), 10_000);
        disk.write_at(&file, 9_998, b"xyz").unwrap();
        disk.sync(&file).unwrap();
        assert_eq!(disk.read_at(&file, 9_997, 1 << 21).unwrap(), b"\0xyz");
        assert!(matches!(disk.read_cached(&file, 9_998, 3).unwrap().as_deref(), None | Some(b"xyz")));
        disk.rename(&name("a"), &name("b")).unwrap();
        disk.sync_dir().unwrap();
        assert_eq!(disk.list().unwrap(), [name("b")]);
        let (free, size) = disk.free_space().unwrap();
        assert!(free > 0 && free <= size);
        assert_eq!(disk.identity().unwrap(), RealDisk::open(directory.path()).unwrap().identity().unwrap());
    }

    /// Where the first piece of a file begins that was never written, as far as the file system tells.
    fn unwritten_from(path: &Path) -> u64 {
        rustix::fs::seek(File::open(path).unwrap(), rustix::fs::SeekFrom::Hole(0)).unwrap()
    }

    #[test]
    fn the_space_of_segments_is_written_before_it_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let options = OpenOptions { segment_bytes: 1 << 20, ..options(7) };
        let mut log = open(disk(directory.path()), options).unwrap().log;
        log.append(&(1..=10_000).map(record).collect::<Vec<_>>()).unwrap();
        log.do_jobs().unwrap();
        for name in ["segment-00000001.log", "segment-00000002.new"] {
            let path = directory.path().join(name);
            assert_eq!(unwritten_from(&path), fs::metadata(&path).unwrap().len(), "{name}");
        }
    }

    #[test]
    fn zeros_are_not_waited_for_and_a_log_that_outruns_them_does_without() {
        let directory = tempfile::tempdir().unwrap();
        let options = OpenOptions { segment_bytes: 2 << 20, ..options(7) };
        let mut log = open(disk(directory.path()), options).unwrap().log;
        let mut counters = (1..).map(record);
        let mut append = |log: &mut crate::store::Log<RealDisk>, count| {
            log.append(&counters.by_ref().take(count).collect::<Vec<_>>()).unwrap()[0].0.segment
        };
        append(&mut log, 20_000);
        let mut job = log.next_job().unwrap();
        log.hurry();
        job.run();
        let unwritten = unwritten_from(&directory.path().join("segment-00000002.new"));
        assert!((1 << 20..2 << 20).contains(&unwritten), "{unwritten}");
        log.finish_job(job).unwrap();
        // From the third on no job is done until the batch that needs it.
        while append(&mut log, 1000) < 3 {}
        append(&mut log, 20_000);
        let mut job = log.next_job().unwrap();
        job.run();
        assert_eq!(unwritten_from(&directory.path().join("segment-00000004.new")), 0);
    }
}
