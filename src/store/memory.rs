//! A disk that never fails, for tests of this floor alone. The chaos crate has the one that does.

use super::{Disk, DiskError, DiskErrorKind, FileName};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Bytes = Arc<Mutex<Vec<u8>>>;

/// Files in memory.
#[derive(Default)]
pub(crate) struct MemoryDisk {
    interruption: Mutex<Option<Interruption>>,
    files: Mutex<BTreeMap<FileName, Bytes>>,
    bytes_read: AtomicU64,
}

/// What another process does the moment a file of this name is opened.
type Interruption = (FileName, Box<dyn FnOnce() + Send>);

impl MemoryDisk {
    /// Once, before the next opening of this file, `happens`.
    pub(super) fn interrupt(&self, name: FileName, happens: impl FnOnce() + Send + 'static) {
        *self.interruption.lock().unwrap_or_else(PoisonError::into_inner) = Some((name, Box::new(happens)));
    }

    /// The same files once more.
    pub(super) fn copied(&self) -> MemoryDisk {
        let copy = |(name, file): (&FileName, &Bytes)| (name.clone(), Arc::new(Mutex::new(locked(file).clone())));
        MemoryDisk { files: Mutex::new(self.files().iter().map(copy).collect()), ..MemoryDisk::default() }
    }

    /// Gives `other` a file of this disk under its name.
    pub(super) fn link_to(&self, other: &MemoryDisk, name: &FileName) {
        let file = self.files().get(name).cloned();
        file.into_iter().for_each(|file| drop(other.files().insert(name.clone(), file)));
    }

    /// All files with their contents.
    pub(super) fn contents(&self) -> BTreeMap<FileName, Vec<u8>> {
        self.files().iter().map(|(name, file)| (name.clone(), locked(file).clone())).collect()
    }

    /// Bytes that all reads have returned.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<FileName, Bytes>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn locked(file: &Bytes) -> MutexGuard<'_, Vec<u8>> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

fn missing(name: &FileName) -> DiskError {
    DiskError { kind: DiskErrorKind::NotFound, operation: "open", file: name.0.clone(), detail: "no such file".into() }
}

impl Disk for MemoryDisk {
    type File = Bytes;

    fn create(&self, name: &FileName) -> Result<Bytes, DiskError> {
        Ok(self.files().entry(name.clone()).or_default().clone())
    }

    fn open(&self, name: &FileName) -> Result<Bytes, DiskError> {
        let interruption =
            self.interruption.lock().unwrap_or_else(PoisonError::into_inner).take_if(|(at, _)| at == name);
        if let Some((_, happens)) = interruption {
            happens();
        }
        self.files().get(name).cloned().ok_or_else(|| missing(name))
    }

    fn allocate(&self, file: &Bytes, length: u64) -> Result<(), DiskError> {
        locked(file).resize(length as usize, 0);
        Ok(())
    }

    fn write_at(&self, file: &Bytes, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let (mut file, offset) = (locked(file), offset as usize);
        let length = file.len().max(offset + bytes.len());
        file.resize(length, 0);
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, file: &Bytes, offset: u64, length: usize) -> Result<Vec<u8>, DiskError> {
        let file = locked(file);
        let start = file.len().min(offset as usize);
        let bytes = file[start..file.len().min(start + length)].to_vec();
        self.bytes_read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    fn sync(&self, _: &Bytes) -> Result<(), DiskError> {
        Ok(())
    }

    fn len(&self, file: &Bytes) -> Result<u64, DiskError> {
        Ok(locked(file).len() as u64)
    }

    fn list(&self) -> Result<Vec<FileName>, DiskError> {
        Ok(self.files().keys().cloned().collect())
    }

    fn remove(&self, name: &FileName) -> Result<(), DiskError> {
        self.files().remove(name).map(|_| ()).ok_or_else(|| missing(name))
    }

    fn rename(&self, from: &FileName, to: &FileName) -> Result<(), DiskError> {
        let file = self.files().remove(from).ok_or_else(|| missing(from))?;
        self.files().insert(to.clone(), file);
        Ok(())
    }

    fn sync_dir(&self) -> Result<(), DiskError> {
        Ok(())
    }

    fn free_space(&self) -> Result<(u64, u64), DiskError> {
        Ok((u64::MAX, u64::MAX))
    }

    fn lock(&self) -> Result<(), DiskError> {
        Ok(())
    }

    fn identity(&self) -> Result<u64, DiskError> {
        Ok(1)
    }
}
