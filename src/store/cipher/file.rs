//! The file `keys`: the data keys of a directory, each wrapped by a master key. It holds its contents twice, since
//! without it nothing else can be read.

use crate::store::checkpoint::remove_if_there;
use crate::store::frame::u32_at;
use crate::store::identity::sync_names;
use crate::store::{Disk, DiskError, DiskErrorKind, FileName, OpenError, envelope};
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"DUNLINDK";
const FORMAT: u32 = 1;

/// Longest file that is read: 255 keys, twice, fit many times over.
const MAX_FILE_BYTES: usize = 1 << 20;

/// How often the file holds its contents.
pub(super) const COPIES: usize = 2;

/// Each copy fills whole blocks of the disk, so that one bad block takes one copy.
const COPY_ALIGNMENT: usize = 4096;

/// A data key as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WrappedKey {
    /// 1 to 255: what frames and headers call it.
    pub(super) number: u8,
    #[serde(with = "serde_bytes")]
    pub(super) wrapped: Vec<u8>,
}

/// What the file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FoundKeys {
    /// The oldest first.
    pub(super) keys: Vec<WrappedKey>,
    /// How many of its two copies are intact: one at least.
    pub(super) copies: usize,
}

/// The file's name.
pub(in crate::store) fn keys_name() -> FileName {
    FileName("keys".into())
}

/// The file while it is being written.
pub(in crate::store) fn new_keys_name() -> FileName {
    FileName("keys.new".into())
}

/// The keys in the file; none without a file.
pub(super) fn read<D: Disk>(disk: &D) -> Result<Option<FoundKeys>, OpenError> {
    let file = match disk.open(&keys_name()) {
        Ok(file) => file,
        Err(error) if error.kind == DiskErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let length = disk.len(&file)? as usize;
    let half = (length / COPIES).min(MAX_FILE_BYTES);
    let mut found: Option<FoundKeys> = None;
    for offset in [0, half] {
        // Not beyond the copy: what lies there may be unreadable.
        let bytes = match disk.read_at(&file, offset as u64, half) {
            Err(error) if error.kind == DiskErrorKind::Failed => continue,
            read => read?,
        };
        match (decode(&bytes)?, &mut found) {
            (Some(_), Some(found)) => found.copies += 1,
            (Some(keys), none) => *none = Some(FoundKeys { keys, copies: 1 }),
            (None, _) => {}
        }
    }
    found.map(Some).ok_or(OpenError::DamagedKeys)
}

/// The file as it was written: one damaged or unreadable copy is put right. None without a file.
pub(in crate::store) fn intact_keys<D: Disk>(disk: &D) -> Result<Option<Vec<u8>>, OpenError> {
    Ok(read(disk)?.map(|found| encode(&found.keys)))
}

/// Takes away what a replacement that was cut short has left.
pub(super) fn remove_unfinished<D: Disk>(disk: &D) -> Result<(), DiskError> {
    remove_if_there(disk, &new_keys_name())
}

/// Replaces the file durably: the old or the new one is there at any instant.
pub(super) fn replace<D: Disk>(disk: &D, keys: &[WrappedKey]) -> Result<(), DiskError> {
    remove_unfinished(disk)?;
    let file = disk.create(&new_keys_name())?;
    disk.write_at(&file, 0, &encode(keys))?;
    disk.sync(&file)?;
    disk.rename(&new_keys_name(), &keys_name())?;
    sync_names(disk)
}

fn encode(keys: &[WrappedKey]) -> Vec<u8> {
    let payload = rmp_serde::to_vec(keys).expect("wrapped keys hold nothing MessagePack cannot say");
    let mut copy = envelope::seal(MAGIC, FORMAT, &payload);
    copy.resize(copy.len().next_multiple_of(COPY_ALIGNMENT), 0);
    copy.repeat(COPIES)
}

/// The copy that begins with these bytes; none if it is damaged.
fn decode(bytes: &[u8]) -> Result<Option<Vec<WrappedKey>>, OpenError> {
    let length = u32_at(bytes, 12).map(|payload| envelope::ENVELOPE_BYTES.saturating_add(payload as usize));
    let copy = length.and_then(|length| bytes.get(..length)).and_then(|bytes| envelope::open(MAGIC, bytes));
    match copy {
        Some(copy) if copy.format != FORMAT => {
            Err(OpenError::UnknownFormat { file: keys_name().0, format: copy.format })
        }
        Some(copy) => Ok(rmp_serde::from_slice(copy.payload).ok()),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryDisk;

    #[test]
    fn one_damaged_copy_is_borne_and_two_are_noticed() {
        let disk = MemoryDisk::default();
        assert_eq!(read(&disk), Ok(None));
        let keys: Vec<WrappedKey> = (1..9).map(|number| WrappedKey { number, wrapped: vec![number; 48] }).collect();
        replace(&disk, &keys).unwrap();
        let intact = |copies| Ok(Some(FoundKeys { keys: keys.clone(), copies }));
        assert_eq!(read(&disk), intact(2));
        let file = disk.open(&keys_name()).unwrap();
        let length = disk.len(&file).unwrap();
        let bytes = disk.read_at(&file, 0, length as usize).unwrap();
        for byte in 0..bytes.len() {
            disk.write_at(&file, byte as u64, &[bytes[byte] ^ 0x10]).unwrap();
            let is_padding = bytes[byte] == 0 && read(&disk) == intact(2);
            assert!(is_padding || read(&disk) == intact(1), "byte {byte}");
            disk.write_at(&file, byte as u64, &bytes[byte..=byte]).unwrap();
        }
        disk.write_at(&file, 30, &[0xff]).unwrap();
        disk.write_at(&file, length / 2 + 50, &[0xff]).unwrap();
        assert_eq!(read(&disk), Err(OpenError::DamagedKeys));
    }
}
