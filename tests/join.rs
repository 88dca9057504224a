//! How a cluster grows, by the program itself: tickets, the nodes that join with them, and who is refused.

#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod join_cluster;

use dunlin::client::Request;
use dunlin::runtime::transport::limits::HANDSHAKE_TIMEOUT;
use join_cluster::{Cluster, Node, dunlin, free_pair, said, until};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[track_caller]
fn is_refused((status, words): (Option<i32>, String), parts: &[&str]) {
    assert_eq!(status, Some(2), "{words}");
    for part in parts {
        assert!(words.contains(part), "{part:?} is missing in: {words}");
    }
}

/// A cluster of one node, asked for in so many words, that lets others in.
fn one() -> (Cluster, Node, u16) {
    let port = free_pair();
    let cluster = Cluster::init(&[("a", port)]);
    let a = cluster.serve("a", &[]);
    a.ready();
    (cluster, a, port)
}

#[test]
fn a_fourth_node_joins_with_a_ticket_and_serves_what_the_three_hold() {
    let ports = [free_pair(), free_pair(), free_pair()];
    let cluster = Cluster::init(&[("a", ports[0]), ("b", ports[1]), ("c", ports[2])]);
    let three: Vec<Node> = ["a", "b", "c"].iter().map(|name| cluster.serve(name, &[])).collect();
    three.iter().for_each(|node| node.sees(&["a", "b", "c"]));
    for node in &three {
        node.ready();
    }

    let ticket = cluster.invite(&["--name", "d", "--zone", "attic"]);
    let (place, port) = (cluster.place("d"), free_pair());
    let d = cluster.serve_in(&place, port, &["--join", &ticket]);
    let everyone = ["a", "b", "c", "d"];
    d.sees(&everyone);
    three.iter().for_each(|node| node.sees(&everyone));
    d.ready();
    let id = d.id_of("d");
    assert_eq!(three[2].id_of("d"), id);

    assert!(d.send(Request::put(b"k", b"by d".to_vec())).status.is_success());
    let all = d.send(Request::get(b"k").query("r", "all"));
    assert_eq!((&all.body[..], all.headers["dunlin-acks"].to_str().unwrap()), (&b"by d"[..], "3/3"));
    three.iter().for_each(|node| assert_eq!(&node.send(Request::get(b"k")).body[..], b"by d"));
    assert!(three[1].send(Request::put(b"k", b"by b".to_vec())).status.is_success());
    assert_eq!(&d.send(Request::get(b"k")).body[..], b"by b");

    // Without the ticket, and without any setting but the directory: it knows what it joined with.
    d.stop();
    let mut again = dunlin();
    again.args(["serve", "--node-data-dir"]).arg(&place);
    let d = Node::start(again, cluster.place("d-again.log"));
    three.iter().for_each(|node| node.sees(&everyone));
    d.ready();
    assert_eq!(d.id_of("d"), id);
    assert_eq!(&d.send(Request::get(b"k")).body[..], b"by b");
    // With it, as a service unit would: it is of no consequence any more.
    d.stop();
    let d = cluster.serve_in(&place, port, &["--join", &ticket]);
    d.sees(&everyone);

    is_refused(cluster.refused("e", &["--join", &ticket]), &["used already, by node", &id, "dunlin cluster invite"]);
    let other_issuer = cluster.invite(&["--issuer", "b"]);
    is_refused(cluster.refused("f", &["--join", &other_issuer]), &["tls.authority_key", "--issuer NAME"]);
    let old_name = cluster.invite(&["--name", "b"]);
    is_refused(cluster.refused("g", &["--join", &old_name]), &["\"b\" is node", "dunlin cluster replace"]);
    let taken_name = cluster.invite(&["--name", "d", "--url", &three[1].url()]);
    is_refused(cluster.refused("h", &["--join", &taken_name]), &["alive at", "choose another name"]);
}

#[test]
fn a_ticket_that_is_no_good_says_why_and_leaves_nothing_behind() {
    let (cluster, a, port) = one();
    let ticket = cluster.invite(&[]);
    is_refused(cluster.refused("cut", &["--join", &ticket[..ticket.len() - 7]]), &["cut or altered"]);
    is_refused(cluster.refused("none", &["--join", "hello, world"]), &["no ticket", "dunlin cluster invite"]);
    let short = cluster.invite(&["--expires", "1s"]);
    let expired = until("the ticket expires", || {
        // It is for nobody as long as it is good.
        let refused = cluster.refused("late", &["--join", &short, "--cluster-id", &"7".repeat(32)]);
        refused.1.contains("expired").then_some(refused)
    });
    is_refused(expired, &["get a new one with `dunlin cluster invite`"]);
    is_refused(
        cluster.refused("id", &["--join", &ticket, "--cluster-id", &"7".repeat(32)]),
        &["cluster.id is 7777", "the ticket is for cluster"],
    );
    let named = cluster.invite(&["--name", "d"]);
    is_refused(cluster.refused("name", &["--join", &named, "--node-name", "e"]), &["for a node named \"d\""]);
    // The same address, another cluster.
    let other = Cluster::init(&[("a", port)]);
    let foreign = other.invite(&[]);
    is_refused(
        cluster.refused("foreign", &["--join", &foreign]),
        &["not a node of the ticket's cluster", "dunlin cluster invite"],
    );
    assert_eq!(a.members().len(), 1);
}

#[test]
fn no_cluster_of_one_is_made_by_accident() {
    let cluster = Cluster::init(&[("a", free_pair())]);
    let parts = ["cluster.id", "dunlin cluster init", "--join TICKET"];
    is_refused(cluster.refused("empty", &[]), &parts);
    let names = ["--node-name", "x", "--cluster-id", &"7".repeat(32)];
    is_refused(cluster.refused("named", &names), &["no cluster is made by accident", "dunlin cluster invite"]);
    // A first node whose files are lost, but for its settings.
    let home = cluster.home().join("a");
    fs::remove_dir_all(home.join("data")).unwrap();
    fs::remove_file(home.join("layout.json")).unwrap();
    let serve = dunlin().args(["serve", "--config"]).arg(home.join("node.toml")).output().unwrap();
    is_refused(said(serve), &["no first layout", "give it back its files"]);
}

#[test]
fn a_node_that_was_interrupted_while_it_asked_asks_again_as_the_same_one() {
    let (cluster, a, _) = one();
    let ticket = cluster.invite(&["--name", "d"]);
    a.stop();
    let (place, port) = (cluster.place("d"), free_pair());
    let d = cluster.serve_in(&place, port, &["--join", &ticket]);
    d.says("asking again");
    drop(d);
    let drawn = fs::read_to_string(place.join("joining")).unwrap();
    let d = cluster.serve_in(&place, port, &["--join", &ticket]);
    d.says("asking again");
    let a = cluster.serve("a", &[]);
    a.sees(&["a", "d"]);
    assert_eq!(a.id_of("d"), drawn.trim());
    // Its answer got lost before it was written down: the issuer gives it again, to the same key.
    drop(d);
    fs::remove_file(place.join("joined.toml")).unwrap();
    fs::write(place.join("joining"), &drawn).unwrap();
    let d = cluster.serve_in(&place, port, &["--join", &ticket]);
    d.sees(&["a", "d"]);
    assert_eq!(a.id_of("d"), drawn.trim());
    // A used directory is not taken for an empty one.
    drop(d);
    fs::remove_file(place.join("joined.toml")).unwrap();
    is_refused(cluster.refused("d", &["--join", &ticket]), &["not empty", "without --join"]);
}

#[test]
fn a_banned_node_is_told_so_and_let_in_nowhere() {
    let (cluster, a, _) = one();
    let (place, port) = (cluster.place("d"), free_pair());
    let d = cluster.serve_in(&place, port, &["--join", &cluster.invite(&["--name", "d"])]);
    a.sees(&["a", "d"]);
    let id = a.id_of("d");
    // It knows nobody when it starts again: the other one goes on trying its seed, by name.
    a.stop();
    let a = cluster.serve("a", &[]);
    a.sees(&["a", "d"]);
    a.stop();
    let a = cluster.serve("a", &["--cluster-banned", &id]);
    let words = d.says("this node is banned");
    assert!(words.contains("cluster.banned") && words.contains("dunlin cluster invite"), "{words}");
    a.sees(&["a"]);
    drop(d);
    is_refused(cluster.refused("d", &["--cluster-banned", &id]), &["is banned", "take the id off that list"]);
}

#[test]
fn a_node_of_another_cluster_is_told_so_and_let_in_nowhere() {
    let (_cluster, a, port) = one();
    let other = Cluster::init(&[("z", free_pair())]);
    let seed = format!("localhost:{}", port + 1);
    let z = other.serve("z", &["--node-seeds", &seed]);
    let words = z.says("a node of another cluster");
    assert!(words.contains("dunlin cluster invite") && words.contains(&seed), "{words}");
    z.sees(&["z"]);
    assert_eq!((a.members().len(), z.members().len()), (1, 1));
}

#[test]
fn a_copied_directory_beside_its_original_ends_one_of_the_two() {
    let (cluster, a, _) = one();
    let place = cluster.place("d");
    let mut d = cluster.serve_in(&place, free_pair(), &["--join", &cluster.invite(&["--name", "d"])]);
    a.sees(&["a", "d"]);
    d.ready();
    let copy = cluster.place("copy");
    copy_directory(&place, &copy);
    let mut copied = cluster.serve_in(&copy, free_pair(), &[]);
    let (status, words) = until("one of the two ends", || {
        let (first, second) = (d.ended().map(|status| (status, d.log())), copied.ended());
        first.or(second.map(|status| (status, copied.log())))
    });
    assert_eq!(status, Some(11), "{words}");
    let last = words.lines().last().unwrap();
    assert!(last.contains("identity is taken") && last.contains("dunlin cluster invite"), "{last}");
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A client without a certificate, that trusts the cluster's nodes and speaks this protocol.
fn stranger(cluster: &Cluster, protocol: &[u8]) -> quinn::Endpoint {
    let ca = fs::read(cluster.home().join("ca.pem")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![protocol.to_vec()];
    let tls = QuicClientConfig::try_from(tls).unwrap();
    let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
    endpoint
}

#[test]
fn strangers_cost_the_issuer_little_and_keep_nobody_out_for_long() {
    let (cluster, a, port) = one();
    let layout = fs::read_to_string(cluster.home().join("layout.json")).unwrap();
    let layout: dunlin::ring::Layout = serde_json::from_str(&layout).unwrap();
    let name = dunlin::runtime::certificates::cluster_name(layout.cluster);
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let idle = runtime.block_on(async {
        let endpoint = stranger(&cluster, b"dunlin-join/1");
        // Nothing at all, no message, too long a message: each is sent away.
        for bytes in [&b""[..], b"\x01hello", &[0x91; 1 << 20]] {
            let connection = endpoint.connect(address, &name).unwrap().await.unwrap();
            let mut stream = connection.open_uni().await.unwrap();
            // A refusal may come in the middle.
            let _ = stream.write_all(bytes).await;
            let _ = stream.finish();
            let closed = tokio::time::timeout(Duration::from_secs(30), connection.closed()).await.unwrap();
            assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(_)), "{closed}");
        }
        // Without a certificate no peer's protocol is heard.
        let peer = stranger(&cluster, b"dunlin/1");
        if let Ok(connection) = peer.connect(address, &name).unwrap().await {
            tokio::time::timeout(HANDSHAKE_TIMEOUT * 5, connection.closed()).await.unwrap();
        }
        // Who says nothing takes a seat; there are four, and further ones are sent away at once.
        let mut idle = Vec::new();
        for _ in 0..8 {
            idle.push(endpoint.connect(address, &name).unwrap().await.unwrap());
        }
        for connection in &idle[4..] {
            tokio::time::timeout(Duration::from_secs(5), connection.closed()).await.unwrap();
        }
        assert!(idle[..4].iter().all(|connection| connection.close_reason().is_none()));
        idle
    });
    let d = cluster.serve_in(&cluster.place("d"), free_pair(), &["--join", &cluster.invite(&["--name", "d"])]);
    d.says("asking again");
    // The seats are free again after a while, whether these connections go or stay.
    a.sees(&["a", "d"]);
    drop(idle);
}
