//! Settings, their documents, and what `dunlin cluster init` writes.
#![cfg(feature = "runtime")]

use dunlin::ring::Layout;
use dunlin::runtime::settings::{KNOBS, Settings, Sources, example_file, reference_page};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
fn compression_is_one_name_or_a_table_by_prefix() {
    use dunlin::store::{Compression, CompressionRules};
    let set = |text: &str| start(text, &[], &[]).unwrap().storage.compression;
    assert_eq!(set(""), Compression::None.into());
    assert_eq!(set("[storage]\ncompression = \"zstd\""), Compression::Zstd.into());
    let by_prefix = CompressionRules::new([(b"".to_vec(), Compression::Lz4), (b"logs/".to_vec(), Compression::Zstd)]);
    assert_eq!(set("[storage]\ncompression = { \"\" = \"lz4\", \"logs/\" = \"zstd\" }"), by_prefix);
    assert_eq!(set("[storage.compression]\n\"logs/\" = \"zstd\"\n\"\" = \"lz4\""), by_prefix);
    let flags = [("storage-compression", "=lz4, logs/=zstd")];
    assert_eq!(start("", &flags, &[]).unwrap().storage.compression, by_prefix);
    for wrong in ["\"gzip\"", "{ a = \"gzip\" }", "{ a = 1 }", "[\"lz4\"]", "{}", "\"a=lz4,b\""] {
        says(
            &refusal(&format!("[storage]\ncompression = {wrong}")),
            &["storage.compression = ", "\"lz4\" or \"zstd\""],
        );
    }
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
        ("[defaults]\ntimeout = 1.5", "defaults.timeout = 1.5: a duration from 1ms to 1m"),
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
        (
            "[membership]\nping_timeout = \"1s\"",
            "membership.ping_timeout: 1s is longer than membership.probe_interval = 500ms",
        ),
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

/// Runs the binary.
fn dunlin(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dunlin")).args(arguments).output().expect("the binary runs")
}

fn init(directory: &Path, more: &[&str]) -> Output {
    let directory = directory.to_str().expect("a temporary path is text");
    dunlin(&[&["cluster", "init", "--dir", directory, "--partitions", "64"], more].concat())
}

fn complaint(output: &Output, status: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{text}");
    text
}

const THREE: &[&str] = &["--nodes", "a=127.0.0.1:7400,b=127.0.0.1:7410,c=db3.example.org:7400", "--zones", "c=attic"];

#[test]
fn init_writes_all_a_node_needs_and_keeps_secrets_secret() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("cluster");
    let output = init(&directory, THREE);
    complaint(&output, 0);
    let mode = |path: &str| fs::metadata(directory.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("ca-key.pem"), 0o600);
    let cluster = String::from_utf8(output.stdout).unwrap();
    let mut secrets = Vec::new();
    for name in ["a", "b", "c"] {
        let home = directory.join(name);
        let settings = Sources::of_process(&home.join("node.toml"), Vec::new()).unwrap().load().unwrap();
        assert_eq!(settings.node.name, name);
        assert_eq!(settings.cluster.id.to_string(), cluster.trim());
        assert_eq!(settings.node.seeds.len(), 2);
        for path in [&settings.tls.ca, &settings.tls.certificate] {
            assert!(fs::read_to_string(path).unwrap().starts_with("-----BEGIN CERTIFICATE-----"), "{}", path.display());
        }
        assert_eq!(settings.tls.key, home.join("key.pem"));
        assert_eq!((mode(&format!("{name}/key.pem")), mode(&format!("{name}/secret"))), (0o600, 0o600));
        assert_eq!(mode(name), 0o700);
        let genesis = fs::read_to_string(settings.node.data_dir.join("genesis")).unwrap();
        assert_eq!(genesis.trim(), cluster.trim());
        let layout: Layout = serde_json::from_str(&fs::read_to_string(&settings.cluster.layout_file).unwrap()).unwrap();
        assert_eq!(layout.cluster, settings.cluster.id);
        let node = layout.node_named(name).unwrap();
        assert_eq!(node.address, settings.advertised_address());
        assert_eq!(Some(&node.membership_address), settings.advertised_membership_address().as_ref());
        assert_eq!(node.zone, settings.node.zone);
        secrets.push(fs::read(&settings.cluster.secret_file[0]).unwrap());
    }
    assert_eq!(secrets[0].len(), 32);
    assert!(secrets.iter().all(|secret| *secret == secrets[0]));
}

#[test]
fn nodes_on_one_host_get_http_ports_in_a_row_and_names_listen_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    complaint(&init(directory.path(), THREE), 0);
    let settings = |name: &str| {
        let file = directory.path().join(name).join("node.toml");
        Sources::of_process(&file, Vec::new()).unwrap().load().unwrap()
    };
    assert_eq!(settings("a").node.http_address.port(), 8101);
    assert_eq!(settings("b").node.http_address.port(), 8102);
    assert_eq!(settings("c").node.http_address.port(), 8101);
    assert_eq!(settings("c").node.peer_address.to_string(), "0.0.0.0:7400");
    assert_eq!(settings("c").advertised_address(), "db3.example.org:7400");
}

#[test]
fn init_overwrites_nothing() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("letter"), "dear").unwrap();
    says(&complaint(&init(directory.path(), THREE), 1), &["is not empty"]);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn init_refuses_clusters_that_cannot_be() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("cluster");
    let cases: &[(&[&str], &str)] = &[
        (&["--nodes", "a=h:1,b=h:5"], "2 nodes cannot hold 3 copies"),
        (&["--nodes", "a=h:7400,b=h:7401", "--replicas", "2"], "h:7401 is taken twice, by a and b"),
        (&["--nodes", "a=h:1,a=h:5", "--replicas", "2"], "two nodes have the name"),
        (&["--nodes", "../a=h:1"], "is no name for a node"),
        (&["--nodes", "a=h"], "is not host:port"),
        (&["--nodes", "a=h:65535", "--replicas", "1"], "no port for membership"),
        (&["--nodes", "a=h:1", "--replicas", "1", "--zones", "b=x"], "--zones names b"),
        (&["--nodes", "a=h:1", "--replicas", "1", "--partitions", "3"], "a power of two"),
    ];
    for (arguments, part) in cases {
        let directory = directory.to_str().unwrap();
        let output = dunlin(&[&["cluster", "init", "--dir", directory], *arguments].concat());
        says(&complaint(&output, 2), &[part]);
        assert!(!Path::new(directory).exists(), "{arguments:?} left files behind");
    }
}

#[test]
fn a_reissued_certificate_replaces_the_old_one() {
    let directory = tempfile::tempdir().unwrap();
    complaint(&init(directory.path(), THREE), 0);
    let read = |name: &str| fs::read_to_string(directory.path().join("b").join(name)).unwrap();
    let before = (read("certificate.pem"), read("key.pem"));
    complaint(&dunlin(&["certs", "issue", "--dir", directory.path().to_str().unwrap(), "--node", "b"]), 0);
    let after = (read("certificate.pem"), read("key.pem"));
    assert!(before.0 != after.0 && before.1 != after.1);
    let key = fs::metadata(directory.path().join("b/key.pem")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

#[test]
fn serve_refuses_a_membership_port_that_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let nodes = &["--nodes", "a=127.0.0.1:7400", "--replicas", "1"];
    complaint(&init(directory.path(), nodes), 0);
    let held = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    let config = directory.path().join("a/node.toml");
    let free = "127.0.0.1:0";
    let addresses = ["--node-peer-address", free, "--node-http-address", free, "--membership-address", &taken];
    let output = dunlin(&[&["serve", "--config", config.to_str().unwrap()], &addresses[..]].concat());
    says(&complaint(&output, 2), &["membership address", &taken, "cannot listen there"]);
}

#[test]
fn serve_refuses_bad_settings_with_status_2_and_their_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node.toml");
    fs::write(&file, "[node]\nnaem = \"a\"\n").unwrap();
    let file = file.to_str().unwrap();
    says(&complaint(&dunlin(&["serve", "--config", file]), 2), &["node.toml:2:1:", "no setting naem", "data_dir"]);
    fs::write(file, REQUIRED).unwrap();
    let output = dunlin(&["serve", "--config", file, "--node-http-address", "0.0.0.0:80"]);
    says(&complaint(&output, 2), &["flag --node-http-address:", "tls.allow_insecure_http"]);
    says(&complaint(&dunlin(&["serve", "--config", "/nowhere/node.toml"]), 2), &["cannot read /nowhere/node.toml"]);
}
