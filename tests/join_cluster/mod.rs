//! Clusters made by hand, as an operator makes them: `cluster init`, `serve`, `cluster invite`.

use dunlin::client::{Answer, Client, Method, Request};
use serde_json::Value;
use std::fs::{self, File};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Only a broken program comes to this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// The binary.
pub(crate) fn dunlin() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dunlin"));
    command.env_remove("DUNLIN_JOIN").stdin(Stdio::null());
    command
}

/// Looks until there is something to see.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(since.elapsed() < PATIENCE, "never came: {what}");
        std::thread::sleep(LOOK);
    }
}

/// A port of 127.0.0.1 that is free, and the next one: the kernel picks.
pub(crate) fn free_pair() -> u16 {
    until("two ports in a row", || {
        let first = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let next = port.checked_add(1)?;
        UdpSocket::bind(("127.0.0.1", next)).ok().map(|_| port)
    })
}

/// What `cluster init` made, in a temporary directory.
pub(crate) struct Cluster {
    directory: tempfile::TempDir,
}

impl Cluster {
    /// Nodes at these peer ports, by name.
    pub(crate) fn init(nodes: &[(&str, u16)]) -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let named: Vec<String> = nodes.iter().map(|(name, port)| format!("{name}=localhost:{port}")).collect();
        let mut init = dunlin();
        init.args(["cluster", "init", "--partitions", "8", "--nodes", &named.join(",")]);
        init.args(["--replicas", &nodes.len().min(3).to_string(), "--dir"]).arg(directory.path().join("cluster"));
        let output = init.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Cluster { directory }
    }

    /// The operator's directory.
    pub(crate) fn home(&self) -> PathBuf {
        self.directory.path().join("cluster")
    }

    /// A directory beside, for a new node.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// One of the first nodes.
    pub(crate) fn serve(&self, name: &str, more: &[&str]) -> Node {
        let mut command = dunlin();
        command.args(["serve", "--node-http-address", "127.0.0.1:0", "--config"]);
        command.arg(self.home().join(name).join("node.toml")).args(more);
        Node::start(command, self.place(&format!("{name}.log")))
    }

    /// A node in a directory of its own, with nothing but flags.
    pub(crate) fn serve_in(&self, directory: &Path, port: u16, more: &[&str]) -> Node {
        let log = directory.with_extension("log");
        Node::start(self.command_in(directory, port, more), log)
    }

    /// The same, not started.
    pub(crate) fn command_in(&self, directory: &Path, port: u16, more: &[&str]) -> Command {
        let mut command = dunlin();
        command.args(["serve", "--node-http-address", "127.0.0.1:0", "--node-data-dir"]).arg(directory);
        command.args(["--node-peer-address", &format!("127.0.0.1:{port}")]).args(more);
        command
    }

    /// A ticket: the one line on standard output.
    pub(crate) fn invite(&self, more: &[&str]) -> String {
        let output = dunlin().args(["cluster", "invite", "--dir"]).arg(self.home()).args(more).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        text.trim().to_owned()
    }

    /// What a call of `serve` that ends by itself says last, with its status.
    pub(crate) fn refused(&self, place: &str, more: &[&str]) -> (Option<i32>, String) {
        said(self.command_in(&self.place(place), free_pair(), more).output().unwrap())
    }
}

/// Exit status and last line.
pub(crate) fn said(output: Output) -> (Option<i32>, String) {
    let words = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), words.lines().last().unwrap_or_default().to_owned())
}

/// A node's process, ended with the value.
pub(crate) struct Node {
    process: Child,
    log: PathBuf,
}

impl Node {
    /// Starts it, with its log in this file.
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Node {
        let file = File::create(&log).unwrap();
        Node { process: command.stdout(Stdio::null()).stderr(file).spawn().unwrap(), log }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits for words in its log.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) -> String {
        until(words, || self.log().lines().find(|line| line.contains(words)).map(str::to_owned))
    }

    /// Where it serves clients; waits until it does.
    #[track_caller]
    pub(crate) fn url(&self) -> String {
        let line = until("the node serves", || {
            let log = self.log();
            let line = log.lines().find(|line| line.contains(" serving ") || line.ends_with(" serving"))?;
            line.split("http=").nth(1).map(str::to_owned)
        });
        format!("http://{}", line.split_whitespace().next().unwrap())
    }

    /// Asks it something.
    pub(crate) fn send(&self, request: Request) -> Answer {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(Client::new([self.url()]).unwrap().send(request)).unwrap()
    }

    /// Waits until clients may be sent there.
    #[track_caller]
    pub(crate) fn ready(&self) -> &Node {
        until("the node is ready", || (self.send(Request::raw(Method::GET, "/readyz")).status == 200).then_some(()));
        self
    }

    /// Everyone it knows: name, id, state.
    pub(crate) fn members(&self) -> Vec<(String, String, String)> {
        let status: Value = self.send(Request::raw(Method::GET, "/cluster")).json().unwrap();
        let text = |member: &Value, field: &str| member[field].as_str().unwrap().to_owned();
        let members = status["members"].as_array().unwrap().iter();
        members.map(|member| (text(member, "name"), text(member, "id"), text(member, "state"))).collect()
    }

    /// Waits until it sees exactly these alive.
    #[track_caller]
    pub(crate) fn sees(&self, names: &[&str]) {
        let alive = || {
            let mut names: Vec<String> =
                self.members().into_iter().filter(|member| member.2 == "alive").map(|member| member.0).collect();
            names.sort();
            names
        };
        until(&format!("{names:?} alive"), || (alive() == names).then_some(()));
    }

    /// The id under which it knows this name.
    pub(crate) fn id_of(&self, name: &str) -> String {
        self.members().into_iter().find(|member| member.0 == name).unwrap().1
    }

    /// Asks it to end, and waits.
    pub(crate) fn stop(mut self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.process.wait().unwrap().success(), "{}", self.log());
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<Option<i32>> {
        self.process.try_wait().unwrap().map(|status| status.code())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
