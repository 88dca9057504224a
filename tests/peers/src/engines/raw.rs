//! No store at all: what the disk and the page cache give, and the least that a put or a get costs.

use crate::data::Values;
use crate::engine::{Committer, Durable, Engine};
use rustix::fs::{FallocateFlags, fallocate};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Space is reserved in pieces of a segment, so that a sync need not write a new length each time.
pub const RESERVED_BYTES: u64 = 64 << 20;

/// Reads by position: a record's place is its number.
pub struct Raw {
    file: Arc<File>,
    record_bytes: usize,
}

/// Writes where the file ends, syncs.
pub struct Appender {
    pub file: Arc<File>,
    pub at: u64,
    pub reserved: u64,
    pub durable: Durable,
}

impl Appender {
    /// Opens the file `name` and begins behind `at`.
    pub fn open(directory: &Path, name: &str, durable: Durable) -> Appender {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(directory.join(name));
        let file = Arc::new(file.expect("the file opens"));
        let at = std::fs::read_to_string(directory.join("end")).ok().and_then(|end| end.parse().ok()).unwrap_or(0);
        Appender { file, at, reserved: at, durable }
    }

    /// Appends bytes as one piece, durable if each commit is to be.
    pub fn append(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len() as u64;
        if end > self.reserved {
            let more = RESERVED_BYTES.max(bytes.len() as u64);
            fallocate(&self.file, FallocateFlags::empty(), self.reserved, more).expect("there is space");
            self.reserved += more;
        }
        self.file.write_all_at(bytes, self.at).expect("the file is written");
        self.at = end;
        if self.durable == Durable::EachCommit {
            self.file.sync_data().expect("the file is synced");
        }
    }

    /// Everything durable; where the file's contents end is noted.
    pub fn close(self, directory: &Path) {
        self.file.set_len(self.at).expect("the file is cut");
        self.file.sync_all().expect("the file is synced");
        std::fs::write(directory.join("end"), self.at.to_string()).expect("the end is noted");
    }
}

/// The committing end.
pub struct RawCommitter {
    appender: Appender,
    directory: std::path::PathBuf,
}

impl Engine for Raw {
    type Committer = RawCommitter;

    fn open(directory: &Path, durable: Durable, values: &Values) -> (Self, RawCommitter) {
        let appender = Appender::open(directory, "raw", durable);
        let engine = Raw { file: Arc::clone(&appender.file), record_bytes: values.of(0).len() };
        (engine, RawCommitter { appender, directory: directory.to_owned() })
    }

    fn prepare(&mut self, number: u64, values: &Values) -> Vec<u8> {
        values.of(number)
    }

    fn publish(&mut self, (): ()) {}

    fn reader<'a>(&'a self, values: &'a Values) -> impl FnMut(u64) -> bool + 'a {
        move |number| {
            let mut value = vec![0; self.record_bytes];
            let at = number * self.record_bytes as u64;
            self.file.read_exact_at(&mut value, at).is_ok() && values.fits(number, &value)
        }
    }
}

impl Committer for RawCommitter {
    type Put = Vec<u8>;
    type Done = ();

    fn commit(&mut self, batch: Vec<Vec<u8>>) -> Vec<()> {
        self.appender.append(&batch.concat());
        vec![(); batch.len()]
    }

    fn close(self) {
        self.appender.close(&self.directory);
    }
}
