//! One compaction, step by step.

use super::CompactionError;
use super::choice::choose;
use super::copy::Copying;
use super::estimate::Estimate;
use super::relocate::Relocations;
use super::source::{Question, Source};
use crate::base::Random;
use crate::store::sealed::SealedSegment;
use crate::store::{Disk, Moved};
use std::collections::BTreeSet;
use std::mem;

/// A segment is worth compacting once less than this share of its file are current records: the log is then at
/// most 1.43 times as large as they are, and each is copied 2.3 times in its life at the utmost.
pub const DEFAULT_LIVE_SHARE: f64 = 0.7;

/// Most segments looked at for one compaction, drawn at random: what a larger log has besides, later ones find.
const MAX_ESTIMATED: usize = 32;

/// What looking at one counts, in bytes copied: some sixteen blocks of its key file are read, and its shards asked.
const ESTIMATE_COST: u64 = 64 << 10;

/// Asks which records are current, all at once: an answer for each, true if it is. What is not answered counts
/// as current.
pub(super) type Ask<'a> = &'a mut dyn FnMut(&[Question]) -> Vec<bool>;

/// How to compact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompactionOptions {
    /// Where samples are drawn from; another one for each compaction.
    pub seed: u64,
    /// Segments with a smaller share of current records are compacted; see [`DEFAULT_LIVE_SHARE`].
    pub lowest_live_share: f64,
}

/// A compaction under way.
pub struct Compaction<D: Disk> {
    pub(super) source: Source<D>,
    options: CompactionOptions,
    random: Random,
    /// Number and generation of the output.
    pub(super) number: (u32, u64),
    stage: Stage<D>,
}

/// How far it is.
enum Stage<D: Disk> {
    Choosing { ahead: Vec<u32>, estimates: Vec<Estimate> },
    Copying(Box<Copying<D>>),
    Copied(Box<Copied<D>>),
    Over,
}

/// A copy that is durable, and counts once it is installed.
pub(super) struct Copied<D: Disk> {
    pub(super) inputs: BTreeSet<u32>,
    /// None if nothing was to be kept.
    pub(super) output: Option<SealedSegment>,
    dropped_deletes: u64,
    relocations: Option<Relocations<D>>,
}

/// How far a step has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is more to do: another step.
    More,
    /// No segment is worth it; the compaction is over.
    Nothing,
    /// All that is current is copied and durable: to be installed.
    Copied,
}

impl<D: Disk> Compaction<D> {
    pub(super) fn new(source: Source<D>, options: CompactionOptions, number: (u32, u64)) -> Self {
        let mut random = Random::from_seed(options.seed);
        let sealed = source.sealed.iter().map(|sealed| sealed.segment);
        let mut ahead: Vec<u32> = sealed.filter(|segment| !source.shunned.contains(segment)).collect();
        random.shuffle(&mut ahead);
        // Those that must go come first, however many there are.
        ahead.sort_by_key(|segment| !source.condemned.contains(segment));
        ahead.truncate(MAX_ESTIMATED);
        let stage = Stage::Choosing { ahead, estimates: Vec::new() };
        Compaction { source, options, random, number, stage }
    }

    /// Does a bounded piece of the work: looks at one segment, or copies about `budget_bytes` (one record at
    /// least), or makes the output durable. Questions are asked by `ask`, many at once: true for a record that
    /// is current; what is left unanswered counts as current.
    pub fn step(
        &mut self,
        budget_bytes: usize,
        ask: &mut dyn FnMut(&[Question]) -> Vec<bool>,
    ) -> Result<Progress, CompactionError> {
        match &mut self.stage {
            Stage::Choosing { ahead, estimates } => {
                if let Some(segment) = ahead.pop() {
                    estimates.push(Estimate::of(&mut self.source, segment, &mut self.random, ask)?);
                    return Ok(Progress::More);
                }
                let estimates = mem::take(estimates);
                self.begin_copying(&estimates)
            }
            Stage::Copying(copying) => {
                let Some(output) = copying.step(&mut self.source, budget_bytes.max(1), ask)? else {
                    return Ok(Progress::More);
                };
                let (inputs, dropped_deletes) = (mem::take(&mut copying.inputs), copying.dropped_deletes);
                let copied = Copied { inputs, output, dropped_deletes, relocations: None };
                self.stage = Stage::Copied(Box::new(copied));
                Ok(Progress::Copied)
            }
            Stage::Copied(_) => Ok(Progress::Copied),
            Stage::Over => Ok(Progress::Nothing),
        }
    }

    /// What the last step has cost, as if all of it were bytes copied.
    pub fn spent_bytes(&self) -> u64 {
        match &self.stage {
            Stage::Choosing { .. } => ESTIMATE_COST,
            Stage::Copying(copying) => copying.spent_bytes.max(ESTIMATE_COST),
            Stage::Copied(_) | Stage::Over => 0,
        }
    }

    fn begin_copying(&mut self, estimates: &[Estimate]) -> Result<Progress, CompactionError> {
        let (lowest, bytes) = (self.options.lowest_live_share, self.source.segment_bytes as f64);
        let inputs = choose(estimates, &self.source.condemned, lowest, bytes);
        if inputs.is_empty() {
            self.stage = Stage::Over;
            return Ok(Progress::Nothing);
        }
        self.stage = Stage::Copying(Box::new(Copying::begin(&mut self.source, inputs, self.number)?));
        Ok(Progress::More)
    }

    /// What has moved, a list at a time; no list once there are no more. To be asked once the output is installed,
    /// and to be given to the node before the inputs are retired.
    pub fn relocations(&mut self) -> Result<Option<Vec<Moved>>, CompactionError> {
        let Stage::Copied(copied) = &mut self.stage else { return Ok(None) };
        let Some(output) = &copied.output else { return Ok(None) };
        let relocations = match &mut copied.relocations {
            Some(relocations) => relocations,
            none => none.insert(Relocations::of(&mut self.source, &copied.inputs, output)?),
        };
        relocations.next()
    }

    /// Has it chosen its segments? If not, it may still find nothing worth it.
    pub fn is_copying(&self) -> bool {
        matches!(self.stage, Stage::Copying(_) | Stage::Copied(_))
    }

    /// How many deletes were dropped: nothing is left that they hide.
    pub fn dropped_deletes(&self) -> u64 {
        self.copied().map_or(0, |copied| copied.dropped_deletes)
    }

    /// The segments that are compacted, once they are chosen.
    pub(super) fn inputs(&self) -> BTreeSet<u32> {
        match &self.stage {
            Stage::Choosing { .. } | Stage::Over => BTreeSet::new(),
            Stage::Copying(copying) => copying.inputs.clone(),
            Stage::Copied(copied) => copied.inputs.clone(),
        }
    }

    /// What was copied, once all of it is durable.
    pub(super) fn copied(&self) -> Option<&Copied<D>> {
        match &self.stage {
            Stage::Copied(copied) => Some(copied),
            _ => None,
        }
    }
}
