//! Thousands of clusters, each from its seed.

use super::world::{Weather, World};

/// The faults' time, in microseconds of the simulation.
const FOUL: u64 = 30_000_000;

/// How long a cluster may take to come to rest once the network is well and every operator has given up.
const PATIENCE: u64 = 90_000_000;

/// What one run came to.
#[derive(Default)]
struct Tally {
    versions: usize,
    applied: usize,
    mended: usize,
    answers: usize,
}

fn run(seed: u64) -> Result<Tally, String> {
    let mut world = World::new(seed);
    world.plan(FOUL);
    let mut until = FOUL + PATIENCE;
    let mut operator = FOUL + 12_000_000;
    while world.now.0 < until {
        if !world.step() {
            break;
        }
        if world.weather == Weather::Fair && world.now.0 >= operator && world.needs_mending() {
            world.apply();
            operator = world.now.0 + 1_000_000;
            until = world.now.0 + PATIENCE;
        }
        if world.now.0 > FOUL + 40_000_000 && world.weather == Weather::Fair && world.is_at_rest() {
            break;
        }
        if world.now.0 > FOUL + 4 * PATIENCE {
            break;
        }
    }
    world.check_answers();
    if let Some(failure) = &world.failure {
        return Err(format!("seed {seed}: {failure}\n{}", world.describe()));
    }
    if !world.is_at_rest() {
        return Err(format!("seed {seed}: no rest\n{}", world.describe()));
    }
    Ok(Tally {
        versions: world.chosen.len() - 1,
        applied: world.answers.values().filter(|answer| answer.is_ok()).count(),
        mended: usize::from(world.killed.is_some_and(|killed| world.newest().node(killed).is_none())),
        answers: world.answers.len(),
    })
}

/// Rule: whatever the network, the disks and the operators do, there is one layout per number, one operator is told
/// that it was its, nobody reads by what another has ended, nothing counts as settled or complete that is not;
/// and afterwards everyone comes to rest at the newest.
#[test]
fn clusters_agree_and_come_to_rest() {
    let seeds: u64 = std::env::var("LAYOUT_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(400);
    let begin: u64 = std::env::var("LAYOUT_BEGIN").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let (mut failures, mut total) = (Vec::new(), Tally::default());
    for seed in begin..begin + seeds {
        match run(seed) {
            Ok(tally) => {
                total.versions += tally.versions;
                total.applied += tally.applied;
                total.mended += tally.mended;
                total.answers += tally.answers;
            }
            Err(failure) => failures.push(failure),
        }
    }
    println!(
        "{} failed; {} versions, {} applied, {} answers, {} mended",
        failures.len(),
        total.versions,
        total.applied,
        total.answers,
        total.mended
    );
    let some = failures.iter().take(12).map(|failure| failure.lines().next().unwrap_or_default());
    let some: Vec<&str> = some.collect();
    assert!(failures.is_empty(), "{} of {seeds} failed:\n{}\n{}", failures.len(), some.join("\n"), failures[0]);
    assert!(total.versions as u64 > seeds, "{} versions: too little happens", total.versions);
}
