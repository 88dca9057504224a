//! Whether anybody waits for the node: what can wait goes gently then, and fast otherwise.

use super::Input;
use crate::base::Time;
use crate::replication::{Clients, Message};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Without a command of a client for so long, nobody is there to be disturbed.
const QUIET_AFTER: Duration = Duration::from_secs(1);

/// When a client last wanted something of any shard of this node. Shared by all its shards, and by the threads that
/// look after its store.
#[derive(Debug, Clone, Default)]
pub struct Presence {
    /// Microseconds, one more than the instant; 0 for never.
    came: Arc<AtomicU64>,
}

impl Presence {
    /// Takes note of an input, if somebody waits for what it begins.
    pub(super) fn note(&self, now: Time, input: &Input) {
        if is_of_a_client(input) {
            self.came.fetch_max(now.0.saturating_add(1), Ordering::Relaxed);
        }
    }

    /// Are clients served at this instant?
    pub fn clients(&self, now: Time) -> Clients {
        match self.came.load(Ordering::Relaxed).checked_sub(1) {
            Some(came) if now.since(Time(came)) < QUIET_AFTER => Clients::Served,
            _ => Clients::Absent,
        }
    }
}

/// A command, or the part of one that another node coordinates. Hand-offs of hints pass for it, too.
fn is_of_a_client(input: &Input) -> bool {
    match input {
        Input::Command { .. } | Input::List { .. } => true,
        Input::Message { message, .. } => matches!(
            message,
            Message::Forward { .. } | Message::Read { .. } | Message::Replicate { .. } | Message::List { .. }
        ),
        _ => false,
    }
}

/// Something that a client waits for.
#[cfg(test)]
pub(super) fn wish_of_a_client() -> Input {
    use crate::base::{Key, NodeId};
    let key = Key::new("k").expect("a short key");
    let message = Message::Read { request: 1, key, known: None, want: crate::replication::Want::Values, layout: 1 };
    Input::Message { from: NodeId(1), message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::NodeId;
    use crate::replication::{Failure, Outcome};

    #[test]
    fn clients_are_there_for_a_second_after_what_they_wanted() {
        let presence = Presence::default();
        let seconds = |seconds: u64| Time(seconds * 1_000_000);
        assert_eq!(presence.clients(seconds(5)), Clients::Absent);
        let outcome = Outcome::Failed(Failure::NotReady);
        let message = Message::Forwarded { request: 1, outcome };
        presence.clone().note(seconds(5), &Input::Message { from: NodeId(1), message });
        assert_eq!(presence.clients(seconds(5)), Clients::Absent, "an answer is none");
        presence.clone().note(seconds(5), &wish_of_a_client());
        assert_eq!(presence.clients(Time(5_999_999)), Clients::Served);
        assert_eq!(presence.clients(seconds(6)), Clients::Absent);
    }
}
