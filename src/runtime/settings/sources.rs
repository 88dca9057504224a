//! Where settings come from, and which source wins.

use super::check::check;
use super::problem::{Origin, Problem, SettingsError};
use super::value::{Raw, Values};
use super::{KNOBS, SECTIONS, Settings, file};
use crate::runtime::encryption::KEY_VARIABLE;
use std::path::{Path, PathBuf};

/// Largest configuration file that is read: far above any real one, and no device or log by mistake.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The file, the environment and the flags of one start. A flag wins over a variable, that over the
/// file, that over what the node was joined with, that over the default.
///
/// Relative paths are relative to the file's directory when they come from the file or are defaults,
/// and to the working directory when they come from a flag or a variable.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file's path.
    pub file: PathBuf,
    /// What it says.
    pub text: String,
    /// A file beneath that one, by path and text: what a node that has joined was joined with. The file above counts.
    pub beneath: Option<(PathBuf, String)>,
    /// Variables by name; those that are no setting are passed over.
    pub variables: Vec<(String, String)>,
    /// Flags, without dashes, and their values.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// Reads the file and the process's environment.
    pub fn of_process(file: &Path, flags: Vec<(String, String)>) -> Result<Self, SettingsError> {
        let unreadable = |detail: String| SettingsError::Unreadable { file: file.into(), detail };
        let length = std::fs::metadata(file).map_err(|error| unreadable(error.to_string()))?.len();
        if length > MAX_FILE_BYTES {
            return Err(unreadable(format!("it has {length} bytes; at most {MAX_FILE_BYTES} are read")));
        }
        let text = std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
        Ok(Self { file: file.into(), text, ..Self::without_file(flags) })
    }

    /// Only flags and the process's environment.
    pub fn without_file(flags: Vec<(String, String)>) -> Self {
        let text_pair = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        // The secret is no setting: it is not held where settings are shown.
        let variables = std::env::vars_os().filter_map(text_pair).filter(|(name, _)| name != KEY_VARIABLE).collect();
        Self { variables, flags, ..Self::default() }
    }

    /// The settings, as far as each value alone can tell: what [`Sources::load`] checks before it looks
    /// at how they fit together.
    pub fn read(&self) -> Result<Settings, SettingsError> {
        let mut values = self.values();
        let settings = Settings::take(&mut values);
        settle(settings, values.problems)
    }

    /// The settings, checked: what a node may start with.
    pub fn load(&self) -> Result<Settings, SettingsError> {
        let mut values = self.values();
        let settings = Settings::take(&mut values);
        if values.problems.is_empty() {
            values.problems = check(&settings, &values);
        }
        settle(settings, values.problems)
    }

    /// Variables that look like settings and are none: worth a warning, not a refusal, since others put
    /// names into the environment too (Kubernetes does for every service).
    pub fn unknown_variables(&self) -> Vec<&str> {
        let looks_like_one = |name: &str| {
            let rest = name.strip_prefix("DUNLIN_");
            let starts =
                |section: &str| rest.is_some_and(|rest| rest.starts_with(&format!("{}_", section.to_uppercase())));
            SECTIONS.iter().any(|(section, _)| starts(section))
                && name != KEY_VARIABLE
                && KNOBS.iter().all(|knob| knob.variable() != name)
        };
        self.variables.iter().map(|(name, _)| name.as_str()).filter(|name| looks_like_one(name)).collect()
    }

    fn values(&self) -> Values {
        let base = self.file.parent().unwrap_or(Path::new(""));
        let mut values = Values::with_base(base);
        if let Some((file, text)) = &self.beneath {
            file::read(file, text, file.parent().unwrap_or(Path::new("")), &mut values);
        }
        file::read(&self.file, &self.text, base, &mut values);
        for (name, value) in &self.variables {
            if let Some(knob) = KNOBS.iter().find(|knob| knob.variable() == *name) {
                values.give(knob, Raw::Bare(value.clone()), Origin::Variable(name.clone()), Path::new(""));
            }
        }
        for (name, value) in &self.flags {
            let origin = Origin::Flag(name.clone());
            match KNOBS.iter().find(|knob| knob.flag() == *name) {
                Some(knob) => values.give(knob, Raw::Bare(value.clone()), origin, Path::new("")),
                None => values.problems.push(Problem { origin, text: "there is no such setting".into() }),
            }
        }
        values
    }
}

fn settle(settings: Settings, problems: Vec<Problem>) -> Result<Settings, SettingsError> {
    if problems.is_empty() { Ok(settings) } else { Err(SettingsError::Refused(problems)) }
}
