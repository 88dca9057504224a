//! `dunlin cluster status`: the cluster in the eyes of one node.

use super::show::{Asked, aligned};
use crate::cli::exit::Failure;
use serde::Deserialize;

/// Show the members of the cluster, as one node sees them
#[derive(clap::Args)]
pub(in crate::cli) struct Status {
    #[command(flatten)]
    asked: Asked,
}

/// `GET /cluster`.
#[derive(Deserialize)]
struct View {
    node: Name,
    members: Vec<Member>,
    layout_version: u64,
    partitions: u32,
    replicas: usize,
    hints: Vec<Hints>,
    partitions_filling: Vec<u32>,
    ready: bool,
    reasons: Vec<String>,
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

#[derive(Deserialize)]
struct Member {
    name: String,
    id: String,
    state: String,
    addresses: Addresses,
    zone: String,
    capacity: u64,
    version: String,
}

#[derive(Deserialize)]
struct Addresses {
    peer: String,
    http: String,
}

#[derive(Deserialize)]
struct Hints {
    target: String,
    count: u64,
    bytes: u64,
}

impl Status {
    pub(super) fn run(&self) -> Result<(), Failure> {
        self.asked.show("/cluster", lines)
    }
}

fn lines(view: &View) -> Vec<String> {
    let row = |member: &Member| {
        let Member { name, id, state, addresses, zone, capacity, version } = member;
        let capacity = capacity.to_string();
        [name, state, zone, &capacity, &addresses.peer, &addresses.http, version, id].map(String::clone).to_vec()
    };
    let heading = ["name", "state", "zone", "capacity", "peers", "http", "version", "id"].map(String::from).to_vec();
    let rows: Vec<_> = std::iter::once(heading).chain(view.members.iter().map(row)).collect();
    let mut lines = aligned(&rows);
    let View { layout_version, partitions, replicas, .. } = view;
    lines.push(String::new());
    lines.push(format!(
        "layout {layout_version}: {partitions} partitions, {replicas} replicas, as {} sees it",
        view.node.name
    ));
    for Hints { target, count, bytes } in &view.hints {
        let name = view.members.iter().find(|member| member.id == *target).map_or(target, |member| &member.name);
        lines.push(format!("holds {count} hints ({bytes} bytes) for {name}"));
    }
    if !view.partitions_filling.is_empty() {
        lines.push(format!("{} partitions are being filled", view.partitions_filling.len()));
    }
    if !view.ready {
        lines.push(format!("not ready: {}", view.reasons.join("; ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::NodeId;
    use crate::runtime::status::{ClusterStatus, HintStatus, MemberAddresses, MemberState, MemberStatus, NodeStatus};

    #[test]
    fn what_a_node_tells_is_shown() {
        let member = MemberStatus {
            name: "b".into(),
            id: NodeId(2),
            state: MemberState::Suspect,
            incarnation: 1,
            addresses: MemberAddresses { peer: "h:1".into(), ..MemberAddresses::default() },
            zone: "attic".into(),
            capacity: 1,
            version: "0.1.0".into(),
        };
        let status = ClusterStatus {
            node: NodeStatus { id: NodeId(1), name: "a".into() },
            members: vec![member],
            hints: vec![HintStatus { target: NodeId(2), count: 3, bytes: 40 }],
            reasons: vec!["starting".into()],
            ..ClusterStatus::default()
        };
        let view = serde_json::from_value(serde_json::to_value(&status).unwrap()).unwrap();
        let text = lines(&view).join("\n");
        for part in ["b     suspect  attic", "as a sees it", "holds 3 hints (40 bytes) for b", "not ready: starting"] {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
    }
}
