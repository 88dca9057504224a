//! The file `identity`: under which actor the store writes, and what it can prove about its log.

use super::frame::u32_at;
use super::{Disk, DiskError, DiskErrorKind, FileName, Sequence};
use crate::base::{Mutation, broken};
use crate::causal::Actor;
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"DUNLINID";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 20;

/// Longest identity file: a million ranges of lost records. Anything longer is not ours.
const MAX_IDENTITY_BYTES: usize = 16 << 20;

/// When a write counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Durability {
    /// After fdatasync.
    Fsync,
    /// Once the operating system has it: lost with the machine, not with the process.
    Os,
}

/// What a new directory's partitions are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Birth {
    /// Complete: the directory of a new cluster, where there is nothing to copy.
    Complete,
    /// Filling: everything has to be copied from others first (PROTOCOL R6).
    Filling,
}

/// How the last process left the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ending {
    /// A process has it open, or died with it.
    Open,
    /// Closed, everything synced.
    Clean,
}

/// The contents of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) actor: Actor,
    /// [`Disk::identity`] of the directory it belongs to.
    pub(super) directory: u64,
    /// Hash of the kernel's boot id of the last opening.
    pub(super) boot: u64,
    pub(super) ending: Ending,
    /// Of partitions that no record has ever reset.
    pub(super) birth: Birth,
    pub(super) durability: Durability,
    /// Everything up to here was durable when this was written.
    pub(super) durable: Sequence,
    /// The newest segment that may hold answered records; 0 for none.
    pub(super) newest: u32,
    /// Sequences lost by damage that has been dealt with, as inclusive ranges.
    pub(super) lost: Vec<(u64, u64)>,
}

/// What the directory says about its identity.
#[derive(Debug)]
pub(super) enum FoundIdentity {
    Absent,
    Damaged,
    UnknownFormat(u32),
    Known(Box<Identity>),
}

/// The identity's file.
pub(super) fn identity_name() -> FileName {
    FileName("identity".into())
}

fn new_identity_name() -> FileName {
    FileName("identity.new".into())
}

/// Present while damage is being dealt with, and after a failed write or sync (PROTOCOL R17).
pub(super) fn marker_name() -> FileName {
    FileName("poisoned".into())
}

/// Put by the operator's `init` into the directory of a new cluster's node.
pub(super) fn genesis_name() -> FileName {
    FileName("genesis".into())
}

impl Identity {
    /// Reads the file; an error only when the disk fails.
    pub(super) fn read<D: Disk>(disk: &D) -> Result<FoundIdentity, DiskError> {
        let file = match disk.open(&identity_name()) {
            Ok(file) => file,
            Err(error) if error.kind == DiskErrorKind::NotFound => return Ok(FoundIdentity::Absent),
            Err(error) => return Err(error),
        };
        Ok(Self::decode(&disk.read_at(&file, 0, MAX_IDENTITY_BYTES)?))
    }

    /// Replaces the file durably: the old or the new one is there at any instant.
    pub(super) fn replace<D: Disk>(&self, disk: &D) -> Result<(), DiskError> {
        match disk.remove(&new_identity_name()) {
            Err(error) if error.kind != DiskErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create(&new_identity_name())?;
        disk.write_at(&file, 0, &self.encode())?;
        disk.sync(&file)?;
        disk.rename(&new_identity_name(), &identity_name())?;
        sync_names(disk)
    }

    fn encode(&self) -> Vec<u8> {
        let payload = rmp_serde::to_vec(self).expect("an identity holds nothing MessagePack cannot say");
        let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
        bytes.extend(MAGIC);
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend((payload.len() as u32).to_le_bytes());
        let sum = crc32c::crc32c_append(crc32c::crc32c(&bytes), &payload);
        bytes.extend(sum.to_le_bytes());
        bytes.extend(payload);
        bytes
    }

    fn decode(bytes: &[u8]) -> FoundIdentity {
        let read = || {
            let (header, payload) = bytes.split_at_checked(HEADER_BYTES)?;
            let sum = crc32c::crc32c_append(crc32c::crc32c(header.get(..16)?), payload);
            let intact = header.starts_with(MAGIC)
                && u32_at(header, 12)? as usize == payload.len()
                && u32_at(header, 16)? == sum;
            match u32_at(header, 8)? {
                FORMAT if intact => Some(FoundIdentity::Known(Box::new(rmp_serde::from_slice(payload).ok()?))),
                format if intact => Some(FoundIdentity::UnknownFormat(format)),
                _ => None,
            }
        };
        read().unwrap_or(FoundIdentity::Damaged)
    }
}

/// Makes names durable.
pub(super) fn sync_names<D: Disk>(disk: &D) -> Result<(), DiskError> {
    if broken(Mutation::SkipDirectorySync) {
        return Ok(());
    }
    disk.sync_dir()
}

/// Makes an empty file whose name alone says something; durable when this returns.
pub(super) fn put_marker<D: Disk>(disk: &D, name: &FileName) -> Result<(), DiskError> {
    if disk.open(name).is_err() {
        disk.create(name)?;
    }
    sync_names(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_comes_back_and_every_flipped_bit_is_noticed() {
        let identity = Identity {
            actor: Actor(1 << 63),
            directory: 5,
            boot: 6,
            ending: Ending::Clean,
            birth: Birth::Complete,
            durability: Durability::Fsync,
            durable: Sequence(77),
            newest: 3,
            lost: vec![(4, 5)],
        };
        let bytes = identity.encode();
        assert!(matches!(Identity::decode(&bytes), FoundIdentity::Known(known) if *known == identity));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Identity::decode(&flipped), FoundIdentity::Damaged), "bit {bit}");
        }
    }
}
