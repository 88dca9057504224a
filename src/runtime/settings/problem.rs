//! What is wrong with the settings, and where.

use std::fmt;
use std::path::PathBuf;

/// Why a node does not start with these settings: everything that is wrong, not only the first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {file}: {detail}", file = file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The operating system's words.
        detail: String,
    },
    /// Something in the file, a flag or a variable is wrong.
    #[error("{}", .0.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
    Refused(Vec<Problem>),
}

/// One thing that is wrong. Shown as `file:line:column: text`, or with the flag or variable in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub(super) origin: Origin,
    pub(super) text: String,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A place in the file; both numbers count from 1.
    File {
        /// The file.
        file: PathBuf,
        /// Line.
        line: usize,
        /// Column, in characters.
        column: usize,
    },
    /// A variable of the environment.
    Variable(String),
    /// A flag, without dashes.
    Flag(String),
    /// Nobody gave it.
    Default,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, text } = self;
        match origin {
            Origin::File { file, line, column } => write!(f, "{}:{line}:{column}: {text}", file.display()),
            Origin::Variable(name) => write!(f, "environment variable {name}: {text}"),
            Origin::Flag(name) => write!(f, "flag --{name}: {text}"),
            Origin::Default => f.write_str(text),
        }
    }
}
