//! Small quick cases, so that a broken detector is noticed before a long run is.

use super::{Case, World};
use std::time::Duration;

fn watched(case: Case) -> World {
    let length = case.length;
    let mut world = World::new(case);
    world.run(length);
    world
}

/// Rule: with 5 % loss every death is known by all within ten seconds, and nobody living is condemned.
#[test]
fn deaths_are_known_and_nobody_is_condemned() {
    let minute = Case {
        nodes: 50,
        length: Duration::from_secs(60),
        loss: 0.05,
        death_every: Duration::from_secs(10),
        ..Case::default()
    };
    let figures = watched(minute).figures();
    assert!(figures.deaths >= 5 && figures.missed == 0, "{figures}");
    assert!(figures.p99 <= Duration::from_secs(10), "{figures}");
    assert_eq!(figures.false_deaths, 0, "{figures}");
}

/// Rule: nodes that stand still for a second or two condemn nobody and are not condemned.
#[test]
fn short_stalls_kill_nobody() {
    let stalls = Case {
        nodes: 50,
        length: Duration::from_secs(120),
        stalling: 0.1,
        longest_stall: Duration::from_secs(2),
        ..Case::default()
    };
    let figures = watched(stalls).figures();
    assert!(figures.false_suspicions > 0, "nobody was even suspected: {figures}");
    assert_eq!(figures.false_deaths, 0, "{figures}");
}

/// Rule: a partition of five minutes heals by itself, soon after the network does.
#[test]
fn five_minutes_of_partition_heal() {
    for (nodes, one) in [(5, 2), (50, 25), (50, 1)] {
        let hour = Duration::from_secs(3600);
        let mut world = World::new(Case { nodes, death_every: hour, seed: 3, ..Case::default() });
        world.divide(one);
        world.run(Duration::from_secs(300));
        assert!(world.wrongs_somebody(), "{nodes} nodes: the partition was not noticed");
        world.heal();
        world.run(Duration::from_secs(15));
        assert!(world.agrees(), "{nodes} nodes, {one} of them apart");
    }
}

/// Rule: the case decides the figures.
#[test]
fn the_same_case_gives_the_same_figures() {
    let case = |seed| Case {
        nodes: 20,
        length: Duration::from_secs(60),
        loss: 0.1,
        stalling: 0.1,
        death_every: Duration::from_secs(20),
        seed,
        ..Case::default()
    };
    let first = watched(case(5)).figures();
    assert_eq!(first, watched(case(5)).figures());
    assert_ne!(first, watched(case(6)).figures());
}
