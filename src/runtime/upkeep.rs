//! What the threads have in common that look after the log. They own nothing: the log is changed on the storage
//! thread, between two batches; the node is asked and told by its driver.

use super::disk::RealDisk;
use super::flusher::FlushRequest;
use crate::node::Input;
use crate::store::{Log, Question};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, sync_channel};
use std::time::Duration;
use tokio::sync::mpsc;

/// Questions on their way to the driver: each thread waits for the answer to its own.
const MAX_ASKED: usize = 2;

/// What a thread wants of the driver, and where it waits for the answer.
pub(super) enum Asked {
    /// Which of these records are current?
    Current(Vec<Question>, Sender<Vec<bool>>),
    /// Tell the node. Answered when it has been, and what it then wants of the log is on its way.
    Tell(Box<Input>, Sender<()>),
}

/// The channel to the driver.
pub(super) fn channel() -> (mpsc::Sender<Asked>, mpsc::Receiver<Asked>) {
    mpsc::channel(MAX_ASKED)
}

/// A thread's ends of its channels.
pub(super) struct Upkeep {
    flusher: Sender<FlushRequest>,
    asked: mpsc::Sender<Asked>,
    stop: Receiver<()>,
}

/// The thread ends with this value.
pub(super) struct Stop {
    #[expect(dead_code, reason = "its end ends the thread")]
    stop: Sender<()>,
}

/// The other side is gone: the node ends.
pub(super) struct Ended;

impl Upkeep {
    pub(super) fn new(flusher: Sender<FlushRequest>, asked: mpsc::Sender<Asked>) -> (Upkeep, Stop) {
        let (stop, stopped) = std::sync::mpsc::channel();
        (Upkeep { flusher, asked, stop: stopped }, Stop { stop })
    }

    /// Which of these are current; no answers if the driver is gone, and then all count as current.
    pub(super) fn current(&self, questions: &[Question]) -> Vec<bool> {
        let (answer, answers) = std::sync::mpsc::channel();
        let asked = Asked::Current(questions.to_vec(), answer);
        if self.asked.blocking_send(asked).is_err() {
            return Vec::new();
        }
        answers.recv().unwrap_or_default()
    }

    /// Tells the node, and waits until it knows.
    pub(super) fn tell(&self, input: Input) -> Result<(), Ended> {
        let (answer, answers) = std::sync::mpsc::channel();
        self.asked.blocking_send(Asked::Tell(Box::new(input), answer)).map_err(|_| Ended)?;
        answers.recv().map_err(|_| Ended)
    }

    /// Does something with the log on the storage thread, and waits for it.
    pub(super) fn with_log<T: Send + 'static>(
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

    pub(super) fn wait(&self, how_long: Duration) -> Result<(), Ended> {
        match self.stop.recv_timeout(how_long) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Err(Ended),
        }
    }
}
