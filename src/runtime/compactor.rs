//! The compaction thread: superseded records leave sealed segments, at a pace, while clients are served.
//!
//! What is current is asked of the drivers, which own the shards.

use super::disk::RealDisk;
use super::metrics::Metrics;
use super::upkeep::{Ended, Upkeep};
use crate::node::Input;
use crate::store::Progress;
use crate::store::{AppendError, Compaction, CompactionError, CompactionOptions, DEFAULT_LIVE_SHARE};
use std::sync::Arc;
use std::time::Duration;

/// Between two looks whether a segment is worth it: a look reads a few blocks of at most 32 key files.
const REST: Duration = Duration::from_secs(10);

/// Copied in one step, then the pace is kept: what others wait for at most behind one write.
const STEP_BYTES: usize = 1 << 20;

/// The thread.
struct Compactor {
    upkeep: Upkeep,
    bytes_per_second: u64,
    metrics: Arc<Metrics>,
}

/// Starts the thread, unless there is to be no compaction: at most so many bytes are copied in a second.
pub(super) fn start(upkeep: Upkeep, bytes_per_second: u64, metrics: Arc<Metrics>) -> std::io::Result<()> {
    if bytes_per_second > 0 {
        let compactor = Compactor { upkeep, bytes_per_second, metrics };
        std::thread::Builder::new().name("compactor".into()).spawn(move || compactor.run())?;
    }
    Ok(())
}

impl Compactor {
    fn run(self) {
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
    fn compact(&self) -> Result<bool, Ended> {
        let options = CompactionOptions { seed: rand::random(), lowest_live_share: DEFAULT_LIVE_SHARE };
        let mut compaction = self.upkeep.with_log(move |log| log.begin_compaction(options))?;
        loop {
            match compaction.step(STEP_BYTES, &mut |questions| self.upkeep.current(questions)) {
                Ok(Progress::More) => self.upkeep.wait(self.pace())?,
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

    fn pace(&self) -> Duration {
        Duration::from_secs_f64(STEP_BYTES as f64 / self.bytes_per_second.max(1) as f64)
    }
}

fn given_up(error: AppendError) -> CompactionError {
    match error {
        AppendError::Full => CompactionError::Full,
        AppendError::Poisoned(error) => CompactionError::Failed(error),
    }
}
