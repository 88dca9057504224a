//! Backup and restore of real nodes, by the program itself.

#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use dunlin::client::{Client, Method, Request};
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Values long enough that a few hundred of them fill several segments of the smallest size.
const VALUE_BYTES: usize = 16 << 10;

/// `dunlin dev` on a directory that stays.
struct Cluster {
    dev: Child,
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Cluster {
    fn start(home: &Path, nodes: usize) -> Cluster {
        let mut dev = Command::new(env!("CARGO_BIN_EXE_dunlin"))
            .args(["dev", "--nodes", &nodes.to_string(), "--http-port", "0", "--data"])
            .arg(home)
            .env("DUNLIN_STORAGE_SEGMENT_BYTES", "1MiB")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(dev.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let urls: Vec<String> = ready.split_whitespace().skip(1).map(str::to_owned).collect();
        assert_eq!(urls.len(), nodes, "{ready}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let cluster = Cluster { dev, client: Client::new(urls.clone()).unwrap(), runtime };
        urls.iter().for_each(|url| cluster.wait_until_ready(url));
        cluster
    }

    /// Until every partition has been compared with the others'.
    fn wait_until_ready(&self, url: &str) {
        let client = Client::new(vec![url.to_owned()]).unwrap();
        let ready = async {
            while client.send(Request::raw(Method::GET, "/readyz")).await.unwrap().status != 200 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        self.runtime.block_on(ready);
    }

    fn send(&self, request: Request) -> dunlin::client::Answer {
        self.runtime.block_on(self.client.send(request)).unwrap()
    }

    fn put(&self, key: &str, value: &[u8]) {
        assert!(self.send(Request::put(key.as_bytes(), value.to_vec())).status.is_success());
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        let answer = self.send(Request::get(key.as_bytes()).query("r", "all"));
        match answer.status.as_u16() {
            200 => Some(answer.body.to_vec()),
            404 => None,
            other => panic!("{key}: {other}"),
        }
    }

    fn delete(&self, key: &str) {
        assert_eq!(self.send(Request::delete(key.as_bytes())).status, 204);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It ends its nodes when it is asked to.
        let _ = Command::new("kill").args(["-TERM", &self.dev.id().to_string()]).status();
        let _ = self.dev.wait();
    }
}

fn data(home: &Path, node: usize) -> PathBuf {
    home.join(format!("node{node}")).join("data")
}

fn back_up(data: &Path, to: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dunlin")).arg("backup").arg(data).arg("--to").arg(to).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Puts the backup in the place of the data, as an operator would.
fn restore(backup: &Path, data: &Path) {
    std::fs::remove_dir_all(data).unwrap();
    assert!(Command::new("cp").arg("-a").arg(backup).arg(data).status().unwrap().success());
}

fn key(number: usize) -> String {
    format!("key {number}")
}

fn value(number: usize) -> Vec<u8> {
    let mut value = format!("value {number}").into_bytes();
    value.resize(VALUE_BYTES, number as u8);
    value
}

#[test]
fn a_backup_taken_under_load_has_every_write_that_was_answered_before_it_began() {
    let home = tempfile::tempdir().unwrap();
    let backup = home.path().join("backup");
    let cluster = Cluster::start(home.path(), 1);
    let (answered, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let before = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            for number in 0.. {
                cluster.put(&key(number), &value(number));
                answered.store(number + 1, Ordering::SeqCst);
                if over.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        while answered.load(Ordering::SeqCst) < 300 && !load.is_finished() {
            std::thread::yield_now();
        }
        let before = answered.load(Ordering::SeqCst);
        assert!(before >= 300, "the load has failed");
        let output = back_up(&data(home.path(), 1), &backup);
        over.store(true, Ordering::SeqCst);
        assert!(output.status.success(), "{}", told(&output));
        assert!(
            told(&output).contains("files linked") && !told(&output).contains(" 0 files linked"),
            "{}",
            told(&output)
        );
        before
    });
    drop(cluster);
    let inspected = Command::new(env!("CARGO_BIN_EXE_dunlin")).arg("inspect").arg("--verify").arg(&backup).output();
    let inspected = inspected.unwrap();
    assert!(inspected.status.success() && told(&inspected).contains("a backup"), "{}", told(&inspected));

    restore(&backup, &data(home.path(), 1));
    let cluster = Cluster::start(home.path(), 1);
    for number in 0..before {
        assert_eq!(cluster.get(&key(number)), Some(value(number)), "{number} of {before}");
    }
    let log = std::fs::read_to_string(home.path().join("node1").join("log")).unwrap();
    assert!(log.contains("reason=Restored"), "{log}");
    cluster.put("key 0", b"again");
    assert_eq!(cluster.get("key 0").as_deref(), Some(&b"again"[..]));
}

/// What a cluster should hold.
#[derive(Default)]
struct Expected(std::collections::BTreeMap<usize, Option<Vec<u8>>>);

impl Expected {
    fn put(&mut self, cluster: &Cluster, numbers: Range<usize>, round: u8) {
        for number in numbers {
            let value = vec![round; 100 + number];
            cluster.put(&key(number), &value);
            self.0.insert(number, Some(value));
        }
    }

    fn delete(&mut self, cluster: &Cluster, numbers: Range<usize>) {
        for number in numbers {
            cluster.delete(&key(number));
            self.0.insert(number, None);
        }
    }

    fn compare(&self, cluster: &Cluster) {
        for (number, value) in &self.0 {
            assert_eq!(cluster.get(&key(*number)), *value, "{number}");
        }
    }
}

#[test]
fn a_node_restored_from_an_old_backup_learns_what_it_has_missed_and_brings_nothing_back() {
    let home = tempfile::tempdir().unwrap();
    let backup = home.path().join("backup");
    let (cluster, mut expected) = (Cluster::start(home.path(), 3), Expected::default());
    expected.put(&cluster, 0..150, 1);
    let output = back_up(&data(home.path(), 2), &backup);
    assert!(output.status.success(), "{}", told(&output));
    expected.put(&cluster, 30..60, 2);
    expected.delete(&cluster, 60..90);
    expected.put(&cluster, 150..200, 1);
    drop(cluster);
    restore(&backup, &data(home.path(), 2));
    let cluster = Cluster::start(home.path(), 3);
    expected.compare(&cluster);
    expected.put(&cluster, 0..200, 3);
    expected.compare(&cluster);
}

#[test]
fn a_cluster_restored_from_backups_of_different_moments_has_what_was_answered_before_the_first() {
    let home = tempfile::tempdir().unwrap();
    let backups = [1, 2, 3].map(|node| home.path().join(format!("backup{node}")));
    let (cluster, mut expected) = (Cluster::start(home.path(), 3), Expected::default());
    expected.put(&cluster, 0..150, 1);
    expected.put(&cluster, 20..40, 2);
    expected.delete(&cluster, 0..20);
    for (node, backup) in (1..).zip(&backups) {
        let output = back_up(&data(home.path(), node), backup);
        assert!(output.status.success(), "{}", told(&output));
        if node == 1 {
            // Two of three nodes hold these, and one of those is backed up later: its clock wins over the first.
            expected.put(&cluster, 40..60, 3);
            expected.delete(&cluster, 60..80);
        }
    }
    // These are lost.
    (0..150).for_each(|number| cluster.delete(&key(number)));
    drop(cluster);
    for (node, backup) in (1..).zip(&backups) {
        restore(backup, &data(home.path(), node));
    }
    let cluster = Cluster::start(home.path(), 3);
    expected.compare(&cluster);
    expected.put(&cluster, 0..150, 4);
    expected.compare(&cluster);
}

#[test]
fn half_a_backup_is_opened_by_nobody_and_a_target_in_use_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    drop(Cluster::start(home.path(), 1));
    let data = data(home.path(), 1);
    let (whole, half) = (home.path().join("whole"), home.path().join("half"));
    assert!(back_up(&data, &whole).status.success());
    let again = back_up(&data, &whole);
    assert!(again.status.code() == Some(1) && told(&again).contains("the target is not empty"), "{}", told(&again));
    let inside = back_up(&data, &data.join("backup"));
    assert!(inside.status.code() == Some(1) && told(&inside).contains("lies in the data"), "{}", told(&inside));
    assert!(!data.join("backup").exists());

    restore(&whole, &data);
    std::fs::write(data.join("backup-unfinished"), "").unwrap();
    let config = home.path().join("node1").join("node.toml");
    let served = Command::new(env!("CARGO_BIN_EXE_dunlin")).arg("serve").arg("--config").arg(config).output().unwrap();
    assert!(
        served.status.code() == Some(2) && told(&served).contains("a backup that was not finished"),
        "{}",
        told(&served)
    );
    let copied = back_up(&data, &half);
    assert!(
        copied.status.code() == Some(1) && told(&copied).contains("a backup that was not finished"),
        "{}",
        told(&copied)
    );
    let opened = back_up(&data, &home.path().join("none").join("none"));
    assert!(opened.status.code() == Some(1) && told(&opened).contains("No such file"), "{}", told(&opened));
}
