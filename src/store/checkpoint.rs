//! The file `checkpoint-<sequence>`: all that is not per key, as of the end of the sealed log.

use super::claims::Claims;
use super::sealed::CheckpointStamp;
use super::tracker::ClockTracker;
use super::{Birth, Disk, DiskError, DiskErrorKind, FileName, OpenError, Sequence, envelope};
use crate::base::{Mutation, NodeId, broken};
use crate::causal::Actor;
use crate::ring::PartitionId;
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"DUNLINCP";
const FORMAT: u32 = 2;
/// Claims end before what was dropped: nothing was.
const FORMAT_WITHOUT_DROPPED: u32 = 1;

/// Longest checkpoint: sixteen million open hints. Anything longer is not ours.
const MAX_CHECKPOINT_BYTES: usize = 1 << 30;

/// The contents of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// The state after this record.
    sequence: Sequence,
    /// Whose counters the counters are.
    actor: Actor,
    /// Partitions with a record, ascending.
    partitions: Vec<(PartitionId, Claims)>,
    /// Open hints, ascending, with the targets that have not got them yet.
    hints: Vec<(Sequence, Vec<NodeId>)>,
}

/// The file as of a sequence.
pub(super) fn checkpoint_name(sequence: Sequence) -> FileName {
    FileName(format!("checkpoint-{:016x}", sequence.0))
}

/// Is this a checkpoint's name?
pub(super) fn is_checkpoint(name: &FileName) -> bool {
    let sequence = name.0.strip_prefix("checkpoint-").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    sequence.is_some_and(|sequence| checkpoint_name(Sequence(sequence)) == *name)
}

impl Checkpoint {
    /// The tracker's state, which must be that after `sequence`.
    pub(super) fn of(tracker: &ClockTracker, sequence: Sequence) -> Checkpoint {
        Checkpoint {
            sequence,
            actor: tracker.actor,
            partitions: tracker.partitions.iter().map(|(partition, claims)| (*partition, claims.clone())).collect(),
            hints: tracker.hints.iter().map(|(hint, targets)| (*hint, targets.clone())).collect(),
        }
    }

    /// The state to go on from. Counters count for the actor that minted them (PROTOCOL R9).
    pub(super) fn tracker(&self, actor: Actor, birth: Birth) -> ClockTracker {
        let mut tracker = ClockTracker::new(actor, birth);
        tracker.partitions.extend(self.partitions.iter().cloned());
        if actor != self.actor || broken(Mutation::CounterReuse) {
            tracker.partitions.values_mut().for_each(|claims| claims.minted = 0);
        }
        tracker.hints.extend(self.hints.iter().cloned());
        tracker
    }

    /// Writes and syncs the file; its name is not durable yet.
    pub(super) fn write<D: Disk>(&self, disk: &D) -> Result<CheckpointStamp, DiskError> {
        let payload = rmp_serde::to_vec(self).expect("a checkpoint holds nothing MessagePack cannot say");
        let bytes = envelope::seal(MAGIC, FORMAT, &payload);
        let name = checkpoint_name(self.sequence);
        remove_if_there(disk, &name)?;
        let file = disk.create(&name)?;
        disk.write_at(&file, 0, &bytes)?;
        disk.sync(&file)?;
        let checksum = envelope::open(MAGIC, &bytes).map_or(0, |envelope| envelope.checksum);
        Ok(CheckpointStamp { sequence: self.sequence, checksum })
    }

    /// Reads the file that the manifest speaks of; none if it is gone, damaged or another one.
    pub(super) fn read<D: Disk>(disk: &D, stamp: CheckpointStamp) -> Result<Option<Checkpoint>, OpenError> {
        let name = checkpoint_name(stamp.sequence);
        let bytes = match disk.open(&name).and_then(|file| disk.read_at(&file, 0, MAX_CHECKPOINT_BYTES)) {
            Ok(bytes) => bytes,
            Err(DiskError { kind: DiskErrorKind::NotFound | DiskErrorKind::Failed, .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(envelope) = envelope::open(MAGIC, &bytes) else { return Ok(None) };
        if envelope.format != FORMAT && envelope.format != FORMAT_WITHOUT_DROPPED {
            return Err(OpenError::UnknownFormat { file: name.0, format: envelope.format });
        }
        let checkpoint: Option<Checkpoint> = rmp_serde::from_slice(envelope.payload).ok();
        Ok(checkpoint.filter(|found| envelope.checksum == stamp.checksum && found.sequence == stamp.sequence))
    }
}

/// Removes a file that need not be there.
pub(super) fn remove_if_there<D: Disk>(disk: &D, name: &FileName) -> Result<(), DiskError> {
    match disk.remove(name) {
        Err(error) if error.kind != DiskErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{Dot, DotSet};
    use crate::store::memory::MemoryDisk;

    fn checkpoint() -> Checkpoint {
        let mut tracker = ClockTracker::new(Actor(7), Birth::Complete);
        let clock = DotSet::from(Dot { actor: Actor(7), counter: 3 });
        tracker.partitions.insert(PartitionId(5), Claims { clock, minted: 3, complete: true, dropped: Sequence(2) });
        tracker.hints.insert(Sequence(9), vec![NodeId(1), NodeId(2)]);
        Checkpoint::of(&tracker, Sequence(12))
    }

    #[test]
    fn a_checkpoint_comes_back_and_every_flipped_bit_is_noticed() {
        let disk = MemoryDisk::default();
        let stamp = checkpoint().write(&disk).unwrap();
        assert_eq!(Checkpoint::read(&disk, stamp), Ok(Some(checkpoint())));
        assert_eq!(Checkpoint::read(&disk, CheckpointStamp { checksum: stamp.checksum + 1, ..stamp }), Ok(None));
        let file = disk.open(&checkpoint_name(Sequence(12))).unwrap();
        let bytes = disk.read_at(&file, 0, 1 << 20).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            disk.write_at(&file, 0, &flipped).unwrap();
            assert_eq!(Checkpoint::read(&disk, stamp), Ok(None), "bit {bit}");
        }
    }

    #[test]
    fn counters_count_for_the_actor_that_minted_them() {
        let minted = |actor| checkpoint().tracker(Actor(actor), Birth::Complete).partitions[&PartitionId(5)].minted;
        assert_eq!((minted(7), minted(8)), (3, 0));
    }

    #[test]
    fn only_a_checkpoint_s_exact_name_is_one() {
        assert!(is_checkpoint(&checkpoint_name(Sequence(0xab))));
        for name in ["checkpoint-ab", "checkpoint-00000000000000AB", "checkpoint-", "identity"] {
            assert!(!is_checkpoint(&FileName(name.into())), "{name}");
        }
    }
}
