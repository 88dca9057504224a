//! The configuration file: TOML, with the place of every value kept for messages.

use super::problem::{Origin, Problem};
use super::value::{Raw, Values};
use super::{KNOBS, SECTIONS};
use std::ops::Range;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// A file's text, with what is needed to point into it.
struct Page<'a> {
    file: &'a Path,
    text: &'a str,
    base: &'a Path,
}

/// Gives `values` every knob the text sets. What no knob takes is a problem.
pub(super) fn read(file: &Path, text: &str, base: &Path, values: &mut Values) {
    let page = Page { file, text, base };
    match DeTable::parse(text) {
        Ok(table) => table.get_ref().iter().for_each(|(section, contents)| match contents.get_ref() {
            DeValue::Table(knobs) if is_section(section.get_ref()) => page.section(section.get_ref(), knobs, values),
            _ => values.problems.push(page.unknown_section(section.get_ref(), section.span())),
        }),
        Err(error) => {
            let origin = page.origin(error.span().unwrap_or_default());
            values.problems.push(Problem { origin, text: error.message().trim_end().into() });
        }
    }
}

impl Page<'_> {
    fn section(&self, section: &str, contents: &DeTable, values: &mut Values) {
        for (key, value) in contents {
            match KNOBS.iter().find(|knob| knob.section == section && knob.key == key.get_ref().as_ref()) {
                Some(knob) => values.give(knob, raw(value.get_ref()), self.origin(value.span()), self.base),
                None => values.problems.push(self.unknown_key(section, key.get_ref(), key.span())),
            }
        }
    }

    fn unknown_section(&self, name: &str, span: Range<usize>) -> Problem {
        let allowed: Vec<String> = SECTIONS.iter().map(|(section, _)| format!("[{section}]")).collect();
        let text = format!("{name} is no section of this file; allowed: {}", allowed.join(" "));
        Problem { origin: self.origin(span), text }
    }

    fn unknown_key(&self, section: &str, key: &str, span: Range<usize>) -> Problem {
        let allowed: Vec<&str> = KNOBS.iter().filter(|knob| knob.section == section).map(|knob| knob.key).collect();
        let text = format!("[{section}] has no setting {key}; allowed: {}", allowed.join(", "));
        Problem { origin: self.origin(span), text }
    }

    fn origin(&self, span: Range<usize>) -> Origin {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Origin::File { file: self.file.into(), line, column }
    }
}

fn is_section(name: &str) -> bool {
    SECTIONS.iter().any(|(section, _)| *section == name)
}

fn raw(value: &DeValue) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Raw::Number(number),
            Err(_) => Raw::Foreign(number.to_string()),
        },
        DeValue::Boolean(on) => Raw::Switch(*on),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Float(number) => Raw::Foreign(number.to_string()),
        DeValue::Datetime(_) => Raw::Foreign("a date".into()),
        DeValue::Table(entries) => {
            Raw::Table(entries.iter().map(|(name, value)| (name.get_ref().to_string(), raw(value.get_ref()))).collect())
        }
    }
}
