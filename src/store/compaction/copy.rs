//! Which records of the inputs are kept, and their copies.

use super::CompactionError;
use super::output::Output;
use super::source::{Question, Source, may_fill_a_slot, place_of};
use super::work::Ask;
use crate::base::Key;
use crate::causal::{DotSet, Object};
use crate::ring::PartitionId;
use crate::store::codec::{Codec, Stored, Undecodable};
use crate::store::frame::{self, Entry, Frame, FrameHeader, Seat};
use crate::store::key_file::{EntryKind, KeyEntry, KeyFileError, KeySource, Merge};
use crate::store::sealed::SealedSegment;
use crate::store::{Body, Disk, ReadError, Record, Sequence};
use std::collections::{BTreeSet, VecDeque};

/// Entries looked at before something is asked: an answer may come from another thread.
const ENTRIES_AT_ONCE: usize = 256;

/// A frame's header, and its payload for another place.
type Again = (FrameHeader, Result<Stored, Undecodable>);

/// What an entry that is looked at counts for in a budget, kept or not: to ask for it costs about that. A step
/// goes on until its budget is spent, for whoever keeps a pace waits as if it were.
const LOOKED_AT_BYTES: usize = 128;

/// A copy under way: the entries of all inputs in order of key.
pub(super) struct Copying<D: Disk> {
    pub(super) inputs: BTreeSet<u32>,
    number: (u32, u64),
    merge: Merge<'static, D>,
    /// The entry before.
    before: Option<Seen>,
    /// What is kept and not copied yet.
    kept: VecDeque<(u32, KeyEntry)>,
    output: Option<Output<D::File>>,
    pub(super) dropped_deletes: u64,
    /// By the last step.
    pub(super) spent_bytes: u64,
}

/// Where in the order of entries we are.
struct Seen {
    key: Key,
    /// The newest hint of the key.
    hint: Option<KeyEntry>,
    /// Partitions of which an object of the key has been seen: all others are older.
    objects: Vec<PartitionId>,
}

/// An entry whose fate is still open.
struct Candidate {
    segment: u32,
    entry: KeyEntry,
    newest: Rank,
}

/// An entry's rank among the objects of its key in the inputs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    Newest,
    Older,
}

impl<D: Disk> Copying<D> {
    pub(super) fn begin(
        source: &mut Source<D>,
        inputs: BTreeSet<u32>,
        number: (u32, u64),
    ) -> Result<Self, CompactionError> {
        let mut sources = Vec::new();
        for segment in &inputs {
            sources.push(KeySource::File(source.key_file(*segment)?.iter_from(&[])));
        }
        let merge = Merge::new(sources).map_err(key_file_failed)?;
        Ok(Copying {
            inputs,
            number,
            merge,
            before: None,
            kept: VecDeque::new(),
            output: None,
            dropped_deletes: 0,
            spent_bytes: 0,
        })
    }

    /// Looks and copies for about `budget_bytes`; none once all is copied and durable, or nothing was to be kept.
    pub(super) fn step(
        &mut self,
        source: &mut Source<D>,
        budget_bytes: usize,
        ask: Ask<'_>,
    ) -> Result<Option<Option<SealedSegment>>, CompactionError> {
        let mut spent = 0;
        while spent < budget_bytes {
            if let Some((segment, entry)) = self.kept.pop_front() {
                spent += entry.length as usize;
                self.copy(source, segment, &entry)?;
                continue;
            }
            match self.look(source, ask)? {
                0 if spent > 0 => break,
                0 => {
                    let output = self.output.take();
                    return output.map(|output| output.finish(&*source.disk)).transpose().map(Some);
                }
                looked_at => spent += looked_at * LOOKED_AT_BYTES,
            }
        }
        self.spent_bytes = spent as u64;
        Ok(None)
    }

    /// Looks at the next entries, and notes those to be kept; how many it looked at, 0 at the end.
    fn look(&mut self, source: &mut Source<D>, ask: Ask<'_>) -> Result<usize, CompactionError> {
        let mut candidates = Vec::new();
        for _ in 0..ENTRIES_AT_ONCE {
            let Some((segment, entry)) = self.merge.next().map_err(key_file_failed)? else { break };
            let newest = self.rank(&entry);
            candidates.push(Candidate { segment, entry, newest });
        }
        let looked_at = candidates.len();
        let asked = candidates.iter().filter(|candidate| may_fill_a_slot(candidate.entry.kind));
        let questions: Vec<Question> =
            asked.map(|candidate| Question::about(candidate.segment, &candidate.entry)).collect();
        let answers = if questions.is_empty() { Vec::new() } else { ask(&questions) };
        let mut answers = answers.into_iter();
        for Candidate { segment, entry, newest } in candidates {
            // What is not answered is kept: it costs space, and nothing else.
            let current = may_fill_a_slot(entry.kind) && answers.next().unwrap_or(true);
            if current || self.is_kept(source, &entry, newest) {
                self.kept.push_back((segment, entry));
            } else if entry.kind == EntryKind::Gone {
                self.dropped_deletes += 1;
            }
        }
        Ok(looked_at)
    }

    /// Must a record be kept that no slot says?
    ///
    /// An object with versions need not: its slot has moved on to a record that is durable, and the checkpoint
    /// covers its dots (PROTOCOL R12b). A delete must while an older record of its key is left that it hides
    /// (R12c); of several only the newest, which hides what the others do. A hint must for as long as the
    /// checkpoint says that it is open.
    fn is_kept(&self, source: &mut Source<D>, entry: &KeyEntry, rank: Rank) -> bool {
        match entry.kind {
            EntryKind::Live | EntryKind::LiveWithLeftover => false,
            EntryKind::Gone | EntryKind::GoneWithLeftover => {
                rank == Rank::Newest && source.is_older_elsewhere(entry, &self.inputs)
            }
            EntryKind::Hint => rank == Rank::Newest && source.hints.contains(&entry.sequence),
        }
    }

    /// Is it the newest of its key? Two copies of one record are told apart: the first is the newer.
    fn rank(&mut self, entry: &KeyEntry) -> Rank {
        if self.before.as_ref().is_none_or(|seen| seen.key != entry.key) {
            self.before = Some(Seen { key: entry.key.clone(), hint: None, objects: Vec::new() });
        }
        let Some(seen) = &mut self.before else { return Rank::Newest };
        if entry.kind == EntryKind::Hint {
            let copy = seen.hint.as_ref().is_some_and(|hint| hint.sequence == entry.sequence);
            seen.hint = Some(entry.clone());
            return if copy { Rank::Older } else { Rank::Newest };
        }
        if seen.objects.contains(&entry.partition) {
            return Rank::Older;
        }
        seen.objects.push(entry.partition);
        Rank::Newest
    }

    fn copy(&mut self, source: &Source<D>, segment: u32, entry: &KeyEntry) -> Result<(), CompactionError> {
        let place = place_of(segment, entry);
        let damaged = |error| CompactionError::of_read(segment, error);
        let again = |frame: &Frame<'_>, codec: &Codec| (frame.header, frame.payload_again(codec, &entry.key));
        let (header, payload) = match source.reader.read_frame(place, again) {
            Err(ReadError::Damaged { .. }) if entry.kind == EntryKind::Gone => {
                rewritten_delete(source.reader.codec(), entry)
            }
            read => read.map_err(damaged)?,
        };
        let payload = payload.map_err(|why| damaged(ReadError::Damaged { place, what: why.what() }))?;
        if header.sequence != entry.sequence {
            let what = "another record than the key file says";
            return Err(damaged(ReadError::Damaged { place, what }));
        }
        let disk = &*source.disk;
        let output = match &mut self.output {
            Some(output) => output,
            none => none.insert(Output::create(disk, self.number, source.through, source.reader.codec().clone())?),
        };
        output.put(disk, entry, header, &payload)
    }
}

/// A delete that cannot be read says nothing that its key file's entry does not: the checkpoint has its dots.
fn rewritten_delete(codec: &Codec, entry: &KeyEntry) -> Again {
    let (key, object, dots) = (entry.key.clone(), Object::default(), DotSet::EMPTY);
    let record = Record { partition: entry.partition, body: Body::Object { key, object, dots, minted: None } };
    let seat = Seat { segment: 0, generation: 0, offset: 0 };
    let mut bytes = Vec::new();
    let before = Sequence(entry.sequence.0.saturating_sub(1));
    Entry::of(codec, entry.sequence, &record).put(codec, &mut bytes, seat, before);
    let frame = frame::verify(seat, &bytes).expect("a frame is valid where it was put");
    (frame.header, frame.payload_again(codec, &entry.key))
}

/// A merge does not say whose error it is but for damage.
pub(super) fn key_file_failed(error: KeyFileError) -> CompactionError {
    let segment = match &error {
        KeyFileError::Damaged { segment, .. } | KeyFileError::UnknownFormat { segment, .. } => *segment,
        KeyFileError::Disk(_) => 0,
    };
    CompactionError::of_key_file(segment, error)
}
