//! The thread that makes and seals segments while the storage thread goes on with batches.

use super::disk::RealDisk;
use crate::store::{AppendError, Job, Log};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

/// The storage thread's ends of the channels, of which each holds one job at most. The thread ends with this value.
pub struct LogJobs {
    handed_out: Sender<Job<RealDisk>>,
    done: Receiver<Job<RealDisk>>,
    under_way: bool,
}

impl LogJobs {
    /// Starts the thread. Fails if the system has no more of them.
    pub fn start() -> std::io::Result<LogJobs> {
        LogJobs::start_with(Job::run)
    }

    fn start_with(run: fn(&mut Job<RealDisk>)) -> std::io::Result<LogJobs> {
        let (handed_out, jobs) = channel::<Job<RealDisk>>();
        let (finished, done) = channel();
        std::thread::Builder::new().name("log-jobs".into()).spawn(move || {
            while let Ok(mut job) = jobs.recv() {
                run(&mut job);
                if finished.send(job).is_err() {
                    return;
                }
            }
        })?;
        Ok(LogJobs { handed_out, done, under_way: false })
    }

    /// Is there one that may be done at any moment?
    pub fn under_way(&self) -> bool {
        self.under_way
    }

    /// Takes over what is done, and hands out what there is to do. Waits for nothing. A job that will not come back
    /// is as good as one that failed.
    pub fn tend(&mut self, log: &mut Log<RealDisk>) -> Result<(), AppendError> {
        match self.done.try_recv() {
            Ok(job) => {
                self.under_way = false;
                log.finish_job(job)?;
            }
            Err(TryRecvError::Disconnected) => return Err(log.lose_job()),
            Err(TryRecvError::Empty) => {}
        }
        if let Some(job) = log.next_job() {
            self.handed_out.send(job).map_err(|_| log.lose_job())?;
            self.under_way = true;
        }
        Ok(())
    }

    /// Waits for the job under way, if there is one, and takes it over.
    pub fn wait(&mut self, log: &mut Log<RealDisk>) -> Result<(), AppendError> {
        if !std::mem::take(&mut self.under_way) {
            return Ok(());
        }
        log.hurry();
        match self.done.recv() {
            Ok(job) => log.finish_job(job),
            Err(_) => Err(log.lose_job()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{Actor, Dot, DotSet};
    use crate::ring::PartitionId;
    use crate::store::{Birth, Body, CodecOptions, Durability, OpenOptions, Record, open};
    use std::sync::Arc;

    /// A log with a job to do.
    fn log(directory: &tempfile::TempDir) -> Log<RealDisk> {
        let options = OpenOptions {
            fresh_actor: Actor(7),
            segment_bytes: 4096,
            durability: Durability::Fsync,
            boot: 1,
            birth: Birth::Complete,
            codec: CodecOptions::default(),
        };
        let mut log = open(Arc::new(RealDisk::open(directory.path()).unwrap()), options).unwrap().log;
        for counter in 1..=100 {
            let dots = DotSet::from(Dot { actor: Actor(7), counter });
            log.append(&[Record { partition: PartitionId(3), body: Body::Void { dots, minted: counter } }]).unwrap();
        }
        log
    }

    #[test]
    fn a_thread_that_panicked_poisons_the_log_whether_its_job_is_waited_for_or_not() {
        type Takes = fn(&mut LogJobs, &mut Log<RealDisk>) -> Result<(), AppendError>;
        let tend: Takes = |jobs, log| std::iter::repeat_with(|| jobs.tend(log)).find(Result::is_err).unwrap();
        for take in [tend, LogJobs::wait] {
            let directory = tempfile::tempdir().unwrap();
            let mut log = log(&directory);
            let mut jobs = LogJobs::start_with(|_| panic!("as a defect would")).unwrap();
            jobs.tend(&mut log).unwrap();
            assert!(jobs.under_way());
            assert!(matches!(take(&mut jobs, &mut log), Err(AppendError::Poisoned(_))));
            assert!(log.failure().is_some() && directory.path().join("poisoned").exists());
        }
    }
}
