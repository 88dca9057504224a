//! News that is still being passed on.

use super::message::{MessageWriter, encode_one};
use super::record::{Record, Subject};
use crate::base::NodeId;
use std::collections::BTreeMap;

/// Below this hardly a record fits: a brief one of real ids has 32 bytes. Saves looking at all rumours
/// for a full datagram.
const LEAST_RECORD_BYTES: usize = 32;

/// After so many rumours that did not fit a message counts as full. Looking through all of them for one
/// that fits would cost a cluster with much news more than the rest of the message.
const MOST_MISFITS: usize = 8;

/// The newest record of each member that changed lately, with how often it was sent. One per member, so
/// as bounded as the members are.
#[derive(Debug, Default)]
pub(super) struct Rumours {
    places: BTreeMap<NodeId, Place>,
    /// In the order of sending: fewest sends first, among equals the newest.
    queue: BTreeMap<Place, Rumour>,
    added: u64,
}

#[derive(Debug)]
struct Rumour {
    bytes: Box<[u8]>,
    /// Does it carry the identity?
    whole: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    sent: u32,
    /// Counts down, so that newer comes first.
    age: u64,
    node: NodeId,
}

impl Rumours {
    /// Starts passing on a record, in place of older news of the same node.
    pub(super) fn insert(&mut self, record: &Record) {
        let whole = matches!(record.subject, Subject::Whole(_));
        self.insert_encoded(record.node(), encode_one(record), whole);
    }

    /// Is an identity of `node` still being passed on? A brief record in its place would leave those who
    /// have not heard it without.
    pub(super) fn introduces(&self, node: NodeId) -> bool {
        self.places.get(&node).and_then(|place| self.queue.get(place)).is_some_and(|rumour| rumour.whole)
    }

    fn insert_encoded(&mut self, node: NodeId, bytes: Vec<u8>, whole: bool) {
        self.added += 1;
        let place = Place { sent: 0, age: u64::MAX - self.added, node };
        if let Some(old) = self.places.insert(node, place) {
            self.queue.remove(&old);
        }
        self.queue.insert(place, Rumour { bytes: bytes.into(), whole });
    }

    /// Fills up a message with the least-sent rumours, but for those `attached` already. Each is sent
    /// at most `sends` times in all.
    pub(super) fn fill(&mut self, writer: &mut MessageWriter, attached: &[NodeId], sends: u32) {
        let (mut taken, mut misfits) = (Vec::new(), 0);
        for (place, rumour) in &self.queue {
            if writer.room() < LEAST_RECORD_BYTES || misfits == MOST_MISFITS {
                break;
            }
            if attached.contains(&place.node) {
                continue;
            }
            match writer.push_encoded(&rumour.bytes) {
                true => taken.push(*place),
                false => misfits += 1,
            }
        }
        for place in taken {
            self.count_send(place, sends);
        }
    }

    fn count_send(&mut self, place: Place, sends: u32) {
        let Some(rumour) = self.queue.remove(&place) else { return };
        if place.sent + 1 >= sends {
            self.places.remove(&place.node);
            return;
        }
        let place = Place { sent: place.sent + 1, ..place };
        self.places.insert(place.node, place);
        self.queue.insert(place, rumour);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::message::{MAX_DATAGRAM_BYTES, tests::ping};

    fn sent(rumours: &mut Rumours, sends: u32) -> usize {
        let mut writer = MessageWriter::new(&ping(), MAX_DATAGRAM_BYTES);
        let before = writer.room();
        rumours.fill(&mut writer, &[], sends);
        before - writer.room()
    }

    /// Rule: a rumour is passed on a fixed number of times, then forgotten.
    #[test]
    fn a_rumour_dies_after_its_sends() {
        let mut rumours = Rumours::default();
        rumours.insert_encoded(NodeId(1), vec![0; 50], false);
        assert_eq!([1, 2, 3, 4].map(|_| sent(&mut rumours, 3)), [50, 50, 50, 0]);
        assert!(rumours.queue.is_empty() && rumours.places.is_empty());
    }

    /// Rule: one that does not fit keeps no smaller one back; the search ends before the cost of it grows
    /// with the news.
    #[test]
    fn the_search_for_one_that_fits_is_bounded() {
        for (large, expected) in [(MOST_MISFITS, 50), (MOST_MISFITS + 1, 0)] {
            let mut rumours = Rumours::default();
            rumours.insert_encoded(NodeId(99), vec![0; 50], false);
            for node in 0..large as u64 {
                rumours.insert_encoded(NodeId(node), vec![0; 600], false);
            }
            // The newest first: one large one fits, the others do not.
            assert_eq!(sent(&mut rumours, 9) - 600, expected, "{large} large ones");
        }
    }

    /// Rule: when not all fit, the least-sent go first, so none starves; fresh news replaces old.
    #[test]
    fn the_least_sent_go_first_and_news_replaces_old() {
        let mut rumours = Rumours::default();
        for node in 0..4 {
            rumours.insert_encoded(NodeId(node), vec![0; 400], false);
        }
        sent(&mut rumours, 9);
        sent(&mut rumours, 9);
        assert!(rumours.queue.keys().all(|place| place.sent == 1), "{:?}", rumours.queue);
        rumours.insert_encoded(NodeId(0), vec![1; 400], false);
        assert_eq!(rumours.queue.len(), 4);
        assert_eq!(rumours.queue.keys().next().map(|place| (place.node, place.sent)), Some((NodeId(0), 0)));
    }
}
