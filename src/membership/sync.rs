//! Full sync: a request says in short what this node holds, an answer brings what differs. What both
//! cost does not grow with the cluster, but with what one of the two has missed.

use super::detector::{Detector, Turn};
use super::event::DetectorEffect;
use super::fingerprints::{Fingerprints, bucket_of};
use super::member::Member;
use super::message::{MAX_FULL_SYNC_BYTES, MessageKind, MessageWriter};
use super::record::Record;
use super::suspicion::Suspicion;
use crate::base::NodeId;

impl Detector {
    /// Asks a member for what it holds otherwise.
    pub(super) fn request_full_sync(&mut self, node: NodeId, turn: &mut Turn<'_>) {
        let Some(to) = self.address_of(node) else { return };
        let sequence = self.next_sequence();
        let header = self.header(Some(node), MessageKind::SyncRequest, sequence);
        let mut writer = MessageWriter::new(&header, MAX_FULL_SYNC_BYTES);
        writer.push_encoded(&self.roster.members().fingerprints().to_bytes());
        turn.effects.push(DetectorEffect::SendFullSync { to, bytes: writer.finish() });
    }

    /// Sends all records of the buckets that differ, as many as fit. It begins at a random one, so that
    /// who lacks more than fits gets other ones next time.
    pub(super) fn answer_full_sync(
        &mut self,
        to: String,
        (asker, sequence): (NodeId, u64),
        theirs: &Fingerprints,
        turn: &mut Turn<'_>,
    ) {
        let mut buckets = self.roster.members().fingerprints().differing(theirs);
        let first = self.random.below(buckets.len() as u64) as usize;
        buckets.rotate_left(first);
        let header = self.header(Some(asker), MessageKind::SyncAnswer, sequence);
        let mut writer = MessageWriter::new(&header, MAX_FULL_SYNC_BYTES);
        let mut members: Vec<(usize, &Member)> = Vec::new();
        for member in self.roster.members().values() {
            let place = buckets.iter().position(|bucket| *bucket == bucket_of(member.node()));
            members.extend(place.map(|place| (place, member)));
        }
        members.sort_by_key(|(place, _)| *place);
        for (_, member) in members {
            let accuser = self.suspicions.get(&member.node()).and_then(Suspicion::accuser);
            if !writer.push(&Record::whole(member, accuser)) {
                break;
            }
        }
        turn.effects.push(DetectorEffect::SendFullSync { to, bytes: writer.finish() });
    }
}
