//! What is loaded: a file's records, or records made from the seed.

use bytes::Bytes;
use dunlin::base::Random;
use dunlin::base::limits::{DEFAULT_MAX_VALUE_BYTES, MAX_KEY_BYTES};
use std::collections::BTreeSet;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a generated value behind its hash: most real records are small.
const GENERATED_BYTES: (u64, u64) = (32, 2048);

/// Hex digits of the hash that a generated value begins with.
const HASH_DIGITS: usize = 16;

/// One record: written once, under a key of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: Bytes,
    pub(super) value: Bytes,
}

/// All records of a run, by number.
#[derive(Debug)]
pub(super) enum Records {
    /// Read from a file.
    Listed { records: Vec<Record>, skipped: Skipped },
    /// Made when asked for, always the same for the same seed.
    Generated { seed: u64, count: usize },
}

/// Records of a file that are not loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Skipped {
    /// A record with the same key came before.
    pub(super) repeated: usize,
    /// No key, or a key or value beyond Dunlin's limits.
    pub(super) unusable: usize,
}

impl Records {
    /// Reads a file: stanzas of Debian control files (`apt-cache dumpavail`), or `key TAB value` by line.
    pub(super) fn read(path: &Path) -> Result<Records, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let records = Records::parse(&Bytes::from(bytes));
        if records.count() == 0 {
            return Err(format!("{}: neither control stanzas nor lines of key TAB value", path.display()));
        }
        Ok(records)
    }

    fn parse(text: &Bytes) -> Records {
        let (mut records, mut skipped, mut keys) = (Vec::new(), Skipped::default(), BTreeSet::new());
        let stanzas = stanzas(text);
        let is_control = stanzas.first().is_some_and(|stanza| stanza_key(stanza).is_some());
        let found = if is_control { stanzas.iter().map(stanza_record).collect() } else { tabbed_records(text) };
        for record in found {
            let usable = |record: &Record| {
                (1..=MAX_KEY_BYTES).contains(&record.key.len()) && record.value.len() <= DEFAULT_MAX_VALUE_BYTES
            };
            match record.filter(usable) {
                None => skipped.unusable += 1,
                Some(record) if keys.insert(record.key.clone()) => records.push(record),
                Some(_) => skipped.repeated += 1,
            }
        }
        Records::Listed { records, skipped }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        match self {
            Records::Listed { records, .. } => records.len(),
            Records::Generated { count, .. } => *count,
        }
    }

    /// The record of a number below [`Records::count`].
    pub(super) fn get(&self, number: usize) -> Option<Record> {
        match self {
            Records::Listed { records, .. } => records.get(number).cloned(),
            Records::Generated { seed, count } => (number < *count).then(|| generated(*seed, number)),
        }
    }

    /// What was left out of the file.
    pub(super) fn skipped(&self) -> Skipped {
        match self {
            Records::Listed { skipped, .. } => *skipped,
            Records::Generated { .. } => Skipped::default(),
        }
    }
}

fn generated(seed: u64, number: usize) -> Record {
    let mut random = Random::from_seed(seed ^ xxh3_64(&(number as u64).to_le_bytes()));
    let length = random.between(GENERATED_BYTES.0, GENERATED_BYTES.1);
    let body: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
    let mut value = format!("{:016x}", xxh3_64(&body)).into_bytes();
    value.extend(body);
    Record { key: Bytes::from(format!("record/{seed:x}/{number}")), value: value.into() }
}

/// Is this a whole generated value, whichever? Tells a mixed-up value from a torn one.
pub(super) fn carries_its_hash(value: &[u8]) -> bool {
    value.split_at_checked(HASH_DIGITS).is_some_and(|(hash, body)| format!("{:016x}", xxh3_64(body)).as_bytes() == hash)
}

/// Paragraphs between blank lines, each with its last newline.
fn stanzas(text: &Bytes) -> Vec<Bytes> {
    let (mut stanzas, mut begun, mut at) = (Vec::new(), None, 0);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let blank = line.iter().all(u8::is_ascii_whitespace);
        match (begun, blank) {
            (Some(from), true) => {
                stanzas.push(text.slice(from..at));
                begun = None;
            }
            (None, false) => begun = Some(at),
            _ => {}
        }
        at += line.len();
    }
    stanzas.extend(begun.map(|from| text.slice(from..)));
    stanzas
}

fn stanza_record(stanza: &Bytes) -> Option<Record> {
    Some(Record { key: stanza_key(stanza)?.into(), value: stanza.clone() })
}

/// `name/version`.
fn stanza_key(stanza: &Bytes) -> Option<Vec<u8>> {
    let field = |name: &[u8]| {
        let mut lines = stanza.split(|byte| *byte == b'\n');
        lines.find_map(|line| Some(line.strip_prefix(name)?.trim_ascii())).filter(|value| !value.is_empty())
    };
    Some([field(b"Package:")?, b"/", field(b"Version:")?].concat())
}

fn tabbed_records(text: &Bytes) -> Vec<Option<Record>> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| tabbed_record(text, line)).collect()
}

fn tabbed_record(text: &Bytes, line: &[u8]) -> Option<Record> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let (key, value) = line.split_at(tab);
    Some(Record { key: text.slice_ref(key), value: text.slice_ref(value.get(1..)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &'static str) -> (Vec<(String, String)>, Skipped) {
        let records = Records::parse(&Bytes::from_static(text.as_bytes()));
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let all = (0..records.count()).filter_map(|number| records.get(number));
        (all.map(|record| (text(&record.key), text(&record.value))).collect(), records.skipped())
    }

    #[test]
    fn a_stanza_is_a_record_under_name_and_version() {
        let (records, skipped) =
            parse("\nPackage: a\nVersion: 1:2-3\nTag: x,\n y\n\n \nPackage: b\nDepends: a\nVersion: 4");
        let expected =
            [("a/1:2-3", "Package: a\nVersion: 1:2-3\nTag: x,\n y\n"), ("b/4", "Package: b\nDepends: a\nVersion: 4")];
        assert_eq!(records, expected.map(|(key, value)| (key.into(), value.into())));
        assert_eq!(skipped, Skipped::default());
    }

    #[test]
    fn what_is_not_loaded_is_counted() {
        let (records, skipped) = parse("Package: a\nVersion: 1\n\nPackage: a\nVersion: 1\nMore: x\n\nPackage: c\n");
        assert_eq!(records.len(), 1);
        assert_eq!(skipped, Skipped { repeated: 1, unusable: 1 });
    }

    #[test]
    fn other_files_have_a_record_by_line() {
        let (records, skipped) = parse("a\tone\n\nb\ttwo\twords\nnothing\na\tone\n");
        assert_eq!(records, [("a", "one"), ("b", "two\twords")].map(|(key, value)| (key.into(), value.into())));
        assert_eq!(skipped, Skipped { repeated: 1, unusable: 1 });
    }

    #[test]
    fn a_generated_record_is_the_same_again_and_carries_its_hash() {
        let records = Records::Generated { seed: 7, count: 50 };
        for number in 0..50 {
            let record = records.get(number).unwrap();
            assert_eq!(records.get(number), Some(record.clone()));
            assert!(carries_its_hash(&record.value));
            assert!(!carries_its_hash(&record.value[..record.value.len() - 1]));
            assert_ne!(records.get(number + 1).map(|other| other.value), Some(record.value));
        }
        assert_eq!(records.get(50), None);
    }
}
