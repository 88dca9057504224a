//! The failure detector's own socket: small datagrams that data traffic cannot hold up.

use super::certificates::{TlsFiles, cluster_name};
use super::transport::{
    Acceptor, Close, Counters, DialError, EndpointKeys, Purpose, TransportCounters, TransportError, advice, dial,
    limits, open,
};
use crate::base::{ClusterId, NodeId};
use crate::membership::{MAX_DATAGRAM_BYTES, MAX_FULL_SYNC_BYTES};
use bytes::Bytes;
use quinn::{ClientConfig, Connection, Endpoint};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// Addresses with a connection or a dial under way. Beyond, the one unused for longest makes room: of more
/// members than this, each is dialled anew when its turn to be probed comes.
const MAX_CONTACTS: usize = 256;

/// Datagrams that wait for a dial to end. The oldest goes first: a ping is worth less with every second.
const PENDING_DATAGRAMS: usize = 16;

/// Full syncs that wait for a dial to end: a newer one says all that an older one did.
const PENDING_FULL_SYNCS: usize = 1;

/// What may wait for the detector; further datagrams are dropped, as any network might.
const RECEIVED: usize = 1024;

/// A connection not used for so long is closed.
const UNUSED: Duration = Duration::from_secs(60);

/// Sending or receiving one full sync.
const FULL_SYNC_TIMEOUT: Duration = Duration::from_secs(5);

/// The detector's endpoint. Sending never waits; everything is best effort.
pub struct DetectorEndpoint {
    dialler: Arc<Dialler>,
    contacts: Mutex<Contacts>,
    heard: mpsc::Receiver<Heard>,
    accepting: AbortHandle,
}

/// Something another node of the cluster said. `from` is where an answer reaches it: its endpoint dials
/// from the socket it listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// In a datagram.
    Datagram {
        /// Who sent it, by its certificate.
        sender: NodeId,
        /// The sender's `host:port`.
        from: String,
        /// At most [`MAX_DATAGRAM_BYTES`], anything at all.
        bytes: Bytes,
    },
    /// Over a stream of its own.
    FullSync {
        /// Who sent it, by its certificate.
        sender: NodeId,
        /// The sender's `host:port`.
        from: String,
        /// At most [`MAX_FULL_SYNC_BYTES`], anything at all.
        bytes: Bytes,
    },
}

/// What is to be said.
enum Said {
    Datagram(Bytes),
    FullSync(Bytes),
}

/// What every dial needs.
struct Dialler {
    endpoint: Endpoint,
    client: ClientConfig,
    name: String,
    counters: Arc<Counters>,
}

/// The addresses spoken to of late.
#[derive(Default)]
struct Contacts {
    by_address: BTreeMap<String, Contact>,
    /// Counts the sends.
    clock: u64,
}

struct Contact {
    outbox: Arc<Outbox>,
    task: AbortHandle,
    last_used: u64,
}

/// What waits for one address.
#[derive(Default)]
struct Outbox {
    waiting: Mutex<Waiting>,
    ready: Notify,
}

#[derive(Default)]
struct Waiting {
    datagrams: VecDeque<Bytes>,
    full_syncs: VecDeque<Bytes>,
}

impl DetectorEndpoint {
    /// Opens the socket and listens. `tls` names this node; the keys are random and come from the data
    /// directory, the same at every start. Must be called within a tokio runtime.
    pub fn bind(
        cluster: ClusterId,
        address: SocketAddr,
        tls: &TlsFiles,
        reset_key: [u8; 64],
        connection_key: u64,
    ) -> Result<Self, TransportError> {
        let node = tls.node()?;
        tls.check(node, cluster)?;
        let opened = open(address, tls, &EndpointKeys { reset_key, connection_key }, Purpose::Detection)?;
        let counters = Arc::new(Counters::default());
        let (sender, heard) = mpsc::channel(RECEIVED);
        let listener = Arc::new(Listener { heard: sender, counters: Arc::clone(&counters) });
        let serve = move |peer, connection| Arc::clone(&listener).serve(peer, connection);
        let acceptor = Acceptor::new(node, cluster, Arc::clone(&counters), tls.banned());
        let accepting = tokio::spawn(acceptor.run(opened.endpoint.clone(), serve)).abort_handle();
        let name = cluster_name(cluster);
        let dialler = Dialler { endpoint: opened.endpoint, client: opened.client, name, counters };
        Ok(Self { dialler: Arc::new(dialler), contacts: Mutex::default(), heard, accepting })
    }

    /// What comes next; none once the endpoint is closed. Cancel-safe.
    pub async fn heard(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }

    /// Where it listens.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.dialler.endpoint.local_addr()
    }

    /// Sends a datagram of at most [`MAX_DATAGRAM_BYTES`] to `host:port`; dials first if it must.
    pub fn send(&self, address: String, bytes: Bytes) {
        self.post(address, Said::Datagram(bytes));
    }

    /// Sends one message of at most [`MAX_FULL_SYNC_BYTES`] over a stream of its own.
    pub fn send_full(&self, address: String, bytes: Bytes) {
        self.post(address, Said::FullSync(bytes));
    }

    /// What it has counted.
    pub fn counters(&self) -> TransportCounters {
        self.dialler.counters.snapshot()
    }

    /// Tells the peers and closes.
    pub async fn close(self) {
        self.stop();
        // A peer that does not hear of it finds out by itself.
        let _ = timeout(limits::CLOSE_TIMEOUT, self.dialler.endpoint.wait_idle()).await;
    }

    fn post(&self, address: String, said: Said) {
        if said.is_too_long() {
            return self.dialler.counters.dropped_too_long.add(1);
        }
        let mut contacts = lock(&self.contacts);
        contacts.clock += 1;
        let now = contacts.clock;
        if !contacts.by_address.contains_key(&address) {
            contacts.make_room();
        }
        let contact = contacts.by_address.entry(address).or_insert_with_key(|address| {
            let outbox = Arc::new(Outbox::default());
            let task = Arc::clone(&self.dialler).run(address.clone(), Arc::clone(&outbox));
            Contact { outbox, task: tokio::spawn(task).abort_handle(), last_used: now }
        });
        contact.last_used = now;
        self.dialler.counters.dropped_full.add(contact.outbox.post(said));
    }

    fn stop(&self) {
        self.dialler.endpoint.close(Close::Stopping.code(), Close::Stopping.words());
        self.accepting.abort();
        std::mem::take(&mut *lock(&self.contacts)).by_address.values().for_each(|contact| contact.task.abort());
    }
}

impl Drop for DetectorEndpoint {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Said {
    fn is_too_long(&self) -> bool {
        match self {
            Said::Datagram(bytes) => bytes.len() > MAX_DATAGRAM_BYTES,
            Said::FullSync(bytes) => bytes.len() > MAX_FULL_SYNC_BYTES,
        }
    }
}

impl Contacts {
    fn make_room(&mut self) {
        if self.by_address.len() < MAX_CONTACTS {
            return;
        }
        let oldest = self.by_address.iter().min_by_key(|(_, contact)| contact.last_used);
        let Some(oldest) = oldest.map(|(address, _)| address.clone()) else { return };
        if let Some(contact) = self.by_address.remove(&oldest) {
            contact.task.abort();
        }
    }
}

impl Outbox {
    /// Keeps the newest; returns how many older ones made room.
    fn post(&self, said: Said) -> u64 {
        let mut waiting = lock(&self.waiting);
        let (queue, bytes, limit) = match said {
            Said::Datagram(bytes) => (&mut waiting.datagrams, bytes, PENDING_DATAGRAMS),
            Said::FullSync(bytes) => (&mut waiting.full_syncs, bytes, PENDING_FULL_SYNCS),
        };
        queue.push_back(bytes);
        let dropped = queue.len().saturating_sub(limit);
        queue.drain(..dropped);
        drop(waiting);
        self.ready.notify_one();
        dropped as u64
    }

    fn take(&self) -> Waiting {
        std::mem::take(&mut *lock(&self.waiting))
    }

    fn is_empty(&self) -> bool {
        let waiting = lock(&self.waiting);
        waiting.datagrams.is_empty() && waiting.full_syncs.is_empty()
    }
}

impl Dialler {
    /// Serves one address: dials when something waits, sends, closes what is not used.
    async fn run(self: Arc<Self>, address: String, outbox: Arc<Outbox>) {
        let mut told = None;
        loop {
            while outbox.is_empty() {
                outbox.ready.notified().await;
            }
            match dial(&self.endpoint, &self.client, &address, &self.name).await {
                Ok(connection) => {
                    self.counters.connected.add(1);
                    self.send_while_used(&connection, &outbox).await;
                    tell(&mut told, &address, connection.close_reason().as_ref());
                }
                Err(error) => {
                    tracing::debug!(address, %error, "detector dial failed");
                    if let DialError::Connection(error) = &error {
                        tell(&mut told, &address, Some(error));
                    }
                    self.counters.failed_dials.add(1);
                    let old = outbox.take();
                    self.counters.dropped_unreachable.add((old.datagrams.len() + old.full_syncs.len()) as u64);
                }
            }
        }
    }

    async fn send_while_used(&self, connection: &Connection, outbox: &Outbox) {
        let mut syncs = JoinSet::new();
        loop {
            self.send_waiting(connection, outbox, &mut syncs);
            tokio::select! {
                () = outbox.ready.notified() => {}
                _ = connection.closed() => return,
                () = tokio::time::sleep(UNUSED) => return Close::Idle.close(connection),
            }
        }
    }

    /// Never waits: datagrams go to QUIC's own bounded buffer, a full sync to a task, one at a time.
    fn send_waiting(&self, connection: &Connection, outbox: &Outbox, syncs: &mut JoinSet<()>) {
        let waiting = outbox.take();
        for bytes in waiting.datagrams {
            match connection.send_datagram(bytes) {
                Ok(()) => self.counters.sent.add(1),
                Err(_) => self.counters.dropped_unreachable.add(1),
            }
        }
        while syncs.try_join_next().is_some() {}
        for bytes in waiting.full_syncs {
            if syncs.is_empty() {
                self.counters.sent.add(1);
                syncs.spawn(send_full_sync(connection.clone(), bytes));
            } else {
                self.counters.dropped_full.add(1);
            }
        }
    }
}

/// Whoever is refused for good hears so once for each address and reason, with what to do.
fn tell(told: &mut Option<&'static str>, address: &str, ended: Option<&quinn::ConnectionError>) {
    let Some(advice) = ended.and_then(advice) else { return };
    if told.replace(advice) != Some(advice) {
        tracing::warn!(address, "refused: {advice}");
    }
}

async fn send_full_sync(connection: Connection, bytes: Bytes) {
    let sending = async {
        let mut stream = connection.open_uni().await?;
        stream.write_chunk(bytes).await?;
        // Fails only if the peer has stopped the stream: it wants no more of it.
        let _ = stream.finish();
        let _ = stream.stopped().await;
        Ok::<(), quinn::WriteError>(())
    };
    match timeout(FULL_SYNC_TIMEOUT, sending).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "full sync not sent"),
        Err(_) => tracing::debug!("full sync not sent in time"),
    }
}

/// The dialled side.
struct Listener {
    heard: mpsc::Sender<Heard>,
    counters: Arc<Counters>,
}

impl Listener {
    async fn serve(self: Arc<Self>, sender: NodeId, connection: Connection) {
        let mut syncs = JoinSet::new();
        loop {
            let said = tokio::select! {
                datagram = connection.read_datagram() => datagram.map(Said::Datagram),
                stream = connection.accept_uni() => match stream {
                    Ok(stream) => {
                        syncs.spawn(read_full_sync(stream));
                        continue;
                    }
                    Err(error) => Err(error),
                },
                Some(sync) = syncs.join_next() => match sync {
                    Ok(Some(bytes)) => Ok(Said::FullSync(bytes)),
                    _ => {
                        self.counters.malformed.add(1);
                        return Close::Malformed.close(&connection);
                    }
                },
            };
            let Ok(said) = said else { return };
            if said.is_too_long() {
                self.counters.malformed.add(1);
                return Close::Malformed.close(&connection);
            }
            let from = plain(connection.remote_address());
            self.pass(match said {
                Said::Datagram(bytes) => Heard::Datagram { sender, from, bytes },
                Said::FullSync(bytes) => Heard::FullSync { sender, from, bytes },
            });
        }
    }

    fn pass(&self, heard: Heard) {
        match self.heard.try_send(heard) {
            Ok(()) => self.counters.received.add(1),
            Err(_) => self.counters.dropped_unread.add(1),
        }
    }
}

/// As the others write it: an IPv4 address seen by an IPv6 socket is still that IPv4 address.
fn plain(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}

/// The whole message; none if it is too long, too slow or cut off.
async fn read_full_sync(mut stream: quinn::RecvStream) -> Option<Bytes> {
    let whole = timeout(FULL_SYNC_TIMEOUT, stream.read_to_end(MAX_FULL_SYNC_BYTES)).await.ok()?;
    whole.ok().map(Bytes::from)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
