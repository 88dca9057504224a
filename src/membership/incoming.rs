//! What a detector does with messages.

use super::config::Lifeguard;
use super::detector::{Detector, Phase, Turn};
use super::member::MAX_INCARNATION;
use super::message::{Body, Header, MAX_DATAGRAM_BYTES, MAX_FULL_SYNC_BYTES, Message, MessageError, MessageKind};
use super::probe::Probe;
use super::relay::Relay;
use super::schedule::Timer;
use crate::base::NodeId;

/// A relay is remembered for so many ping timeouts: an asker that doubts itself waits longer than one.
const RELAY_TIMEOUTS: u32 = 4;

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    /// As a datagram.
    Datagram,
    /// Over a stream.
    Stream,
}

/// Where a message came from.
#[derive(Debug)]
pub(super) struct Origin {
    /// Who sent it, proved.
    pub(super) sender: NodeId,
    /// Where an answer reaches it.
    pub(super) from: String,
    pub(super) channel: Channel,
}

impl Channel {
    fn limit(self) -> usize {
        match self {
            Channel::Datagram => MAX_DATAGRAM_BYTES,
            Channel::Stream => MAX_FULL_SYNC_BYTES,
        }
    }

    fn carries(self, kind: MessageKind) -> bool {
        let is_sync = matches!(kind, MessageKind::SyncRequest | MessageKind::SyncAnswer);
        is_sync == (self == Channel::Stream)
    }
}

impl Detector {
    /// Takes a message: learns its records, then does what it asks. One that does not say who really sent
    /// it is dropped: nobody acknowledges a ping, or claims an incarnation, in another's name.
    pub(super) fn receive(&mut self, origin: Origin, bytes: &[u8], turn: &mut Turn<'_>) {
        let Origin { sender, from, channel } = origin;
        let cluster = self.roster.own().identity.cluster;
        let message = match Message::decode(bytes, channel.limit(), cluster) {
            Ok(message) if channel.carries(message.header.kind) => message,
            Ok(_) | Err(MessageError::Malformed) => return self.counters.malformed += 1,
            Err(MessageError::ForeignCluster) => return self.counters.foreign_cluster += 1,
        };
        if message.header.sender != sender {
            return self.counters.false_sender += 1;
        }
        let was_reachable = self.roster.is_reachable(sender);
        let (own_before, known_before) = (self.roster.own().incarnation, self.roster.members().len());
        if let Body::Records(records) = &message.body {
            records.iter().for_each(|record| self.hear(record, turn));
        }
        // A message under this node's own id is an echo through a seed, or of a process with a copied
        // data directory: its records count, but there is nobody to answer.
        if self.phase == Phase::Silent || sender == self.roster.own().node() {
            return;
        }
        self.note(&message.header);
        if let Body::Fingerprints(theirs) = &message.body {
            let asked = (sender, message.header.sequence);
            return self.answer_full_sync(from, asked, theirs, turn);
        }
        // Who knew of someone unknown here may know of more than fitted into one answer.
        if message.header.kind == MessageKind::SyncAnswer && self.roster.members().len() > known_before {
            self.request_full_sync(sender, turn);
        }
        let refuted = self.roster.own().incarnation != own_before;
        self.answer(&message.header, from, refuted.then_some(Refuted), turn);
        if !was_reachable && self.roster.is_reachable(sender) {
            self.reunite(sender, turn);
        }
    }

    /// Remembers what the sender knows of this node and of itself.
    fn note(&mut self, header: &Header) {
        let me = self.roster.own().node();
        if let Some(contact) = self.roster.contact(header.sender) {
            contact.holds = header.holds.filter(|_| header.addressee == Some(me));
            contact.says = Some(header.incarnation.min(MAX_INCARNATION));
        }
    }

    fn answer(&mut self, header: &Header, from: String, refuted: Option<Refuted>, turn: &mut Turn<'_>) {
        let (sender, sequence) = (header.sender, header.sequence);
        match header.kind {
            MessageKind::Ping => return self.send(from, Some(sender), MessageKind::Ack, sequence, turn),
            MessageKind::Ack => self.acknowledged(sender, sequence, turn),
            MessageKind::ForwardedAck(target) => self.probe_answered(target, sequence),
            MessageKind::Nack(target) => self.relay_lives(target, sequence),
            MessageKind::PingRequest(target) => self.ping_for(header, target, from.clone(), turn),
            MessageKind::SyncRequest | MessageKind::SyncAnswer => {}
        }
        // Whoever believed this node gone hears the refutation now, not at the next probe.
        if refuted.is_some() {
            let sequence = self.next_sequence();
            self.send(from, Some(sender), MessageKind::Ping, sequence, turn);
        }
    }

    fn acknowledged(&mut self, node: NodeId, sequence: u64, turn: &mut Turn<'_>) {
        match self.relays.take(sequence, node) {
            Some(relay) => {
                self.schedule.cancel(Timer::Nack(sequence));
                let kind = MessageKind::ForwardedAck(relay.target);
                self.send(relay.address, Some(relay.asker), kind, relay.sequence, turn);
            }
            None => self.probe_answered(node, sequence),
        }
    }

    fn relay_lives(&mut self, target: NodeId, sequence: u64) {
        let probes = self.probes.iter_mut();
        probes.filter(|probe| probe.is_answered_by(target, sequence)).for_each(Probe::relay_lives);
    }

    /// Pings `target` for the sender, at the address known here: nobody can make this node send to an
    /// address of their choice.
    fn ping_for(&mut self, header: &Header, target: NodeId, address: String, turn: &mut Turn<'_>) {
        if target == self.roster.own().node() || self.roster.get(target).is_none() {
            return;
        }
        let relay = Relay { asker: header.sender, address, sequence: header.sequence, target };
        let sequence = self.next_sequence();
        if self.relays.insert(sequence, relay, turn.now, self.config.ping_timeout * RELAY_TIMEOUTS) {
            self.send_to_member(target, MessageKind::Ping, sequence, turn);
            if self.config.lifeguard == Lifeguard::On {
                // Early enough to reach an asker who waits as long as a ping may take.
                self.arm(Timer::Nack(sequence), turn.now + self.config.ping_timeout * 4 / 5);
            }
        } else {
            self.counters.relays_refused += 1;
        }
    }
}

/// The message made this node raise its incarnation.
#[derive(Debug, Clone, Copy)]
struct Refuted;
