//! Listing, export and import against real nodes, by the program itself.

#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod dev_cluster;

use dev_cluster::Cluster;
use dunlin::client::{Client, Method, Request};
use hyper::header::HeaderName;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Nodes on a directory that goes with them.
fn cluster(nodes: usize) -> Cluster {
    Cluster::start(nodes, |_| {})
}

/// Ends a node at once: it is asked nothing.
fn kill(node: &Path) {
    let pid = std::fs::read_to_string(node.join("pid")).unwrap();
    assert!(Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap().success());
}

impl Cluster {
    fn run(&self, node: usize, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dunlin"))
            .args(arguments)
            .args(["--url", &self.urls[node]])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writing = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        // A program that has refused its arguments reads nothing.
        let _ = writing.join().unwrap();
        output
    }

    fn listed(&self, node: usize, arguments: &[&str]) -> Vec<String> {
        let output = self.run(node, &[&["list"], arguments].concat(), b"");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// The lines of an export by key, without their times.
    fn exported(&self) -> (Vec<u8>, BTreeMap<String, Vec<Value>>) {
        let output = self.run(0, &["export"], b"");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let mut keys = BTreeMap::new();
        for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let mut line: Value = serde_json::from_slice(line).unwrap();
            let siblings = line.as_object_mut().unwrap().remove("siblings").unwrap();
            let mut siblings = siblings.as_array().unwrap().clone();
            for sibling in &mut siblings {
                let said = sibling.as_object_mut().unwrap();
                assert!(said.remove("modified").is_some());
                if said.contains_key("expires_at") {
                    said.insert("expires_at".into(), json!("some time"));
                }
            }
            siblings.sort_by_key(Value::to_string);
            keys.insert(line.to_string(), siblings);
        }
        (output.stdout, keys)
    }
}

#[test]
fn every_node_lists_the_same_keys_and_a_deleted_one_is_gone() {
    let cluster = cluster(3);
    let keys: Vec<String> = (0..300).map(|number| format!("user/{number:03}")).collect();
    keys.iter().for_each(|key| cluster.put(key.as_bytes(), key.as_bytes()));
    cluster.put(b"other", b"x");
    for key in &keys[100..110] {
        assert_eq!(cluster.send(Request::delete(key.as_bytes())).status, 204);
    }
    let expected: Vec<String> = keys[..100].iter().chain(&keys[110..]).cloned().collect();
    for node in 0..3 {
        assert_eq!(cluster.listed(node, &["user/"]), expected);
    }
    assert_eq!(cluster.listed(1, &["--start", "user/299"]), ["user/299"]);
    assert_eq!(cluster.listed(2, &["user/", "--limit", "3"]), expected[..3]);
    let item: Value = serde_json::from_str(&cluster.listed(0, &["other", "--json"])[0]).unwrap();
    assert_eq!((&item["key"], &item["size"], &item["siblings"]), (&json!("other"), &json!(1), &json!(1)));
    let (mut found, mut cursor) = (0, None);
    loop {
        let request = Request::raw(Method::GET, "/kv").query("prefix", "user/").query("limit", "7");
        let request = request.query("values", "true");
        let request = cursor.iter().fold(request, |request, cursor: &String| request.query("cursor", cursor));
        let page = cluster.send(request).json().unwrap();
        for item in page["items"].as_array().unwrap() {
            assert_eq!((&item["key"], &item["value"]), (&json!(expected[found]), &json!(expected[found])));
            found += 1;
        }
        match page["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(found, expected.len());
}

#[test]
fn a_dead_node_is_missed_by_no_listing_that_can_do_without_it() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(3, |dev| {
        dev.arg("--data").arg(directory.path());
    });
    let keys: Vec<String> = (0..120).map(|number| format!("k/{number:03}")).collect();
    keys[..100].iter().for_each(|key| cluster.put(key.as_bytes(), b"before"));
    kill(&directory.path().join("node3"));
    let client = Client::new(vec![cluster.urls[0].clone()]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let send = |request| runtime.block_on(client.send(request)).unwrap();
    keys[100..].iter().for_each(|key| assert!(send(Request::put(key.as_bytes(), "after")).status.is_success()));
    for node in 0..2 {
        assert_eq!(cluster.listed(node, &["k/"]), keys);
    }
    let of_all = send(Request::raw(Method::GET, "/kv").query("prefix", "k/").query("r", "all"));
    assert_eq!(of_all.status, 503, "{:?}", of_all.json());
}

#[test]
fn an_export_imported_elsewhere_is_the_same_export() {
    let from = cluster(3);
    (0..50).for_each(|number| from.put(format!("k/{number:02}").as_bytes(), format!("value {number}").as_bytes()));
    from.put(b"\xff\x00 \xfe", b"\x00\xff");
    from.put(b"empty", b"");
    let meta = HeaderName::from_static("dunlin-meta-colour");
    let typed = HeaderName::from_static("content-type");
    let described = Request::put(b"described", "{}").header(meta, "red").header(typed, "application/json");
    assert!(from.send(described.query("ttl", "1h")).status.is_success());
    let context = from.send(Request::get(b"siblings")).context().unwrap().to_owned();
    for value in ["one", "two", "three"] {
        assert!(from.send(Request::put(b"siblings", value).context(&context)).status.is_success());
    }
    let (lines, exported) = from.exported();
    assert_eq!((exported.len(), exported[r#"{"key":"siblings"}"#].len()), (54, 3));
    assert_eq!(exported[r#"{"key":"described"}"#][0]["expires_at"], json!("some time"));
    drop(from);

    let into = cluster(1);
    let imported = into.run(0, &["import", "-"], &lines);
    let told = String::from_utf8_lossy(&imported.stderr).into_owned();
    assert_eq!((imported.status.code(), told.as_str()), (Some(0), "54 keys written, 0 expired, 0 failed\n"));
    assert_eq!(into.exported().1, exported);
    // Again: what is there is superseded, and no sibling is added.
    assert_eq!(into.run(0, &["import", "-"], &lines).status.code(), Some(0));
    assert_eq!(into.exported().1, exported);

    let broken = into.run(0, &["import", "-"], b"{\"key\":\"a\",\"siblings\":[{\"value_b64\":\"eA==\"}]}\nnonsense\n");
    let told = String::from_utf8_lossy(&broken.stderr).into_owned();
    assert_eq!(broken.status.code(), Some(3));
    assert!(told.contains("line 2: no JSON") && told.contains("1 keys written, 0 expired, 1 failed"), "{told}");
}
