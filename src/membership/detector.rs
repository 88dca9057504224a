//! The failure detector as one machine: inputs in, effects out.

use super::config::DetectorConfig;
use super::event::{Counters, DetectorEffect, DetectorInput, MemberEvent};
use super::identity::{Identity, IdentityError};
use super::incoming::{Channel, Origin};
use super::member::{MAX_INCARNATION, MAX_MEMBERS, Member, MemberState};
use super::message::encode_one;
use super::probe::{Lap, Probe};
use super::relay::Relays;
use super::roster::{Merged, Roster, events};
use super::rumours::Rumours;
use super::schedule::{Schedule, Timer};
use super::suspicion::suspicion_timeout;
use crate::base::{NodeId, Now, Random, Time};
use std::collections::BTreeMap;

/// One node's failure detector. The same inputs at the same times give the same effects.
#[derive(Debug)]
pub struct Detector {
    pub(super) config: DetectorConfig,
    pub(super) random: Random,
    pub(super) phase: Phase,
    pub(super) roster: Roster,
    pub(super) rumours: Rumours,
    pub(super) schedule: Schedule,
    pub(super) lap: Lap,
    /// The probes of this round that nobody has answered yet.
    pub(super) probes: Vec<Probe>,
    pub(super) relays: Relays,
    pub(super) seeds: Vec<Seed>,
    /// The number of the last ping or request. Begins at a random one, so that answers to an earlier
    /// life of this node are not taken for ours.
    pub(super) sequence: u64,
    /// When a full sync was last asked for because a member came back.
    pub(super) reunion: Option<Time>,
    /// How often another process with this node's id outbid this one.
    pub(super) contests: u32,
    pub(super) counters: Counters,
}

/// Where the detector is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing handled yet; the time is not known.
    New,
    /// Probing and gossiping.
    Running,
    /// Left: only answers, so that the news spreads.
    Left,
    /// Another process took this node's id: says and does nothing.
    Silent,
}

/// An address to begin from; who lives there is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seed {
    pub(super) address: String,
    pub(super) attempts: u32,
}

/// One call of [`Detector::handle`]: the time, and what came of it so far.
pub(super) struct Turn<'a> {
    pub(super) now: Time,
    pub(super) effects: &'a mut Vec<DetectorEffect>,
    pub(super) events: Vec<MemberEvent>,
    pub(super) news: News,
}

/// Did this node itself say something new: a verdict, a refutation, a new identity?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// No; what others said travels with the next pings.
    None,
    /// Yes; it is worth pings of its own.
    Own,
}

impl Detector {
    /// A detector for the node `me`. `seeds` are membership addresses to begin from; after a restart,
    /// add the addresses of all members known before, so that they hear of it at once. More than
    /// [`MAX_MEMBERS`] seeds are cut off. Fails if a text of `me` is too long.
    pub fn new(
        config: DetectorConfig,
        me: Identity,
        seeds: Vec<String>,
        mut random: Random,
    ) -> Result<Self, IdentityError> {
        me.check()?;
        let incarnation = config.first_incarnation.min(MAX_INCARNATION - 1);
        let own = Member { identity: me, incarnation, state: MemberState::Alive };
        let seeds = seeds.into_iter().take(MAX_MEMBERS).map(|address| Seed { address, attempts: 0 });
        Ok(Self {
            config: config.sane(),
            phase: Phase::New,
            roster: Roster::new(own),
            rumours: Rumours::default(),
            schedule: Schedule::default(),
            lap: Lap::default(),
            probes: Vec::new(),
            relays: Relays::default(),
            seeds: seeds.collect(),
            sequence: random.u64() >> 1,
            random,
            reunion: None,
            contests: 0,
            counters: Counters::default(),
        })
    }

    /// Takes one input and appends what follows from it; also whatever is due by now.
    pub fn handle(&mut self, now: Now, input: DetectorInput, effects: &mut Vec<DetectorEffect>) {
        if self.phase == Phase::Silent {
            return;
        }
        let mut turn = Turn { now: now.time, effects, events: Vec::new(), news: News::None };
        self.wake(&turn);
        match input {
            DetectorInput::Datagram { sender, from, bytes } => {
                self.receive(Origin { sender, from, channel: Channel::Datagram }, &bytes, &mut turn);
            }
            DetectorInput::FullSync { sender, from, bytes } => {
                self.receive(Origin { sender, from, channel: Channel::Stream }, &bytes, &mut turn);
            }
            DetectorInput::Tick => {}
            DetectorInput::UpdateIdentity(identity) => self.update_identity(identity, &mut turn),
            DetectorInput::Leave => self.leave(&mut turn),
        }
        self.run_due(&mut turn);
        self.spread_news(&mut turn);
        if !turn.events.is_empty() {
            turn.effects.push(DetectorEffect::Changed(turn.events));
        }
    }

    /// When to call [`Detector::handle`] next at the latest; [`Time::NEVER`] if nothing is due.
    pub fn deadline(&self) -> Time {
        match self.phase {
            Phase::New => Time(0),
            _ => self.schedule.first(),
        }
    }

    /// Everyone known, this node included, also those down or left.
    pub fn members(&self) -> &BTreeMap<NodeId, Member> {
        self.roster.members()
    }

    /// What was refused so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes a record heard or judged, and does what follows from it.
    pub(super) fn learn(&mut self, record: &Member, turn: &mut Turn<'_>) {
        if record.node() == self.roster.own().node() {
            return self.hear_of_self(record, turn);
        }
        turn.events.extend(self.roster.conflict(record));
        match self.roster.merge(record) {
            Merged::Known => {}
            Merged::Full => self.counters.members_refused += 1,
            Merged::Changed(before) => {
                turn.events.extend(events(before.as_deref(), record));
                self.rumours.insert(record.node(), encode_one(record).into());
                self.follow(before.as_deref(), record, turn);
            }
        }
    }

    /// Sets the timers that belong to a member's new state.
    fn follow(&mut self, before: Option<&Member>, after: &Member, turn: &Turn<'_>) {
        let node = after.node();
        let was = before.map(|member| (member.incarnation, member.state));
        match after.state {
            MemberState::Suspect if was != Some((after.incarnation, after.state)) => {
                let reachable = self.roster.reachable_peers().len() + 1;
                let config = &self.config;
                let timeout = suspicion_timeout(config.probe_interval, config.suspicion_multiplier, reachable);
                self.arm(Timer::Suspicion(node), turn.now + timeout);
            }
            MemberState::Suspect => {}
            MemberState::Down => self.expect_return(node, turn),
            MemberState::Alive | MemberState::Left => {
                self.schedule.cancel(Timer::Suspicion(node));
                self.schedule.cancel(Timer::Retry(node));
            }
        }
        if after.state.is_reachable() && !before.is_some_and(|member| member.state.is_reachable()) {
            self.lap.insert(node, &mut self.random);
        }
    }

    fn expect_return(&mut self, node: NodeId, turn: &Turn<'_>) {
        self.schedule.cancel(Timer::Suspicion(node));
        if let Some(contact) = self.roster.contact(node) {
            contact.attempts = 0;
        }
        let pause = self.config.retry_pause(0, &mut self.random);
        self.arm(Timer::Retry(node), turn.now + pause);
    }

    /// Sets a timer while running; one that left or fell silent starts nothing.
    pub(super) fn arm(&mut self, timer: Timer, at: Time) {
        if self.phase == Phase::Running {
            self.schedule.set(timer, at);
        }
    }

    /// The number for the next ping or request.
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }
}
