//! The benchmark runner against a cluster that it starts itself.

#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// Runs `dunlin bench` over a few keys of a fresh cluster of one node.
fn bench(arguments: &[&str]) -> Output {
    let few = ["bench", "--local", "1", "--keys", "50", "--connections", "4", "--warm-up", "0.1", "--duration", "0.5"];
    Command::new(env!("CARGO_BIN_EXE_dunlin")).args(few).args(arguments).output().unwrap()
}

fn result(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[test]
fn every_operation_is_measured_and_what_was_acknowledged_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let (json, html) = (directory.path().join("result.json"), directory.path().join("result.html"));
    let mix = "read=2,update=2,insert=1,read-modify-write=1,delete=1";
    let files = ["--json", json.to_str().unwrap(), "--html", html.to_str().unwrap()];
    let output = bench(&[&["--mix", mix, "--route", "placement", "--verify"][..], &files].concat());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let result = result(&json);
    let stage = &result["stages"][0];
    for operation in ["read", "update", "insert", "read-modify-write", "delete"] {
        assert!(stage["operations"][operation]["count"].as_u64().unwrap() > 0, "{operation}: {told}");
    }
    assert_eq!(stage["failed"], 0, "{stage}");
    assert_eq!(result["load"]["watched_nodes"], 1);
    assert!(result["verification"]["keys"].as_u64().unwrap() >= 50);
    assert_eq!(result["verification"]["wrong"], 0, "{result}");
    assert!(std::fs::read_to_string(&html).unwrap().contains("<svg"));
    let again = bench(&["--mix", mix, "--compare", json.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("rate x "), "{again:?}");
}

#[test]
fn an_open_loop_sends_what_is_due() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("result.json");
    let output = bench(&["--workload", "get", "--rate", "100", "--json", json.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let stage = &result(&json)["stages"][0];
    // Half a second at 100 a second, however slow this machine is just now.
    assert_eq!(stage["latency"]["count"].as_u64().unwrap() + stage["failed"].as_u64().unwrap(), 50, "{stage}");
    assert_eq!(stage["offered_per_second"], 100.0);
}

#[test]
fn a_wrong_call_says_what_is_allowed() {
    let output = bench(&["--workload", "z"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("possible values: put, get, a, b"), "{output:?}");
}
