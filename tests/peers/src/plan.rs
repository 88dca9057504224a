//! Which work is done in which order.

use crate::measure::{Line, drop_from_cache};
use crate::report;
use crate::workload::Workload;
use crate::{EngineName, Scene, name_of};
use clap::ValueEnum;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// How long puts go on before the process is killed.
const UNTIL_KILLED: Duration = Duration::from_secs(2);

/// Keys at which memory is measured, in thousands.
const MEMORY_THOUSANDS: [u64; 6] = [1_000, 5_000, 7_500, 10_000, 15_000, 20_000];

/// Bytes of a value where only keys count.
const SMALL_VALUE_BYTES: usize = 8;

/// A directory of stores, removed in the end, and what has been measured.
pub struct Bench<'a> {
    scene: &'a Scene,
    directory: PathBuf,
    lines: Vec<Line>,
}

/// Some keys of one engine.
#[derive(Debug, Clone, Copy)]
pub struct Store {
    engine: EngineName,
    keys: u64,
    value_bytes: usize,
}

/// All engines, all workloads.
pub fn compare(scene: &Scene, engines: &[EngineName], shapes: &[String]) {
    let mut bench = Bench::begin(scene);
    let usual: &[&str] = if scene.quick { &["200000x100"] } else { &["1000000x100", "1000000x1024", "10000000x100"] };
    let shapes =
        if shapes.is_empty() { usual.iter().map(|shape| (*shape).to_owned()).collect() } else { shapes.to_vec() };
    let engines = if engines.is_empty() { EngineName::value_variants() } else { engines };
    for shape in &shapes {
        let (keys, value_bytes) = shape.split_once('x').expect("a shape is keys x bytes");
        let (keys, value_bytes) = (keys.parse().expect("a number of keys"), value_bytes.parse().expect("a length"));
        for engine in engines {
            bench.compare_one(Store { engine: *engine, keys, value_bytes });
        }
        report::table(&bench.lines, keys, value_bytes);
    }
}

/// Memory per key at many counts: grown key by key, and opened anew.
pub fn memory(scene: &Scene) {
    let mut bench = Bench::begin(scene);
    let counts = if scene.quick { &MEMORY_THOUSANDS[..2] } else { &MEMORY_THOUSANDS[..] };
    println!("million keys | bytes per key when loaded | when opened | seconds to open");
    for thousands in counts {
        let store = Store { engine: EngineName::Dunlin, keys: thousands * 1000, value_bytes: SMALL_VALUE_BYTES };
        let loaded = bench.run(store, Workload::Grow, 1);
        let opened = bench.run(store, Workload::Open, 1);
        println!(
            "{:12.1} | {:25.1} | {:11.1} | {:.2}",
            *thousands as f64 / 1000.0,
            loaded.figures["memory_bytes_per_key"],
            opened.figures["memory_bytes_per_key"],
            opened.figures["seconds"],
        );
        bench.remove(store);
    }
}

/// Opening many keys, four ways.
pub fn restart(scene: &Scene) {
    let mut bench = Bench::begin(scene);
    let keys = if scene.quick { 1_000_000 } else { 10_000_000 };
    let store = Store { engine: EngineName::Dunlin, keys, value_bytes: 100 };
    bench.run(store, Workload::Load, 1);
    println!("end | page cache | seconds | CPU seconds | MiB read | MiB from the device");
    for end in ["clean", "killed"] {
        for cache in ["warm", "dropped"] {
            if end == "killed" {
                bench.kill(store);
            }
            if cache == "dropped" {
                drop_from_cache(&bench.place_of(store));
            }
            let figures = bench.run(store, Workload::Open, 1).figures;
            println!(
                "{end} | {cache} | {:.2} | {:.2} | {:.0} | {:.0}",
                figures["seconds"], figures["cpu_seconds"], figures["read_mib"], figures["device_mib"]
            );
        }
    }
}

impl<'a> Bench<'a> {
    pub fn begin(scene: &'a Scene) -> Self {
        let directory = scene.directory.join(format!("dunlin-peers-{}", std::process::id()));
        fs::create_dir(&directory).expect("a new directory");
        Bench { scene, directory, lines: Vec::new() }
    }

    /// The directory of a store.
    pub fn place_of(&self, store: Store) -> PathBuf {
        self.directory.join(format!("{}-{}-{}", name_of(store.engine), store.keys, store.value_bytes))
    }

    fn compare_one(&mut self, store: Store) {
        self.run(store, Workload::Load, 1);
        if store.engine != EngineName::Raw {
            self.run(store, Workload::Open, 1);
        }
        self.run(store, Workload::Reads, 1);
        self.run(store, Workload::Reads, 2);
        if store.engine != EngineName::Raw {
            self.run(store, Workload::Mixed, 1);
        }
        self.run(store, Workload::Puts, 1);
        if matches!(name_of(store.engine).as_str(), "fjall" | "rocksdb") {
            self.run(store, Workload::Shared, 1);
        }
        if store.engine != EngineName::Raw {
            self.kill(store);
            self.run_as(store, Workload::Open, 1, "open-killed");
        }
        self.remove(store);
    }

    fn run(&mut self, store: Store, workload: Workload, threads: usize) -> Line {
        let name = if threads > 1 { format!("{}-{threads}", name_of(workload)) } else { name_of(workload) };
        self.run_as(store, workload, threads, &name)
    }

    /// Runs a child to its end and takes its line.
    fn run_as(&mut self, store: Store, workload: Workload, threads: usize, name: &str) -> Line {
        let output = self.child(store, workload, threads).output().expect("a child runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name} of {:?} failed", store.engine);
        let mut line: Line = serde_json::from_str(text.trim()).expect("a child prints a line");
        name.clone_into(&mut line.workload);
        let json = serde_json::to_string(&line).expect("figures are JSON");
        eprintln!("{json}");
        if let Some(path) = &self.scene.json {
            let file = fs::OpenOptions::new().create(true).append(true).open(path);
            writeln!(file.expect("the file of results opens"), "{json}").expect("the file of results is written");
        }
        self.lines.push(line.clone());
        line
    }

    /// Begins durable puts and kills them, some time after the store is open.
    fn kill(&self, store: Store) {
        let mut child = self.child(store, Workload::Killed, 1).spawn().expect("a child runs");
        let said = BufReader::new(child.stdout.take().expect("its output is ours")).lines().next();
        said.expect("the child opens the store").expect("its output is read");
        thread::sleep(UNTIL_KILLED);
        child.kill().expect("the child is killed");
        child.wait().expect("the child is gone");
    }

    fn child(&self, store: Store, workload: Workload, threads: usize) -> Command {
        let directory = self.place_of(store);
        fs::create_dir_all(&directory).expect("a directory for the store");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let milliseconds = if self.scene.quick { 1000 } else { 4000 };
        command.arg("child").arg(name_of(store.engine)).arg(name_of(workload)).arg(&directory);
        command.args([store.keys, store.value_bytes as u64, milliseconds, threads as u64].map(|n| n.to_string()));
        command.stdout(Stdio::piped()).stderr(Stdio::inherit());
        command
    }

    fn remove(&self, store: Store) {
        let _ = fs::remove_dir_all(self.place_of(store));
    }

    /// Where the stores are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
