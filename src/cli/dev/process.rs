//! The nodes' processes.

use super::directory::DevNode;
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// How long a node may take to end by itself; then it is killed. Well above a last fsync.
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Lines of a dead node's log that are shown.
const LAST_WORDS: usize = 10;

/// The processes of one local cluster.
pub(super) struct Processes {
    exits: mpsc::Receiver<Exited>,
    stop: watch::Sender<bool>,
    keepers: JoinSet<()>,
}

/// A node's process that ended although nobody asked it to.
pub(super) struct Exited {
    name: String,
    status: String,
    log: PathBuf,
    file: PathBuf,
}

impl Processes {
    /// Starts all nodes. Needs a tokio runtime.
    pub(super) fn start(nodes: &[DevNode]) -> Result<Self, String> {
        let (stop, stopped) = watch::channel(false);
        // A process ends once: there is room for all of them.
        let (report, exits) = mpsc::channel(nodes.len().max(1));
        let mut keepers = JoinSet::new();
        for node in nodes {
            let child = spawn(node).map_err(|error| format!("cannot start {}: {error}", node.name))?;
            keepers.spawn(keep(node.clone(), child, stopped.clone(), report.clone()));
        }
        Ok(Self { exits, stop, keepers })
    }

    /// The next process that ends by itself; never, once all have.
    pub(super) async fn next_exit(&mut self) -> Exited {
        match self.exits.recv().await {
            Some(exited) => exited,
            None => std::future::pending().await,
        }
    }

    /// Stops all that still run, and waits for it.
    pub(super) async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.keepers.join_next().await.is_some() {}
    }
}

/// `dunlin serve`, in a process group of its own: Ctrl-C in a terminal goes to a whole group, and it is
/// for `dev` to say in which order things end.
fn spawn(node: &DevNode) -> std::io::Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(log_of(node))?;
    Command::new(std::env::current_exe()?)
        .args(["serve", "--exit-with-parent", "--config"])
        .arg(node.file())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Owns a process until it ends, by itself or because all shall.
async fn keep(node: DevNode, mut child: Child, mut stopped: watch::Receiver<bool>, report: mpsc::Sender<Exited>) {
    // `wait` would close it, and the node would end as if its parent had.
    let input = child.stdin.take();
    tokio::select! {
        status = child.wait() => {
            let status = status.map_or_else(|error| error.to_string(), |status: ExitStatus| status.to_string());
            let exited = Exited { name: node.name.clone(), status, log: log_of(&node), file: node.file() };
            // Nobody listens once all are being stopped.
            let _ = report.send(exited).await;
        }
        () = until(&mut stopped) => end(&node, &mut child).await,
    }
    drop(input);
}

/// Returns once all shall stop, or nobody is left who could say so.
async fn until(stopped: &mut watch::Receiver<bool>) {
    // The guard it returns must not be held over an await.
    let _ = stopped.wait_for(|stop| *stop).await;
}

async fn end(node: &DevNode, child: &mut Child) {
    let pid = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
    if let Some(pid) = pid {
        // It may have ended this instant; `wait` tells.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    if tokio::time::timeout(STOP_LIMIT, child.wait()).await.is_err() {
        eprintln!("dunlin dev: {} did not end within {STOP_LIMIT:?}; it is killed", node.name);
        if let Err(error) = child.kill().await {
            eprintln!("dunlin dev: {}: {error}", node.name);
        }
    }
}

fn log_of(node: &DevNode) -> PathBuf {
    node.directory.join("log")
}

impl Exited {
    /// For a node that died before the cluster was ready: with the end of its log.
    pub(super) fn with_last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LAST_WORDS)..).unwrap_or_default();
        format!("{} ended before the cluster was ready ({}):\n{}", self.name, self.status, last.join("\n"))
    }

    /// For a node that died later: how to start it again.
    pub(super) fn with_advice(&self) -> String {
        let (name, status) = (&self.name, &self.status);
        format!("{name} ended ({status}); start it again with: dunlin serve --config {}", self.file.display())
    }
}
