//! The compaction thread: superseded records leave sealed segments, at a pace, while clients are served.
//!
//! What is current is asked of the drivers, which own the shards.

use super::compaction_pace::CompactionPace;
use super::disk::RealDisk;
use super::metrics::Metrics;
use super::upkeep::{Ended, Upkeep};
use crate::base::Time;
use crate::node::{Input, Presence, Space};
use crate::store::Progress;
use crate::store::{AppendError, Compaction, CompactionError, CompactionOptions, DEFAULT_LIVE_SHARE};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Between two looks whether a segment is worth it: a look reads a few blocks of at most 32 key files.
const REST: Duration = Duration::from_secs(10);

/// Copied in one step, then the pace is kept: a few milliseconds of work.
const STEP_BYTES: usize = 256 << 10;

/// What else happens on the node, for whoever can wait.
pub(super) struct Surroundings {
    /// Who is served.
    pub(super) presence: Presence,
    /// The instant 0 of the core's time.
    pub(super) started: Instant,
    /// What the disk has room for.
    pub(super) space: watch::Receiver<Space>,
}

/// The thread.
struct Compactor {
    upkeep: Upkeep,
    pace: CompactionPace,
    surroundings: Surroundings,
    metrics: Arc<Metrics>,
}

/// Starts the thread, unless there is to be no compaction: at most so many bytes are copied in a second.
pub(super) fn start(
    upkeep: Upkeep,
    bytes_per_second: u64,
    surroundings: Surroundings,
    metrics: Arc<Metrics>,
) -> std::io::Result<()> {
    if bytes_per_second > 0 {
        let pace = CompactionPace::new(bytes_per_second, Instant::now());
        let compactor = Compactor { upkeep, pace, surroundings, metrics };
        std::thread::Builder::new().name("compactor".into()).spawn(move || compactor.run())?;
    }
    Ok(())
}

impl Compactor {
    fn run(mut self) {
        while self.upkeep.wait(REST).is_ok() {
            loop {
                match self.compact() {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(Ended) => return,
                }
            }
        }
    }

    /// One compaction; false if nothing was worth it or it was given up.
    fn compact(&mut self) -> Result<bool, Ended> {
        let options = CompactionOptions { seed: rand::random(), lowest_live_share: DEFAULT_LIVE_SHARE };
        let mut compaction = self.upkeep.with_log(move |log| log.begin_compaction(options))?;
        loop {
            match compaction.step(STEP_BYTES, &mut |questions| self.upkeep.current(questions)) {
                Ok(Progress::More) => self.keep_pace(compaction.spent_bytes())?,
                Ok(Progress::Nothing) => return Ok(false),
                Ok(Progress::Copied) => break,
                Err(error) => return self.abandon(compaction, error),
            }
        }
        let (installed, mut compaction) = self.upkeep.with_log(move |log| (log.install(&compaction), compaction))?;
        if let Err(error) = installed {
            return self.abandon(compaction, given_up(error));
        }
        loop {
            match compaction.relocations() {
                Ok(Some(moved)) => self.upkeep.tell(&Input::Relocated(moved))?,
                Ok(None) => break,
                Err(error) => return self.abandon(compaction, error),
            }
        }
        let deletes = compaction.dropped_deletes();
        match self.upkeep.with_log(move |log| log.retire(&compaction))? {
            Ok(()) => {
                tracing::debug!(deletes, "segments compacted");
                self.metrics.compacted();
                Ok(true)
            }
            // Both copies count; the old one is compacted once more, later.
            Err(_) => Ok(false),
        }
    }

    fn abandon(&self, compaction: Compaction<RealDisk>, why: CompactionError) -> Result<bool, Ended> {
        tracing::warn!(%why, "compaction given up");
        // A poisoned log ends the process by itself.
        let _ = self.upkeep.with_log(move |log| log.abandon(compaction, why))?;
        Ok(false)
    }

    /// Behind a step: others first.
    fn keep_pace(&mut self, spent: u64) -> Result<(), Ended> {
        if self.pace.is_due(Instant::now()) {
            let written = self.upkeep.with_log(|log| log.written_bytes())?;
            self.pace.written(Instant::now(), written);
        }
        let Surroundings { presence, started, space } = &self.surroundings;
        let now = Time(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
        let pause = self.pace.pause(spent, presence.clients(now), *space.borrow());
        self.upkeep.wait(pause)
    }
}

fn given_up(error: AppendError) -> CompactionError {
    match error {
        AppendError::Full => CompactionError::Full,
        AppendError::Poisoned(error) => CompactionError::Failed(error),
    }
}
