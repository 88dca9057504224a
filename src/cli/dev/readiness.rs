//! When a local cluster can be used: every node says so, and sees every other.

use super::directory::DevNode;
use crate::client::{Answer, Client, ClientError, Method, Request, StatusCode};
use serde::Deserialize;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two looks. Far below what a person notices.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long one answer may take: a node that is starting answers at once or not at all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Between two reports of what is still missing.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// What matters here of `GET /cluster`.
#[derive(Deserialize)]
struct ClusterView {
    members: Vec<MemberView>,
}

#[derive(Deserialize)]
struct MemberView {
    state: String,
}

/// A client of all of them, in their order.
pub(super) fn client(nodes: &[DevNode]) -> Result<Client, String> {
    let client = Client::new(nodes.iter().map(DevNode::url)).map_err(|error| error.to_string())?;
    Ok(client.with_timeout(ANSWER_TIMEOUT))
}

/// Returns when all nodes are ready and see each other; until then it tells, now and then, what is missing.
pub(super) async fn wait(client: &Client, nodes: &[DevNode]) {
    let mut report_at = Instant::now() + REPORT_INTERVAL;
    loop {
        let mut missing = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            if let Err(reason) = is_ready(client, index).await {
                missing.push(format!("{}: {reason}", node.name));
            }
        }
        if missing.is_empty() {
            return;
        }
        if Instant::now() >= report_at {
            eprintln!("dunlin dev: not ready yet: {}", missing.join("; "));
            report_at = Instant::now() + REPORT_INTERVAL;
        }
        sleep(POLL_INTERVAL).await;
    }
}

async fn is_ready(client: &Client, node: usize) -> Result<(), String> {
    let ready = get(client, node, "/readyz").await?;
    if ready.status != StatusCode::OK {
        return Err(format!("{} {}", ready.status.as_u16(), String::from_utf8_lossy(&ready.body).trim()));
    }
    let answer = get(client, node, "/cluster").await?;
    let view: ClusterView = serde_json::from_slice(&answer.body).map_err(|error| format!("/cluster: {error}"))?;
    let (alive, nodes) = (view.members.iter().filter(|member| member.state == "alive").count(), client.nodes());
    if alive == nodes { Ok(()) } else { Err(format!("sees {alive} of {nodes} nodes alive")) }
}

async fn get(client: &Client, node: usize, path: &str) -> Result<Answer, String> {
    // These are reads: "may or may not have happened" is of no interest to whoever waits.
    client.send(Request::raw(Method::GET, path).at(node)).await.map_err(|error| match error {
        ClientError::Unreachable { reason, .. } | ClientError::Broken { reason, .. } => reason,
        other => other.to_string(),
    })
}
