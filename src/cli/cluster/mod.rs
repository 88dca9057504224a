//! `dunlin cluster`: making and operating a cluster.
//!
//! Owns: the plan of a new cluster and the files it is born with. Must not know: how a node runs.
//! Invariant: nothing that exists is overwritten.

mod birth;
mod init;
mod invite;
mod plan;
mod show;

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
}

impl ClusterCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Init(init) => init.run(),
            Self::Invite(invite) => invite.run(),
            Self::Status(status) => status.run(),
            Self::Ring(ring) => ring.run(),
        }
    }
}
