//! Listing threads: pages of keys are made beside the driver and the storage thread.
//!
//! The storage thread gives the snapshot, between two batches; so every append that it has answered is in it.

use super::disk::RealDisk;
use super::flusher::FlushRequest;
use crate::ring::PartitionId;
use crate::store::{KeyLister, KeyPage, KeyQuery, KeySnapshot, ListError, Log};
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Threads: one waits for the device or the storage thread while the other merges.
const THREADS: usize = 2;

/// How often a page is begun again because compaction has taken a segment away. A compaction copies a whole segment,
/// and a page takes milliseconds: even one such time is rare.
const MAX_ATTEMPTS: usize = 4;

/// An answered request: its number, and the page if there is one.
pub(super) type ListAnswer = (u64, Option<KeyPage>);

/// A page to be made. As many wait as the node lets be under way.
#[derive(Debug)]
struct Request {
    id: u64,
    query: KeyQuery,
    partitions: BTreeSet<PartitionId>,
}

/// The driver's ends of the threads' channels. The threads end with this value.
pub(super) struct Listings {
    requests: Sender<Request>,
    answers: UnboundedReceiver<ListAnswer>,
}

/// What a thread has.
#[derive(Clone)]
struct Worker {
    lister: Arc<KeyLister<RealDisk>>,
    flusher: Sender<FlushRequest>,
    requests: Arc<Mutex<Receiver<Request>>>,
    answers: UnboundedSender<ListAnswer>,
}

impl Listings {
    /// Starts the threads.
    pub(super) fn start(disk: Arc<RealDisk>, flusher: &Sender<FlushRequest>) -> std::io::Result<Listings> {
        let (requests, waiting) = channel();
        let (answered, answers) = unbounded_channel();
        let requests_waiting = Arc::new(Mutex::new(waiting));
        let lister = Arc::new(KeyLister::new(disk));
        for number in 0..THREADS {
            let worker = Worker {
                lister: Arc::clone(&lister),
                flusher: flusher.clone(),
                requests: Arc::clone(&requests_waiting),
                answers: answered.clone(),
            };
            std::thread::Builder::new().name(format!("listings-{number}")).spawn(move || worker.run())?;
        }
        Ok(Listings { requests, answers })
    }

    /// Begins a page; the answer comes by [`Self::answered`].
    pub(super) fn begin(&self, id: u64, query: KeyQuery, partitions: Vec<PartitionId>) {
        // Threads that are gone have ended with the process.
        let _ = self.requests.send(Request { id, query, partitions: partitions.into_iter().collect() });
    }

    /// The next answer. Waits for ever if none is due. Cancel-safe.
    pub(super) async fn answered(&mut self) -> ListAnswer {
        match self.answers.recv().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    /// The next of the answers that are here.
    pub(super) fn answered_by_now(&mut self) -> Option<ListAnswer> {
        self.answers.try_recv().ok()
    }
}

impl Worker {
    fn run(self) {
        loop {
            // One thread waits for a request, the other for its turn to.
            let next = self.requests.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(request) = next else { return };
            let page = self.page(&request);
            if self.answers.send((request.id, page)).is_err() {
                return;
            }
        }
    }

    fn page(&self, Request { query, partitions, .. }: &Request) -> Option<KeyPage> {
        for _ in 0..MAX_ATTEMPTS {
            match self.lister.page(&self.snapshot()?, query, &|partition| partitions.contains(&partition)) {
                Ok(page) => return Some(page),
                Err(ListError::Stale) => {}
                Err(error) => {
                    tracing::error!(%error, "keys could not be listed");
                    return None;
                }
            }
        }
        tracing::warn!("a page was given up: its segments were compacted away each time");
        None
    }

    /// The store's keys of now; none if the storage thread is gone.
    fn snapshot(&self) -> Option<KeySnapshot> {
        let (answer, answers) = sync_channel(1);
        let work = Box::new(move |log: &mut Log<RealDisk>| {
            // Whoever asked waits for it.
            let _ = answer.send(log.key_snapshot());
        });
        self.flusher.send(FlushRequest::With(work)).ok()?;
        answers.recv().ok()
    }
}
