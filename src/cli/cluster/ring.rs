//! `dunlin cluster ring`: who owns what.

use super::show::Asked;
use crate::cli::exit::Failure;
use crate::client::key_path;
use serde::Deserialize;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// Show which nodes own each partition, or which are asked about a key
#[derive(clap::Args)]
pub(in crate::cli) struct Ring {
    /// A key: its bytes as given, nothing is interpreted
    key: Option<OsString>,
    #[command(flatten)]
    asked: Asked,
}

/// `GET /cluster/ring`.
#[derive(Deserialize)]
struct Table {
    layout_version: u64,
    replicas: usize,
    partitions: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    partition: u32,
    primaries: Vec<String>,
}

/// `GET /cluster/ring/<key>`.
#[derive(Deserialize)]
struct Preference {
    partition: u32,
    primaries: Vec<Node>,
    fallbacks: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    name: String,
    up: bool,
}

impl Ring {
    pub(super) fn run(&self) -> Result<(), Failure> {
        match &self.key {
            None => self.asked.show("/cluster/ring", table),
            Some(key) => {
                let path = key_path(key.as_bytes());
                let key = path.strip_prefix("/kv/").unwrap_or(&path);
                self.asked.show(&format!("/cluster/ring/{key}"), preference)
            }
        }
    }
}

fn table(table: &Table) -> Vec<String> {
    let Table { layout_version, replicas, partitions } = table;
    let heading = format!("layout {layout_version}: {} partitions, {replicas} replicas", partitions.len());
    let row = |row: &Row| format!("{:>5}  {}", row.partition, row.primaries.join(" "));
    std::iter::once(heading).chain(partitions.iter().map(row)).collect()
}

fn preference(preference: &Preference) -> Vec<String> {
    let line = |role: &str, node: &Node| format!("{role}  {}{}", node.name, if node.up { "" } else { "  (down)" });
    let heading = format!("partition {}", preference.partition);
    let primaries = preference.primaries.iter().map(|node| line("primary ", node));
    let fallbacks = preference.fallbacks.iter().map(|node| line("fallback", node));
    std::iter::once(heading).chain(primaries).chain(fallbacks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_key_shows_who_is_asked_in_order() {
        let answer = json!({"key": "k", "partition": 7, "layout_version": 1,
            "primaries": [{"name": "a", "id": "1", "up": true}], "fallbacks": [{"name": "b", "id": "2", "up": false}]});
        let lines = preference(&serde_json::from_value(answer).unwrap());
        assert_eq!(lines, ["partition 7", "primary   a", "fallback  b  (down)"]);
    }
}
