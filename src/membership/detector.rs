//! The failure detector as one machine: inputs in, effects out.

use super::config::{DetectorConfig, Lifeguard};
use super::event::{Counters, DetectorEffect, DetectorInput, MemberEvent};
use super::health::Health;
use super::identity::{Identity, IdentityError};
use super::incoming::{Channel, Origin};
use super::member::{MAX_INCARNATION, MAX_MEMBERS, Member, MemberState};
use super::probe::{Lap, Probe};
use super::record::Record;
use super::relay::Relays;
use super::roster::{Lacks, Merged, Roster, events};
use super::rumours::Rumours;
use super::schedule::{Schedule, Timer};
use super::suspicion::Suspicion;
use super::table::MemberTable;
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
    /// One for each suspect.
    pub(super) suspicions: BTreeMap<NodeId, Suspicion>,
    pub(super) health: Health,
    /// This node's incarnation when its identity last changed.
    pub(super) described: u64,
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
        let own = Member { identity: me.into(), incarnation, state: MemberState::Alive };
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
            suspicions: BTreeMap::new(),
            health: Health::default(),
            described: incarnation,
            seeds: seeds.collect(),
            sequence: random.u64() >> 1,
            random,
            reunion: None,
            contests: 0,
            counters: Counters::default(),
        })
    }

    /// Takes in members known before, all at once and without a word: as if each had been heard of long
    /// ago. For a detector that has handled nothing yet. Shares the memory of `members`, and
    /// takes all of them, so they should be fewer than [`super::MAX_MEMBERS`].
    pub fn remember(&mut self, members: MemberTable) {
        self.roster.extend(members);
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
    pub fn members(&self) -> &MemberTable {
        self.roster.members()
    }

    /// How much this node doubts itself: 0, not at all, to 8. Its probes take so many times longer.
    pub fn self_doubt(&self) -> u32 {
        self.health.score()
    }

    /// What was refused so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes a record heard, if this node knows whom it means.
    pub(super) fn hear(&mut self, record: &Record, turn: &mut Turn<'_>) {
        let node = record.node();
        let held = self.roster.get(node);
        if held.is_some_and(|held| record.repeats(held)) {
            // Most of what is heard: gossip says everything many times.
            return self.confirm(node, record.incarnation, record.accuser, turn);
        }
        match record.resolve(held) {
            Some(member) => self.learn(&member, record.accuser, turn),
            None => {
                self.counters.unresolved += 1;
                if let Some(contact) = self.roster.contact(node) {
                    contact.lacks = Lacks::Identity;
                }
            }
        }
    }

    /// Takes a record heard or judged, and does what follows from it.
    pub(super) fn learn(&mut self, record: &Member, accuser: Option<NodeId>, turn: &mut Turn<'_>) {
        if record.node() == self.roster.own().node() {
            return self.hear_of_self(record, turn);
        }
        turn.events.extend(self.roster.conflict(record));
        match self.roster.merge(record) {
            Merged::Known => self.confirm(record.node(), record.incarnation, accuser, turn),
            Merged::Full => self.counters.members_refused += 1,
            Merged::Changed(before) => {
                turn.events.extend(events(before.as_deref(), record));
                if let Some(contact) = self.roster.contact(record.node()) {
                    contact.lacks = Lacks::Nothing;
                }
                self.pass_on(before.as_deref(), record, accuser);
                self.follow(before.as_deref(), record, accuser, turn);
            }
        }
    }

    /// Begins a rumour, brief if those who hear it know whom it means.
    fn pass_on(&mut self, before: Option<&Member>, after: &Member, accuser: Option<NodeId>) {
        let is_introduced = before.is_some_and(|before| before.identity == after.identity);
        self.rumours.insert(&match is_introduced && !self.rumours.introduces(after.node()) {
            true => Record::brief(after, accuser),
            false => Record::whole(after, accuser),
        });
    }

    /// Counts another accuser of a suspect: the more independent ones, the sooner it is found down.
    fn confirm(&mut self, node: NodeId, incarnation: u64, accuser: Option<NodeId>, turn: &Turn<'_>) {
        let (Some(accuser), Some(held)) = (accuser, self.roster.get(node)) else { return };
        if (held.incarnation, held.state) != (incarnation, MemberState::Suspect) || accuser == node {
            return;
        }
        let held = held.clone();
        let Some(suspicion) = self.suspicions.get_mut(&node) else { return };
        if suspicion.confirm(accuser) {
            // Not in the past: that would look as if this process had slept.
            let deadline = suspicion.deadline().max(turn.now);
            self.arm(Timer::Suspicion(node), deadline);
            self.pass_on(Some(&held), &held, Some(accuser));
        }
    }

    /// May this node doubt itself?
    pub(super) fn worsen_health(&mut self, by: u32) {
        if self.config.lifeguard == Lifeguard::On {
            self.health.worsen(by);
        }
    }

    /// Sets the timers that belong to a member's new state.
    fn follow(&mut self, before: Option<&Member>, after: &Member, accuser: Option<NodeId>, turn: &Turn<'_>) {
        let node = after.node();
        let was = before.map(|member| (member.incarnation, member.state));
        match after.state {
            MemberState::Suspect if was != Some((after.incarnation, after.state)) => {
                let reachable = self.roster.reachable_peers().len() + 1;
                let suspicion = Suspicion::new(&self.config, reachable, accuser, turn.now);
                self.arm(Timer::Suspicion(node), suspicion.deadline());
                self.suspicions.insert(node, suspicion);
            }
            MemberState::Suspect => {}
            MemberState::Down => self.expect_return(node, turn),
            MemberState::Alive | MemberState::Left => {
                self.absolve(node);
                self.schedule.cancel(Timer::Retry(node));
            }
        }
        if after.state.is_reachable() && !before.is_some_and(|member| member.state.is_reachable()) {
            self.lap.insert(node, &mut self.random);
        }
    }

    fn absolve(&mut self, node: NodeId) {
        self.suspicions.remove(&node);
        self.schedule.cancel(Timer::Suspicion(node));
    }

    fn expect_return(&mut self, node: NodeId, turn: &Turn<'_>) {
        self.absolve(node);
        if let Some(contact) = self.roster.contact(node) {
            contact.attempts = 0;
        }
        let pause = self.config.retry_pause(0, self.roster.members().len(), &mut self.random);
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
