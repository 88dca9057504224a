//! Clients that list: which pages they ask for.

use super::world::World;
use bytes::Bytes;
use dunlin::base::{Random, Time};
use dunlin::node::Input;
use dunlin::replication::{ListCommand, Options};
use dunlin::ring::PartitionId;
use dunlin::store::KeyQuery;
use std::collections::BTreeMap;

/// A page that a client waits for.
#[derive(Debug, Clone)]
pub(super) struct AskedPage {
    pub client: usize,
    pub query: KeyQuery,
    pub options: Options,
    pub begun: Time,
}

/// The pages asked for and not answered.
pub(super) struct Pages {
    random: Random,
    open: BTreeMap<u64, AskedPage>,
}

impl Pages {
    pub(super) fn new(random: Random) -> Self {
        Self { random, open: BTreeMap::new() }
    }

    /// A page from anywhere, mostly a short one.
    pub(super) fn next(&mut self, client: usize, request: u64, begun: Time, options: Options) -> ListCommand {
        let text = |text: &'static str| Bytes::from_static(text.as_bytes());
        let query = KeyQuery {
            prefix: text(["", "", "key-", "key-1", "none"][self.random.below(5) as usize]),
            from: text(["", "", "key-1", "key-2", "key-5", "zz"][self.random.below(6) as usize]),
            limit: [1, 2, 3, 5, 100][self.random.below(5) as usize],
        };
        self.open.insert(request, AskedPage { client, query: query.clone(), options, begun });
        ListCommand { query, options }
    }

    /// Is the answer to a page? Then nobody waits for it any more.
    pub(super) fn answered(&mut self, request: u64) -> Option<AskedPage> {
        self.open.remove(&request)
    }
}

impl World {
    /// A node's store has listed its keys.
    pub(super) fn listed(&mut self, node: usize, boot: u64, id: u64, query: &KeyQuery, partitions: &[PartitionId]) {
        if !self.is_current(node, boot) {
            return;
        }
        let running = self.stations[node].running.as_mut();
        let page = running.and_then(|running| running.process.list(query, partitions));
        self.tally.count(if page.is_some() { "keys listed" } else { "disk: listing failed" });
        self.note(node, "keys", id, page.as_ref().map_or(u64::MAX, |page| page.keys.len() as u64));
        self.feed(node, Input::Listed { id, page });
    }
}
