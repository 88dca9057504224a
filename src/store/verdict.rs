//! Deciding what of a found log counts, and whether its counters are proven.

use super::identity::{BACKUP, Durability, Ending, FoundIdentity, Identity};
use super::scan::{Framed, Span};
use super::sealed::{SealedLog, SealedSegment};
use super::survey::{FoundSegment, Survey, Unsound};
use super::{Finding, FindingKind, Opening, RenewalReason, Sequence};
use crate::base::{Mutation, broken};
use crate::causal::Intervals;

/// What recovery goes by.
pub(super) struct Verdict {
    pub(super) opening: Opening,
    /// Whether the identity found is one to go by.
    pub(super) trust: Trust,
    /// The sealed log as far as its segments are there.
    pub(super) sealed: SealedLog,
    /// Frames of the tail that count, one per sequence, ascending.
    pub(super) accepted: Vec<Framed>,
    /// Everything that counts up to here was durable already.
    pub(super) durable: Sequence,
    /// The last sequence that counts, or that was lost.
    pub(super) last: Sequence,
    /// Sequences lost for good, those of earlier damage included.
    pub(super) lost: Intervals,
    /// The segment the log ended in and where its good part ends.
    pub(super) end: (u32, u32),
    pub(super) findings: Vec<Finding>,
}

impl Verdict {
    /// Weighs a survey. `now` is the directory's identity and the boot of now.
    ///
    /// Sequences behind the sealed log are contiguous. All up to the highest durable marker must be
    /// there: what is missing was damaged. Beyond the marker the log counts up to the first gap: what
    /// follows was torn.
    pub(super) fn reach(survey: &Survey, now: (u64, u64), care: Care) -> Verdict {
        let identity = trusted(survey);
        let sealed = survey.sealed.as_ref().map(|(sealed, _)| sealed.clone()).unwrap_or_default();
        let frames = counted_frames(survey, identity, sealed.through);
        let durable = durable(survey, identity);
        let known_lost = identity.map(lost_of).unwrap_or_default();
        let mut present = known_lost.clone();
        present.insert_range(1, sealed.through.max(survey.sparse_through()).0);
        frames.iter().for_each(|framed| present.insert(framed.sequence.0));
        let missing = Intervals::up_to(durable.0).difference(&present);
        let (mut durable, mut missing) = (durable, missing);
        if broken(Mutation::TruncateAtFirstBadRecord) {
            (durable, missing) = (Sequence(durable.0.min(present.base())), Intervals::default());
        }
        let mut covered = present;
        covered.insert_range(1, durable.0);
        let last = if broken(Mutation::DiskNoPrefix) { covered.highest() } else { covered.base() };
        let accepted = frames.into_iter().filter(|framed| framed.sequence.0 <= last).collect::<Vec<_>>();
        let mut lost = known_lost;
        lost.union(&missing);
        let mut verdict = Verdict {
            opening: Opening::Kept,
            trust: if identity.is_some() { Trust::Trusted } else { Trust::Absent },
            end: sealed.segments.last().map_or((0, 0), |last| (last.segment, last.end)),
            sealed,
            accepted,
            durable,
            last: Sequence(last),
            lost,
            findings: missing.ranges().map(|(from, to)| lost_records(from, to)).collect(),
        };
        let doubted = if care == Care::Resetting { State::Damaged } else { State::Sound };
        let state = verdict.look_at_sealed(survey).max(verdict.look_at_segments(survey, identity)).max(doubted);
        verdict.opening = opening(survey, identity, now, state.max(State::of_missing(&missing)));
        verdict
    }

    /// Must clocks shrink to what can be read back (PROTOCOL R8)?
    pub(super) fn resets(&self) -> bool {
        matches!(self.opening, Opening::Renewed { reason } if reason.resets())
    }

    /// Is what the log says true, and of an earlier instant?
    pub(super) fn restores(&self) -> bool {
        self.opening == Opening::Renewed { reason: RenewalReason::Restored }
    }

    /// Takes sealed segments that are gone off the list.
    fn look_at_sealed(&mut self, survey: &Survey) -> State {
        let identity = latest(survey);
        if identity.is_some_and(|identity| identity.sealed.checkpoint.is_some()) && survey.sealed.is_none() {
            self.findings.push(Finding::of_segment(FindingKind::DamagedCheckpoint, 0));
        }
        self.findings.extend(survey.spent.iter().map(|spent| Finding::of_segment(FindingKind::SpentSegment, *spent)));
        let gone =
            |sealed: &SealedSegment| survey.unsound.get(&sealed.segment).is_some_and(|how| *how != Unsound::Short);
        let (gone, there): (Vec<_>, Vec<_>) = std::mem::take(&mut self.sealed.segments).into_iter().partition(gone);
        self.sealed.segments = there;
        for sealed in &gone {
            self.findings.push(Finding::of_segment(FindingKind::LostSegment, sealed.segment));
            if let Some((lowest, _)) = sealed.sequences {
                self.findings.push(lost_records(lowest.0, lowest.0 + sealed.records.saturating_sub(1)));
            }
            self.lost.union(&self.sealed.only_in(sealed));
        }
        if survey.unsound.is_empty() { State::Sound } else { State::Damaged }
    }

    /// Notes what is wrong with each segment; the answer is the worst of it.
    fn look_at_segments(&mut self, survey: &Survey, identity: Option<&Identity>) -> State {
        let newest = identity.map_or(u32::MAX, |identity| identity.newest);
        let mut state = State::Sound;
        for segment in &survey.headless {
            let kind = if *segment > newest { FindingKind::UnfinishedSegment } else { FindingKind::LostSegment };
            state = state.max(if *segment > newest { State::Sound } else { State::Damaged });
            self.findings.push(Finding::of_segment(kind, *segment));
        }
        if identity.is_some() && newest > 0 && !survey.knows(newest) {
            state = State::Damaged;
            self.findings.push(Finding::of_segment(FindingKind::LostSegment, newest));
        }
        let counted = survey.segments.range(..=newest);
        let youngest = counted.clone().next_back().map(|(segment, _)| *segment);
        let cuts = survey.cuts(newest);
        for (segment, found) in counted {
            let cut = cuts.get(segment).copied().unwrap_or_default().min(self.last);
            let end = self.good_end(found, cut);
            let seen = self.look_at(*segment, found, end);
            if youngest == Some(*segment) {
                self.end = (*segment, end);
                state = state.max(seen);
            }
        }
        for segment in survey.segments.keys().filter(|segment| **segment > newest) {
            self.findings.push(Finding::of_segment(FindingKind::UnfinishedSegment, *segment));
        }
        state
    }

    /// Where the last frame that counts ends.
    fn good_end(&self, found: &FoundSegment, cut: Sequence) -> u32 {
        let counting = found.scan.frames.iter().filter(|framed| framed.sequence <= cut);
        let ends = counting.map(|framed| framed.place.offset.saturating_add(framed.place.length));
        ends.max().unwrap_or(super::segment::SEGMENT_HEADER_BYTES as u32)
    }

    /// Notes bad bytes before the good end as damage, everything behind it as torn.
    fn look_at(&mut self, segment: u32, found: &FoundSegment, end: u32) -> State {
        let mut state = State::Sound;
        let mut note =
            |kind, span: Span| self.findings.push(Finding { kind, segment, offset: span.offset, bytes: span.bytes });
        for span in &found.scan.unreadable {
            note(FindingKind::UnreadableBytes, *span);
            state = State::Damaged;
        }
        let frames = found
            .scan
            .frames
            .iter()
            .map(|framed| Span { offset: framed.place.offset.into(), bytes: framed.place.length.into() });
        let (inner, torn): (Vec<Span>, Vec<Span>) =
            found.scan.bad.iter().copied().partition(|span| span.offset < u64::from(end));
        inner.into_iter().for_each(|span| note(FindingKind::DamagedBytes, span));
        let behind = frames.filter(|span| span.offset >= u64::from(end)).chain(torn);
        if let Some(stop) = behind.map(|span| span.offset + span.bytes).max() {
            note(FindingKind::TornTail, Span { offset: end.into(), bytes: stop - u64::from(end) });
            state = state.max(State::Torn);
        }
        state
    }
}

/// How closely to look before believing the sealed log. What is found in passing makes the opening begin
/// again, one step more careful; each step is taken at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Care {
    /// Each block of a key file is verified when it is read.
    Trusting,
    /// All key files are verified first, and written anew where they are damaged.
    Checking,
    /// Besides, every record of every sealed segment is: one was damaged when it was last read.
    Verifying,
    /// Records are lost: all are verified, and clocks are reset.
    Resetting,
}

/// Whether there is an identity to go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    Trusted,
    Absent,
}

/// How bad it is, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Sound,
    Torn,
    Damaged,
}

impl State {
    fn of_missing(missing: &Intervals) -> State {
        if missing.is_empty() { State::Sound } else { State::Damaged }
    }
}

/// The identity, if it is the last one.
fn latest(survey: &Survey) -> Option<&Identity> {
    match &survey.identity {
        FoundIdentity::Known(identity) if !survey.identity_is_stale() => Some(identity),
        _ => None,
    }
}

/// The identity, if it is one to go by. Without the checkpoint of a compacted log nothing tells what was dropped
/// from what is lost.
fn trusted(survey: &Survey) -> Option<&Identity> {
    latest(survey).filter(|_| survey.sparse_through() == Sequence(0))
}

/// Frames behind `sealed` that were not cut, ascending by sequence, one each: the copy in the newer segment
/// counts, for it was synced.
fn counted_frames(survey: &Survey, identity: Option<&Identity>, sealed: Sequence) -> Vec<Framed> {
    let newest = identity.map_or(u32::MAX, |identity| identity.newest);
    let lost = identity.map(lost_of).unwrap_or_default();
    let cuts = survey.cuts(newest);
    let mut frames: Vec<Framed> = Vec::new();
    for (segment, found) in survey.segments.range(..=newest) {
        let cut = cuts.get(segment).copied().unwrap_or_default();
        let counted =
            |framed: &&Framed| framed.sequence > sealed && framed.sequence <= cut && !lost.contains(framed.sequence.0);
        frames.extend(found.scan.frames.iter().filter(counted));
    }
    frames.sort_by_key(|framed| (framed.sequence, std::cmp::Reverse(framed.place)));
    frames.dedup_by_key(|framed| framed.sequence);
    frames
}

/// The highest sequence that anything in the directory says is durable.
fn durable(survey: &Survey, identity: Option<&Identity>) -> Sequence {
    let newest = identity.map_or(u32::MAX, |identity| identity.newest);
    let markers = survey.segments.range(..=newest).map(|(_, found)| found.scan.durable);
    markers.chain(identity.map(|identity| identity.durable)).max().unwrap_or_default()
}

/// The sequences that an identity says are lost.
pub(super) fn lost_of(identity: &Identity) -> Intervals {
    let mut lost = Intervals::default();
    identity.lost.iter().for_each(|(from, to)| lost.insert_range(*from, *to));
    lost
}

fn opening(survey: &Survey, identity: Option<&Identity>, now: (u64, u64), state: State) -> Opening {
    let renewed = |reason| Opening::Renewed { reason };
    let empty = survey.segments.is_empty() && survey.headless.is_empty();
    if matches!(survey.identity, FoundIdentity::Absent) && empty && !survey.poisoned {
        return Opening::New;
    }
    let (directory, boot) = now;
    let Some(identity) = identity else { return renewed(RenewalReason::IdentityLost) };
    let unsynced = identity.durability == Durability::Os && identity.ending == Ending::Open;
    if survey.poisoned {
        renewed(RenewalReason::Poisoned)
    } else if identity.directory == BACKUP {
        renewed(if state == State::Damaged { RenewalReason::Damage } else { RenewalReason::Restored })
    } else if identity.directory != directory && !broken(Mutation::ReuseActorAfterWipe) {
        renewed(RenewalReason::Copied)
    } else if state == State::Damaged {
        renewed(RenewalReason::Damage)
    } else if unsynced && identity.boot != boot {
        renewed(RenewalReason::MachineRestart)
    } else if state == State::Torn {
        renewed(RenewalReason::TornTail)
    } else {
        Opening::Kept
    }
}

/// So many records are gone, from this sequence on.
pub(super) fn lost_records(from: u64, to: u64) -> Finding {
    Finding { kind: FindingKind::LostRecords, segment: 0, offset: from, bytes: to - from + 1 }
}
