//! The thread that makes and seals segments while the storage thread goes on with batches.

use super::disk::RealDisk;
use crate::store::{AppendError, Job, Log};
use std::sync::mpsc::{Receiver, Sender, channel};

/// The storage thread's ends of the channels, of which each holds one job at most. The thread ends with this value.
pub(super) struct LogJobs {
    handed_out: Sender<Job<RealDisk>>,
    done: Receiver<Job<RealDisk>>,
    under_way: bool,
}

impl LogJobs {
    /// Starts the thread.
    pub(super) fn start() -> std::io::Result<LogJobs> {
        let (handed_out, jobs) = channel::<Job<RealDisk>>();
        let (finished, done) = channel();
        std::thread::Builder::new().name("log-jobs".into()).spawn(move || {
            while let Ok(mut job) = jobs.recv() {
                job.run();
                if finished.send(job).is_err() {
                    return;
                }
            }
        })?;
        Ok(LogJobs { handed_out, done, under_way: false })
    }

    /// Is there one that may be done at any moment?
    pub(super) fn under_way(&self) -> bool {
        self.under_way
    }

    /// Takes over what is done, and hands out what there is to do. Waits for nothing.
    pub(super) fn tend(&mut self, log: &mut Log<RealDisk>) -> Result<(), AppendError> {
        if let Ok(job) = self.done.try_recv() {
            self.under_way = false;
            log.finish_job(job)?;
        }
        if let Some(job) = log.next_job() {
            // A thread that is gone has panicked: without it the log does its jobs when it must.
            self.under_way = self.handed_out.send(job).is_ok();
        }
        Ok(())
    }

    /// Waits for the job under way, if there is one, and takes it over.
    pub(super) fn wait(&mut self, log: &mut Log<RealDisk>) -> Result<(), AppendError> {
        if std::mem::take(&mut self.under_way)
            && let Ok(job) = self.done.recv()
        {
            log.finish_job(job)?;
        }
        Ok(())
    }
}
