//! The way from drivers and operators to the node's control, which runs on a thread of its own.

use crate::base::NodeId;
use crate::node::{ApplyError, ControlInput, Transfers};
use crate::replication::LayoutMessage;
use crate::ring::Layout;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Messages about layouts that may wait for the control: some rounds of gossip of a large cluster. Further ones are
/// lost, as the network loses them.
const MAX_WAITING_MESSAGES: usize = 256;

/// What is put to the control.
#[derive(Debug)]
pub(super) enum ToControl {
    /// Something has happened.
    Input(ControlInput),
    /// An operator wants this layout.
    Apply {
        /// Planned from this version.
        expected: u64,
        /// The next.
        layout: Arc<Layout>,
        /// Who is told how it ended.
        answer: oneshot::Sender<Result<(), ApplyError>>,
    },
}

/// The sender's end. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct ControlHandle {
    messages: mpsc::Sender<ToControl>,
    /// Never lost: each shard reports a revision once. There are few of them, so that the queue stays short.
    reports: mpsc::UnboundedSender<ControlInput>,
}

/// The control's end.
#[derive(Debug)]
pub(super) struct ControlInbox {
    messages: mpsc::Receiver<ToControl>,
    reports: mpsc::UnboundedReceiver<ControlInput>,
}

/// Both ends.
pub(super) fn control_channel() -> (ControlHandle, ControlInbox) {
    let (to_messages, messages) = mpsc::channel(MAX_WAITING_MESSAGES);
    let (to_reports, reports) = mpsc::unbounded_channel();
    (ControlHandle { messages: to_messages, reports: to_reports }, ControlInbox { messages, reports })
}

impl ControlHandle {
    /// A peer's message.
    pub(super) fn message(&self, from: NodeId, message: LayoutMessage) {
        // Best effort, like every message.
        let _ = self.messages.try_send(ToControl::Input(ControlInput::Layout { from, message }));
    }

    /// A shard's report.
    pub(super) fn report(&self, input: ControlInput) {
        // A control that is gone has ended the process.
        let _ = self.reports.send(input);
    }

    /// An operator stops transfers, or lets them go on; none if the control is gone.
    pub(super) async fn order(&self, transfers: Transfers) -> Option<()> {
        self.messages.send(ToControl::Input(ControlInput::Transfers(transfers))).await.ok()
    }

    /// An operator's change; none if the control is gone or has too much to do.
    pub(super) async fn apply(&self, expected: u64, layout: Layout) -> Option<Result<(), ApplyError>> {
        let (answer, answered) = oneshot::channel();
        self.messages.send(ToControl::Apply { expected, layout: Arc::new(layout), answer }).await.ok()?;
        answered.await.ok()
    }
}

impl ControlInbox {
    /// The next thing; none once nobody can send any more.
    pub(super) async fn next(&mut self) -> Option<ToControl> {
        tokio::select! {
            Some(report) = self.reports.recv() => Some(ToControl::Input(report)),
            Some(message) = self.messages.recv() => Some(message),
            else => None,
        }
    }
}
