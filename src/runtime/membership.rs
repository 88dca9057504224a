//! The thread of [`Control`]: its own runtime, socket and endpoint, so that load cannot starve the detector.

use super::alarm::Alarm;
use super::control_handle::{ControlInbox, ToControl};
use super::detector::{DetectorEndpoint, Heard};
use super::kept_layouts::keep_layouts;
use super::transport::Transport;
use crate::base::{NodeId, Now, Random, Time, WallTime};
use crate::membership::{DetectorInput, MemberEvent, MemberTable};
use crate::node::{ApplyError, Control, ControlEffect, ControlInput, LayoutNotice, LayoutState, View};
use crate::replication::{LayoutTracker, Message};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// How long a node that leaves goes on telling so.
const FAREWELL: Duration = Duration::from_secs(1);

/// Everyone known, as one snapshot.
#[derive(Debug, Clone)]
pub(super) struct Members {
    pub(super) members: MemberTable,
    /// What requests are routed by.
    pub(super) view: Arc<View>,
    /// How far the nodes of the live layouts have come.
    pub(super) trackers: BTreeMap<NodeId, LayoutTracker>,
    /// Why this node must stop, if it must: another process has its identity.
    pub(super) lost: Option<String>,
    /// The same, if its layouts cannot be kept.
    pub(super) failed: Option<String>,
}

impl Members {
    /// Nobody is known yet.
    pub(super) fn none(view: Arc<View>) -> Self {
        Self { members: MemberTable::default(), view, trackers: BTreeMap::new(), lost: None, failed: None }
    }
}

/// The thread's share of the node.
pub(super) struct MembershipTask {
    pub(super) control: Control,
    pub(super) endpoint: DetectorEndpoint,
    pub(super) wall_clock: fn() -> WallTime,
    /// Peers that have let this node in, with the epoch of their process.
    pub(super) links: watch::Receiver<BTreeMap<NodeId, u64>>,
    pub(super) members: watch::Sender<Arc<Members>>,
    pub(super) stop: watch::Receiver<bool>,
    /// Why the node must stop, once it must.
    pub(super) lost: Option<String>,
    pub(super) failed: Option<String>,
    pub(super) inbox: ControlInbox,
    pub(super) transport: Arc<Transport>,
    /// Where the layouts are kept.
    pub(super) directory: PathBuf,
    /// The layouts on their way to the disk, on a thread that may wait for it.
    pub(super) saving: Option<JoinHandle<Result<(), String>>>,
    /// Operators who wait, by the number of their change.
    pub(super) operators: BTreeMap<u64, oneshot::Sender<Result<(), ApplyError>>>,
    pub(super) next_change: u64,
}

impl MembershipTask {
    /// Runs until `stop`, then says goodbye.
    pub(super) async fn run(mut self) {
        let started = Instant::now();
        let (mut alarm, mut effects) = (Alarm::new(), Vec::new());
        let links = self.links.borrow_and_update().clone();
        self.handle(started, ControlInput::Links(links), &mut effects);
        // Of a node that is alone there is never any other news.
        self.publish();
        loop {
            // Never is far away.
            let Time(due) = self.control.deadline();
            let next = tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => break,
                heard = self.endpoint.heard() => match heard {
                    Some(heard) => Next::Input(heard.into()),
                    None => break,
                },
                changed = self.links.changed() => match changed {
                    Ok(()) => Next::Input(ControlInput::Links(self.links.borrow_and_update().clone())),
                    // The transport is gone, and with it the node.
                    Err(_) => break,
                },
                asked = self.inbox.next() => match asked {
                    Some(asked) => Next::Asked(asked),
                    None => break,
                },
                saved = saved(&mut self.saving) => match saved {
                    Ok(()) => Next::Input(ControlInput::Persisted),
                    Err(why) => Next::Failed(why),
                },
                () = alarm.rings(started + Duration::from_micros(due)) => {
                    Next::Input(ControlInput::Detector(DetectorInput::Tick))
                }
            };
            let input = match next {
                Next::Input(input) => input,
                Next::Asked(asked) => self.take(asked),
                Next::Failed(why) => {
                    // Nothing more may be said that rests on what was not kept.
                    self.failed = Some(why);
                    self.publish();
                    // Whoever would stop it may be gone already.
                    let _ = self.stop.wait_for(|stop| *stop).await;
                    break;
                }
            };
            self.handle(started, input, &mut effects);
        }
        self.handle(started, ControlInput::Detector(DetectorInput::Leave), &mut effects);
        self.say_goodbye(started, &mut effects).await;
    }

    async fn say_goodbye(&mut self, started: Instant, effects: &mut Vec<ControlEffect>) {
        let farewell = async {
            while let Some(heard) = self.endpoint.heard().await {
                self.handle(started, heard.into(), effects);
            }
        };
        // The time is up for everyone alike; whoever did not hear will find out.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }

    fn take(&mut self, asked: ToControl) -> ControlInput {
        match asked {
            ToControl::Input(input) => input,
            ToControl::Apply { expected, layout, answer } => {
                self.next_change += 1;
                self.operators.insert(self.next_change, answer);
                ControlInput::Apply { request: self.next_change, expected, layout }
            }
        }
    }

    /// Off this thread: a disk that takes its time must not make the node look dead.
    fn persist(&mut self, state: LayoutState) {
        let directory = self.directory.clone();
        self.saving = Some(tokio::task::spawn_blocking(move || {
            keep_layouts(&directory, &state).map_err(|error| error.to_string())
        }));
    }

    fn handle(&mut self, started: Instant, input: ControlInput, effects: &mut Vec<ControlEffect>) {
        self.control.handle(now(started, self.wall_clock), input, effects);
        let mut news = false;
        for effect in effects.drain(..) {
            match effect {
                ControlEffect::SendDatagram { to, bytes } => self.endpoint.send(to, bytes),
                ControlEffect::SendFullSync { to, bytes } => self.endpoint.send_full(to, bytes),
                ControlEffect::Refused(error) => tracing::error!(%error, "the node's own identity cannot be gossiped"),
                ControlEffect::View(_) => news = true,
                ControlEffect::SendLayout { to, message } => self.transport.send(&to, &Message::Layout(message)),
                ControlEffect::Persist(state) => self.persist(*state),
                ControlEffect::Applied { request, result } => {
                    if let Some(operator) = self.operators.remove(&request) {
                        // One who has gone away will look at the layout.
                        let _ = operator.send(result);
                    }
                }
                ControlEffect::LayoutNotice(notice) => {
                    log_layout(notice);
                    news = true;
                }
                ControlEffect::Members(events) => {
                    events.iter().for_each(log);
                    self.lost = self.lost.take().or(events.iter().find_map(fatal));
                    news = true;
                }
            }
        }
        if news {
            self.publish();
        }
    }

    fn publish(&self) {
        let (members, view) = (self.control.members().clone(), Arc::clone(self.control.view()));
        let (trackers, lost, failed) = (self.control.trackers(), self.lost.clone(), self.failed.clone());
        self.members.send_replace(Arc::new(Members { members, view, trackers, lost, failed }));
    }
}

impl From<Heard> for ControlInput {
    fn from(heard: Heard) -> Self {
        ControlInput::Detector(match heard {
            Heard::Datagram { sender, from, bytes } => DetectorInput::Datagram { sender, from, bytes },
            Heard::FullSync { sender, from, bytes } => DetectorInput::FullSync { sender, from, bytes },
        })
    }
}

/// What the thread has woken up for.
enum Next {
    Input(ControlInput),
    Asked(ToControl),
    /// The layouts could not be kept.
    Failed(String),
}

/// How the layouts on their way to the disk came there; never while none are.
async fn saved(saving: &mut Option<JoinHandle<Result<(), String>>>) -> Result<(), String> {
    let Some(task) = saving else { return std::future::pending().await };
    let saved = task.await.unwrap_or_else(|error| Err(format!("the layouts cannot be kept: {error}")));
    *saving = None;
    saved
}

fn log_layout(notice: LayoutNotice) {
    match notice {
        LayoutNotice::Adopted { version } => tracing::info!(version, "layout adopted"),
        LayoutNotice::Reading { version } => tracing::info!(version, "reads go by this layout: its data is complete"),
        LayoutNotice::Ended { version } => tracing::info!(version, "layout ended"),
        LayoutNotice::Conflict { from, version } => {
            tracing::error!(node = %from, version, "a node has another layout under the same number; nothing is taken from it");
        }
        LayoutNotice::SetBack => {
            tracing::error!("other nodes remember more of this node's layouts than it does: its files were set back");
        }
    }
}

fn now(started: Instant, wall_clock: fn() -> WallTime) -> Now {
    Now { time: Time(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)), wall: wall_clock() }
}

fn fatal(event: &MemberEvent) -> Option<String> {
    match event {
        MemberEvent::IdentityLost => Some(
            "another process runs under this node's identity, and it goes on; \
             a copied directory must not be started beside its original. Stop one of the two; to make a further node, \
             begin with an empty directory and a ticket of `dunlin cluster invite`"
                .into(),
        ),
        _ => None,
    }
}

fn log(event: &MemberEvent) {
    match event {
        MemberEvent::Joined(node) => tracing::info!(%node, "member joined"),
        MemberEvent::Alive(node) => tracing::info!(%node, "member alive"),
        MemberEvent::Suspect(node) => tracing::info!(%node, "member suspected"),
        MemberEvent::Down(node) => tracing::warn!(%node, "member down"),
        MemberEvent::Left(node) => tracing::info!(%node, "member left"),
        MemberEvent::IdentityChanged(node) => tracing::info!(%node, "member changed its identity"),
        MemberEvent::Conflict { node, held, heard, .. } => {
            tracing::error!(%node, ?held, ?heard, "two processes under one identity");
        }
        MemberEvent::IdentityLost => tracing::error!("this node's identity is taken by another process"),
    }
}

/// A detector's own randomness.
pub(super) fn entropy() -> Random {
    Random::from_seed(rand::random())
}
