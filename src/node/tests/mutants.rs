//! Rules of the protocol broken in turn that whole simulated clusters show rarely or never: the tests of this
//! directory must notice. Built with the feature `mutants`.

use super::{damage, exchange, hints, layout_changes, reads, writes};
use crate::base::Mutation;
use crate::base::mutation::activate;
use std::panic::catch_unwind;

fn caught(mutation: Mutation, by: fn()) {
    by();
    activate(Some(mutation));
    let outcome = catch_unwind(by);
    activate(None);
    assert!(outcome.is_err(), "{mutation:?} went unnoticed");
}

#[test]
fn a_join_after_the_first_answer_is_noticed() {
    caught(Mutation::JoinOnBudget, exchange::nothing_is_joined_before_the_last_of_many_answers);
}

#[test]
fn a_record_for_each_hint_is_noticed() {
    caught(Mutation::HintRecordEach, writes::a_fallback_coordinates_when_no_primary_is_up_with_one_record_for_all);
}

#[test]
fn an_acknowledgement_of_a_lost_disk_is_noticed() {
    caught(Mutation::AckOldDisk, exchange::an_acknowledgement_of_a_disk_lost_since_is_dropped);
}

#[test]
fn a_hint_dropped_when_sent_is_noticed() {
    caught(Mutation::HintDropOnSend, hints::a_hint_goes_when_its_target_says_durable_and_not_before);
}

#[test]
fn a_replica_complete_after_one_source_is_noticed() {
    caught(Mutation::OneSource, exchange::a_wiped_replica_is_complete_after_two_full_listings);
}

#[test]
fn a_filling_replica_that_counts_is_noticed() {
    caught(Mutation::WipedCountsAtOnce, reads::a_filling_replica_does_not_count);
}

#[test]
fn a_listing_forgotten_before_its_join_is_noticed() {
    caught(Mutation::ListingForgotten, exchange::a_write_that_comes_late_into_a_listing_stays_deleted);
}

#[test]
fn a_clock_kept_after_a_repair_is_noticed() {
    caught(Mutation::RepairKeepsClock, damage::a_lost_record_comes_back_from_the_others);
}

#[test]
fn a_read_by_a_version_that_is_not_complete_is_noticed() {
    caught(Mutation::ReadUnsynced, layout_changes::a_read_goes_by_the_version_whose_data_is_complete);
}

#[test]
fn a_gained_partition_that_counts_at_once_is_noticed() {
    caught(Mutation::GainedCountsAtOnce, layout_changes::what_is_gained_counts_only_once_it_was_filled_anew);
}

#[test]
fn a_leaver_that_does_not_wait_for_the_others_is_noticed() {
    caught(Mutation::LeaverUncovered, layout_changes::a_leaver_stays_until_a_majority_of_the_others_has_what_it_had);
}

#[test]
fn a_session_that_outlives_its_clock_is_noticed() {
    caught(Mutation::SessionOutlivesVoid, layout_changes::a_session_does_not_outlive_the_clock_it_was_begun_with);
}

#[test]
fn a_replica_that_takes_dots_alone_although_it_claims_too_much_is_noticed() {
    caught(Mutation::RestUnsound, layout_changes::what_survived_damage_is_listed_from_each_source);
    caught(Mutation::RestUnsound, layout_changes::what_is_left_of_another_time_is_listed_from_each_source);
    caught(Mutation::RestUnsound, layout_changes::after_a_page_of_a_filling_source_each_source_is_listed);
}

#[test]
fn an_answer_of_before_that_counts_is_noticed() {
    caught(Mutation::StaleRound, layout_changes::a_clock_of_before_does_not_make_its_source_count);
}
