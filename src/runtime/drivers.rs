//! A node's drivers, one for each shard, with the channels between them and the threads around them.

use super::append_queue::AppendQueue;
use super::cold_reads::ColdReads;
use super::compactor::{self, Surroundings};
use super::control_handle::ControlHandle;
use super::disk::RealDisk;
use super::driver::{Driver, Lead};
use super::flusher::{self, FlushRequest};
use super::hot_cache::HotCache;
use super::http::{COMMAND_QUEUE, CoreHandle, system_wall_clock};
use super::listings::Listings;
use super::membership::Members;
use super::metrics::Metrics;
use super::scrubber;
use super::serve_error::ServeError;
use super::settings::Settings;
use super::space::SpaceWatch;
use super::status::{ClusterStatus, StatusSource};
use super::status_board::StatusBoard;
use super::transport::{Received, Transport};
use super::upkeep::{Asks, Stop, Upkeep};
use crate::node::{Node, NodeOptions, Sharding, Space, View};
use crate::store::{Log, Reader, Recovered};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, watch};

/// What drivers are made of.
pub(super) struct Parts<'a> {
    pub(super) settings: &'a Settings,
    pub(super) epoch: u64,
    pub(super) sharding: Sharding,
    pub(super) view: Arc<View>,
    pub(super) members: watch::Receiver<Arc<Members>>,
    pub(super) control: ControlHandle,
    pub(super) transport: Arc<Transport>,
    /// By shard.
    pub(super) received: Vec<mpsc::Receiver<Received>>,
    pub(super) disk: Arc<RealDisk>,
    pub(super) log: Log<RealDisk>,
    pub(super) reader: Reader<RealDisk>,
    pub(super) recovered: Recovered,
    pub(super) metrics: Arc<Metrics>,
}

/// The drivers, and the way to them.
pub(super) struct Drivers {
    /// The first shard's, which speaks for the node as a whole.
    pub(super) first: Driver,
    pub(super) others: Vec<Driver>,
    pub(super) core: CoreHandle,
    /// To say goodbye if the first driver does not come to it.
    pub(super) transport: Arc<Transport>,
}

impl Drivers {
    /// Starts the threads around the log, and makes the drivers. Those do nothing before they run.
    pub(super) fn new(parts: Parts<'_>) -> Result<Drivers, ServeError> {
        let Parts { settings, epoch, sharding, view, members, transport, received, disk, log, reader, .. } = parts;
        let (recovered, metrics, control) = (parts.recovered, parts.metrics, parts.control);
        let shards = sharding.shards();
        let (answers, flushed): (Vec<_>, Vec<_>) = (0..shards).map(|_| mpsc::unbounded_channel()).unzip();
        let (commands, asked_for): (Vec<_>, Vec<_>) = (0..shards).map(|_| mpsc::channel(COMMAND_QUEUE)).unzip();
        let (asks, asked) = Asks::new(sharding);
        let flusher = flusher::start(log, answers).map_err(threads_refused)?;
        let (status_sender, status) = watch::channel(Arc::new(ClusterStatus::default()));
        let (space_sender, space) = watch::channel(Space::Plenty);
        let seed = rand::random();
        let options = NodeOptions { node: view.me, epoch, shards, seed, timings: settings.repair.timings() };
        let node = Node::new(options, Arc::clone(&view), recovered);
        let started = Instant::now();
        let surroundings = Surroundings { presence: node.presence(), started, space: space.clone() };
        let mut lead = Some(Lead {
            listings: Listings::start(Arc::clone(&disk), &flusher).map_err(threads_refused)?,
            status: status_sender,
            status_source: StatusSource::new(&view, &settings.node.name),
            upkeep: start_upkeep(settings, &flusher, &asks, &reader, surroundings, &metrics)
                .map_err(threads_refused)?,
            renewal_due: false,
            space_watch: SpaceWatch::new(disk, settings.storage.reserve_bytes.0, Arc::clone(&metrics)),
            space: space_sender,
        });
        let nodes = node.into_parts();
        let board = StatusBoard::new(shards);
        let channels = asked_for.into_iter().zip(received).zip(flushed).zip(asked);
        let mut drivers = Vec::with_capacity(shards);
        for ((shard, node), (((commands, received), flushed), asked)) in nodes.into_iter().enumerate().zip(channels) {
            // Keys are one shard's alone, so each has a cache of its own.
            let hot = HotCache::new(settings.storage.cache_bytes.0 / shards as u64, Arc::clone(&metrics));
            drivers.push(Driver {
                node,
                shard,
                lead: lead.take(),
                started,
                wall_clock: system_wall_clock,
                transport: Arc::clone(&transport),
                control: control.clone(),
                reads: ColdReads::start(reader.clone(), hot, shards).map_err(threads_refused)?,
                appends: AppendQueue::new(flusher.clone()),
                commands,
                received,
                flushed,
                members: members.clone(),
                view: Arc::clone(&view),
                board: board.clone(),
                holdings_stale: true,
                asked,
                space: space.clone(),
                metrics: Arc::clone(&metrics),
                waiting: Default::default(),
                next_request: 0,
                lost: None,
                failed: None,
            });
        }
        let others = drivers.split_off(drivers.len().min(1));
        let first = drivers.pop().ok_or_else(|| ServeError::Failed("a node without a shard".into()))?;
        Ok(Drivers { first, others, core: CoreHandle::sharded(commands, sharding, status), transport })
    }
}

/// Starts the threads that look after the log.
fn start_upkeep(
    settings: &Settings,
    flusher: &std::sync::mpsc::Sender<FlushRequest>,
    asks: &Asks,
    reader: &Reader<RealDisk>,
    surroundings: Surroundings,
    metrics: &Arc<Metrics>,
) -> std::io::Result<[Stop; 2]> {
    let (compactor, stop_compactor) = Upkeep::new(flusher.clone(), asks.clone());
    compactor::start(compactor, settings.storage.compaction.0, surroundings, Arc::clone(metrics))?;
    let (scrubber, stop_scrubber) = Upkeep::new(flusher.clone(), asks.clone());
    scrubber::start(scrubber, reader.clone(), settings.storage.scrub.0, Arc::clone(metrics))?;
    Ok([stop_compactor, stop_scrubber])
}

#[allow(clippy::needless_pass_by_value, reason = "made for map_err")]
fn threads_refused(error: std::io::Error) -> ServeError {
    ServeError::Failed(format!("cannot start the storage threads: {error}"))
}
