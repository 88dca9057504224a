//! Nodes of the cluster that somebody started again by hand.

use super::directory::DevNode;
use super::process::STOP_LIMIT;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Between two looks whether a process has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Asks all of them to end, and waits for it. They are part of the cluster; left alone, they would
/// outlive it, perhaps without the directory they run in.
pub(super) async fn stop(nodes: &[DevNode]) {
    let found: Vec<_> = nodes.iter().filter_map(|node| Some((node, stray(node)?))).collect();
    for (node, pid) in &found {
        eprintln!("dunlin dev: stopping {}, started by hand", node.name);
        // It may have ended this instant; the look below tells.
        let _ = kill_process(*pid, Signal::TERM);
    }
    for (node, pid) in &found {
        let ended = async {
            while stray(node) == Some(*pid) {
                sleep(LOOK_INTERVAL).await;
            }
        };
        if timeout(STOP_LIMIT, ended).await.is_err() {
            eprintln!("dunlin dev: {} did not end within {STOP_LIMIT:?}; it is left alone", node.name);
        }
    }
}

/// The process the pid file names, if it is this node: a number alone may be anybody's by now.
fn stray(node: &DevNode) -> Option<Pid> {
    let number: i32 = fs::read_to_string(node.directory.join("pid")).ok()?.trim().parse().ok()?;
    let command = fs::read(format!("/proc/{number}/cmdline")).ok()?;
    let mut words = command.split(|byte| *byte == 0);
    let file = node.file();
    let is_node = words.any(|word| word == b"serve") && words.any(|word| word == file.as_os_str().as_encoded_bytes());
    is_node.then(|| Pid::from_raw(number)).flatten()
}
