//! The storage thread: many appends, one fdatasync.
//!
//! It flushes what is queued, and repeats: a lone write pays one fdatasync, many share one, and no timer
//! waits for company.

use super::disk::RealDisk;
use crate::causal::Actor;
use crate::node::StoreAnswer;
use crate::store::{AppendError, Body, Log, Record};
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use tokio::sync::mpsc::UnboundedSender;

/// Most records in one write: bounds the time until the first of them is answered.
const MAX_BATCH_RECORDS: usize = 4096;

/// Most bytes in one write: well below a segment, so that a backlog of large records is written in
/// pieces instead of being refused as too long.
const MAX_BATCH_BYTES: usize = 16 << 20;

/// Something to do with the log.
pub(super) type LogWork = Box<dyn FnOnce(&mut Log<RealDisk>) + Send>;

/// What the driver asks of the storage thread.
pub(super) enum FlushRequest {
    /// Make this durable.
    Append { shard: usize, id: u64, record: Record },
    /// The shard has noted its failed appends; those after this are new.
    Resume { shard: usize },
    /// Go on under this actor.
    Renew(Actor),
    /// Do this with the log, between two batches.
    With(LogWork),
    /// A clean end.
    Close,
}

/// What it says back.
#[derive(Debug)]
pub(super) enum Flushed {
    /// Answers, in the order of the requests.
    Answers(Vec<(usize, u64, StoreAnswer)>),
    /// Behind the answers to all appends before the request: the actor now, or none if the disk is full.
    Renewed(Option<Actor>),
    /// A write or fdatasync failed: nothing is known any more, and the process must end (PROTOCOL R17).
    Poisoned(String),
    /// The log is closed.
    Closed(Result<(), String>),
}

/// Starts the thread that owns the log. It ends after `Close`, or when the driver is gone.
pub(super) fn start(log: Log<RealDisk>, answers: UnboundedSender<Flushed>) -> std::io::Result<Sender<FlushRequest>> {
    let (sender, requests) = channel();
    std::thread::Builder::new().name("flusher".into()).spawn(move || run(log, &requests, &answers))?;
    Ok(sender)
}

/// Appends of one batch: whose they are, and the records beside.
#[derive(Default)]
struct Batch {
    owners: Vec<(usize, u64)>,
    records: Vec<Record>,
    bytes: usize,
}

fn run(mut log: Log<RealDisk>, requests: &Receiver<FlushRequest>, answers: &UnboundedSender<Flushed>) {
    // Shards whose appends fail until they resume: what they built on is lost (PROTOCOL R3).
    let mut failing: BTreeSet<usize> = BTreeSet::new();
    while let Ok(first) = requests.recv() {
        let mut batch = Batch::default();
        let mut failed = Vec::new();
        let mut next = Ok(first);
        let mut closing = false;
        let (mut work, mut renewal) = (None, None);
        loop {
            match next {
                Ok(FlushRequest::Append { shard, id, .. }) if failing.contains(&shard) => {
                    failed.push((shard, id, StoreAnswer::AppendFailed));
                }
                Ok(FlushRequest::Append { shard, id, record }) => {
                    batch.owners.push((shard, id));
                    batch.bytes += value_bytes(&record);
                    batch.records.push(record);
                }
                Ok(FlushRequest::Resume { shard }) => {
                    failing.remove(&shard);
                }
                Ok(FlushRequest::Renew(actor)) => renewal = Some(actor),
                Ok(FlushRequest::With(asked)) => work = Some(asked),
                Ok(FlushRequest::Close) => closing = true,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
            let full = batch.records.len() >= MAX_BATCH_RECORDS || batch.bytes >= MAX_BATCH_BYTES;
            if closing || work.is_some() || renewal.is_some() || full {
                break;
            }
            next = requests.try_recv();
        }
        let flushed = match flush(&mut log, batch, &mut failing) {
            Ok(mut done) => {
                done.extend(failed);
                Flushed::Answers(done)
            }
            Err(poisoned) => {
                let _ = answers.send(Flushed::Poisoned(poisoned));
                return;
            }
        };
        if answers.send(flushed).is_err() {
            return;
        }
        // After the answers to all appends before it: whoever asks the node afterwards finds them taken in.
        if let Some(work) = work {
            work(&mut log);
            if let Some(error) = log.failure() {
                let _ = answers.send(Flushed::Poisoned(error.to_string()));
                return;
            }
        }
        if let Some(actor) = renewal
            && (answers.send(renew(&mut log, actor)).is_err() || log.failure().is_some())
        {
            return;
        }
        if closing {
            let closed = log.close().map_err(|error| error.to_string());
            let _ = answers.send(Flushed::Closed(closed));
            return;
        }
    }
}

fn renew(log: &mut Log<RealDisk>, actor: Actor) -> Flushed {
    match log.renew(actor) {
        Ok(()) => Flushed::Renewed(Some(log.actor())),
        Err(AppendError::Full) => Flushed::Renewed(None),
        Err(AppendError::Poisoned(error)) => Flushed::Poisoned(error.to_string()),
    }
}

/// What makes a record long: the values of its versions.
fn value_bytes(record: &Record) -> usize {
    let versions = match &record.body {
        Body::Object { object, .. } => &object.versions,
        Body::Hint(hint) => &hint.state.versions,
        _ => return 0,
    };
    versions.iter().map(|version| version.content.value.len()).sum()
}

fn flush(
    log: &mut Log<RealDisk>,
    batch: Batch,
    failing: &mut BTreeSet<usize>,
) -> Result<Vec<(usize, u64, StoreAnswer)>, String> {
    if batch.records.is_empty() {
        return Ok(Vec::new());
    }
    match log.append(&batch.records) {
        Ok(places) => {
            let owned = batch.owners.into_iter().zip(places);
            Ok(owned.map(|((s, id), (place, sequence))| (s, id, StoreAnswer::Appended { place, sequence })).collect())
        }
        Err(AppendError::Poisoned(error)) => Err(error.to_string()),
        Err(_) => {
            failing.extend(batch.owners.iter().map(|(shard, _)| *shard));
            Ok(batch.owners.into_iter().map(|(shard, id)| (shard, id, StoreAnswer::AppendFailed)).collect())
        }
    }
}
