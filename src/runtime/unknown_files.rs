//! Files in the data directory that are nobody's.

use super::disk::RealDisk;
use super::identity;
use crate::store::{Disk, FileName, is_store_file};

/// Most names told: an operator looks at the directory after the first.
const MAX_NAMED: usize = 10;

/// Tells of files that no part of a node has made. They are left alone: an operator's note, what a file system keeps
/// at its root, a later version's file that it knows how to do without.
pub(super) fn report(disk: &RealDisk) {
    let names = unknown(disk.list().unwrap_or_default());
    if names.is_empty() {
        return;
    }
    let named = names.iter().take(MAX_NAMED).map(|name| name.0.as_str()).collect::<Vec<_>>().join(", ");
    tracing::info!(count = names.len(), names = named, "unknown files in the data directory are left alone");
}

fn unknown(names: Vec<FileName>) -> Vec<FileName> {
    names.into_iter().filter(|name| !is_store_file(name) && !identity::is_own_file(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_part_of_a_node_makes_is_unknown() {
        let names =
            ["identity", "node", "layout.json.new", "endpoint-secret", "incarnation", "notes.txt", "lost+found"];
        let left = unknown(names.into_iter().map(|name| FileName(name.into())).collect());
        assert_eq!(left, ["notes.txt", "lost+found"].map(|name| FileName(name.into())));
    }
}
