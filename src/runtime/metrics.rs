//! What a node counts, in the OpenMetrics text form that Prometheus reads. Names are stable.

use super::status::{ClusterStatus, MemberState, TransferStatus};
use crate::node::Notice;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds in seconds: a lone read from the page cache takes 0.1 ms, a time-out is seconds.
const LATENCY_BUCKETS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// Content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every metric of a node. Shared: counting needs no owner.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Family<OperationLabel, Histogram, fn() -> Histogram>,
    notices: Family<NoticeLabel, Counter>,
    /// The same, found without making their names.
    noticed: Mutex<BTreeMap<Notice, Counter>>,
    connections: Gauge,
    hints: Family<TargetLabel, Gauge>,
    hint_bytes: Family<TargetLabel, Gauge>,
    members: Family<StateLabel, Gauge>,
    partitions_filling: Gauge,
    transfers: TransferMetrics,
    layout_version: Gauge,
    ready: Gauge,
    disk_free_bytes: Gauge,
    compactions: Counter,
    scrub_bytes: Counter,
    scrub_rounds: Counter,
    damaged_records: Counter,
    repaired_records: Counter,
    restart_needed: Gauge,
    cache_hits: Counter,
    cache_misses: Counter,
    cache_bytes: Gauge,
}

/// How a look into the cache of hot records ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// The record was there.
    Hit,
    /// It has to be read.
    Miss,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NoticeLabel {
    notice: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TargetLabel {
    target: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OwnerLabel {
    owner: String,
}

/// What came for partitions that fill, by the node that sent it.
#[derive(Debug, Default)]
struct TransferMetrics {
    copies: Family<OwnerLabel, Counter>,
    objects: Family<OwnerLabel, Counter>,
    bytes: Family<OwnerLabel, Counter>,
    retries: Family<OwnerLabel, Counter>,
    idle_seconds: Gauge,
}

impl TransferMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("transfer_copies", "Partitions copied whole from another node", self.copies.clone());
        registry.register("transfer_objects", "Objects that came with such copies", self.objects.clone());
        registry.register("transfer_bytes", "Keys and values that came with such copies", self.bytes.clone());
        registry.register("transfer_retries", "Copies that were begun again", self.retries.clone());
        let idle = "Seconds without progress of copies that should come on";
        registry.register("transfer_idle_seconds", idle, self.idle_seconds.clone());
    }

    fn observe(&self, status: &ClusterStatus) {
        for TransferStatus { owner, copies, objects, bytes, retries, .. } in &status.transfers {
            let label = OwnerLabel { owner: owner.clone() };
            let all =
                [(&self.copies, copies), (&self.objects, objects), (&self.bytes, bytes), (&self.retries, retries)];
            for (family, count) in all {
                // Counted by the node since its process began, as a counter is.
                family.get_or_create(&label).inner().store(*count, std::sync::atomic::Ordering::Relaxed);
            }
        }
        self.idle_seconds.set(gauge(status.transfer_idle_seconds));
    }
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("dunlin"),
            requests: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            notices: Family::default(),
            noticed: Mutex::default(),
            connections: Gauge::default(),
            hints: Family::default(),
            hint_bytes: Family::default(),
            members: Family::default(),
            partitions_filling: Gauge::default(),
            transfers: TransferMetrics::default(),
            layout_version: Gauge::default(),
            ready: Gauge::default(),
            disk_free_bytes: Gauge::default(),
            compactions: Counter::default(),
            scrub_bytes: Counter::default(),
            scrub_rounds: Counter::default(),
            damaged_records: Counter::default(),
            repaired_records: Counter::default(),
            restart_needed: Gauge::default(),
            cache_hits: Counter::default(),
            cache_misses: Counter::default(),
            cache_bytes: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("http_requests", "HTTP requests answered", self.requests.clone());
        registry.register("http_request_duration_seconds", "Time from head to answer", self.latency.clone());
        registry.register("http_connections", "Open client connections", self.connections.clone());
        registry.register("notices", "Things worth noting that the node did or met", self.notices.clone());
        registry.register("hints", "Writes held for nodes that could not be reached", self.hints.clone());
        registry.register("hint_bytes", "Size of those writes in the log", self.hint_bytes.clone());
        registry.register("members", "Members by state, as this node sees them", self.members.clone());
        registry.register("partitions_filling", "Partitions not yet held completely", self.partitions_filling.clone());
        self.transfers.register(registry);
        registry.register("layout_version", "Version of the layout in force", self.layout_version.clone());
        registry.register("disk_free_bytes", "Free space where the data is", self.disk_free_bytes.clone());
        registry.register("compactions", "Compactions that gave space back", self.compactions.clone());
        registry.register("scrub_bytes", "Bytes of the log verified in the background", self.scrub_bytes.clone());
        registry.register(
            "scrub_rounds",
            "How often the scrub has verified all that is sealed",
            self.scrub_rounds.clone(),
        );
        registry.register("damaged_records", "Records found damaged while running", self.damaged_records.clone());
        let repaired = "Damaged records that do not count any more: their partitions fill from the other replicas";
        registry.register("repaired_records", repaired, self.repaired_records.clone());
        let restart = "1 if damage was found that only a restart repairs";
        registry.register("damage_needs_restart", restart, self.restart_needed.clone());
        registry.register("cache_hits", "Records found in the cache of hot ones", self.cache_hits.clone());
        registry.register("cache_misses", "Records read from the log instead", self.cache_misses.clone());
        registry.register("cache_bytes", "Size of the cache of hot records", self.cache_bytes.clone());
        registry.register("ready", "1 if clients may be sent here", self.ready.clone());
    }

    /// A compaction came to its end.
    pub fn compacted(&self) {
        self.compactions.inc();
    }

    /// So much of the log was verified.
    pub fn scrubbed(&self, bytes: u64) {
        self.scrub_bytes.inc_by(bytes);
    }

    /// All that is sealed was verified.
    pub fn scrubbed_round(&self) {
        self.scrub_rounds.inc();
    }

    /// Records were found damaged.
    pub fn damaged(&self, records: u64) {
        self.damaged_records.inc_by(records);
    }

    /// Damaged records do not count any more.
    pub fn repaired(&self, records: u64) {
        self.repaired_records.inc_by(records);
    }

    /// Damage was found that only an opening can deal with.
    pub fn restart_needed(&self) {
        self.restart_needed.set(1);
    }

    /// A record was looked up in the cache of hot ones.
    pub fn looked_up_in_cache(&self, lookup: Lookup) {
        match lookup {
            Lookup::Hit => self.cache_hits.inc(),
            Lookup::Miss => self.cache_misses.inc(),
        };
    }

    /// One of the caches of hot records had so many bytes, and has so many now.
    pub fn cached(&self, before: u64, now: u64) {
        self.cache_bytes.inc_by(gauge(now) - gauge(before));
    }

    /// Room on the disk.
    pub fn disk_free(&self, bytes: u64) {
        self.disk_free_bytes.set(gauge(bytes));
    }

    /// Counts an answered request.
    pub fn record(&self, operation: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&RequestLabels { operation, status }).inc();
        self.latency.get_or_create(&OperationLabel { operation }).observe(took.as_secs_f64());
    }

    /// Counts a notice of the core under its name in snake case.
    pub fn count_notice(&self, notice: Notice) {
        let mut noticed = self.noticed.lock().unwrap_or_else(PoisonError::into_inner);
        let named = || self.notices.get_or_create(&NoticeLabel { notice: snake_case(&format!("{notice:?}")) }).clone();
        noticed.entry(notice).or_insert_with(named).inc();
    }

    /// A client connection was opened.
    pub fn connection_opened(&self) {
        self.connections.inc();
    }

    /// A client connection was closed.
    pub fn connection_closed(&self) {
        self.connections.dec();
    }

    /// The whole text, gauges as of `status`.
    pub fn render(&self, status: &ClusterStatus) -> String {
        self.observe(status);
        let mut text = String::new();
        // Writing into a String cannot fail; an encoder that did would leave the text short of its `# EOF`.
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }

    fn observe(&self, status: &ClusterStatus) {
        self.hints.clear();
        self.hint_bytes.clear();
        for hint in &status.hints {
            let label = TargetLabel { target: status.name_of(hint.target) };
            self.hints.get_or_create(&label).set(gauge(hint.count));
            self.hint_bytes.get_or_create(&label).set(gauge(hint.bytes));
        }
        for state in MemberState::ALL {
            let count = status.members.iter().filter(|member| member.state == state).count();
            self.members.get_or_create(&StateLabel { state: state.name() }).set(gauge(count as u64));
        }
        self.partitions_filling.set(gauge(status.partitions_filling.len() as u64));
        self.transfers.observe(status);
        self.layout_version.set(gauge(status.layout_version));
        self.ready.set(i64::from(status.ready));
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::NodeId;
    use crate::runtime::status::HintStatus;

    #[test]
    fn names_and_labels_are_as_documented() {
        let metrics = Metrics::new();
        metrics.record("put", 204, Duration::from_millis(2));
        metrics.count_notice(Notice::HintStored);
        metrics.count_notice(Notice::HintStored);
        metrics.connection_opened();
        for lookup in [Lookup::Hit, Lookup::Hit, Lookup::Miss] {
            metrics.looked_up_in_cache(lookup);
        }
        metrics.cached(0, 70);
        metrics.cached(0, 10);
        metrics.cached(10, 7);
        let hints = vec![HintStatus { target: NodeId(7), count: 3, bytes: 99 }];
        let text = metrics.render(&ClusterStatus { hints, ready: true, layout_version: 4, ..ClusterStatus::default() });
        for line in [
            "dunlin_http_requests_total{operation=\"put\",status=\"204\"} 1",
            "dunlin_http_request_duration_seconds_bucket{le=\"0.0025\",operation=\"put\"} 1",
            "dunlin_notices_total{notice=\"hint_stored\"} 2",
            "dunlin_http_connections 1",
            "dunlin_hints{target=\"0000000000000007\"} 3",
            "dunlin_hint_bytes{target=\"0000000000000007\"} 99",
            "dunlin_members{state=\"alive\"} 0",
            "dunlin_layout_version 4",
            "dunlin_cache_hits_total 2",
            "dunlin_cache_misses_total 1",
            "dunlin_cache_bytes 77",
            "dunlin_ready 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn a_target_without_hints_disappears() {
        let metrics = Metrics::new();
        let hints = vec![HintStatus { target: NodeId(7), count: 3, bytes: 99 }];
        metrics.render(&ClusterStatus { hints, ..ClusterStatus::default() });
        assert!(!metrics.render(&ClusterStatus::default()).contains("target="));
    }
}
