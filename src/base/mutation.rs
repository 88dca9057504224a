//! Deliberate faults, one rule broken at a time, so that tests can show they would notice.
//!
//! Built only with the feature `mutants`; otherwise [`broken`] is a constant `false` and the faults
//! are not in the program. A mutation is switched on per thread, which suits the simulator.

/// One rule of PROTOCOL.md broken on purpose. Names are those of the models where they have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the name is the fault; `Mutation::rule` says which rule it breaks")]
pub enum Mutation {
    SendBeforeDurable,
    BaseOverclaim,
    NoClockOnDelete,
    ClockNewerThanObject,
    LateJoinClock,
    CounterReuse,
    DropHintEarly,
    ReadPendingClock,
    ExchangePendingClock,
    JoinFirst,
    JoinOnBudget,
    NoAbsentKeys,
    ListingForgotten,
    PutTokenFull,
    AppendFailMiddle,
    AppendFailKeepsSessions,
    HintDropOnSend,
    HintRecordEach,
    CounterFromHints,
    ReuseActorAfterWipe,
    WipedCountsAtOnce,
    AckOldDisk,
    OneSource,
    DamageKeepClock,
    DamageSubtractLive,
    DiskPositionOrder,
    DiskNoPrefix,
    CountHintHolderTwice,
    NotFoundOnReadError,
    TruncateAtFirstBadRecord,
    ChecksumWithoutOffset,
    SkipDirectorySync,
    AnswerBeforeSync,
    CompactDropsDeletes,
    CompactBeforeDurable,
    CompactByPosition,
    BackupUnsynced,
    TimeoutAsNotWritten,
    TokenNotVerified,
    RepairKeepsActor,
    RepairKeepsClock,
    ListingSkips,
    WriteNewestOnly,
    ReadUnsynced,
    GiveUpUnconfirmed,
    GainedCountsAtOnce,
    LeaverUncovered,
    SessionOutlivesVoid,
    RestUnsound,
    StaleRound,
    DropForgotten,
}

impl Mutation {
    /// Every mutation, in the order of the list.
    pub const ALL: &'static [(Mutation, &'static str, &'static str)] = &[
        (Mutation::SendBeforeDurable, "send-before-durable", "R1"),
        (Mutation::BaseOverclaim, "base-overclaim", "contexts are exact sets"),
        (Mutation::NoClockOnDelete, "no-clock-on-delete", "deletes have dots"),
        (Mutation::ClockNewerThanObject, "clock-newer-than-object", "R1"),
        (Mutation::LateJoinClock, "late-join-clock", "R2"),
        (Mutation::CounterReuse, "counter-reuse", "R9"),
        (Mutation::DropHintEarly, "drop-hint-early", "R5"),
        (Mutation::ReadPendingClock, "read-pending-clock", "R1"),
        (Mutation::ExchangePendingClock, "exchange-pending-clock", "R1"),
        (Mutation::JoinFirst, "join-first", "R2"),
        (Mutation::JoinOnBudget, "join-on-budget", "R2"),
        (Mutation::NoAbsentKeys, "no-absent-keys", "R7"),
        (Mutation::ListingForgotten, "listing-forgotten", "R7"),
        (Mutation::PutTokenFull, "put-token-full", "R4"),
        (Mutation::AppendFailMiddle, "append-fail-middle", "R3"),
        (Mutation::AppendFailKeepsSessions, "append-fail-keeps-sessions", "R3"),
        (Mutation::HintDropOnSend, "hint-drop-on-send", "R5"),
        (Mutation::HintRecordEach, "hint-record-each", "R11"),
        (Mutation::CounterFromHints, "counter-from-hints", "R9"),
        (Mutation::ReuseActorAfterWipe, "reuse-actor-after-wipe", "R9"),
        (Mutation::WipedCountsAtOnce, "wiped-counts-at-once", "R6"),
        (Mutation::AckOldDisk, "ack-old-disk", "R5"),
        (Mutation::OneSource, "one-source", "R6"),
        (Mutation::DamageKeepClock, "damage-keep-clock", "R8"),
        (Mutation::DamageSubtractLive, "damage-subtract-live", "R8"),
        (Mutation::DiskPositionOrder, "disk-position-order", "R12"),
        (Mutation::DiskNoPrefix, "disk-no-prefix", "R12"),
        (Mutation::CountHintHolderTwice, "count-hint-holder-twice", "invariant 3"),
        (Mutation::NotFoundOnReadError, "not-found-on-read-error", "invariant 1"),
        (Mutation::TruncateAtFirstBadRecord, "truncate-at-first-bad-record", "torn-tail rule"),
        (Mutation::ChecksumWithoutOffset, "checksum-without-offset", "record framing"),
        (Mutation::SkipDirectorySync, "skip-directory-sync", "durable file names"),
        (Mutation::AnswerBeforeSync, "answer-before-sync", "P1"),
        (Mutation::CompactDropsDeletes, "compact-drops-deletes", "R12"),
        (Mutation::CompactBeforeDurable, "compact-before-durable", "R12"),
        (Mutation::CompactByPosition, "compact-by-position", "R12"),
        (Mutation::BackupUnsynced, "backup-unsynced", "R1"),
        (Mutation::TimeoutAsNotWritten, "timeout-as-not-written", "P11"),
        (Mutation::TokenNotVerified, "token-not-verified", "tokens are authenticated"),
        (Mutation::RepairKeepsActor, "repair-keeps-actor", "R8"),
        (Mutation::RepairKeepsClock, "repair-keeps-clock", "R8"),
        (Mutation::ListingSkips, "listing-skips", "P3"),
        (Mutation::WriteNewestOnly, "write-newest-only", "invariant 9"),
        (Mutation::ReadUnsynced, "read-unsynced", "invariant 9"),
        (Mutation::GiveUpUnconfirmed, "give-up-unconfirmed", "R6"),
        (Mutation::GainedCountsAtOnce, "gained-counts-at-once", "R6"),
        (Mutation::LeaverUncovered, "leaver-uncovered", "R6"),
        (Mutation::SessionOutlivesVoid, "session-outlives-void", "R7"),
        (Mutation::RestUnsound, "rest-unsound", "R6"),
        (Mutation::StaleRound, "stale-round", "R6"),
        (Mutation::DropForgotten, "drop-forgotten", "R12"),
    ];

    /// The mutation of this name.
    pub fn named(name: &str) -> Option<Mutation> {
        Self::ALL.iter().find(|(_, n, _)| *n == name).map(|(m, _, _)| *m)
    }
}

#[cfg(feature = "mutants")]
mod switch {
    use super::Mutation;
    use std::cell::Cell;

    thread_local!(static ACTIVE: Cell<Option<Mutation>> = const { Cell::new(None) });

    /// Breaks one rule on this thread, or none.
    pub fn activate(mutation: Option<Mutation>) {
        ACTIVE.set(mutation);
    }

    /// Is this rule broken on this thread?
    pub fn broken(mutation: Mutation) -> bool {
        ACTIVE.get() == Some(mutation)
    }
}

#[cfg(feature = "mutants")]
pub use switch::{activate, broken};

/// Is this rule broken on this thread? Without the feature `mutants`: never.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn broken(_: Mutation) -> bool {
    false
}
