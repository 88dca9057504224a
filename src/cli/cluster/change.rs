//! `dunlin cluster join`, `leave`, `replace`, `weight`, `zone`, `replicas`, `plan`, `apply`, `abort`, `layout`.

use super::show::Asked;
use super::show_plan::{json, plan_table, staged_table};
use crate::cli::exit::Failure;
use crate::client::Method;
use crate::node::Transfers;
use crate::ring::ChangePlan;
use crate::runtime::layout_desk::{ChangeRequest, LayoutReport};
use serde_json::Value;

/// Let a member that owns nothing yet hold partitions: stages the change at a node
#[derive(clap::Args)]
pub(in crate::cli) struct Join {
    /// The member's name or id, as `dunlin cluster status` shows it
    node: String,
    /// Where it stands [default: what it says of itself]
    #[arg(long)]
    zone: Option<String>,
    /// Its share relative to the others' [default: what it says of itself]
    #[arg(long)]
    capacity: Option<u32>,
    #[command(flatten)]
    asked: Asked,
}

/// Let a node give up all its partitions: stages the change at a node
#[derive(clap::Args)]
pub(in crate::cli) struct Leave {
    /// The node's name or id
    node: String,
    /// It never comes back: nobody waits for it, and what only it had is lost
    #[arg(long)]
    dead: bool,
    #[command(flatten)]
    asked: Asked,
}

/// Let a member take a node's place: stages the change at a node
#[derive(clap::Args)]
pub(in crate::cli) struct Replace {
    /// The name or id of the node that goes
    node: String,
    /// The name or id of the member that comes
    by: String,
    /// The old one never comes back: nobody waits for it, and what only it had is lost
    #[arg(long)]
    dead: bool,
    #[command(flatten)]
    asked: Asked,
}

/// Change a node's share: stages the change at a node
#[derive(clap::Args)]
pub(in crate::cli) struct Weight {
    /// The node's name or id
    node: String,
    /// Its share relative to the others', at least 1
    capacity: u32,
    #[command(flatten)]
    asked: Asked,
}

/// Say where a node stands: stages the change at a node
#[derive(clap::Args)]
pub(in crate::cli) struct Zone {
    /// The node's name or id
    node: String,
    /// What fails together with it: rack, room, region
    zone: String,
    #[command(flatten)]
    asked: Asked,
}

/// Change how many copies there are of everything: stages the change at a node
#[derive(clap::Args)]
pub(in crate::cli) struct Replicas {
    /// N
    replicas: usize,
    #[command(flatten)]
    asked: Asked,
}

/// Show what the staged changes mean: what moves, how even it is, what may fail meanwhile
#[derive(clap::Args)]
pub(in crate::cli) struct ShowPlan {
    #[command(flatten)]
    asked: Asked,
}

/// Put the staged changes in force
#[derive(clap::Args)]
pub(in crate::cli) struct Apply {
    #[command(flatten)]
    asked: Asked,
}

/// Forget the staged changes
#[derive(clap::Args)]
pub(in crate::cli) struct Abort {
    #[command(flatten)]
    asked: Asked,
}

/// Stop all filling of replicas in the whole cluster, new, moved and damaged ones; requests are served as before
#[derive(clap::Args)]
pub(in crate::cli) struct Pause {
    #[command(flatten)]
    asked: Asked,
}

/// Let transfers go on
#[derive(clap::Args)]
pub(in crate::cli) struct Resume {
    #[command(flatten)]
    asked: Asked,
}

/// Show the layouts in force, how far each node has come with them, and what is staged
#[derive(clap::Args)]
pub(in crate::cli) struct ShowLayout {
    #[command(flatten)]
    asked: Asked,
}

impl Join {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { node, zone, capacity, asked } = self;
        stage(&asked, &ChangeRequest::Join { node, zone, capacity })
    }
}

impl Leave {
    pub(super) fn run(self) -> Result<(), Failure> {
        stage(&self.asked, &ChangeRequest::Leave { node: self.node, dead: self.dead })
    }
}

impl Replace {
    pub(super) fn run(self) -> Result<(), Failure> {
        stage(&self.asked, &ChangeRequest::Replace { node: self.node, by: self.by, dead: self.dead })
    }
}

impl Weight {
    pub(super) fn run(self) -> Result<(), Failure> {
        stage(&self.asked, &ChangeRequest::Weight { node: self.node, capacity: self.capacity })
    }
}

impl Zone {
    pub(super) fn run(self) -> Result<(), Failure> {
        stage(&self.asked, &ChangeRequest::Zone { node: self.node, zone: self.zone })
    }
}

impl Replicas {
    pub(super) fn run(self) -> Result<(), Failure> {
        stage(&self.asked, &ChangeRequest::Replicas { replicas: self.replicas })
    }
}

impl ShowPlan {
    pub(super) fn run(self) -> Result<(), Failure> {
        let plan: ChangePlan = self.asked.ask(Method::GET, "/admin/layout/plan", None)?;
        self.asked.show(&plan, &plan_table(&plan))
    }
}

impl Apply {
    pub(super) fn run(self) -> Result<(), Failure> {
        let answer: Value = self.asked.ask(Method::POST, "/admin/layout/apply", Some(String::new()))?;
        let version = answer.get("layout_version").map(Value::to_string).unwrap_or_default();
        let text = format!("layout {version} is in force; `dunlin cluster layout` shows how far its data are\n");
        self.asked.show(&answer, &text)
    }
}

impl Abort {
    pub(super) fn run(self) -> Result<(), Failure> {
        let answer: Value = self.asked.ask(Method::DELETE, "/admin/layout/changes", None)?;
        self.asked.show(&answer, "nothing is staged\n")
    }
}

impl Pause {
    pub(super) fn run(self) -> Result<(), Failure> {
        let answer: Value = self.asked.ask(Method::POST, "/admin/layout/pause", Some(String::new()))?;
        self.asked.show(&answer, "transfers pause until `dunlin cluster resume`\n")
    }
}

impl Resume {
    pub(super) fn run(self) -> Result<(), Failure> {
        let answer: Value = self.asked.ask(Method::POST, "/admin/layout/resume", Some(String::new()))?;
        self.asked.show(&answer, "transfers go on\n")
    }
}

impl ShowLayout {
    pub(super) fn run(self) -> Result<(), Failure> {
        let report = report(&self.asked)?;
        self.asked.show(&report, &layout_table(&report))
    }
}

fn stage(asked: &Asked, request: &ChangeRequest) -> Result<(), Failure> {
    let body = json(request).map_err(Failure::new)?;
    let _: Value = asked.ask(Method::POST, "/admin/layout/changes", Some(body))?;
    let report = report(asked)?;
    let staged = report.staged.as_ref().map(|staged| staged_table(staged, &report.layout)).unwrap_or_default();
    let text = format!("{staged}`dunlin cluster plan` shows what it means, `apply` puts it in force\n");
    asked.show(&report.staged, &text)
}

fn report(asked: &Asked) -> Result<LayoutReport, Failure> {
    asked.ask(Method::GET, "/admin/layout", None)
}

fn layout_table(report: &LayoutReport) -> String {
    let live: Vec<String> = report.live.iter().map(u64::to_string).collect();
    let header = ["NODE", "ROUTES BY", "HAS THE DATA OF", "READS BY"].map(String::from).to_vec();
    let progress = report.nodes.iter().map(|node| {
        vec![
            node.name.clone(),
            node.acknowledged.to_string(),
            node.synced.to_string(),
            node.sync_acknowledged.to_string(),
        ]
    });
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(progress).collect();
    let staged = report.staged.as_ref().map(|staged| staged_table(staged, &report.layout));
    format!(
        "layout {}; writes go to {}, reads go by {}{}\n\n{}\n{}",
        report.layout.version,
        live.join(" and "),
        report.reading,
        if report.transfers == Transfers::Paused { "; transfers pause" } else { "" },
        super::columns::columns(&rows),
        staged.unwrap_or_else(|| "nothing is staged at this node\n".into()),
    )
}
