//! Where messages go: to the shards that they are for.

use super::received::Received;
use crate::base::NodeId;
use crate::node::{Route, Sharding};
use crate::replication::Message;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// A bounded queue for each shard, in their order.
pub(crate) struct Inboxes {
    sharding: Sharding,
    queues: Vec<mpsc::Sender<Received>>,
}

/// Nobody listens any more.
pub(crate) struct Closed;

impl Inboxes {
    /// One queue of so many batches, for everything.
    pub(crate) fn one(batches: usize) -> (Inboxes, mpsc::Receiver<Received>) {
        let (queue, received) = mpsc::channel(batches);
        (Inboxes { sharding: Sharding::one(), queues: vec![queue] }, received)
    }

    /// A queue of so many batches for each shard.
    pub(crate) fn new(sharding: Sharding, batches: usize) -> (Inboxes, Vec<mpsc::Receiver<Received>>) {
        let (queues, received) = (0..sharding.shards()).map(|_| mpsc::channel(batches)).unzip();
        (Inboxes { sharding, queues }, received)
    }

    /// Hands over messages of one peer; each shard gets its own in the order they came in. `share` is theirs together.
    pub(crate) async fn deliver(
        &self,
        from: NodeId,
        messages: Vec<Message>,
        share: Arc<OwnedSemaphorePermit>,
    ) -> Result<(), Closed> {
        if let [queue] = self.queues.as_slice() {
            return queue.send(Received { from, messages, _share: share }).await.map_err(|_| Closed);
        }
        let mut sorted: Vec<Vec<Message>> = vec![Vec::new(); self.queues.len()];
        for message in messages {
            match self.sharding.route_message(&message) {
                Route::One(shard) => {
                    if let Some(own) = sorted.get_mut(shard) {
                        own.push(message);
                    }
                }
                Route::All => sorted.iter_mut().for_each(|own| own.push(message.clone())),
            }
        }
        for (queue, messages) in self.queues.iter().zip(sorted).filter(|(_, messages)| !messages.is_empty()) {
            queue.send(Received { from, messages, _share: Arc::clone(&share) }).await.map_err(|_| Closed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::{Refusal, StoreReply};
    use crate::ring::Partitioning;
    use tokio::sync::Semaphore;

    fn replicated(request: u64) -> Message {
        Message::Replicated { request, reply: StoreReply::Refused(Refusal::DiskFull) }
    }

    #[test]
    fn each_shard_gets_its_own_in_their_order_and_the_share_goes_back_with_the_last() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (inboxes, mut received) = Inboxes::new(Sharding::new(Partitioning::default(), 2), 1);
        let budget = Arc::new(Semaphore::new(10));
        let share = Arc::new(Arc::clone(&budget).try_acquire_many_owned(10).unwrap());
        let query = Message::ClockQuery { session: 1, clocks: Vec::new() };
        let messages = vec![replicated(4), query.clone(), replicated(3), replicated(2)];
        assert!(runtime.block_on(inboxes.deliver(NodeId(7), messages, share)).is_ok());
        let first = received[0].try_recv().unwrap();
        assert_eq!((first.from, first.messages), (NodeId(7), vec![replicated(4), query.clone(), replicated(2)]));
        drop(first._share);
        assert_eq!(budget.available_permits(), 0);
        assert_eq!(received[1].try_recv().unwrap().messages, [query, replicated(3)]);
        assert_eq!(budget.available_permits(), 10);
    }
}
