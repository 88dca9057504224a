//! Backup and restore of real nodes, by the program itself.

#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod dev_cluster;

use dev_cluster::Cluster;
use dunlin::client::Request;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Values long enough that a few hundred of them fill several segments of the smallest size.
const VALUE_BYTES: usize = 16 << 10;

/// Nodes on a directory that stays.
fn start(home: &Path, nodes: usize) -> Cluster {
    Cluster::start(nodes, |dev| {
        dev.arg("--data").arg(home).env("DUNLIN_STORAGE_SEGMENT_BYTES", "1MiB");
    })
}

impl Cluster {
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

fn data(home: &Path, node: usize) -> PathBuf {
    home.join(format!("node{node}")).join("data")
}

fn back_up(data: &Path, to: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dunlin")).arg("backup").arg(data).arg("--to").arg(to).output().unwrap()
}

fn inspect(data: &Path, key: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    command.arg("inspect").arg("--verify").arg(data);
    if let Some(key) = key {
        command.arg("--encryption-key-file").arg(key);
    }
    command.output().unwrap()
}

/// The first node as an operator starts it, to its end: only for one that refuses.
fn serve(home: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dunlin")).arg("serve").arg("--config").arg(config(home)).output().unwrap()
}

fn config(home: &Path) -> PathBuf {
    home.join("node1").join("node.toml")
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
    let cluster = start(home.path(), 1);
    let (answered, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let before = std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            for number in 0.. {
                cluster.put(key(number).as_bytes(), &value(number));
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
    let inspected = inspect(&backup, None);
    assert!(inspected.status.success() && told(&inspected).contains("a backup"), "{}", told(&inspected));

    restore(&backup, &data(home.path(), 1));
    let cluster = start(home.path(), 1);
    for number in 0..before {
        assert_eq!(cluster.get(&key(number)), Some(value(number)), "{number} of {before}");
    }
    let log = std::fs::read_to_string(home.path().join("node1").join("log")).unwrap();
    assert!(log.contains("reason=Restored"), "{log}");
    cluster.put(b"key 0", b"again");
    assert_eq!(cluster.get("key 0").as_deref(), Some(&b"again"[..]));
}

/// What a cluster should hold.
#[derive(Default)]
struct Expected(std::collections::BTreeMap<usize, Option<Vec<u8>>>);

impl Expected {
    fn put(&mut self, cluster: &Cluster, numbers: Range<usize>, round: u8) {
        for number in numbers {
            let value = vec![round; 100 + number];
            cluster.put(key(number).as_bytes(), &value);
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
    let (cluster, mut expected) = (start(home.path(), 3), Expected::default());
    expected.put(&cluster, 0..150, 1);
    let output = back_up(&data(home.path(), 2), &backup);
    assert!(output.status.success(), "{}", told(&output));
    expected.put(&cluster, 30..60, 2);
    expected.delete(&cluster, 60..90);
    expected.put(&cluster, 150..200, 1);
    drop(cluster);
    restore(&backup, &data(home.path(), 2));
    let cluster = start(home.path(), 3);
    expected.compare(&cluster);
    expected.put(&cluster, 0..200, 3);
    expected.compare(&cluster);
}

#[test]
fn a_cluster_restored_from_backups_of_different_moments_has_what_was_answered_before_the_first() {
    let home = tempfile::tempdir().unwrap();
    let backups = [1, 2, 3].map(|node| home.path().join(format!("backup{node}")));
    let (cluster, mut expected) = (start(home.path(), 3), Expected::default());
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
    let cluster = start(home.path(), 3);
    expected.compare(&cluster);
    expected.put(&cluster, 0..150, 4);
    expected.compare(&cluster);
}

#[test]
fn half_a_backup_is_opened_by_nobody_and_a_target_in_use_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    drop(start(home.path(), 1));
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
    let served = serve(home.path());
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

/// Says in the first node's configuration where its keys are.
fn encrypt_with(home: &Path, keys: &str) {
    let text = std::fs::read_to_string(config(home)).unwrap();
    let others = text.lines().filter(|line| !line.starts_with("encryption_key_file"));
    let mut lines: Vec<String> = others.map(str::to_owned).collect();
    let storage = lines.iter().position(|line| line == "[storage]").unwrap_or_else(|| {
        lines.push("[storage]".into());
        lines.len() - 1
    });
    lines.insert(storage + 1, format!("encryption_key_file = {keys}"));
    std::fs::write(config(home), lines.join("\n")).unwrap();
}

fn value_of_any_size(number: usize) -> Vec<u8> {
    format!("plain words {number}, ").into_bytes().repeat(1 + number % 400)
}

fn holds(directory: &Path, words: &[u8]) -> bool {
    let mut files = std::fs::read_dir(directory).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    files.any(|bytes| bytes.windows(words.len()).any(|window| window == words))
}

#[test]
fn an_encrypted_node_is_restored_with_its_key_and_with_no_other() {
    let home = tempfile::tempdir().unwrap();
    let (backup, key_file) = (home.path().join("backup"), home.path().join("node1").join("node.key"));
    // Makes the configuration: nothing is written yet.
    drop(start(home.path(), 1));
    std::fs::write(&key_file, "0f".repeat(32)).unwrap();
    encrypt_with(home.path(), "[\"node.key\"]");
    let cluster = start(home.path(), 1);
    (0..600).for_each(|number| cluster.put(key(number).as_bytes(), &value_of_any_size(number)));
    (0..50).for_each(|number| cluster.delete(&key(number)));
    let output = back_up(&data(home.path(), 1), &backup);
    assert!(output.status.success() && !told(&output).contains(" 0 files linked"), "{}", told(&output));
    // Lost with the disk.
    cluster.put(key(599).as_bytes(), b"later");
    drop(cluster);
    assert!(!holds(&backup, b"plain words"));
    let inspected = inspect(&backup, Some(&key_file));
    assert!(inspected.status.success() && told(&inspected).contains("object: "), "{}", told(&inspected));
    let blind = inspect(&backup, None);
    assert!(blind.status.code() == Some(1) && told(&blind).contains("not decrypted"), "{}", told(&blind));

    restore(&backup, &data(home.path(), 1));
    encrypt_with(home.path(), "[]");
    let served = serve(home.path());
    let no_key = "the directory is encrypted, and no key is given (storage.encryption_key_file)";
    assert!(served.status.code() == Some(2) && told(&served).contains(no_key), "{}", told(&served));
    encrypt_with(home.path(), "[\"node.key\"]");
    std::fs::write(&key_file, "1e".repeat(32)).unwrap();
    let served = serve(home.path());
    let wrong_key = "none of the keys given (storage.encryption_key_file) opens data key 1 of the directory";
    assert!(served.status.code() == Some(2) && told(&served).contains(wrong_key), "{}", told(&served));
    std::fs::write(&key_file, "0f".repeat(32)).unwrap();

    let cluster = start(home.path(), 1);
    for number in 0..600 {
        let expected = (number >= 50).then(|| value_of_any_size(number));
        assert_eq!(cluster.get(&key(number)), expected, "{number}");
    }
}
