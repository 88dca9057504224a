//! Directories written by this and by earlier versions open, and give what they gave.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use chaos::crash::golden::{EXPECTED, formats, make, read};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// All golden directories together, as the repository has them.
const MAX_BYTES: usize = 256 << 10;

/// How the next one is made; those that are there are never written again.
const NEXT: &str =
    "the store's formats have changed: chaos golden --dir tests/golden/store-vN makes the next directory";

/// Golden directories by name: their files, and what they must give.
fn golden() -> BTreeMap<String, (BTreeMap<String, Vec<u8>>, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let directories = fs::read_dir(root).unwrap().map(|entry| entry.unwrap()).filter(|entry| {
        entry.file_type().unwrap().is_dir() && entry.file_name().to_string_lossy().starts_with("store-")
    });
    let load = |path: PathBuf| {
        let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
        let mut files: BTreeMap<String, Vec<u8>> =
            files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect();
        let expected = String::from_utf8(files.remove(EXPECTED).unwrap()).unwrap();
        (files, expected)
    };
    directories.map(|entry| (entry.file_name().into_string().unwrap(), load(entry.path()))).collect()
}

#[test]
fn every_golden_directory_gives_what_it_gave() {
    let golden = golden();
    assert!(golden.len() >= 2, "only {:?}", golden.keys());
    for (name, (files, expected)) in &golden {
        assert_eq!(&read(files).unwrap(), expected, "{name}");
        assert!(expected.starts_with("actor 0000000000000007, Kept, found ["), "{name}: {expected}");
        assert!(expected.contains("partition 0: complete") && expected.contains(" bytes, xxh3 "), "{name}");
    }
    let bytes: usize = golden.values().flat_map(|(files, _)| files.values()).map(Vec::len).sum();
    assert!(bytes < MAX_BYTES, "{bytes} bytes");
}

#[test]
fn the_present_formats_have_a_golden_directory() {
    let (files, _) = make();
    let kinds: BTreeSet<String> = formats(&files).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["checkpoint", "frame", "identity", "keys", "segment"].map(str::to_owned).into());
    let known = golden().values().any(|(golden, _)| formats(golden) == formats(&files));
    assert!(known, "{NEXT}: {:?}", formats(&files));
}

#[test]
fn the_oldest_format_that_is_understood_has_one() {
    let oldest = golden().values().any(|(files, _)| formats(files).contains(&("identity".to_owned(), 1)));
    assert!(oldest, "no directory whose identity has format 1");
}

#[test]
fn a_golden_directory_that_gives_something_else_is_noticed() {
    let (mut files, expected) = make();
    assert_eq!(read(&files).unwrap(), expected);
    files.retain(|name, _| !name.starts_with("checkpoint-"));
    assert_ne!(read(&files).unwrap(), expected);
}
