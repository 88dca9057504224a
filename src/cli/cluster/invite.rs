//! `dunlin cluster invite`: a ticket that lets one node in.

use super::birth::{AUTHORITY_FILE, AUTHORITY_KEY_FILE, ISSUER_FILE, LAYOUT_FILE};
use crate::base::NodeId;
use crate::cli::block_on::{block_on, cannot_start};
use crate::cli::exit::Failure;
use crate::client::{Client, Method, Request, StatusCode};
use crate::membership::MAX_ZONE_BYTES;
use crate::ring::Layout;
use crate::runtime::certificates::Authority;
use crate::runtime::join::{Invitation, Ticket};
use crate::runtime::settings::{NAME_RULE, duration_text, is_name, parse_duration};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seeds a ticket names: enough that some are up, few enough for one line.
const MAX_SEEDS: usize = 4;

/// Longest a ticket may be good for: it is a key to the cluster.
const MAX_VALIDITY: Duration = Duration::from_secs(30 * 24 * 3600);

/// Print a ticket that lets one node join, once
///
/// On the new node's machine: `dunlin serve --join TICKET --node-data-dir DIR --node-peer-address HOST:PORT`. Whoever
/// has the ticket can make a node of the cluster until it is used or expires: hand it over as you would a password.
#[derive(clap::Args)]
pub(in crate::cli) struct Invite {
    /// The cluster's directory, with ca.pem, ca-key.pem and layout.json
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// What the node will be called [default: what its own settings say, or a name made of its id]
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// What fails together with the node: rack, room, region
    #[arg(long, default_value = "", value_parser = zone)]
    zone: String,
    /// How long the ticket is good for, at most 30 days
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = validity)]
    expires: Duration,
    /// The node that lets it in; its settings must have tls.authority_key [default: as `cluster init` chose]
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// Ask this node where the others are now, instead of believing DIR/layout.json
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// A node as a ticket needs it.
struct Known {
    name: String,
    id: NodeId,
    address: String,
    membership_address: String,
}

impl Invite {
    pub(super) fn run(self) -> Result<(), Failure> {
        let layout = self.layout().map_err(Failure::new)?;
        let (certificate, key) = self.authority().map_err(Failure::new)?;
        let authority = Authority::from_pem(layout.cluster, &certificate, &key)
            .map_err(|error| Failure::new(format!("{}: {error}", self.dir.display())))?;
        let known = match &self.url {
            Some(url) => members(url)?,
            None => nodes(&layout),
        };
        let issuer = self.issuer(&known).map_err(Failure::new)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let invitation = Invitation {
            number: rand::random(),
            cluster: layout.cluster,
            issuer: issuer.id,
            name: self.name.clone().unwrap_or_default(),
            zone: self.zone.clone(),
            expires: (now + self.expires).as_secs(),
        };
        let seeds = known.iter().map(|node| node.membership_address.clone()).take(MAX_SEEDS).collect();
        let ticket = Ticket::new(&authority, invitation, issuer.address.clone(), seeds);
        let ticket = ticket.map_err(|error| Failure::new(error.to_string()))?;
        eprintln!(
            "good for one node and {}, at {} ({}). On its machine, with an empty directory:\n\n  dunlin serve \
             --join TICKET --node-data-dir DIR --node-peer-address HOST:PORT\n",
            duration_text(self.expires),
            issuer.name,
            issuer.address
        );
        println!("{ticket}");
        Ok(())
    }

    fn layout(&self) -> Result<Layout, String> {
        let path = self.dir.join(LAYOUT_FILE);
        let text = read(&path).map_err(|error| {
            format!("{error}; in the directory of a cluster that an earlier version made, put a copy of a node's layout.json")
        })?;
        serde_json::from_str(&text).map_err(|error| format!("{}: not a layout: {error}", path.display()))
    }

    fn authority(&self) -> Result<(String, String), String> {
        Ok((read(&self.dir.join(AUTHORITY_FILE))?, read(&self.dir.join(AUTHORITY_KEY_FILE))?))
    }

    fn issuer<'a>(&self, known: &'a [Known]) -> Result<&'a Known, String> {
        let name = match &self.issuer {
            Some(name) => name.clone(),
            None => read(&self.dir.join(ISSUER_FILE)).map(|name| name.trim().to_owned()).map_err(|_| {
                "no node of this cluster was chosen to let others in: set tls.authority_key on one, restart it, and name \
                 it with --issuer"
                    .to_owned()
            })?,
        };
        known.iter().find(|node| node.name == name).ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|node| node.name.as_str()).collect();
            format!("--issuer: there is no node {name:?}; there are {}", names.join(", "))
        })
    }
}

fn nodes(layout: &Layout) -> Vec<Known> {
    let known = layout.nodes.iter().map(|node| Known {
        name: node.name.clone(),
        id: node.id,
        address: node.address.clone(),
        membership_address: node.membership_address.clone(),
    });
    known.collect()
}

/// The members that one node sees alive.
fn members(url: &str) -> Result<Vec<Known>, Failure> {
    let failed = |error: String| Failure::new(format!("{url}/cluster: {error}"));
    let client = Client::new([url]).map_err(|error| failed(error.to_string()))?;
    let answer = block_on(client.send(Request::raw(Method::GET, "/cluster"))).map_err(|error| cannot_start(&error))?;
    let answer = answer.map_err(|error| failed(error.to_string()))?;
    if answer.status != StatusCode::OK {
        return Err(failed(answer.status.to_string()));
    }
    let status: Value = answer.json().ok_or_else(|| failed("the answer is not JSON".into()))?;
    let members = status.get("members").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let alive = members.iter().filter(|member| member.get("state").and_then(Value::as_str) == Some("alive"));
    let known = |member: &Value| {
        let text = |path: &str| member.pointer(path).and_then(Value::as_str).map(str::to_owned);
        Some(Known {
            name: text("/name")?,
            id: text("/id")?.parse().ok()?,
            address: text("/addresses/peer")?,
            membership_address: text("/addresses/membership")?,
        })
    };
    Ok(alive.filter_map(known).collect())
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn name(text: &str) -> Result<String, String> {
    if is_name(text) { Ok(text.into()) } else { Err(format!("no name for a node; {NAME_RULE} are allowed")) }
}

fn zone(text: &str) -> Result<String, String> {
    if text.len() <= MAX_ZONE_BYTES {
        Ok(text.into())
    } else {
        Err(format!("at most {MAX_ZONE_BYTES} bytes are allowed"))
    }
}

fn validity(text: &str) -> Result<Duration, String> {
    let fits = |duration: &Duration| (Duration::from_secs(1)..=MAX_VALIDITY).contains(duration);
    parse_duration(text).filter(fits).ok_or_else(|| "a duration from 1s to 720h is expected (10m, 1h)".into())
}
