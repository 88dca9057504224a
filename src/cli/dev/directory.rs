//! The directory of a local cluster: made once, found again.

use crate::base::NodeId;
use crate::cli::cluster::{AUTHORITY_FILE, NODE_FILE, Plan, PlannedNode, create, replace_file};
use crate::ring::Partitioning;
use crate::runtime::settings::{HostPort, Sources};
use std::fs::{self, DirBuilder};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Nodes unless told otherwise: one may fail.
const DEFAULT_NODES: usize = 3;

/// Copies unless there are fewer nodes.
const REPLICAS: usize = 3;

/// A node of the local cluster.
#[derive(Debug, Clone)]
pub(super) struct DevNode {
    pub(super) name: String,
    pub(super) directory: PathBuf,
    pub(super) http: SocketAddr,
}

impl DevNode {
    /// Its settings.
    pub(super) fn file(&self) -> PathBuf {
        self.directory.join(NODE_FILE)
    }

    /// Where clients reach it.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.http)
    }
}

/// The cluster's directory; a temporary one goes with this value.
pub(super) struct Home {
    directory: PathBuf,
    keep: Keep,
}

#[derive(PartialEq)]
enum Keep {
    Always,
    WhileRunning,
}

impl Home {
    /// The directory that was named, or a new temporary one.
    pub(super) fn open(named: Option<PathBuf>) -> Result<Self, String> {
        if let Some(directory) = named {
            fs::create_dir_all(&directory).map_err(told(&directory))?;
            let directory = directory.canonicalize().map_err(told(&directory))?;
            return Ok(Self { directory, keep: Keep::Always });
        }
        let name = format!("dunlin-dev-{:016x}", rand::random::<u64>());
        let directory = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&directory).map_err(told(&directory))?;
        Ok(Self { directory, keep: Keep::WhileRunning })
    }

    /// The nodes of the cluster that is here, or of a new one.
    pub(super) fn prepare(&self, nodes: Option<usize>, http_port: u16) -> Result<Vec<DevNode>, String> {
        let directory = self.directory.display();
        let found = if self.directory.join(AUTHORITY_FILE).exists() { self.found() } else { 0 };
        let count = match (found, nodes) {
            (0, wanted) => wanted.unwrap_or(DEFAULT_NODES),
            (found, Some(wanted)) if wanted != found => {
                return Err(format!("{directory} holds a cluster of {found} nodes; leave out --nodes {wanted}"));
            }
            (found, _) => found,
        };
        let http = http_addresses(count, http_port)?;
        if found == 0 {
            create(&plan(&http)?, &self.directory)?;
        }
        http.into_iter().enumerate().map(|(index, http)| self.node(index, http)).collect()
    }

    fn found(&self) -> usize {
        (0..).take_while(|index| self.node_directory(*index).join(NODE_FILE).exists()).count()
    }

    fn node_directory(&self, index: usize) -> PathBuf {
        self.directory.join(node_name(index))
    }

    /// The node, with its file saying the address it is served on now: whoever starts it again by hand
    /// finds it in the same place.
    fn node(&self, index: usize, http: SocketAddr) -> Result<DevNode, String> {
        let node = DevNode { name: node_name(index), directory: self.node_directory(index), http };
        let file = node.file();
        let text = fs::read_to_string(&file).map_err(told(&file))?;
        let settings = Sources { file: file.clone(), text: text.clone(), ..Sources::default() }.load();
        let settings = settings.map_err(|error| error.to_string())?;
        if settings.node.http_address != http {
            replace_file(&file, &with_http_address(&text, http))?;
        }
        Ok(node)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.keep == Keep::WhileRunning
            && let Err(error) = fs::remove_dir_all(&self.directory)
        {
            eprintln!("dunlin dev: cannot remove {}: {error}", self.directory.display());
        }
    }
}

fn node_name(index: usize) -> String {
    format!("node{}", index + 1)
}

/// Replaces the line that sets it.
fn with_http_address(text: &str, http: SocketAddr) -> String {
    let sets_it = |line: &str| line.split_once('=').is_some_and(|(key, _)| key.trim() == "http_address");
    let line = |line: &str| if sets_it(line) { format!("http_address = \"{http}\"\n") } else { format!("{line}\n") };
    text.lines().map(line).collect()
}

fn plan(http: &[SocketAddr]) -> Result<Plan, String> {
    let mut plan = Plan::new(REPLICAS.min(http.len()), Partitioning::default());
    // All are held until all are chosen, so that none is chosen twice.
    let sockets: Vec<UdpSocket> = (0..2 * http.len()).map(|_| free_udp()).collect::<Result<_, _>>()?;
    let chosen: Vec<SocketAddr> = sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
    for (index, (pair, http)) in chosen.chunks_exact(2).zip(http).enumerate() {
        let [peer, membership] = pair else { continue };
        plan.nodes.push(PlannedNode {
            name: node_name(index),
            id: NodeId(rand::random()),
            zone: String::new(),
            address: host_port(*peer)?,
            membership_address: host_port(*membership)?,
            peer_listener: *peer,
            membership_listener: *membership,
            http_listener: *http,
        });
    }
    plan.issuer = plan.nodes.first().map(|node| node.name.clone());
    Ok(plan)
}

fn host_port(address: SocketAddr) -> Result<HostPort, String> {
    address.to_string().parse().map_err(|error: crate::runtime::settings::HostPortError| error.to_string())
}

fn free_udp() -> Result<UdpSocket, String> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| format!("no free UDP port on 127.0.0.1: {error}"))
}

/// Where the nodes serve HTTP: free at this moment, or it is better said now.
fn http_addresses(count: usize, first: u16) -> Result<Vec<SocketAddr>, String> {
    let port = |index: usize| {
        if first == 0 { Some(0) } else { u16::try_from(index).ok().and_then(|index| first.checked_add(index)) }
    };
    let bind = |index| {
        let port = port(index).ok_or_else(|| format!("--http-port {first}: {count} nodes need as many ports"))?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .map_err(|error| format!("127.0.0.1:{port}: {error}; choose another --http-port, or 0 for any"))
    };
    let listeners: Vec<TcpListener> = (0..count).map(bind).collect::<Result<_, _>>()?;
    let address = |listener: &TcpListener| listener.local_addr().map_err(|error| error.to_string());
    listeners.iter().map(address).collect()
}

fn told(path: &Path) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_found_again_with_its_peers_and_other_http_ports() {
        let directory = tempfile::tempdir().unwrap();
        let home = || Home::open(Some(directory.path().into())).unwrap();
        let settings = |node: &DevNode| Sources::of_process(&node.file(), Vec::new()).unwrap().load().unwrap();
        let first = home().prepare(Some(2), 0).unwrap();
        let before: Vec<_> = first.iter().map(settings).collect();
        let again = home().prepare(None, 0).unwrap();
        let after: Vec<_> = again.iter().map(settings).collect();
        assert_eq!(after.len(), 2);
        for (after, (before, node)) in after.iter().zip(before.iter().zip(&again)) {
            assert_eq!(after.node.peer_address, before.node.peer_address);
            assert_eq!(after.membership.address, before.membership.address);
            assert_eq!(after.node.http_address, node.http);
        }
        assert!(home().prepare(Some(3), 0).unwrap_err().contains("a cluster of 2 nodes"));
    }

    #[test]
    fn a_directory_with_something_else_in_it_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("letter"), "dear").unwrap();
        let home = Home::open(Some(directory.path().into())).unwrap();
        assert!(home.prepare(None, 0).unwrap_err().contains("is not empty"));
    }

    #[test]
    fn a_temporary_directory_goes_at_the_end() {
        let home = Home::open(None).unwrap();
        let directory = home.directory.clone();
        home.prepare(Some(1), 0).unwrap();
        drop(home);
        assert!(!directory.exists());
    }
}
