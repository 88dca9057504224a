//! What a detector does by the clock: probe, judge, retry, sync.

use super::detector::{Detector, News, Phase, Turn};
use super::member::{Member, MemberState};
use super::message::MessageKind;
use super::probe::Probe;
use super::schedule::Timer;
use crate::base::NodeId;
use std::time::Duration;

/// A member that came back is asked for its whole state at once, but no more than one per this time: a
/// healed partition brings back many, and one of them knows what all know.
const REUNION_PAUSE: Duration = Duration::from_secs(1);

impl Detector {
    /// Begins, or forgives: if this process slept well beyond its deadline, the silence of the others
    /// proves nothing, so all timers get that time back.
    pub(super) fn wake(&mut self, turn: &Turn<'_>) {
        if self.phase == Phase::New {
            return self.start(turn);
        }
        let slept = turn.now.since(self.schedule.first());
        if slept > self.config.probe_interval {
            self.schedule.postpone(slept);
        }
    }

    fn start(&mut self, turn: &Turn<'_>) {
        self.phase = Phase::Running;
        for place in 0..self.seeds.len() {
            self.arm(Timer::Seed(place), turn.now);
        }
        let round = self.up_to(self.config.probe_interval);
        self.arm(Timer::Round, turn.now + round);
        let sync = self.up_to(self.config.full_sync_interval);
        self.arm(Timer::FullSync, turn.now + sync);
    }

    /// Does everything due by now.
    pub(super) fn run_due(&mut self, turn: &mut Turn<'_>) {
        for timer in self.schedule.take_due(turn.now) {
            match timer {
                Timer::Round => self.begin_round(turn),
                Timer::PingTimeout => self.ask_others(turn),
                Timer::ProbeTimeout => self.end_round(turn),
                Timer::FullSync => self.sync_with_someone(turn),
                Timer::Suspicion(node) => self.judge(node, MemberState::Suspect, MemberState::Down, turn),
                Timer::Retry(node) => self.retry(node, turn),
                Timer::Seed(place) => self.try_seed(place, turn),
            }
        }
    }

    fn begin_round(&mut self, turn: &mut Turn<'_>) {
        self.arm(Timer::Round, turn.now + self.config.probe_interval);
        if !self.probes.is_empty() {
            return;
        }
        let reachable = self.roster.reachable_peers();
        for _ in 0..self.config.probes_per_round.clamp(1, reachable.len().max(1)) {
            let Some(target) = self.lap.next(&reachable, &mut self.random) else { return };
            if self.probes.iter().any(|probe| probe.target() == target) {
                continue;
            }
            let sequence = self.ping(target, turn);
            self.probes.push(Probe::new(target, sequence));
        }
        self.arm(Timer::PingTimeout, turn.now + self.config.ping_timeout);
        self.arm(Timer::ProbeTimeout, turn.now + self.config.ping_timeout * 2);
    }

    fn ask_others(&mut self, turn: &mut Turn<'_>) {
        for probe in self.probes.clone() {
            let mut others = self.roster.reachable_peers();
            others.retain(|node| *node != probe.target());
            self.random.shuffle(&mut others);
            for other in others.into_iter().take(self.config.indirect_probes) {
                self.send_to_member(other, MessageKind::PingRequest(probe.target()), probe.sequence(), turn);
            }
        }
    }

    /// Nobody reached these targets: each is suspect, and hears so at once, to refute.
    fn end_round(&mut self, turn: &mut Turn<'_>) {
        for probe in std::mem::take(&mut self.probes) {
            self.judge(probe.target(), MemberState::Alive, MemberState::Suspect, turn);
            self.retry(probe.target(), turn);
        }
    }

    /// If the member is still `from`, it is `to` now.
    fn judge(&mut self, node: NodeId, from: MemberState, to: MemberState, turn: &mut Turn<'_>) {
        let held = self.roster.get(node).filter(|member| member.state == from);
        if let Some(verdict) = held.map(|member| member.judged(to)) {
            self.learn(&verdict, turn);
            turn.news = News::Own;
        }
    }

    /// Pings a suspect quickly, so that it can refute, and a down member for ever, so that any partition
    /// heals. Others need none.
    fn retry(&mut self, node: NodeId, turn: &mut Turn<'_>) {
        let pause = match self.roster.get(node).map(|member| member.state) {
            Some(MemberState::Suspect) => self.config.ping_timeout,
            Some(MemberState::Down) => self.next_pause(node),
            Some(MemberState::Alive | MemberState::Left) | None => return,
        };
        self.ping(node, turn);
        self.arm(Timer::Retry(node), turn.now + pause);
    }

    fn next_pause(&mut self, node: NodeId) -> Duration {
        let attempt = self.roster.contact(node).map_or(0, |contact| {
            contact.attempts = contact.attempts.saturating_add(1);
            contact.attempts
        });
        self.config.retry_pause(attempt, &mut self.random)
    }

    /// Pings a seed unless a reachable member lives there; for ever, so that clusters find each other
    /// even if all that either knows of the other is a seed.
    fn try_seed(&mut self, place: usize, turn: &mut Turn<'_>) {
        let Some(seed) = self.seeds.get_mut(place) else { return };
        let lives_there =
            |member: &Member| member.state.is_reachable() && member.identity.membership_address == seed.address;
        let found = self.roster.members().values().any(lives_there);
        let attempt = seed.attempts;
        seed.attempts = if found { 0 } else { attempt.saturating_add(1) };
        let pause = self.config.retry_pause(attempt, &mut self.random);
        let address = seed.address.clone();
        self.arm(Timer::Seed(place), turn.now + pause);
        if !found {
            let sequence = self.next_sequence();
            self.send(address, None, MessageKind::Ping, sequence, turn);
        }
    }

    fn sync_with_someone(&mut self, turn: &mut Turn<'_>) {
        self.arm(Timer::FullSync, turn.now + self.config.full_sync_interval);
        let peers = self.roster.reachable_peers();
        if let Some(peer) = self.random.pick(&peers) {
            self.request_full_sync(*peer, turn);
        }
    }

    /// A member came back, or the first one was found: learn at once what it knows.
    pub(super) fn reunite(&mut self, node: NodeId, turn: &mut Turn<'_>) {
        if self.phase == Phase::Running && self.reunion.is_none_or(|last| turn.now >= last + REUNION_PAUSE) {
            self.reunion = Some(turn.now);
            self.request_full_sync(node, turn);
        }
    }

    fn up_to(&mut self, duration: Duration) -> Duration {
        Duration::from_micros(self.random.between(0, u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }
}
