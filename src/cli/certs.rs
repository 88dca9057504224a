//! `dunlin certs`: certificates of nodes.

use super::cluster::{AUTHORITY_FILE, AUTHORITY_KEY_FILE, CERTIFICATE_FILE, KEY_FILE, LAYOUT_FILE, replace_file};
use super::exit::Failure;
use crate::ring::Layout;
use crate::runtime::certificates::Authority;
use clap::Subcommand;
use std::fs;
use std::path::{Path, PathBuf};

/// Issue certificates to nodes
#[derive(Subcommand)]
pub(super) enum CertsCommand {
    Issue(Issue),
}

/// Issue a new certificate and key to a node of a cluster made by `cluster init`
///
/// Writes DIR/NODE/certificate.pem and key.pem anew. Copy both to the node and restart it; the old certificate stays
/// valid until it expires.
#[derive(clap::Args)]
pub(super) struct Issue {
    /// The cluster's directory, with ca.pem and ca-key.pem
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The node's name
    #[arg(long, value_name = "NAME")]
    node: String,
}

impl CertsCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Issue(issue) => issue.run().map_err(Failure::new),
        }
    }
}

impl Issue {
    fn run(&self) -> Result<(), String> {
        let home = self.dir.join(&self.node);
        let layout: Layout =
            serde_json::from_str(&read(&home.join(LAYOUT_FILE))?).map_err(|error| error.to_string())?;
        let node = layout.node_named(&self.node).ok_or_else(|| format!("the layout has no node {}", self.node))?;
        let (certificate, key) = (read(&self.dir.join(AUTHORITY_FILE))?, read(&self.dir.join(AUTHORITY_KEY_FILE))?);
        let authority = Authority::from_pem(layout.cluster, &certificate, &key).map_err(|error| error.to_string())?;
        let issued = authority.issue(node.id).map_err(|error| error.to_string())?;
        replace_file(&home.join(CERTIFICATE_FILE), &issued.certificate_pem)?;
        replace_file(&home.join(KEY_FILE), &issued.key_pem)?;
        eprintln!("{}: new certificate and key in {}", self.node, home.display());
        Ok(())
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
