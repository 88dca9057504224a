//! The file `identity`, the store's manifest: under which actor it writes, which files count, and what
//! it can prove about its log.

use super::sealed::SealedLog;
use super::{Disk, DiskError, DiskErrorKind, FileName, Sequence, envelope};
use crate::base::{Mutation, broken};
use crate::causal::Actor;
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"DUNLINID";
/// What lies beside it may have dropped partitions: earlier programs would take their keys for current.
const FORMAT: u32 = 5;
/// It may be encrypted, and says under which data key.
const FORMAT_ENCRYPTED: u32 = 4;
/// It may be compressed, which earlier programs would take for damage.
const FORMAT_COMPRESSED: u32 = 3;
/// Nothing is encoded.
const FORMAT_PLAIN: u32 = 2;

/// Without sealed segments: what was written before there were any.
const FORMAT_WITHOUT_SEALED: u32 = 1;

/// Longest identity file: a quarter million sealed segments, or a million ranges of lost records.
/// Anything longer is not ours.
const MAX_IDENTITY_BYTES: usize = 16 << 20;

/// What a backup says of its directory: it is that of none.
pub(super) const BACKUP: u64 = 0;

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
    /// [`Disk::identity`] of the directory it belongs to, or [`BACKUP`].
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
    /// What need not be scanned.
    #[serde(default)]
    pub(super) sealed: SealedLog,
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

/// The identity while it is being written.
pub(super) fn new_identity_name() -> FileName {
    FileName("identity.new".into())
}

/// Present while damage is being dealt with, and after a failed write or sync (PROTOCOL R17).
pub(super) fn marker_name() -> FileName {
    FileName("poisoned".into())
}

/// Present after a record could not be verified: the next opening verifies all of them.
pub(super) fn doubt_name() -> FileName {
    FileName("doubted".into())
}

/// Present in a backup until it is whole.
pub(super) fn unfinished_backup_name() -> FileName {
    FileName("backup-unfinished".into())
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
        envelope::seal(MAGIC, FORMAT, &payload)
    }

    fn decode(bytes: &[u8]) -> FoundIdentity {
        let Some(envelope) = envelope::open(MAGIC, bytes) else { return FoundIdentity::Damaged };
        match envelope.format {
            FORMAT | FORMAT_ENCRYPTED | FORMAT_COMPRESSED | FORMAT_PLAIN | FORMAT_WITHOUT_SEALED => {
                rmp_serde::from_slice(envelope.payload)
                    .map_or(FoundIdentity::Damaged, |identity| FoundIdentity::Known(Box::new(identity)))
            }
            format => FoundIdentity::UnknownFormat(format),
        }
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
    use crate::store::sealed::{CheckpointStamp, KeyFileStamp, SealedSegment};

    fn identity() -> Identity {
        Identity {
            actor: Actor(1 << 63),
            directory: 5,
            boot: 6,
            ending: Ending::Clean,
            birth: Birth::Complete,
            durability: Durability::Fsync,
            durable: Sequence(77),
            newest: 3,
            lost: vec![(4, 5)],
            sealed: SealedLog {
                through: Sequence(60),
                first_tail: 3,
                segments: vec![SealedSegment {
                    segment: 2,
                    generation: 1 << 50,
                    end: 4096,
                    sequences: Some((Sequence(1), Sequence(60))),
                    records: 58,
                    bytes: 4000,
                    key_file: KeyFileStamp { entries: 50, bytes: 900, checksum: 7 },
                    data_key: 2,
                }],
                checkpoint: Some(CheckpointStamp { sequence: Sequence(60), checksum: 9 }),
            },
        }
    }

    #[test]
    fn an_identity_comes_back_and_every_flipped_bit_is_noticed() {
        let identity = identity();
        let bytes = identity.encode();
        assert!(matches!(Identity::decode(&bytes), FoundIdentity::Known(known) if *known == identity));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Identity::decode(&flipped), FoundIdentity::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn an_identity_of_the_format_without_sealed_segments_is_understood() {
        let Identity { actor, directory, boot, ending, birth, durability, durable, newest, lost, .. } = identity();
        let mut payload = Vec::new();
        (actor, directory, boot, ending, birth, durability, durable, newest, lost)
            .serialize(&mut rmp_serde::Serializer::new(&mut payload))
            .unwrap();
        let bytes = envelope::seal(MAGIC, FORMAT_WITHOUT_SEALED, &payload);
        let expected = Identity { sealed: SealedLog::default(), ..identity() };
        assert!(matches!(Identity::decode(&bytes), FoundIdentity::Known(known) if *known == expected));
    }

    #[test]
    fn a_later_format_is_told_from_damage() {
        let bytes = envelope::seal(MAGIC, FORMAT + 1, &[]);
        assert!(matches!(Identity::decode(&bytes), FoundIdentity::UnknownFormat(6)));
    }
}
