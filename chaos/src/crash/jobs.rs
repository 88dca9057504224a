//! Who does a log's jobs, and how far apart.

use crate::sim::SimDisk;
use dunlin::store::{AppendError, Job, Log};

/// How a test does them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// All of them behind each batch.
    AtOnce,
    /// One step behind each batch: other batches lie between a job's being handed out, done and taken over.
    StepByStep,
    /// None: the log does them when it must.
    Never,
}

impl Pace {
    /// All of them.
    pub const ALL: [Pace; 3] = [Pace::AtOnce, Pace::StepByStep, Pace::Never];
}

/// A job under way.
pub struct Worker {
    pace: Pace,
    job: Option<(Job<SimDisk>, Stage)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    HandedOut,
    Done,
}

impl Worker {
    /// Nothing is under way.
    pub fn new(pace: Pace) -> Worker {
        Worker { pace, job: None }
    }

    /// What there is to do behind a batch.
    pub fn step(&mut self, log: &mut Log<SimDisk>) -> Result<(), AppendError> {
        match self.pace {
            Pace::AtOnce => log.do_jobs(),
            Pace::StepByStep => self.one_step(log),
            Pace::Never => Ok(()),
        }
    }

    fn one_step(&mut self, log: &mut Log<SimDisk>) -> Result<(), AppendError> {
        match self.job.take() {
            None => self.job = log.next_job().map(|job| (job, Stage::HandedOut)),
            Some((mut job, Stage::HandedOut)) => {
                job.run();
                self.job = Some((job, Stage::Done));
            }
            Some((job, Stage::Done)) => return log.finish_job(job),
        }
        Ok(())
    }

    /// Before the log is closed the job under way has to come back.
    pub fn end(&mut self, log: &mut Log<SimDisk>) -> Result<(), AppendError> {
        while self.job.is_some() {
            self.one_step(log)?;
        }
        Ok(())
    }
}
