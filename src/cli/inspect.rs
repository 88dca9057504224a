//! `dunlin inspect`: what a data directory holds, in words.

use super::exit::Failure;
use crate::runtime::disk::RealDisk;
use crate::runtime::encryption::{KEY_VARIABLE, encryption, key_variable};
use crate::store::{
    Closed, Contradiction, Depth, Encryption, Finding, FindingKind, InspectedSealed, InspectedSegment, Inspection,
    Locked, OpenError, Opening, RenewalReason, Sequence, inspect as look, inspect_encrypted,
};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Read a data directory offline: segments, records, damage
///
/// Exit status: 0 nothing found, 1 damage, an unreadable directory, or --verify without the key of an encrypted one.
#[derive(clap::Args)]
pub(super) struct Inspect {
    /// The data directory of a stopped node
    dir: PathBuf,
    /// Read every record, and hold key files, checkpoint and manifest against them
    #[arg(long)]
    verify: bool,
    /// Key of an encrypted directory, as in storage.encryption_key_file; without it only the structure is read
    #[arg(long, value_name = "FILE")]
    encryption_key_file: Vec<PathBuf>,
}

impl Inspect {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let depth = if self.verify { Depth::Records } else { Depth::Frames };
        let failed = |error: &dyn fmt::Display| Failure::new(format!("{}: {error}", self.dir.display()));
        let encryption = encryption(&self.encryption_key_file, key_variable().as_deref());
        let encryption = encryption.map_err(|error| Failure::usage(error.to_string()))?;
        let report = inspect(&self.dir, encryption.as_ref(), depth).map_err(|error| failed(&error))?;
        print!("{report}");
        match depth {
            _ if report.0.is_damaged() => Err(failed(&"damaged")),
            Depth::Records if report.0.locked != Locked::default() => Err(failed(&"not all verified: no key is given")),
            _ => Ok(()),
        }
    }
}

/// An inspection to be printed.
#[derive(Debug)]
pub(super) struct Report(Inspection);

/// Looks at a data directory, a stopped node's for preference. Changes nothing.
pub(super) fn inspect(directory: &Path, encryption: Option<&Encryption>, depth: Depth) -> Result<Report, OpenError> {
    let disk = Arc::new(RealDisk::open_to_read(directory)?);
    match encryption {
        Some(encryption) => inspect_encrypted(&disk, encryption, depth).map(Report),
        None => look(&disk, depth).map(Report),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report(inspection) = self;
        match &inspection.identity {
            Some(identity) => {
                let closed = match identity.closed {
                    Closed::Cleanly => "closed cleanly",
                    Closed::NotYet => "in use, or not closed",
                };
                writeln!(f, "actor {}, durability {:?}, {closed}", identity.actor, identity.durability)?;
            }
            None => writeln!(f, "no readable identity")?,
        }
        let (durable, last, lost) = (inspection.durable.0, inspection.last.0, inspection.lost);
        writeln!(f, "records 1 to {last}, known durable to {durable}, lost to damage {lost}")?;
        if !inspection.sealed.is_empty() {
            let (segments, through) = (inspection.sealed.len(), inspection.sealed_through.0);
            writeln!(f, "manifest: {segments} sealed segments hold everything up to {through}")?;
        }
        for sealed in &inspection.sealed {
            let InspectedSealed { segment, records, bytes, entries, key_file_bytes, data_key, .. } = sealed;
            let (sequences, garbage, under) = (range(sealed.sequences), garbage(sealed), sealed_under(*data_key));
            writeln!(
                f,
                "segment {segment:08x}: sealed, {sequences}, {bytes} bytes in {records} frames{garbage}; key file: \
                 {entries} entries, {key_file_bytes} bytes{under}"
            )?;
        }
        for InspectedSegment { segment, frames, bytes, sequences, data_key } in &inspection.segments {
            let (sequences, under) = (range(*sequences), sealed_under(*data_key));
            writeln!(f, "segment {segment:08x}: {sequences}, {bytes} bytes in {frames} frames{under}")?;
        }
        write_locked(f, inspection)?;
        if let Some(contents) = &inspection.contents {
            writeln!(f, "partitions with records: {}", contents.partitions.len())?;
            for (kind, count) in &contents.kinds {
                writeln!(f, "{kind}: {count}")?;
            }
            if contents.not_understood > 0 {
                writeln!(f, "intact, not understood: {}", contents.not_understood)?;
            }
        }
        for name in &inspection.quarantined {
            writeln!(f, "set aside: {name}, a segment whose header was unreadable; nothing reads it")?;
        }
        inspection.findings.iter().try_for_each(|finding| write_finding(f, finding))?;
        inspection.contradictions.iter().try_for_each(|found| write_contradiction(f, found))?;
        match inspection.opening {
            Opening::New => writeln!(f, "opening it would make a new store"),
            Opening::Kept => writeln!(f, "opening it would keep the actor"),
            Opening::Renewed { reason } if reason.resets() => {
                writeln!(f, "opening it would draw a new actor and fill again from the other replicas: {reason:?}")
            }
            Opening::Renewed { reason: RenewalReason::Restored } => {
                writeln!(f, "a backup: opening it would draw a new actor and compare with the other replicas")
            }
            Opening::Renewed { reason } => writeln!(f, "opening it would draw a new actor: {reason:?}"),
        }
    }
}

/// What the key is missing for.
fn write_locked(f: &mut fmt::Formatter<'_>, inspection: &Inspection) -> fmt::Result {
    let Locked { segments, key_files } = inspection.locked;
    if segments == 0 {
        return Ok(());
    }
    write!(f, "encrypted: {segments} segments and {key_files} key files not decrypted")?;
    if inspection.contents.is_some() {
        write!(
            f,
            ": checksums verified of their frames, indexes and filters; not verified: records, blocks of key files"
        )?;
    }
    writeln!(f, "; --encryption-key-file or {KEY_VARIABLE} gives the key")
}

/// How much of a segment compaction could do away with.
fn garbage(sealed: &InspectedSealed) -> String {
    let share = |current: u64| 100 * sealed.bytes.saturating_sub(current) / sealed.bytes.max(1);
    sealed.current_bytes.map(|current| format!(", {} % garbage", share(current))).unwrap_or_default()
}

fn sealed_under(data_key: u8) -> String {
    if data_key == 0 { String::new() } else { format!(", encrypted under data key {data_key}") }
}

fn range(sequences: Option<(Sequence, Sequence)>) -> String {
    sequences.map_or("no record".into(), |(lowest, highest)| format!("{} to {}", lowest.0, highest.0))
}

fn write_finding(f: &mut fmt::Formatter<'_>, finding: &Finding) -> fmt::Result {
    let Finding { kind, segment, offset, bytes } = finding;
    match kind {
        FindingKind::LostRecords => writeln!(f, "found: lost records, {bytes} from sequence {offset}"),
        FindingKind::LostSegment => writeln!(f, "found: segment {segment:08x} is lost"),
        FindingKind::UnfinishedSegment => writeln!(f, "found: segment {segment:08x} was never put to use"),
        FindingKind::SpentSegment => writeln!(f, "found: segment {segment:08x} is not in use any more"),
        FindingKind::DamagedKeyFile => writeln!(f, "found: the key file of segment {segment:08x} is damaged"),
        FindingKind::DamagedCheckpoint => writeln!(f, "found: the checkpoint is damaged"),
        FindingKind::TornTail | FindingKind::DamagedBytes | FindingKind::UnreadableBytes => {
            let what = match kind {
                FindingKind::TornTail => "a torn tail",
                FindingKind::DamagedBytes => "damaged bytes",
                _ => "unreadable bytes",
            };
            writeln!(f, "found: {what}, segment {segment:08x}, {bytes} bytes at {offset}")
        }
    }
}

fn write_contradiction(f: &mut fmt::Formatter<'_>, found: &Contradiction) -> fmt::Result {
    match found {
        Contradiction::Manifest { segment } => {
            writeln!(f, "found: the manifest and segment {segment:08x} count other records")
        }
        Contradiction::KeyLine { segment, offset, key } => {
            writeln!(f, "found: the key file of segment {segment:08x} leads to no record of {key:?} at {offset}")
        }
        Contradiction::Unlisted { segment, offset, key } => {
            writeln!(f, "found: no key file leads to the record of {key:?} in segment {segment:08x} at {offset}")
        }
        Contradiction::Checkpoint { partition } => {
            writeln!(f, "found: the checkpoint and the records say different things of partition {}", partition.0)
        }
        Contradiction::Clock { partition, dot } => {
            writeln!(f, "found: the clock of partition {} does not know {dot}, which is live", partition.0)
        }
        Contradiction::Counter { partition } => {
            writeln!(f, "found: the counter of partition {} is behind dots of its own", partition.0)
        }
        Contradiction::Hint { sequence } => writeln!(f, "found: the open hint {} has no record", sequence.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{Actor, Dot, DotSet};
    use crate::ring::PartitionId;
    use crate::store::{Birth, Body, CodecOptions, Durability, OpenOptions, Record, open};

    #[test]
    fn a_report_says_what_is_there_and_what_would_happen() {
        let directory = tempfile::tempdir().unwrap();
        let options = OpenOptions {
            fresh_actor: Actor(7),
            segment_bytes: 4096,
            durability: Durability::Fsync,
            boot: 1,
            birth: Birth::Complete,
            codec: CodecOptions::default(),
        };
        let text = || inspect(directory.path(), None, Depth::Records).unwrap().to_string();
        assert!(text().contains("would make a new store"));
        let mut log = open(Arc::new(RealDisk::open(directory.path()).unwrap()), options).unwrap().log;
        let dots = DotSet::from(Dot { actor: Actor(7), counter: 1 });
        log.append(&[Record { partition: PartitionId(3), body: Body::Void { dots, minted: 1 } }]).unwrap();
        assert!(text().contains("in use, or not closed") && text().contains("void: 1"), "{}", text());
        log.close().unwrap();
        assert!(text().contains("closed cleanly") && text().contains("keep the actor"), "{}", text());
        std::fs::remove_file(directory.path().join("identity")).unwrap();
        assert!(text().contains("fill again from the other replicas: IdentityLost"), "{}", text());
    }
}
