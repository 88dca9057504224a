//! The mutation gate: with one rule broken on purpose, some seed must fail.
//!
//! A suite that passes proves little unless it is known to fail. Each deliberate fault of the core is
//! switched on in turn and seeds are run until one of them notices.

use super::{DunlinMachine, Report, Voice, run};
use dunlin::base::Mutation;
use dunlin::base::mutation::activate;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Faults that no simulated cluster shows, or only one of thousands, and the test that shows each. Those of
/// `node`, `store` and `causal` run by `cargo test -p dunlin --no-default-features --features mutants --lib`, those
/// of `crash` by `cargo test --release -p chaos --no-default-features --features mutants --test crash`.
pub const ELSEWHERE: &[(Mutation, &str)] = &[
    (Mutation::JoinOnBudget, "node::tests::mutants::a_join_after_the_first_answer_is_noticed"),
    (Mutation::ListingForgotten, "node::tests::mutants::a_listing_forgotten_before_its_join_is_noticed"),
    (Mutation::HintDropOnSend, "node::tests::mutants::a_hint_dropped_when_sent_is_noticed"),
    (Mutation::HintRecordEach, "node::tests::mutants::a_record_for_each_hint_is_noticed"),
    (Mutation::WipedCountsAtOnce, "node::tests::mutants::a_filling_replica_that_counts_is_noticed"),
    (Mutation::AckOldDisk, "node::tests::mutants::an_acknowledgement_of_a_lost_disk_is_noticed"),
    (Mutation::OneSource, "node::tests::mutants::a_replica_complete_after_one_source_is_noticed"),
    (Mutation::DamageKeepClock, "crash: mutants::a_clock_kept_after_damage_is_noticed"),
    (Mutation::DamageSubtractLive, "crash: mutants::a_clock_kept_after_damage_is_noticed (the store does the same)"),
    (Mutation::DiskPositionOrder, "store::open::tests::recovery_by_position_is_noticed"),
    (Mutation::DiskNoPrefix, "crash: mutants::records_taken_from_behind_a_gap_are_noticed"),
    (Mutation::TruncateAtFirstBadRecord, "crash: mutants::a_log_cut_at_its_first_bad_record_is_noticed"),
    (Mutation::ChecksumWithoutOffset, "crash: mutants::a_checksum_that_does_not_know_its_place_is_noticed"),
    (Mutation::SkipDirectorySync, "crash: mutants::names_that_are_never_synced_are_noticed"),
    (Mutation::AnswerBeforeSync, "crash: mutants::an_answer_before_the_sync_is_noticed"),
    (Mutation::CompactDropsDeletes, "crash: mutants::a_delete_dropped_over_an_older_record_is_noticed"),
    (Mutation::CompactBeforeDurable, "crash: mutants::records_dropped_before_their_copies_are_durable_are_noticed"),
    (Mutation::CompactByPosition, "crash: mutants::copies_that_pass_for_new_records_are_noticed"),
    (Mutation::BackupUnsynced, "crash: mutants::a_backup_of_what_is_not_yet_durable_is_noticed"),
    (Mutation::DropForgotten, "crash: mutants::keys_of_a_dropped_partition_that_come_back_are_noticed"),
    (Mutation::RepairKeepsActor, "store::renewal::tests::an_actor_kept_by_a_repair_is_noticed"),
    (Mutation::RepairKeepsClock, "node::tests::mutants::a_clock_kept_after_a_repair_is_noticed"),
    (Mutation::ReadUnsynced, "node::tests::mutants::a_read_by_a_version_that_is_not_complete_is_noticed"),
    (Mutation::GainedCountsAtOnce, "node::tests::mutants::a_gained_partition_that_counts_at_once_is_noticed"),
    (Mutation::LeaverUncovered, "node::tests::mutants::a_leaver_that_does_not_wait_for_the_others_is_noticed"),
    (Mutation::SessionOutlivesVoid, "node::tests::mutants::a_session_that_outlives_its_clock_is_noticed"),
    (Mutation::StaleRound, "node::tests::mutants::an_answer_of_before_that_counts_is_noticed"),
    (
        Mutation::RestUnsound,
        "node::tests::mutants::a_replica_that_takes_dots_alone_although_it_claims_too_much_is_noticed",
    ),
    (Mutation::ListingSkips, "replication::cover::tests::a_page_that_goes_beyond_one_of_its_parts_is_noticed"),
    (Mutation::TokenNotVerified, "causal::token::tests::a_token_taken_unverified_is_noticed"),
];

/// What became of one fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hunt {
    /// This seed noticed: the promise it saw broken, and how many seeds it took.
    Caught {
        /// The first seed that failed.
        seed: u64,
        /// How many seeds were run.
        runs: u64,
        /// What it said.
        promise: String,
    },
    /// None of so many seeds did.
    Survived {
        /// How many seeds were run.
        runs: u64,
    },
}

/// Runs seeds `first..first + limit` with this rule broken until one fails that holds with every rule kept.
pub fn hunt(mutation: Mutation, first: u64, limit: u64) -> Hunt {
    let found = (first..first + limit).find_map(|seed| {
        let promise = attempt(Some(mutation), seed)?;
        attempt(None, seed).is_none().then_some((seed, promise))
    });
    match found {
        Some((seed, promise)) => Hunt::Caught { seed, runs: seed - first + 1, promise },
        None => Hunt::Survived { runs: limit },
    }
}

/// The first promise that a seed sees broken, with this rule broken or none.
fn attempt(mutation: Option<Mutation>, seed: u64) -> Option<String> {
    activate(mutation);
    // A core that panics under a fault has noticed it, too.
    let outcome = catch_unwind(AssertUnwindSafe(|| run(seed, &DunlinMachine::build, Voice::Quiet)));
    activate(None);
    promise_broken(outcome.ok())
}

fn promise_broken(report: Option<Report>) -> Option<String> {
    match report {
        None => Some("no panic".into()),
        Some(report) => report.broken.first().map(|broken| broken.promise.to_owned()),
    }
}

/// Where a fault is noticed if not here.
pub fn elsewhere(mutation: Mutation) -> Option<&'static str> {
    ELSEWHERE.iter().find(|(other, _)| *other == mutation).map(|(_, place)| *place)
}
