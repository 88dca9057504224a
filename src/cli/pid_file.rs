//! The file that tells a node's process number.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The file, for as long as this value lives. After a crash it stays behind, with a number that is
/// nobody's or somebody else's: it is a hint, the data directory's lock is the truth.
pub(super) struct PidFile(PathBuf);

impl PidFile {
    /// Writes this process's number, at once and whole.
    pub(super) fn write(path: &Path) -> io::Result<Self> {
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        fs::write(&fresh, own_line())?;
        fs::rename(&fresh, path)?;
        Ok(Self(path.into()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another process may have taken the name over; and nobody is left to hear of a failure.
        if fs::read_to_string(&self.0).is_ok_and(|line| line == own_line()) {
            let _ = fs::remove_file(&self.0);
        }
    }
}

fn own_line() -> String {
    format!("{}\n", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_lives_as_long_as_its_value() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), own_line());
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_another_process_took_over_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let file = PidFile::write(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }
}
