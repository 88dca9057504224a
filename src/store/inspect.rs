//! Looking at a data directory without opening it: nothing is locked, written or repaired.

use super::frame;
use super::identity::{Ending, FoundIdentity};
use super::reader::OpenSegment;
use super::scan::{Framed, Window};
use super::survey::Survey;
use super::verdict::Verdict;
use super::{Body, Disk, Durability, Finding, OpenError, Opening, Reader, Sequence};
use crate::causal::Actor;
use crate::ring::PartitionId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Headers and checksums.
    Frames,
    /// The contents of every record besides.
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
    /// The segments, ascending.
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

/// One segment.
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
    let verdict = Verdict::reach(&survey, disk.identity()?, boot);
    let identity = known.map(|identity| InspectedIdentity {
        actor: identity.actor,
        durability: identity.durability,
        closed: if identity.ending == Ending::Clean { Closed::Cleanly } else { Closed::NotYet },
    });
    let contents = match depth {
        Depth::Frames => None,
        Depth::Records => Some(Contents::read(disk, &survey, &verdict.accepted)?),
    };
    Ok(Inspection {
        identity,
        opening: verdict.opening,
        durable: verdict.durable,
        last: verdict.last,
        lost: verdict.lost.len(),
        segments: survey.segments.iter().map(|(segment, found)| summary(*segment, &found.scan.frames)).collect(),
        findings: verdict.findings,
        contents,
    })
}

impl Contents {
    fn read<D: Disk>(disk: &Arc<D>, survey: &Survey, accepted: &[Framed]) -> Result<Contents, OpenError> {
        let reader = Reader::new(disk.clone());
        survey.segments.iter().for_each(|(segment, found)| reader.admit(*segment, found.header.generation, None));
        let mut contents = Contents::default();
        for run in accepted.chunk_by(|a, b| a.place.segment == b.place.segment) {
            let Some(first) = run.first() else { continue };
            let Some(OpenSegment { file, generation }) = reader.file(first.place.segment)? else { continue };
            let mut window = Window::new(&**disk, &file, Framed::end(run));
            for framed in run {
                let record =
                    window.frame(framed.seat(generation))?.ok().and_then(|(_, payload)| frame::decode(payload));
                let Some(record) = record else {
                    contents.not_understood += 1;
                    continue;
                };
                *contents.kinds.entry(kind_name(&record.body)).or_default() += 1;
                contents.partitions.insert(record.partition);
            }
        }
        Ok(contents)
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
