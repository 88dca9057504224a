//! Settings, their documents, and what `dunlin cluster init` writes.
#![cfg(feature = "runtime")]

use dunlin::runtime::settings::{KNOBS, Settings, Sources, example_file, reference_page};
use std::fs;
use std::path::{Path, PathBuf};

/// Set to write the documents anew instead of comparing them.
const BLESS: &str = "DUNLIN_BLESS";

/// What every checked file needs.
const REQUIRED: &str = "[cluster]\nid = \"0123456789abcdef0123456789abcdef\"\n[node]\nname = \"a\"\n";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn file(text: &str) -> Sources {
    Sources { file: "/etc/dunlin/node.toml".into(), text: text.into(), ..Sources::default() }
}

/// A file with the required settings, these flags and variables, and more text.
fn start(more: &str, flags: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Settings, String> {
    let owned =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let mut sources = file(&format!("{REQUIRED}{more}"));
    (sources.flags, sources.variables) = (owned(flags), owned(variables));
    sources.load().map_err(|error| error.to_string())
}

fn refusal(more: &str) -> String {
    start(more, &[], &[]).expect_err(more)
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is missing in:\n{message}");
    }
}

fn document_is(path: &str, expected: &str) {
    let path = root().join(path);
    if std::env::var_os(BLESS).is_some() {
        fs::write(&path, expected).expect("the repository can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{} is not as the table says; write it anew with {BLESS}=1", path.display());
}

#[test]
fn the_example_file_is_written_from_the_table() {
    document_is("configs/node.toml", &example_file());
}

#[test]
fn the_reference_page_is_written_from_the_table() {
    document_is("docs/configuration.md", &reference_page());
}

#[test]
fn the_example_file_sets_every_knob_to_its_default() {
    let path = Path::new("configs/node.toml");
    let text = fs::read_to_string(root().join(path)).unwrap();
    let example = Sources { file: path.into(), text: text.clone(), ..Sources::default() }.read().unwrap();
    let defaults = Sources { file: path.into(), ..Sources::default() }.read().unwrap();
    assert_eq!(example, defaults);
    let table: toml::Table = text.parse().unwrap();
    for knob in KNOBS {
        let set = table.get(knob.section).and_then(|section| section.get(knob.key));
        assert!(set.is_some(), "{} is not set in {}", knob.name(), path.display());
    }
}

#[test]
fn every_knob_stands_on_the_reference_page() {
    let page = fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    for knob in KNOBS {
        let row = format!("| `{}` | `{}` | {} |", knob.key, knob.default_literal(), knob.allowed());
        assert!(page.contains(&row), "{} is not on the page", knob.name());
    }
}

#[test]
fn a_node_starts_with_the_example_of_three() {
    let path = Path::new("configs/three-nodes.toml");
    let text = fs::read_to_string(root().join(path)).unwrap();
    let settings = Sources { file: path.into(), text, ..Sources::default() }.load().unwrap();
    assert_eq!(settings.advertised_membership_address().unwrap(), "10.0.0.1:7401");
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let zone = |more: &str, flags: &[(&str, &str)], variables: &[(&str, &str)]| {
        start(more, flags, variables).unwrap().node.zone
    };
    let (in_file, flag, variable) = ("zone = \"file\"", ("node-zone", "flag"), ("DUNLIN_NODE_ZONE", "variable"));
    assert_eq!(zone("", &[], &[]), "");
    assert_eq!(zone(in_file, &[], &[]), "file");
    assert_eq!(zone(in_file, &[], &[variable]), "variable");
    assert_eq!(zone(in_file, &[flag], &[variable]), "flag");
    assert_eq!(zone("", &[flag], &[]), "flag");
}

#[test]
fn a_value_that_loses_is_not_even_read() {
    assert!(start("shards = 0", &[("node-shards", "2")], &[("DUNLIN_NODE_SHARDS", "many")]).is_ok());
}

#[test]
fn lists_numbers_and_switches_can_be_given_as_text() {
    let flags = [("node-seeds", "a:1, b:2"), ("defaults-r", "1"), ("defaults-sloppy", "false"), ("node-shards", "4")];
    let settings =
        start("", &flags, &[("DUNLIN_DEFAULTS_TIMEOUT", "250"), ("DUNLIN_CLUSTER_SECRET_FILE", "x,y")]).unwrap();
    assert_eq!(settings.node.seeds.len(), 2);
    assert_eq!(settings.node.shards, 4);
    assert_eq!(settings.defaults.timeout.as_millis(), 250);
    assert_eq!(settings.cluster.secret_file, [Path::new("x"), Path::new("y")]);
}

#[test]
fn a_relative_path_belongs_to_the_file_or_to_the_working_directory() {
    let settings = start("pid_file = \"run/pid\"", &[("tls-ca", "mine.pem")], &[]).unwrap();
    assert_eq!(settings.node.pid_file.as_deref(), Some(Path::new("/etc/dunlin/run/pid")));
    assert_eq!(settings.node.data_dir, Path::new("/etc/dunlin/data"));
    assert_eq!(settings.tls.ca, Path::new("mine.pem"));
}

#[test]
fn an_unknown_setting_is_refused_with_its_place_and_what_is_allowed() {
    says(&refusal("capcity = 2"), &["/etc/dunlin/node.toml:5:1:", "no setting capcity", "capacity", "data_dir"]);
    says(&refusal("[nodes]\nname = 1"), &["node.toml:5:2:", "nodes is no section", "[node]", "[storage]"]);
    says(&file("name = 1").load().unwrap_err().to_string(), &["node.toml:1:1:", "name is no section"]);
    says(&refusal("node"), &["node.toml:5:"]);
}

#[test]
fn a_bad_value_is_refused_with_its_place_and_what_is_allowed() {
    let cases = [
        ("shards = 0", "node.toml:5:10: node.shards = 0: a number from 1 to 64 is expected"),
        ("shards = -1", "node.shards = -1:"),
        ("shards = \"2\"", "node.shards = \"2\": a number"),
        ("http_address = \"localhost:1\"", "an IP address and a port"),
        ("seeds = [\"a\"]", "each a host and a port"),
        ("[tls]\nallow_insecure_http = 1", "node.toml:6:23: tls.allow_insecure_http = 1: true or false is expected"),
        ("[storage]\nsegment_bytes = \"64MB\"", "a size from 1MiB to 1GiB"),
        ("[storage]\ndurability = \"maybe\"", "\"fsync\" or \"os\" is expected"),
        ("[defaults]\nr = \"most\"", "\"quorum\""),
        ("[defaults]\ntimeout = 1.5", "defaults.timeout = 1.5: a duration from 1ms to 10m"),
        ("[log]\nlevel = { a = 1 }", "\"info\""),
    ];
    for (text, part) in cases {
        says(&refusal(text), &[part, "/etc/dunlin/node.toml:"]);
    }
}

#[test]
fn a_bad_flag_or_variable_is_named() {
    says(&start("", &[("node-shards", "x")], &[]).unwrap_err(), &["flag --node-shards:", "1 to 64"]);
    says(&start("", &[], &[("DUNLIN_LOG_LEVEL", "x")]).unwrap_err(), &["environment variable DUNLIN_LOG_LEVEL:"]);
}

#[test]
fn everything_wrong_is_told_at_once() {
    says(&refusal("shards = 0\nzones = 1\n[log]\nlevel = 1"), &[":5:", ":6:", ":8:"]);
}

#[test]
fn values_that_do_not_fit_together_are_refused() {
    let cases = [
        ("http_address = \"0.0.0.0:80\"", "node.toml:5:16: node.http_address: 0.0.0.0:80 is not a loopback address"),
        ("peer_address = \"0.0.0.0:7400\"", "advertise_address"),
        ("peer_address = \"10.0.0.1:65535\"", "membership.address"),
        ("[membership]\naddress = \"127.0.0.1:7400\"", "two sockets"),
        ("[defaults]\nw = 4", "1 to 3 are allowed"),
        ("[defaults]\ntimeout = \"2m\"", "limits.max_command_timeout"),
    ];
    for (text, part) in cases {
        says(&refusal(text), &[part]);
    }
    let error = file("[cluster]\npartitions = 3").load().unwrap_err().to_string();
    says(
        &error,
        &[
            "node.toml:2:14: cluster.partitions: 3 is no power of two",
            "node.name: is required",
            "cluster.id: is required",
        ],
    );
    assert!(start("http_address = \"0.0.0.0:80\"\n[tls]\nallow_insecure_http = true", &[], &[]).is_ok());
}

#[test]
fn a_misspelt_variable_is_warned_about() {
    let names = ["DUNLIN_NODE_NAM", "DUNLIN_URL", "DUNLIN_NODE_NAME", "PATH"];
    let variables = names.iter().map(|name| (name.to_string(), "x".into())).collect();
    assert_eq!(Sources { variables, ..Sources::default() }.unknown_variables(), ["DUNLIN_NODE_NAM"]);
}

#[test]
fn membership_listens_next_to_the_peers() {
    let settings = start("peer_address = \"10.0.0.1:7400\"\nadvertise_address = \"db1:7400\"", &[], &[]).unwrap();
    assert_eq!(settings.membership_address().unwrap().to_string(), "10.0.0.1:7401");
    assert_eq!(settings.advertised_address(), "db1:7400");
    assert_eq!(settings.advertised_membership_address().unwrap(), "db1:7401");
}
