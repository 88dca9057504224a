//! The files a cluster is born with.

use super::plan::{Plan, PlannedNode};
use crate::runtime::certificates::Authority;
use crate::runtime::settings::file_with;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// The authority's certificate: in the cluster's directory, and a copy in each node's. In the cluster's
/// directory it is written last: where it is, the birth was completed.
pub(in crate::cli) const AUTHORITY_FILE: &str = "ca.pem";
/// The authority's key: in the cluster's directory, and a copy at the node that lets others in. Whoever has it can make
/// nodes.
pub(in crate::cli) const AUTHORITY_KEY_FILE: &str = "ca-key.pem";
/// A node's settings.
pub(in crate::cli) const NODE_FILE: &str = "node.toml";
/// A node's certificate.
pub(in crate::cli) const CERTIFICATE_FILE: &str = "certificate.pem";
/// A node's key.
pub(in crate::cli) const KEY_FILE: &str = "key.pem";
/// The first layout: in each node's directory, and a copy in the cluster's.
pub(in crate::cli) const LAYOUT_FILE: &str = "layout.json";
/// The name of the node that lets others in, in the cluster's directory.
pub(in crate::cli) const ISSUER_FILE: &str = "issuer";
/// What context tokens are authenticated with.
const SECRET_FILE: &str = "secret";
/// The data directory.
const DATA_DIRECTORY: &str = "data";
/// In the data directory: all partitions are complete from the start, there is nothing to copy. The
/// store takes it away when it first opens.
const GENESIS_FILE: &str = "genesis";

const EVERYBODY_READS: u32 = 0o644;
const OWNER_ONLY: u32 = 0o600;
const OWNER_ONLY_DIRECTORY: u32 = 0o700;

/// Writes everything the planned cluster needs into `directory`, which is made, or must be empty.
pub(in crate::cli) fn create(plan: &Plan, directory: &Path) -> Result<(), String> {
    let layout = plan.layout().map_err(|error| error.to_string())?;
    let layout = serde_json::to_string(&layout).map_err(|error| format!("cannot write the layout: {error}"))?;
    let authority = Authority::generate(plan.cluster).map_err(|error| error.to_string())?;
    let secret: [u8; 32] = rand::random();
    empty_directory(directory)?;
    for node in &plan.nodes {
        let home = directory.join(&node.name);
        let issued = authority.issue(node.id).map_err(|error| error.to_string())?;
        make_directory(&home)?;
        write(&home.join(NODE_FILE), EVERYBODY_READS, node_file(node, plan).as_bytes())?;
        write(&home.join(AUTHORITY_FILE), EVERYBODY_READS, authority.certificate_pem().as_bytes())?;
        write(&home.join(CERTIFICATE_FILE), EVERYBODY_READS, issued.certificate_pem.as_bytes())?;
        write(&home.join(KEY_FILE), OWNER_ONLY, issued.key_pem.as_bytes())?;
        write(&home.join(SECRET_FILE), OWNER_ONLY, &secret)?;
        write(&home.join(LAYOUT_FILE), EVERYBODY_READS, layout.as_bytes())?;
        if plan.issuer.as_ref() == Some(&node.name) {
            write(&home.join(AUTHORITY_KEY_FILE), OWNER_ONLY, authority.key_pem().as_bytes())?;
        }
        make_directory(&home.join(DATA_DIRECTORY))?;
        let genesis = format!("{}\n", plan.cluster);
        write(&home.join(DATA_DIRECTORY).join(GENESIS_FILE), EVERYBODY_READS, genesis.as_bytes())?;
        sync_directory(&home.join(DATA_DIRECTORY))?;
        sync_directory(&home)?;
    }
    if let Some(issuer) = &plan.issuer {
        write(&directory.join(ISSUER_FILE), EVERYBODY_READS, format!("{issuer}\n").as_bytes())?;
    }
    write(&directory.join(LAYOUT_FILE), EVERYBODY_READS, layout.as_bytes())?;
    write(&directory.join(AUTHORITY_KEY_FILE), OWNER_ONLY, authority.key_pem().as_bytes())?;
    write(&directory.join(AUTHORITY_FILE), EVERYBODY_READS, authority.certificate_pem().as_bytes())?;
    sync_directory(directory)
}

/// Replaces a file at once and whole, keeping secrets to the owner.
pub(in crate::cli) fn replace_file(path: &Path, contents: &str) -> Result<(), String> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = Path::new(&fresh);
    let mode = if path.ends_with(KEY_FILE) { OWNER_ONLY } else { EVERYBODY_READS };
    // Left over from an attempt that was interrupted, if it is there.
    let _ = fs::remove_file(fresh);
    write(fresh, mode, contents.as_bytes())?;
    fs::rename(fresh, path).map_err(told(path))
}

fn node_file(node: &PlannedNode, plan: &Plan) -> String {
    let heading = format!(
        "Node {} ({}) of cluster {}, made by dunlin cluster init.\n\
         Whatever is not set here has its default: docs/configuration.md lists all settings.",
        node.name, node.id, plan.cluster
    );
    file_with(&heading, &node.settings(plan))
}

fn empty_directory(path: &Path) -> Result<(), String> {
    match fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(format!("{} is not empty, and nothing is overwritten", path.display())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(OWNER_ONLY_DIRECTORY).create(path).map_err(told(path))
        }
        Err(error) => Err(told(path)(error)),
    }
}

fn make_directory(path: &Path) -> Result<(), String> {
    DirBuilder::new().mode(OWNER_ONLY_DIRECTORY).create(path).map_err(told(path))
}

/// Writes a file that must not exist yet, durably.
fn write(path: &Path, mode: u32, contents: &[u8]) -> Result<(), String> {
    let whole = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(contents)?;
        file.sync_all()
    };
    whole().map_err(told(path))
}

fn sync_directory(path: &Path) -> Result<(), String> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(told(path))
}

fn told(path: &Path) -> impl Fn(io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}
