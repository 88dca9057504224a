//! The scrub thread: it goes round all sealed segments at a pace, looks at once where a reader has met damage, and
//! has what is lost repaired from the other replicas while clients are served (docs/damage.md).

use super::disk::RealDisk;
use super::metrics::Metrics;
use super::upkeep::{Ended, Upkeep};
use crate::node::Input;
use crate::store::{Damage, Examination, Examined, LostRecord, Question, Reader};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks whether a reader has met damage.
const REST: Duration = Duration::from_millis(500);

/// Verified in one step, then the pace is kept.
const STEP_BYTES: usize = 1 << 20;

/// At least so fast goes what looks at a segment in which a reader has met damage: until then its keys fail here.
const URGENT_BYTES_PER_SECOND: u64 = 64 << 20;

/// Between two tries to take lost records out: a clock is void after one sync, unless the disk is full.
const RETRY: Duration = Duration::from_millis(100);

/// Lost records told at once: bounds what the node does in one turn.
const MAX_TOLD: usize = 1024;

/// A round is begun so long after the one before at the earliest: a small log is not read all the time.
const SHORTEST_ROUND: Duration = Duration::from_secs(60);

/// Starts the thread. It verifies about `bytes_per_second`; with 0 only what readers have met.
pub(super) fn start(
    upkeep: Upkeep,
    reader: Reader<RealDisk>,
    bytes_per_second: u64,
    metrics: Arc<Metrics>,
) -> std::io::Result<()> {
    let scrubber = Scrubber { upkeep, reader, bytes_per_second, metrics };
    std::thread::Builder::new().name("scrubber".into()).spawn(move || {
        // The node ends: so does this.
        let _ = scrubber.run();
    })?;
    Ok(())
}

/// The thread.
struct Scrubber {
    upkeep: Upkeep,
    reader: Reader<RealDisk>,
    bytes_per_second: u64,
    metrics: Arc<Metrics>,
}

/// Was a segment examined?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    AtAll,
    NotYet,
}

impl Scrubber {
    fn run(self) -> Result<(), Ended> {
        let mut behind = 0;
        let mut rested = SHORTEST_ROUND;
        loop {
            self.look_at_suspects()?;
            self.upkeep.wait(REST)?;
            rested += REST;
            if self.bytes_per_second == 0 || rested < SHORTEST_ROUND {
                continue;
            }
            match self.upkeep.with_log(move |log| log.sealed_behind(behind))? {
                Some(segment) => {
                    if self.examine(segment, self.bytes_per_second)? == Looked::AtAll {
                        behind = segment;
                    }
                }
                None => {
                    self.metrics.scrubbed_round();
                    (behind, rested) = (0, Duration::ZERO);
                }
            }
        }
    }

    fn look_at_suspects(&self) -> Result<(), Ended> {
        for segment in self.reader.suspects() {
            self.examine(segment, self.bytes_per_second.max(URGENT_BYTES_PER_SECOND))?;
        }
        Ok(())
    }

    fn examine(&self, segment: u32, bytes_per_second: u64) -> Result<Looked, Ended> {
        let Some(mut examination) = self.upkeep.with_log(move |log| log.examine(segment))? else {
            // Not sealed yet, compacted away, or about to count. A full disk or a failed one says so elsewhere.
            self.upkeep.with_log(move |log| drop(log.seal_off(segment)))?;
            return Ok(Looked::NotYet);
        };
        let pace = Duration::from_secs_f64(STEP_BYTES as f64 / bytes_per_second.max(1) as f64);
        let examined = loop {
            match examination.step(STEP_BYTES) {
                Ok(Examined::More) => {}
                Ok(examined) => break examined,
                Err(error) => {
                    tracing::warn!(segment, %error, "a segment could not be verified");
                    return Ok(Looked::NotYet);
                }
            }
            self.metrics.scrubbed(STEP_BYTES as u64);
            // A segment of many steps must not keep others waiting that a reader has met.
            self.upkeep.wait(pace)?;
        };
        self.deal_with(examination, examined)?;
        Ok(Looked::AtAll)
    }

    fn deal_with(&self, examination: Examination<RealDisk>, examined: Examined) -> Result<(), Ended> {
        let segment = examination.segment();
        match examined {
            Examined::More | Examined::Sound => self.settle(examination, Damage::default()),
            Examined::KeyFileMended => {
                self.metrics.damaged(1);
                self.metrics.repaired(1);
                tracing::warn!(segment, "a damaged key file was written anew");
                self.settle(examination, Damage::default())
            }
            Examined::Damaged(damage) => self.repair(examination, damage),
            Examined::Opaque => {
                if self.upkeep.with_log(move |log| log.examine(segment).is_some())? {
                    self.reader.leave_to_opening(segment);
                    self.metrics.restart_needed();
                    tracing::error!(
                        segment,
                        "records and the key file beside are damaged: a restart repairs this node"
                    );
                }
                Ok(())
            }
        }
    }

    /// Has what counts of the damage replaced, and waits until nothing of it does.
    fn repair(&self, examination: Examination<RealDisk>, damage: Damage) -> Result<(), Ended> {
        let (segment, count) = (examination.segment(), damage.count() as u64);
        self.metrics.damaged(count);
        let mut counting = self.counting(damage.records.clone());
        tracing::error!(segment, records = count, counting = counting.len(), "damaged records found");
        if !counting.is_empty() {
            let partitions: BTreeSet<_> = counting.iter().filter_map(LostRecord::damaged_partition).collect();
            self.upkeep.tell(&Input::Damaged(partitions))?;
        }
        while !counting.is_empty() {
            for told in counting.chunks(MAX_TOLD) {
                self.upkeep.tell(&Input::Lost(told.to_vec()))?;
            }
            // Behind what the node has just appended.
            self.upkeep.with_log(|_| ())?;
            counting = self.counting(counting);
            if !counting.is_empty() {
                self.upkeep.wait(RETRY)?;
            }
        }
        self.upkeep.with_log(move |log| log.condemn(segment))?;
        self.settle(examination, damage)?;
        self.metrics.repaired(count);
        tracing::warn!(segment, records = count, "damaged records do not count any more; their partitions fill");
        Ok(())
    }

    fn counting(&self, records: Vec<LostRecord>) -> Vec<LostRecord> {
        let questions: Vec<Question> = records.iter().map(Question::from).collect();
        let mut current = Vec::with_capacity(questions.len());
        for asked in questions.chunks(MAX_TOLD) {
            let mut answers = self.upkeep.current(asked);
            // What is not answered counts as current.
            answers.resize(asked.len(), true);
            current.extend(answers);
        }
        records.into_iter().zip(current).filter_map(|(record, current)| current.then_some(record)).collect()
    }

    /// If the disk is full the marker stays; the next look at the segment settles it.
    fn settle(&self, examination: Examination<RealDisk>, damage: Damage) -> Result<(), Ended> {
        self.upkeep.with_log(move |log| drop(log.settle(&examination, &damage)))
    }
}
