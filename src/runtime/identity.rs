//! Who this node is, from its files: layout, certificate's name, secrets that stay with the directory.

use super::join::is_join_file;
use super::kept_layouts::{LAYOUTS_FILE, kept_layouts};
use super::serve_error::ServeError;
use super::settings::Settings;
use crate::base::{ClusterId, NodeId, WallTime};
use crate::node::LayoutState;
use crate::ring::Layout;
use crate::store::FileName;
use rand::Rng;
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

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
pub(super) const KEPT_FILES: [&str; 3] = [NODE_FILE, LAYOUT_FILE, LAYOUTS_FILE];

/// Bytes of the endpoints' secret: 64 for the reset key, 8 for connection ids.
const ENDPOINT_SECRET_BYTES: usize = 72;

/// Is this the name of a file that is made here, or half-made?
pub(super) fn is_own_file(name: &FileName) -> bool {
    let name = name.0.strip_suffix(".new").unwrap_or(&name.0);
    [LAYOUT_FILE, LAYOUTS_FILE, NODE_FILE, ENDPOINT_SECRET_FILE, INCARNATION_FILE].contains(&name) || is_join_file(name)
}

/// What a node is, beside its data.
pub(super) struct NodeIdentity {
    pub(super) node: NodeId,
    /// The newest that it knows.
    pub(super) layout: Layout,
    pub(super) layouts: LayoutState,
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
        let (born, first) = layout(settings, directory)?;
        let layouts = kept_layouts(directory)?.unwrap_or_else(|| LayoutState::new(Arc::new(born)));
        let layout = Layout::clone(layouts.newest());
        check(settings, &layout)?;
        let node = node_of(settings, &layout, directory)?;
        bind_to_node(directory, node, &layout)?;
        if let Some(text) = first {
            write_durably(directory, LAYOUT_FILE, text.as_bytes())?;
        }
        let (reset_key, connection_key) = endpoint_secret(directory)?;
        let incarnation = next_incarnation(directory, wall)?;
        Ok(NodeIdentity { node, layout, layouts, reset_key, connection_key, incarnation })
    }
}

/// Whose directory it is; none if it is nobody's yet.
pub(super) fn kept_node(directory: &Path) -> Result<Option<(NodeId, ClusterId)>, ServeError> {
    let path = directory.join(NODE_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ServeError::of_file(&path, &error)),
    };
    let parsed =
        text.trim().split_once(' ').and_then(|(node, cluster)| Some((node.parse().ok()?, cluster.parse().ok()?)));
    let unread = || ServeError::Refused(format!("{}: a node's and a cluster's id are expected", path.display()));
    parsed.map(Some).ok_or_else(unread)
}

/// Makes an empty directory that of a node which has joined, with the layout in force.
pub(super) fn keep(directory: &Path, (node, cluster): (NodeId, ClusterId), layout: &str) -> Result<(), ServeError> {
    write_durably(directory, LAYOUT_FILE, layout.as_bytes())?;
    write_durably(directory, NODE_FILE, format!("{node} {cluster}\n").as_bytes())
}

/// Makes the data directory if it is not there yet.
pub(super) fn make(directory: &Path) -> Result<(), ServeError> {
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
            (path, fs::read_to_string(path).map_err(|error| no_first_layout(directory, path, &error))?, true)
        }
        Err(error) => return Err(ServeError::of_file(&kept, &error)),
    };
    let layout: Layout = serde_json::from_str(&text)
        .map_err(|error| ServeError::Refused(format!("{}: not a layout: {error}", path.display())))?;
    Ok((layout, first.then_some(text)))
}

/// Without either, a node would be a cluster of one, which nobody has asked for.
fn no_first_layout(directory: &Path, path: &Path, error: &std::io::Error) -> ServeError {
    if error.kind() != ErrorKind::NotFound {
        return ServeError::of_file(path, error);
    }
    let (directory, path) = (directory.display(), path.display());
    ServeError::Refused(format!(
        "{directory} is empty, and there is no first layout at {path} (cluster.layout_file): no cluster is made by \
         accident. To make one: `dunlin cluster init`; to join one: `dunlin cluster invite` there, then `dunlin serve \
         --join TICKET` here; if this node was in a cluster, give it back its files"
    ))
}

/// A directory is one node's: under another name its partitions would count as complete, and be empty.
fn bind_to_node(directory: &Path, node: NodeId, layout: &Layout) -> Result<(), ServeError> {
    let path = directory.join(NODE_FILE);
    let ours = format!("{node} {}\n", layout.cluster);
    match fs::read_to_string(&path) {
        Ok(text) if text == ours => Ok(()),
        Ok(text) => Err(ServeError::Refused(format!(
            "{}: this data directory is that of node {}; node.name makes this node {node}. If it shall take that \
             node's place, join under a name of its own and use `dunlin cluster replace`",
            directory.display(),
            text.trim()
        ))),
        Err(error) if error.kind() == ErrorKind::NotFound => write_durably(directory, NODE_FILE, ours.as_bytes()),
        Err(error) => Err(ServeError::of_file(&path, &error)),
    }
}

fn check(settings: &Settings, layout: &Layout) -> Result<(), ServeError> {
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
    // Later ones may have another number, by `dunlin cluster` and not by the settings.
    if layout.version == 1 && cluster.replicas as usize != layout.replicas {
        return disagree("replicas", cluster.replicas.to_string(), layout.replicas.to_string());
    }
    Ok(())
}

/// The node that the layout has under this name; or the one whose directory it is, if the layout has it not: one that
/// has joined and owns nothing yet, or no more.
fn node_of(settings: &Settings, layout: &Layout, directory: &Path) -> Result<NodeId, ServeError> {
    let name = &settings.node.name;
    let node = match (layout.node_named(name), kept_node(directory)?) {
        (Some(node), _) => node.id,
        (None, Some((node, _))) if layout.node(node).is_none() => node,
        (None, Some((node, _))) => {
            let called = layout.node(node).map_or("", |node| &node.name);
            return Err(ServeError::Refused(format!(
                "{}: this data directory is that of node {node}, which the layout calls {called:?}; node.name is {name:?}",
                directory.display()
            )));
        }
        (None, None) => {
            let names: Vec<&str> = layout.nodes.iter().map(|node| node.name.as_str()).collect();
            return Err(ServeError::Refused(format!(
                "node.name {name:?} is not in the layout; it has {}. A further node joins with a ticket of `dunlin \
                 cluster invite`",
                names.join(", ")
            )));
        }
    };
    if settings.cluster.banned.contains(&node) {
        return Err(ServeError::Refused(format!(
            "node {node} is banned: its id is in cluster.banned. To let it back in, take the id off that list on all nodes; \
             to use the machine for a new node, empty the data directory and join with a ticket"
        )));
    }
    Ok(node)
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
pub(super) fn write_durably(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), ServeError> {
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
