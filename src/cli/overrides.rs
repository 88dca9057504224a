//! Every setting as a flag: `--section-key VALUE`, made from the table.

use crate::runtime::settings::{KNOBS, Knob, Shape};
use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};

/// The flags given, by name, in the order of the table.
#[derive(Debug, Clone, Default)]
pub(super) struct Overrides(pub(super) Vec<(String, String)>);

impl Args for Overrides {
    fn augment_args(command: Command) -> Command {
        KNOBS.iter().fold(command, |command, knob| command.arg(argument(knob)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Overrides {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let given = |knob: &Knob| Some((knob.flag(), matches.get_one::<String>(&knob.flag())?.clone()));
        Ok(Self(KNOBS.iter().filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Values are checked with all others, so that messages and rules are the same wherever one comes from.
fn argument(knob: &Knob) -> Arg {
    let help = format!("{} [default: {}]", knob.doc.trim(), knob.default_literal());
    let argument = Arg::new(knob.flag()).long(knob.flag()).value_name("VALUE").help(help);
    let argument = argument.help_heading(format!("[{}]", knob.section)).hide_short_help(true);
    match knob.shape {
        // `--tls-allow-insecure-http` alone says what it means.
        Shape::Plain if knob.allowed() == "true or false" => {
            argument.num_args(0..=1).require_equals(true).default_missing_value("true")
        }
        _ => argument,
    }
}
