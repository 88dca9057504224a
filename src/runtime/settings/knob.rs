//! A knob: everything there is to say about one setting.

/// One setting, as the table states it.
#[derive(Debug)]
pub struct Knob {
    /// The table of the file it stands in.
    pub section: &'static str,
    /// Its name there.
    pub key: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// When to change it.
    pub change: &'static str,
    /// The default, written as in a flag.
    pub default: &'static str,
    /// How it is written in the file.
    pub shape: Shape,
    pub(super) bounds: Bounds,
    pub(super) allowed: fn(Bounds) -> String,
}

/// How a value is written in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A number, or `true` and `false`.
    Plain,
    /// A text in quotes.
    Quoted,
    /// Texts in quotes, in brackets.
    List,
}

/// The least and the most of a value: of a number itself, of a duration in milliseconds, of a size in
/// bytes, of a text
/// in bytes, of a list in items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Smallest allowed.
    pub least: u64,
    /// Largest allowed.
    pub most: u64,
}

impl Bounds {
    /// For kinds that bound themselves.
    pub const NONE: Bounds = Bounds { least: 0, most: u64::MAX };

    /// `least` to `most`, both allowed.
    pub const fn between(least: u64, most: u64) -> Self {
        Self { least, most }
    }

    /// Is it within?
    pub fn hold(self, value: u64) -> bool {
        (self.least..=self.most).contains(&value)
    }
}

impl Knob {
    /// What a value may be, with unit and bounds.
    pub fn allowed(&self) -> String {
        (self.allowed)(self.bounds)
    }

    /// `section.key`, as messages name it.
    pub fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// The flag, without its dashes: `section-key`.
    pub fn flag(&self) -> String {
        format!("{}-{}", self.section, self.key).replace('_', "-")
    }

    /// The environment variable: `DUNLIN_SECTION_KEY`.
    pub fn variable(&self) -> String {
        format!("DUNLIN_{}_{}", self.section, self.key).to_uppercase()
    }

    /// The default as it is written in a file.
    pub fn default_literal(&self) -> String {
        self.literal(self.default)
    }

    /// A value, given as in a flag, as it is written in a file.
    pub fn literal(&self, bare: &str) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        match self.shape {
            Shape::Plain => bare.into(),
            Shape::Quoted => quoted(bare),
            Shape::List => {
                let items: Vec<String> = list_items(bare).map(quoted).collect();
                format!("[{}]", items.join(", "))
            }
        }
    }
}

/// The items of a list as a flag or a variable gives it: between commas.
pub(super) fn list_items(bare: &str) -> impl Iterator<Item = &str> {
    bare.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Makes, from one table: a struct per section, [`super::Settings`], [`super::KNOBS`], and the reading.
///
/// A line reads: `/// doc`, `key: type = default as in a flag, bounds; "when to change it"`.
macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident: $struct:ident {
            $( $(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:literal, $bounds:expr; $change:literal )+
        }
    )+) => {
        $(
            $(#[doc = $section_doc])+
            #[derive(Debug, Clone, PartialEq, Eq)]
            pub struct $struct { $( $(#[doc = $doc])+ pub $key: $type, )+ }
        )+

        /// All settings of a node, checked.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Settings { $( $(#[doc = $section_doc])+ pub $section: $struct, )+ }

        /// Every section: its name and what it is about.
        pub const SECTIONS: &[(&str, &str)] = &[$( (stringify!($section), concat!($($section_doc),+)), )+];

        /// Every knob there is, in the order of the file.
        pub const KNOBS: &[Knob] = &[$($(
            Knob {
                section: stringify!($section),
                key: stringify!($key),
                doc: concat!($($doc),+),
                change: $change,
                default: $default,
                shape: <$type as Setting>::SHAPE,
                bounds: $bounds,
                allowed: <$type as Setting>::allowed,
            },
        )+)+];

        impl Settings {
            /// Takes every knob from `values`, which keeps what is wrong with it.
            pub(super) fn take(values: &mut Values) -> Self {
                let mut knobs = KNOBS.iter();
                $( let $section = $struct { $( $key: values.take::<$type>(knobs.next()), )+ }; )+
                Self { $( $section, )+ }
            }
        }
    };
}

pub(super) use settings;
