//! An opening half-way: from the verdict to an open store.

use super::checkpoint::checkpoint_name;
use super::checkpoint::is_checkpoint;
use super::codec::Codec;
use super::compaction::Compacted;
use super::frame::Entry;
use super::gather::Gathered;
use super::identity::{Birth, Identity, doubt_name, genesis_name, marker_name, put_marker, sync_names};
use super::job::{Jobs, Pace};
use super::key_file::segment_of_key_file;
use super::log::{Phase, Settings, poisoned_by};
use super::next_segment::Haste;
use super::reader::OpenSegment;
use super::scan::{Framed, Window};
use super::segment::{is_unfinished, quarantine_name, segment_name};
use super::setback::Setback;
use super::survey::{Survey, Unsound};
use super::tail::TailSegment;
use super::tracker::ClockTracker;
use super::verdict::{Care, Verdict, lost_of};
use super::{
    AppendError, Body, Disk, DiskError, Finding, FindingKind, Log, OpenError, OpenOptions, Opened, PartitionTable,
    Place, Published, ReadError, Reader, Record, Recovered, RecoveredHint, Sequence,
};
use crate::base::{Mutation, NodeId, broken};
use crate::causal::DotSet;
use crate::ring::PartitionId;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Bytes of the unproven tail copied at once: bounds memory, costs nothing in speed.
const COPY_BYTES: usize = 8 << 20;

/// Smallest segment: a header and a few records. Tests use it; below it every record would roll.
const MIN_SEGMENT_BYTES: u32 = 4096;

/// An opening half-way.
pub(super) struct Recovery<D: Disk> {
    log: Log<D>,
    survey: Survey,
    verdict: Verdict,
    care: Care,
    /// So far only what recent records say of dots and keys.
    tables: BTreeMap<PartitionId, PartitionTable>,
    findings: Vec<Finding>,
}

/// The state of everything that is not per key at the end of the log, and what is written to get there.
struct Claimed {
    tracker: ClockTracker,
    gathered: Gathered,
}

impl<D: Disk> Recovery<D> {
    /// Takes the identity to go on under. What a crash from here on must not forget is written first.
    pub(super) fn begin(
        disk: Arc<D>,
        options: &OpenOptions,
        identity: Identity,
        survey: Survey,
        verdict: Verdict,
        care: Care,
        codec: &Arc<Codec>,
    ) -> Result<Self, OpenError> {
        // A backup's clocks are kept only if all that they claim is there.
        let doubted = if survey.doubted || verdict.restores() { Care::Verifying } else { Care::Trusting };
        let care = if verdict.resets() { Care::Resetting } else { care.max(doubted) };
        match verdict.opening {
            _ if verdict.resets() => put_marker(&*disk, &marker_name())?,
            // Cut short, it is a backup still.
            _ if verdict.restores() => {}
            super::Opening::Renewed { .. } => identity.replace(&*disk)?,
            super::Opening::New | super::Opening::Kept => {}
        }
        let reader = Reader::new(disk.clone(), codec.clone());
        let mut finished = VecDeque::new();
        for sealed in &identity.sealed.segments {
            reader.admit(sealed.segment, sealed.generation, None);
        }
        for (segment, found) in survey.segments.range(..=identity.newest) {
            reader.admit(*segment, found.header.generation, None);
            let seal = codec.keys().seal(found.header.data_key);
            finished.push_back(Arc::new(TailSegment::new(*segment, found.header.generation, seal)));
        }
        let settings = Settings {
            segment_bytes: options.segment_bytes.max(MIN_SEGMENT_BYTES),
            durability: options.durability,
            // An attempt must not take the blocks of the one before for its own.
            nonce: (options.fresh_actor.0 ^ options.boot.rotate_left(32)).wrapping_add(care as u64),
        };
        let mut tracker = match &survey.sealed {
            Some((_, Some(checkpoint))) => checkpoint.tracker(identity.actor, identity.birth),
            _ => ClockTracker::new(identity.actor, identity.birth),
        };
        let lost = lost_of(&identity);
        tracker.hints.retain(|hint, _| !lost.contains(hint.0));
        let listed = identity.sealed.segments.last().map_or(0, |sealed| sealed.segment);
        let log = Log {
            disk,
            reader,
            settings,
            phase: Phase::Recovering,
            active: None,
            finished,
            tracker: Arc::new(tracker),
            ahead: None,
            jobs: Jobs::Free,
            haste: Haste::default(),
            pace: Pace::JobsKeepUp,
            next_segment: survey.highest.max(identity.newest).max(listed).max(identity.sealed.first_tail) + 1,
            last: verdict.last,
            written_bytes: 0,
            durable: verdict.durable,
            predecessor: verdict.end,
            compacted: Compacted::default(),
            failed: None,
            identity,
        };
        let findings = verdict.findings.clone();
        Ok(Recovery { log, survey, verdict, care, tables: BTreeMap::new(), findings })
    }

    pub(super) fn run(mut self) -> Result<Opened<D>, Setback> {
        self.remove_unanswered()?;
        let findings = self.log.mend(self.care)?;
        self.findings.extend(findings);
        self.read_tail()?;
        let Claimed { tracker, mut gathered } = self.claim()?;
        for (partition, claims) in tracker.partitions {
            gathered.tables.entry(partition).or_default().claim(claims);
        }
        let Gathered { mut tables, leftovers, hints, latest, .. } = gathered;
        self.restore_leftovers(&mut tables, leftovers)?;
        let hints = self.recover_hints(tracker.hints, &hints)?;
        self.count_from_hints_if_broken(&mut tables, &hints);
        self.cut_torn_tail()?;
        self.settle()?;
        // Seals what would keep the next opening long, after several crashes or with a manifest that was lost.
        self.log.catch_up().map_err(append_failed)?;
        if !self.verdict.resets() {
            latest.recall(&self.log.reader, &mut tables);
        }
        let recovered = Recovered {
            actor: self.log.identity.actor,
            opening: self.verdict.opening,
            tables,
            hints,
            complete_by_default: self.log.identity.birth == Birth::Complete,
            findings: self.findings,
        };
        Ok(Opened { reader: self.log.reader.clone(), log: self.log, recovered })
    }

    /// Takes away segments that were begun and never answered for, so that their names are free.
    fn remove_unanswered(&mut self) -> Result<(), DiskError> {
        let unanswered = self.survey.beyond(self.log.identity.newest);
        for segment in &unanswered {
            self.log.disk.remove(&segment_name(*segment))?;
        }
        if unanswered.is_empty() { Ok(()) } else { sync_names(&*self.log.disk) }
    }

    /// Notes what the tail says, and makes all of it durable.
    fn read_tail(&mut self) -> Result<(), Setback> {
        let accepted = std::mem::take(&mut self.verdict.accepted);
        let proven = accepted.partition_point(|framed| framed.sequence <= self.verdict.durable);
        let (proven, unproven) = accepted.split_at(proven);
        // By place: a compacted segment is in no order of sequences.
        let mut proven = proven.to_vec();
        proven.sort_by_key(|framed| framed.place);
        self.note_all(&proven)?;
        self.copy_tail(unproven)?;
        Ok(())
    }

    /// Takes note of records that are durable where they lie.
    fn note_all(&mut self, frames: &[Framed]) -> Result<(), OpenError> {
        let actor = self.log.identity.actor;
        for run in frames.chunk_by(|a, b| a.place.segment == b.place.segment) {
            let Some(Framed { place: Place { segment, .. }, .. }) = run.first() else { continue };
            let Some(OpenSegment { file, generation }) = self.log.reader.file(*segment)? else { continue };
            let Some(tail) = self.log.finished.iter_mut().find(|tail| tail.segment == *segment) else { continue };
            let tail = Arc::get_mut(tail).expect("only jobs share a segment, and none is handed out yet");
            let mut window = Window::new(&*self.log.disk, &file, Framed::end(run));
            for framed in run {
                let Framed { sequence, place } = *framed;
                let record = window.record(self.log.reader.codec(), framed, generation)?;
                let record = record.ok_or(OpenError::NotUnderstood { sequence, place })?;
                tail.note(actor, sequence, &record, place);
                remember(&mut self.tables, &record);
            }
        }
        Ok(())
    }

    /// Writes the records behind the last durable marker anew, under their own sequences: they may be
    /// in the page cache alone, and a sync of the old file would not tell (PROTOCOL R17).
    fn copy_tail(&mut self, tail: &[Framed]) -> Result<(), OpenError> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for Framed { sequence, place } in tail.iter().copied() {
            let record = self.log.reader.read_frame(place, |frame, codec| frame.record(codec))?;
            bytes += place.length as usize;
            batch.push((sequence, record.map_err(|_| OpenError::NotUnderstood { sequence, place })?));
            if bytes >= COPY_BYTES {
                self.copy_batch(&batch)?;
                batch.clear();
                bytes = 0;
            }
        }
        self.copy_batch(&batch)
    }

    fn copy_batch(&mut self, batch: &[(Sequence, Record)]) -> Result<(), OpenError> {
        batch.iter().for_each(|(_, record)| remember(&mut self.tables, record));
        let codec = self.log.reader.codec();
        let entries: Vec<Entry<'_>> =
            batch.iter().map(|(sequence, record)| Entry::of(codec, *sequence, record)).collect();
        self.log.write(&entries).map_err(append_failed)?;
        Ok(())
    }

    /// Finds every key, and what each partition claims: after damage, what PROTOCOL R8 leaves of it.
    fn claim(&mut self) -> Result<Claimed, Setback> {
        let before = self.tracker_at_end();
        let tables = std::mem::take(&mut self.tables);
        let gathered = Gathered::from_log(&self.log, tables, &before).map_err(Setback::key_file)?;
        let clocks = match self.verdict.opening {
            _ if self.verdict.resets() => self.reduced_clocks(&before, &gathered)?,
            _ if self.verdict.restores() => clocks_of(&before),
            _ => return Ok(Claimed { tracker: before, gathered }),
        };
        self.write_resets(clocks)?;
        Ok(Claimed { tracker: self.tracker_at_end(), gathered })
    }

    /// The next header says that what lies behind the good end does not count.
    fn cut_torn_tail(&mut self) -> Result<(), OpenError> {
        let torn = self.verdict.findings.iter().any(|finding| finding.kind == FindingKind::TornTail);
        if torn && self.log.active.is_none() {
            self.log.roll(Sequence(self.verdict.last.0 + 1), 0).map_err(append_failed)?;
        }
        Ok(())
    }

    /// The sealed log's state, gone on with by the tail.
    fn tracker_at_end(&self) -> ClockTracker {
        let mut tracker = ClockTracker::clone(&self.log.tracker);
        self.log.tails().for_each(|tail| tracker.apply(&tail.steps));
        tracker
    }

    /// Every partition's clock as PROTOCOL R8 allows it: the dots of live versions that are there.
    fn reduced_clocks(
        &self,
        before: &ClockTracker,
        gathered: &Gathered,
    ) -> Result<BTreeMap<PartitionId, DotSet>, Setback> {
        if broken(Mutation::DamageKeepClock) || broken(Mutation::DamageSubtractLive) {
            return Ok(clocks_of(before));
        }
        let mut clocks: BTreeMap<PartitionId, DotSet> =
            before.partitions.keys().map(|partition| (*partition, DotSet::EMPTY)).collect();
        clocks.extend(gathered.live_dots(&self.log)?);
        Ok(clocks)
    }

    /// From here on every partition fills, and claims this: R8 in its simple form, or what a backup says.
    fn write_resets(&mut self, clocks: BTreeMap<PartitionId, DotSet>) -> Result<(), OpenError> {
        let records: Vec<Record> =
            clocks.into_iter().map(|(partition, clock)| Record { partition, body: Body::Reset { clock } }).collect();
        let entries = Entry::all_after(self.log.reader.codec(), self.log.last, &records);
        self.log.write(&entries).map_err(append_failed)?;
        Ok(())
    }

    /// Keys that have seen more than the clock keep saying so (PROTOCOL R12f).
    fn restore_leftovers(
        &self,
        tables: &mut BTreeMap<PartitionId, PartitionTable>,
        mut leftovers: Vec<(Place, Published)>,
    ) -> Result<(), Setback> {
        leftovers.sort_by_key(|(place, _)| *place);
        for (place, before) in leftovers {
            let Record { partition, body } = self.log.reader.read(place).map_err(Setback::record)?;
            if let (Some(table), Body::Object { key, object, .. }) = (tables.get_mut(&partition), &body) {
                table.restore_leftover(key, place, object, &before);
            }
        }
        Ok(())
    }

    /// Hints that are still open, with what their records say. One whose record is gone is given up, but
    /// only once clocks are reset.
    fn recover_hints(
        &mut self,
        open: BTreeMap<Sequence, Vec<NodeId>>,
        places: &BTreeMap<Sequence, Place>,
    ) -> Result<BTreeMap<Sequence, RecoveredHint>, Setback> {
        let mut hints = BTreeMap::new();
        for (sequence, targets) in open {
            let place = places.get(&sequence).copied().unwrap_or(Place { segment: 0, offset: 0, length: 0 });
            match self.log.reader.read(place) {
                Ok(Record { partition, body: Body::Hint(body) }) => {
                    let outline = body.state.outline();
                    let (key, dots) = (body.key, body.dots);
                    hints.insert(sequence, RecoveredHint { partition, targets, key, dots, outline, place });
                }
                Ok(_) => return Err(OpenError::NotUnderstood { sequence, place }.into()),
                Err(ReadError::Damaged { .. }) if self.care == Care::Resetting => self.give_up_hint(sequence),
                Err(error) => return Err(Setback::record(error)),
            }
        }
        Ok(hints)
    }

    fn give_up_hint(&mut self, sequence: Sequence) {
        let mut lost = lost_of(&self.log.identity);
        lost.insert(sequence.0);
        self.log.identity.lost = lost.ranges().collect();
        Arc::make_mut(&mut self.log.tracker).hints.remove(&sequence);
    }

    fn count_from_hints_if_broken(
        &self,
        tables: &mut BTreeMap<PartitionId, PartitionTable>,
        hints: &BTreeMap<Sequence, RecoveredHint>,
    ) {
        if !broken(Mutation::CounterFromHints) {
            return;
        }
        let actor = self.log.identity.actor;
        for (partition, table) in tables {
            let held = hints.values().filter(|hint| hint.partition == *partition);
            table.minted = held.filter_map(|hint| hint.dots.of(actor)).map(|own| own.highest()).max().unwrap_or(0);
        }
    }

    /// Makes the new identity the directory's, then takes away what it answers.
    fn settle(&mut self) -> Result<(), Setback> {
        self.log.sync().map_err(append_failed)?;
        if self.survey.sparse_through() > Sequence(0) {
            self.log.seal_found()?;
        }
        let log = &mut self.log;
        let sealed =
            self.survey.unsound.iter().filter(|(_, how)| **how == Unsound::Headless).map(|(segment, _)| segment);
        let tail = self.survey.headless.iter().filter(|segment| **segment <= log.identity.newest);
        for segment in sealed.chain(tail) {
            log.disk.rename(&segment_name(*segment), &quarantine_name(*segment))?;
        }
        log.phase = Phase::Serving;
        log.durable = log.last;
        log.identity.durable = log.last;
        log.identity.newest = log.newest().max(log.identity.newest);
        sync_names(&*log.disk)?;
        log.identity.replace(&*log.disk)?;
        self.remove_spent()?;
        let disk = &*self.log.disk;
        let spent = [genesis_name(), doubt_name(), marker_name()];
        for name in spent.iter().filter(|name| disk.open(name).is_ok()) {
            disk.remove(name)?;
            sync_names(disk)?;
        }
        Ok(())
    }

    /// Takes away files that the manifest does not speak of.
    fn remove_spent(&self) -> Result<(), DiskError> {
        let (disk, sealed) = (&*self.log.disk, &self.log.identity.sealed);
        for segment in &self.survey.spent {
            disk.remove(&segment_name(*segment))?;
        }
        let checkpoint = sealed.checkpoint.map(|stamp| checkpoint_name(stamp.sequence));
        for name in disk.list()? {
            let key_file = segment_of_key_file(&name).is_some_and(|segment| sealed.get(segment).is_none());
            let unfinished = is_unfinished(&name);
            if key_file || unfinished || (is_checkpoint(&name) && checkpoint.as_ref() != Some(&name)) {
                disk.remove(&name)?;
            }
        }
        Ok(())
    }
}

fn clocks_of(tracker: &ClockTracker) -> BTreeMap<PartitionId, DotSet> {
    tracker.partitions.iter().map(|(partition, claims)| (*partition, claims.clock.clone())).collect()
}

/// An exchange finds by it what a peer lacks.
fn remember(tables: &mut BTreeMap<PartitionId, PartitionTable>, record: &Record) {
    match &record.body {
        Body::Object { key, dots, .. } => tables.entry(record.partition).or_default().remember(key, dots),
        Body::Drop => tables.entry(record.partition).or_default().forget_all_recent(),
        _ => {}
    }
}

fn append_failed(error: AppendError) -> OpenError {
    OpenError::Disk(poisoned_by(error))
}
