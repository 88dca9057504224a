//! The way to the node's core: commands in, outcomes out, and a picture of the cluster.

use crate::node::{Input, Sharding};
use crate::replication::{Command, Failure, ListCommand, Operation, Options, Outcome};
use crate::runtime::status::ClusterStatus;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

/// Commands that may wait for the driver. It drains them at every turn, so a full queue means that it
/// is more than a turn behind: the next command is shed (503) before it costs anything.
pub const COMMAND_QUEUE: usize = 1024;

/// How long beyond its own time-out a command is waited for. The core answers in time whatever
/// happens to the cluster; this is for a process whose driver hangs, on a disk or on a debugger.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

/// What a client asks of the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Something about one key.
    Command(Command),
    /// A page of keys.
    List(ListCommand),
}

/// What is asked and where its outcome goes.
pub type CoreRequest = (Asked, oneshot::Sender<Outcome>);

/// A handle of the core. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CoreHandle {
    /// By shard.
    commands: Arc<[mpsc::Sender<CoreRequest>]>,
    sharding: Sharding,
    status: watch::Receiver<Arc<ClusterStatus>>,
}

impl CoreHandle {
    /// A handle over the channels of one driver; `commands` is bounded, by [`COMMAND_QUEUE`] as a rule.
    pub fn new(commands: mpsc::Sender<CoreRequest>, status: watch::Receiver<Arc<ClusterStatus>>) -> CoreHandle {
        CoreHandle::sharded(vec![commands], Sharding::one(), status)
    }

    /// A handle over the channels of a driver for each shard, in their order.
    pub fn sharded(
        commands: Vec<mpsc::Sender<CoreRequest>>,
        sharding: Sharding,
        status: watch::Receiver<Arc<ClusterStatus>>,
    ) -> CoreHandle {
        CoreHandle { commands: commands.into(), sharding, status }
    }

    /// The cluster as this node sees it.
    pub fn status(&self) -> Arc<ClusterStatus> {
        self.status.borrow().clone()
    }

    /// A page of keys: [`Outcome::Listed`], or why not.
    pub async fn list(&self, command: ListCommand) -> Outcome {
        let (options, lost) = (command.options, self.read_lost(&command.options));
        self.put(0, Asked::List(command), &options, lost).await
    }

    /// Runs a command. A full queue is `Overloaded` and a closed one `NotReady`: nothing was written.
    /// A command that was taken and never answered is in doubt.
    pub async fn ask(&self, command: Command) -> Outcome {
        let (options, lost) = (command.options, self.lost(&command));
        self.put(self.sharding.of_key(&command.key), Asked::Command(command), &options, lost).await
    }

    async fn put(&self, shard: usize, asked: Asked, options: &Options, lost: Failure) -> Outcome {
        let patience = Duration::from_millis(options.timeout_ms) + ANSWER_GRACE;
        let (sender, receiver) = oneshot::channel();
        let Some(commands) = self.commands.get(shard) else { return Outcome::Failed(Failure::NotReady) };
        match commands.try_send((asked, sender)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Outcome::Failed(Failure::Overloaded),
            Err(TrySendError::Closed(_)) => return Outcome::Failed(Failure::NotReady),
        }
        match tokio::time::timeout(patience, receiver).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Outcome::Failed(lost),
        }
    }

    fn read_lost(&self, options: &Options) -> Failure {
        let replicas = self.status.borrow().replicas;
        Failure::ReadTimeout { required: options.r.of(replicas).unwrap_or(replicas), answers: 0 }
    }

    fn lost(&self, command: &Command) -> Failure {
        match command.operation {
            Operation::Get => self.read_lost(&command.options),
            Operation::Write { .. } => {
                let replicas = self.status.borrow().replicas;
                let required = command.options.w.of(replicas).unwrap_or(replicas);
                Failure::OutcomeUnknown { required, acks: 0, coordinator: None }
            }
        }
    }
}

impl Asked {
    /// As the node is told of it. The answer carries `request` back.
    pub fn into_input(self, request: u64) -> Input {
        match self {
            Asked::Command(command) => Input::Command { request, command },
            Asked::List(command) => Input::List { request, command },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Key;
    use crate::replication::{Condition, Options};

    fn delete() -> Command {
        let operation = Operation::Write { content: None, seen: None, condition: Condition::Always };
        Command { key: Key::new("k").unwrap(), operation, options: Options::default() }
    }

    fn handle() -> (CoreHandle, mpsc::Receiver<CoreRequest>) {
        let (commands, requests) = mpsc::channel(1);
        let status = ClusterStatus { replicas: 3, ..ClusterStatus::default() };
        let (_, status) = watch::channel(Arc::new(status));
        (CoreHandle::new(commands, status), requests)
    }

    fn run<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn a_full_queue_sheds_and_a_closed_one_refuses() {
        run(async {
            let (core, mut requests) = handle();
            core.commands[0].try_send((Asked::Command(delete()), oneshot::channel().0)).unwrap();
            assert_eq!(core.ask(delete()).await, Outcome::Failed(Failure::Overloaded));
            requests.close();
            assert_eq!(core.ask(delete()).await, Outcome::Failed(Failure::NotReady));
        });
    }

    #[test]
    fn a_write_taken_and_never_answered_is_in_doubt() {
        run(async {
            let (core, mut requests) = handle();
            let (outcome, ()) = tokio::join!(core.ask(delete()), async { drop(requests.recv().await) });
            assert_eq!(outcome, Outcome::Failed(Failure::OutcomeUnknown { required: 2, acks: 0, coordinator: None }));
        });
    }

    #[test]
    fn a_read_dropped_by_the_driver_is_a_time_out() {
        run(async {
            let (core, mut requests) = handle();
            let command = Command { operation: Operation::Get, ..delete() };
            let (outcome, ()) = tokio::join!(core.ask(command), async { drop(requests.recv().await) });
            assert_eq!(outcome, Outcome::Failed(Failure::ReadTimeout { required: 2, answers: 0 }));
        });
    }
}
