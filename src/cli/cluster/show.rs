//! Asking a node and showing what it answers.

use crate::cli::block_on::block_on;
use crate::cli::exit::Failure;
use crate::client::{Client, Method, Request};
use serde::de::DeserializeOwned;

/// Which node to ask, and how to show its answer.
#[derive(clap::Args)]
pub(super) struct Asked {
    /// A node of the cluster: the answer is what this node sees
    #[arg(long, env = "DUNLIN_URL", default_value = "http://127.0.0.1:8101")]
    url: String,
    /// Print the node's JSON as it is
    #[arg(long)]
    json: bool,
}

impl Asked {
    /// Asks for `path` and prints the answer: as it is, or as `lines` of it.
    pub(super) fn show<T: DeserializeOwned>(&self, path: &str, lines: fn(&T) -> Vec<String>) -> Result<(), Failure> {
        let client = Client::new([self.url.as_str()]).map_err(|error| Failure::usage(error.to_string()))?;
        let answer = block_on(client.send(Request::raw(Method::GET, path)))?;
        let answer = answer.map_err(|error| Failure::new(error.to_string()))?;
        let text = String::from_utf8_lossy(&answer.body);
        if !answer.status.is_success() {
            return Err(Failure::new(format!("{} answered {}: {text}", self.url, answer.status.as_u16())));
        }
        if self.json {
            println!("{}", text.trim_end());
            return Ok(());
        }
        let parsed = serde_json::from_str(&text);
        let parsed =
            parsed.map_err(|error| Failure::new(format!("{} answered what is not understood: {error}", self.url)))?;
        lines(&parsed).iter().for_each(|line| println!("{line}"));
        Ok(())
    }
}

/// Rows with their columns below each other.
pub(super) fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let length = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().map(|row| length(row, column)).max().unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let row = |cells: &[&str]| cells.iter().map(|cell| cell.to_string()).collect::<Vec<_>>();
        assert_eq!(
            aligned(&[row(&["name", "zone"]), row(&["a", ""]), row(&["b", "x"])]),
            ["name  zone", "a", "b     x"]
        );
    }
}
