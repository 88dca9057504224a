//! `dunlin serve`: one node.

use super::block_on::{block_on, cannot_start};
use super::exit::Failure;
use super::logging;
use super::overrides::Overrides;
use super::pid_file::PidFile;
use super::shutdown::{Parent, Signals, requested};
use crate::runtime::server;
use crate::runtime::settings::{Settings, Sources};
use std::path::PathBuf;

/// Run one node.
///
/// Every setting of the file is also a flag, --section-key, and a variable, DUNLIN_SECTION_KEY; a flag wins over a
/// variable, that over the file. Exit status: 0 asked to end, 2 wrong call or settings, 10 the store could not make a
/// write durable, 11 another process has the node's identity, 1 any other failure.
#[derive(clap::Args)]
pub(super) struct Serve {
    /// The configuration file; `dunlin cluster init` makes one for each node
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// End when standard input does
    #[arg(long, hide = true)]
    exit_with_parent: bool,
    #[command(flatten)]
    overrides: Overrides,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        if cfg!(feature = "mutants") {
            return Err(Failure::usage("this build carries deliberate faults (feature mutants); it serves nobody"));
        }
        let sources = Sources::of_process(&self.config, self.overrides.0);
        let sources = sources.map_err(|error| Failure::usage(error.to_string()))?;
        let settings = sources
            .load()
            .map_err(|error| Failure::usage(format!("the node does not start with these settings:\n{error}")))?;
        logging::start(&settings.log);
        for name in sources.unknown_variables() {
            tracing::warn!("environment variable {name} is no setting; docs/configuration.md lists them");
        }
        let parent = if self.exit_with_parent { Parent::Followed } else { Parent::Outlived };
        serve(settings, parent)
    }
}

fn serve(settings: Settings, parent: Parent) -> Result<(), Failure> {
    let pid_file = settings.node.pid_file.clone();
    let _pid_file = pid_file.as_deref().map(PidFile::write).transpose().map_err(|error| {
        Failure::usage(format!("node.pid_file: cannot write {}: {error}", pid_file.unwrap_or_default().display()))
    })?;
    block_on(async {
        let signals = Signals::new().map_err(|error| Failure::new(format!("cannot take signals: {error}")))?;
        Ok(server::run(settings, requested(signals, parent)).await?)
    })
    .map_err(|error| cannot_start(&error))?
}
