//! Who this node is, from its files: layout, certificate's name, secrets that stay with the directory.

use super::serve_error::ServeError;
use super::settings::Settings;
use crate::base::{NodeId, WallTime};
use crate::ring::Layout;
use crate::store::FileName;
use rand::Rng;
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The layout in force, kept with the data: the configured file is read only by an empty directory.
const LAYOUT_FILE: &str = "layout.json";

/// Whose directory it is.
const NODE_FILE: &str = "node";

/// Keys of the QUIC endpoints: a restarted node must be able to reset the connections of its past.
const ENDPOINT_SECRET_FILE: &str = "endpoint-secret";

/// SWIM's number of the last start.
const INCARNATION_FILE: &str = "incarnation";

/// What a backup has of these files. The others are made anew: a secret that nobody else knows, and a number that
/// the clock gives.
pub(super) const KEPT_FILES: [&str; 2] = [NODE_FILE, LAYOUT_FILE];

/// Bytes of the endpoints' secret: 64 for the reset key, 8 for connection ids.
const ENDPOINT_SECRET_BYTES: usize = 72;

/// Is this the name of a file that is made here, or half-made?
pub(super) fn is_own_file(name: &FileName) -> bool {
    let name = name.0.strip_suffix(".new").unwrap_or(&name.0);
    [LAYOUT_FILE, NODE_FILE, ENDPOINT_SECRET_FILE, INCARNATION_FILE].contains(&name)
}

/// What a node is, beside its data.
pub(super) struct NodeIdentity {
    pub(super) node: NodeId,
    pub(super) layout: Layout,
    pub(super) reset_key: [u8; 64],
    pub(super) connection_key: u64,
    /// Higher than at any start before.
    pub(super) incarnation: u64,
}

impl NodeIdentity {
    /// Reads the directory, making on its first start what it lacks.
    pub(super) fn load(settings: &Settings, wall: WallTime) -> Result<NodeIdentity, ServeError> {
        let directory = &settings.node.data_dir;
        make(directory)?;
        let (layout, first) = layout(settings, directory)?;
        let node = check(settings, &layout)?;
        bind_to_node(directory, node, &layout)?;
        if let Some(text) = first {
            write_durably(directory, LAYOUT_FILE, text.as_bytes())?;
        }
        let (reset_key, connection_key) = endpoint_secret(directory)?;
        let incarnation = next_incarnation(directory, wall)?;
        Ok(NodeIdentity { node, layout, reset_key, connection_key, incarnation })
    }
}

/// Makes the data directory if it is not there yet.
fn make(directory: &Path) -> Result<(), ServeError> {
    fs::create_dir_all(directory).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
            ServeError::Refused(format!("node.data_dir {}: not a directory", directory.display()))
        }
        _ => ServeError::of_file(directory, &error),
    })
}

/// The kept layout, or the configured one with its text, to be kept once it is found right.
fn layout(settings: &Settings, directory: &Path) -> Result<(Layout, Option<String>), ServeError> {
    let kept = directory.join(LAYOUT_FILE);
    let (path, text, first) = match fs::read_to_string(&kept) {
        Ok(text) => (&kept, text, false),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let path = &settings.cluster.layout_file;
            (path, fs::read_to_string(path).map_err(|error| ServeError::of_file(path, &error))?, true)
        }
        Err(error) => return Err(ServeError::of_file(&kept, &error)),
    };
    let layout: Layout = serde_json::from_str(&text)
        .map_err(|error| ServeError::Refused(format!("{}: not a layout: {error}", path.display())))?;
    Ok((layout, first.then_some(text)))
}

/// A directory is one node's: under another name its partitions would count as complete, and be empty.
fn bind_to_node(directory: &Path, node: NodeId, layout: &Layout) -> Result<(), ServeError> {
    let path = directory.join(NODE_FILE);
    let ours = format!("{node} {}\n", layout.cluster);
    match fs::read_to_string(&path) {
        Ok(text) if text == ours => Ok(()),
        Ok(text) => Err(ServeError::Refused(format!(
            "{}: this data directory is that of node {}; node.name makes this node {node}",
            directory.display(),
            text.trim()
        ))),
        Err(error) if error.kind() == ErrorKind::NotFound => write_durably(directory, NODE_FILE, ours.as_bytes()),
        Err(error) => Err(ServeError::of_file(&path, &error)),
    }
}

fn check(settings: &Settings, layout: &Layout) -> Result<NodeId, ServeError> {
    let disagree = |what: &str, configured: String, layout: String| {
        Err(ServeError::Refused(format!("cluster.{what} is {configured} in the settings and {layout} in the layout")))
    };
    let cluster = &settings.cluster;
    if cluster.id != layout.cluster {
        return disagree("id", cluster.id.to_string(), layout.cluster.to_string());
    }
    if cluster.partitions != layout.partitioning.count() {
        return disagree("partitions", cluster.partitions.to_string(), layout.partitioning.count().to_string());
    }
    if cluster.replicas as usize != layout.replicas {
        return disagree("replicas", cluster.replicas.to_string(), layout.replicas.to_string());
    }
    let name = &settings.node.name;
    let node = layout.node_named(name).ok_or_else(|| {
        let names: Vec<&str> = layout.nodes.iter().map(|node| node.name.as_str()).collect();
        ServeError::Refused(format!("node.name {name:?} is not in the layout; it has {}", names.join(", ")))
    })?;
    Ok(node.id)
}

fn endpoint_secret(directory: &Path) -> Result<([u8; 64], u64), ServeError> {
    let path = directory.join(ENDPOINT_SECRET_FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut bytes = vec![0; ENDPOINT_SECRET_BYTES];
            rand::rng().fill_bytes(&mut bytes);
            write_durably(directory, ENDPOINT_SECRET_FILE, &bytes)?;
            bytes
        }
        Err(error) => return Err(ServeError::of_file(&path, &error)),
    };
    let split = bytes.split_first_chunk::<64>().and_then(|(reset, rest)| Some((*reset, rest.first_chunk::<8>()?)));
    let (reset, connection) = split.ok_or_else(|| {
        let path = path.display();
        ServeError::Refused(format!(
            "{path}: {ENDPOINT_SECRET_BYTES} bytes are expected; remove it to have it made anew"
        ))
    })?;
    Ok((reset, u64::from_le_bytes(*connection)))
}

/// Above the last start's number, and above those it has refuted with since: the wall clock sees to
/// that as long as it runs forward, and the detector refutes what it hears otherwise.
fn next_incarnation(directory: &Path, wall: WallTime) -> Result<u64, ServeError> {
    let path = directory.join(INCARNATION_FILE);
    let before = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse::<u64>().unwrap_or(0),
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(ServeError::of_file(&path, &error)),
    };
    let incarnation = wall.0.max(before.saturating_add(1));
    write_durably(directory, INCARNATION_FILE, incarnation.to_string().as_bytes())?;
    Ok(incarnation)
}

/// Replaces a file as a whole, so that a crash leaves the old or the new one.
fn write_durably(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), ServeError> {
    let (path, scratch) = (directory.join(name), directory.join(format!("{name}.new")));
    let written = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&scratch)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&scratch, &path)?;
        let directory = rustix::fs::open(directory, OFlags::RDONLY, Mode::empty())?;
        Ok(rustix::fs::fsync(directory)?)
    };
    written().map_err(|error| ServeError::of_file(&path, &error))
}
