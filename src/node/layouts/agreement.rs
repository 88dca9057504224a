//! How the next version is decided: Paxos for one value, among the nodes of the newest version.

use super::acceptor::Verdict;
use super::effect::{ApplyError, LayoutEffect};
use super::keeper::{Held, LayoutKeeper, Turn};
use super::live::MAX_LIVE_LAYOUTS;
use super::proposal::{Exposure, Phase, Proposal, Wish};
use crate::base::{NodeId, Time};
use crate::replication::{Ballot, LayoutMessage};
use crate::ring::Layout;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Of [`MAX_LIVE_LAYOUTS`], how many only a change that declares a node dead may take. A node that has died for good
/// lets no version end; were all places taken then, nothing could ever be declared.
const KEPT_FOR_DEATHS: usize = 1;

impl LayoutKeeper {
    // -----------------------------------------------------------------------------------------------------------------
    // The proposer

    pub(super) fn apply(&mut self, request: u64, expected: u64, layout: Arc<Layout>, turn: &mut Turn<'_>) {
        if let Err(error) = self.may_apply(expected, &layout) {
            turn.effects.push(LayoutEffect::Applied { request, result: Err(error) });
            return;
        }
        let version = layout.version;
        let wish = Wish { request, layout, exposure: Exposure::None };
        self.proposal = Some(Proposal::new(version, Some(wish), turn.now, turn.now + self.timings.apply_timeout));
    }

    fn may_apply(&self, expected: u64, layout: &Layout) -> Result<(), ApplyError> {
        let newest = self.state.newest().version;
        if expected != newest {
            return Err(ApplyError::Stale { newest });
        }
        if !self.state.follows(layout) {
            return Err(ApplyError::Unrelated { version: layout.version, newest });
        }
        layout.validate()?;
        let kept_free = if layout.dead.is_empty() { KEPT_FOR_DEATHS } else { 0 };
        if self.state.versions.len() + kept_free >= MAX_LIVE_LAYOUTS {
            return Err(ApplyError::TooManyLive);
        }
        if !self.state.ending.is_empty() {
            return Err(ApplyError::Ending);
        }
        if self.proposal.is_some() { Err(ApplyError::Busy) } else { Ok(()) }
    }

    /// Gives up, begins the next attempt, or lets one that got no majority go.
    pub(super) fn run_proposal(&mut self, turn: &mut Turn<'_>) {
        if turn.now >= self.resolve_at && self.proposal.is_none() {
            let version = self.state.newest().version + 1;
            self.proposal = Some(Proposal::new(version, None, turn.now, turn.now + self.timings.apply_timeout));
        }
        let Some(proposal) = &self.proposal else { return };
        if matches!(proposal.phase, Phase::Chosen { .. }) {
            return;
        }
        if turn.now >= proposal.give_up {
            self.give_up(turn);
        } else if turn.now >= proposal.until {
            match proposal.phase {
                Phase::Pausing => self.attempt(turn.now),
                _ => self.pause(turn.now),
            }
        }
    }

    fn attempt(&mut self, now: Time) {
        let until = now + self.timings.attempt_timeout;
        let Some(proposal) = &mut self.proposal else { return };
        let round = self.state.acceptor.next_round().max(proposal.highest_round.saturating_add(1));
        let ballot = Ballot { round, proposer: self.me };
        proposal.until = until;
        if self.state.acceptor.prepare(ballot) != Verdict::Done {
            return;
        }
        proposal.phase = Phase::Promising { ballot, promises: BTreeMap::new() };
        proposal.answered.clear();
        self.held.push(Held::Prepare(ballot));
    }

    fn pause(&mut self, now: Time) {
        let most = u64::try_from(self.timings.attempt_timeout.as_micros()).unwrap_or(u64::MAX);
        let pause = Duration::from_micros(self.random.between(1, most));
        if let Some(proposal) = &mut self.proposal {
            proposal.phase = Phase::Pausing;
            proposal.until = now + pause;
        }
    }

    fn give_up(&mut self, turn: &mut Turn<'_>) {
        let nodes = self.state.newest().nodes.len();
        let Some(Proposal { wish, answered, .. }) = self.proposal.take() else { return };
        let Some(wish) = wish else { return };
        let reachable = answered.len();
        let error = match wish.exposure {
            Exposure::None => ApplyError::NoMajority { reachable, nodes },
            Exposure::Asked => ApplyError::OutcomeUnknown { reachable, nodes },
        };
        turn.effects.push(LayoutEffect::Applied { request: wish.request, result: Err(error) });
    }

    /// The ballot is durable: it may be known.
    pub(super) fn ask_for_promises(&mut self, ballot: Ballot, turn: &mut Turn<'_>) {
        let Some(proposal) = self.proposal.as_ref().filter(|p| p.ballot() == Some(ballot)) else { return };
        let version = proposal.version;
        turn.send(self.other_voters(), LayoutMessage::Prepare { version, ballot });
        let own = self.saved.acceptor.accepted.clone();
        self.on_promise(self.me, version, ballot, own, turn);
    }

    pub(super) fn on_promise(
        &mut self,
        from: NodeId,
        version: u64,
        ballot: Ballot,
        accepted: Option<(Ballot, Arc<Layout>)>,
        turn: &mut Turn<'_>,
    ) {
        let Some(majority) = self.majority_with(from) else { return };
        if accepted.as_ref().is_some_and(|(_, layout)| !self.state.follows(layout)) {
            return;
        }
        let Some(proposal) = self.proposal.as_mut().filter(|p| p.version == version) else { return };
        let Phase::Promising { ballot: current, promises } = &mut proposal.phase else { return };
        if *current != ballot {
            return;
        }
        promises.insert(from, accepted);
        proposal.answered.insert(from);
        if promises.len() >= majority {
            self.ask_to_accept(ballot, turn);
        }
    }

    fn ask_to_accept(&mut self, ballot: Ballot, turn: &mut Turn<'_>) {
        let Some(proposal) = &mut self.proposal else { return };
        let Some(layout) = proposal.value() else { return };
        proposal.expose(&layout);
        proposal.answered.clear();
        proposal.phase = Phase::Accepting { ballot, layout: Arc::clone(&layout), accepted: BTreeMap::new() };
        proposal.until = turn.now + self.timings.attempt_timeout;
        let version = proposal.version;
        if self.is_voter(self.me) && self.state.acceptor.accept(ballot, &layout) == Verdict::Done {
            self.held.push(Held::OwnAccept { version, ballot, reading: self.state.reading });
        }
        turn.send(self.other_voters(), LayoutMessage::Accept { version, ballot, layout });
    }

    pub(super) fn on_accepted(&mut self, from: NodeId, version: u64, ballot: Ballot, reading: u64) {
        let Some(majority) = self.majority_with(from) else { return };
        let Some(proposal) = self.proposal.as_mut().filter(|p| p.version == version) else { return };
        let Phase::Accepting { ballot: current, layout, accepted } = &mut proposal.phase else { return };
        if *current != ballot {
            return;
        }
        accepted.insert(from, reading);
        proposal.answered.insert(from);
        if accepted.len() >= majority {
            let reading = accepted.values().copied().max().unwrap_or(0);
            proposal.phase = Phase::Chosen { layout: Arc::clone(layout), reading };
        }
    }

    pub(super) fn on_refused(&mut self, from: NodeId, version: u64, ballot: Ballot, promised: Ballot, turn: &Turn<'_>) {
        let Some(proposal) = self.proposal.as_mut().filter(|p| p.version == version) else { return };
        if proposal.ballot() == Some(ballot) {
            proposal.highest_round = proposal.highest_round.max(promised.round);
            proposal.answered.insert(from);
            self.pause(turn.now);
        }
    }

    /// Takes the version that a majority has accepted, as soon as nothing older is half given up.
    pub(super) fn adopt_chosen(&mut self) {
        let Some(Proposal { phase: Phase::Chosen { layout, reading }, .. }) = &self.proposal else { return };
        if self.state.follows(layout) && self.state.can_adopt() {
            let (layout, reading) = (Arc::clone(layout), *reading);
            self.state.adopt(layout);
            self.take_over_reading(reading);
        }
    }

    /// Answers the operator once the version is decided, by this proposal or another.
    pub(super) fn conclude(&mut self) {
        let newest = self.state.newest();
        let Some(proposal) = self.proposal.take_if(|p| p.version <= newest.version) else { return };
        let Some(wish) = proposal.wish else { return };
        let result = match self.state.version(proposal.version) {
            Some(layout) if *layout == wish.layout => Ok(()),
            Some(layout) => Err(ApplyError::Lost { version: layout.version, winner: layout.hash() }),
            // It was away for so long that the version has ended meanwhile.
            None => Err(ApplyError::OutcomeUnknown { reachable: proposal.answered.len(), nodes: newest.nodes.len() }),
        };
        self.held.push(Held::Effect(LayoutEffect::Applied { request: wish.request, result }));
    }

    // -----------------------------------------------------------------------------------------------------------------
    // The acceptor

    pub(super) fn on_prepare(&mut self, from: NodeId, version: u64, ballot: Ballot, turn: &mut Turn<'_>) {
        if !self.is_asked_rightly(from, version, ballot, turn) {
            return;
        }
        match self.state.acceptor.prepare(ballot) {
            Verdict::Done => {
                let accepted = self.state.acceptor.accepted.clone();
                self.hold(from, LayoutMessage::Promise { version, ballot, accepted });
            }
            Verdict::Repeated => {}
            Verdict::Refused(promised) => {
                turn.send(vec![from], LayoutMessage::Refused { version, ballot, promised });
            }
        }
    }

    pub(super) fn on_accept(
        &mut self,
        from: NodeId,
        version: u64,
        ballot: Ballot,
        layout: &Arc<Layout>,
        turn: &mut Turn<'_>,
    ) {
        if !self.is_asked_rightly(from, version, ballot, turn) || !self.state.follows(layout) {
            return;
        }
        match self.state.acceptor.accept(ballot, layout) {
            Verdict::Done => {
                self.hold(from, LayoutMessage::Accepted { version, ballot, reading: self.state.reading });
            }
            Verdict::Repeated => {}
            Verdict::Refused(promised) => {
                turn.send(vec![from], LayoutMessage::Refused { version, ballot, promised });
            }
        }
    }

    /// Is it for this node to decide, here and now? If not because one of the two is behind, it is told.
    fn is_asked_rightly(&mut self, from: NodeId, version: u64, ballot: Ballot, turn: &mut Turn<'_>) -> bool {
        let newest = self.state.newest().version;
        if version <= newest {
            self.inform(from, version.saturating_sub(1), turn);
        } else if version > newest + 1 {
            turn.send(vec![from], LayoutMessage::Digest(self.digest()));
        }
        version == newest + 1 && ballot.proposer == from && self.is_voter(self.me)
    }

    fn hold(&mut self, to: NodeId, message: LayoutMessage) {
        self.held.push(Held::Effect(LayoutEffect::Send { to: vec![to], message }));
    }

    /// Keeps the time that something accepted has been without an outcome.
    pub(super) fn watch_accepted(&mut self, now: Time) {
        let waits = self.state.acceptor.accepted.is_some() && self.proposal.is_none();
        if !waits {
            self.resolve_at = Time::NEVER;
        } else if self.resolve_at == Time::NEVER {
            // Not all at once: those who have accepted the same would only disturb one another.
            let micros = u64::try_from(self.timings.resolve_after.as_micros()).unwrap_or(u64::MAX);
            let pause = self.random.between(micros, micros.saturating_mul(2));
            self.resolve_at = now + Duration::from_micros(pause);
        }
    }

    // -----------------------------------------------------------------------------------------------------------------
    // The voters

    fn is_voter(&self, node: NodeId) -> bool {
        self.state.newest().node(node).is_some()
    }

    fn other_voters(&self) -> Vec<NodeId> {
        self.state.newest().nodes.iter().map(|node| node.id).filter(|id| *id != self.me).collect()
    }

    /// How many voices decide; none if this node has none.
    fn majority_with(&self, voter: NodeId) -> Option<usize> {
        self.is_voter(voter).then(|| self.state.newest().nodes.len() / 2 + 1)
    }
}
