//! What a node says of a data directory that it cannot use, by the program itself.

#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use dunlin::causal::{Actor, DotSet};
use dunlin::ring::PartitionId;
use dunlin::runtime::disk::RealDisk;
use dunlin::store::{Birth, Body, CodecOptions, Disk, Durability, Encryption, OpenOptions, Record, SecretKey, open};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// A user without rights, for whom permissions count: they do not for the superuser.
const NOBODY: u32 = 65534;

/// The files of a cluster of one node.
struct Node {
    directory: tempfile::TempDir,
}

impl Node {
    fn made() -> Node {
        let directory = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_dunlin"))
            // Nobody gets so far as to listen there.
            .args(["cluster", "init", "--nodes", "a=127.0.0.1:7400", "--replicas", "1", "--dir"])
            .arg(directory.path().join("cluster"))
            .output();
        assert!(output.unwrap().status.success());
        Node { directory }
    }

    fn home(&self) -> PathBuf {
        self.directory.path().join("cluster").join("a")
    }

    fn data(&self) -> PathBuf {
        self.home().join("data")
    }

    fn serve(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        command.args(["serve", "--config"]).arg(self.home().join("node.toml"));
        command
    }

    /// The same as a user for whom permissions count.
    fn serve_unprivileged(&self) -> Command {
        let mut command = self.serve();
        if rustix::process::geteuid().is_root() {
            fs::set_permissions(self.directory.path(), Permissions::from_mode(0o755)).unwrap();
            give_away(&self.directory.path().join("cluster"));
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

fn give_away(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give_away(&entry.unwrap().path()));
    }
}

/// The exit status, and the last line.
fn ended(mut command: Command) -> (Option<i32>, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), words.lines().last().unwrap_or_default().to_owned())
}

#[test]
fn a_data_directory_that_is_a_file_is_named_as_such() {
    let node = Node::made();
    fs::remove_dir_all(node.data()).unwrap();
    fs::write(node.data(), "").unwrap();
    let (status, words) = ended(node.serve());
    assert_eq!((status, words), (Some(2), format!("dunlin: node.data_dir {}: not a directory", node.data().display())));
}

#[test]
fn a_directory_or_file_without_permission_is_named_with_what_is_needed() {
    let node = Node::made();
    let needed = "the node's user has to own the data directory and its files, on a file system that is not read-only";
    let command = node.serve_unprivileged();
    fs::set_permissions(node.data(), Permissions::from_mode(0o555)).unwrap();
    let (status, words) = ended(command);
    assert!(status == Some(2) && words.contains("Permission denied") && words.ends_with(needed), "{status:?} {words}");
    assert!(words.contains(node.data().to_str().unwrap()), "{words}");
    fs::set_permissions(node.data(), Permissions::from_mode(0o755)).unwrap();
    let identity = node.data().join("identity");
    fs::write(&identity, "").unwrap();
    fs::set_permissions(&identity, Permissions::from_mode(0o000)).unwrap();
    let (status, words) = ended(node.serve_unprivileged());
    assert!(status == Some(2) && words.contains("open identity: Permission denied"), "{status:?} {words}");
    assert!(words.ends_with(needed), "{words}");
}

#[test]
fn too_few_descriptors_are_named() {
    let node = Node::made();
    let mut command = Command::new("sh");
    // Whichever call is the first to lack one.
    command.args(["-c", "ulimit -n 9; exec \"$0\" serve --config \"$1\"", env!("CARGO_BIN_EXE_dunlin")]);
    command.arg(node.home().join("node.toml"));
    let (status, words) = ended(command);
    assert!(status == Some(1) && words.contains("Too many open files"), "{status:?} {words}");
}

#[test]
fn unknown_files_are_told_once_and_left_alone_and_a_directory_in_use_is_refused() {
    let node = Node::made();
    fs::write(node.data().join("notes.txt"), "").unwrap();
    let held = RealDisk::open(node.data()).unwrap();
    held.lock().unwrap();
    let output = node.serve().stdin(Stdio::null()).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    let told: Vec<&str> = words.lines().filter(|line| line.contains("unknown files")).collect();
    assert!(told.len() == 1 && told.iter().all(|line| line.contains("INFO") && line.contains("notes.txt")), "{words}");
    assert!(output.status.code() == Some(2) && words.contains("another process has this data directory"), "{words}");
    assert!(node.data().join("notes.txt").exists());
}

/// 64 digits of a master key.
fn digits(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

/// Makes the node's data directory one that is encrypted, and closes it.
fn encrypt(node: &Node, master: u8) {
    let options = OpenOptions {
        fresh_actor: Actor(7),
        segment_bytes: 1 << 20,
        durability: Durability::Fsync,
        boot: 1,
        birth: Birth::Complete,
        codec: CodecOptions {
            encryption: Some(Encryption {
                master_keys: vec![SecretKey::new([master; 32])],
                fresh_data_key: SecretKey::new([0x77; 32]),
            }),
            ..CodecOptions::default()
        },
    };
    let mut log = open(Arc::new(RealDisk::open(node.data()).unwrap()), options).unwrap().log;
    log.append(&[Record { partition: PartitionId(1), body: Body::Join { dots: DotSet::EMPTY } }]).unwrap();
    log.close().unwrap();
}

/// What the store has in the node's data directory, but for its lock.
fn store_files(node: &Node) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(node.data()).unwrap().map(|entry| entry.unwrap().path());
    let is_store = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        dunlin::store::is_store_file(&dunlin::store::FileName(name.to_owned()))
    };
    entries.filter(is_store).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn an_encrypted_directory_without_its_key_is_refused_in_clear_words_and_not_touched() {
    let node = Node::made();
    encrypt(&node, 0xa1);
    let before = store_files(&node);
    let short = node.home().join("short.key");
    fs::write(&short, digits(0xa1).get(..60).unwrap()).unwrap();
    let (wrong, right) = (digits(0xb2), digits(0xa1));
    let refusals: [(Option<&str>, Option<&Path>, &str); 6] = [
        (None, None, "the directory is encrypted, and no key is given (storage.encryption_key_file)"),
        (Some(&wrong), None, "none of the keys given (storage.encryption_key_file) opens data key 1 of the directory"),
        (Some("0xa1"), None, "one or two keys of 64 hexadecimal digits are expected"),
        (None, Some(&short), "holds no key; 32 random bytes (not text) or 64 hexadecimal digits are expected"),
        (None, Some(Path::new("/nowhere/key")), "cannot read /nowhere/key: No such file"),
        (Some(&right), Some(&short), "one of them is to say the key"),
    ];
    for (variable, file, expected) in refusals {
        let mut command = node.serve();
        command.envs(variable.map(|digits| ("DUNLIN_STORAGE_ENCRYPTION_KEY", digits)));
        command.args(file.map(|file| format!("--storage-encryption-key-file={}", file.display())));
        let (status, words) = ended(command);
        assert!(status == Some(2) && words.contains(expected), "{status:?} {words}");
        assert!(!words.contains(&right) && !words.contains(&wrong) && !words.contains("a1a1a1"), "{words}");
    }
    assert_eq!(store_files(&node), before);
}

#[test]
fn a_key_that_others_can_read_is_warned_of_with_its_mode_and_used() {
    let node = Node::made();
    encrypt(&node, 0xa1);
    let key = node.home().join("node.key");
    fs::write(&key, digits(0xb2)).unwrap();
    for (mode, warned) in [(0o600, None), (0o640, Some("0640")), (0o604, Some("0604")), (0o400, None)] {
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        let mut command = node.serve();
        command.arg(format!("--storage-encryption-key-file={}", key.display()));
        let output = command.stdin(Stdio::null()).output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        // It got as far as to use the key, which is another directory's.
        assert!(output.status.code() == Some(2) && words.contains("none of the keys given"), "{words}");
        let advice = format!("chmod 600 {}", key.display());
        let told = words.lines().find(|line| line.contains("WARN") && line.contains(&advice));
        assert_eq!(told.is_some(), warned.is_some(), "{mode:o}: {words}");
        assert!(told.zip(warned).is_none_or(|(told, mode)| told.contains(mode)), "{words}");
    }
}

#[test]
fn an_inspection_shows_the_structure_without_the_key_and_the_records_with_it() {
    let node = Node::made();
    encrypt(&node, 0xa1);
    let key = node.home().join("node.key");
    fs::write(&key, [0xa1; 32]).unwrap();
    let inspected = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
        let output = command.arg("inspect").arg(node.data()).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let before = store_files(&node);
    let (status, blind) = inspected(&["--verify"]);
    assert!(status == Some(1) && blind.contains("encrypted under data key 1") && !blind.contains("join: 1"), "{blind}");
    let locked = "encrypted: 1 segments and 1 key files not decrypted: checksums verified of";
    assert!(blind.contains(locked) && blind.contains("--encryption-key-file or DUNLIN_STORAGE_"), "{blind}");
    assert!(blind.ends_with("not all verified: no key is given\n"), "{blind}");
    let (status, structure) = inspected(&[]);
    assert!(status == Some(0) && structure.contains("1 key files not decrypted; --encryption"), "{structure}");
    let (status, sighted) = inspected(&["--verify", "--encryption-key-file", key.to_str().unwrap()]);
    assert!(status == Some(0) && sighted.contains("join: 1") && !sighted.contains("not decrypted"), "{sighted}");
    fs::write(&key, [0xb2; 32]).unwrap();
    let (status, wrong) = inspected(&["--verify", "--encryption-key-file", key.to_str().unwrap()]);
    assert!(status == Some(1) && wrong.contains("none of the keys given"), "{status:?} {wrong}");
    assert_eq!(store_files(&node), before);
}

#[test]
fn a_certificate_of_another_node_or_cluster_is_refused_with_what_to_do() {
    let (node, other) = (Node::made(), Node::made());
    let give = |names: &[&str]| {
        for name in names {
            fs::copy(other.home().join(name), node.home().join(name)).unwrap();
        }
    };
    give(&["certificate.pem", "key.pem"]);
    let (status, words) = ended(node.serve());
    assert!(status == Some(2) && words.contains("tls.certificate: it is a node's of cluster"), "{status:?} {words}");
    // Another cluster's settings and layout on this one's data directory, which has begun already.
    give(&["node.toml", "layout.json", "ca.pem", "secret"]);
    let (status, words) = ended(node.serve());
    assert_eq!(status, Some(2), "{words}");
    assert!(words.contains("in the settings") || words.contains("this data directory is that of node"), "{words}");
}
