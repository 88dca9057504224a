//! The candidate's side of the exchange: dial the issuer, ask, read the answer.

use super::message::{EXCHANGE_TIMEOUT, MAX_REPLY_BYTES, Reply, Request, decode, encode};
use super::pinned::Pinned;
use super::ticket::Ticket;
use crate::runtime::certificates::{node_name, provider};
use crate::runtime::transport::{DialError, JOIN_PROTOCOL, NO_SUCH_PROTOCOL, alert_of, dial, guest_settings};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, VarInt};
use rustls::client::Resumption;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::time::timeout;

/// A socket and how it asks.
pub(super) struct Inquiry {
    endpoint: Endpoint,
    client: ClientConfig,
    pinned: Arc<Pinned>,
    address: String,
    name: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum InquiryError {
    /// Somebody else lives there.
    #[error("it is not a node of the ticket's cluster")]
    Stranger,
    /// It lets nobody in.
    #[error("it lets no nodes in: tls.authority_key is not set there")]
    NoDesk,
    /// It cannot be dialled.
    #[error("it cannot be reached: {0}")]
    Dial(DialError),
    /// The connection was lost, or what came was no answer.
    #[error("no answer came: {0}")]
    Lost(String),
    /// No socket, no TLS.
    #[error("{0}")]
    Local(String),
}

impl Inquiry {
    /// Opens a socket on this address, that peers will reach the node at. Needs a tokio runtime.
    pub(super) fn new(ticket: &Ticket, from: IpAddr) -> Result<Self, InquiryError> {
        let local = |error: &dyn std::fmt::Display| InquiryError::Local(format!("cannot ask: {error}"));
        let pinned = Pinned::new(ticket.authority);
        let mut tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| local(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&pinned) as _)
            .with_no_client_auth();
        tls.alpn_protocols = vec![JOIN_PROTOCOL.to_vec()];
        tls.resumption = Resumption::disabled();
        let tls = QuicClientConfig::try_from(tls).map_err(|error| local(&error))?;
        let mut client = ClientConfig::new(Arc::new(tls));
        client.transport_config(Arc::new(guest_settings()));
        let endpoint = Endpoint::client(SocketAddr::new(from, 0)).map_err(|error| local(&error))?;
        let name = node_name(ticket.invitation.issuer, ticket.invitation.cluster);
        Ok(Self { endpoint, client, pinned, address: ticket.issuer_address.clone(), name })
    }

    /// Asks once. The issuer's name is resolved anew each time.
    pub(super) async fn ask(&self, request: &Request) -> Result<Reply, InquiryError> {
        let connection = match dial(&self.endpoint, &self.client, &self.address, &self.name).await {
            Ok(connection) => connection,
            Err(_) if self.pinned.met_a_stranger() => return Err(InquiryError::Stranger),
            Err(DialError::Connection(error)) if alert_of(&error) == Some(NO_SUCH_PROTOCOL) => {
                return Err(InquiryError::NoDesk);
            }
            Err(error) => return Err(InquiryError::Dial(error)),
        };
        let reply = timeout(EXCHANGE_TIMEOUT, exchange(&connection, request)).await;
        connection.close(VarInt::from_u32(0), b"done");
        match reply {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(words)) => Err(InquiryError::Lost(words)),
            Err(_) => Err(InquiryError::Lost(format!("it took longer than {EXCHANGE_TIMEOUT:?}"))),
        }
    }

    /// Tells the issuer that it is over.
    pub(super) async fn close(self) {
        self.endpoint.close(VarInt::from_u32(0), b"done");
        // An issuer that does not hear of it finds out by itself.
        let _ = timeout(crate::runtime::transport::limits::CLOSE_TIMEOUT, self.endpoint.wait_idle()).await;
    }
}

async fn exchange(connection: &Connection, request: &Request) -> Result<Reply, String> {
    let mut question = connection.open_uni().await.map_err(|error| error.to_string())?;
    question.write_all(&encode(request)).await.map_err(|error| error.to_string())?;
    // Fails only for a stream that is closed, which the answer's absence tells.
    let _ = question.finish();
    let mut answer = connection.accept_uni().await.map_err(|error| error.to_string())?;
    let bytes = answer.read_to_end(MAX_REPLY_BYTES).await.map_err(|error| error.to_string())?;
    decode(&bytes).ok_or_else(|| "what came is no answer".into())
}
