//! What the nodes' processes use, when they run on this machine.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

/// The kernel counts processor time in hundredths of a second, whatever the machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// The column of `/proc/net/tcp` that says "listening".
const LISTENING: &str = "0A";

/// Processes whose use is measured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Processes(BTreeSet<u32>);

/// What they have used, or use.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Usage {
    /// Processor seconds since they began, user and system.
    pub(super) cpu_seconds: f64,
    /// Bytes in memory that belong to no file.
    pub(super) anonymous_bytes: u64,
}

impl Processes {
    /// This process.
    pub(super) fn own() -> Processes {
        Processes(BTreeSet::from([std::process::id()]))
    }

    /// Whoever listens at these addresses, as far as that is on this machine and may be seen.
    pub(super) fn listening_at(addresses: &[SocketAddr]) -> Processes {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
        let ports: BTreeSet<u16> =
            addresses.iter().filter(|address| address.ip().is_loopback()).map(SocketAddr::port).collect();
        let inodes: BTreeSet<String> =
            tables.iter().flat_map(|table| table.lines()).filter_map(|line| inode_of(line, &ports)).collect();
        Processes(processes().into_iter().filter(|process| holds_any(*process, &inodes)).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What they use by now. A process that is gone adds nothing.
    pub(super) fn usage(&self) -> Usage {
        self.0.iter().fold(Usage::default(), |sum, process| Usage {
            cpu_seconds: sum.cpu_seconds + cpu_seconds(*process).unwrap_or_default(),
            anonymous_bytes: sum.anonymous_bytes + anonymous_bytes(*process).unwrap_or_default(),
        })
    }
}

/// The socket's inode, if the line speaks of a socket that listens at one of the ports.
fn inode_of(line: &str, ports: &BTreeSet<u16>) -> Option<String> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
    let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
    (*state == LISTENING && ports.contains(&port)).then(|| (*inode).to_owned())
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn holds_any(process: u32, inodes: &BTreeSet<String>) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let mut targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.any(|target| {
        let inode = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']'));
        inode.is_some_and(|inode| inodes.contains(inode))
    })
}

fn cpu_seconds(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name may hold anything, a blank or a parenthesis too.
    let columns: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |column: usize| columns.get(column)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

fn anonymous_bytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_listener_is_found_by_its_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let found = Processes::listening_at(&[listener.local_addr().unwrap()]);
        assert_eq!(found, Processes::own());
        let usage = found.usage();
        assert!(usage.anonymous_bytes > 0);
        assert_eq!(Processes::listening_at(&["192.0.2.1:1".parse().unwrap()]).len(), 0);
    }

    #[test]
    fn a_line_counts_if_it_listens_at_the_port() {
        let line =
            "  0: 0100007F:1FA5 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 4242 1 0 100 0 0 10 0";
        let ports = BTreeSet::from([0x1fa5]);
        assert_eq!(inode_of(line, &ports).as_deref(), Some("4242"));
        assert_eq!(inode_of(&line.replace(" 0A ", " 01 "), &ports), None);
        assert_eq!(inode_of(line, &BTreeSet::from([80])), None);
    }
}
