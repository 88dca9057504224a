//! The compaction thread: superseded records leave sealed segments, at a pace, while clients are served.
//!
//! It owns nothing. The log is changed on the storage thread, between two batches; what is current is asked of
//! the driver, which owns the node.

use super::disk::RealDisk;
use super::flusher::FlushRequest;
use super::metrics::Metrics;
use crate::store::{AppendError, Compaction, CompactionError, CompactionOptions, DEFAULT_LIVE_SHARE};
use crate::store::{Log, Moved, Progress, Question};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, sync_channel};
use std::time::Duration;
use tokio::sync::mpsc;

/// Between two looks whether a segment is worth it: a look reads a few blocks of at most 32 key files.
const REST: Duration = Duration::from_secs(10);

/// Copied in one step, then the pace is kept: what others wait for at most behind one write.
const STEP_BYTES: usize = 1 << 20;

/// Questions on their way to the driver: the thread waits for each answer.
const MAX_ASKED: usize = 1;

/// What the thread wants of the driver, and where it waits for the answer.
pub(super) enum Asked {
    /// Which of these records are current?
    Current(Vec<Question>, Sender<Vec<bool>>),
    /// These have moved: tell the node.
    Moved(Vec<Moved>, Sender<()>),
}

/// The driver's ends of the thread's channels. The thread ends with this value.
pub(super) struct Compactions {
    /// What the thread asks.
    pub(super) asked: mpsc::Receiver<Asked>,
    #[expect(dead_code, reason = "its end ends the thread")]
    stop: Sender<()>,
}

/// The thread.
struct Compactor {
    flusher: Sender<FlushRequest>,
    asked: mpsc::Sender<Asked>,
    stop: Receiver<()>,
    bytes_per_second: u64,
    metrics: Arc<Metrics>,
}

/// The other side is gone: the node ends.
struct Ended;

impl Compactions {
    /// Starts the thread, unless there is to be no compaction: at most so many bytes are copied in a second.
    pub(super) fn start(
        flusher: Sender<FlushRequest>,
        bytes_per_second: u64,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Compactions> {
        let (asked_sender, asked) = mpsc::channel(MAX_ASKED);
        let (stop, stopped) = std::sync::mpsc::channel();
        if bytes_per_second > 0 {
            let compactor = Compactor { flusher, asked: asked_sender, stop: stopped, bytes_per_second, metrics };
            std::thread::Builder::new().name("compactor".into()).spawn(move || compactor.run())?;
        }
        Ok(Compactions { asked, stop })
    }
}

impl Compactor {
    fn run(self) {
        while self.wait(REST).is_ok() {
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
        let mut compaction = self.with_log(move |log| log.begin_compaction(options))?;
        loop {
            match compaction.step(STEP_BYTES, &mut |questions| self.current(questions)) {
                Ok(Progress::More) => self.wait(self.pace())?,
                Ok(Progress::Nothing) => return Ok(false),
                Ok(Progress::Copied) => break,
                Err(error) => return self.abandon(compaction, error),
            }
        }
        let (installed, mut compaction) = self.with_log(move |log| (log.install(&compaction), compaction))?;
        if let Err(error) = installed {
            return self.abandon(compaction, given_up(error));
        }
        loop {
            match compaction.relocations() {
                Ok(Some(moved)) => self.tell(moved)?,
                Ok(None) => break,
                Err(error) => return self.abandon(compaction, error),
            }
        }
        let deletes = compaction.dropped_deletes();
        match self.with_log(move |log| log.retire(&compaction))? {
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
        let _ = self.with_log(move |log| log.abandon(compaction, why))?;
        Ok(false)
    }

    /// Which of these are current; no answers if the driver is gone, and then all count as current.
    fn current(&self, questions: &[Question]) -> Vec<bool> {
        let (answer, answers) = std::sync::mpsc::channel();
        let asked = Asked::Current(questions.to_vec(), answer);
        if self.asked.blocking_send(asked).is_err() {
            return Vec::new();
        }
        answers.recv().unwrap_or_default()
    }

    fn tell(&self, moved: Vec<Moved>) -> Result<(), Ended> {
        let (answer, answers) = std::sync::mpsc::channel();
        self.asked.blocking_send(Asked::Moved(moved, answer)).map_err(|_| Ended)?;
        answers.recv().map_err(|_| Ended)
    }

    /// Does something with the log on the storage thread, and waits for it.
    fn with_log<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Log<RealDisk>) -> T + Send + 'static,
    ) -> Result<T, Ended> {
        let (answer, answers) = sync_channel(1);
        let work = Box::new(move |log: &mut Log<RealDisk>| {
            // Nobody waits any more only if this thread has ended.
            let _ = answer.send(work(log));
        });
        self.flusher.send(FlushRequest::With(work)).map_err(|_| Ended)?;
        answers.recv().map_err(|_| Ended)
    }

    fn pace(&self) -> Duration {
        Duration::from_secs_f64(STEP_BYTES as f64 / self.bytes_per_second.max(1) as f64)
    }

    fn wait(&self, how_long: Duration) -> Result<(), Ended> {
        match self.stop.recv_timeout(how_long) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Err(Ended),
        }
    }
}

fn given_up(error: AppendError) -> CompactionError {
    match error {
        AppendError::Full => CompactionError::Full,
        AppendError::Poisoned(error) => CompactionError::Failed(error),
    }
}
