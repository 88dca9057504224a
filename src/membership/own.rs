//! What a node says of itself, and what it does when others say otherwise.

use super::detector::{Detector, News, Phase, Turn};
use super::event::{DetectorEffect, MemberEvent};
use super::identity::Identity;
use super::member::{MAX_INCARNATION, Member, MemberState};
use super::record::Record;
use super::roster::conflict_event;

/// How often a node outbids another process with its id before it gives way. An earlier life of this
/// node, remembered somewhere, can be outbid after one or two; only a living rival bids on.
const MAX_CONTESTS: u32 = 4;

impl Detector {
    /// Hears a record about this node. Any incarnation above its own, or an equal one with another
    /// identity, is not from this process: an earlier life, or a rival with a copied data directory.
    pub(super) fn hear_of_self(&mut self, record: &Member, turn: &mut Turn<'_>) {
        let own = self.roster.own();
        if !record.supersedes(own) {
            return;
        }
        let accused = record.incarnation == own.incarnation && record.state != MemberState::Left;
        let bids = record.incarnation > own.incarnation || record.identity > own.identity;
        if bids && !record.identity.same_addresses(&own.identity) && !self.contest(record, turn) {
            return;
        }
        self.counters.refutations += 1;
        if accused && !bids {
            // Somebody waited for this node in vain: it may be the slow one.
            self.worsen_health(1);
        }
        let own = self.roster.own();
        let raised = record.incarnation.max(own.incarnation);
        let own = Member { incarnation: raised, ..own.clone() };
        self.announce(own, turn);
    }

    /// Decides whether to outbid a process elsewhere that has this node's id. Two that never gave way
    /// would flap for ever.
    fn contest(&mut self, record: &Member, turn: &mut Turn<'_>) -> bool {
        let own = self.roster.own();
        self.contests += 1;
        if self.contests > 1 || record.incarnation == own.incarnation {
            turn.events.push(conflict_event(own, record));
        }
        let goes_on = self.contests <= MAX_CONTESTS;
        if !goes_on {
            self.phase = Phase::Silent;
            self.schedule.clear();
            turn.events.push(MemberEvent::IdentityLost);
        }
        goes_on
    }

    /// Says something new of this node.
    pub(super) fn update_identity(&mut self, identity: Identity, turn: &mut Turn<'_>) {
        let own = self.roster.own().clone();
        if identity == *own.identity {
            return;
        }
        match own.identity.may_become(&identity) {
            Err(error) => turn.effects.push(DetectorEffect::UpdateRefused(error)),
            Ok(()) => {
                turn.events.push(MemberEvent::IdentityChanged(own.node()));
                self.announce(Member { identity: identity.into(), ..own }, turn);
            }
        }
    }

    /// Says goodbye to some members, and from now on only answers.
    pub(super) fn leave(&mut self, turn: &mut Turn<'_>) {
        if self.phase == Phase::Left {
            return;
        }
        let own = self.roster.own().judged(MemberState::Left);
        turn.events.push(MemberEvent::Left(own.node()));
        self.announce(own, turn);
        self.phase = Phase::Left;
        self.schedule.clear();
        self.probes.clear();
    }

    /// Takes `own` as this node's record, one incarnation higher, and spreads it.
    fn announce(&mut self, own: Member, turn: &mut Turn<'_>) {
        let own = Member { incarnation: (own.incarnation + 1).min(MAX_INCARNATION - 1), ..own };
        if own.identity != self.roster.own().identity {
            self.described = own.incarnation;
        }
        let is_known = self.described < own.incarnation && !self.rumours.introduces(own.node());
        self.rumours.insert(&if is_known { Record::brief(&own, None) } else { Record::whole(&own, None) });
        self.roster.set_own(own);
        turn.news = News::Own;
    }
}
