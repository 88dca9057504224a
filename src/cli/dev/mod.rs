//! `dunlin dev`: a whole cluster of real nodes on this machine.
//!
//! Owns: the directory of such a cluster and the processes of its nodes. Must not know: anything a user
//! could not do by hand: it runs `cluster init` and `serve`, and looks at the nodes over HTTP.
//! Invariant: no process and no temporary file outlives it: nodes end when their standard input does,
//! which this process holds open, even if it is killed.

mod directory;
mod hints;
mod local;
mod process;
mod readiness;
mod strays;

use super::block_on::{block_on, cannot_start};
use super::exit::Failure;
use super::shutdown::Signals;
use directory::{DevNode, Home};
pub(super) use local::LocalCluster;
use process::{Exited, Processes};
use std::io::Write;
use std::path::PathBuf;

/// Most nodes. Each is a process of its own.
const MAX_NODES: u64 = 32;

/// Run a whole cluster of real nodes on this machine
///
/// Prints `ready http://127.0.0.1:8101 ...` on standard output once every node sees every other. Ctrl-C stops all. A node
/// that dies is reported, not restarted: `dunlin serve --config DIR/node<i>/node.toml` starts it again.
#[derive(clap::Args)]
pub(super) struct Dev {
    /// How many nodes [default: 3, or those already in DIR]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=MAX_NODES))]
    nodes: Option<u64>,
    /// Where data is kept; started again on the same directory, the cluster goes on with it [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Node i serves HTTP on this port + i - 1 of 127.0.0.1; 0: the kernel picks all
    #[arg(long, value_name = "PORT", default_value_t = 8101)]
    http_port: u16,
}

impl Dev {
    pub(super) fn run(self) -> Result<(), Failure> {
        let home = Home::open(self.data).map_err(Failure::new)?;
        let nodes = home.prepare(self.nodes.map(|nodes| nodes as usize), self.http_port).map_err(Failure::new)?;
        block_on(supervise(&nodes)).map_err(|error| cannot_start(&error))?.map_err(Failure::new)
    }
}

/// Runs the nodes until a signal comes, or one dies before all are ready.
async fn supervise(nodes: &[DevNode]) -> Result<(), String> {
    let mut signals = Signals::new().map_err(|error| format!("cannot take signals: {error}"))?;
    let client = readiness::client(nodes)?;
    let mut processes = Processes::start(nodes)?;
    let ended = tokio::select! {
        () = signals.next() => Ended::Asked,
        exited = processes.next_exit() => Ended::Early(exited),
        () = readiness::wait(&client, nodes) => Ended::Ready,
    };
    let result = match ended {
        Ended::Asked => Ok(()),
        Ended::Early(exited) => Err(exited.with_last_words()),
        Ended::Ready => {
            announce(nodes);
            watch(&mut processes, &mut signals).await;
            Ok(())
        }
    };
    eprintln!("dunlin dev: stopping");
    processes.stop().await;
    strays::stop(nodes).await;
    result
}

/// How the time before readiness ended.
enum Ended {
    Ready,
    Asked,
    Early(Exited),
}

/// Reports nodes that die, until a signal comes.
async fn watch(processes: &mut Processes, signals: &mut Signals) {
    loop {
        tokio::select! {
            () = signals.next() => return,
            exited = processes.next_exit() => eprintln!("dunlin dev: {}", exited.with_advice()),
        }
    }
}

fn announce(nodes: &[DevNode]) {
    eprintln!("{}", hints::try_next(nodes));
    let addresses: Vec<String> = nodes.iter().map(DevNode::url).collect();
    // Whoever closed standard output does not want to know; the cluster runs on.
    let _ = writeln!(std::io::stdout(), "ready {}", addresses.join(" "));
}
