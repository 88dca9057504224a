//! `dunlin cluster init`: a new cluster's identity, certificates, settings and first layout.

use super::birth::create;
use super::plan::{Plan, PlannedNode};
use crate::base::NodeId;
use crate::cli::exit::Failure;
use crate::membership::MAX_ZONE_BYTES;
use crate::ring::Partitioning;
use crate::runtime::settings::{HostPort, HostPortError, NAME_RULE, is_name};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Make a new cluster: its id, certificates and secret, and a directory for each node
///
/// Copy DIR/<name>/ to the node's machine and start `dunlin serve --config <name>/node.toml` there. DIR itself stays
/// with the operator, and so does DIR/ca-key.pem: whoever has it can make nodes. The first node has a copy, to let in
/// nodes that bring a ticket of `cluster invite`. DIR must be empty or absent.
#[derive(clap::Args)]
pub(in crate::cli) struct Init {
    /// The nodes and where peers reach them. Membership takes the next port
    #[arg(long, value_name = "NAME=HOST:PORT,...", required = true, value_delimiter = ',', value_parser = named_address)]
    nodes: Vec<(String, HostPort)>,
    /// Copies of everything (N)
    #[arg(long, default_value_t = 3)]
    replicas: u32,
    /// Slices of the hash space, a power of two: ten or more for each node there may ever be
    #[arg(long, default_value_t = Partitioning::DEFAULT_COUNT)]
    partitions: u32,
    /// What fails together (rack, room, region); nodes that are not named share one zone
    #[arg(long, value_name = "NAME=ZONE,...", value_delimiter = ',', value_parser = named_zone)]
    zones: Vec<(String, String)>,
    /// Port of HTTP on each host, on 127.0.0.1; the next node on the same host takes the next port
    #[arg(long, value_name = "PORT", default_value_t = 8101)]
    http_port_base: u16,
    /// Give no node the authority's key: tickets work only once tls.authority_key is set on one
    #[arg(long)]
    keyless: bool,
    /// Where the files go
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

impl Init {
    pub(super) fn run(self) -> Result<(), Failure> {
        let plan = self.plan().map_err(Failure::usage)?;
        create(&plan, &self.dir).map_err(Failure::new)?;
        let directory = self.dir.display();
        eprintln!("cluster {}: {} nodes in {directory}. On each node's machine:\n", plan.cluster, plan.nodes.len());
        for node in &plan.nodes {
            eprintln!(
                "  {}: copy {directory}/{}/ there, then: dunlin serve --config {}/node.toml",
                node.name, node.name, node.name
            );
        }
        eprintln!("\nKeep {directory}/ca-key.pem safe: whoever has it can make nodes.");
        if let Some(issuer) = &plan.issuer {
            eprintln!("{issuer} has a copy, to let in further nodes: dunlin cluster invite --dir {directory}");
        }
        println!("{}", plan.cluster);
        Ok(())
    }

    fn plan(&self) -> Result<Plan, String> {
        let partitioning = Partitioning::new(self.partitions).map_err(|error| error.to_string())?;
        if self.nodes.len() < self.replicas as usize {
            let (nodes, replicas) = (self.nodes.len(), self.replicas);
            return Err(format!("{nodes} nodes cannot hold {replicas} copies; name more nodes or lower --replicas"));
        }
        let zones: BTreeMap<_, _> = self.zones.iter().cloned().collect();
        if let Some(stranger) = zones.keys().find(|zone| self.nodes.iter().all(|(name, _)| name != *zone)) {
            return Err(format!("--zones names {stranger}, which --nodes does not"));
        }
        let mut plan = Plan::new(self.replicas as usize, partitioning);
        let mut on_host: BTreeMap<&str, u16> = BTreeMap::new();
        for (name, address) in &self.nodes {
            let before = on_host.entry(address.host()).or_default();
            let http_port = self.http_port_base.checked_add(*before).filter(|port| *port != 0);
            let http_port = http_port.ok_or_else(|| format!("{name}: no HTTP port is left; lower --http-port-base"))?;
            *before += 1;
            let zone = zones.get(name).cloned().unwrap_or_default();
            plan.nodes.push(planned(name, address, zone, http_port)?);
        }
        plan.issuer = plan.nodes.first().filter(|_| !self.keyless).map(|node| node.name.clone());
        distinct_nodes(&plan)?;
        Ok(plan)
    }
}

fn planned(name: &str, address: &HostPort, zone: String, http_port: u16) -> Result<PlannedNode, String> {
    let membership = address.next_port().ok_or_else(|| format!("{name}: {address} leaves no port for membership"))?;
    // A name may resolve to something that is no address of the machine itself.
    let listens = match (address.ip(), address.host()) {
        (Some(ip), _) => ip,
        (None, "localhost") => IpAddr::V4(Ipv4Addr::LOCALHOST),
        (None, _) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    Ok(PlannedNode {
        name: name.into(),
        id: NodeId(rand::random()),
        zone,
        peer_listener: SocketAddr::new(listens, address.port()),
        membership_listener: SocketAddr::new(listens, membership.port()),
        http_listener: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), http_port),
        address: address.clone(),
        membership_address: membership,
    })
}

/// Names are distinct, and so are addresses: `a=h:7400,b=h:7401` would put b on a's membership port.
fn distinct_nodes(plan: &Plan) -> Result<(), String> {
    let mut taken = BTreeMap::new();
    for (index, node) in plan.nodes.iter().enumerate() {
        if plan.nodes.iter().take(index).any(|other| other.name == node.name) {
            return Err(format!("two nodes have the name {:?}", node.name));
        }
        for address in [&node.address, &node.membership_address] {
            if let Some(other) = taken.insert(address, &node.name) {
                return Err(format!(
                    "{address} is taken twice, by {other} and {}: every node needs its port and the next one",
                    node.name
                ));
            }
        }
    }
    Ok(())
}

fn named_address(text: &str) -> Result<(String, HostPort), String> {
    let (name, address) = named(text, "HOST:PORT")?;
    Ok((name, address.parse().map_err(|error: HostPortError| error.to_string())?))
}

fn named_zone(text: &str) -> Result<(String, String), String> {
    let (name, zone) = named(text, "ZONE")?;
    if zone.len() > MAX_ZONE_BYTES {
        return Err(format!("{zone:?} has {} bytes; at most {MAX_ZONE_BYTES} are allowed", zone.len()));
    }
    Ok((name, zone.into()))
}

fn named<'a>(text: &'a str, what: &str) -> Result<(String, &'a str), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("NAME={what} is expected"))?;
    if !is_name(name) {
        return Err(format!("{name:?} is no name for a node; {NAME_RULE} are allowed"));
    }
    Ok((name.into(), value))
}
