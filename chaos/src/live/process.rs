//! One node's process.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Lines of a node's log that are shown when it ends by itself.
const LAST_WORDS: usize = 10;

/// SIGKILL's number: a process that ended by it while we meant to kill it was killed by us.
const SIGKILL: i32 = 9;

/// A node: its files, and its process while there is one.
#[derive(Debug)]
pub(super) struct NodeProcess {
    pub(super) name: String,
    pub(super) http: SocketAddr,
    binary: PathBuf,
    directory: PathBuf,
    entry: Entry,
    /// Settings of this run, as variables.
    environment: Vec<(&'static str, &'static str)>,
    child: Option<Child>,
}

/// How it comes to be one of the cluster.
#[derive(Debug)]
enum Entry {
    /// `cluster init` made its files.
    Configured,
    /// With a ticket, at this peer address.
    Invited { ticket: String, peer: SocketAddr },
}

impl NodeProcess {
    /// A node whose files are in `directory`; not started yet.
    pub(super) fn new(name: &str, http: SocketAddr, binary: &Path, directory: PathBuf) -> NodeProcess {
        let (name, binary, environment) = (name.into(), binary.into(), Vec::new());
        NodeProcess { name, http, binary, directory, entry: Entry::Configured, environment, child: None }
    }

    /// A node with an empty directory that joins with this ticket.
    pub(super) fn invited(mut self, ticket: String, peer: SocketAddr) -> NodeProcess {
        self.entry = Entry::Invited { ticket, peer };
        self
    }

    /// Sets a setting by its variable, from the next start on.
    pub(super) fn set(&mut self, variable: &'static str, value: &'static str) {
        self.environment.push((variable, value));
    }

    /// Where its data are.
    pub(super) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Starts it. It ends when this process does, however that comes about: it watches its standard input.
    pub(super) fn start(&mut self) -> Result<(), String> {
        let log = self.log();
        let told = |error: std::io::Error| format!("cannot start {}: {error}", self.name);
        let log = OpenOptions::new().create(true).append(true).open(log).map_err(told)?;
        let child = Command::new(&self.binary)
            .args(["serve", "--exit-with-parent", "--node-http-address", &self.http.to_string()])
            .args(self.entry_arguments())
            .envs(self.environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C in a terminal is for the harness alone.
            .process_group(0)
            .spawn()
            .map_err(told)?;
        self.child = Some(child);
        Ok(())
    }

    /// Starts it again if it is not running.
    pub(super) fn start_if_ended(&mut self) -> Result<(), String> {
        if self.child.is_some() { Ok(()) } else { self.start() }
    }

    /// Sends SIGKILL, without waiting for the end: several can be killed at once.
    pub(super) fn kill(&mut self) -> Result<(), String> {
        let Some(child) = &mut self.child else { return Ok(()) };
        child.kill().map_err(|error| format!("cannot kill {}: {error}", self.name))
    }

    /// Waits for the end of a process that was killed. An error if it had ended otherwise before.
    pub(super) fn bury(&mut self) -> Result<(), String> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let status = child.wait().map_err(|error| format!("{}: {error}", self.name))?;
        if status.signal() == Some(SIGKILL) { Ok(()) } else { Err(self.last_words(&status.to_string())) }
    }

    /// Says how the process ended, if it did although nobody killed it.
    pub(super) fn ended(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        self.child = None;
        Some(self.last_words(&status.to_string()))
    }

    /// What its log says of panics.
    pub(super) fn panics(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let panics = log.lines().filter(|line| line.contains("panicked at"));
        panics.map(|line| format!("{}: {line}", self.name)).collect()
    }

    /// Where clients reach it.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    fn entry_arguments(&self) -> Vec<OsString> {
        match &self.entry {
            Entry::Configured => vec!["--config".into(), self.directory.join("node.toml").into()],
            Entry::Invited { ticket, peer } => {
                let mut arguments: Vec<OsString> = vec!["--node-data-dir".into(), self.data().into()];
                arguments.extend(["--node-peer-address".into(), peer.to_string().into()]);
                if !self.data().exists() {
                    arguments.extend(["--join", ticket, "--node-name", &self.name].map(OsString::from));
                }
                arguments
            }
        }
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn last_words(&self, status: &str) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n");
        format!("{} ended by itself ({status}); its last words:\n{last}", self.name)
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended this instant, and nobody is left to hear of a failure.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
