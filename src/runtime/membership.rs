//! The failure detector's thread: its own runtime, socket and endpoint, so that load cannot starve it.

use super::detector::{DetectorEndpoint, Heard};
use crate::base::{NodeId, Now, Random, Time, WallTime};
use crate::membership::{Detector, DetectorEffect, DetectorInput, Member, MemberEvent, MemberState};
use crate::node::PeerState;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long a node that leaves goes on telling so.
const FAREWELL: Duration = Duration::from_secs(1);

/// Everyone known, as one snapshot.
#[derive(Debug, Clone, Default)]
pub(super) struct Members {
    pub(super) members: BTreeMap<NodeId, Member>,
    /// Why this node must stop, if it must: another process has its identity.
    pub(super) lost: Option<String>,
}

impl Members {
    /// Whom to ask: the suspect still counts as reachable.
    pub(super) fn peer_states(&self) -> BTreeMap<NodeId, PeerState> {
        let state = |member: &Member| match member.state {
            MemberState::Alive | MemberState::Suspect => PeerState::Up,
            MemberState::Down | MemberState::Left => PeerState::Down,
        };
        self.members.iter().map(|(node, member)| (*node, state(member))).collect()
    }
}

/// The thread's share of the node.
pub(super) struct MembershipTask {
    pub(super) detector: Detector,
    pub(super) endpoint: DetectorEndpoint,
    pub(super) wall_clock: fn() -> WallTime,
    pub(super) members: watch::Sender<Arc<Members>>,
    pub(super) stop: watch::Receiver<bool>,
}

impl MembershipTask {
    /// Runs until `stop`, then says goodbye.
    pub(super) async fn run(mut self) {
        let started = Instant::now();
        let mut effects = Vec::new();
        self.handle(started, DetectorInput::Tick, &mut effects);
        loop {
            let due = match self.detector.deadline() {
                Time::NEVER => Duration::from_secs(3600),
                Time(micros) => Duration::from_micros(micros),
            };
            let input = tokio::select! {
                _ = self.stop.wait_for(|stop| *stop) => break,
                heard = self.endpoint.heard() => match heard {
                    Some(heard) => input(heard),
                    None => break,
                },
                () = tokio::time::sleep_until((started + due).into()) => DetectorInput::Tick,
            };
            self.handle(started, input, &mut effects);
        }
        self.handle(started, DetectorInput::Leave, &mut effects);
        self.say_goodbye(started, &mut effects).await;
    }

    async fn say_goodbye(&mut self, started: Instant, effects: &mut Vec<DetectorEffect>) {
        let farewell = async {
            while let Some(heard) = self.endpoint.heard().await {
                let now = now(started, self.wall_clock);
                self.detector.handle(now, input(heard), effects);
                for effect in effects.drain(..) {
                    send(&self.endpoint, effect);
                }
            }
        };
        // The time is up for everyone alike; whoever did not hear will find out.
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }

    fn handle(&mut self, started: Instant, input: DetectorInput, effects: &mut Vec<DetectorEffect>) {
        self.detector.handle(now(started, self.wall_clock), input, effects);
        for effect in effects.drain(..) {
            match effect {
                DetectorEffect::Changed(events) => {
                    let lost = events.iter().find_map(fatal);
                    events.iter().for_each(log);
                    let members = self.detector.members().clone();
                    self.members.send_replace(Arc::new(Members { members, lost }));
                }
                effect => send(&self.endpoint, effect),
            }
        }
    }
}

fn now(started: Instant, wall_clock: fn() -> WallTime) -> Now {
    Now { time: Time(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)), wall: wall_clock() }
}

fn input(heard: Heard) -> DetectorInput {
    match heard {
        Heard::Datagram { sender, from, bytes } => DetectorInput::Datagram { sender, from, bytes },
        Heard::FullSync { sender, from, bytes } => DetectorInput::FullSync { sender, from, bytes },
    }
}

fn send(endpoint: &DetectorEndpoint, effect: DetectorEffect) {
    match effect {
        DetectorEffect::SendDatagram { to, bytes } => endpoint.send(to, bytes),
        DetectorEffect::SendFullSync { to, bytes } => endpoint.send_full(to, bytes),
        DetectorEffect::UpdateRefused(error) => tracing::error!(%error, "the node's own identity cannot be gossiped"),
        DetectorEffect::Changed(_) => {}
    }
}

fn fatal(event: &MemberEvent) -> Option<String> {
    match event {
        MemberEvent::IdentityLost => Some(
            "another process runs under this node's identity, and it goes on; \
             a copied directory must not be started beside its original"
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
