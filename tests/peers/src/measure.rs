//! What a piece of work took: time, processor time, bytes read, memory.

use rustix::process::getpid;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Clock ticks of `/proc/PID/stat` in a second, as Linux has them everywhere.
const TICKS_PER_SECOND: f64 = 100.0;

/// One result, printed as one line of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// The engine.
    pub engine: String,
    /// What it did.
    pub workload: String,
    /// Keys of the store.
    pub keys: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Figures by name; the name ends in the unit.
    pub figures: BTreeMap<String, f64>,
}

/// A stopwatch.
pub struct Watch {
    began: Instant,
    processor: Duration,
    read_bytes: u64,
}

impl Watch {
    /// Starts it.
    pub fn start() -> Watch {
        Watch { began: Instant::now(), processor: processor_time(), read_bytes: bytes_read("rchar") }
    }

    /// Figures of `count` operations that ended now.
    pub fn figures(&self, count: u64) -> BTreeMap<String, f64> {
        let seconds = self.began.elapsed().as_secs_f64();
        let processor = (processor_time() - self.processor).as_secs_f64();
        let count = count.max(1) as f64;
        let named = [
            ("count", count),
            ("seconds", seconds),
            ("per_second", count / seconds),
            ("cpu_us", processor * 1e6 / count),
            ("cpu_seconds", processor),
            ("read_mib", (bytes_read("rchar") - self.read_bytes) as f64 / f64::from(1 << 20)),
        ];
        named.into_iter().map(|(name, figure)| (name.to_owned(), figure)).collect()
    }
}

/// Processor time of this process, all threads, user and system.
fn processor_time() -> Duration {
    // The scheduler's own count in nanoseconds is by thread and forgets those that ended.
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Duration::from_secs_f64(ticks / TICKS_PER_SECOND)
}

/// Bytes this process has read: `rchar` by calls, `read_bytes` from the device.
fn bytes_read(field: &str) -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(": "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// Bytes that came from the device.
pub fn device_bytes_read() -> u64 {
    bytes_read("read_bytes")
}

/// Resident anonymous memory of this process, in bytes.
pub fn anonymous_bytes() -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", getpid().as_raw_nonzero())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes: Option<u64> = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    kibibytes.unwrap_or(0) << 10
}

/// Bytes that the files of a directory take on the disk.
pub fn disk_bytes(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some(if metadata.is_dir() { disk_bytes(&entry.path()) } else { metadata.blocks() * 512 })
        })
        .sum()
}

/// Lets the page cache forget the files of a directory.
pub fn drop_from_cache(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            drop_from_cache(&path);
        } else if let Ok(file) = fs::File::open(&path) {
            // Only pages that are on the disk can be forgotten.
            let _ = file.sync_all();
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        }
    }
}
