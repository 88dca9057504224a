//! `dunlin cluster`: making and operating a cluster.
//!
//! Owns: the plan of a new cluster and the files it is born with. Must not know: how a node runs.
//! Invariant: nothing that exists is overwritten.

mod birth;
mod change;
mod columns;
mod init;
mod invite;
mod plan;
mod show;
mod show_plan;

use super::exit::Failure;
use clap::Subcommand;

pub(super) use birth::replace_file;
pub(super) use birth::{
    AUTHORITY_FILE, AUTHORITY_KEY_FILE, CERTIFICATE_FILE, KEY_FILE, LAYOUT_FILE, NODE_FILE, create,
};
pub(super) use plan::{Plan, PlannedNode};

/// Make and operate a cluster
#[derive(Subcommand)]
pub(super) enum ClusterCommand {
    Init(init::Init),
    Invite(invite::Invite),
    Status(show::Status),
    Ring(show::Ring),
    Join(change::Join),
    Leave(change::Leave),
    Replace(change::Replace),
    Weight(change::Weight),
    Zone(change::Zone),
    Replicas(change::Replicas),
    Plan(change::ShowPlan),
    Apply(change::Apply),
    Abort(change::Abort),
    Pause(change::Pause),
    Resume(change::Resume),
    Layout(change::ShowLayout),
}

impl ClusterCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Init(init) => init.run(),
            Self::Invite(invite) => invite.run(),
            Self::Status(status) => status.run(),
            Self::Ring(ring) => ring.run(),
            Self::Join(join) => join.run(),
            Self::Leave(leave) => leave.run(),
            Self::Replace(replace) => replace.run(),
            Self::Weight(weight) => weight.run(),
            Self::Zone(zone) => zone.run(),
            Self::Replicas(replicas) => replicas.run(),
            Self::Plan(plan) => plan.run(),
            Self::Apply(apply) => apply.run(),
            Self::Abort(abort) => abort.run(),
            Self::Pause(pause) => pause.run(),
            Self::Resume(resume) => resume.run(),
            Self::Layout(layout) => layout.run(),
        }
    }
}
