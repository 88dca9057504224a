//! `dunlin serve`: one node.

use super::block_on::{block_on, cannot_start};
use super::exit::Failure;
use super::logging;
use super::overrides::Overrides;
use super::pid_file::PidFile;
use super::shutdown::{Parent, Signals, requested};
use crate::runtime::join::{Candidate, Prepared, Ticket, kept_settings, prepare};
use crate::runtime::server;
use crate::runtime::settings::{Settings, SettingsError, Sources};
use std::path::{Path, PathBuf};

/// Run one node.
///
/// Every setting of the file is also a flag, --section-key, and a variable, DUNLIN_SECTION_KEY; a flag wins over a
/// variable, that over the file. A node that joined with a ticket needs no file: its data directory has what it joined
/// with. Exit status: 0 asked to end, 2 wrong call or settings, 10 the store could not make a write durable, 11 another
/// process has the node's identity, 1 any other failure.
#[derive(clap::Args)]
pub(super) struct Serve {
    /// The configuration file; `dunlin cluster init` makes one for each node
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Join the cluster of this ticket, from `dunlin cluster invite`, with an empty data directory; of no consequence
    /// once the node has joined
    #[arg(long, value_name = "TICKET", env = "DUNLIN_JOIN", hide_env_values = true)]
    join: Option<String>,
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
        let mut sources = match &self.config {
            Some(file) => {
                Sources::of_process(file, self.overrides.0).map_err(|error| Failure::usage(error.to_string()))?
            }
            None => Sources::without_file(self.overrides.0),
        };
        let directory = sources.read().map_err(|error| unfit(&error))?.node.data_dir;
        let prepared = self.join.map(|ticket| prepared(&directory, &ticket)).transpose()?;
        let candidate = match prepared {
            Some(Prepared::Candidate(candidate)) => Some(candidate),
            Some(Prepared::Member) | None => None,
        };
        sources.beneath = match &candidate {
            Some(candidate) => Some(candidate.settings()),
            None => kept_settings(&directory).map_err(|error| Failure::new(error.to_string()))?,
        };
        let settings = sources.load().map_err(|error| unfit(&error))?;
        logging::start(&settings.log);
        for name in sources.unknown_variables() {
            tracing::warn!("environment variable {name} is no setting; docs/configuration.md lists them");
        }
        let parent = if self.exit_with_parent { Parent::Followed } else { Parent::Outlived };
        let joining = candidate.map(|candidate| Joining { candidate, sources, directory });
        serve(settings, joining, parent)
    }
}

/// A node that is to be let in before it serves.
struct Joining {
    candidate: Box<Candidate>,
    sources: Sources,
    directory: PathBuf,
}

impl Joining {
    /// Asks; then the settings are those it has joined with.
    async fn join(mut self, settings: &Settings) -> Result<Settings, Failure> {
        self.candidate.join(settings).await?;
        self.sources.beneath = kept_settings(&self.directory).map_err(|error| Failure::new(error.to_string()))?;
        self.sources.load().map_err(|error| unfit(&error))
    }
}

fn prepared(directory: &Path, ticket: &str) -> Result<Prepared, Failure> {
    let ticket = Ticket::parse(ticket).map_err(|error| Failure::usage(format!("--join: {error}")))?;
    Ok(prepare(directory, &ticket)?)
}

fn unfit(error: &SettingsError) -> Failure {
    Failure::usage(format!("the node does not start with these settings:\n{error}"))
}

fn serve(mut settings: Settings, joining: Option<Joining>, parent: Parent) -> Result<(), Failure> {
    let pid_file = settings.node.pid_file.clone();
    let _pid_file = pid_file.as_deref().map(PidFile::write).transpose().map_err(|error| {
        Failure::usage(format!("node.pid_file: cannot write {}: {error}", pid_file.unwrap_or_default().display()))
    })?;
    block_on(async {
        let signals = Signals::new().map_err(|error| Failure::new(format!("cannot take signals: {error}")))?;
        let shutdown = requested(signals, parent);
        tokio::pin!(shutdown);
        if let Some(joining) = joining {
            settings = tokio::select! {
                joined = joining.join(&settings) => joined?,
                () = &mut shutdown => return Ok(()),
            };
        }
        Ok(server::run(settings, shutdown).await?)
    })
    .map_err(|error| cannot_start(&error))?
}
