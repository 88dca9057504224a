//! What the manifest says of segments that are not scanned any more.

use super::Sequence;
use crate::causal::Intervals;
use serde::{Deserialize, Serialize};

/// The part of the log that recovery takes from key files and the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct SealedLog {
    /// Every record up to this sequence is in a sealed segment, or was lost or rightly dropped.
    pub(super) through: Sequence,
    /// The lowest segment number that may be tail.
    pub(super) first_tail: u32,
    /// Ascending by number.
    pub(super) segments: Vec<SealedSegment>,
    /// None until something is sealed.
    pub(super) checkpoint: Option<CheckpointStamp>,
}

/// A segment that never changes again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SealedSegment {
    pub(super) segment: u32,
    pub(super) generation: u64,
    /// Where the last record that counts ends.
    pub(super) end: u32,
    /// The lowest and the highest sequence of its records; none if no record counts.
    pub(super) sequences: Option<(Sequence, Sequence)>,
    /// How many records count.
    pub(super) records: u64,
    /// Bytes of their frames.
    pub(super) bytes: u64,
    pub(super) key_file: KeyFileStamp,
    /// Under which data key it and its key file are encrypted; 0 for none.
    #[serde(default)]
    pub(super) data_key: u8,
}

/// Tells a segment's key file from any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyFileStamp {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) checksum: u32,
}

/// Tells the checkpoint that counts from any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CheckpointStamp {
    /// Part of its name: it is the state after this sequence.
    pub(super) sequence: Sequence,
    pub(super) checksum: u32,
}

impl SealedLog {
    /// The entry of a segment.
    pub(super) fn get(&self, segment: u32) -> Option<&SealedSegment> {
        let at = self.segments.binary_search_by_key(&segment, |sealed| sealed.segment).ok()?;
        self.segments.get(at)
    }

    /// Adds or replaces an entry.
    pub(super) fn put(&mut self, sealed: SealedSegment) {
        match self.segments.binary_search_by_key(&sealed.segment, |other| other.segment) {
            Ok(at) => {
                if let Some(place) = self.segments.get_mut(at) {
                    *place = sealed;
                }
            }
            Err(at) => self.segments.insert(at, sealed),
        }
    }

    /// The sequences between a segment's lowest and highest that no other segment may hold: compaction
    /// leaves segments whose ranges overlap.
    pub(super) fn only_in(&self, sealed: &SealedSegment) -> Intervals {
        let others = self.segments.iter().filter(|other| other.segment != sealed.segment);
        let mut elsewhere = Intervals::default();
        others.filter_map(|other| other.sequences).for_each(|(from, to)| elsewhere.insert_range(from.0, to.0));
        let mut own = Intervals::default();
        sealed.sequences.iter().for_each(|(from, to)| own.insert_range(from.0, to.0));
        own.difference(&elsewhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(segment: u32, from: u64, to: u64) -> SealedSegment {
        SealedSegment {
            segment,
            generation: 0,
            end: 64,
            sequences: Some((Sequence(from), Sequence(to))),
            records: 1,
            bytes: 1,
            key_file: KeyFileStamp { entries: 0, bytes: 0, checksum: 0 },
            data_key: 0,
        }
    }

    #[test]
    fn the_list_stays_in_order_and_holds_a_segment_once() {
        let mut log = SealedLog::default();
        for segment in [4, 2, 9, 4] {
            log.put(sealed(segment, 1, u64::from(segment)));
        }
        assert_eq!(log.segments.iter().map(|sealed| sealed.segment).collect::<Vec<_>>(), [2, 4, 9]);
        assert_eq!((log.get(4), log.get(3)), (Some(&sealed(4, 1, 4)), None));
    }

    #[test]
    fn only_sequences_that_no_other_segment_spans_are_a_segments_own() {
        let mut log = SealedLog::default();
        log.put(sealed(1, 1, 9));
        log.put(sealed(2, 5, 20));
        let own = log.only_in(&sealed(3, 8, 23));
        assert_eq!(own.ranges().collect::<Vec<_>>(), [(21, 23)]);
    }
}
