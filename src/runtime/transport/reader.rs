//! The dialled side of a connection: reads a peer's streams, decodes, hands over whole batches.

use super::close::Close;
use super::counters::Counters;
use super::frame::{Decoder, FrameError, PREAMBLE_BYTES, Preamble, StreamKind};
use super::inboxes::{Closed, Inboxes};
use super::limits::{BULK_RECEIVED_BYTES, FOREGROUND_RECEIVED_BYTES, HANDSHAKE_TIMEOUT};
use crate::base::NodeId;
use crate::replication::Message;
use quinn::{Connection, RecvStream};
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What all readers of an endpoint share.
pub(crate) struct Reading {
    pub(crate) epoch: u64,
    pub(crate) max_frame_bytes: usize,
    pub(crate) counters: Arc<Counters>,
    pub(crate) inboxes: Inboxes,
    /// Called with every epoch a peer names.
    pub(crate) heard: Box<dyn Fn(NodeId, u64) + Send + Sync>,
    foreground: Arc<Semaphore>,
    bulk: Arc<Semaphore>,
}

/// Why a stream is read no more.
enum End {
    /// The stream or the connection ended, or nobody listens any more.
    Over,
    /// The peer is mad.
    Malformed(FrameError),
}

impl Reading {
    pub(crate) fn new(
        epoch: u64,
        max_frame_bytes: usize,
        counters: Arc<Counters>,
        inboxes: Inboxes,
        heard: Box<dyn Fn(NodeId, u64) + Send + Sync>,
    ) -> Self {
        let foreground = Arc::new(Semaphore::new(FOREGROUND_RECEIVED_BYTES));
        let bulk = Arc::new(Semaphore::new(BULK_RECEIVED_BYTES));
        Self { epoch, max_frame_bytes, counters, inboxes, heard, foreground, bulk }
    }

    /// Reads a connection until it ends. Says hello first: the dialler sends nothing before that.
    pub(crate) async fn serve(self: Arc<Self>, from: NodeId, connection: Connection) {
        if self.say_hello(&connection).await.is_err() {
            return;
        }
        let mut streams = JoinSet::new();
        loop {
            tokio::select! {
                stream = connection.accept_uni() => match stream {
                    Ok(stream) => drop(streams.spawn(Arc::clone(&self).read(from, stream))),
                    Err(_) => break,
                },
                Some(ended) = streams.join_next() => if let Ok(End::Malformed(error)) = ended {
                    self.counters.malformed.add(1);
                    tracing::warn!(peer = %from, %error, "disconnected: what it sends is malformed");
                    Close::Malformed.close(&connection);
                    return;
                },
            }
        }
        // The connection ended in good order: what its streams still hold is read to the end.
        while streams.join_next().await.is_some() {}
    }

    async fn say_hello(&self, connection: &Connection) -> Result<(), quinn::WriteError> {
        let mut stream = connection.open_uni().await?;
        stream.write_all(&Preamble { kind: StreamKind::Hello, epoch: self.epoch }.encode()).await?;
        // Fails only if the stream was reset already; then so is the connection.
        let _ = stream.finish();
        Ok(())
    }

    async fn read(self: Arc<Self>, from: NodeId, mut stream: RecvStream) -> End {
        let preamble = match read_preamble(&mut stream).await {
            Ok(preamble) => preamble,
            Err(end) => return end,
        };
        let budget = match preamble.kind {
            StreamKind::Foreground => (&self.foreground, FOREGROUND_RECEIVED_BYTES),
            StreamKind::Bulk => (&self.bulk, BULK_RECEIVED_BYTES),
            StreamKind::Hello => return End::Malformed(FrameError::NotOurs),
        };
        (self.heard)(from, preamble.epoch);
        let mut decoder = Decoder::new(self.max_frame_bytes);
        loop {
            match stream.read_buf(&mut decoder.room()).await {
                Ok(0) | Err(_) => return End::Over,
                Ok(_) => {}
            }
            let (messages, bytes, malformed) = drain(&mut decoder);
            if !messages.is_empty() && self.deliver(from, messages, bytes.min(budget.1), budget.0).await.is_err() {
                return End::Over;
            }
            if let Some(error) = malformed {
                return End::Malformed(error);
            }
        }
    }

    async fn deliver(
        &self,
        from: NodeId,
        messages: Vec<Message>,
        bytes: usize,
        budget: &Arc<Semaphore>,
    ) -> Result<(), Closed> {
        self.counters.received.add(messages.len() as u64);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let share = Arc::clone(budget).acquire_many_owned(permits).await.map_err(|_| Closed)?;
        self.inboxes.deliver(from, messages, Arc::new(share)).await
    }
}

async fn read_preamble(stream: &mut RecvStream) -> Result<Preamble, End> {
    let mut bytes = [0; PREAMBLE_BYTES];
    match timeout(HANDSHAKE_TIMEOUT, stream.read_exact(&mut bytes)).await {
        Ok(Ok(_)) => Preamble::decode(bytes).map_err(End::Malformed),
        Ok(Err(_)) => Err(End::Over),
        Err(_) => Err(End::Malformed(FrameError::NotOurs)),
    }
}

/// Every whole message there is, the bytes they took, and what is wrong with the next one.
fn drain(decoder: &mut Decoder) -> (Vec<Message>, usize, Option<FrameError>) {
    let (mut messages, mut total) = (Vec::new(), 0);
    loop {
        match decoder.next_message() {
            Ok(Some((message, bytes))) => {
                messages.push(message);
                total += bytes;
            }
            Ok(None) => return (messages, total, None),
            Err(error) => return (messages, total, Some(error)),
        }
    }
}
