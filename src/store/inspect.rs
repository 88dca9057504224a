//! Looking at a data directory without opening it: nothing is locked, written or repaired.

use super::codec::{Codec, CodecOptions};
use super::identity::{Ending, FoundIdentity};
use super::mend::{ReadBack, key_file_is_sound};
use super::reader::OpenSegment;
use super::scan::{Framed, Window};
use super::sealed::SealedSegment;
use super::survey::Survey;
use super::verdict::{Care, Verdict};
use super::{Body, Disk, Durability, Finding, FindingKind, OpenError, Opening, Reader, Record, Sequence};
use crate::causal::{Actor, Intervals};
use crate::ring::PartitionId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What recovery reads: the manifest, key files, and the checksums of the tail.
    Frames,
    /// Every record's checksum and contents besides.
    Records,
}

/// What a directory holds, and what opening it would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// What the identity says; none if it is missing or damaged.
    pub identity: Option<InspectedIdentity>,
    /// What the next opening of the directory, on a machine that has not restarted, would do.
    pub opening: Opening,
    /// Everything up to here is known to be durable.
    pub durable: Sequence,
    /// The last sequence that counts.
    pub last: Sequence,
    /// How many records were lost to damage, ever.
    pub lost: u64,
    /// Everything up to here is in a sealed segment.
    pub sealed_through: Sequence,
    /// Sealed segments, ascending.
    pub sealed: Vec<InspectedSealed>,
    /// The other segments, ascending.
    pub segments: Vec<InspectedSegment>,
    /// What recovery would report.
    pub findings: Vec<Finding>,
    /// What the records say; none unless they were looked at.
    pub contents: Option<Contents>,
}

/// The identity file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedIdentity {
    /// Mints the dots.
    pub actor: Actor,
    /// When appends were answered.
    pub durability: Durability,
    /// Whether the last process closed the log.
    pub closed: Closed,
}

/// How the last process left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Everything synced.
    Cleanly,
    /// It still runs, or it died.
    NotYet,
}

/// One segment with a key file, as the manifest has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedSealed {
    /// Its number.
    pub segment: u32,
    /// Records in it that count.
    pub records: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// The lowest and the highest sequence; none without a record.
    pub sequences: Option<(Sequence, Sequence)>,
    /// Entries of its key file.
    pub entries: u64,
    /// Bytes of its key file.
    pub key_file_bytes: u64,
}

/// One segment that recovery scans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedSegment {
    /// Its number.
    pub segment: u32,
    /// Valid frames in it.
    pub frames: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// The lowest and the highest sequence in it.
    pub sequences: Option<(Sequence, Sequence)>,
}

/// What the records that count say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// Records by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Partitions with a record.
    pub partitions: BTreeSet<PartitionId>,
    /// Intact records whose contents mean nothing to this version.
    pub not_understood: u64,
}

/// Looks at a directory. While a process writes to it, the newest batches may show as a torn tail.
pub fn inspect<D: Disk>(disk: &Arc<D>, depth: Depth) -> Result<Inspection, OpenError> {
    let survey = Survey::take(&**disk)?;
    let (known, boot) = match &survey.identity {
        FoundIdentity::Known(identity) => (Some(identity), identity.boot),
        _ => (None, 0),
    };
    let verdict = Verdict::reach(&survey, (disk.identity()?, boot), Care::Trusting);
    let identity = known.map(|identity| InspectedIdentity {
        actor: identity.actor,
        durability: identity.durability,
        closed: if identity.ending == Ending::Clean { Closed::Cleanly } else { Closed::NotYet },
    });
    let mut findings = verdict.findings;
    let mut contents = Contents::default();
    for sealed in &verdict.sealed.segments {
        if !key_file_is_sound(disk, sealed)? {
            findings.push(Finding::of_segment(FindingKind::DamagedKeyFile, sealed.segment));
        }
        if depth == Depth::Records {
            contents.read_sealed(disk, sealed, &verdict.lost, &mut findings)?;
        }
    }
    if depth == Depth::Records {
        contents.read_tail(disk, &survey, &verdict.accepted)?;
    }
    Ok(Inspection {
        identity,
        opening: verdict.opening,
        durable: verdict.durable,
        last: verdict.last,
        lost: verdict.lost.len(),
        sealed_through: verdict.sealed.through,
        sealed: verdict.sealed.segments.iter().map(InspectedSealed::of).collect(),
        segments: survey.segments.iter().map(|(segment, found)| summary(*segment, &found.scan.frames)).collect(),
        findings,
        contents: (depth == Depth::Records).then_some(contents),
    })
}

impl Inspection {
    /// Is something lost, or would an opening have to write something anew?
    pub fn is_damaged(&self) -> bool {
        let damage = |finding: &Finding| {
            use FindingKind::{DamagedCheckpoint, DamagedKeyFile, LostRecords, LostSegment};
            matches!(finding.kind, LostRecords | LostSegment | DamagedKeyFile | DamagedCheckpoint)
        };
        let resets = matches!(self.opening, Opening::Renewed { reason } if reason.resets());
        resets || self.findings.iter().any(damage)
    }
}

impl InspectedSealed {
    fn of(sealed: &SealedSegment) -> Self {
        InspectedSealed {
            segment: sealed.segment,
            records: sealed.records,
            bytes: sealed.bytes,
            sequences: sealed.sequences,
            entries: sealed.key_file.entries,
            key_file_bytes: sealed.key_file.bytes,
        }
    }
}

impl Contents {
    fn count(&mut self, record: &Record) {
        *self.kinds.entry(kind_name(&record.body)).or_default() += 1;
        self.partitions.insert(record.partition);
    }

    fn read_sealed<D: Disk>(
        &mut self,
        disk: &Arc<D>,
        sealed: &SealedSegment,
        lost: &Intervals,
        findings: &mut Vec<Finding>,
    ) -> Result<(), OpenError> {
        let reader = Reader::new(disk.clone(), Arc::new(Codec::new(&CodecOptions::default())));
        reader.admit(sealed.segment, sealed.generation, None);
        let back = ReadBack::read(&**disk, &reader, sealed, lost, |record| self.count(record))?;
        if let Some(lost) = back.missing(sealed) {
            findings.push(lost);
        }
        findings.extend(back.findings);
        Ok(())
    }

    fn read_tail<D: Disk>(&mut self, disk: &Arc<D>, survey: &Survey, accepted: &[Framed]) -> Result<(), OpenError> {
        let reader = Reader::new(disk.clone(), Arc::new(Codec::new(&CodecOptions::default())));
        survey.segments.iter().for_each(|(segment, found)| reader.admit(*segment, found.header.generation, None));
        let mut accepted = accepted.to_vec();
        accepted.sort_by_key(|framed| framed.place);
        for run in accepted.chunk_by(|a, b| a.place.segment == b.place.segment) {
            let Some(first) = run.first() else { continue };
            let Some(OpenSegment { file, generation }) = reader.file(first.place.segment)? else { continue };
            let mut window = Window::new(&**disk, &file, Framed::end(run));
            for framed in run {
                match window.record(reader.codec(), framed, generation)? {
                    Some(record) => self.count(&record),
                    None => self.not_understood += 1,
                }
            }
        }
        Ok(())
    }
}

fn summary(segment: u32, frames: &[Framed]) -> InspectedSegment {
    let sequences = frames.iter().map(|framed| framed.sequence);
    InspectedSegment {
        segment,
        frames: frames.len() as u64,
        bytes: frames.iter().map(|framed| u64::from(framed.place.length)).sum(),
        sequences: sequences.clone().min().zip(sequences.max()),
    }
}

fn kind_name(body: &Body) -> &'static str {
    match body {
        Body::Object { .. } => "object",
        Body::Join { .. } => "join",
        Body::Void { .. } => "void",
        Body::Hint(_) => "hint",
        Body::HintDone { .. } => "hint done",
        Body::Complete => "complete",
        Body::Reset { .. } => "reset",
    }
}
