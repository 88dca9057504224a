//! How much of a segment is current: a sample of its key file.

use super::CompactionError;
use super::source::{Question, Source, may_fill_a_slot};
use super::work::Ask;
use crate::base::Random;
use crate::store::Disk;
use crate::store::key_file::{EntryKind, KeyEntry};
use crate::store::segment::segment_name;
use std::collections::BTreeSet;

/// Entries asked about for each segment: the share they give is off by six percent, as a rule.
const SAMPLED_ENTRIES: usize = 64;

/// What a segment is thought to hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    pub(super) segment: u32,
    /// Bytes of records that must be kept.
    pub(super) live_bytes: f64,
    /// Bytes of the file.
    pub(super) file_bytes: f64,
    pub(super) encrypted: Encrypted,
}

/// Is a segment encrypted as new ones are?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encrypted {
    AsNewOnes,
    Otherwise,
}

impl Estimate {
    pub(super) fn live_share(&self) -> f64 {
        if self.file_bytes > 0.0 { self.live_bytes / self.file_bytes } else { 1.0 }
    }

    /// Draws a sample and asks about it.
    pub(super) fn of<D: Disk>(
        source: &mut Source<D>,
        segment: u32,
        random: &mut Random,
        ask: Ask<'_>,
    ) -> Result<Estimate, CompactionError> {
        let file = source.key_file(segment)?;
        let drawn = file.sample(random, SAMPLED_ENTRIES);
        let drawn = drawn.map_err(|error| CompactionError::of_key_file(segment, error))?;
        let asked = drawn.iter().filter(|entry| may_fill_a_slot(entry.kind));
        let questions: Vec<Question> = asked.map(|entry| Question::about(segment, entry)).collect();
        let answers = if questions.is_empty() { Vec::new() } else { ask(&questions) };
        let (mut answers, mut live) = (answers.into_iter(), 0);
        for entry in &drawn {
            let current = may_fill_a_slot(entry.kind) && answers.next().unwrap_or(true);
            live += if current || source.outlives_its_slot(segment, entry) { u64::from(entry.length) } else { 0 };
        }
        let each = live as f64 / drawn.len().max(1) as f64;
        let live_bytes = each * file.summary().entries as f64;
        let file_bytes = source.file_bytes(segment)? as f64;
        Ok(Estimate { segment, live_bytes, file_bytes, encrypted: source.encrypted(segment) })
    }
}

impl<D: Disk> Source<D> {
    /// Would a compaction of this segment alone keep a record that no slot says? What is kept counts, or the
    /// segment would be compacted again and again.
    fn outlives_its_slot(&mut self, segment: u32, entry: &KeyEntry) -> bool {
        match entry.kind {
            EntryKind::Live | EntryKind::LiveWithLeftover => false,
            EntryKind::Gone | EntryKind::GoneWithLeftover => self.is_older_elsewhere(entry, &BTreeSet::from([segment])),
            EntryKind::Hint => self.hints.contains(&entry.sequence),
        }
    }

    fn encrypted(&self, segment: u32) -> Encrypted {
        let current = self.reader.codec().keys().current();
        let own = self.sealed.iter().find(|sealed| sealed.segment == segment).map(|sealed| sealed.data_key);
        if own == Some(current) { Encrypted::AsNewOnes } else { Encrypted::Otherwise }
    }

    fn file_bytes(&self, segment: u32) -> Result<u64, CompactionError> {
        let length = self.disk.open(&segment_name(segment)).and_then(|file| self.disk.len(&file));
        length.map_err(|error| CompactionError::of_read(segment, crate::store::ReadError::Disk(error)))
    }
}
