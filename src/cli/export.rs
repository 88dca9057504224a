//! `dunlin list` and `dunlin export`.

use super::kv::{Exit, Output};
use super::pages::{ClusterArgs, Pages, RangeArgs};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Map, Value, json};
use std::io;

/// Keys asked for at once.
const PAGE_KEYS: usize = 1000;

/// `dunlin list`: keys in order, one to a line
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Cluster and knobs.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Which keys.
    #[command(flatten)]
    pub range: RangeArgs,
    /// Most keys to print
    #[arg(long)]
    pub limit: Option<usize>,
    /// One JSON object to a line: key, size, type, time, number of siblings
    #[arg(long)]
    pub json: bool,
}

/// `dunlin export`: every key with all its values, one JSON object to a line
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// Cluster and knobs.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Which keys.
    #[command(flatten)]
    pub range: RangeArgs,
}

/// Prints keys. Fails only if output does.
pub async fn list(args: &ListArgs, mut output: Output<'_>) -> io::Result<Exit> {
    let mut left = args.limit.unwrap_or(usize::MAX);
    let client = match args.cluster.client() {
        Ok(client) => client,
        Err(error) => return failed(&mut output, &error),
    };
    let mut pages = Pages::new(&client, &args.cluster, &args.range, "false");
    while left > 0 {
        let items = match pages.next(left.min(PAGE_KEYS)).await {
            Ok(Some(items)) => items,
            Ok(None) => break,
            Err(error) => return failed(&mut output, &error),
        };
        left = left.saturating_sub(items.len());
        for item in &items {
            let line = if args.json { item.to_string().into_bytes() } else { key_bytes(item).unwrap_or_default() };
            output.stdout.write_all(&[line.as_slice(), b"\n"].concat())?;
        }
    }
    output.stdout.flush()?;
    Ok(Exit::Done)
}

/// Prints every key with all its values. Fails only if output does.
pub async fn export(args: &ExportArgs, mut output: Output<'_>) -> io::Result<Exit> {
    let client = match args.cluster.client() {
        Ok(client) => client,
        Err(error) => return failed(&mut output, &error),
    };
    let mut pages = Pages::new(&client, &args.cluster, &args.range, "true");
    loop {
        match pages.next(PAGE_KEYS).await {
            Ok(Some(items)) => {
                for item in &items {
                    writeln!(output.stdout, "{}", exported(item))?;
                }
            }
            Ok(None) => break,
            Err(error) => {
                output.stdout.flush()?;
                return failed(&mut output, &format!("{error}; go on with --start and the key of the last line"));
            }
        }
    }
    output.stdout.flush()?;
    Ok(Exit::Done)
}

/// A line of an export: what an item of a listing says, values as base64 and nothing that holds for one cluster only.
fn exported(item: &Value) -> Value {
    let single = [item.clone()];
    let versions = item.get("versions").and_then(Value::as_array).map_or(&single[..], Vec::as_slice);
    let mut line = Map::new();
    for name in ["key", "key_b64"] {
        line.extend(item.get(name).map(|key| (name.to_owned(), key.clone())));
    }
    line.insert("siblings".into(), versions.iter().map(exported_version).collect());
    Value::Object(line)
}

fn exported_version(version: &Value) -> Value {
    let value = match version.get("value").and_then(Value::as_str) {
        Some(text) => STANDARD.encode(text).into(),
        None => version.get("value_b64").cloned().unwrap_or_default(),
    };
    let mut exported = Map::from_iter([("value_b64".to_owned(), value)]);
    for name in ["content_type", "metadata", "modified", "expires_at"] {
        let said = version.get(name).filter(|said| !said.is_null() && **said != json!({}));
        exported.extend(said.map(|said| (name.to_owned(), said.clone())));
    }
    Value::Object(exported)
}

/// The key of an item or a line.
pub(super) fn key_bytes(item: &Value) -> Option<Vec<u8>> {
    match item.get("key").and_then(Value::as_str) {
        Some(key) => Some(key.as_bytes().to_vec()),
        None => STANDARD.decode(item.get("key_b64")?.as_str()?).ok(),
    }
}

fn failed(output: &mut Output<'_>, error: &str) -> io::Result<Exit> {
    writeln!(output.stderr, "dunlin: {error}")?;
    Ok(Exit::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_every_value_as_base64_and_no_context() {
        let one = json!({"key": "k", "size": 1, "siblings": 1, "context": "t", "value": "x",
            "content_type": "text/plain", "modified": "m", "metadata": {"a": "b"}});
        let sibling =
            json!({"value_b64": "eA==", "content_type": "text/plain", "modified": "m", "metadata": {"a": "b"}});
        assert_eq!(exported(&one), json!({"key": "k", "siblings": [sibling]}));
        let two = json!({"key_b64": "/w==", "siblings": 2, "versions": [
            {"id": "1", "value_b64": "/w==", "content_type": "t", "modified": "m", "expires_at": null, "node": "n"},
            {"id": "2", "value": "", "content_type": "t", "modified": "n", "expires_at": "e"}]});
        let line = exported(&two);
        assert_eq!(line["siblings"][0], json!({"value_b64": "/w==", "content_type": "t", "modified": "m"}));
        assert_eq!((&line["siblings"][1]["value_b64"], &line["siblings"][1]["expires_at"]), (&json!(""), &json!("e")));
        assert_eq!(key_bytes(&line), Some(vec![0xff]));
    }
}
