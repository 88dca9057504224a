//! The dialling side: one task per peer dials it, for ever, and writes what waits for it.

use super::close::Close;
use super::counters::Counters;
use super::endpoint::{DialError, dial};
use super::frame::{FrameError, PREAMBLE_BYTES, Preamble, StreamKind};
use super::limits::{
    BULK_FROM_BYTES, BULK_QUEUE_BYTES, FIRST_BACK_OFF, FOREGROUND_QUEUE_BYTES, GOOD_CONNECTION, HANDSHAKE_TIMEOUT,
    LAST_BACK_OFF, STALE_DIAL, WRITE_BYTES,
};
use super::queue::{Pushed, Queue};
use crate::base::NodeId;
use bytes::{Bytes, BytesMut};
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, SendStream, WriteError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// A peer as the sender sees it: where it is, what waits for it.
pub(crate) struct Peer {
    node: NodeId,
    foreground: Queue,
    bulk: Queue,
    links: Arc<watch::Sender<Links>>,
    /// The address. Every change, even to the same one, ends the connection and dials.
    address: watch::Sender<String>,
    /// Ends a wait between dials, and a dial that leads nowhere.
    nudge: Notify,
}

/// The peers that have let us in, each with the epoch of its process.
pub(crate) type Links = BTreeMap<NodeId, u64>;

/// What a peer's task needs of its endpoint.
pub(crate) struct Dialler {
    pub(crate) endpoint: Endpoint,
    pub(crate) client: Arc<Mutex<ClientConfig>>,
    pub(crate) name: String,
    pub(crate) epoch: u64,
    pub(crate) counters: Arc<Counters>,
}

/// How urgent a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Somebody waits.
    Foreground,
    /// Long, or part of an exchange.
    Bulk,
}

/// Waits between dials, longer and longer.
struct BackOff(Duration);

impl Urgency {
    /// By length and kind: a long frame must not stand in the way of short ones.
    pub(crate) fn of(frame: &Bytes, kind: Urgency) -> Self {
        if frame.len() > BULK_FROM_BYTES { Urgency::Bulk } else { kind }
    }
}

impl Peer {
    pub(crate) fn new(node: NodeId, address: String, links: Arc<watch::Sender<Links>>) -> Arc<Self> {
        Arc::new(Self {
            node,
            foreground: Queue::new(FOREGROUND_QUEUE_BYTES),
            bulk: Queue::new(BULK_QUEUE_BYTES),
            links,
            address: watch::Sender::new(address),
            nudge: Notify::new(),
        })
    }

    pub(crate) fn push(&self, frame: Bytes, urgency: Urgency) -> Pushed {
        match urgency {
            Urgency::Foreground => self.foreground.push(frame),
            Urgency::Bulk => self.bulk.push(frame),
        }
    }

    /// The epoch of the process that has let us in; none while there is none.
    pub(crate) fn connected(&self) -> Option<u64> {
        self.links.borrow().get(&self.node).copied()
    }

    /// It lives there now. Dials at once if that is news.
    pub(crate) fn set_address(&self, address: String) {
        self.address.send_if_modified(|held| {
            let news = *held != address;
            *held = address;
            news
        });
        self.nudge.notify_one();
    }

    /// It restarted: what is connected is dead.
    pub(crate) fn redial(&self) {
        self.address.send_modify(|_| {});
    }

    /// It has dialled us, as the process of this epoch.
    pub(crate) fn heard(&self, epoch: u64) {
        match self.connected() {
            Some(connected) if connected == epoch => {}
            Some(_) => self.redial(),
            None => self.nudge.notify_one(),
        }
    }

    /// Dials and writes, for ever.
    pub(crate) async fn run(self: Arc<Self>, dialler: Dialler) {
        let mut back_off = BackOff(FIRST_BACK_OFF);
        let mut changes = self.address.subscribe();
        loop {
            let address = changes.borrow_and_update().clone();
            self.forget_nudge().await;
            tokio::select! {
                dialled = dialler.connect(&address) => match dialled {
                    Ok((connection, epoch)) => {
                        let since = Instant::now();
                        self.stay_connected(&dialler, &connection, epoch, &mut changes).await;
                        if since.elapsed() >= GOOD_CONNECTION {
                            back_off = BackOff(FIRST_BACK_OFF);
                        }
                    }
                    Err(error) => self.give_up_waiting(&dialler, &address, &error),
                },
                _ = changes.changed() => changes.mark_changed(),
                () = self.sign_of_life(Instant::now() + STALE_DIAL) => {
                    dialler.counters.abandoned_dials.add(1);
                    continue;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(back_off.next()) => {}
                () = self.nudge.notified() => {}
                _ = changes.changed() => changes.mark_changed(),
            }
        }
    }

    /// What was heard before a dial begins says nothing against it.
    async fn forget_nudge(&self) {
        tokio::select! {
            biased;
            () = self.nudge.notified() => {}
            () = std::future::ready(()) => {}
        }
    }

    /// The peer lives, and a dial begun before `stale` may have spoken to nobody: its first packet is repeated
    /// only after a while that doubles each time, and what the peer waits for would be as late.
    async fn sign_of_life(&self, stale: Instant) {
        self.nudge.notified().await;
        tokio::time::sleep_until(stale.into()).await;
    }

    /// What waited for a peer that cannot be reached is old by the time it can be.
    fn give_up_waiting(&self, dialler: &Dialler, address: &str, error: &DialError) {
        tracing::debug!(peer = %self.node, address, %error, "dial failed");
        dialler.counters.failed_dials.add(1);
        dialler.counters.dropped_unreachable.add(self.foreground.clear() + self.bulk.clear());
    }

    async fn stay_connected(
        &self,
        dialler: &Dialler,
        connection: &Connection,
        epoch: u64,
        changes: &mut watch::Receiver<String>,
    ) {
        dialler.counters.connected.add(1);
        self.links.send_modify(|links| {
            links.insert(self.node, epoch);
        });
        tracing::info!(peer = %self.node, address = %connection.remote_address(), "connected");
        tokio::select! {
            _ = dialler.write(connection, &self.foreground, Urgency::Foreground) => {}
            _ = dialler.write(connection, &self.bulk, Urgency::Bulk) => {}
            _ = changes.changed() => changes.mark_changed(),
            _ = connection.closed() => {}
        }
        let reason = connection.close_reason();
        if reason == Some(ConnectionError::Reset) {
            dialler.counters.resets.add(1);
            // Only a living process can say that it has forgotten us: no reason to wait.
            self.nudge.notify_one();
        }
        tracing::info!(peer = %self.node, ?reason, "disconnected");
        Close::Redialling.close(connection);
        self.links.send_modify(|links| {
            links.remove(&self.node);
        });
    }
}

impl Dialler {
    /// Dials and waits for the hello: in TLS 1.3 a refused certificate shows only after the handshake.
    async fn connect(&self, address: &str) -> Result<(Connection, u64), DialError> {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let connection = dial(&self.endpoint, &client, address, &self.name).await?;
        let hello = timeout(HANDSHAKE_TIMEOUT, read_hello(&connection)).await.map_err(|_| DialError::Timeout)??;
        Ok((connection, hello.epoch))
    }

    /// Writes what waits, as much as there is in one write, until the stream fails.
    async fn write(&self, connection: &Connection, queue: &Queue, urgency: Urgency) -> Result<(), WriteError> {
        let mut stream = self.open(connection, urgency).await?;
        loop {
            let frames = queue.take(WRITE_BYTES).await;
            self.counters.sent.add(frames.len() as u64);
            stream.write_chunk(joined(frames)).await?;
        }
    }

    async fn open(&self, connection: &Connection, urgency: Urgency) -> Result<SendStream, WriteError> {
        let mut stream = connection.open_uni().await?;
        let (kind, priority) = match urgency {
            Urgency::Foreground => (StreamKind::Foreground, 1),
            Urgency::Bulk => (StreamKind::Bulk, 0),
        };
        // Fails only for a stream that is closed, which the write below finds out.
        let _ = stream.set_priority(priority);
        stream.write_all(&Preamble { kind, epoch: self.epoch }.encode()).await?;
        Ok(stream)
    }
}

impl BackOff {
    /// The next wait: at least half of it, the rest by chance, so that nodes do not dial in step.
    fn next(&mut self) -> Duration {
        let full = self.0;
        self.0 = (full * 2).min(LAST_BACK_OFF);
        full.mul_f64(rand::random_range(0.5..=1.0))
    }
}

async fn read_hello(connection: &Connection) -> Result<Preamble, DialError> {
    let mut stream = connection.accept_uni().await?;
    let mut bytes = [0; PREAMBLE_BYTES];
    stream.read_exact(&mut bytes).await.map_err(|error| DialError::Hello(error.to_string()))?;
    let hello = Preamble::decode(bytes).map_err(|error| DialError::Hello(error.to_string()))?;
    match hello.kind {
        StreamKind::Hello => Ok(hello),
        _ => Err(DialError::Hello(FrameError::NotOurs.to_string())),
    }
}

/// One piece for one write: a stream that consists of many small pieces is slow to send.
fn joined(mut frames: Vec<Bytes>) -> Bytes {
    if frames.len() == 1 {
        return frames.pop().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(frames.iter().map(Bytes::len).sum());
    frames.iter().for_each(|frame| whole.extend_from_slice(frame));
    whole.freeze()
}
