//! The dialled side of an endpoint: lets in, once each, who can prove to be a node of this cluster.

use super::close::Close;
use super::counters::Counters;
use super::endpoint::JOIN_PROTOCOL;
use super::limits::{HANDSHAKE_TIMEOUT, MAX_HANDSHAKES, RETRY_FROM_HANDSHAKES};
use crate::base::{ClusterId, NodeId};
use crate::membership::MAX_MEMBERS;
use crate::runtime::certificates::identity_of;
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, Endpoint, Incoming};
use rustls::pki_types::CertificateDer;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Accepts for one endpoint.
pub(crate) struct Acceptor {
    node: NodeId,
    cluster: ClusterId,
    counters: Arc<Counters>,
    handshakes: Arc<Semaphore>,
    /// The newest connection of each peer. A peer dials once at a time: an older one is abandoned.
    /// At most [`MAX_MEMBERS`] peers.
    newest: Mutex<BTreeMap<NodeId, Connection>>,
    banned: Arc<BTreeSet<NodeId>>,
    /// Who takes those that have no certificate; without one they are refused.
    guests: Arc<OnceLock<Guests>>,
}

/// Takes the connection of somebody who has no certificate and asks for one.
pub(crate) type Guests = Box<dyn Fn(Connection) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Who was let in.
enum Admitted {
    Peer(NodeId, Connection),
    Guest(Connection),
}

impl Acceptor {
    pub(crate) fn new(
        node: NodeId,
        cluster: ClusterId,
        counters: Arc<Counters>,
        banned: &Arc<BTreeSet<NodeId>>,
    ) -> Arc<Self> {
        let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        let (banned, guests) = (Arc::clone(banned), Arc::default());
        Arc::new(Self { node, cluster, counters, handshakes, newest: Mutex::default(), banned, guests })
    }

    /// Where to say who takes guests.
    pub(crate) fn guests(&self) -> &Arc<OnceLock<Guests>> {
        &self.guests
    }

    /// Accepts until the endpoint closes; `serve` has each connection, in a task of its own. All of them
    /// end with this future.
    pub(crate) async fn run<Serve, Served>(self: Arc<Self>, endpoint: Endpoint, serve: Serve)
    where
        Serve: Fn(NodeId, Connection) -> Served + Clone + Send + 'static,
        Served: Future<Output = ()> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        while let Some(incoming) = endpoint.accept().await {
            while tasks.try_join_next().is_some() {}
            let free = self.handshakes.available_permits();
            if free <= MAX_HANDSHAKES - RETRY_FROM_HANDSHAKES && !incoming.remote_address_validated() {
                // Fails only if a retry is not allowed; then the attempt is refused by dropping it.
                let _ = incoming.retry();
                continue;
            }
            let Ok(permit) = Arc::clone(&self.handshakes).try_acquire_owned() else {
                self.counters.refused.add(1);
                incoming.refuse();
                continue;
            };
            let (acceptor, serve) = (Arc::clone(&self), serve.clone());
            tasks.spawn(async move {
                let admitted = acceptor.admit(incoming).await;
                drop(permit);
                match admitted {
                    Some(Admitted::Peer(peer, connection)) => {
                        serve(peer, connection.clone()).await;
                        acceptor.forget(peer, &connection);
                    }
                    Some(Admitted::Guest(connection)) => acceptor.serve_guest(connection).await,
                    None => acceptor.counters.refused.add(1),
                }
            });
        }
    }

    async fn serve_guest(&self, connection: Connection) {
        match self.guests.get() {
            Some(guests) => guests(connection).await,
            None => Close::Refused.close(&connection),
        }
    }

    async fn admit(&self, incoming: Incoming) -> Option<Admitted> {
        let from = incoming.remote_address();
        let connection = match timeout(HANDSHAKE_TIMEOUT, incoming).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                tracing::debug!(%from, %error, "handshake failed");
                return None;
            }
            Err(_) => return None,
        };
        if asks_to_join(&connection) {
            return Some(Admitted::Guest(connection));
        }
        let Some(peer) = peer_of(&connection, self.cluster).filter(|peer| *peer != self.node) else {
            tracing::warn!(%from, "refused: the certificate names no other node of this cluster");
            Close::Refused.close(&connection);
            return None;
        };
        if self.banned.contains(&peer) {
            tracing::debug!(%from, %peer, "refused: banned");
            Close::Banned.close(&connection);
            return None;
        }
        let mut newest = self.lock();
        if newest.len() >= MAX_MEMBERS && !newest.contains_key(&peer) {
            Close::Refused.close(&connection);
            return None;
        }
        if let Some(older) = newest.insert(peer, connection.clone()) {
            Close::Replaced.close(&older);
        }
        drop(newest);
        Some(Admitted::Peer(peer, connection))
    }

    fn forget(&self, peer: NodeId, connection: &Connection) {
        let mut newest = self.lock();
        if newest.get(&peer).is_some_and(|newest| newest.stable_id() == connection.stable_id()) {
            newest.remove(&peer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Connection>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By this protocol nothing but a request to join is heard, with a certificate or without.
fn asks_to_join(connection: &Connection) -> bool {
    let handshake = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    handshake.and_then(|data| data.protocol).as_deref() == Some(JOIN_PROTOCOL)
}

/// Who is at the other end, by the certificate that TLS has verified.
pub(crate) fn peer_of(connection: &Connection, cluster: ClusterId) -> Option<NodeId> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    let (node, theirs) = identity_of(chain.first()?)?;
    (theirs == cluster).then_some(node)
}
