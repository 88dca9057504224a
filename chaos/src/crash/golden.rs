//! Golden directories: what a version has once written, kept to show that every later one reads it.

use super::model::{self, Model};
use super::{Going, Scene, Secrecy};
use crate::sim::SimDisk;
use crate::sim::disk::Fate;
use dunlin::causal::{Dot, DotSet};
use dunlin::store::{Body, Disk, FileName, Opened};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// What is beside the files of a golden directory: all that opening it must give.
pub const EXPECTED: &str = "expected.txt";

/// A segment's header; its first frame follows.
const SEGMENT_HEADER_BYTES: usize = 64;

/// Where a frame says its format.
const FRAME_FORMAT_AT: usize = 8;

/// A directory of the present formats, encrypted, and what is in it: every kind of record, sealed segments, one that compaction
/// has made, a checkpoint, a tail. Always the same for the same program.
pub fn make() -> (BTreeMap<String, Vec<u8>>, String) {
    let disk = Arc::new(SimDisk::new(1));
    let mut scene = Scene::open(&disk, Secrecy::Encrypted.options(model::ACTOR)).unwrap();
    for batch in model::workload() {
        scene.append(&batch).unwrap();
        scene.work().unwrap();
    }
    let dropped = model::put(3, "dropped", model::dot(model::ACTOR, 1), 300);
    for record in [dropped, model::plain(3, Body::Drop), model::put(3, "kept", model::dot(model::ACTOR, 2), 300)] {
        scene.append(&[record]).unwrap();
    }
    for n in 0..20 {
        let dot = model::dot(model::ACTOR, 1000 + n);
        scene.append(&[model::put(0, &format!("key-{}", n % 4), dot, 300)]).unwrap();
        scene.work().unwrap();
        while scene.retired == 0 && scene.go_on().unwrap() == Going::On {}
    }
    disk.crash_with(|_| Fate::Dropped);
    let files: BTreeMap<_, _> =
        disk.file_names().into_iter().map(|name| (name.clone(), disk.contents(&name).unwrap())).collect();
    let expected = read(&files).unwrap();
    (files, expected)
}

/// Opens files as if they had never moved, and says all that is in them.
pub fn read(files: &BTreeMap<String, Vec<u8>>) -> Result<String, String> {
    let disk = SimDisk::new(1);
    for (name, bytes) in files {
        let file = disk.create(&FileName(name.clone())).map_err(|error| error.to_string())?;
        disk.write_at(&file, 0, bytes).map_err(|error| error.to_string())?;
    }
    let secrecy = if files.contains_key("keys") { Secrecy::Encrypted } else { Secrecy::Plain };
    let opened = dunlin::store::open(Arc::new(disk.copied(1)), secrecy.options(model::ACTOR + 1));
    Ok(describe(&opened.map_err(|error| error.to_string())?))
}

/// Format numbers by kind of file; frames are a kind, too.
pub fn formats(files: &BTreeMap<String, Vec<u8>>) -> BTreeSet<(String, u32)> {
    let mut formats = BTreeSet::new();
    for (name, bytes) in files {
        let kind = name.split(['-', '.']).next().unwrap_or_default();
        let format = bytes.get(8..12).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
        formats.extend(format.map(|format| (kind.to_owned(), format)));
        if kind == "segment" {
            let frame = bytes.get(SEGMENT_HEADER_BYTES + FRAME_FORMAT_AT).copied().unwrap_or_default();
            formats.insert(("frame".to_owned(), u32::from(frame)));
        }
    }
    formats
}

/// Actor, opening, what was found, and every partition, key and hint, a line each.
fn describe(opened: &Opened<SimDisk>) -> String {
    let (model, recovered) = (Model::read(opened), &opened.recovered);
    let found: Vec<_> = recovered.findings.iter().map(|finding| finding.kind).collect();
    let mut text = format!("actor {}, {:?}, found {found:?}\n", recovered.actor, recovered.opening);
    for (id, partition) in &model.partitions {
        let clock: DotSet = partition.clock.iter().copied().collect();
        let state = if partition.filling { "filling" } else { "complete" };
        let _ = writeln!(text, "partition {}: {state}, minted {}, clock {}", id.0, partition.minted, dots(&clock));
        for (key, object) in &partition.objects {
            let _ = writeln!(text, "  {key}: leftover {}", dots(&object.leftover));
            for version in &object.versions {
                let content = &version.content;
                let _ = writeln!(
                    text,
                    "    {}: {} bytes, xxh3 {:016x}, {}, written {}, expires {:?}",
                    dot(version.dot),
                    content.value.len(),
                    xxh3_64(&content.value),
                    content.content_type,
                    content.written_at.0,
                    content.expires_at
                );
            }
        }
    }
    for (sequence, targets) in &model.hints {
        let targets: Vec<u64> = targets.iter().map(|target| target.0).collect();
        let _ = writeln!(text, "hint {sequence}: {targets:?}");
    }
    text
}

fn dots(set: &DotSet) -> String {
    let ranges = set.iter().flat_map(|(actor, counters)| {
        counters.ranges().map(move |(first, last)| format!("{:x}:{first}-{last}", actor.0)).collect::<Vec<_>>()
    });
    format!("[{}]", ranges.collect::<Vec<_>>().join(" "))
}

fn dot(dot: Dot) -> String {
    format!("{:x}:{}", dot.actor.0, dot.counter)
}
