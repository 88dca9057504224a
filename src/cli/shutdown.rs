//! When a process is asked to end.

use std::io::{self, Read};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Exit status after a second signal: the shells' number for "interrupted".
const INTERRUPTED: i32 = 130;

/// Does the process end with the one that started it?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parent {
    /// It lives on.
    Outlived,
    /// It ends when its standard input does, which the parent holds open.
    Followed,
}

/// SIGTERM and SIGINT, from the moment it is made.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over. Needs a tokio runtime.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next of them.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Returns once a node should end. A second signal ends the process at once.
pub(super) async fn requested(mut signals: Signals, parent: Parent) {
    tokio::select! {
        () = signals.next() => {}
        () = end_of_input(parent) => {}
    }
    tokio::spawn(async move {
        signals.next().await;
        std::process::exit(INTERRUPTED);
    });
}

async fn end_of_input(parent: Parent) {
    if parent == Parent::Outlived {
        return std::future::pending().await;
    }
    let (ended, end) = oneshot::channel();
    // A thread of its own: tokio's standard input would keep the runtime from ending.
    std::thread::spawn(move || {
        let mut byte = [0];
        while io::stdin().read(&mut byte).is_ok_and(|length| length > 0) {}
        let _ = ended.send(());
    });
    let _ = end.await;
}
