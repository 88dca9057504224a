//! A QUIC endpoint as both the transport and the detector want it.

use super::limits::{
    CONNECTION_WINDOW_BYTES, HANDSHAKE_TIMEOUT, IDLE_TIMEOUT, INITIAL_ROUND_TRIP, KEEP_ALIVE, MAX_ADDRESSES_PER_DIAL,
    SOCKET_BUFFER_BYTES, STREAM_WINDOW_BYTES,
};
use crate::runtime::certificates::{CertificateError, TlsFiles};
use quinn::crypto::{CryptoError, HmacKey};
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::timeout;

/// What who has no certificate yet speaks on the data endpoint of a node that may issue one.
pub(crate) const JOIN_PROTOCOL: &[u8] = b"dunlin-join/1";

/// Random, kept in the data directory. With them a restarted node can tell the peers of its earlier life
/// that it has forgotten them; without, they would wait for the idle time-out.
#[derive(Clone)]
pub(crate) struct EndpointKeys {
    pub(crate) reset_key: [u8; 64],
    pub(crate) connection_key: u64,
}

/// What an endpoint is for: peers of one kind must not take the other's address for theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Messages.
    Data,
    /// Failure detection.
    Detection,
}

/// An open endpoint and how it dials.
pub(crate) struct Opened {
    pub(crate) endpoint: Endpoint,
    pub(crate) client: ClientConfig,
}

/// An endpoint cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The address cannot be bound.
    #[error("cannot bind {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Why a dial ended without a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("the name does not resolve: {0}")]
    Resolve(#[from] io::Error),
    #[error("the name has no address of this endpoint's family")]
    NoAddress,
    #[error(transparent)]
    Connect(#[from] quinn::ConnectError),
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
    #[error("no answer in {HANDSHAKE_TIMEOUT:?}")]
    Timeout,
    #[error("the peer's first words are not ours: {0}")]
    Hello(String),
}

impl Purpose {
    fn protocol(self) -> &'static [u8] {
        match self {
            Purpose::Data => b"dunlin/1",
            Purpose::Detection => b"dunlin-detector/1",
        }
    }

    /// What the reset key is derived for, so that the two endpoints of a node have different keys.
    fn key_context(self) -> &'static str {
        match self {
            Purpose::Data => "dunlin 1 reset key of the data endpoint",
            Purpose::Detection => "dunlin 1 reset key of the detector endpoint",
        }
    }

    /// What the dialler may open at a time.
    fn accepted_streams(self) -> u32 {
        match self {
            Purpose::Data => 2,
            Purpose::Detection => 4,
        }
    }

    /// What may wait of datagrams; none on the data endpoint.
    fn datagram_buffer_bytes(self) -> Option<usize> {
        match self {
            Purpose::Data => None,
            Purpose::Detection => Some(256 << 10),
        }
    }
}

/// Opens an endpoint. Must be called within a tokio runtime.
pub(crate) fn open(
    address: SocketAddr,
    tls: &TlsFiles,
    keys: &EndpointKeys,
    purpose: Purpose,
) -> Result<Opened, TransportError> {
    let (server, client) = configs(tls, purpose)?;
    let bind = |error| TransportError::Bind { address, error };
    let socket = socket(address).map_err(bind)?;
    let endpoint =
        Endpoint::new(endpoint_config(keys, purpose), Some(server), socket, Arc::new(TokioRuntime)).map_err(bind)?;
    Ok(Opened { endpoint, client })
}

/// How an endpoint is dialled and dials.
pub(crate) fn configs(tls: &TlsFiles, purpose: Purpose) -> Result<(ServerConfig, ClientConfig), CertificateError> {
    let transport = Arc::new(quic_settings(purpose));
    let mut server = ServerConfig::with_crypto(tls.server(purpose.protocol())?);
    server.transport_config(Arc::clone(&transport));
    let mut client = ClientConfig::new(tls.client(purpose.protocol())?);
    client.transport_config(transport);
    Ok((server, client))
}

/// Dials `host:port`, resolved now; its addresses are tried in turn.
pub(crate) async fn dial(
    endpoint: &Endpoint,
    client: &ClientConfig,
    address: &str,
    name: &str,
) -> Result<Connection, DialError> {
    let here = endpoint.local_addr()?;
    let found =
        timeout(HANDSHAKE_TIMEOUT, tokio::net::lookup_host(address)).await.map_err(|_| DialError::Timeout)??;
    let usable = found.filter(|remote| remote.is_ipv4() == here.is_ipv4() || here.is_ipv6());
    let mut last = DialError::NoAddress;
    for remote in usable.take(MAX_ADDRESSES_PER_DIAL) {
        match timeout(HANDSHAKE_TIMEOUT, endpoint.connect_with(client.clone(), remote, name)?).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => last = error.into(),
            Err(_) => last = DialError::Timeout,
        }
    }
    Err(last)
}

fn socket(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// How a data endpoint is dialled by who wants to join.
pub(crate) fn guest_settings() -> TransportConfig {
    quic_settings(Purpose::Data)
}

fn quic_settings(purpose: Purpose) -> TransportConfig {
    let mut settings = TransportConfig::default();
    settings
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(purpose.accepted_streams()))
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_TIMEOUT.as_millis() as u32).into()))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(INITIAL_ROUND_TRIP)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(u64::from(CONNECTION_WINDOW_BYTES))
        .datagram_receive_buffer_size(purpose.datagram_buffer_bytes())
        .datagram_send_buffer_size(purpose.datagram_buffer_bytes().unwrap_or(0));
    settings
}

fn endpoint_config(keys: &EndpointKeys, purpose: Purpose) -> EndpointConfig {
    let connection_key = keys.connection_key;
    let mut config =
        EndpointConfig::new(Arc::new(ResetKey(blake3::derive_key(purpose.key_context(), &keys.reset_key))));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(connection_key)));
    config
}

/// Keyed BLAKE3: as good a pseudo-random function as HMAC, and here already.
struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let signature = blake3::keyed_hash(&self.0, data);
        for (to, from) in signature_out.iter_mut().zip(signature.as_bytes()) {
            *to = *from;
        }
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let given = <[u8; blake3::OUT_LEN]>::try_from(signature).map_err(|_| CryptoError)?;
        if blake3::keyed_hash(&self.0, data) == given { Ok(()) } else { Err(CryptoError) }
    }
}
