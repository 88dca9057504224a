//! The thread of [`Control`]: its own runtime, socket and endpoint, so that load cannot starve the detector.

use super::alarm::Alarm;
use super::detector::{DetectorEndpoint, Heard};
use crate::base::{NodeId, Now, Random, Time, WallTime};
use crate::membership::{DetectorInput, Member, MemberEvent};
use crate::node::{Control, ControlEffect, ControlInput, View};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long a node that leaves goes on telling so.
const FAREWELL: Duration = Duration::from_secs(1);

/// Everyone known, as one snapshot.
#[derive(Debug, Clone)]
pub(super) struct Members {
    pub(super) members: BTreeMap<NodeId, Member>,
    /// What requests are routed by.
    pub(super) view: Arc<View>,
    /// Why this node must stop, if it must: another process has its identity.
    pub(super) lost: Option<String>,
}

impl Members {
    /// Nobody is known yet.
    pub(super) fn none(view: Arc<View>) -> Self {
        Self { members: BTreeMap::new(), view, lost: None }
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
            let input = tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => break,
                heard = self.endpoint.heard() => match heard {
                    Some(heard) => heard.into(),
                    None => break,
                },
                changed = self.links.changed() => match changed {
                    Ok(()) => ControlInput::Links(self.links.borrow_and_update().clone()),
                    // The transport is gone, and with it the node.
                    Err(_) => break,
                },
                () = alarm.rings(started + Duration::from_micros(due)) => ControlInput::Detector(DetectorInput::Tick),
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

    fn handle(&mut self, started: Instant, input: ControlInput, effects: &mut Vec<ControlEffect>) {
        self.control.handle(now(started, self.wall_clock), input, effects);
        let mut news = false;
        for effect in effects.drain(..) {
            match effect {
                ControlEffect::SendDatagram { to, bytes } => self.endpoint.send(to, bytes),
                ControlEffect::SendFullSync { to, bytes } => self.endpoint.send_full(to, bytes),
                ControlEffect::Refused(error) => tracing::error!(%error, "the node's own identity cannot be gossiped"),
                ControlEffect::View(_) => news = true,
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
        self.members.send_replace(Arc::new(Members { members, view, lost: self.lost.clone() }));
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
