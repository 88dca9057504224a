//! A bare Bitcask: an appended file and a hash map of whole keys. No checksum, no hint file, no versions.

use crate::data::{KEY_BYTES, Key, Values, key_of};
use crate::engine::{Committer, Durable, Engine};
use crate::engines::raw::Appender;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes before a record's value: key and length of the value.
const HEADER_BYTES: usize = KEY_BYTES + 4;

/// Read at once when the file is opened.
const SCAN_BYTES: usize = 1 << 20;

/// The driver's end: the map.
pub struct Bitcask {
    file: Arc<File>,
    places: HashMap<Key, (u64, u32)>,
    appends: VecDeque<(Key, u32)>,
}

/// The committing end.
pub struct BitcaskCommitter {
    appender: Appender,
    directory: PathBuf,
}

impl Engine for Bitcask {
    type Committer = BitcaskCommitter;

    fn open(directory: &Path, durable: Durable, _values: &Values) -> (Self, BitcaskCommitter) {
        let mut appender = Appender::open(directory, "cask", durable);
        let (places, end) = scan(&appender.file);
        (appender.at, appender.reserved) = (end, end);
        let engine = Bitcask { file: Arc::clone(&appender.file), places, appends: VecDeque::new() };
        (engine, BitcaskCommitter { appender, directory: directory.to_owned() })
    }

    fn prepare(&mut self, number: u64, values: &Values) -> Vec<u8> {
        let (key, value) = (key_of(number), values.of(number));
        let mut record = Vec::with_capacity(HEADER_BYTES + value.len());
        record.extend(key);
        record.extend((value.len() as u32).to_le_bytes());
        record.extend(&value);
        self.appends.push_back((key, value.len() as u32));
        record
    }

    fn publish(&mut self, at: u64) {
        let (key, length) = self.appends.pop_front().expect("answers come in the order of the appends");
        self.places.insert(key, (at + HEADER_BYTES as u64, length));
    }

    fn reader<'a>(&'a self, values: &'a Values) -> impl FnMut(u64) -> bool + 'a {
        move |number| {
            let Some((at, length)) = self.places.get(&key_of(number)) else { return false };
            let mut value = vec![0; *length as usize];
            self.file.read_exact_at(&mut value, *at).is_ok() && values.fits(number, &value)
        }
    }
}

/// Reads the whole file; a record of no length ends it.
fn scan(file: &File) -> (HashMap<Key, (u64, u32)>, u64) {
    let mut places = HashMap::new();
    let (mut buffer, mut begin, mut at) = (Vec::new(), 0u64, 0u64);
    loop {
        let rest = buffer.get((at - begin) as usize..).unwrap_or_default();
        let header: Option<(Key, u32)> = rest.get(..HEADER_BYTES).map(|header| {
            let (key, length) = header.split_at(KEY_BYTES);
            (key.try_into().expect("16 bytes"), u32::from_le_bytes(length.try_into().expect("4 bytes")))
        });
        match header {
            Some((_, 0)) => return (places, at),
            Some((key, length)) if rest.len() >= HEADER_BYTES + length as usize => {
                places.insert(key, (at + HEADER_BYTES as u64, length));
                at += (HEADER_BYTES + length as usize) as u64;
            }
            _ => {
                begin = at;
                buffer.resize(SCAN_BYTES, 0);
                let read = file.read_at(&mut buffer, at).expect("the file is read");
                buffer.truncate(read);
                if read < HEADER_BYTES {
                    return (places, at);
                }
            }
        }
    }
}

impl Committer for BitcaskCommitter {
    type Put = Vec<u8>;
    type Done = u64;

    fn commit(&mut self, batch: Vec<Vec<u8>>) -> Vec<u64> {
        let mut at = self.appender.at;
        let places = batch.iter().map(|record| {
            let place = at;
            at += record.len() as u64;
            place
        });
        let places = places.collect();
        self.appender.append(&batch.concat());
        places
    }

    fn close(self) {
        self.appender.close(&self.directory);
    }
}
