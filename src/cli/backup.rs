//! `dunlin backup`: a copy of a node's data, taken while the node runs or while it does not.

use super::exit::Failure;
use crate::runtime::backup::back_up;
use crate::runtime::open_files::OpenFiles;
use crate::store::{BackedUp, BackupError, DiskErrorKind};
use std::io::Write;
use std::path::PathBuf;

/// Copy a node's data into a new directory, whether the node runs or not
///
/// Every write that was acknowledged before the command began is in the copy. To restore a node, stop it, put the copy in the
/// place of its data directory, and start it: docs/backup.md says what holds then. Exit status: 0 done, 1 no backup.
#[derive(clap::Args)]
pub(super) struct Backup {
    /// The node's data directory
    dir: PathBuf,
    /// Where the copy goes: made if it is not there, and empty. On the same file system nearly all of it is hard links
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

impl Backup {
    pub(super) fn run(&self) -> Result<(), Failure> {
        // Where nothing can be linked every file is held open until it is copied.
        OpenFiles::raise();
        let done = back_up(&self.dir, &self.to).map_err(|error| self.failed(&error))?;
        let BackedUp { linked, copied, copied_bytes, through } = done;
        let told = format!(
            "records up to {} in {}: {linked} files linked, {copied} copied ({copied_bytes} bytes)",
            through.0,
            self.to.display()
        );
        // Whoever closed standard output does not want to know.
        let _ = writeln!(std::io::stdout(), "{told}");
        if linked > 0 {
            eprintln!("linked files are the node's own, on its disk: copy {} elsewhere", self.to.display());
        }
        Ok(())
    }

    fn failed(&self, error: &BackupError) -> Failure {
        let advice = match error {
            BackupError::NotEmpty => "",
            BackupError::Disk(error) if error.kind == DiskErrorKind::TooManyOpenFiles => {
                "; raise the limit on open files (ulimit -Hn), or back up to the data's own file system"
            }
            _ if self.to.exists() => "; what is there now is no backup, and no node opens it",
            _ => "",
        };
        Failure::new(format!("no backup of {} in {}: {error}{advice}", self.dir.display(), self.to.display()))
    }
}
