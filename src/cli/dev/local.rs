//! A cluster for somebody else's use: started, used, stopped, removed.

use super::directory::{DevNode, Home};
use super::process::Processes;
use super::readiness;

/// A running cluster in a temporary directory.
pub(in crate::cli) struct LocalCluster {
    nodes: Vec<DevNode>,
    processes: Processes,
    #[expect(dead_code, reason = "its end removes the directory")]
    home: Home,
}

impl LocalCluster {
    /// Starts it on ports that the kernel picks, and waits until every node sees every other.
    pub(in crate::cli) async fn start(nodes: usize) -> Result<LocalCluster, String> {
        let home = Home::open(None)?;
        let nodes = home.prepare(Some(nodes), 0)?;
        let client = readiness::client(&nodes)?;
        let mut processes = Processes::start(&nodes)?;
        let early = tokio::select! {
            exited = processes.next_exit() => Some(exited),
            () = readiness::wait(&client, &nodes) => None,
        };
        match early {
            None => Ok(LocalCluster { nodes, processes, home }),
            Some(exited) => {
                processes.stop().await;
                Err(exited.with_last_words())
            }
        }
    }

    /// Where its nodes are.
    pub(in crate::cli) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(DevNode::url).collect()
    }

    /// Ends its processes.
    pub(in crate::cli) async fn stop(self) {
        self.processes.stop().await;
    }
}
