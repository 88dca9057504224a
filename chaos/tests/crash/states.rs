//! A slice of the crash states that `chaos crash` enumerates.

use chaos::crash::enumerate;

/// A few seconds' worth of an unoptimised build; `chaos crash --states 300000` is the whole.
const STATES: u64 = 6000;

#[test]
pub(crate) fn no_crash_state_loses_or_resurrects_anything() {
    let (states, broken) = enumerate(1, STATES);
    if let Some(broken) = broken {
        panic!("{broken:?}\n{states}");
    }
    assert!(states.total() >= STATES);
    let steps = [
        "job",
        "put",
        "overwrite",
        "delete",
        "batch",
        "hint",
        "hint done",
        "join",
        "void",
        "drop",
        "recovery from a crash",
    ];
    let compaction = ["compaction: copy, install", "compaction: retire"];
    for step in steps.into_iter().chain(compaction) {
        assert!(states.of_step(step) > 0, "no crash in {step}:\n{states}");
    }
    for place in ["roll, output", "key file", "checkpoint", "manifest", "segment made", "names", "data keys"] {
        assert!(states.of_place(place) > 0, "no crash in a call about the {place}:\n{states}");
    }
}

#[test]
fn the_same_seed_gives_the_same_states() {
    assert_eq!(enumerate(3, 500).0, enumerate(3, 500).0);
}
