//! The threads of the shards after the first, which runs where the node does.
//!
//! Each has a runtime of its own, with a driver and its share of the clients' connections. They end before the first
//! shard's driver, which closes the log behind their last appends.

use super::driver::{Driver, Ended};
use super::http::{self, Dealt, HttpState};
use super::serve_error::ServeError;
use super::server::EXIT_PATIENCE;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// The threads.
pub(super) struct ShardThreads {
    /// Held by each thread's HTTP until its connections are closed.
    serving: mpsc::Receiver<Infallible>,
    stop: watch::Sender<bool>,
    /// Held by each driver until it ends.
    running: mpsc::Receiver<Infallible>,
}

/// What the first shard's thread gets of the others.
pub(super) struct Started {
    pub(super) threads: ShardThreads,
    /// For its own HTTP to hold until its connections are closed.
    pub(super) serving: mpsc::Sender<Infallible>,
    /// Why a thread ended that nobody has stopped.
    pub(super) failures: mpsc::Receiver<Ended>,
}

/// What one thread runs.
pub(super) struct ShardWork {
    pub(super) driver: Driver,
    pub(super) dealt: mpsc::Receiver<Dealt>,
}

/// A thread's share of the signals.
struct Signals {
    stop: watch::Receiver<bool>,
    running: mpsc::Sender<Infallible>,
    serving: mpsc::Sender<Infallible>,
    failed: mpsc::Sender<Ended>,
}

impl ShardThreads {
    /// Starts them.
    pub(super) fn start(work: Vec<ShardWork>, state: &Arc<HttpState>) -> Result<Started, ServeError> {
        let (stop, stopped) = watch::channel(false);
        let (running, all_ended) = mpsc::channel(1);
        let (serving, all_served) = mpsc::channel(1);
        // The first failure ends the process.
        let (failed, failures) = mpsc::channel(1);
        for ShardWork { driver, dealt } in work {
            let signals = Signals {
                stop: stopped.clone(),
                running: running.clone(),
                serving: serving.clone(),
                failed: failed.clone(),
            };
            let (state, name) = (Arc::clone(state), format!("shard-{}", driver.shard));
            let thread = std::thread::Builder::new().name(name);
            thread
                .spawn(move || run(driver, dealt, state, signals))
                .map_err(|error| ServeError::Failed(cannot_start(&error)))?;
        }
        let threads = ShardThreads { serving: all_served, stop, running: all_ended };
        Ok(Started { threads, serving, failures })
    }

    /// Until every client's connection is closed, on whatever thread, and the drivers have ended then.
    pub(super) async fn end(mut self) {
        self.serving.recv().await;
        self.stop.send_replace(true);
        self.running.recv().await;
    }
}

/// The runtime is made on its own thread: dropped within another it would panic.
fn run(driver: Driver, dealt: mpsc::Receiver<Dealt>, state: Arc<HttpState>, signals: Signals) {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            runtime.block_on(serve(driver, dealt, state, signals));
            runtime.shutdown_timeout(EXIT_PATIENCE);
        }
        Err(error) => {
            // Whoever was first is enough.
            let _ = signals.failed.try_send(Ended::Failed(cannot_start(&error)));
        }
    }
}

fn cannot_start(error: &std::io::Error) -> String {
    format!("cannot start a shard's thread: {error}")
}

async fn serve(driver: Driver, dealt: mpsc::Receiver<Dealt>, state: Arc<HttpState>, signals: Signals) {
    let Signals { mut stop, running, serving, failed } = signals;
    let mut served = tokio::spawn(async move {
        http::serve_dealt(dealt, state).await;
        drop(serving);
    });
    let ended = driver.run(async move {
        // A main thread that is gone stops this one, too.
        let _ = stop.wait_for(|stop| *stop).await;
    });
    match ended.await {
        Ended::Cleanly => {}
        // Whoever was first is enough.
        why => drop(failed.try_send(why)),
    }
    drop(running);
    // The answers just given are still to be written.
    if tokio::time::timeout(EXIT_PATIENCE, &mut served).await.is_err() {
        served.abort();
    }
}
