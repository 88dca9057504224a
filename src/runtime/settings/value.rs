//! From what a source says to a typed value.

use super::knob::{Knob, list_items};
use super::problem::{Origin, Problem};
use super::{Bounds, Shape};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Longest part of a bad value that a message repeats.
const MAX_SHOWN_CHARACTERS: usize = 80;

/// A type a knob can have.
pub(super) trait Setting: Sized {
    /// How it is written in a file.
    const SHAPE: Shape;
    /// Reads it; none if the input is not allowed.
    fn read(input: &Input) -> Option<Self>;
    /// What is allowed, for messages and documents.
    fn allowed(bounds: Bounds) -> String;
}

/// A value as its source gives it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw {
    /// From a flag, a variable or the table of defaults: the kind is not written down.
    Bare(String),
    /// A text of the file.
    Text(String),
    /// A number of the file.
    Number(u64),
    /// `true` or `false` in the file.
    Switch(bool),
    /// A list of the file.
    List(Vec<Raw>),
    /// A table of the file, below a section.
    Table(Vec<(String, Raw)>),
    /// Something no knob takes, as it is written.
    Foreign(String),
}

/// What a [`Setting`] reads from.
pub(super) struct Input<'a> {
    raw: &'a Raw,
    /// The knob's bounds.
    pub(super) bounds: Bounds,
    /// What a relative path is relative to.
    pub(super) base: &'a Path,
}

/// All values given, by knob, with what was wrong with them.
#[derive(Debug, Default)]
pub(super) struct Values {
    given: BTreeMap<String, Given>,
    /// Base of the paths among the defaults.
    default_base: PathBuf,
    /// What is wrong so far.
    pub(super) problems: Vec<Problem>,
}

#[derive(Debug)]
struct Given {
    raw: Raw,
    origin: Origin,
    base: PathBuf,
}

impl Values {
    /// None given; relative paths among the defaults are relative to `base`.
    pub(super) fn with_base(base: &Path) -> Self {
        Self { default_base: base.into(), ..Self::default() }
    }

    /// Gives a value; a later one wins.
    pub(super) fn give(&mut self, knob: &Knob, raw: Raw, origin: Origin, base: &Path) {
        self.given.insert(knob.name(), Given { raw, origin, base: base.into() });
    }

    /// Where the value of `section.key` comes from.
    pub(super) fn origin(&self, name: &str) -> Origin {
        self.given.get(name).map_or(Origin::Default, |given| given.origin.clone())
    }

    /// The knob's value. If what is given is not allowed, that is noted and the default stands in.
    pub(super) fn take<T: Setting>(&mut self, knob: Option<&Knob>) -> T {
        let knob = knob.expect("the table that made the structs made the knobs, in the same order");
        if let Some(given) = self.given.get(&knob.name()) {
            let input = Input { raw: &given.raw, bounds: knob.bounds, base: &given.base };
            if let Some(value) = T::read(&input) {
                return value;
            }
            let text = format!("{} = {}: {} is expected", knob.name(), given.raw.shown(), knob.allowed());
            self.problems.push(Problem { origin: given.origin.clone(), text });
        }
        let raw = Raw::Bare(knob.default.into());
        let input = Input { raw: &raw, bounds: knob.bounds, base: &self.default_base };
        T::read(&input).expect("every default is allowed: tests/configs.rs reads them all")
    }
}

impl Input<'_> {
    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match self.raw {
            Raw::Bare(text) | Raw::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub(super) fn number(&self) -> Option<u64> {
        match self.raw {
            Raw::Number(number) => Some(*number),
            Raw::Bare(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        }
    }

    /// The names and texts of a table; none for what is no text.
    pub(super) fn table(&self) -> Option<impl Iterator<Item = Option<(&str, &str)>>> {
        let Raw::Table(entries) = self.raw else { return None };
        Some(entries.iter().map(|(name, raw)| match raw {
            Raw::Text(text) => Some((name.as_str(), text.as_str())),
            _ => None,
        }))
    }

    fn switch(&self) -> Option<bool> {
        match self.raw {
            Raw::Switch(on) => Some(*on),
            Raw::Bare(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The items: of a list, between commas, or the one text there is.
    fn items(&self) -> Option<Vec<Raw>> {
        match self.raw {
            Raw::List(items) => Some(items.clone()),
            Raw::Text(_) => Some(vec![self.raw.clone()]),
            Raw::Bare(text) => Some(list_items(text).map(|item| Raw::Bare(item.into())).collect()),
            _ => None,
        }
    }
}

impl Raw {
    fn shown(&self) -> String {
        let whole = match self {
            Raw::Bare(text) | Raw::Text(text) => format!("{text:?}"),
            Raw::Number(number) => number.to_string(),
            Raw::Switch(on) => on.to_string(),
            Raw::List(items) => format!("[{}]", items.iter().map(Raw::shown).collect::<Vec<_>>().join(", ")),
            Raw::Table(entries) => {
                let shown = entries.iter().map(|(name, raw)| format!("{name:?} = {}", raw.shown()));
                format!("{{ {} }}", shown.collect::<Vec<_>>().join(", "))
            }
            Raw::Foreign(text) => text.clone(),
        };
        match whole.char_indices().nth(MAX_SHOWN_CHARACTERS) {
            Some((end, _)) => format!("{}...", whole.get(..end).unwrap_or_default()),
            None => whole,
        }
    }
}

impl Setting for u32 {
    const SHAPE: Shape = Shape::Plain;

    fn read(input: &Input) -> Option<Self> {
        input.number().filter(|number| input.bounds.hold(*number)).and_then(|number| number.try_into().ok())
    }

    fn allowed(bounds: Bounds) -> String {
        format!("a number from {} to {}", bounds.least, bounds.most.min(u32::MAX.into()))
    }
}

impl Setting for bool {
    const SHAPE: Shape = Shape::Plain;

    fn read(input: &Input) -> Option<Self> {
        input.switch()
    }

    fn allowed(_: Bounds) -> String {
        "true or false".into()
    }
}

impl Setting for String {
    const SHAPE: Shape = Shape::Quoted;

    fn read(input: &Input) -> Option<Self> {
        let text = input.text()?;
        input.bounds.hold(text.len() as u64).then(|| text.into())
    }

    fn allowed(bounds: Bounds) -> String {
        format!("a text of {} to {} bytes", bounds.least, bounds.most)
    }
}

impl Setting for PathBuf {
    const SHAPE: Shape = Shape::Quoted;

    fn read(input: &Input) -> Option<Self> {
        let text = input.text().filter(|text| !text.is_empty())?;
        Some(input.base.join(text))
    }

    fn allowed(_: Bounds) -> String {
        "a path".into()
    }
}

impl<T: Setting> Setting for Option<T> {
    const SHAPE: Shape = T::SHAPE;

    fn read(input: &Input) -> Option<Self> {
        if input.text() == Some("") { Some(None) } else { T::read(input).map(Some) }
    }

    fn allowed(bounds: Bounds) -> String {
        format!("{}, or empty", T::allowed(bounds))
    }
}

impl<T: Setting> Setting for Vec<T> {
    const SHAPE: Shape = Shape::List;

    fn read(input: &Input) -> Option<Self> {
        let items = input.items()?;
        let read = |raw: &Raw| T::read(&Input { raw, bounds: Bounds::NONE, base: input.base });
        input.bounds.hold(items.len() as u64).then(|| items.iter().map(read).collect())?
    }

    fn allowed(bounds: Bounds) -> String {
        format!("a list of {} to {} items, each {}", bounds.least, bounds.most, T::allowed(Bounds::NONE))
    }
}
