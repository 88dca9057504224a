//! What waits for one stream to a peer.

use super::limits::QUEUED_FRAME_BYTES;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Frames in order, bounded by bytes. The newest is dropped when it is full: the oldest is nearest to
/// being sent.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    ready: Notify,
    limit_bytes: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits.
    Kept,
    /// The queue was full.
    Dropped,
}

impl Queue {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { waiting: Mutex::default(), ready: Notify::new(), limit_bytes }
    }

    /// Adds a frame, if there is room or nothing else waits.
    pub(crate) fn push(&self, frame: Bytes) -> Pushed {
        let mut waiting = self.lock();
        let bytes = waiting.bytes.saturating_add(cost(&frame));
        if bytes > self.limit_bytes && !waiting.frames.is_empty() {
            return Pushed::Dropped;
        }
        waiting.bytes = bytes;
        waiting.frames.push_back(frame);
        drop(waiting);
        self.ready.notify_one();
        Pushed::Kept
    }

    /// Waits for frames and takes them, up to `max_bytes` but at least one.
    pub(crate) async fn take(&self, max_bytes: usize) -> Vec<Bytes> {
        loop {
            let taken = self.take_now(max_bytes);
            if !taken.is_empty() {
                return taken;
            }
            self.ready.notified().await;
        }
    }

    /// Drops everything and says how many frames that were.
    pub(crate) fn clear(&self) -> u64 {
        std::mem::take(&mut *self.lock()).frames.len() as u64
    }

    fn take_now(&self, max_bytes: usize) -> Vec<Bytes> {
        let mut waiting = self.lock();
        let (mut count, mut total) = (0, 0);
        for frame in &waiting.frames {
            total += frame.len();
            if count > 0 && total > max_bytes {
                break;
            }
            count += 1;
        }
        let taken: Vec<Bytes> = waiting.frames.drain(..count).collect();
        waiting.bytes -= taken.iter().map(cost).sum::<usize>();
        taken
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cost(frame: &Bytes) -> usize {
    frame.len() + QUEUED_FRAME_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_leave_in_order_and_at_least_one_at_a_time() {
        let queue = Queue::new(1 << 20);
        for byte in 0..5u8 {
            assert_eq!(queue.push(Bytes::from(vec![byte; 10])), Pushed::Kept);
        }
        let firsts = |taken: Vec<Bytes>| taken.iter().map(|frame| frame[0]).collect::<Vec<_>>();
        assert_eq!(firsts(queue.take(25).await), [0, 1]);
        assert_eq!(firsts(queue.take(1).await), [2]);
        assert_eq!(firsts(queue.take(1000).await), [3, 4]);
    }

    #[test]
    fn a_full_queue_drops_the_newest_and_takes_a_giant_only_alone() {
        let queue = Queue::new(100 + 2 * QUEUED_FRAME_BYTES);
        assert_eq!(queue.push(Bytes::from(vec![0; 50])), Pushed::Kept);
        assert_eq!(queue.push(Bytes::from(vec![0; 50])), Pushed::Kept);
        assert_eq!(queue.push(Bytes::from(vec![0; 1])), Pushed::Dropped);
        assert_eq!(queue.clear(), 2);
        assert_eq!(queue.push(Bytes::from(vec![0; 500])), Pushed::Kept);
        assert_eq!(queue.push(Bytes::from(vec![0; 1])), Pushed::Dropped);
    }
}
