//! What came of a request, told apart by what it means for the promises.

use super::fleet::node_of;
use dunlin::client::{Answer, ClientError};
use serde::Serialize;

/// What a client saw of one PUT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// An answer.
    Status(u16),
    /// 504, and whom the node had passed the write on to without hearing of it again.
    LostAt(usize),
    /// No connection: nothing was sent.
    Unreachable,
    /// The connection broke, or nothing came in time.
    NoAnswer,
}

/// Was the node that had the request (the one asked, or the one it was passed on to) killed while the
/// request was open, or down before?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It lived all the time.
    Lived,
    /// It did not.
    Killed,
}

/// What came of a PUT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is durable.
    Acknowledged,
    /// It failed.
    Failed(Class, Doubt),
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Class {
    /// It was in flight at a node that was killed: expected, and retried elsewhere.
    AtKilled,
    /// A living node answered 504 and named a killed node, which it had passed the request on to: in flight
    /// at the killed node too, and retried elsewhere.
    PassedToKilled,
    /// A living node answered that nothing was written (503, 429).
    NotWritten,
    /// A living node answered that the outcome is unknown (504), or did not answer.
    Unknown,
    /// A living node answered anything else: wrong whatever happens to the cluster.
    Rejected,
}

impl Class {
    /// Is it explained by a kill alone? Everything else failed at a living node.
    pub(super) fn excused(self) -> bool {
        matches!(self, Class::AtKilled | Class::PassedToKilled)
    }
}

/// May a write that failed have happened?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Doubt {
    /// It must never appear.
    NothingWritten,
    /// It may or may not have happened.
    InDoubt,
}

impl Seen {
    /// What a client's result means.
    pub(super) fn of(result: &Result<Answer, ClientError>) -> Seen {
        match result {
            Ok(answer) => lost_at(answer).map_or(Seen::Status(answer.status.as_u16()), Seen::LostAt),
            Err(ClientError::Unreachable { .. } | ClientError::Url(_) | ClientError::Request(_)) => Seen::Unreachable,
            Err(ClientError::Broken { .. } | ClientError::TimedOut { .. }) => Seen::NoAnswer,
        }
    }
}

/// The node that a 504 names as the one that kept silent.
fn lost_at(answer: &Answer) -> Option<usize> {
    if answer.status.as_u16() != 504 || answer.code().as_deref() != Some("outcome_unknown") {
        return None;
    }
    node_of(answer.json()?.get("coordinator")?.as_str()?)
}

/// Sorts a PUT's result. Whatever a node answered counts as its answer, even if it was killed right after.
pub(super) fn classify(seen: Seen, fate: Fate) -> Outcome {
    match (seen, fate) {
        (Seen::Status(201 | 204), _) => Outcome::Acknowledged,
        (Seen::Status(503 | 429), _) => Outcome::Failed(Class::NotWritten, Doubt::NothingWritten),
        (Seen::Status(504), _) => Outcome::Failed(Class::Unknown, Doubt::InDoubt),
        (Seen::LostAt(_), Fate::Killed) => Outcome::Failed(Class::PassedToKilled, Doubt::InDoubt),
        (Seen::LostAt(_), Fate::Lived) => Outcome::Failed(Class::Unknown, Doubt::InDoubt),
        // 4xx and 507 say "not done", a bare 500 says nothing.
        (Seen::Status(400..=499 | 507), _) => Outcome::Failed(Class::Rejected, Doubt::NothingWritten),
        (Seen::Status(_), _) => Outcome::Failed(Class::Rejected, Doubt::InDoubt),
        (Seen::Unreachable, Fate::Killed) => Outcome::Failed(Class::AtKilled, Doubt::NothingWritten),
        (Seen::NoAnswer, Fate::Killed) => Outcome::Failed(Class::AtKilled, Doubt::InDoubt),
        (Seen::Unreachable, Fate::Lived) => Outcome::Failed(Class::Unknown, Doubt::NothingWritten),
        (Seen::NoAnswer, Fate::Lived) => Outcome::Failed(Class::Unknown, Doubt::InDoubt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin::client::StatusCode;

    #[test]
    fn only_what_broke_at_a_killed_node_is_excused() {
        let class = |seen, fate| match classify(seen, fate) {
            Outcome::Failed(class, _) => Some(class),
            Outcome::Acknowledged => None,
        };
        assert_eq!(class(Seen::Status(201), Fate::Killed), None);
        assert_eq!(class(Seen::Status(204), Fate::Lived), None);
        assert_eq!(class(Seen::NoAnswer, Fate::Killed), Some(Class::AtKilled));
        assert_eq!(class(Seen::Unreachable, Fate::Killed), Some(Class::AtKilled));
        assert_eq!(class(Seen::NoAnswer, Fate::Lived), Some(Class::Unknown));
        assert_eq!(class(Seen::Unreachable, Fate::Lived), Some(Class::Unknown));
        assert_eq!(class(Seen::Status(504), Fate::Killed), Some(Class::Unknown));
        assert_eq!(class(Seen::LostAt(1), Fate::Killed), Some(Class::PassedToKilled));
        assert_eq!(class(Seen::LostAt(1), Fate::Lived), Some(Class::Unknown));
        assert_eq!(class(Seen::Status(503), Fate::Killed), Some(Class::NotWritten));
        assert_eq!(class(Seen::Status(500), Fate::Killed), Some(Class::Rejected));
        assert_eq!(class(Seen::Status(200), Fate::Lived), Some(Class::Rejected));
    }

    #[test]
    fn a_write_is_in_doubt_unless_it_cannot_have_happened() {
        let doubt = |seen, fate| match classify(seen, fate) {
            Outcome::Failed(_, doubt) => Some(doubt),
            Outcome::Acknowledged => None,
        };
        for fate in [Fate::Lived, Fate::Killed] {
            assert_eq!(doubt(Seen::Status(503), fate), Some(Doubt::NothingWritten));
            assert_eq!(doubt(Seen::Status(507), fate), Some(Doubt::NothingWritten));
            assert_eq!(doubt(Seen::Unreachable, fate), Some(Doubt::NothingWritten));
            assert_eq!(doubt(Seen::Status(504), fate), Some(Doubt::InDoubt));
            assert_eq!(doubt(Seen::LostAt(1), fate), Some(Doubt::InDoubt));
            assert_eq!(doubt(Seen::Status(500), fate), Some(Doubt::InDoubt));
            assert_eq!(doubt(Seen::NoAnswer, fate), Some(Doubt::InDoubt));
        }
    }

    #[test]
    fn only_a_504_of_unknown_outcome_names_who_kept_silent() {
        let seen = |status: u16, body: &'static str| {
            let status = StatusCode::from_u16(status).unwrap();
            Seen::of(&Ok(Answer { status, headers: Default::default(), body: body.into() }))
        };
        assert_eq!(seen(504, r#"{"code":"outcome_unknown","coordinator":"node3"}"#), Seen::LostAt(2));
        assert_eq!(seen(504, r#"{"code":"outcome_unknown"}"#), Seen::Status(504));
        assert_eq!(seen(504, r#"{"code":"other","coordinator":"node3"}"#), Seen::Status(504));
        assert_eq!(seen(504, r#"{"code":"outcome_unknown","coordinator":"else"}"#), Seen::Status(504));
        assert_eq!(seen(503, r#"{"code":"outcome_unknown","coordinator":"node3"}"#), Seen::Status(503));
    }
}
