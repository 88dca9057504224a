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
        let (asked, others): (Vec<&KeyEntry>, Vec<&KeyEntry>) =
            drawn.iter().partition(|entry| may_fill_a_slot(entry.kind));
        let questions: Vec<Question> = asked.iter().map(|entry| Question::about(segment, entry)).collect();
        let answers = if questions.is_empty() { Vec::new() } else { ask(&questions) };
        let current = asked.iter().enumerate().filter(|(at, _)| answers.get(*at).copied().unwrap_or(true));
        let mut live: u64 = current.map(|(_, entry)| u64::from(entry.length)).sum();
        let own = BTreeSet::from([segment]);
        for entry in others {
            let kept = match entry.kind {
                EntryKind::Hint => source.hints.contains(&entry.sequence),
                _ => source.is_older_elsewhere(entry, &own),
            };
            live += if kept { u64::from(entry.length) } else { 0 };
        }
        let each = live as f64 / drawn.len().max(1) as f64;
        let live_bytes = each * file.summary().entries as f64;
        Ok(Estimate { segment, live_bytes, file_bytes: source.file_bytes(segment)? as f64 })
    }
}

impl<D: Disk> Source<D> {
    fn file_bytes(&self, segment: u32) -> Result<u64, CompactionError> {
        let length = self.disk.open(&segment_name(segment)).and_then(|file| self.disk.len(&file));
        length.map_err(|error| CompactionError::of_read(segment, crate::store::ReadError::Disk(error)))
    }
}
