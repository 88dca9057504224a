//! `dunlin cluster status` and `dunlin cluster ring`: the cluster as one node sees it.

use super::columns::columns;
use super::show_plan::json;
use crate::cli::block_on::{block_on, cannot_start};
use crate::cli::exit::Failure;
use crate::client::{Client, Method, Request, StatusCode, key_path};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Write;

/// Whom to ask, and how to print it.
#[derive(clap::Args)]
pub(super) struct Asked {
    /// A node's HTTP address
    #[arg(long, env = "DUNLIN_URL", default_value = "http://127.0.0.1:8101", value_name = "URL")]
    url: String,
    /// Print the node's own JSON
    #[arg(long)]
    json: bool,
}

/// Show members, their states, hints held and what is being copied, as one node sees it
#[derive(clap::Args)]
pub(in crate::cli) struct Status {
    #[command(flatten)]
    asked: Asked,
}

/// Show which nodes hold which partitions, or who is asked about a key
#[derive(clap::Args)]
pub(in crate::cli) struct Ring {
    /// A key; without it, every partition
    key: Option<String>,
    #[command(flatten)]
    asked: Asked,
}

impl Status {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.asked.print("/cluster", status_table)
    }
}

impl Ring {
    pub(super) fn run(self) -> Result<(), Failure> {
        match &self.key {
            None => self.asked.print("/cluster/ring", ring_table),
            Some(key) => {
                let path = key_path(key.as_bytes());
                let raw_key = path.strip_prefix("/kv/").unwrap_or(&path);
                self.asked.print(&format!("/cluster/ring/{raw_key}"), preference_table)
            }
        }
    }
}

impl Asked {
    fn print(&self, path: &str, table: fn(&Value) -> String) -> Result<(), Failure> {
        let answer: Value = self.ask(Method::GET, path, None)?;
        if self.json {
            println!("{answer}");
        } else {
            print!("{}", table(&answer));
        }
        Ok(())
    }

    /// As JSON if that is wanted, else as text.
    pub(super) fn show(&self, answer: &impl Serialize, text: &str) -> Result<(), Failure> {
        if self.json {
            println!("{}", json(answer).map_err(Failure::new)?);
        } else {
            print!("{text}");
        }
        Ok(())
    }

    /// Asks the node; its answer is read as what is wanted.
    pub(super) fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<T, Failure> {
        let failed = |error: String| Failure::new(format!("{}{path}: {error}", self.url));
        let request = Request::raw(method, path);
        let request = match body {
            Some(body) => request.body(body),
            None => request,
        };
        let client = Client::new([self.url.as_str()]).map_err(|error| failed(error.to_string()))?;
        let answer = block_on(client.send(request)).map_err(|error| cannot_start(&error))?;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        if answer.status != StatusCode::OK {
            let said = answer.json().and_then(|problem| Some(problem.get("detail")?.as_str()?.to_owned()));
            let said = said.unwrap_or_else(|| String::from_utf8_lossy(&answer.body).into_owned());
            return Err(failed(format!("{} {said}", answer.status)));
        }
        serde_json::from_slice(&answer.body).map_err(|error| failed(format!("the answer is not understood: {error}")))
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn array<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn field(value: &Value, path: &str) -> String {
    value.pointer(path).map(text).unwrap_or_default()
}

fn status_table(status: &Value) -> String {
    let header = ["NAME", "STATE", "ID", "HTTP", "PEER", "ZONE", "INCARNATION", "VERSION"];
    let mut rows = vec![header.map(String::from).to_vec()];
    for member in array(status, "members") {
        let of = |path: &str| field(member, path);
        let addresses = (of("/addresses/http"), of("/addresses/peer"));
        rows.push(vec![
            of("/name"),
            of("/state"),
            of("/id"),
            addresses.0,
            addresses.1,
            of("/zone"),
            of("/incarnation"),
            of("/version"),
        ]);
    }
    let mut out = columns(&rows);
    let (node, layout) = (field(status, "/node/name"), field(status, "/layout_version"));
    let (partitions, replicas) = (field(status, "/partitions"), field(status, "/replicas"));
    let ready = if status.get("ready") == Some(&Value::Bool(true)) { "ready" } else { "not ready" };
    let _ = writeln!(out, "\nseen by {node} ({ready}): layout {layout}, {partitions} partitions, {replicas} replicas");
    for reason in array(status, "reasons") {
        let _ = writeln!(out, "not ready: {}", text(reason));
    }
    let filling = array(status, "partitions_filling").len();
    let _ = writeln!(out, "partitions being copied here: {filling}");
    out.push_str(&transfers(status));
    for hint in array(status, "hints") {
        let (count, bytes) = (field(hint, "/count"), field(hint, "/bytes"));
        let _ = writeln!(out, "hints held for {}: {count} ({bytes} bytes)", field(hint, "/target"));
    }
    out
}

/// What came from each node for partitions that are copied, while some are or where a copy has failed.
fn transfers(status: &Value) -> String {
    let mut out = String::new();
    let filling = !array(status, "partitions_filling").is_empty();
    for of in array(status, "transfers") {
        let error = of.get("last_error").and_then(Value::as_str);
        if !filling && error.is_none() {
            continue;
        }
        let came = [field(of, "/copies"), field(of, "/objects"), field(of, "/bytes")];
        let [copies, objects, bytes] = came;
        let _ = write!(out, "from {}: {copies} copies, {objects} objects, {bytes} bytes", field(of, "/owner"));
        let _ = match error {
            Some(error) => writeln!(out, "; begun again {} times, last because {error}", field(of, "/retries")),
            None => writeln!(out),
        };
    }
    let idle = field(status, "/transfer_idle_seconds");
    if !matches!(idle.as_str(), "" | "0") {
        let _ = writeln!(out, "nothing has been copied for {idle} s");
    }
    out
}

fn ring_table(ring: &Value) -> String {
    let mut rows = vec![vec!["PARTITION".to_owned(), "PRIMARIES".to_owned()]];
    for row in array(ring, "partitions") {
        let primaries: Vec<String> = array(row, "primaries").iter().map(text).collect();
        rows.push(vec![field(row, "/partition"), primaries.join(" ")]);
    }
    columns(&rows)
}

fn preference_table(key: &Value) -> String {
    let mut rows = vec![["ROLE", "NAME", "ID", "UP"].map(String::from).to_vec()];
    for (role, name) in [("primary", "primaries"), ("fallback", "fallbacks")] {
        for node in array(key, name) {
            rows.push(vec![role.to_owned(), field(node, "/name"), field(node, "/id"), field(node, "/up")]);
        }
    }
    format!("partition {}\n{}", field(key, "/partition"), columns(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table_names_members_hints_and_why_a_node_is_not_ready() {
        let status = json!({
            "node": {"name": "a"}, "layout_version": 1, "partitions": 8, "replicas": 3, "ready": false,
            "reasons": ["1 of 3 nodes can be reached"], "partitions_filling": [1, 2],
            "hints": [{"target": "00ff", "count": 4, "bytes": 99}], "transfer_idle_seconds": 75,
            "transfers": [{"owner": "b", "copies": 3, "objects": 5, "bytes": 70, "retries": 2, "last_error": "it is down"}],
            "members": [{"name": "a", "id": "01", "state": "alive", "incarnation": 7, "zone": "", "version": "0.1.0",
                         "addresses": {"http": "h:1", "peer": "p:2"}}],
        });
        let table = status_table(&status);
        let copied = "from b: 3 copies, 5 objects, 70 bytes; begun again 2 times, last because it is down";
        let stalled = "nothing has been copied for 75 s";
        let parts = ["alive", "h:1", "not ready: 1 of 3", "hints held for 00ff: 4", "copied here: 2", "layout 1"];
        for part in parts.into_iter().chain([copied, stalled]) {
            assert!(table.contains(part), "{part} in\n{table}");
        }
    }
}
