//! Each rule of the store broken in turn: the tests must notice. Built with the feature `mutants`.

use crate::{backup, compaction, damage, power, states};
use dunlin::base::Mutation;
use dunlin::base::mutation::activate;
use std::panic::catch_unwind;

fn caught(mutation: Mutation, by: fn()) {
    activate(Some(mutation));
    let outcome = catch_unwind(by);
    activate(None);
    assert!(outcome.is_err(), "{mutation:?} went unnoticed");
}

#[test]
fn names_that_are_never_synced_are_noticed() {
    caught(Mutation::SkipDirectorySync, power::every_crash_leaves_a_prefix_that_holds_what_was_acknowledged);
}

#[test]
fn crash_states_show_names_that_are_never_synced() {
    caught(Mutation::SkipDirectorySync, states::no_crash_state_loses_or_resurrects_anything);
}

#[test]
fn an_answer_before_the_sync_is_noticed() {
    caught(Mutation::AnswerBeforeSync, states::no_crash_state_loses_or_resurrects_anything);
    caught(Mutation::AnswerBeforeSync, power::every_crash_leaves_a_prefix_that_holds_what_was_acknowledged);
}

#[test]
fn records_taken_from_behind_a_gap_are_noticed() {
    caught(Mutation::DiskNoPrefix, power::every_crash_leaves_a_prefix_that_holds_what_was_acknowledged);
}

#[test]
fn counters_forgotten_at_a_restart_are_noticed() {
    caught(Mutation::CounterReuse, power::every_crash_leaves_a_prefix_that_holds_what_was_acknowledged);
}

#[test]
fn counters_taken_from_the_hints_still_held_are_noticed() {
    caught(Mutation::CounterFromHints, power::every_crash_leaves_a_prefix_that_holds_what_was_acknowledged);
}

#[test]
fn a_log_cut_at_its_first_bad_record_is_noticed() {
    caught(Mutation::TruncateAtFirstBadRecord, damage::a_torn_tail_is_told_from_damage_in_the_midst);
    caught(Mutation::TruncateAtFirstBadRecord, damage::every_flipped_byte_of_a_crashed_store_is_noticed_or_harmless);
}

#[test]
fn a_checksum_that_does_not_know_its_place_is_noticed() {
    caught(Mutation::ChecksumWithoutOffset, damage::a_block_that_belongs_elsewhere_is_an_error_to_a_reader);
}

#[test]
fn keys_of_a_dropped_partition_that_come_back_are_noticed() {
    caught(Mutation::DropForgotten, compaction::every_crash_while_compacting_leaves_what_was_acknowledged);
    caught(Mutation::DropForgotten, states::no_crash_state_loses_or_resurrects_anything);
}

#[test]
fn a_copy_that_keeps_its_actor_is_noticed() {
    caught(Mutation::ReuseActorAfterWipe, damage::a_copied_directory_claims_only_what_it_has);
}

#[test]
fn a_clock_kept_after_damage_is_noticed() {
    caught(Mutation::DamageKeepClock, damage::every_lost_file_is_noticed);
    caught(Mutation::DamageSubtractLive, damage::every_lost_file_is_noticed);
}

#[test]
fn a_delete_dropped_over_an_older_record_is_noticed() {
    caught(Mutation::CompactDropsDeletes, compaction::a_delete_stays_while_an_older_record_of_its_key_is_left);
}

#[test]
fn records_dropped_before_their_copies_are_durable_are_noticed() {
    caught(Mutation::CompactBeforeDurable, compaction::every_crash_while_compacting_leaves_what_was_acknowledged);
}

#[test]
fn copies_that_pass_for_new_records_are_noticed() {
    caught(Mutation::CompactByPosition, compaction::copies_rank_as_what_they_are_copies_of);
}

#[test]
fn a_backup_of_what_is_not_yet_durable_is_noticed() {
    caught(Mutation::BackupUnsynced, backup::nothing_is_in_a_backup_that_its_source_may_still_lose);
}
