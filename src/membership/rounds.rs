//! What a detector does by the clock: probe, judge, retry, sync.

use super::detector::{Detector, News, Phase, Turn};
use super::member::{Member, MemberState};
use super::message::MessageKind;
use super::probe::Probe;
use super::schedule::Timer;
use crate::base::NodeId;
use std::time::Duration;

/// A member that came back is asked at once for all it knows, but no more than one per this time: a
/// healed partition brings back many, and one of them knows what all know.
const REUNION_PAUSE: Duration = Duration::from_secs(1);

impl Detector {
    /// Begins, or forgives: if this process slept well beyond its deadline, the silence of the others
    /// proves nothing, so all timers get that time back; and this node has reason to doubt itself.
    pub(super) fn wake(&mut self, turn: &Turn<'_>) {
        if self.phase == Phase::New {
            return self.start(turn);
        }
        let slept = turn.now.since(self.schedule.first());
        if slept > self.config.ping_timeout {
            self.schedule.postpone(slept);
            self.suspicions.values_mut().for_each(|suspicion| suspicion.postpone(slept));
            self.worsen_health(1);
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
                Timer::Suspicion(node) => self.condemn(node, turn),
                Timer::Retry(node) => self.retry(node, turn),
                Timer::Nack(sequence) => self.nack(sequence, turn),
                Timer::Seed(place) => self.try_seed(place, turn),
            }
        }
    }

    fn begin_round(&mut self, turn: &mut Turn<'_>) {
        self.arm(Timer::Round, turn.now + self.health.scale(self.config.probe_interval));
        if !self.probes.is_empty() {
            return;
        }
        let reachable = self.roster.reachable_peers().len();
        for _ in 0..self.config.probes_per_round.clamp(1, reachable.max(1)) {
            let Some(target) = self.lap.next(self.roster.reachable_peers(), &mut self.random) else { return };
            if self.probes.iter().any(|probe| probe.target() == target) {
                continue;
            }
            let sequence = self.ping(target, turn);
            self.probes.push(Probe::new(target, sequence));
        }
        self.arm(Timer::PingTimeout, turn.now + self.health.scale(self.config.ping_timeout));
    }

    /// Asks others to ping the targets that have not answered, and pings each again: where packets are
    /// lost, one more ping makes a false suspicion ten times rarer.
    fn ask_others(&mut self, turn: &mut Turn<'_>) {
        for mut probe in std::mem::take(&mut self.probes) {
            let others = self.sample(self.config.indirect_probes, Some(probe.target()));
            probe.asked(others.len() as u32);
            self.send_to_member(probe.target(), MessageKind::Ping, probe.sequence(), turn);
            for other in others {
                self.send_to_member(other, MessageKind::PingRequest(probe.target()), probe.sequence(), turn);
            }
            self.probes.push(probe);
        }
        self.arm(Timer::ProbeTimeout, turn.now + self.health.scale(self.config.ping_timeout));
    }

    /// Some of the reachable members, by chance, each at most once.
    pub(super) fn sample(&mut self, count: usize, except: Option<NodeId>) -> Vec<NodeId> {
        let all = self.roster.reachable_peers();
        let mut chosen = Vec::new();
        if all.len() <= 2 * count + 1 {
            chosen.extend(all.iter().copied().filter(|node| Some(*node) != except));
            self.random.shuffle(&mut chosen);
            chosen.truncate(count);
            return chosen;
        }
        // More than twice as many as are wanted: every other draw finds a new one.
        while chosen.len() < count {
            match self.random.pick(all) {
                Some(node) if Some(*node) != except && !chosen.contains(node) => chosen.push(*node),
                _ => {}
            }
        }
        chosen
    }

    /// Nobody reached these targets: each is suspect, and hears so at once, to refute.
    fn end_round(&mut self, turn: &mut Turn<'_>) {
        for probe in std::mem::take(&mut self.probes) {
            self.worsen_health(probe.doubts());
            self.accuse(probe.target(), turn);
            self.retry(probe.target(), turn);
        }
    }

    /// Suspects a member, or confirms that it is suspect.
    fn accuse(&mut self, node: NodeId, turn: &mut Turn<'_>) {
        let Some(held) = self.roster.get(node).filter(|member| member.state.is_reachable()) else { return };
        let (was, verdict) = (held.state, held.judged(MemberState::Suspect));
        self.learn(&verdict, Some(self.roster.own().node()), turn);
        if was == MemberState::Alive {
            turn.news = News::Own;
        }
    }

    /// Tells who asked for a relayed ping that it had no answer so far.
    fn nack(&mut self, sequence: u64, turn: &mut Turn<'_>) {
        if let Some(relay) = self.relays.get(sequence).cloned() {
            let kind = MessageKind::Nack(relay.target);
            self.send(relay.address, Some(relay.asker), kind, relay.sequence, turn);
        }
    }

    /// A probe was answered: with the last of a round there is nothing left to wait for.
    pub(super) fn probe_answered(&mut self, target: NodeId, sequence: u64) {
        let before = self.probes.len();
        self.probes.retain(|probe| !probe.is_answered_by(target, sequence));
        if self.probes.len() < before {
            self.health.improve();
        }
        if self.probes.is_empty() {
            self.schedule.cancel(Timer::PingTimeout);
            self.schedule.cancel(Timer::ProbeTimeout);
        }
    }

    /// A suspect's time is over.
    fn condemn(&mut self, node: NodeId, turn: &mut Turn<'_>) {
        let held = self.roster.get(node).filter(|member| member.state == MemberState::Suspect);
        if let Some(verdict) = held.map(|member| member.judged(MemberState::Down)) {
            self.learn(&verdict, None, turn);
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
        self.config.retry_pause(attempt, self.roster.members().len(), &mut self.random)
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
        let pause = self.config.retry_pause(attempt, 1, &mut self.random);
        let address = seed.address.clone();
        self.arm(Timer::Seed(place), turn.now + pause);
        if !found {
            let sequence = self.next_sequence();
            self.send(address, None, MessageKind::Ping, sequence, turn);
        }
    }

    fn sync_with_someone(&mut self, turn: &mut Turn<'_>) {
        self.arm(Timer::FullSync, turn.now + self.config.full_sync_interval);
        if let Some(peer) = self.random.pick(self.roster.reachable_peers()).copied() {
            self.request_full_sync(peer, turn);
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
