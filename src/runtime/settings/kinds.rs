//! The kinds of values that belong to Dunlin itself.

use super::host_port::HostPort;
use super::knob::list_items;
use super::value::{Input, Setting};
use super::{Bounds, Shape};
use crate::base::{ClusterId, NodeId};
use crate::replication::{Quorum, Sloppiness};
use crate::store::{Compression, CompressionRules, Durability};
use std::net::SocketAddr;

/// The least severe event that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// What needs an operator.
    Error,
    /// What may need one.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A kind with a few named values.
trait Choice: Copy + 'static {
    const CHOICES: &'static [(&'static str, Self)];
}

impl Choice for Durability {
    const CHOICES: &'static [(&'static str, Self)] = &[("fsync", Self::Fsync), ("os", Self::Os)];
}

impl Choice for Compression {
    const CHOICES: &'static [(&'static str, Self)] = &[("none", Self::None), ("lz4", Self::Lz4), ("zstd", Self::Zstd)];
}

impl Choice for LogLevel {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

impl Choice for LogFormat {
    const CHOICES: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl<T: Choice> Setting for T {
    const SHAPE: Shape = Shape::Quoted;

    fn read(input: &Input) -> Option<Self> {
        let text = input.text()?;
        T::CHOICES.iter().find(|(name, _)| *name == text).map(|(_, value)| *value)
    }

    fn allowed(_: Bounds) -> String {
        T::CHOICES.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(" or ")
    }
}

impl Setting for CompressionRules {
    const SHAPE: Shape = Shape::Quoted;

    /// One for all keys, or one for each of several prefixes: a table of the file, or `prefix=name` between commas.
    fn read(input: &Input) -> Option<Self> {
        let rules: Vec<(&str, &str)> = match (input.table(), input.text()) {
            (Some(table), _) => table.collect::<Option<_>>()?,
            (_, Some(text)) if text.contains('=') => {
                list_items(text).map(|item| item.rsplit_once('=')).collect::<Option<_>>()?
            }
            (_, text) => vec![("", text?)],
        };
        let named =
            |name: &str| Compression::CHOICES.iter().find(|(choice, _)| *choice == name).map(|(_, value)| *value);
        let rules: Option<Vec<_>> =
            rules.iter().map(|(prefix, name)| Some((prefix.as_bytes().to_vec(), named(name)?))).collect();
        rules.filter(|rules| input.bounds.hold(rules.len() as u64)).map(CompressionRules::new)
    }

    fn allowed(bounds: Bounds) -> String {
        let most = bounds.most;
        format!(
            "{}, or up to {most} of them by key prefix: {{ \"\" = \"lz4\", \"logs/\" = \"zstd\" }}, as a flag =lz4,logs/=zstd",
            Compression::allowed(bounds)
        )
    }
}

impl Setting for Quorum {
    const SHAPE: Shape = Shape::Quoted;

    fn read(input: &Input) -> Option<Self> {
        let count = |number| u8::try_from(number).ok().filter(|count| input.bounds.hold((*count).into()));
        match (input.number(), input.text()) {
            (Some(number), _) => count(number).map(Quorum::Count),
            (_, Some("one")) => Some(Quorum::Count(1)),
            (_, Some("quorum")) => Some(Quorum::Majority),
            (_, Some("all")) => Some(Quorum::All),
            (_, Some(text)) => count(text.parse().ok()?).map(Quorum::Count),
            _ => None,
        }
    }

    fn allowed(bounds: Bounds) -> String {
        format!("\"one\", \"quorum\", \"all\" or a number from {} to {}", bounds.least, bounds.most)
    }
}

impl Setting for Sloppiness {
    const SHAPE: Shape = Shape::Plain;

    fn read(input: &Input) -> Option<Self> {
        bool::read(input).map(|sloppy| if sloppy { Sloppiness::Sloppy } else { Sloppiness::Strict })
    }

    fn allowed(bounds: Bounds) -> String {
        bool::allowed(bounds)
    }
}

impl Setting for ClusterId {
    const SHAPE: Shape = Shape::Quoted;

    fn read(input: &Input) -> Option<Self> {
        input.text()?.parse().ok()
    }

    fn allowed(_: Bounds) -> String {
        "32 hexadecimal digits".into()
    }
}

impl Setting for NodeId {
    const SHAPE: Shape = Shape::Quoted;

    fn read(input: &Input) -> Option<Self> {
        input.text()?.parse().ok()
    }

    fn allowed(_: Bounds) -> String {
        "16 hexadecimal digits".into()
    }
}

impl Setting for SocketAddr {
    const SHAPE: Shape = Shape::Quoted;

    fn read(input: &Input) -> Option<Self> {
        input.text()?.parse().ok()
    }

    fn allowed(_: Bounds) -> String {
        "an IP address and a port (127.0.0.1:8101, [::1]:8101)".into()
    }
}

impl Setting for HostPort {
    const SHAPE: Shape = Shape::Quoted;

    fn read(input: &Input) -> Option<Self> {
        input.text()?.parse().ok()
    }

    fn allowed(_: Bounds) -> String {
        "a host and a port (db1.example.org:7400, 10.0.0.1:7400, [::1]:7400)".into()
    }
}
