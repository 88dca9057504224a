//! The house rules, checked. Each rule is a function over one file, states its reason in what it
//! reports, runs over the whole repository, and has a negative control: a bad snippet it must report.

#[path = "tidy/source.rs"]
mod source;

use source::{
    Source, functions, identifier, in_test_item, is_public, item_end, link_targets, parameters_of, prose_lines,
    segments_after, words,
};
use std::fs;
use std::path::{Path, PathBuf};

/// Which floor each module of `src/` lives on. docs/ARCHITECTURE.md draws it.
const FLOORS: &[(&str, u8)] = &[
    ("base", 0),
    ("causal", 1),
    ("ring", 1),
    ("store", 2),
    ("membership", 2),
    ("replication", 3),
    ("node", 4),
    ("runtime", 5),
    ("client", 5),
    ("cli", 6),
];

/// The highest floor that must not ask the world for anything.
const LAST_PURE_FLOOR: u8 = 4;

/// Modules that may see a neighbour on their own floor: who, whom, why. The reason is the review.
const NEIGHBOURS: &[(&str, &str, &str)] = &[];

/// Longest file, tests not counted: a file holds one noun.
const MAX_FILE_LINES: usize = 600;

/// Longest function, signature to closing brace: what one screen shows.
const MAX_FUNCTION_LINES: usize = 70;

const VAGUE_NAMES: &[&str] = &["utils", "util", "helpers", "helper", "manager", "common", "misc"];

const CLOCK: &str = "the driver tells the time (base::Now); a clock read here makes a seed irreproducible";
const ENTROPY: &str = "randomness comes from the seed (base::Random); other entropy makes a seed irreproducible";
const ORDER: &str = "its iteration order differs from run to run; use BTreeMap, BTreeSet or Vec";
const WORLD: &str = "floors 0-4 are sans-IO: the driver does this and hands the answer in";
const OUTPUT: &str = "floors 0-4 tell by effects (notices); the driver decides what is shown";
const UNFINISHED: &str = "unfinished work is an issue, not a mark in the code";

/// What would make a run depend on something other than its seed.
const NONDETERMINISM: &[(&str, &str)] = &[
    ("Instant", CLOCK),
    ("SystemTime", CLOCK),
    ("HashMap", ORDER),
    ("HashSet", ORDER),
    ("rand::rng(", ENTROPY),
    ("rand::random", ENTROPY),
    ("thread_rng", ENTROPY),
];

/// What only a driver may do.
const SIDE_EFFECTS: &[(&str, &str)] =
    &[("tokio", WORLD), ("print!", OUTPUT), ("println!", OUTPUT), ("eprint!", OUTPUT), ("eprintln!", OUTPUT)];

/// Parts of `std` that only a driver may use. Plain address types are in `core::net`.
const WORLDLY_STD: &[&str] = &["fs", "net", "thread", "env", "process"];

/// Ways to stop the program, or to leave it half done.
const UNFIT_TO_SHIP: &[(&str, &str)] = &[
    (".unwrap()", "say why it cannot fail with `expect`, or return the error as a value"),
    ("panic!(", "a node must survive any peer, client and disk: return the outcome as a value"),
    ("todo!", UNFINISHED),
    ("unimplemented!", UNFINISHED),
    ("dbg!", "a debugging aid; report through tracing (drivers) or a notice (core)"),
    ("unsafe", "forbidden: nothing here is worth undefined behaviour"),
];

/// A rule: what it finds wrong in one file.
type Rule = fn(&Source) -> Vec<String>;

// ---------------------------------------------------------------------------------------------------------------------
// Floors

/// `crate::<module>` may name the own module and modules of lower floors.
fn floors_look_down(source: &Source) -> Vec<String> {
    looks_outside_its_floor(source, NEIGHBOURS)
}

fn looks_outside_its_floor(source: &Source, neighbours: &[(&str, &str, &str)]) -> Vec<String> {
    let Some(own) = source.module() else { return Vec::new() };
    let Some(own_floor) = floor_of(own) else {
        return vec![format!("{}: module `{own}` has no floor; give it one in FLOORS and on the map", source.path)];
    };
    let excused = |seen: &str| neighbours.iter().any(|(who, whom, _)| *who == own && *whom == seen);
    let may_see = |seen: &str| seen == own || floor_of(seen).is_some_and(|floor| floor < own_floor) || excused(seen);
    let by_crate = segments_after(&source.code, "crate");
    // From a module's page `super` is the crate itself; it would be a way around the check.
    let by_super = segments_after(&source.code, "super").into_iter().filter(|(at, seen)| {
        let from_page = source.path == format!("src/{own}/mod.rs") && !in_test_item(source, *at);
        let twice = source.code[..*at].trim_end().ends_with("super::");
        (from_page || twice) && floor_of(seen).is_some()
    });
    by_crate
        .into_iter()
        .chain(by_super)
        .filter(|(_, seen)| !may_see(seen))
        .map(|(at, seen)| match floor_of(&seen) {
            Some(floor) => source.finding(
                at,
                &format!(
                    "`{own}` (floor {own_floor}) sees `{seen}` (floor {floor}); arrows point down only and neighbours \
                     do not know each other, so that a floor can be read and tested without those above"
                ),
            ),
            None => source.finding(at, &format!("`crate::{seen}` is on no floor; name the module that owns it")),
        })
        .collect()
}

#[test]
fn every_floor_sees_only_the_floors_below() {
    holds_for(&core_and_drivers(), floors_look_down);
}

#[test]
fn a_look_upwards_or_sideways_is_noticed() {
    notices(floors_look_down, "src/ring/layout.rs", "use crate::node::Node;");
    notices(floors_look_down, "src/ring/layout.rs", "use crate::causal::Dot;");
    notices(floors_look_down, "src/ring/layout.rs", "use crate::{base::Key, store::Store};");
    notices(floors_look_down, "src/ring/layout.rs", "fn f() -> crate::node::Node { g() }");
    notices(floors_look_down, "src/ring/layout.rs", "use super::super::node::Node;");
    notices(floors_look_down, "src/ring/mod.rs", "use super::node::Node;");
    notices(floors_look_down, "src/ring/layout.rs", "use crate::*;");
    notices(floors_look_down, "src/cellar/mod.rs", "//! A module nobody placed.");
    allows(floors_look_down, "src/ring/layout.rs", "use crate::base::{Key, NodeId};\nuse crate::ring::Partition;");
    allows(
        floors_look_down,
        "src/ring/layout.rs",
        "// not `crate::node::Node`\npub(crate) const A: &str = \"crate::node\";",
    );
    allows(floors_look_down, "src/lib.rs", "pub use crate::node::Node;");
}

#[test]
fn an_excused_neighbour_is_seen_by_that_module_only() {
    let table = [("ring", "causal", "for this test")];
    let layout = Source::new("src/ring/layout.rs", "use crate::causal::Dot;");
    let dot = Source::new("src/causal/dot.rs", "use crate::ring::Layout;");
    assert!(looks_outside_its_floor(&layout, &table).is_empty());
    assert!(!looks_outside_its_floor(&dot, &table).is_empty());
}

/// Every module of the floors table is a directory; otherwise the table describes another house.
fn rooms_that_do_not_exist(floors: &[(&str, u8)], exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let room = |module: &&str| exists(&Path::new("src").join(module).join("mod.rs"));
    let missing = floors.iter().map(|(module, _)| module).filter(|module| !room(module));
    missing.map(|module| format!("src/{module}/mod.rs is in FLOORS and does not exist")).collect()
}

#[test]
fn every_module_of_the_table_exists() {
    clean(&rooms_that_do_not_exist(FLOORS, |path| root().join(path).is_file()));
}

#[test]
fn a_missing_room_is_noticed() {
    assert_eq!(rooms_that_do_not_exist(&[("cellar", 0)], |_| false).len(), 1);
}

/// Floors 0-4 ask the world for nothing.
fn pure_floors_are_sans_io(source: &Source) -> Vec<String> {
    if source.module().and_then(floor_of).is_none_or(|floor| floor > LAST_PURE_FLOOR) {
        return Vec::new();
    }
    let worldly = segments_after(&source.shipped, "std")
        .into_iter()
        .filter(|(_, part)| WORLDLY_STD.contains(&part.as_str()))
        .map(|(at, part)| source.finding(at, &format!("`std::{part}`: {WORLD}")));
    let mut found = banned(source, NONDETERMINISM);
    found.extend(banned(source, SIDE_EFFECTS));
    found.extend(worldly);
    found
}

#[test]
fn the_core_asks_the_world_for_nothing() {
    holds_for(&core_and_drivers(), pure_floors_are_sans_io);
}

#[test]
fn a_core_that_asks_the_world_is_noticed() {
    for bad in [
        "use std::time::Instant;",
        "let at = std::time::SystemTime::now();",
        "use std::collections::{BTreeMap, HashMap};",
        "let seen: HashSet<u64> = x;",
        "use std::{fmt, fs};",
        "use std::fs::File;",
        "std::thread::spawn(f);",
        "let home = std::env::var(\"HOME\");",
        "use std::net::SocketAddr;",
        "let mut random = rand::rng();",
        "let mut random = rand::thread_rng();",
        "tokio::spawn(f);",
        "println!(\"{x}\");",
        "eprintln!(\"{x}\");",
    ] {
        notices(pure_floors_are_sans_io, "src/node/shard.rs", bad);
        allows(pure_floors_are_sans_io, "src/runtime/driver.rs", bad);
        allows(pure_floors_are_sans_io, "src/node/shard.rs", &format!("// {bad}"));
        allows(pure_floors_are_sans_io, "src/node/shard.rs", &format!("#[cfg(test)]\nmod tests {{ {bad} }}"));
    }
    allows(pure_floors_are_sans_io, "src/node/shard.rs", "use std::time::Duration;\nlet instantly = InstantAnswer;");
}

/// The simulator is one thread and one seed.
fn simulator_is_deterministic(source: &Source) -> Vec<String> {
    if source.path.starts_with("chaos/src/sim/") { banned(source, NONDETERMINISM) } else { Vec::new() }
}

#[test]
fn the_simulator_depends_on_its_seed_alone() {
    holds_for(&everything(), simulator_is_deterministic);
}

#[test]
fn a_simulator_with_a_clock_of_its_own_is_noticed() {
    notices(simulator_is_deterministic, "chaos/src/sim/world.rs", "let began = Instant::now();");
    allows(simulator_is_deterministic, "chaos/src/live/process.rs", "let began = Instant::now();");
}

/// The oracle judges by writes and by what their authors had seen.
fn oracle_knows_no_clocks(source: &Source) -> Vec<String> {
    if !source.path.starts_with("chaos/src/") || !source.path.ends_with("/oracle.rs") {
        return Vec::new();
    }
    let reason = "the oracle never uses `causal`: a judge that shares the code it judges shares its mistakes";
    words(&source.code, "causal").map(|at| source.finding(at, reason)).collect()
}

#[test]
fn the_oracle_does_not_use_what_it_judges() {
    holds_for(&everything(), oracle_knows_no_clocks);
}

#[test]
fn an_oracle_with_clocks_is_noticed() {
    notices(oracle_knows_no_clocks, "chaos/src/sim/oracle.rs", "use dunlin::causal::Context;");
    notices(oracle_knows_no_clocks, "chaos/src/sim/oracle.rs", "use dunlin::{base::Key, causal::Context};");
    allows(oracle_knows_no_clocks, "chaos/src/sim/oracle.rs", "//! Knows nothing of `causal`.");
    allows(oracle_knows_no_clocks, "chaos/src/sim/world.rs", "use dunlin::causal::Context;");
}

// ---------------------------------------------------------------------------------------------------------------------
// Sizes, names, words

/// A file is at most [`MAX_FILE_LINES`] long, tests not counted.
fn files_hold_one_noun(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count() - source.test_lines;
    if lines <= MAX_FILE_LINES {
        return Vec::new();
    }
    let path = &source.path;
    vec![format!("{path}: {lines} lines without tests, {MAX_FILE_LINES} are allowed: a file holds one noun; split it")]
}

#[test]
fn no_file_is_too_long() {
    holds_for(&everything(), files_hold_one_noun);
}

#[test]
fn a_long_file_is_noticed() {
    let long = "const A: u8 = 0;\n".repeat(MAX_FILE_LINES + 1);
    notices(files_hold_one_noun, "src/base/id.rs", &long);
    allows(files_hold_one_noun, "src/base/id.rs", &"const A: u8 = 0;\n".repeat(MAX_FILE_LINES));
    allows(files_hold_one_noun, "src/base/id.rs", &format!("#[cfg(test)]\nmod tests {{\n{long}}}\n"));
}

/// A function is at most [`MAX_FUNCTION_LINES`] long, tests not counted.
fn functions_fit_a_screen(source: &Source) -> Vec<String> {
    let code = &source.shipped;
    let too_long = |at: usize| {
        let lines = code[at..item_end(code, at)].lines().count();
        let reason = format!("a function of {lines} lines, {MAX_FUNCTION_LINES} are allowed: one screen shows it all");
        (lines > MAX_FUNCTION_LINES).then(|| source.finding(at, &reason))
    };
    functions(code).filter_map(too_long).collect()
}

#[test]
fn no_function_is_too_long() {
    holds_for(&everything(), functions_fit_a_screen);
}

#[test]
fn a_long_function_is_noticed() {
    let body = |lines: usize| format!("fn f(a: [u8; 2]) {{\n{}}}\n", "    g('{');\n".repeat(lines));
    notices(functions_fit_a_screen, "src/base/id.rs", &body(MAX_FUNCTION_LINES - 1));
    allows(functions_fit_a_screen, "src/base/id.rs", &body(MAX_FUNCTION_LINES - 2));
    allows(functions_fit_a_screen, "src/base/id.rs", &format!("trait T {{ fn f(); }}\n{}", "\n".repeat(99)));
}

/// No module is named for being vague.
fn modules_have_names(source: &Source) -> Vec<String> {
    let vague = |name: &str| VAGUE_NAMES.contains(&name);
    let reason = |name: &str| format!("`{name}` says nothing: name a module for the one noun it holds");
    let of_path = source.path.split('/').map(|part| part.trim_end_matches(".rs")).filter(|name| vague(name));
    let inline = words(&source.code, "mod").map(|at| (at, identifier(source.code[at + 3..].trim_start())));
    of_path
        .map(|name| format!("{}: {}", source.path, reason(name)))
        .chain(inline.filter(|(_, name)| vague(name)).map(|(at, name)| source.finding(at, &reason(name))))
        .collect()
}

#[test]
fn every_module_is_named_for_what_it_holds() {
    holds_for(&everything(), modules_have_names);
}

#[test]
fn a_vague_module_is_noticed() {
    notices(modules_have_names, "src/store/utils.rs", "");
    notices(modules_have_names, "src/common/mod.rs", "");
    notices(modules_have_names, "src/store/log.rs", "mod helpers { }");
    allows(modules_have_names, "src/store/log.rs", "mod record;");
}

/// Every `mod.rs` begins with the module's page.
fn modules_begin_with_their_page(source: &Source) -> Vec<String> {
    if !source.path.ends_with("/mod.rs") || source.text.starts_with("//! ") {
        return Vec::new();
    }
    let page = "begins with no `//!` page: purpose, what it owns, what it must not know, its invariant";
    vec![format!("{}: {page}", source.path)]
}

#[test]
fn every_module_has_its_page() {
    holds_for(&everything(), modules_begin_with_their_page);
}

#[test]
fn a_module_without_a_page_is_noticed() {
    notices(modules_begin_with_their_page, "src/store/mod.rs", "mod record;");
    allows(modules_begin_with_their_page, "src/store/mod.rs", "//! Floor 2: the log.\nmod record;");
}

/// What ships neither panics on purpose nor is half done.
fn what_ships_is_finished(source: &Source) -> Vec<String> {
    if source.path.starts_with("src/") { banned(source, UNFIT_TO_SHIP) } else { Vec::new() }
}

#[test]
fn nothing_unfit_ships() {
    holds_for(&everything(), what_ships_is_finished);
}

#[test]
fn what_is_unfit_to_ship_is_noticed() {
    for bad in ["x.unwrap();", "panic!(\"no\");", "todo!();", "unimplemented!();", "dbg!(x);", "unsafe { f() }"] {
        notices(what_ships_is_finished, "src/node/shard.rs", &format!("fn f() {{ {bad} }}"));
        allows(what_ships_is_finished, "src/node/shard.rs", &format!("/// Never {bad}\nfn f() {{}}"));
        allows(what_ships_is_finished, "src/node/shard.rs", &format!("#[cfg(test)]\nfn f() {{ {bad} }}"));
        allows(what_ships_is_finished, "chaos/src/main.rs", bad);
    }
    notices(what_ships_is_finished, "src/node/shard.rs", "#[cfg(test)]\nmod tests { }\nfn f() { x.unwrap(); }");
    allows(what_ships_is_finished, "src/node/shard.rs", "fn f() -> u8 { x.unwrap_or(1) }");
}

/// Marks of unfinished work stand nowhere, not even in comments and tests.
fn no_work_is_left_lying(source: &Source) -> Vec<String> {
    let marks = ["TODO", "FIXME"].into_iter().flat_map(|mark| words(&source.text, mark).map(move |at| (at, mark)));
    marks.map(|(at, mark)| source.finding(at, &format!("{mark}: {UNFINISHED}"))).collect()
}

#[test]
fn no_mark_of_unfinished_work_is_left() {
    holds_for(&everything(), no_work_is_left_lying);
}

#[test]
fn a_mark_of_unfinished_work_is_noticed() {
    notices(no_work_is_left_lying, "src/node/shard.rs", "// TODO: later");
    notices(no_work_is_left_lying, "chaos/src/main.rs", "#[cfg(test)]\nmod tests { /* FIXME */ }");
    allows(no_work_is_left_lying, "src/node/shard.rs", "const TODOS: u8 = 0;");
}

/// A public function takes no flag.
fn parameters_name_their_cases(source: &Source) -> Vec<String> {
    let code = &source.shipped;
    let reason = "a boolean parameter: at the call `true` says nothing; name the cases with an enum";
    let takes_flag = |at: &usize| {
        let parameters = parameters_of(code, *at).unwrap_or_default();
        words(parameters, "bool").any(|bool_at| {
            let before = parameters[..bool_at].trim_end();
            before.ends_with(':') && !before.ends_with("::")
        })
    };
    functions(code).filter(|at| is_public(code, *at)).filter(takes_flag).map(|at| source.finding(at, reason)).collect()
}

#[test]
fn no_public_function_takes_a_flag() {
    holds_for(&everything(), parameters_name_their_cases);
}

#[test]
fn a_flag_is_noticed() {
    notices(parameters_name_their_cases, "src/base/id.rs", "pub fn put(key: Key, sloppy: bool) {}");
    notices(parameters_name_their_cases, "src/base/id.rs", "pub(crate) async fn put(\n    sloppy: bool,\n) {}");
    notices(parameters_name_their_cases, "src/base/id.rs", "pub fn put<F: Fn() -> u8>(f: F, sloppy: bool) {}");
    allows(parameters_name_their_cases, "src/base/id.rs", "pub fn put(f: impl Fn(u8) -> bool) -> bool { f(1) }");
    allows(parameters_name_their_cases, "src/base/id.rs", "fn put(sloppy: bool) {}");
}

/// A file of tests is out of these rules' sight, so it must be out of the program too.
fn tests_do_not_ship(source: &Source) -> Vec<String> {
    let reason = "`mod tests` without `#[cfg(test)]` right above it would ship, unseen by these rules";
    let is_tests = |at: &usize| identifier(source.shipped[at + 3..].trim_start()) == "tests";
    words(&source.shipped, "mod").filter(is_tests).map(|at| source.finding(at, reason)).collect()
}

#[test]
fn no_tests_ship() {
    holds_for(&everything(), tests_do_not_ship);
}

#[test]
fn tests_that_ship_are_noticed() {
    notices(tests_do_not_ship, "src/base/mod.rs", "mod tests;");
    allows(tests_do_not_ship, "src/base/mod.rs", "#[cfg(test)]\nmod tests;");
}

// ---------------------------------------------------------------------------------------------------------------------
// Documents

/// Relative links lead to a file.
fn links_that_lead_nowhere(path: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    let leads_nowhere = |target: &&str| {
        let file = target.split('#').next().unwrap_or_default();
        let elsewhere = target.contains("://") || target.starts_with("mailto:");
        !elsewhere && !file.is_empty() && (file.starts_with('/') || !exists(&folder.join(file)))
    };
    let broken = |(number, line)| {
        let targets = link_targets(line).into_iter().filter(leads_nowhere);
        targets.map(|target| format!("{path}:{number}: the link to {target} leads nowhere")).collect::<Vec<_>>()
    };
    prose_lines(text).flat_map(broken).collect()
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let broken = documents().into_iter().flat_map(|path| {
        let text = read(&path);
        links_that_lead_nowhere(&path, &text, |target| root().join(target).exists())
    });
    clean(&broken.collect::<Vec<_>>());
}

#[test]
fn a_broken_link_is_noticed() {
    let broken = |text: &str| links_that_lead_nowhere("docs/a.md", text, |path| path == Path::new("docs/b.md")).len();
    assert_eq!(broken("See [it](missing.md) and [that](b.md#part)."), 1);
    assert_eq!(broken("[it]: missing.md"), 1);
    assert_eq!(broken("[it](/docs/b.md)"), 1);
    assert_eq!(broken("`[it](missing.md)`\n```\n[it](missing.md)\n```\n[web](https://example.org) [here](#part)"), 0);
}

/// The map names every module.
fn modules_off_the_map(map: &str, floors: &[(&str, u8)]) -> Vec<String> {
    let absent = floors.iter().filter(|(module, _)| !map.contains(&format!("`src/{module}/`")));
    absent.map(|(module, _)| format!("docs/ARCHITECTURE.md: the code map does not name `src/{module}/`")).collect()
}

#[test]
fn every_module_is_on_the_map() {
    clean(&modules_off_the_map(&read("docs/ARCHITECTURE.md"), FLOORS));
}

#[test]
fn a_module_off_the_map_is_noticed() {
    assert_eq!(modules_off_the_map("`src/base/`", &[("base", 0), ("cellar", 0)]).len(), 1);
}

// ---------------------------------------------------------------------------------------------------------------------
// Running rules

fn holds_for(sources: &[Source], rule: Rule) {
    clean(&sources.iter().flat_map(rule).collect::<Vec<_>>());
}

fn notices(rule: Rule, path: &str, text: &str) {
    assert!(!rule(&Source::new(path, text)).is_empty(), "not noticed in {path}:\n{text}");
}

fn allows(rule: Rule, path: &str, text: &str) {
    let found = rule(&Source::new(path, text));
    assert!(found.is_empty(), "wrongly reported in {path}:\n{text}\n{}", found.join("\n"));
}

fn clean(found: &[String]) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

fn banned(source: &Source, bans: &[(&str, &str)]) -> Vec<String> {
    let hits = |(word, reason): &(&str, &str)| {
        let message = format!("`{word}`: {reason}");
        words(&source.shipped, word).map(|at| source.finding(at, &message)).collect::<Vec<_>>()
    };
    bans.iter().flat_map(hits).collect()
}

fn floor_of(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

// ---------------------------------------------------------------------------------------------------------------------
// The repository

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

fn core_and_drivers() -> Vec<Source> {
    sources_under("src")
}

fn everything() -> Vec<Source> {
    let mut sources = core_and_drivers();
    sources.extend(sources_under("chaos/src"));
    sources.extend(sources_under("tests/micro"));
    sources
}

fn sources_under(folder: &str) -> Vec<Source> {
    let paths = files_under(folder, ".rs");
    assert!(!paths.is_empty(), "no source under {folder}: a rule that sees no file proves nothing");
    paths.iter().map(|path| Source::new(path, &read(path))).collect()
}

/// The documents: all of `docs/`, and the pages at the top.
fn documents() -> Vec<String> {
    let mut paths = files_under("docs", ".md");
    paths.extend(names_in("").into_iter().filter(|name| name.ends_with(".md")));
    paths
}

fn files_under(folder: &str, ending: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for name in names_in(folder) {
        let path = format!("{folder}/{name}");
        if root().join(&path).is_dir() {
            paths.extend(files_under(&path, ending));
        } else if name.ends_with(ending) {
            paths.push(path);
        }
    }
    paths
}

fn names_in(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("cannot list {folder}: {error}"));
    let name = |entry: Result<fs::DirEntry, _>| entry.ok()?.file_name().into_string().ok();
    let mut names: Vec<String> = entries.filter_map(name).collect();
    names.sort();
    names
}
