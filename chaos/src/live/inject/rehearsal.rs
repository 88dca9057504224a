//! strace: how often a node makes each call, and the command that makes one fail.

use super::load;
use super::node::{Node, Started};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Calls that change what is on disk. Not all are made by every version.
pub(super) const CALLS: &[&str] =
    &["write", "pwrite64", "pwritev2", "fdatasync", "fsync", "rename", "renameat2", "unlink", "ftruncate", "fallocate"];

/// What is done to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// It fails with EIO, and does nothing.
    Error,
    /// The process is killed in it.
    Kill,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Error => "EIO",
            Fault::Kill => "SIGKILL",
        })
    }
}

/// Is there a strace? If not, what to do.
pub(super) fn strace_is_there() -> Result<(), String> {
    let version = Command::new("strace").arg("--version").stdin(Stdio::null()).output();
    match version {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err("system calls are injected by strace, which is not there; install it: apt-get install strace".into()),
    }
}

/// The command in front of a node's that does this to the `nth` such call of a thread. The trace goes to a file.
pub(super) fn tracer(call: &str, fault: Option<(Fault, u64)>, trace: &Path) -> Vec<String> {
    // Not with --seccomp-bpf: strace 6.1 then never sends the signal but at the first call.
    let mut words: Vec<String> = ["strace", "-f", "-qq", "-o"].map(str::to_owned).to_vec();
    words.push(trace.display().to_string());
    words.push(format!("--trace={call}"));
    match fault {
        Some((Fault::Error, nth)) => words.push(format!("--inject={call}:error=EIO:when={nth}")),
        Some((Fault::Kill, nth)) => words.push(format!("--inject={call}:signal=SIGKILL:when={nth}")),
        None => {}
    }
    words
}

/// How often the busiest thread makes each call in `longest` of load and the opening before it.
pub(super) async fn rehearse(
    binary: &Path,
    home: &Path,
    flags: &[&str],
    longest: Duration,
) -> Result<BTreeMap<&'static str, u64>, String> {
    let mut node = Node::make(binary, home, flags)?;
    let trace = home.join("trace");
    match node.start(&tracer(&CALLS.join(","), None, &trace)).await? {
        Started::Ready => {}
        Started::Ended(status) => {
            return Err(format!("the node ended under strace ({status}); may this user trace?\n{}", node.words()));
        }
    }
    load::run(&mut node, 0, longest).await?;
    node.kill().await?;
    let text = std::fs::read_to_string(&trace).map_err(|error| format!("{}: {error}", trace.display()))?;
    Ok(count(&text))
}

/// By call, the most that any one thread made: strace counts for each thread apart.
fn count(trace: &str) -> BTreeMap<&'static str, u64> {
    let mut by_thread: BTreeMap<(&str, &'static str), u64> = BTreeMap::new();
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let called = rest.trim_start().split_once('(').map(|(call, _)| call);
        if let Some(call) = CALLS.iter().find(|call| Some(**call) == called) {
            *by_thread.entry((thread, call)).or_default() += 1;
        }
    }
    let mut most: BTreeMap<&'static str, u64> = BTreeMap::new();
    for ((_, call), count) in by_thread {
        let entry = most.entry(call).or_default();
        *entry = count.max(*entry);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_thread_counts() {
        let trace = "7 fdatasync(3) = 0\n8 fdatasync(3 <unfinished ...>\n8 <... fdatasync resumed>) = 0\n8  fdatasync(3) = 0\n\
                     7 rename(\"a\", \"b\") = 0\n7 +++ killed by SIGKILL +++\n";
        assert_eq!(count(trace), BTreeMap::from([("fdatasync", 2), ("rename", 1)]));
    }

    #[test]
    fn the_command_names_call_fault_and_number() {
        let words = tracer("fsync", Some((Fault::Error, 7)), Path::new("t")).join(" ");
        assert!(words.ends_with("-o t --trace=fsync --inject=fsync:error=EIO:when=7"), "{words}");
    }
}
