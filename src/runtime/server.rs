//! A node as a process: everything opened in order, run, and closed in order.

use super::certificates::TlsFiles;
use super::control_handle::{ControlInbox, control_channel};
use super::detector::DetectorEndpoint;
use super::disk::RealDisk;
use super::driver::Ended;
use super::drivers::{Drivers, Parts};
use super::encryption::{encryption, key_variable};
use super::http::{
    self, BodyBudget, CoreHandle, HttpState, MAX_BODY_BYTES_HELD, MAX_DEALT, MAX_LISTINGS, TokenSecrets,
    system_wall_clock,
};
use super::identity::NodeIdentity;
use super::join::Desk;
use super::layout_desk::LayoutDesk;
use super::membership::{Members, MembershipTask, entropy};
use super::metrics::Metrics;
use super::open_files::OpenFiles;
pub use super::serve_error::ServeError;
use super::settings::Settings;
use super::shards::{ShardThreads, ShardWork, Started};
use super::transport::limits::max_frame_bytes;
use super::transport::{JOIN_PROTOCOL, Received, Transport, TransportConfig};
use super::unknown_files;
use crate::base::NodeId;
use crate::causal::{Actor, TokenSecret};
use crate::membership::{Detector, Identity};
use crate::node::{Control, LayoutKeeper, LayoutTimings, Sharding, View};
use crate::store::{self, Birth, CodecOptions, OpenError, OpenOptions, Opened, Opening, Recovered};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

/// How long threads that wait for the system may hold a process at its end: a name server that does not
/// answer may take half a minute, and nobody wants to know any more.
pub const EXIT_PATIENCE: Duration = Duration::from_millis(200);

/// Runs a node until `shutdown`.
pub async fn run(settings: Settings, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    let open_files = OpenFiles::raise();
    open_files.report(settings.limits.http().max_connections);
    let identity = NodeIdentity::load(&settings, system_wall_clock())?;
    let epoch: u64 = rand::random();
    let tls = load_tls(&settings, &identity)?;
    let disk = open_disk(&settings)?;
    unknown_files::report(&disk);
    let Opened { log, reader, recovered } = open_store(&settings, Arc::clone(&disk), open_files)?;
    report(&recovered);
    let sharding = Sharding::new(identity.layout.partitioning, settings.node.shards as usize);
    let (transport, received) = bind_transport(&settings, &identity, &tls, epoch, sharding)?;
    let http = TcpListener::bind(settings.node.http_address)
        .await
        .map_err(|error| cannot_listen("http_address", settings.node.http_address, &error))?;
    let http_address = http.local_addr().map_err(|error| ServeError::Failed(error.to_string()))?;

    let me = own_identity(&settings, &identity, recovered.actor, http_address)?;
    let (leave, leaving) = watch::channel(false);
    let keeper = LayoutKeeper::new(identity.node, LayoutTimings::default(), identity.layouts.clone(), entropy());
    let layouts = Arc::clone(keeper.live());
    let view = Arc::new(View { me: identity.node, layouts, peers: Default::default() });
    let (members_sender, members) = watch::channel(Arc::new(Members::none(Arc::clone(&view))));
    let transport = Arc::new(transport);
    let (control, inbox) = control_channel();
    let seat = Seat {
        members: members_sender,
        links: transport.connected(),
        stop: leaving,
        keeper,
        inbox,
        transport: Arc::clone(&transport),
        shards: sharding.shards(),
    };
    if let Some(desk) = Desk::open(&settings, (identity.node, identity.layout.cluster), members.clone())? {
        transport.welcome(desk.guests());
    }
    let thread = start_membership(&settings, &identity, &view, me, &tls, seat)?;
    let membership = MembershipThread { leave, thread };

    let metrics = Arc::new(Metrics::new());
    let drivers = Drivers::new(Parts {
        settings: &settings,
        epoch,
        sharding,
        view,
        members: members.clone(),
        control: control.clone(),
        transport,
        received,
        disk,
        log,
        reader,
        recovered,
        metrics: Arc::clone(&metrics),
    })?;
    let desk = LayoutDesk::new(control, members, drivers.core.clone(), settings.repair.fill_rate.0);
    let state = Arc::new(http_state(&settings, drivers.core.clone(), metrics, desk)?);
    tracing::info!(node = %identity.node, name = settings.node.name, http = %http_address, "serving");
    serve_until(shutdown, drivers, http, state, membership).await
}

/// The membership thread, and how to end it.
struct MembershipThread {
    leave: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

impl MembershipThread {
    /// Says goodbye to the other members, and waits for it off this thread.
    async fn end(self) -> Result<(), ServeError> {
        self.leave.send_replace(true);
        let joined = tokio::task::spawn_blocking(move || self.thread.join().is_ok()).await;
        match joined {
            Ok(true) => Ok(()),
            _ => Err(ServeError::Failed("the membership thread panicked".into())),
        }
    }
}

/// Clients first, then the drivers, the one with the log last, then the goodbye to the others: until it is said,
/// requests that are open can still reach their replicas.
async fn serve_until(
    shutdown: impl Future<Output = ()>,
    drivers: Drivers,
    http: TcpListener,
    state: Arc<HttpState>,
    membership: MembershipThread,
) -> Result<(), ServeError> {
    let Drivers { first, others, transport, .. } = drivers;
    let (dealers, dealt): (Vec<_>, Vec<_>) = others.iter().map(|_| mpsc::channel(MAX_DEALT)).unzip();
    let work = others.into_iter().zip(dealt).map(|(driver, dealt)| ShardWork { driver, dealt }).collect();
    let Started { threads, serving, mut failures } = ShardThreads::start(work, &state)?;
    let (stop, stopping) = tokio::sync::oneshot::channel::<()>();
    let mut stop = Some(stop);
    let mut served = tokio::spawn(async move {
        http::serve_shared(http, state, dealers, async move {
            // The sender's end is the signal.
            let _ = stopping.await;
        })
        .await;
        drop(serving);
    });
    let mut driven = Box::pin(first.run(threads.end()));
    tokio::pin!(shutdown);
    let (ended, asked) = tokio::select! {
        ended = &mut driven => (ended, Asked::No),
        Some(ended) = failures.recv() => {
            // Whoever waits for the first shard is answered, and nothing more is taken.
            drop(driven);
            transport.say_goodbye().await;
            (ended, Asked::No)
        }
        () = &mut shutdown => {
            drop(stop.take());
            (driven.await, Asked::Yes)
        }
    };
    drop(stop);
    // The answers just given are still to be written.
    if tokio::time::timeout(EXIT_PATIENCE, &mut served).await.is_err() {
        served.abort();
    }
    let goodbye = membership.end().await;
    match (ended, asked) {
        (Ended::Cleanly, Asked::Yes) => goodbye,
        (Ended::Cleanly, Asked::No) => Err(ServeError::Failed("the HTTP task ended".into())),
        (Ended::Poisoned(why), _) => Err(ServeError::StorePoisoned(why)),
        (Ended::IdentityTaken(why), _) => Err(ServeError::IdentityTaken(why)),
        (Ended::Failed(why), _) => Err(ServeError::Failed(why)),
    }
}

/// Was the node asked to end?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Yes,
    No,
}

fn load_tls(settings: &Settings, identity: &NodeIdentity) -> Result<TlsFiles, ServeError> {
    let (tls, name, node) = (&settings.tls, &settings.node.name, identity.node);
    let files = TlsFiles::load(&tls.ca, &tls.certificate, &tls.key)
        .map_err(|error| ServeError::Refused(format!("[tls]: {error}")))?;
    let refused = |why: String| Err(ServeError::Refused(format!("tls.certificate: {why}")));
    let (named, cluster) = match (files.node(), files.cluster()) {
        (Ok(named), Ok(cluster)) => (named, cluster),
        (Err(error), _) | (_, Err(error)) => return refused(error.to_string()),
    };
    if cluster != identity.layout.cluster {
        let ours = identity.layout.cluster;
        return refused(format!("it is a node's of cluster {cluster}, and the data directory is of cluster {ours}"));
    }
    if named != node {
        return refused(format!(
            "it is node {named}'s; node.name {name:?} is node {node} in the layout. A node that shall take its place joins \
             under a name of its own, with a ticket; then `dunlin cluster replace`"
        ));
    }
    if let Err(error) = files.check_signed() {
        let ca = tls.ca.display();
        return refused(format!(
            "{error} ({ca}); put back the files that `dunlin cluster init`, `dunlin certs issue` or joining made together"
        ));
    }
    Ok(files.banning(settings.cluster.banned.iter().copied()))
}

fn bind_transport(
    settings: &Settings,
    identity: &NodeIdentity,
    tls: &TlsFiles,
    epoch: u64,
    sharding: Sharding,
) -> Result<(Transport, Vec<mpsc::Receiver<Received>>), ServeError> {
    let max_value_bytes = usize::try_from(settings.limits.max_value_bytes.0).unwrap_or(usize::MAX);
    let config = TransportConfig {
        node: identity.node,
        cluster: identity.layout.cluster,
        address: settings.node.peer_address,
        tls: match settings.tls.authority_key {
            Some(_) => tls.clone().admitting_strangers(JOIN_PROTOCOL),
            None => tls.clone(),
        },
        reset_key: identity.reset_key,
        connection_key: identity.connection_key,
        epoch,
        max_frame_bytes: max_frame_bytes(max_value_bytes),
    };
    Transport::bind_sharded(config, sharding)
        .map_err(|error| cannot_listen("peer_address", settings.node.peer_address, &error))
}

fn open_disk(settings: &Settings) -> Result<Arc<RealDisk>, ServeError> {
    let directory = &settings.node.data_dir;
    let disk = RealDisk::open(directory).map_err(|error| ServeError::of_store(directory, &error.into()))?;
    Ok(Arc::new(disk))
}

fn open_store(settings: &Settings, disk: Arc<RealDisk>, open_files: OpenFiles) -> Result<Opened<RealDisk>, ServeError> {
    let directory = &settings.node.data_dir;
    let encryption = encryption(&settings.storage.encryption_key_file, key_variable().as_deref())
        .map_err(|error| ServeError::Refused(error.to_string()))?;
    let options = OpenOptions {
        fresh_actor: Actor(rand::random()),
        segment_bytes: u32::try_from(settings.storage.segment_bytes.0).unwrap_or(u32::MAX),
        durability: settings.storage.durability,
        boot: boot(),
        birth: Birth::Filling,
        codec: CodecOptions { compression: settings.storage.compression.clone(), encryption },
    };
    let opened = store::open(disk, options).map_err(|error| match error {
        OpenError::Locked => ServeError::Refused(format!(
            "{}: another process has this data directory; one node, one directory",
            directory.display()
        )),
        error => ServeError::of_store(directory, &error),
    })?;
    opened.reader.keep_open(open_files.for_segments(settings.limits.http().max_connections));
    Ok(opened)
}

/// Tells a restarted machine from a restarted process.
fn boot() -> u64 {
    let id = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    xxhash_rust::xxh3::xxh3_64(&id)
}

fn report(recovered: &Recovered) {
    match recovered.opening {
        Opening::New => tracing::info!(actor = %recovered.actor, "new data directory"),
        Opening::Kept => tracing::info!(actor = %recovered.actor, "data directory recovered"),
        Opening::Renewed { reason } => {
            tracing::warn!(actor = %recovered.actor, ?reason, "data directory recovered under a new actor");
        }
    }
    for finding in &recovered.findings {
        tracing::warn!(?finding, "found while recovering");
    }
}

fn own_identity(
    settings: &Settings,
    identity: &NodeIdentity,
    actor: Actor,
    http_address: SocketAddr,
) -> Result<Identity, ServeError> {
    let membership_address = settings
        .advertised_membership_address()
        .ok_or_else(|| ServeError::Refused("membership.address: the peer port has no port above it".into()))?;
    Ok(Identity {
        node: identity.node,
        cluster: identity.layout.cluster,
        name: settings.node.name.clone(),
        peer_address: settings.advertised_address(),
        membership_address,
        http_address: http_address.to_string(),
        zone: settings.node.zone.clone(),
        capacity: settings.node.capacity,
        version: env!("CARGO_PKG_VERSION").into(),
        actor: actor.0,
        layout_version: identity.layout.version,
        layout_hash: identity.layout.hash(),
    })
}

/// The membership thread's ends of its channels.
struct Seat {
    members: watch::Sender<Arc<Members>>,
    links: watch::Receiver<BTreeMap<NodeId, u64>>,
    stop: watch::Receiver<bool>,
    keeper: LayoutKeeper,
    inbox: ControlInbox,
    transport: Arc<Transport>,
    shards: usize,
}

fn start_membership(
    settings: &Settings,
    identity: &NodeIdentity,
    view: &View,
    me: Identity,
    tls: &TlsFiles,
    seat: Seat,
) -> Result<std::thread::JoinHandle<()>, ServeError> {
    let Some(address) = settings.membership_address() else {
        return Err(ServeError::Refused("membership.address: the peer port has no port above it".into()));
    };
    let config = settings.membership.detector(identity.incarnation);
    let layout = identity.layout.nodes.iter().filter(|node| node.id != identity.node);
    let known = layout.map(|node| node.membership_address.clone());
    let seeds = settings.node.seeds.iter().map(ToString::to_string).chain(known).collect();
    let detector =
        Detector::new(config, me, seeds, entropy()).map_err(|error| ServeError::Refused(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ServeError::Failed(format!("cannot start the membership runtime: {error}")))?;
    let cluster = identity.layout.cluster;
    let keys = (identity.reset_key, identity.connection_key);
    let bound = {
        // The endpoint's tasks belong to the thread's own runtime.
        let _entered = runtime.enter();
        DetectorEndpoint::bind(cluster, address, tls, keys.0, keys.1)
    };
    let endpoint = match bound {
        Ok(endpoint) => endpoint,
        Err(error) => {
            // Dropped here, within the node's own runtime, it would panic.
            runtime.shutdown_background();
            return Err(cannot_listen("membership address", address, &error));
        }
    };
    let Seat { members, links, stop, keeper, inbox, transport, shards } = seat;
    let task = MembershipTask {
        control: Control::new(view.me, keeper, detector, shards),
        endpoint,
        wall_clock: system_wall_clock,
        links,
        members,
        stop,
        lost: None,
        failed: None,
        inbox,
        transport,
        directory: settings.node.data_dir.clone(),
        saving: None,
        operators: BTreeMap::new(),
        next_change: 0,
    };
    std::thread::Builder::new()
        .name("membership".into())
        .spawn(move || {
            runtime.block_on(task.run());
            runtime.shutdown_timeout(EXIT_PATIENCE);
        })
        .map_err(|error| ServeError::Failed(format!("cannot start the membership thread: {error}")))
}

fn http_state(
    settings: &Settings,
    core: CoreHandle,
    metrics: Arc<Metrics>,
    layouts: LayoutDesk,
) -> Result<HttpState, ServeError> {
    let mut secrets = settings.cluster.secret_file.iter().map(|path| token_secret(path));
    let sealing = secrets.next().ok_or_else(|| ServeError::Refused("cluster.secret_file: none".into()))??;
    let previous = secrets.next().transpose()?;
    let limits = settings.limits.http();
    Ok(HttpState {
        core,
        secrets: TokenSecrets::new(sealing, previous),
        defaults: settings.defaults.options(),
        bodies: BodyBudget::new(MAX_BODY_BYTES_HELD.max(limits.max_value_bytes)),
        listings: Arc::new(Semaphore::new(MAX_LISTINGS)),
        limits,
        metrics,
        wall_clock: system_wall_clock,
        layouts: Some(layouts),
    })
}

fn token_secret(path: &std::path::Path) -> Result<TokenSecret, ServeError> {
    let bytes = std::fs::read(path).map_err(|error| ServeError::of_file(path, &error))?;
    let secret = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| {
        let (path, found) = (path.display(), bytes.len());
        ServeError::Refused(format!("{path}: a secret has exactly 32 bytes, this file has {found}"))
    })?;
    Ok(TokenSecret::new(secret))
}

fn cannot_listen(
    what: &str,
    address: impl ToSocketAddrs + std::fmt::Display,
    error: &impl std::fmt::Display,
) -> ServeError {
    ServeError::Refused(format!("{what} {address}: cannot listen there: {error}"))
}
