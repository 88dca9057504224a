//! An operator: the program's own commands, each a process that ends.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// Runs `dunlin cluster ...` against a node.
#[derive(Debug, Clone)]
pub(super) struct Operator {
    binary: PathBuf,
    /// What `cluster init` made.
    home: PathBuf,
}

impl Operator {
    /// With this program and this directory of the cluster's authority.
    pub(super) fn new(binary: &Path, home: PathBuf) -> Operator {
        Operator { binary: binary.into(), home }
    }

    /// `dunlin cluster <words> --url <url>`
    pub(super) async fn tell(&self, url: &str, words: &[&str]) -> Result<(), String> {
        self.run(Command::new(&self.binary).arg("cluster").args(words).args(["--url", url])).await.map(|_| ())
    }

    /// A ticket for a node of this name.
    pub(super) async fn invite(&self, name: &str) -> Result<String, String> {
        let mut command = Command::new(&self.binary);
        command.args(["cluster", "invite", "--name", name, "--dir"]).arg(&self.home);
        Ok(self.run(&mut command).await?.trim().to_owned())
    }

    async fn run(&self, command: &mut Command) -> Result<String, String> {
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
        let output = output.map_err(|error| format!("{}: {error}", self.binary.display()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let words = command.as_std().get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>();
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("dunlin {} ({}): {}", words.join(" "), output.status, said.trim()))
    }
}
