//! What nodes tell of themselves over HTTP.

use super::report::Transferred;
use dunlin::client::{Client, ClientError, Method, Request, key_path};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a node may take to tell: it looks at memory only.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks nodes about themselves, on connections apart from the load's.
#[derive(Debug)]
pub(super) struct Probe(Client);

/// What matters here of `GET /cluster`.
#[derive(Debug, Deserialize)]
pub(super) struct ClusterView {
    members: Vec<MemberView>,
    hints: Vec<HintsView>,
    transfers: Vec<TransferView>,
}

#[derive(Debug, Deserialize)]
struct MemberView {
    state: String,
}

#[derive(Debug, Deserialize)]
struct HintsView {
    count: u64,
}

#[derive(Debug, Deserialize)]
struct TransferView {
    objects: u64,
    bytes: u64,
}

/// One partition at one replica, of `GET /cluster/partitions`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Holding {
    pub(super) partition: u32,
    pub(super) clock: String,
    pub(super) data: String,
    pub(super) complete: bool,
    pub(super) keys: u64,
}

#[derive(Debug, Deserialize)]
struct HoldingsView {
    partitions: Vec<Holding>,
}

#[derive(Debug, Deserialize)]
struct RingView {
    partitions: Vec<RowView>,
}

/// What matters here of `GET /cluster/ring/<key>`.
#[derive(Debug, Deserialize)]
struct KeyView {
    primaries: Vec<NameView>,
}

#[derive(Debug, Deserialize)]
struct NameView {
    name: String,
}

/// What matters here of `GET /admin/layout`.
#[derive(Debug, Deserialize)]
pub(super) struct LayoutsView {
    /// Versions written to.
    pub(super) live: Vec<u64>,
    /// The version read by.
    pub(super) reading: u64,
}

/// What matters here of `GET /admin/layout/plan`.
#[derive(Debug, Deserialize)]
pub(super) struct PlanView {
    version: StepView,
    pub(super) partitions: u64,
    copies: StepView,
    /// Copies that move.
    pub(super) moves: u64,
}

#[derive(Debug, Deserialize)]
struct StepView {
    after: u64,
}

impl PlanView {
    /// The version that is to come.
    pub(super) fn version(&self) -> u64 {
        self.version.after
    }

    /// All copies there will be.
    pub(super) fn copies(&self) -> u64 {
        self.partitions * self.copies.after
    }
}

#[derive(Debug, Deserialize)]
struct RowView {
    partition: u32,
    primaries: Vec<String>,
}

impl ClusterView {
    /// Members this node believes to be alive.
    pub(super) fn alive(&self) -> usize {
        self.members.iter().filter(|member| member.state == "alive").count()
    }

    /// Hints it holds, for whomever.
    pub(super) fn hints(&self) -> u64 {
        self.hints.iter().map(|hints| hints.count).sum()
    }

    /// Objects and bytes that came for partitions that are copied to it, since it was started.
    pub(super) fn transferred(&self) -> Transferred {
        let sum = |of: fn(&TransferView) -> u64| self.transfers.iter().map(of).sum();
        Transferred { objects: sum(|of| of.objects), bytes: sum(|of| of.bytes) }
    }
}

impl Probe {
    /// Asks the nodes at these URLs.
    pub(super) fn new(urls: Vec<String>) -> Result<Probe, ClientError> {
        Ok(Probe(Client::new(urls)?.with_timeout(PROBE_TIMEOUT)))
    }

    /// Does the node want clients? If not, why.
    pub(super) async fn ready(&self, node: usize) -> Result<(), String> {
        let answer = self.0.send(Request::raw(Method::GET, "/readyz").at(node)).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let reasons = String::from_utf8_lossy(&answer.body).trim().to_owned();
        if answer.status == 200 { Ok(()) } else { Err(format!("{} {reasons}", answer.status)) }
    }

    /// The cluster in the eyes of the node.
    pub(super) async fn cluster(&self, node: usize) -> Result<ClusterView, String> {
        self.json(node, "/cluster").await
    }

    /// What the node holds.
    pub(super) async fn holdings(&self, node: usize) -> Result<Vec<Holding>, String> {
        Ok(self.json::<HoldingsView>(node, "/cluster/partitions").await?.partitions)
    }

    /// The primaries of each partition, by name.
    pub(super) async fn ring(&self, node: usize) -> Result<BTreeMap<u32, Vec<String>>, String> {
        let ring: RingView = self.json(node, "/cluster/ring").await?;
        Ok(ring.partitions.into_iter().map(|row| (row.partition, row.primaries)).collect())
    }

    /// The primaries of a key, by name.
    pub(super) async fn primaries(&self, key: &[u8]) -> Result<Vec<String>, String> {
        let path = key_path(key).replacen("/kv/", "/cluster/ring/", 1);
        let view: KeyView = self.json(0, &path).await?;
        Ok(view.primaries.into_iter().map(|primary| primary.name).collect())
    }

    /// The layouts that the node goes by.
    pub(super) async fn layouts(&self, node: usize) -> Result<LayoutsView, String> {
        self.json(node, "/admin/layout").await
    }

    /// What would become of what is staged at the node.
    pub(super) async fn planned(&self, node: usize) -> Result<PlanView, String> {
        self.json(node, "/admin/layout/plan").await
    }

    /// What the node counts under a name without labels; 0 if it does not.
    pub(super) async fn metric(&self, node: usize, name: &str) -> Result<u64, String> {
        let answer = self.0.send(Request::raw(Method::GET, "/metrics").at(node)).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&answer.body);
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        Ok(value.unwrap_or(0))
    }

    async fn json<T: DeserializeOwned>(&self, node: usize, path: &str) -> Result<T, String> {
        let answer = self.0.send(Request::raw(Method::GET, path).at(node)).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("{path}: {}", answer.status));
        }
        serde_json::from_slice(&answer.body).map_err(|error| format!("{path}: {error}"))
    }
}
