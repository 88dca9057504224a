//! Nodes whose shards run on threads of their own, by the program itself.

#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod dev_cluster;

use dev_cluster::Cluster;
use dunlin::client::{Client, Method, Request};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const NODES: usize = 3;

/// Clients at once: more than there are threads in a node, so that each thread serves some.
const CLIENTS: usize = 8;

const KEYS_OF_A_CLIENT: usize = 40;

fn cluster(directory: &Path, shards: usize) -> Cluster {
    Cluster::start(NODES, |dev| {
        dev.arg("--data").arg(directory).env("DUNLIN_NODE_SHARDS", shards.to_string());
    })
}

fn key(client: usize, number: usize) -> String {
    format!("k/{client}/{number:02}")
}

fn all_keys() -> Vec<String> {
    (0..CLIENTS).flat_map(|client| (0..KEYS_OF_A_CLIENT).map(move |number| key(client, number))).collect()
}

/// Each client has a connection to each node, and a thread.
fn by_clients(cluster: &Cluster, work: impl Fn(usize, &dyn Fn(Request) -> dunlin::client::Answer) + Sync) {
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let work = &work;
            scope.spawn(move || {
                let client = Client::new(cluster.urls.clone()).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                work(number, &|request| runtime.block_on(client.send(request)).unwrap());
            });
        }
    });
}

fn page(cluster: &Cluster, path: &str) -> Value {
    let answer = cluster.send(Request::raw(Method::GET, path).query("limit", "1000").query("prefix", "k/"));
    assert_eq!(answer.status, 200, "{:?}", answer.json());
    answer.json().unwrap()
}

fn listed(cluster: &Cluster) -> Vec<String> {
    let items = page(cluster, "/kv")["items"].as_array().unwrap().clone();
    items.iter().map(|item| item["key"].as_str().unwrap().to_owned()).collect()
}

/// A page of keys, whatever is asked for and by whichever client, is of all shards; so is what a node shows of itself.
#[test]
fn shards_on_threads_of_their_own_are_one_node_to_clients_and_operators() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = cluster(directory.path(), 3);
    by_clients(&cluster, |client, send| {
        for number in 0..KEYS_OF_A_CLIENT {
            let key = key(client, number);
            assert!(send(Request::put(key.as_bytes(), key.clone())).status.is_success());
        }
    });
    cluster.put(b"other", b"x");
    (0..NODES).for_each(|_| assert_eq!(listed(&cluster), all_keys()));
    by_clients(&cluster, |client, send| {
        // Another's.
        for number in 0..KEYS_OF_A_CLIENT {
            let key = key((client + 1) % CLIENTS, number);
            let answer = send(Request::get(key.as_bytes()).query("r", "all"));
            assert_eq!((answer.status.as_u16(), answer.body.as_ref()), (200, key.as_bytes()));
            if number >= KEYS_OF_A_CLIENT / 2 {
                assert_eq!(send(Request::delete(key.as_bytes())).status, 204);
            }
        }
    });
    let left: Vec<String> =
        (0..CLIENTS).flat_map(|client| (0..KEYS_OF_A_CLIENT / 2).map(move |number| key(client, number))).collect();
    assert_eq!(listed(&cluster), left);
    let shown = cluster.send(Request::raw(Method::GET, "/cluster/partitions")).json().unwrap();
    let numbers: Vec<u64> =
        shown["partitions"].as_array().unwrap().iter().map(|held| held["partition"].as_u64().unwrap()).collect();
    assert!(numbers.len() > 3 && numbers.iter().copied().eq(0..numbers.len() as u64), "{numbers:?}");
}

#[test]
fn a_directory_is_closed_cleanly_and_opens_under_another_number_of_shards() {
    let directory = tempfile::tempdir().unwrap();
    for shards in [4, 1, 2] {
        let cluster = cluster(directory.path(), shards);
        let before = listed(&cluster);
        assert!(before.is_empty() || before == all_keys(), "{shards}: {}", before.len());
        by_clients(&cluster, |client, send| {
            for number in 0..KEYS_OF_A_CLIENT {
                let key = key(client, number);
                let context = send(Request::get(key.as_bytes())).context().map(str::to_owned);
                let put = Request::put(key.as_bytes(), format!("with {shards}"));
                let put = context.iter().fold(put, |put, context| put.context(context));
                assert!(send(put).status.is_success());
                let found = send(Request::get(key.as_bytes()));
                assert_eq!(found.body.as_ref(), format!("with {shards}").as_bytes());
            }
        });
        drop(cluster);
        for node in 1..=NODES {
            let data = directory.path().join(format!("node{node}")).join("data");
            let inspected = Command::new(env!("CARGO_BIN_EXE_dunlin")).arg("inspect").arg(data).output().unwrap();
            let words = String::from_utf8(inspected.stdout).unwrap();
            assert!(words.contains("closed cleanly"), "{words}");
        }
    }
}
