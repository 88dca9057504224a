//! The driver's end of the way to the storage thread. What one turn appends goes together: a thread that is woken by
//! the first record of many would sync that one alone, and the others would wait for the next sync.

use super::flusher::{Append, FlushRequest, value_bytes};
use std::sync::mpsc::Sender;

/// Most records that wait for the end of a turn: a long turn need not be over before the disk has something to do.
const MAX_WAITING_RECORDS: usize = 256;

/// Most bytes of values that do.
const MAX_WAITING_BYTES: usize = 1 << 20;

/// Appends in order, and what must not overtake them.
pub(super) struct AppendQueue {
    flusher: Sender<FlushRequest>,
    waiting: Vec<Append>,
    bytes: usize,
}

impl AppendQueue {
    /// With nothing in it.
    pub(super) fn new(flusher: Sender<FlushRequest>) -> AppendQueue {
        AppendQueue { flusher, waiting: Vec::new(), bytes: 0 }
    }

    /// Adds one.
    pub(super) fn push(&mut self, append: Append) {
        self.bytes += value_bytes(&append.record);
        self.waiting.push(append);
        if self.waiting.len() >= MAX_WAITING_RECORDS || self.bytes >= MAX_WAITING_BYTES {
            self.hand_over();
        }
    }

    /// The turn is over. A storage thread that is gone has said why; the next turn of the driver ends the process.
    pub(super) fn hand_over(&mut self) {
        if !self.waiting.is_empty() {
            self.bytes = 0;
            let _ = self.flusher.send(FlushRequest::Appends(std::mem::take(&mut self.waiting)));
        }
    }

    /// Asks for something else, behind all appends so far. False if the storage thread is gone.
    pub(super) fn send(&mut self, request: FlushRequest) -> bool {
        self.hand_over();
        self.flusher.send(request).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{HybridTime, Key};
    use crate::causal::{Actor, Content, Dot, DotSet, Object, Version};
    use crate::ring::PartitionId;
    use crate::store::{Body, Record};
    use std::sync::mpsc::{Receiver, channel};

    fn append(id: u64, length: usize) -> Append {
        let dot = Dot { actor: Actor(7), counter: id };
        let content = Content {
            value: vec![0; length].into(),
            content_type: String::new(),
            metadata: Vec::new(),
            written_at: HybridTime(1),
            expires_at: None,
        };
        let object = Object { versions: vec![Version { dot, content }], leftover: DotSet::EMPTY };
        let body = Body::Object { key: Key::new("k").unwrap(), object, dots: DotSet::from(dot), minted: Some(id) };
        Append { shard: 0, id, record: Record { partition: PartitionId(0), body } }
    }

    /// The ids of each request that has come; none for one that is not appends.
    fn come(requests: &Receiver<FlushRequest>) -> Vec<Vec<u64>> {
        let ids = |request| match request {
            FlushRequest::Appends(appends) => appends.iter().map(|append| append.id).collect(),
            _ => Vec::new(),
        };
        requests.try_iter().map(ids).collect()
    }

    #[test]
    fn what_one_turn_appends_goes_together_and_nothing_overtakes_it() {
        let (sender, requests) = channel();
        let mut queue = AppendQueue::new(sender);
        (1..=3).for_each(|id| queue.push(append(id, 10)));
        assert!(come(&requests).is_empty());
        assert!(queue.send(FlushRequest::Resume { shard: 0 }));
        queue.push(append(4, 10));
        queue.hand_over();
        queue.hand_over();
        assert_eq!(come(&requests), [vec![1, 2, 3], vec![], vec![4]]);
        drop(requests);
        assert!(!queue.send(FlushRequest::Close));
    }

    #[test]
    fn a_long_turn_hands_over_before_it_ends() {
        let (sender, requests) = channel();
        let mut queue = AppendQueue::new(sender);
        (0..MAX_WAITING_RECORDS as u64 + 1).for_each(|id| queue.push(append(id, 10)));
        assert_eq!(come(&requests).iter().map(Vec::len).collect::<Vec<_>>(), [MAX_WAITING_RECORDS]);
        queue.push(append(1, MAX_WAITING_BYTES));
        assert_eq!(come(&requests).iter().map(Vec::len).collect::<Vec<_>>(), [2]);
    }
}
