//! What was asked and answered, on disk, in order.

use super::outcome::Seen;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// The history of a run: a line of JSON for each request, written before it is sent, and one for what came
/// of it. It is for people: the verdict is made from what is in memory.
#[derive(Debug)]
pub(super) struct History(BufWriter<File>);

impl History {
    /// A new file.
    pub(super) fn create(path: &Path) -> Result<History, String> {
        let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(History(BufWriter::new(file)))
    }

    /// A PUT of a record is about to be sent.
    pub(super) fn sending(&mut self, at_ms: u64, record: usize, node: usize) {
        self.line(format_args!(r#"{{"at_ms":{at_ms},"put":{record},"node":{}}}"#, node + 1));
    }

    /// What came of it.
    pub(super) fn came(&mut self, at_ms: u64, record: usize, node: usize, seen: Seen) {
        let node = node + 1;
        match seen {
            Seen::Status(status) => {
                self.line(format_args!(r#"{{"at_ms":{at_ms},"of":{record},"node":{node},"status":{status}}}"#))
            }
            Seen::LostAt(coordinator) => {
                let coordinator = coordinator + 1;
                self.line(format_args!(
                    r#"{{"at_ms":{at_ms},"of":{record},"node":{node},"status":504,"coordinator":{coordinator}}}"#
                ))
            }
            Seen::Unreachable | Seen::NoAnswer => {
                self.line(format_args!(r#"{{"at_ms":{at_ms},"of":{record},"node":{node},"error":"{seen:?}"}}"#))
            }
        }
    }

    /// Something the scenario did.
    pub(super) fn event(&mut self, at_ms: u64, what: &str) {
        self.line(format_args!(r#"{{"at_ms":{at_ms},"event":{}}}"#, serde_json::Value::from(what)));
        // A full disk costs the history, not the run.
        let _ = self.0.flush();
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.0, "{line}");
    }
}
