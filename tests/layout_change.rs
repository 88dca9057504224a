//! Layout changes by the program itself: real processes, a load on them, and every record read back from every node.

#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

#[expect(dead_code, reason = "the other test uses the rest")]
mod join_cluster;

use dunlin::client::{Client, Method, Request};
use join_cluster::{Cluster, Node, dunlin, free_pair, until};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Records written before anything changes.
const RECORDS: usize = 200;

/// An operator's command at a node.
#[track_caller]
fn operate(node: &Node, arguments: &[&str]) -> String {
    let output = dunlin().arg("cluster").args(arguments).args(["--url", &node.url()]).output().unwrap();
    let words = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {words}");
    words
}

/// Applies what is staged and waits until it is the one version that these nodes go by.
#[track_caller]
fn apply(at: &Node, version: u64, nodes: &[&Node]) {
    operate(at, &["apply"]);
    alone(version, nodes);
}

/// Waits until this is the one version that these nodes go by.
#[track_caller]
fn alone(version: u64, nodes: &[&Node]) {
    for node in nodes {
        until(&format!("layout {version} alone"), || {
            let report: Value = node.send(Request::raw(Method::GET, "/admin/layout")).json().unwrap();
            let alone = report["live"] == serde_json::json!([version]) && report["reading"] == version;
            alone.then_some(())
        });
    }
}

fn key(number: usize) -> Vec<u8> {
    format!("record/{number}").into_bytes()
}

/// Every record, from every node, of all its replicas.
#[track_caller]
fn read_everything(nodes: &[&Node]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for node in nodes {
        let client = Client::new([node.url()]).unwrap();
        for number in 0..RECORDS {
            let request = Request::get(&key(number)).query("r", "all").query("sloppy", "false");
            let answer = runtime.block_on(client.send(request)).unwrap();
            let value = String::from_utf8_lossy(&answer.body).into_owned();
            assert_eq!((answer.status.as_u16(), value), (200, format!("value {number}")), "record {number}");
        }
    }
}

/// Puts the records again and again, each with the value it has.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Vec<String>)>,
}

impl Writer {
    fn start(node: &Node) -> Writer {
        let (url, stop) = (node.url(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let client = Client::new([url]).unwrap();
            let (mut written, mut failed) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let number = written % RECORDS;
                let request = Request::put(&key(number), format!("value {number}"));
                let answer = runtime.block_on(client.send(request)).unwrap();
                if !answer.status.is_success() {
                    failed.push(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)));
                }
                written += 1;
            }
            (written, failed)
        });
        Writer { stop, thread }
    }

    /// No put has failed.
    #[track_caller]
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (written, failed) = self.thread.join().unwrap();
        assert!(failed.is_empty(), "{} of {written} puts failed: {failed:?}", failed.len());
        assert!(written > 0);
    }
}

#[test]
fn a_flock_changes_while_it_flies_and_loses_nothing() {
    let ports = [free_pair(), free_pair(), free_pair()];
    let cluster = Cluster::init(&[("a", ports[0]), ("b", ports[1]), ("c", ports[2])]);
    let [a, b, c] = ["a", "b", "c"].map(|name| cluster.serve(name, &[]));
    [&a, &b, &c].iter().for_each(|node| node.sees(&["a", "b", "c"]));
    for node in [&a, &b, &c] {
        node.ready();
    }
    for number in 0..RECORDS {
        assert!(a.send(Request::put(&key(number), format!("value {number}"))).status.is_success());
    }
    let join = |name: &str| {
        let ticket = cluster.invite(&["--name", name]);
        cluster.serve_in(&cluster.place(name), free_pair(), &["--join", &ticket, "--node-name", name])
    };
    let (d, e) = (join("d"), join("e"));
    [&a, &b, &c, &d, &e].iter().for_each(|node| node.sees(&["a", "b", "c", "d", "e"]));

    let writer = Writer::start(&b);
    assert!(operate(&b, &["join", "d"]).contains("staged on layout 1"));
    let plan = operate(&b, &["plan"]);
    assert!(plan.contains("joins") && plan.contains("1 -> 2") && plan.contains("for the busiest node"), "{plan}");
    operate(&c, &["pause"]);
    operate(&b, &["apply"]);
    until("every node pauses", || {
        let paused = |node: &Node| operate(node, &["layout"]).contains("transfers pause");
        [&a, &b, &c, &d, &e].into_iter().all(paused).then_some(())
    });
    read_everything(&[&a, &d]);
    assert!(operate(&a, &["layout"]).contains("writes go to 1 and 2, reads go by 1"));
    operate(&e, &["resume"]);
    alone(2, &[&a, &b, &c, &d, &e]);
    let cluster_of_d: Value = d.send(Request::raw(Method::GET, "/cluster")).json().unwrap();
    let objects = |of: &Value| of["objects"].as_u64().unwrap();
    let came: u64 = cluster_of_d["transfers"].as_array().unwrap().iter().map(objects).sum();
    assert!((1..2 * RECORDS as u64).contains(&came), "once and not twice: {cluster_of_d}");
    read_everything(&[&a, &d, &e]);
    operate(&d, &["leave", "a"]);
    operate(&d, &["replace", "c", "e"]);
    apply(&d, 3, &[&a, &b, &c, &d, &e]);
    writer.end();
    read_everything(&[&a, &b, &c, &d, &e]);

    // Those that left own nothing any more, and may go.
    a.stop();
    c.stop();
    read_everything(&[&b, &d, &e]);
    // What it goes by is kept.
    e.stop();
    let mut again = dunlin();
    again.args(["serve", "--node-data-dir"]).arg(cluster.place("e"));
    let e = Node::start(again, cluster.place("e-again.log"));
    e.sees(&["b", "d", "e"]);
    e.ready();
    read_everything(&[&e]);
}

#[test]
fn of_two_operators_one_wins_and_the_other_is_told() {
    let ports = [free_pair(), free_pair(), free_pair()];
    let cluster = Cluster::init(&[("a", ports[0]), ("b", ports[1]), ("c", ports[2])]);
    let [a, b, c] = ["a", "b", "c"].map(|name| cluster.serve(name, &[]));
    for node in [&a, &b, &c] {
        node.sees(&["a", "b", "c"]);
        node.ready();
    }
    operate(&a, &["weight", "a", "2"]);
    operate(&b, &["weight", "b", "3"]);
    apply(&a, 2, &[&a, &b, &c]);
    let output = dunlin().args(["cluster", "apply", "--url", &b.url()]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("staged on layout 1, but layout 2 is in force"), "{words}");
    operate(&b, &["abort"]);
    let output = dunlin().args(["cluster", "leave", "z", "--url", &b.url()]).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && words.contains("there is no node \"z\"; there are a, b, c"), "{words}");
}
