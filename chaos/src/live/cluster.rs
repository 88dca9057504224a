//! A real cluster: processes of the shipped binary, in a directory of their own.

use super::operator::Operator;
use super::process::NodeProcess;
use std::fs::DirBuilder;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// N of every cluster with so many nodes; smaller ones hold everything on all.
const REPLICAS: usize = 3;

/// Tries at finding two UDP ports side by side. One in two succeeds on a busy machine.
const PORT_TRIES: usize = 100;

/// The cluster; its processes and, unless kept, its directory go with this value.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) nodes: Vec<NodeProcess>,
    pub(super) replicas: usize,
    /// Where all nodes serve, those included that are still to join.
    http: Vec<SocketAddr>,
    binary: PathBuf,
    directory: PathBuf,
    keep: Keep,
}

/// What becomes of the directory at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// It is removed.
    Nothing,
    /// It stays: somebody wants to look.
    Everything,
}

impl Cluster {
    /// Makes a cluster's files with `dunlin cluster init`, and room for so many more nodes; starts nothing.
    pub(super) fn make(binary: &Path, nodes: usize, more: usize, keep: Keep) -> Result<Cluster, String> {
        let replicas = REPLICAS.min(nodes);
        let directory = new_directory()?;
        // From here on the directory goes with the value, also if what follows fails.
        let http = free_tcp(nodes + more)?;
        let mut cluster = Cluster { nodes: Vec::new(), replicas, http, binary: binary.into(), directory, keep };
        let home = cluster.home();
        let names: Vec<String> = (1..=nodes).map(|number| format!("node{number}")).collect();
        initialise(binary, &home, &names, &free_udp_pairs(nodes)?, replicas)?;
        let process = |(name, http): (&String, &SocketAddr)| NodeProcess::new(name, *http, binary, home.join(name));
        cluster.nodes = names.iter().zip(&cluster.http).map(process).collect();
        Ok(cluster)
    }

    /// Starts all nodes.
    pub(super) fn start_all(&mut self) -> Result<(), String> {
        self.nodes.iter_mut().try_for_each(NodeProcess::start)
    }

    /// Starts one more node, with a ticket.
    pub(super) fn add(&mut self, name: &str, ticket: String) -> Result<(), String> {
        let http = self.http.get(self.nodes.len()).copied().ok_or("no room was made for one more node")?;
        let peer = free_udp_pairs(1)?.pop().ok_or("no free UDP port")?;
        let directory = self.home().join(name);
        DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(|error| format!("{}: {error}", directory.display()))?;
        let mut node = NodeProcess::new(name, http, &self.binary, directory).invited(ticket, peer);
        node.start()?;
        self.nodes.push(node);
        Ok(())
    }

    /// Who may change the cluster.
    pub(super) fn operator(&self) -> Operator {
        Operator::new(&self.binary, self.home())
    }

    fn home(&self) -> PathBuf {
        self.directory.join("cluster")
    }

    /// SIGKILL to these, at once; returns when they are gone.
    pub(super) fn kill(&mut self, nodes: &[usize]) -> Result<(), String> {
        nodes.iter().try_for_each(|node| self.nodes[*node].kill())?;
        nodes.iter().try_for_each(|node| self.nodes[*node].bury())
    }

    /// Nodes that ended by themselves since the last look, and how.
    pub(super) fn ended(&mut self) -> Vec<String> {
        self.nodes.iter_mut().filter_map(NodeProcess::ended).collect()
    }

    /// Where clients reach the nodes, those included that are still to join.
    pub(super) fn urls(&self) -> Vec<String> {
        self.http.iter().map(|http| format!("http://{http}")).collect()
    }

    /// Everything of the run: the nodes' directories, their logs, the history.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Leaves the directory behind.
    pub(super) fn keep(&mut self) {
        self.keep = Keep::Everything;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Processes first: they write.
        self.nodes.clear();
        if self.keep == Keep::Everything {
            eprintln!("chaos: kept {}", self.directory.display());
        } else if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("chaos: cannot remove {}: {error}", self.directory.display());
        }
    }
}

/// The binary to test: the one named, or the one built into the same directory as this program.
pub(super) fn find_binary(named: Option<&Path>) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    let beside = own.parent().unwrap_or(Path::new(".")).join("dunlin");
    let binary = named.map_or(beside, Path::to_path_buf);
    if binary.is_file() {
        return binary.canonicalize().map_err(|error| format!("{}: {error}", binary.display()));
    }
    let release = if cfg!(debug_assertions) { "" } else { " --release" };
    Err(format!("there is no {}; build it with: cargo build{release} --bin dunlin", binary.display()))
}

pub(super) fn new_directory() -> Result<PathBuf, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let directory = std::env::temp_dir().join(format!("dunlin-chaos-{}-{now:x}", std::process::id()));
    let made = DirBuilder::new().mode(0o700).create(&directory);
    made.map(|()| directory.clone()).map_err(|error| format!("{}: {error}", directory.display()))
}

pub(super) fn initialise(
    binary: &Path,
    home: &Path,
    names: &[String],
    peers: &[SocketAddr],
    replicas: usize,
) -> Result<(), String> {
    let nodes: Vec<String> = names.iter().zip(peers).map(|(name, peer)| format!("{name}={peer}")).collect();
    let output = Command::new(binary)
        .args(["cluster", "init", "--nodes", &nodes.join(","), "--replicas", &replicas.to_string(), "--dir"])
        .arg(home)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", binary.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("dunlin cluster init ({}): {said}", output.status)) }
}

/// Free at this moment. All are held until all are chosen, so that none is chosen twice.
pub(super) fn free_tcp(count: usize) -> Result<Vec<SocketAddr>, String> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listeners: Vec<TcpListener> =
        (0..count).map(bind).collect::<Result<_, _>>().map_err(|error| no_port(&error))?;
    listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>().map_err(|error| no_port(&error))
}

/// Ports whose successor is free as well: membership takes it.
pub(super) fn free_udp_pairs(count: usize) -> Result<Vec<SocketAddr>, String> {
    let mut held = Vec::new();
    let mut chosen = Vec::new();
    for _ in 0..PORT_TRIES * count {
        if chosen.len() == count {
            break;
        }
        let first = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| no_port(&error))?;
        let address = first.local_addr().map_err(|error| no_port(&error))?;
        let next = address.port().checked_add(1);
        if let Some(second) = next.and_then(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).ok()) {
            held.push((first, second));
            chosen.push(address);
        }
    }
    if chosen.len() == count { Ok(chosen) } else { Err("no two free UDP ports side by side on 127.0.0.1".into()) }
}

fn no_port(error: &std::io::Error) -> String {
    format!("no free port on 127.0.0.1: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_node_gets_ports_of_its_own() {
        let peers: Vec<u16> = free_udp_pairs(5).unwrap().iter().map(SocketAddr::port).collect();
        let taken: BTreeSet<u16> = peers.iter().flat_map(|port| [*port, port + 1]).collect();
        assert_eq!(taken.len(), 10);
        assert_eq!(free_tcp(5).unwrap().into_iter().collect::<BTreeSet<_>>().len(), 5);
    }

    #[test]
    fn a_missing_binary_is_told_with_the_command_that_builds_it() {
        let error = find_binary(Some(Path::new("/nowhere/dunlin"))).unwrap_err();
        assert!(error.contains("cargo build") && error.contains("--bin dunlin"), "{error}");
    }

    #[test]
    fn a_cluster_that_cannot_be_made_leaves_nothing_behind() {
        let before = ours();
        assert!(Cluster::make(Path::new("/bin/false"), 3, 0, Keep::Nothing).is_err());
        assert_eq!(ours(), before);
    }

    fn ours() -> BTreeSet<PathBuf> {
        let prefix = format!("dunlin-chaos-{}-", std::process::id());
        let entries = std::fs::read_dir(std::env::temp_dir()).unwrap();
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix))).collect()
    }
}
