//! A segment that is not sealed yet, and what its sealing will need.

use super::cipher::Seal;
use super::key_file::{EntryKind, KeyEntry};
use super::sealed::{KeyFileStamp, SealedSegment};
use super::segment::SEGMENT_HEADER_BYTES;
use super::tail_run::TailRun;
use super::tracker::Steps;
use super::{Body, Place, Record, Sequence};
use crate::causal::{Actor, Object, entry_hash};

/// What has been written to a segment, or read back from one.
#[derive(Debug)]
pub(super) struct TailSegment {
    pub(super) segment: u32,
    pub(super) generation: u64,
    /// Where the last record that counts ends.
    pub(super) end: u32,
    /// The lowest and the highest sequence.
    pub(super) sequences: Option<(Sequence, Sequence)>,
    pub(super) records: u64,
    /// Bytes of the frames that count.
    pub(super) bytes: u64,
    /// Its future key file.
    pub(super) run: TailRun,
    /// What it does to clocks and hints.
    pub(super) steps: Steps,
}

impl TailSegment {
    pub(super) fn new(segment: u32, generation: u64, seal: Seal) -> Self {
        TailSegment {
            segment,
            generation,
            end: SEGMENT_HEADER_BYTES as u32,
            sequences: None,
            records: 0,
            bytes: 0,
            run: TailRun::new(segment, generation, seal),
            steps: Steps::default(),
        }
    }

    /// Takes note of a record of a log whose owner is `actor`; they come in ascending order.
    pub(super) fn note(&mut self, actor: Actor, sequence: Sequence, record: &Record, place: Place) {
        self.end = self.end.max(place.offset.saturating_add(place.length));
        let (lowest, highest) = self.sequences.unwrap_or((sequence, sequence));
        self.sequences = Some((lowest.min(sequence), highest.max(sequence)));
        self.records += 1;
        self.bytes += u64::from(place.length);
        if let Some(entry) = entry_of(sequence, record, place) {
            self.run.push(&entry);
        }
        self.steps.note(actor, sequence, record);
    }

    /// The highest sequence; 0 without a record.
    pub(super) fn highest(&self) -> Sequence {
        self.sequences.map_or(Sequence(0), |(_, highest)| highest)
    }

    /// The manifest's entry of this segment.
    pub(super) fn sealed(&self, key_file: KeyFileStamp) -> SealedSegment {
        SealedSegment {
            segment: self.segment,
            generation: self.generation,
            end: self.end,
            sequences: self.sequences,
            records: self.records,
            bytes: self.bytes,
            key_file,
            data_key: self.run.seal().number,
        }
    }
}

/// What the key file says of a record; nothing of those without a key.
fn entry_of(sequence: Sequence, record: &Record, place: Place) -> Option<KeyEntry> {
    let (key, kind, entry_hash) = match &record.body {
        Body::Object { key, object, .. } => (key, kind_of(object), entry_hash(key, &object.versions)),
        Body::Hint(hint) => (&hint.key, EntryKind::Hint, 0),
        Body::Join { .. } | Body::Void { .. } | Body::HintDone { .. } => return None,
        Body::Complete | Body::Reset { .. } | Body::Drop => return None,
    };
    let Place { offset, length, .. } = place;
    Some(KeyEntry { partition: record.partition, key: key.clone(), sequence, offset, length, entry_hash, kind })
}

fn kind_of(object: &Object) -> EntryKind {
    match (object.versions.is_empty(), object.leftover.is_empty()) {
        (false, true) => EntryKind::Live,
        (false, false) => EntryKind::LiveWithLeftover,
        (true, true) => EntryKind::Gone,
        (true, false) => EntryKind::GoneWithLeftover,
    }
}
