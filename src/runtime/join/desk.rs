//! The issuer's side of the exchange: a node that has the authority's key, and lets in who brings a ticket for it.

use super::book::{Book, BookError};
use super::message::{Admission, EXCHANGE_TIMEOUT, MAX_REQUEST_BYTES, Reply, Request, decode, encode};
use super::ticket::unix_seconds;
use crate::base::{ClusterId, NodeId};
use crate::ring::Layout;
use crate::runtime::certificates::Authority;
use crate::runtime::membership::Members;
use crate::runtime::serve_error::ServeError;
use crate::runtime::settings::{Settings, is_name};
use crate::runtime::transport::{Close, Guests};
use quinn::{Connection, VarInt};
use serde_bytes::ByteBuf;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// Exchanges at a time; who comes beyond is refused and asks again. Nodes join one by one, and whoever comes here has
/// proved nothing yet.
const MAX_GUESTS: usize = 4;

/// Seeds a new node is told.
const MAX_SEEDS: usize = 16;

/// One for a node that has the authority's key.
pub(in crate::runtime) struct Desk {
    node: NodeId,
    cluster: ClusterId,
    authority: Authority,
    authorities: String,
    token_secrets: Vec<PathBuf>,
    banned: Vec<NodeId>,
    members: watch::Receiver<Arc<Members>>,
    book: Mutex<Book>,
    seats: Semaphore,
}

/// Why somebody is not let in.
enum Denial {
    Refused(String),
    Later(String),
}

impl From<BookError> for Denial {
    fn from(error: BookError) -> Denial {
        match error {
            BookError::Used { .. } => Denial::Refused(error.to_string()),
            BookError::Full | BookError::Unwritten(_) => Denial::Later(error.to_string()),
        }
    }
}

impl Desk {
    /// None if the settings name no authority's key.
    pub(in crate::runtime) fn open(
        settings: &Settings,
        (node, cluster): (NodeId, ClusterId),
        members: watch::Receiver<Arc<Members>>,
    ) -> Result<Option<Arc<Desk>>, ServeError> {
        let Some(key_file) = &settings.tls.authority_key else { return Ok(None) };
        let (authorities, key) = (read(&settings.tls.ca)?, read(key_file)?);
        let authority = Authority::from_pem(cluster, &authorities, &key).map_err(|error| {
            let (key, ca) = (key_file.display(), settings.tls.ca.display());
            ServeError::Refused(format!(
                "tls.authority_key {key}: not the key of the first certificate in {ca}: {error}"
            ))
        })?;
        Ok(Some(Arc::new(Desk {
            node,
            cluster,
            authority,
            authorities,
            token_secrets: settings.cluster.secret_file.clone(),
            banned: settings.cluster.banned.clone(),
            members,
            book: Mutex::new(Book::open(&settings.node.data_dir)?),
            seats: Semaphore::new(MAX_GUESTS),
        })))
    }

    /// As the transport hands guests on.
    pub(in crate::runtime) fn guests(self: Arc<Self>) -> Guests {
        Box::new(move |connection| Box::pin(Arc::clone(&self).serve(connection)))
    }

    /// One exchange, within bounds of time, number and bytes.
    async fn serve(self: Arc<Self>, connection: Connection) {
        let from = connection.remote_address();
        let Ok(_seat) = self.seats.try_acquire() else { return Close::Refused.close(&connection) };
        // What is sent beyond is not even taken in.
        connection.set_receive_window(VarInt::from_u32(2 * MAX_REQUEST_BYTES as u32));
        match timeout(EXCHANGE_TIMEOUT, Arc::clone(&self).exchange(&connection)).await {
            Ok(Ok(())) => Close::Idle.close(&connection),
            Ok(Err(words)) => {
                tracing::debug!(%from, words, "a request to join ended early");
                Close::Malformed.close(&connection);
            }
            Err(_) => Close::Idle.close(&connection),
        }
    }

    async fn exchange(self: Arc<Self>, connection: &Connection) -> Result<(), String> {
        let mut question = connection.accept_uni().await.map_err(|error| error.to_string())?;
        let bytes = question.read_to_end(MAX_REQUEST_BYTES).await.map_err(|error| error.to_string())?;
        let request: Request = decode(&bytes).ok_or("no request")?;
        let from = connection.remote_address();
        // Signing computes, and the book is synced: not on the thread that serves peers.
        let considered = tokio::task::spawn_blocking(move || encode(&self.consider(&request, &from.to_string())));
        let reply = considered.await.map_err(|error| error.to_string())?;
        let mut answer = connection.open_uni().await.map_err(|error| error.to_string())?;
        answer.write_all(&reply).await.map_err(|error| error.to_string())?;
        // Fails only for a stream that is closed.
        let _ = answer.finish();
        // The other side closes once it has read everything.
        let _ = answer.stopped().await;
        Ok(())
    }

    fn consider(&self, request: &Request, from: &str) -> Reply {
        let Request { node, name, invitation, .. } = request;
        match self.admit(request, unix_seconds()) {
            Ok(admission) => {
                tracing::info!(%node, name = Reply::shown(name), from, "let in with a ticket");
                Reply::Admitted(Box::new(admission))
            }
            Err(Denial::Refused(words)) => {
                tracing::warn!(%node, name = Reply::shown(name), from, number = invitation.number, "not let in: {words}");
                Reply::Refused(words)
            }
            Err(Denial::Later(words)) => {
                tracing::warn!(%node, from, "not let in for now: {words}");
                Reply::Later(words)
            }
        }
    }

    fn admit(&self, request: &Request, now: u64) -> Result<Admission, Denial> {
        self.check_ticket(request, now)?;
        let unsigned = |error| Denial::Refused(format!("the signing request cannot be used: {error}"));
        let signed = self.authority.sign(request.node, &request.signing_request).map_err(unsigned)?;
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.check(&request.invitation, request.node, signed.key_hash)?;
        let members = self.members.borrow().clone();
        self.check_name(request, &members)?;
        self.check_id(request, &members)?;
        let token_secrets = self.token_secrets.iter().map(|path| fs::read(path).map(ByteBuf::from));
        let token_secrets = token_secrets
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Denial::Later(format!("the issuer cannot read its secret: {error}")))?;
        let layout = serde_json::to_string(&**members.view.layout())
            .map_err(|error| Denial::Later(format!("the issuer cannot write its layout: {error}")))?;
        book.redeem(&request.invitation, request.node, &request.name, signed.key_hash, now)?;
        drop(book);
        let authorities = self.authorities.clone();
        Ok(Admission {
            certificate: signed.certificate_pem,
            authorities,
            token_secrets,
            layout,
            seeds: seeds(&members),
        })
    }

    fn check_ticket(&self, request: &Request, now: u64) -> Result<(), Denial> {
        let invitation = &request.invitation;
        if invitation.cluster != self.cluster {
            let (theirs, ours) = (invitation.cluster, self.cluster);
            return refused(format!("this ticket is for cluster {theirs}, and this is a node of cluster {ours}"));
        }
        if invitation.issuer != self.node {
            let (issuer, me) = (invitation.issuer, self.node);
            return refused(format!("this ticket is to be used at node {issuer}, and this is node {me}"));
        }
        // Compares in constant time.
        if blake3::Hash::from(invitation.secret(&self.authority)) != request.secret {
            return refused(
                "this ticket was not made with this cluster's authority key; get one with `dunlin cluster invite`"
                    .into(),
            );
        }
        if invitation.is_expired(now) {
            let since = now.saturating_sub(invitation.expires);
            return refused(format!("this ticket expired {since} s ago; get a new one with `dunlin cluster invite`"));
        }
        Ok(())
    }

    /// A name is one node's: under its old name a wiped node would look as if it had its data.
    fn check_name(&self, request: &Request, members: &Members) -> Result<(), Denial> {
        let Request { name, node, invitation, .. } = request;
        if !is_name(name) {
            return refused(format!("{:?} is no name for a node", Reply::shown(name)));
        }
        if !invitation.name.is_empty() && invitation.name != *name {
            let expected = &invitation.name;
            return refused(format!("this ticket is for a node named {expected:?}, and node.name is {name:?}"));
        }
        let mut owners = layouts(members).into_iter().filter_map(|layout| layout.node_named(name));
        if let Some(owner) = owners.find(|owner| owner.id != *node) {
            let id = owner.id;
            return refused(format!(
                "{name:?} is node {id} in the layout, and this is another one. If that node is lost for good, join \
                 under a new name and put this node in its place with `dunlin cluster replace`; if only its data is \
                 lost, give it back its own files (node.toml, certificate.pem, key.pem) and start it without a ticket"
            ));
        }
        let others = members.members.values().filter(|member| member.identity.node != *node);
        let mut alive = others.filter(|member| member.state.is_reachable());
        match alive.find(|member| member.identity.name == *name) {
            Some(member) => {
                let (id, address) = (member.identity.node, &member.identity.peer_address);
                refused(format!("{name:?} is node {id}, which is alive at {address}; choose another name"))
            }
            None => Ok(()),
        }
    }

    /// An id is drawn by chance: one that is known belongs to a copy.
    fn check_id(&self, request: &Request, members: &Members) -> Result<(), Denial> {
        let node = request.node;
        let advice = "empty the data directory and join again, so that the node draws a new id";
        if self.banned.contains(&node) {
            return refused(format!("node {node} is banned (cluster.banned); {advice}"));
        }
        if node == self.node || layouts(members).iter().any(|layout| layout.node(node).is_some()) {
            return refused(format!("there is a node {node} in the layout; {advice}"));
        }
        Ok(())
    }
}

fn refused(words: String) -> Result<(), Denial> {
    Err(Denial::Refused(words))
}

/// While the layout changes there are two that count: whose data is complete, and who owns it next.
fn layouts(members: &Members) -> [&Layout; 2] {
    [members.view.layout(), members.view.layouts.newest()]
}

fn seeds(members: &Members) -> Vec<String> {
    let up = members.members.values().filter(|member| member.state.is_reachable());
    up.map(|member| member.identity.membership_address.clone()).take(MAX_SEEDS).collect()
}

fn read(path: &Path) -> Result<String, ServeError> {
    fs::read_to_string(path).map_err(|error| ServeError::of_file(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{LiveLayouts, View};
    use crate::ring::{LayoutNode, Partitioning};
    use crate::runtime::join::ticket::Invitation;
    use crate::runtime::join::ticket::tests::{CLUSTER, invitation};
    use rcgen::{CertificateParams, KeyPair};

    const ISSUER: NodeId = NodeId(7);

    fn layout() -> Layout {
        let node = LayoutNode {
            id: ISSUER,
            name: "a".into(),
            zone: String::new(),
            capacity: 1,
            address: "h:1".into(),
            membership_address: "h:2".into(),
        };
        Layout::first(CLUSTER, Partitioning::new(8).unwrap(), 1, vec![node]).unwrap()
    }

    fn desk(directory: &Path) -> Desk {
        let layouts = Arc::new(LiveLayouts::only(Arc::new(layout())));
        let view = Arc::new(View { me: ISSUER, layouts, peers: Default::default() });
        let secret = directory.join("secret");
        fs::write(&secret, [5; 32]).unwrap();
        let authority = Authority::generate(CLUSTER).unwrap();
        Desk {
            node: ISSUER,
            cluster: CLUSTER,
            authorities: authority.certificate_pem().into(),
            authority,
            token_secrets: vec![secret],
            banned: vec![NodeId(13)],
            members: watch::channel(Arc::new(Members::none(view))).1,
            book: Mutex::new(Book::open(directory).unwrap()),
            seats: Semaphore::new(MAX_GUESTS),
        }
    }

    fn request(desk: &Desk, invitation: Invitation, key: &KeyPair) -> Request {
        let signing_request = CertificateParams::default().serialize_request(key).unwrap();
        Request {
            secret: invitation.secret(&desk.authority),
            node: NodeId(9),
            name: invitation.name.clone(),
            signing_request: ByteBuf::from(signing_request.der().to_vec()),
            invitation,
        }
    }

    /// What it says to a request that comes now, or then.
    fn said(desk: &Desk, request: &Request, now: u64) -> String {
        match desk.admit(request, now) {
            Ok(admission) => format!("admitted under layout {}", admission.layout.len()),
            Err(Denial::Refused(words)) => words,
            Err(Denial::Later(words)) => format!("later: {words}"),
        }
    }

    #[test]
    fn only_an_unaltered_ticket_of_this_issuer_is_taken_and_in_time() {
        let directory = tempfile::tempdir().unwrap();
        let (desk, key, now) = (desk(directory.path()), KeyPair::generate().unwrap(), unix_seconds());
        let good = || request(&desk, invitation(1), &key);
        let altered = |invitation: Invitation| Request { name: invitation.name.clone(), invitation, ..good() };
        let renewed = |invitation: Invitation| request(&desk, invitation, &key);
        let late = invitation(1).expires + 1;
        let refusals = [
            (altered(Invitation { expires: u64::MAX, ..invitation(1) }), now, "not made with this cluster's authority"),
            (altered(Invitation { name: "e".into(), ..invitation(1) }), now, "not made with this cluster's authority"),
            (Request { secret: [0; 32], ..good() }, now, "not made with this cluster's authority"),
            (good(), late, "this ticket expired 1 s ago; get a new one"),
            (renewed(Invitation { cluster: ClusterId(2), ..invitation(1) }), now, "this ticket is for cluster"),
            (renewed(Invitation { issuer: NodeId(8), ..invitation(1) }), now, "is to be used at node 0000000000000008"),
            (Request { name: "e".into(), ..good() }, now, "for a node named \"d\", and node.name is \"e\""),
            (
                renewed(Invitation { name: "a".into(), ..invitation(1) }),
                now,
                "\"a\" is node 0000000000000007 in the layout",
            ),
            (renewed(Invitation { name: "../x".into(), ..invitation(1) }), now, "is no name for a node"),
            (Request { node: NodeId(13), ..good() }, now, "node 000000000000000d is banned"),
            (Request { node: ISSUER, ..good() }, now, "there is a node 0000000000000007"),
            (
                Request { signing_request: ByteBuf::from(vec![0x30; 80]), ..good() },
                now,
                "the signing request cannot be used",
            ),
        ];
        for (request, at, expected) in refusals {
            let words = said(&desk, &request, at);
            assert!(words.contains(expected), "{expected:?} is missing in: {words}");
        }
        // None of these has used it up; and its node is answered again, another one is not.
        for _ in 0..2 {
            assert!(said(&desk, &good(), now).starts_with("admitted"));
        }
        let other = request(&desk, invitation(1), &KeyPair::generate().unwrap());
        assert!(said(&desk, &other, now).contains("used already"));
    }
}
