//! Transport and detector endpoint over loopback: what arrives, who is refused, what survives.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use bytes::Bytes;
use dunlin::base::{ClusterId, HybridTime, Key, NodeId};
use dunlin::causal::{Actor, Content, Dot, DotSet, Filled, Version};
use dunlin::replication::{ClockEntry, Message};
use dunlin::runtime::certificates::{Authority, Issued, TlsFiles, cluster_name, node_name};
use dunlin::runtime::detector::{DetectorEndpoint, Heard};
use dunlin::runtime::transport::limits::{IDLE_TIMEOUT, max_frame_bytes};
use dunlin::runtime::transport::{
    Preamble, Received, StreamKind, Transport, TransportConfig, TransportCounters, TransportError,
};
use quinn::crypto::rustls::QuicClientConfig;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

const CLUSTER: ClusterId = ClusterId(0xc1);
const A: NodeId = NodeId(0xa);
const B: NodeId = NodeId(0xb);
const C: NodeId = NodeId(0xc);

/// Only a hung test comes to this.
const PATIENCE: Duration = Duration::from_secs(30);

struct Site {
    authority: Authority,
}

struct Running {
    transport: Transport,
    received: Receiver<Received>,
}

impl Site {
    fn new() -> Self {
        Self { authority: Authority::generate(CLUSTER).unwrap() }
    }

    fn tls(&self, node: NodeId) -> TlsFiles {
        let issued = self.authority.issue(node).unwrap();
        TlsFiles::from_pem(self.authority.certificate_pem(), &issued.certificate_pem, &issued.key_pem).unwrap()
    }

    fn config(&self, node: NodeId, address: SocketAddr) -> TransportConfig {
        config(self.tls(node), node, CLUSTER, address)
    }

    /// A client without the transport's good manners, that trusts this cluster's nodes.
    fn rude_client(&self, papers: Option<&Issued>, protocol: &[u8]) -> quinn::Endpoint {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.certificate_pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut tls = match papers {
            None => builder.with_no_client_auth(),
            Some(papers) => {
                let certificate = CertificateDer::from_pem_slice(papers.certificate_pem.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(papers.key_pem.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        tls.alpn_protocols = vec![protocol.to_vec()];
        let tls = QuicClientConfig::try_from(tls).unwrap();
        let mut endpoint = quinn::Endpoint::client(loopback()).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
        endpoint
    }

    async fn start(&self, node: NodeId) -> Running {
        started(self.config(node, loopback())).unwrap()
    }
}

impl Running {
    fn address(&self) -> String {
        self.transport.local_address().unwrap().to_string()
    }

    fn knows(&self, node: NodeId, other: &Running) {
        self.transport.set_address(node, other.address());
    }

    async fn connected(&self, node: NodeId) {
        let mut links = self.transport.connected();
        within(links.wait_for(|links| links.contains_key(&node))).await.unwrap();
    }

    async fn connected_to_epoch(&self, node: NodeId, epoch: u64) {
        let mut links = self.transport.connected();
        within(links.wait_for(|links| links.get(&node) == Some(&epoch))).await.unwrap();
    }

    /// The numbers of the next `count` messages, all of which must be from `from`.
    async fn numbers(&mut self, from: NodeId, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let received = within(self.received.recv()).await.unwrap();
            assert_eq!(received.from, from);
            numbers.extend(received.messages.iter().map(number));
        }
        numbers
    }

    async fn counts(&self, what: impl Fn(TransportCounters) -> bool) {
        within(async {
            while !what(self.transport.counters()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn config(tls: TlsFiles, node: NodeId, cluster: ClusterId, address: SocketAddr) -> TransportConfig {
    let key = u8::try_from(node.0 & 0xff).unwrap();
    TransportConfig {
        node,
        cluster,
        address,
        tls,
        reset_key: [key; 64],
        connection_key: node.0,
        epoch: node.0,
        max_frame_bytes: max_frame_bytes(1 << 20),
    }
}

fn started(config: TransportConfig) -> Result<Running, TransportError> {
    Transport::bind(config).map(|(transport, received)| Running { transport, received })
}

/// A port is free again once the last task of its former owner has ended.
async fn restarted(config: impl Fn() -> TransportConfig) -> Running {
    within(async {
        loop {
            if let Ok(running) = started(config()) {
                return running;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

fn small(number: u64) -> Message {
    Message::ClockQuery { session: number, clocks: Vec::<ClockEntry>::new() }
}

fn with_value(number: u64, bytes: usize) -> Message {
    let content = Content {
        value: Bytes::from(vec![7; bytes]),
        content_type: "application/octet-stream".into(),
        metadata: Vec::new(),
        written_at: HybridTime::default(),
        expires_at: None,
    };
    let dot = Dot { actor: Actor(1), counter: 1 };
    Message::Replicate {
        request: number,
        key: Key::new(&b"key"[..]).unwrap(),
        state: Filled { versions: vec![Version { dot, content }], context: DotSet::EMPTY },
        dots: DotSet::EMPTY,
        hint_for: Vec::new(),
        layout: 1,
    }
}

fn number(message: &Message) -> u64 {
    match message {
        Message::ClockQuery { session, .. } => *session,
        Message::Replicate { request, .. } => *request,
        other => panic!("not sent: {other:?}"),
    }
}

#[tokio::test]
async fn ten_thousand_messages_each_way_arrive_in_order() {
    let site = Site::new();
    let (mut a, mut b) = (site.start(A).await, site.start(B).await);
    a.knows(B, &b);
    b.knows(A, &a);
    for number in 0..10_000 {
        a.transport.send(&[B], &small(number));
        b.transport.send(&[A], &small(number));
    }
    let expected: Vec<u64> = (0..10_000).collect();
    let (at_b, at_a) = tokio::join!(b.numbers(A, 10_000), a.numbers(B, 10_000));
    assert_eq!(at_b, expected);
    assert_eq!(at_a, expected);
}

#[tokio::test]
async fn a_load_of_one_kibibyte_messages_loses_nothing_on_loopback() {
    let site = Site::new();
    let (a, mut b) = (site.start(A).await, site.start(B).await);
    a.knows(B, &b);
    a.connected(B).await;
    for round in 0..20 {
        for number in 0..1_000 {
            a.transport.send(&[B], &with_value(round * 1_000 + number, 1024));
        }
        let expected: Vec<u64> = (round * 1_000..(round + 1) * 1_000).collect();
        assert_eq!(b.numbers(A, 1_000).await, expected);
    }
    assert_eq!(a.transport.counters().dropped_full, 0);
}

#[tokio::test]
async fn one_message_reaches_several_and_oneself_never() {
    let site = Site::new();
    let (mut a, mut b, mut c) = (site.start(A).await, site.start(B).await, site.start(C).await);
    a.knows(A, &b);
    a.knows(B, &b);
    a.knows(C, &c);
    a.transport.send(&[A, B, C], &small(5));
    assert_eq!(b.numbers(A, 1).await, [5]);
    assert_eq!(c.numbers(A, 1).await, [5]);
    assert_eq!(a.transport.counters().dropped_unknown, 1);
    assert!(a.received.try_recv().is_err());
}

#[tokio::test]
async fn a_long_value_travels_whole_and_an_oversized_one_not_at_all() {
    let site = Site::new();
    let mut limited = site.config(A, loopback());
    limited.max_frame_bytes = 8 << 20;
    let (a, mut b) = (started(limited).unwrap(), site.start(B).await);
    a.knows(B, &b);
    a.transport.send(&[B], &with_value(1, 9 << 20));
    a.transport.send(&[B], &with_value(2, 7 << 20));
    assert_eq!(b.numbers(A, 1).await, [2]);
    assert_eq!(a.transport.counters().dropped_too_long, 1);
}

#[tokio::test]
async fn a_frame_above_the_receivers_limit_disconnects_its_sender_alone() {
    let site = Site::new();
    let mut limited = site.config(B, loopback());
    limited.max_frame_bytes = 1000;
    let (a, mut b, c) = (site.start(A).await, started(limited).unwrap(), site.start(C).await);
    a.knows(B, &b);
    c.knows(B, &b);
    c.connected(B).await;
    a.transport.send(&[B], &small(1));
    assert_eq!(b.numbers(A, 1).await, [1]);
    a.transport.send(&[B], &with_value(2, 2000));
    b.counts(|counters| counters.malformed == 1).await;
    c.transport.send(&[B], &small(3));
    assert_eq!(b.numbers(C, 1).await, [3]);
    assert_eq!(c.transport.counters().connected, 1, "never disconnected");
}

#[tokio::test]
async fn garbage_from_an_authenticated_peer_disconnects_it_and_loses_nothing_else() {
    let site = Site::new();
    let (mut b, c) = (site.start(B).await, site.start(C).await);
    c.knows(B, &b);
    c.connected(B).await;
    let rude = site.rude_client(Some(&site.authority.issue(A).unwrap()), b"dunlin/1");
    let dialled = rude.connect(b.transport.local_address().unwrap(), &node_name(B, CLUSTER)).unwrap();
    let connection = within(dialled).await.unwrap();
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(&Preamble { kind: StreamKind::Foreground, epoch: 1 }.encode()).await.unwrap();
    stream.write_all(&[9, 0, 0, 0, 0xc1, 1, 2, 3, 4, 5, 6, 7, 8]).await.unwrap();
    let closed = within(connection.closed()).await;
    assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(close) if close.error_code == 2u32.into()));
    assert_eq!(b.transport.counters().malformed, 1);
    c.transport.send(&[B], &small(3));
    assert_eq!(b.numbers(C, 1).await, [3]);
    assert_eq!(c.transport.counters().connected, 1, "never disconnected");
}

#[tokio::test]
async fn strangers_are_refused_and_nothing_of_theirs_is_delivered() {
    let site = Site::new();
    let mut b = site.start(B).await;
    let ours = &site.authority;
    let other_authority = Authority::generate(CLUSTER).unwrap();
    let other_cluster = Authority::from_pem(ClusterId(0xc2), ours.certificate_pem(), &ours.key_pem()).unwrap();
    let strangers = [
        ("without a certificate", None, "dunlin/1"),
        ("self-signed", Some(self_signed(A)), "dunlin/1"),
        ("of another authority", Some(other_authority.issue(A).unwrap()), "dunlin/1"),
        ("of another cluster", Some(other_cluster.issue(A).unwrap()), "dunlin/1"),
        ("under our own name", Some(ours.issue(B).unwrap()), "dunlin/1"),
        ("for the detector", Some(ours.issue(A).unwrap()), "dunlin-detector/1"),
    ];
    for (who, papers, protocol) in strangers {
        let refused = b.transport.counters().refused;
        let client = site.rude_client(papers.as_ref(), protocol.as_bytes());
        let dialled = client.connect(b.transport.local_address().unwrap(), &node_name(B, CLUSTER)).unwrap();
        // In TLS 1.3 a refusal may show only after the handshake. Whatever was written by then is not read.
        if let Ok(connection) = within(dialled).await {
            say_something(&connection).await;
            within(connection.closed()).await;
        }
        b.counts(|counters| counters.refused > refused).await;
        assert!(b.received.try_recv().is_err(), "{who}");
    }
    assert_eq!(b.transport.counters().received, 0);
}

/// A well-formed message, if the connection still takes it.
async fn say_something(connection: &quinn::Connection) {
    let Ok(mut stream) = connection.open_uni().await else { return };
    let preamble = Preamble { kind: StreamKind::Foreground, epoch: 1 }.encode();
    let _ = stream.write_all(&preamble).await;
    let body = rmp_serde::to_vec(&small(1)).unwrap();
    let _ = stream.write_all(&u32::try_from(body.len()).unwrap().to_le_bytes()).await;
    let _ = stream.write_all(&body).await;
}

fn self_signed(node: NodeId) -> Issued {
    let names = vec![node_name(node, CLUSTER), cluster_name(CLUSTER)];
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    Issued { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() }
}

#[tokio::test]
async fn a_node_is_not_taken_for_another_by_whoever_dials_it() {
    let site = Site::new();
    let (a, mut b) = (site.start(A).await, site.start(B).await);
    a.knows(C, &b);
    a.transport.send(&[C], &small(1));
    a.counts(|counters| counters.failed_dials >= 2 && counters.dropped_unreachable == 1).await;
    assert_eq!(a.transport.counters().connected, 0);
    assert!(b.received.try_recv().is_err());
}

#[tokio::test]
async fn a_node_whose_certificates_are_anothers_does_not_start() {
    let site = Site::new();
    let mut other = site.config(A, loopback());
    other.node = B;
    assert!(matches!(started(other), Err(TransportError::Certificate(_))));
    let mut other = site.config(A, loopback());
    other.cluster = ClusterId(0xc2);
    assert!(matches!(started(other), Err(TransportError::Certificate(_))));
}

#[tokio::test]
async fn a_peer_that_restarts_on_its_port_is_connected_again() {
    let site = Site::new();
    let (a, mut b) = (site.start(A).await, site.start(B).await);
    let address = b.transport.local_address().unwrap();
    a.knows(B, &b);
    a.transport.send(&[B], &small(1));
    assert_eq!(b.numbers(A, 1).await, [1]);
    b.transport.close().await;
    let mut b = restarted(|| TransportConfig { epoch: 99, ..site.config(B, address) }).await;
    a.connected_to_epoch(B, 99).await;
    a.transport.send(&[B], &small(2));
    assert_eq!(b.numbers(A, 1).await, [2]);
}

#[tokio::test]
async fn a_dial_that_reached_nobody_is_begun_anew_when_the_peer_shows_that_it_lives() {
    let site = Site::new();
    let a = site.start(A).await;
    // Somebody who takes every packet and answers none: a dial to it goes on until it times out.
    let nobody = tokio::net::UdpSocket::bind(loopback()).await.unwrap();
    let address = nobody.local_addr().unwrap();
    a.transport.set_address(B, address.to_string());
    let mut packet = [0; 2048];
    within(nobody.recv_from(&mut packet)).await.unwrap();
    drop(nobody);
    let mut b = restarted(|| site.config(B, address)).await;
    a.transport.send(&[B], &small(1));
    b.knows(A, &a);
    assert_eq!(b.numbers(A, 1).await, [1]);
    assert_eq!(a.transport.counters().abandoned_dials, 1);
}

#[tokio::test]
async fn a_peer_that_was_killed_resets_its_earlier_connections() {
    let site = Site::new();
    let a = site.start(A).await;
    let doomed = site.config(B, loopback());
    let (tell_address, address) = tokio::sync::oneshot::channel();
    let (kill, killed) = tokio::sync::oneshot::channel::<()>();
    let life = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let running = runtime.block_on(async {
            let running = started(doomed).unwrap();
            tell_address.send(running.transport.local_address().unwrap()).unwrap();
            killed.await.unwrap();
            running
        });
        // The runtime first: what says goodbye never gets to run.
        drop(runtime);
        drop(running);
    });
    let address = address.await.unwrap();
    a.transport.set_address(B, address.to_string());
    a.connected(B).await;
    kill.send(()).unwrap();
    let death = Instant::now();
    life.join().unwrap();
    let mut b = restarted(|| TransportConfig { epoch: 99, ..site.config(B, address) }).await;
    a.transport.send(&[B], &small(1));
    a.connected_to_epoch(B, 99).await;
    let resets = a.transport.counters().resets;
    assert!(resets == 1 || death.elapsed() >= IDLE_TIMEOUT, "what is noticed sooner is noticed by the reset");
    a.transport.send(&[B], &small(2));
    while b.numbers(A, 1).await != [2] {}
}

#[tokio::test]
async fn a_peer_that_moved_is_dialled_where_it_is_now() {
    let site = Site::new();
    let (a, b) = (site.start(A).await, site.start(B).await);
    a.knows(B, &b);
    a.connected(B).await;
    let moved = started(TransportConfig { epoch: 99, ..site.config(B, loopback()) }).unwrap();
    a.knows(B, &moved);
    a.connected_to_epoch(B, 99).await;
}

#[tokio::test]
async fn a_kick_dials_anew() {
    let site = Site::new();
    let (a, b) = (site.start(A).await, site.start(B).await);
    a.knows(B, &b);
    a.connected(B).await;
    a.transport.kick(B);
    a.counts(|counters| counters.connected == 2).await;
}

#[tokio::test]
async fn certificates_are_replaced_without_a_restart_and_only_by_ones_own() {
    let site = Site::new();
    let (mut a, b) = (site.start(A).await, site.start(B).await);
    assert!(a.transport.replace_tls(&site.tls(B)).is_err());
    let renewed = Site::new();
    a.transport.replace_tls(&renewed.tls(A)).unwrap();
    b.transport.replace_tls(&renewed.tls(B)).unwrap();
    b.knows(A, &a);
    b.transport.send(&[A], &small(1));
    assert_eq!(a.numbers(B, 1).await, [1]);
}

#[tokio::test]
async fn a_forgotten_peer_is_sent_nothing() {
    let site = Site::new();
    let (a, b) = (site.start(A).await, site.start(B).await);
    a.knows(B, &b);
    a.connected(B).await;
    a.transport.forget(B);
    a.transport.send(&[B], &small(1));
    assert_eq!(a.transport.counters().dropped_unknown, 1);
    assert!(a.transport.connected().borrow().is_empty());
}

#[tokio::test]
async fn a_node_that_does_not_read_holds_its_peers_up_and_costs_them_a_bounded_queue() {
    let site = Site::new();
    let (a, mut b) = (site.start(A).await, site.start(B).await);
    a.knows(B, &b);
    a.connected(B).await;
    within(async {
        while a.transport.counters().dropped_full == 0 {
            for _ in 0..100 {
                a.transport.send(&[B], &with_value(1, 32 << 10));
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    // It reads again, and what was kept comes.
    assert_eq!(b.numbers(A, 100).await[..100], [1; 100]);
}

fn detector(site: &Site, node: NodeId) -> DetectorEndpoint {
    DetectorEndpoint::bind(CLUSTER, loopback(), &site.tls(node), [1; 64], 1).unwrap()
}

#[tokio::test]
async fn detectors_exchange_datagrams_of_1100_bytes_and_full_syncs() {
    let site = Site::new();
    let (mut a, mut b) = (detector(&site, A), detector(&site, B));
    let (at_a, at_b) = (a.local_address().unwrap().to_string(), b.local_address().unwrap().to_string());
    let datagram = Bytes::from(vec![3; 1100]);
    a.send(at_b.clone(), datagram.clone());
    assert_eq!(
        within(b.heard()).await,
        Some(Heard::Datagram { sender: A, from: at_a.clone(), bytes: datagram.clone() })
    );
    b.send(at_a.clone(), datagram.clone());
    assert_eq!(within(a.heard()).await, Some(Heard::Datagram { sender: B, from: at_b.clone(), bytes: datagram }));
    let whole = Bytes::from(vec![4; dunlin::membership::MAX_FULL_SYNC_BYTES]);
    a.send_full(at_b, whole.clone());
    assert_eq!(within(b.heard()).await, Some(Heard::FullSync { sender: A, from: at_a, bytes: whole }));
}

#[tokio::test]
async fn a_detector_sends_nothing_too_long_and_keeps_only_the_latest_while_it_dials() {
    let site = Site::new();
    let (a, mut b) = (detector(&site, A), detector(&site, B));
    let at_b = b.local_address().unwrap().to_string();
    a.send(at_b.clone(), Bytes::from(vec![0; 1101]));
    assert_eq!(a.counters().dropped_too_long, 1);
    for number in 0..20u8 {
        a.send(at_b.clone(), Bytes::from(vec![number]));
    }
    assert_eq!(a.counters().dropped_full, 4);
    for number in 4..20u8 {
        let heard = within(b.heard()).await;
        assert!(matches!(heard, Some(Heard::Datagram { bytes, .. }) if bytes[..] == [number]));
    }
}

#[tokio::test]
async fn a_detector_refuses_strangers_and_gives_up_on_the_dead() {
    let site = Site::new();
    let (a, stranger) = (detector(&site, A), detector(&Site::new(), B));
    stranger.send(a.local_address().unwrap().to_string(), Bytes::from_static(b"hello"));
    within(async {
        while stranger.counters().dropped_unreachable == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(stranger.counters().connected, 0);
    assert_eq!(a.counters().received, 0);
    a.close().await;
}
