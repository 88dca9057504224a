//! What the threads have in common that look after the log. They own nothing: the log is changed on the storage
//! thread, between two batches; the shards are asked and told by their drivers.

use super::disk::RealDisk;
use super::flusher::FlushRequest;
use crate::node::{Input, Sharding};
use crate::store::{Log, Question};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, sync_channel};
use std::time::Duration;
use tokio::sync::mpsc;

/// Questions on their way to one driver: each thread waits for the answer to its own.
const MAX_ASKED: usize = 2;

/// What a thread wants of a driver, and where it waits for the answer.
pub(super) enum Asked {
    /// Which of these records are current?
    Current(Vec<Question>, Sender<Vec<bool>>),
    /// Tell the node. Answered when it has been, and what it then wants of the log is on its way.
    Tell(Box<Input>, Sender<()>),
}

/// The way to the drivers, one for each shard in their order.
#[derive(Clone)]
pub(super) struct Asks {
    drivers: Vec<mpsc::Sender<Asked>>,
    sharding: Sharding,
}

impl Asks {
    pub(super) fn new(sharding: Sharding) -> (Asks, Vec<mpsc::Receiver<Asked>>) {
        let (drivers, asked) = (0..sharding.shards()).map(|_| mpsc::channel(MAX_ASKED)).unzip();
        (Asks { drivers, sharding }, asked)
    }
}

/// A thread's ends of its channels.
pub(super) struct Upkeep {
    flusher: Sender<FlushRequest>,
    asks: Asks,
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
    pub(super) fn new(flusher: Sender<FlushRequest>, asks: Asks) -> (Upkeep, Stop) {
        let (stop, stopped) = std::sync::mpsc::channel();
        (Upkeep { flusher, asks, stop: stopped }, Stop { stop })
    }

    /// Which of these are current; no answers if a driver is gone, and then all count as current.
    pub(super) fn current(&self, questions: &[Question]) -> Vec<bool> {
        let mut current = vec![true; questions.len()];
        for (shard, driver) in self.asks.drivers.iter().enumerate() {
            let own = |at: &usize| questions.get(*at).is_some_and(|q| self.asks.sharding.of(q.partition) == shard);
            let places: Vec<usize> = (0..questions.len()).filter(own).collect();
            let own: Vec<Question> = places.iter().filter_map(|at| questions.get(*at).cloned()).collect();
            let (answer, answers) = std::sync::mpsc::channel();
            if own.is_empty() {
                continue;
            }
            if driver.blocking_send(Asked::Current(own, answer)).is_err() {
                return Vec::new();
            }
            let Ok(answers) = answers.recv() else { return Vec::new() };
            for (at, answer) in places.into_iter().zip(answers) {
                if let Some(slot) = current.get_mut(at) {
                    *slot = answer;
                }
            }
        }
        current
    }

    /// Tells every shard, one after the other, and waits until all know. The first is told last: what it asks for,
    /// like a new actor after damage, comes behind what the others have asked for.
    pub(super) fn tell(&self, input: &Input) -> Result<(), Ended> {
        for driver in self.asks.drivers.iter().rev() {
            let (answer, answers) = std::sync::mpsc::channel();
            driver.blocking_send(Asked::Tell(Box::new(input.clone()), answer)).map_err(|_| Ended)?;
            answers.recv().map_err(|_| Ended)?;
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Key;
    use crate::ring::{PartitionId, Partitioning};
    use crate::store::{Holder, Place};

    /// The answer to each is whether its number is even.
    fn question(number: u32) -> Question {
        let holder = Holder::Key(Key::new(number.to_string()).unwrap());
        Question { partition: PartitionId(number / 2), holder, place: Place { segment: 1, offset: number, length: 8 } }
    }

    fn upkeep() -> (Upkeep, Stop, Vec<mpsc::Receiver<Asked>>) {
        let (asks, asked) = Asks::new(Sharding::new(Partitioning::default(), 2));
        let (upkeep, stop) = Upkeep::new(std::sync::mpsc::channel().0, asks);
        (upkeep, stop, asked)
    }

    #[test]
    fn each_shard_is_asked_about_its_own_and_the_answers_are_in_the_questions_order() {
        let (upkeep, _stop, asked) = upkeep();
        std::thread::scope(|scope| {
            for (shard, mut asked) in asked.into_iter().enumerate() {
                scope.spawn(move || {
                    let Some(Asked::Current(questions, answer)) = asked.blocking_recv() else { panic!("not asked") };
                    assert!(questions.iter().all(|question| question.partition.0 as usize % 2 == shard));
                    answer.send(questions.iter().map(|question| question.place.offset % 2 == 0).collect()).unwrap();
                });
            }
            let numbers = [5, 0, 2, 7, 1, 6, 3];
            let current = upkeep.current(&numbers.map(question));
            assert_eq!(current, numbers.map(|number| number % 2 == 0));
        });
    }

    #[test]
    fn the_first_shard_is_told_last_and_one_that_is_gone_ends_it() {
        let (upkeep, _stop, asked) = upkeep();
        let order = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for (shard, mut asked) in asked.into_iter().enumerate() {
                let order = &order;
                scope.spawn(move || {
                    let Some(Asked::Tell(_, answer)) = asked.blocking_recv() else { panic!("not told") };
                    order.lock().unwrap().push(shard);
                    answer.send(()).unwrap();
                });
            }
            assert!(upkeep.tell(&Input::Tick).is_ok());
        });
        assert_eq!(*order.lock().unwrap(), [1, 0]);
        assert!(upkeep.tell(&Input::Tick).is_err() && upkeep.current(&[question(1)]).is_empty());
    }
}
