//! How a detector fills its messages.

use super::detector::{Detector, News, Phase, Turn};
use super::event::DetectorEffect;
use super::member::MemberState;
use super::message::{Header, MAX_DATAGRAM_BYTES, MessageKind, MessageWriter};
use super::record::Record;
use super::roster::Lacks;
use super::suspicion::{Suspicion, doublings};
use crate::base::NodeId;

/// A rumour is sent this many times per doubling of the cluster: with a few, gossip reaches all with
/// high probability even if one in five messages is lost; full syncs catch the rest.
const SENDS_PER_DOUBLING: u32 = 3;

/// Own news goes to this many members at once; they pass it on with their pings. Once per input,
/// however many members it is about.
const NEWS_FANOUT: usize = 3;

/// A leaving node will not ping again, so it tells more.
const LEAVE_FANOUT: usize = 64;

impl Detector {
    /// Pings a member; the number the answer will repeat.
    pub(super) fn ping(&mut self, node: NodeId, turn: &mut Turn<'_>) -> u64 {
        let sequence = self.next_sequence();
        self.send_to_member(node, MessageKind::Ping, sequence, turn);
        sequence
    }

    /// Sends to a member's own address.
    pub(super) fn send_to_member(&mut self, node: NodeId, kind: MessageKind, sequence: u64, turn: &mut Turn<'_>) {
        if let Some(address) = self.address_of(node) {
            self.send(address, Some(node), kind, sequence, turn);
        }
    }

    /// Sends a datagram with as much news as fits. First comes what the addressee must hear: what is
    /// said of itself, then this node's record if it lacks that, then rumours.
    pub(super) fn send(
        &mut self,
        to: String,
        addressee: Option<NodeId>,
        kind: MessageKind,
        sequence: u64,
        turn: &mut Turn<'_>,
    ) {
        let mut writer = MessageWriter::new(&self.header(addressee, kind, sequence), MAX_DATAGRAM_BYTES);
        let mut attached = Vec::new();
        for record in self.must_hear(addressee) {
            if writer.push(&record) {
                attached.push(record.node());
            }
        }
        let reachable = self.roster.reachable_peers().len() + 1;
        self.rumours.fill(&mut writer, &attached, SENDS_PER_DOUBLING * doublings(reachable));
        turn.effects.push(DetectorEffect::SendDatagram { to, bytes: writer.finish() });
    }

    /// Tells some members at once what this node has just found or said, instead of with the next probe.
    pub(super) fn spread_news(&mut self, turn: &mut Turn<'_>) {
        let fanout = match self.phase {
            _ if turn.news == News::None => 0,
            Phase::New | Phase::Silent => 0,
            Phase::Running => NEWS_FANOUT,
            Phase::Left => LEAVE_FANOUT,
        };
        for peer in self.sample(fanout, None) {
            self.ping(peer, turn);
        }
    }

    pub(super) fn header(&self, addressee: Option<NodeId>, kind: MessageKind, sequence: u64) -> Header {
        let own = self.roster.own();
        let held = addressee.filter(|node| self.roster.lacks(*node) == Lacks::Nothing);
        Header {
            cluster: own.identity.cluster,
            kind,
            sequence,
            sender: own.node(),
            incarnation: own.incarnation,
            addressee,
            holds: held.and_then(|node| self.roster.get(node)).map(|member| member.incarnation),
        }
    }

    /// The addressee's own record if it is judged to be other than alive or has been outbid, so that it
    /// refutes; and this node's record unless the addressee said that it holds it.
    fn must_hear(&mut self, addressee: Option<NodeId>) -> Vec<Record> {
        let contact = addressee.and_then(|node| self.roster.contact(node)).copied().unwrap_or_default();
        let mut records = Vec::new();
        if let Some(member) = addressee.and_then(|node| self.roster.get(node)) {
            let accuser = self.suspicions.get(&member.node()).and_then(Suspicion::accuser);
            match contact.says {
                // An earlier life, or a rival, may have had another identity.
                Some(says) if says < member.incarnation => records.push(Record::whole(member, accuser)),
                Some(_) if member.state != MemberState::Alive => records.push(Record::brief(member, accuser)),
                None if member.state != MemberState::Alive => records.push(Record::whole(member, accuser)),
                Some(_) | None => {}
            }
        }
        let own = self.roster.own();
        match contact.holds {
            Some(held) if held == own.incarnation => {}
            // Of this life, and of the identity it has now.
            Some(held) if (self.described..own.incarnation).contains(&held) => records.push(Record::brief(own, None)),
            Some(_) | None => records.push(Record::whole(own, None)),
        }
        records
    }

    pub(super) fn address_of(&self, node: NodeId) -> Option<String> {
        self.roster.get(node).map(|member| member.identity.membership_address.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Now, Random};
    use crate::membership::Member;
    use crate::membership::message::{Body, Message, tests::ping};
    use crate::membership::tests::{CLUSTER, identity};
    use crate::membership::{DetectorConfig, DetectorInput};

    const PEER: NodeId = NodeId(9);

    fn detector() -> Detector {
        let config = DetectorConfig { first_incarnation: 7, ..DetectorConfig::default() };
        Detector::new(config, identity(1), Vec::new(), Random::from_seed(1)).unwrap()
    }

    fn peer_at(incarnation: u64) -> Member {
        Member { identity: identity(PEER.0).into(), incarnation, state: MemberState::Alive }
    }

    /// A message of the peer, at its incarnation 3.
    fn header(kind: MessageKind, holds: Option<u64>) -> Header {
        Header { kind, sender: PEER, incarnation: 3, addressee: Some(NodeId(1)), holds, ..ping() }
    }

    /// What the detector sends back to the peer.
    fn replies(detector: &mut Detector, header: &Header, records: &[Member]) -> Vec<Message> {
        let mut writer = MessageWriter::new(header, MAX_DATAGRAM_BYTES);
        assert!(records.iter().all(|member| writer.push(&Record::whole(member, None))));
        let input = DetectorInput::Datagram { sender: header.sender, from: "peer".into(), bytes: writer.finish() };
        let mut effects = Vec::new();
        detector.handle(Now::default(), input, &mut effects);
        let to_peer = effects.into_iter().filter_map(|effect| match effect {
            DetectorEffect::SendDatagram { to, bytes } if to == "peer" => Some(bytes),
            _ => None,
        });
        to_peer.map(|bytes| Message::decode(&bytes, MAX_DATAGRAM_BYTES, CLUSTER).unwrap()).collect()
    }

    fn told(message: &Message) -> Vec<(NodeId, u64)> {
        let Body::Records(records) = &message.body else { return Vec::new() };
        records.iter().map(|record| (record.node(), record.incarnation)).collect()
    }

    /// Rule: whoever does not say that it holds this node's newest record gets it with the next
    /// message, whatever became of the rumours.
    #[test]
    fn the_own_record_is_sent_until_the_addressee_holds_it() {
        for (holds, expected) in [(None, true), (Some(6), true), (Some(7), false)] {
            let sent = replies(&mut detector(), &header(MessageKind::Ping, holds), &[peer_at(3)]);
            assert_eq!(told(&sent[0]).contains(&(NodeId(1), 7)), expected, "{holds:?}");
        }
    }

    /// Rule: a node that speaks with an incarnation below the one known of it has been outbid, by its
    /// own past or by a rival; it is told so before anything else.
    #[test]
    fn an_outbid_node_is_told_first() {
        let sent = replies(&mut detector(), &header(MessageKind::Ping, None), &[peer_at(5)]);
        assert_eq!(told(&sent[0]), [(PEER, 5), (NodeId(1), 7)]);
    }

    /// Rule: whoever believes this node down hears the refutation at once, even if what told us so
    /// asked for no answer.
    #[test]
    fn a_refutation_goes_back_at_once() {
        let mut detector = detector();
        let verdict = detector.roster.own().judged(MemberState::Down);
        let sent = replies(&mut detector, &header(MessageKind::Ack, Some(7)), &[peer_at(3), verdict]);
        assert_eq!(sent[0].header.kind, MessageKind::Ping);
        assert!(told(&sent[0]).contains(&(NodeId(1), 8)));
    }
}
