//! One node of a cluster of its own, perhaps under strace.

use super::super::cluster::{free_tcp, free_udp_pairs, initialise};
use dunlin::client::{Client, Method, Request};
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a node may take to be ready or to end; it has a loaded machine and strace against it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The only node's name.
const NAME: &str = "node1";

/// A node, its files, and its process while there is one.
#[derive(Debug)]
pub(super) struct Node {
    binary: PathBuf,
    home: PathBuf,
    http: SocketAddr,
    flags: Vec<String>,
    child: Option<Child>,
    starts: u32,
}

/// How a start came out.
#[derive(Debug)]
pub(super) enum Started {
    /// It serves.
    Ready,
    /// It has ended before it did.
    Ended(ExitStatus),
}

impl Node {
    /// Makes the files of a cluster of one in `home`, which must not exist yet. Segments are as small as they may be.
    pub(super) fn make(binary: &Path, home: &Path, flags: &[&str]) -> Result<Node, String> {
        initialise(binary, home, &[NAME.to_owned()], &free_udp_pairs(1)?, 1)?;
        let http = free_tcp(1)?.pop().ok_or("no free port")?;
        let flags = ["--storage-segment-bytes", "1MiB"].iter().chain(flags).map(|flag| (*flag).to_owned()).collect();
        Ok(Node { binary: binary.into(), home: home.into(), http, flags, child: None, starts: 0 })
    }

    /// Starts it, behind a command if there is one, and waits until it serves or has ended.
    pub(super) async fn start(&mut self, tracer: &[String]) -> Result<Started, String> {
        self.starts += 1;
        let told = |error: std::io::Error| format!("cannot start the node: {error}");
        let log = OpenOptions::new().create(true).append(true).open(self.log()).map_err(told)?;
        let words: Vec<String> = tracer.iter().cloned().chain([self.binary.display().to_string()]).collect();
        let (program, before) = words.split_first().ok_or("no program")?;
        let child = Command::new(program)
            .args(before)
            .args(["serve", "--exit-with-parent", "--node-http-address", &self.http.to_string()])
            .arg("--node-pid-file")
            .arg(self.pid_file())
            .args(&self.flags)
            .arg("--config")
            .arg(self.home.join(NAME).join("node.toml"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(told)?;
        self.child = Some(child);
        let client = self.client()?;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.ended()? {
                return Ok(Started::Ended(status));
            }
            let ready = client.send(Request::raw(Method::GET, "/readyz")).await;
            if ready.is_ok_and(|answer| answer.status == 200) {
                return Ok(Started::Ready);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(format!("not ready within {PATIENCE:?}; its last words:\n{}", self.last_words()))
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, String> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let status = child.try_wait().map_err(|error| format!("the node: {error}"))?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// SIGKILL to the node itself, not to strace; waits for the end.
    pub(super) async fn kill(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        while self.child.is_some() && self.ended()?.is_none() {
            if begun.elapsed() > PATIENCE {
                return Err("the node does not end".into());
            }
            self.signal();
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    fn signal(&self) {
        let pid = std::fs::read_to_string(self.pid_file()).unwrap_or_default();
        // Without a pid file it is not far yet; it ends with its standard input in any case.
        if pid.trim().parse::<u32>().is_ok() {
            let _ = Command::new("kill").args(["-KILL", pid.trim()]).stderr(Stdio::null()).status();
        }
    }

    /// A client of it.
    pub(super) fn client(&self) -> Result<Client, String> {
        let client = Client::new([format!("http://{}", self.http)]).map_err(|error| error.to_string())?;
        Ok(client.with_timeout(Duration::from_secs(10)))
    }

    /// What its process has told since it was started last.
    pub(super) fn words(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn last_words(&self) -> String {
        let words = self.words();
        let lines: Vec<&str> = words.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    fn log(&self) -> PathBuf {
        self.home.join(format!("log{}", self.starts))
    }

    fn pid_file(&self) -> PathBuf {
        self.home.join(format!("pid{}", self.starts))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            self.signal();
            // It ends with its input; strace ends with it.
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}
