//! Looking at a data directory without opening it: nothing is locked, written or repaired.

use super::audit::{Audit, Contradiction, Owner};
use super::cipher::{DataKeys, Encryption};
use super::codec::{Codec, CompressionRules};
use super::identity::{Ending, FoundIdentity};
use super::mend::key_file_is_sound;
use super::sealed::SealedSegment;
use super::segment::is_quarantine;
use super::survey::{FoundSegment, Survey};
use super::verdict::{Care, Verdict};
use super::{Body, Disk, Durability, FileName, Finding, FindingKind, OpenError, Opening, Record, Sequence};
use crate::causal::Actor;
use crate::ring::PartitionId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What recovery reads: the manifest, key files, and the checksums of the tail.
    Frames,
    /// Every record's checksum and contents besides, and whether all that speaks of the same thing says the same.
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
    /// Segments that were set aside, for their headers were unreadable. Nothing reads them.
    pub quarantined: Vec<FileName>,
    /// What was not decrypted, for want of the key.
    pub locked: Locked,
    /// What recovery would report.
    pub findings: Vec<Finding>,
    /// What the records say; none unless they were looked at.
    pub contents: Option<Contents>,
    /// What does not agree, the first hundred; none unless records were looked at.
    pub contradictions: Vec<Contradiction>,
}

/// Encrypted files whose data key is not known. What lies outside the ciphertext is looked at, checksums among it: at
/// those of all records, and of key files but for their blocks, if records are to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Locked {
    /// Segments.
    pub segments: u64,
    /// Their key files.
    pub key_files: u64,
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
    /// Bytes of the records in it that are current, the rest being garbage; none unless records were looked at, and
    /// every key file leads to them.
    pub current_bytes: Option<u64>,
    /// Under which data key it and its key file are encrypted; 0 for none.
    pub data_key: u8,
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
    /// Under which data key it is encrypted; 0 for none.
    pub data_key: u8,
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

/// Looks at a directory. While a process writes to it, the newest batches may show as a torn tail. Of an encrypted
/// one the structure is seen; what [`inspect_encrypted`] sees besides is left out.
pub fn inspect<D: Disk>(disk: &Arc<D>, depth: Depth) -> Result<Inspection, OpenError> {
    look_twice(disk, None, depth)
}

/// The same with the directory's key: key files and records are decrypted, and so authenticated.
pub fn inspect_encrypted<D: Disk>(
    disk: &Arc<D>,
    encryption: &Encryption,
    depth: Depth,
) -> Result<Inspection, OpenError> {
    look_twice(disk, Some(encryption), depth)
}

/// A running node may have dropped a data key, and before that the last segment under it, since the segments were
/// listed: a data key is missing only if it is the second time, too.
fn look_twice<D: Disk>(disk: &Arc<D>, encryption: Option<&Encryption>, depth: Depth) -> Result<Inspection, OpenError> {
    match look(disk, encryption, depth) {
        Err(OpenError::MissingKey { .. }) => look(disk, encryption, depth),
        looked => looked,
    }
}

fn look<D: Disk>(disk: &Arc<D>, encryption: Option<&Encryption>, depth: Depth) -> Result<Inspection, OpenError> {
    let survey = Survey::take(&**disk)?;
    let keys = match (encryption, depth) {
        (Some(_), _) => DataKeys::read(&**disk, encryption, &survey.data_keys())?,
        (None, Depth::Frames) => DataKeys::default(),
        (None, Depth::Records) => DataKeys::locked(&**disk, &survey.data_keys())?,
    };
    let codec = Arc::new(Codec::new(CompressionRules::default(), keys));
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
    let mut inspection = Inspection {
        identity,
        opening: verdict.opening,
        durable: verdict.durable,
        last: verdict.last,
        lost: verdict.lost.len(),
        sealed_through: verdict.sealed.through,
        sealed: verdict.sealed.segments.iter().map(InspectedSealed::of).collect(),
        segments: survey.segments.values().map(summary).collect(),
        quarantined: disk.list()?.into_iter().filter(is_quarantine).collect(),
        locked: Locked::of(codec.keys(), &survey, &verdict),
        findings: verdict.findings.clone(),
        contents: None,
        contradictions: Vec::new(),
    };
    match depth {
        Depth::Frames => inspection.look_at_key_files(disk, codec.keys(), &verdict)?,
        Depth::Records => {
            let owner = known.map_or(Owner::NOBODY, |identity| Owner { actor: identity.actor, birth: identity.birth });
            inspection.take_over(Audit::of(disk, codec, &survey, &verdict, owner)?);
        }
    }
    Ok(inspection)
}

impl Inspection {
    fn look_at_key_files<D: Disk>(
        &mut self,
        disk: &Arc<D>,
        keys: &DataKeys,
        verdict: &Verdict,
    ) -> Result<(), OpenError> {
        for sealed in &verdict.sealed.segments {
            if !key_file_is_sound(disk, keys, sealed)? {
                self.findings.push(Finding::of_segment(FindingKind::DamagedKeyFile, sealed.segment));
            }
        }
        Ok(())
    }

    fn take_over<D: Disk>(&mut self, audit: Audit<'_, D>) {
        self.findings.extend(audit.findings);
        self.contradictions = audit.contradictions;
        self.contents = Some(audit.contents);
        for sealed in &mut self.sealed {
            let current = audit.current_bytes.as_ref();
            sealed.current_bytes = current.map(|current| current.get(&sealed.segment).copied().unwrap_or(0));
        }
    }

    /// Is something lost or at odds with itself, or would an opening have to write something anew?
    pub fn is_damaged(&self) -> bool {
        let damage = |finding: &Finding| {
            use FindingKind::{DamagedCheckpoint, DamagedKeyFile, LostRecords, LostSegment};
            matches!(finding.kind, LostRecords | LostSegment | DamagedKeyFile | DamagedCheckpoint)
        };
        let resets = matches!(self.opening, Opening::Renewed { reason } if reason.resets());
        resets || !self.contradictions.is_empty() || self.findings.iter().any(damage)
    }
}

impl Locked {
    fn of(keys: &DataKeys, survey: &Survey, verdict: &Verdict) -> Locked {
        let count = |data_keys: &mut dyn Iterator<Item = u8>| {
            data_keys.filter(|data_key| keys.seal(*data_key).is_locked()).count() as u64
        };
        let key_files = count(&mut verdict.sealed.segments.iter().map(|sealed| sealed.data_key));
        let tail = count(&mut survey.segments.values().map(|found| found.header.data_key));
        Locked { segments: key_files + tail, key_files }
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
            current_bytes: None,
            data_key: sealed.data_key,
        }
    }
}

impl Contents {
    pub(super) fn count(&mut self, record: &Record) {
        *self.kinds.entry(kind_name(&record.body)).or_default() += 1;
        self.partitions.insert(record.partition);
    }
}

fn summary(found: &FoundSegment) -> InspectedSegment {
    let frames = &found.scan.frames;
    let sequences = frames.iter().map(|framed| framed.sequence);
    InspectedSegment {
        segment: found.header.segment,
        data_key: found.header.data_key,
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
        Body::Drop => "drop",
    }
}
