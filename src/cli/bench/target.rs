//! The nodes that requests go to.

use crate::base::Key;
use crate::client::{Client, Method, Request};
use crate::ring::Partitioning;
use serde::Deserialize;
use std::net::{SocketAddr, ToSocketAddrs};

/// Which node a request is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Route {
    /// Each connection stays with one node, whatever the key: most requests cost a hop between nodes.
    Any,
    /// Each request goes to the first primary of its key, as a client that knows the placement does.
    Placement,
}

/// Where everything is.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) nodes: Vec<Node>,
    placement: Option<Placement>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) url: String,
    pub(super) address: SocketAddr,
    /// What the `Host` header says.
    pub(super) host: String,
}

#[derive(Debug)]
struct Placement {
    partitioning: Partitioning,
    /// For each partition the index of its first primary that has a URL.
    nodes: Vec<usize>,
}

/// What matters here of `GET /cluster/ring`.
#[derive(Deserialize)]
struct Ring {
    partitions: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    primaries: Vec<String>,
}

/// What matters here of `GET /cluster`.
#[derive(Deserialize)]
struct Members {
    node: Named,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

impl Target {
    /// Looks the nodes up.
    pub(super) async fn find(urls: &[String], route: Route) -> Result<Target, String> {
        let nodes = urls.iter().map(|url| Node::at(url)).collect::<Result<Vec<Node>, String>>()?;
        let placement = match route {
            Route::Any => None,
            Route::Placement => Some(placement(urls).await?),
        };
        Ok(Target { nodes, placement })
    }

    /// The node that a connection's request for a key goes to.
    pub(super) fn node_for(&self, connection: usize, key: &[u8]) -> usize {
        let placed = self.placement.as_ref().and_then(|placement| {
            let key = Key::new(key.to_vec()).ok()?;
            placement.nodes.get(placement.partitioning.of(&key).0 as usize).copied()
        });
        placed.unwrap_or(connection % self.nodes.len().max(1))
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }
}

impl Node {
    fn at(url: &str) -> Result<Node, String> {
        let url = url.trim_end_matches('/');
        let host = url.strip_prefix("http://").filter(|host| !host.is_empty() && !host.contains('/'));
        let host = host.ok_or_else(|| format!("{url:?} is not a node's URL: http://HOST:PORT is expected"))?;
        let named = if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let mut addresses = named.to_socket_addrs().map_err(|error| format!("{url}: {error}"))?;
        let address = addresses.next().ok_or_else(|| format!("{url}: no address"))?;
        Ok(Node { url: url.to_owned(), address, host: host.to_owned() })
    }
}

async fn placement(urls: &[String]) -> Result<Placement, String> {
    let client = Client::new(urls).map_err(|error| error.to_string())?;
    let mut names = Vec::with_capacity(urls.len());
    for node in 0..urls.len() {
        names.push(fetch::<Members>(&client, node, "/cluster").await?.node.name);
    }
    let ring: Ring = fetch(&client, 0, "/cluster/ring").await?;
    let partitions = u32::try_from(ring.partitions.len()).unwrap_or(u32::MAX);
    let partitioning = Partitioning::new(partitions).map_err(|error| format!("/cluster/ring: {error}"))?;
    let place = |row: &Row| row.primaries.iter().find_map(|primary| names.iter().position(|name| name == primary));
    // A partition none of whose primaries has a URL: any node passes the request on.
    let nodes = ring.partitions.iter().map(|row| place(row).unwrap_or_default()).collect();
    Ok(Placement { partitioning, nodes })
}

async fn fetch<T: for<'de> Deserialize<'de>>(client: &Client, node: usize, path: &str) -> Result<T, String> {
    let answer = client.send(Request::raw(Method::GET, path).at(node)).await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&answer.body).map_err(|error| format!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_host_and_port() {
        let node = Node::at("http://127.0.0.1:8101/").unwrap();
        assert_eq!((node.address, node.host.as_str()), ("127.0.0.1:8101".parse().unwrap(), "127.0.0.1:8101"));
        assert_eq!(Node::at("http://[::1]:9").unwrap().address, "[::1]:9".parse().unwrap());
        assert_eq!(Node::at("http://127.0.0.1").unwrap().address.port(), 80);
        for url in ["", "127.0.0.1:1", "https://127.0.0.1:1", "http://127.0.0.1:1/kv"] {
            assert!(Node::at(url).is_err(), "{url}");
        }
    }

    #[test]
    fn requests_go_where_their_key_is() {
        let nodes = ["http://127.0.0.1:1", "http://127.0.0.1:2"].map(|url| Node::at(url).unwrap()).to_vec();
        let partitioning = Partitioning::new(8).unwrap();
        let placement = Placement { partitioning, nodes: (0..8).map(|partition| partition % 2).collect() };
        let target = Target { nodes: nodes.clone(), placement: Some(placement) };
        for key in [&b"a"[..], b"b", b"c"] {
            let partition = partitioning.of(&Key::new(key.to_vec()).unwrap()).0 as usize;
            assert_eq!(target.node_for(1, key), partition % 2);
        }
        assert_eq!(Target { nodes, placement: None }.node_for(3, b"a"), 1);
    }
}
