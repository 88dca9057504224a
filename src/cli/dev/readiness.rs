//! When a local cluster can be used: every node says so, and sees every other.

use super::directory::DevNode;
use super::fetch::fetch;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two looks. Far below what a person notices.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

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

/// Returns when all nodes are ready and see each other; until then it tells, now and then, what is missing.
pub(super) async fn wait(nodes: &[DevNode]) {
    let mut report_at = Instant::now() + REPORT_INTERVAL;
    loop {
        let mut missing = Vec::new();
        for node in nodes {
            if let Err(reason) = is_ready(node, nodes.len()).await {
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

async fn is_ready(node: &DevNode, nodes: usize) -> Result<(), String> {
    let ready = fetch(node.http, "/readyz").await?;
    if ready.status != 200 {
        return Err(format!("{} {}", ready.status, String::from_utf8_lossy(&ready.body).trim()));
    }
    let answer = fetch(node.http, "/cluster").await?;
    let view: ClusterView = serde_json::from_slice(&answer.body).map_err(|error| format!("/cluster: {error}"))?;
    let alive = view.members.iter().filter(|member| member.state == "alive").count();
    if alive == nodes { Ok(()) } else { Err(format!("sees {alive} of {nodes} nodes alive")) }
}
