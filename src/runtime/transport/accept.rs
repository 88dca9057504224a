//! The dialled side of an endpoint: lets in, once each, who can prove to be a node of this cluster.

use super::close::Close;
use super::counters::Counters;
use super::limits::{HANDSHAKE_TIMEOUT, MAX_HANDSHAKES, RETRY_FROM_HANDSHAKES};
use crate::base::{ClusterId, NodeId};
use crate::membership::MAX_MEMBERS;
use crate::runtime::certificates::identity_of;
use quinn::{Connection, Endpoint, Incoming};
use rustls::pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
}

impl Acceptor {
    pub(crate) fn new(node: NodeId, cluster: ClusterId, counters: Arc<Counters>) -> Arc<Self> {
        let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        Arc::new(Self { node, cluster, counters, handshakes, newest: Mutex::default() })
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
                    Some((peer, connection)) => {
                        serve(peer, connection.clone()).await;
                        acceptor.forget(peer, &connection);
                    }
                    None => acceptor.counters.refused.add(1),
                }
            });
        }
    }

    async fn admit(&self, incoming: Incoming) -> Option<(NodeId, Connection)> {
        let from = incoming.remote_address();
        let connection = match timeout(HANDSHAKE_TIMEOUT, incoming).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                tracing::debug!(%from, %error, "handshake failed");
                return None;
            }
            Err(_) => return None,
        };
        let Some(peer) = peer_of(&connection, self.cluster).filter(|peer| *peer != self.node) else {
            tracing::warn!(%from, "refused: the certificate names no other node of this cluster");
            Close::Refused.close(&connection);
            return None;
        };
        let mut newest = self.lock();
        if newest.len() >= MAX_MEMBERS && !newest.contains_key(&peer) {
            Close::Refused.close(&connection);
            return None;
        }
        if let Some(older) = newest.insert(peer, connection.clone()) {
            Close::Replaced.close(&older);
        }
        drop(newest);
        Some((peer, connection))
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

/// Who is at the other end, by the certificate that TLS has verified.
pub(crate) fn peer_of(connection: &Connection, cluster: ClusterId) -> Option<NodeId> {
    let identity = connection.peer_identity()?;
    let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    let (node, theirs) = identity_of(chain.first()?)?;
    (theirs == cluster).then_some(node)
}
