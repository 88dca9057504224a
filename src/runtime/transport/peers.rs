//! The transport: every peer of this node.

use super::accept::{Acceptor, Guests};
use super::close::Close;
use super::counters::{Counters, TransportCounters};
use super::endpoint::{EndpointKeys, Purpose, TransportError, configs, open};
use super::frame::Encoder;
use super::inboxes::Inboxes;
use super::limits::{CLOSE_TIMEOUT, RECEIVED_BATCHES};
use super::peer::{Dialler, Links, Peer, Urgency};
use super::queue::Pushed;
use super::reader::Reading;
use super::received::Received;
use crate::base::{ClusterId, NodeId};
use crate::node::Sharding;
use crate::replication::Message;
use crate::runtime::certificates::{CertificateError, TlsFiles, node_name};
use bytes::Bytes;
use quinn::{ClientConfig, Endpoint};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

/// How to open a transport.
pub struct TransportConfig {
    /// Who this node is.
    pub node: NodeId,
    /// Of which cluster; nodes of others are refused.
    pub cluster: ClusterId,
    /// Where to listen; port 0 lets the kernel choose.
    pub address: SocketAddr,
    /// How it proves that.
    pub tls: TlsFiles,
    /// Random, from the data directory: the same at every start.
    pub reset_key: [u8; 64],
    /// Likewise.
    pub connection_key: u64,
    /// This process: random, new at every start.
    pub epoch: u64,
    /// Longest message sent or taken, in bytes of its encoding ([`super::limits::max_frame_bytes`]).
    /// Equal on all nodes, else the longest objects do not reach all.
    pub max_frame_bytes: usize,
}

/// The data endpoint of a node. Sending never waits; everything is best effort.
pub struct Transport {
    endpoint: Endpoint,
    node: NodeId,
    cluster: ClusterId,
    epoch: u64,
    max_frame_bytes: usize,
    counters: Arc<Counters>,
    client: Arc<Mutex<ClientConfig>>,
    encoder: Mutex<Encoder>,
    peers: Peers,
    links: Arc<watch::Sender<Links>>,
    banned: Arc<BTreeSet<NodeId>>,
    guests: Arc<OnceLock<Guests>>,
    accepting: AbortHandle,
}

/// Those that have an address. The members are who they are: as many as membership lets in.
type Peers = Arc<Mutex<BTreeMap<NodeId, Known>>>;

/// A peer and its task.
struct Known {
    peer: Arc<Peer>,
    task: AbortHandle,
}

impl Transport {
    /// Opens the socket and listens. Must be called within a tokio runtime, which then does all the work.
    /// What comes is read from the receiver; while nobody reads, peers are held up and nothing is lost
    /// but what overflows at their side.
    pub fn bind(config: TransportConfig) -> Result<(Self, mpsc::Receiver<Received>), TransportError> {
        let (inboxes, received) = Inboxes::one(RECEIVED_BATCHES);
        Ok((Self::bind_with(config, inboxes)?, received))
    }

    /// The same with a receiver for each shard, in their order.
    pub fn bind_sharded(
        config: TransportConfig,
        sharding: Sharding,
    ) -> Result<(Self, Vec<mpsc::Receiver<Received>>), TransportError> {
        let (inboxes, received) = Inboxes::new(sharding, RECEIVED_BATCHES);
        Ok((Self::bind_with(config, inboxes)?, received))
    }

    fn bind_with(config: TransportConfig, inboxes: Inboxes) -> Result<Self, TransportError> {
        let TransportConfig { node, cluster, tls, epoch, max_frame_bytes, .. } = config;
        tls.check(node, cluster)?;
        let keys = EndpointKeys { reset_key: config.reset_key, connection_key: config.connection_key };
        let opened = open(config.address, &tls, &keys, Purpose::Data)?;
        let counters = Arc::new(Counters::default());
        let peers = Peers::default();
        let known = Arc::clone(&peers);
        let heard = move |peer: NodeId, epoch| {
            if let Some(known) = lock(&known).get(&peer) {
                known.peer.heard(epoch);
            }
        };
        let reading = Reading::new(epoch, max_frame_bytes, Arc::clone(&counters), inboxes, Box::new(heard));
        let reading = Arc::new(reading);
        let serve = move |peer, connection| Arc::clone(&reading).serve(peer, connection);
        let acceptor = Acceptor::new(node, cluster, Arc::clone(&counters), tls.banned());
        let (banned, guests) = (Arc::clone(tls.banned()), Arc::clone(acceptor.guests()));
        let accepting = tokio::spawn(acceptor.run(opened.endpoint.clone(), serve)).abort_handle();
        let transport = Self {
            endpoint: opened.endpoint,
            node,
            cluster,
            epoch,
            max_frame_bytes,
            counters,
            client: Arc::new(Mutex::new(opened.client)),
            encoder: Mutex::default(),
            peers,
            links: Arc::new(watch::Sender::default()),
            banned,
            guests,
            accepting,
        };
        Ok(transport)
    }

    /// From now on, who has no certificate and asks for one is this one's to serve. The first call counts.
    pub(crate) fn welcome(&self, guests: Guests) {
        // A second one would be a second desk of one node: there is none.
        let _ = self.guests.set(guests);
    }

    /// Where it listens.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// A peer lives at `host:port`, resolved anew at each dial. Dials now and, until the peer is
    /// forgotten, for ever. An unchanged address changes nothing but the wait before the next dial; this
    /// node's own is passed over, and so is that of a banned one.
    pub fn set_address(&self, node: NodeId, address: String) {
        if node == self.node || self.banned.contains(&node) {
            return;
        }
        let mut peers = lock(&self.peers);
        if let Some(known) = peers.get(&node) {
            return known.peer.set_address(address);
        }
        let peer = Peer::new(node, address, Arc::clone(&self.links));
        let task = tokio::spawn(Arc::clone(&peer).run(self.dialler(node))).abort_handle();
        peers.insert(node, Known { peer, task });
    }

    /// This member restarted: its connection is dead, whether it shows already or not. Dials now. (A
    /// restarted peer that dials us is noticed without this, by its epoch.)
    pub fn kick(&self, node: NodeId) {
        if let Some(known) = lock(&self.peers).get(&node) {
            known.peer.redial();
        }
    }

    /// Dials this peer no more and drops what waits for it.
    pub fn forget(&self, node: NodeId) {
        if let Some(known) = lock(&self.peers).remove(&node) {
            known.task.abort();
            self.links.send_modify(|links| {
                links.remove(&node);
            });
        }
    }

    /// Sends to each of these, best effort: the message is encoded once, waits in each receiver's
    /// bounded queue, and is dropped, and counted, where it cannot.
    pub fn send(&self, to: &[NodeId], message: &Message) {
        let encoded = lock(&self.encoder).encode(message, self.max_frame_bytes);
        let frame = match encoded {
            Ok(frame) => frame,
            Err(error) => {
                tracing::error!(%error, "a message cannot be sent");
                return self.counters.dropped_too_long.add(to.len() as u64);
            }
        };
        let urgency = Urgency::of(&frame, usual_urgency(message));
        let peers = lock(&self.peers);
        for node in to {
            self.push(peers.get(node), frame.clone(), urgency);
        }
    }

    /// The peers that have let us in, each with the epoch of its process: what is sent to them now will
    /// most likely arrive. Changes as peers come and go.
    pub fn connected(&self) -> watch::Receiver<BTreeMap<NodeId, u64>> {
        self.links.subscribe()
    }

    /// What it has counted.
    pub fn counters(&self) -> TransportCounters {
        self.counters.snapshot()
    }

    /// New certificates, for connections from now on; those that are up stay up.
    pub fn replace_tls(&self, tls: &TlsFiles) -> Result<(), CertificateError> {
        tls.check(self.node, self.cluster)?;
        let (server, client) = configs(tls, Purpose::Data)?;
        self.endpoint.set_server_config(Some(server));
        *lock(&self.client) = client;
        Ok(())
    }

    /// Tells the peers and closes; what still waits is dropped.
    pub async fn close(self) {
        self.say_goodbye().await;
    }

    /// The same for one that others hold, too: nothing is sent or taken any more.
    pub async fn say_goodbye(&self) {
        self.stop();
        // A peer that does not hear of it finds out by itself.
        let _ = timeout(CLOSE_TIMEOUT, self.endpoint.wait_idle()).await;
    }

    fn push(&self, known: Option<&Known>, frame: Bytes, urgency: Urgency) {
        match known.map(|known| known.peer.push(frame, urgency)) {
            Some(Pushed::Kept) => {}
            Some(Pushed::Dropped) => self.counters.dropped_full.add(1),
            None => self.counters.dropped_unknown.add(1),
        }
    }

    fn dialler(&self, node: NodeId) -> Dialler {
        Dialler {
            endpoint: self.endpoint.clone(),
            client: Arc::clone(&self.client),
            name: node_name(node, self.cluster),
            epoch: self.epoch,
            counters: Arc::clone(&self.counters),
        }
    }

    fn stop(&self) {
        self.endpoint.close(Close::Stopping.code(), Close::Stopping.words());
        self.accepting.abort();
        std::mem::take(&mut *lock(&self.peers)).values().for_each(|known| known.task.abort());
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Objects of an exchange are many and nobody waits for one of them.
fn usual_urgency(message: &Message) -> Urgency {
    match message {
        Message::Pulled { .. } => Urgency::Bulk,
        _ => Urgency::Foreground,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
