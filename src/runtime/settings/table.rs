//! The table: every setting there is, with type, unit, default, bounds, meaning and when to change it.

use super::knob::{Bounds, Knob, settings};
use super::value::{Setting, Values};
use super::{HostPort, LogFormat, LogLevel, Size};
use crate::base::limits::MAX_VALUE_BYTES;
use crate::base::{ClusterId, NodeId};
use crate::membership::{MAX_NAME_BYTES, MAX_ZONE_BYTES};
use crate::replication::{Quorum, Sloppiness};
use crate::ring::{MAX_REPLICAS, Partitioning};
use crate::runtime::http::MAX_TIMEOUT_MS;
use crate::store::{CompressionRules, Durability};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Most nodes that are kept out: for every connection they are looked through.
const MAX_BANNED: u64 = 1024;

/// Most prefixes with a compression of their own: for every record written they are looked through.
const MAX_COMPRESSION_RULES: u64 = 64;

settings! {
    /// Who the node is, where it keeps its data, where it listens.
    node: Node {
        /// The node's name, as the layout has it. Unique in the cluster: up to 64 letters, digits, `-`, `_` and `.`,
        /// beginning with a letter or digit. Required.
        name: String = "", Bounds::between(0, MAX_NAME_BYTES as u64);
        "Never after the node has joined."
        /// Directory of the log. One node has it alone; it is locked.
        data_dir: PathBuf = "data", Bounds::NONE;
        "To keep data on a disk of its own."
        /// Where clients are listened to, by HTTP. Port 0: the kernel picks one.
        http_address: SocketAddr = "127.0.0.1:8101", Bounds::NONE;
        "To be reached from other machines: see tls.allow_insecure_http first."
        /// Where peers are listened to, by QUIC (UDP).
        peer_address: SocketAddr = "127.0.0.1:7400", Bounds::NONE;
        "To be reached from other machines. A new port needs a change of the layout too."
        /// Where peers are told to reach this node. Empty: peer_address.
        advertise_address: Option<HostPort> = "", Bounds::NONE;
        "When peer_address is 0.0.0.0, [::] or behind address translation."
        /// What fails together with this node: rack, room, region. Equal texts are one zone.
        zone: String = "", Bounds::between(0, MAX_ZONE_BYTES as u64);
        "As soon as there are two rooms: copies are spread over zones before anything else."
        /// Weight of the node's share of the data; only the proportions between nodes matter.
        capacity: u32 = "1", Bounds::between(1, 1_000_000);
        "When disks differ in size, for instance to the number of GiB."
        /// Membership addresses of some other nodes, tried for ever until they answer.
        seeds: Vec<HostPort> = "", Bounds::between(0, 64);
        "When nodes the layout knows have moved to new addresses."
        /// Parts a node's work is divided into, each on a thread of its own.
        shards: u32 = "1", Bounds::between(1, 64);
        "When one processor is full and a measurement shows a gain."
        /// File for the process number, removed at a clean end. Empty: none.
        pid_file: Option<PathBuf> = "", Bounds::NONE;
        "When a service manager or a script needs it."
    }

    /// What all nodes of the cluster have in common.
    cluster: Cluster {
        /// The cluster's number, as `dunlin cluster init` made it: nodes of another are refused. Required.
        id: ClusterId = "00000000000000000000000000000000", Bounds::NONE;
        "Never."
        /// Slices of the hash space, a power of two. Peers that differ are refused.
        partitions: u32 = "1024", Bounds::between(1, Partitioning::MAX_COUNT as u64);
        "Only before the cluster is made: ten or more for each node it may ever have."
        /// Copies of everything (N).
        replicas: u32 = "3", Bounds::between(1, MAX_REPLICAS as u64);
        "Only before the cluster is made; later by a change of the layout."
        /// The first layout. Read only when the data directory is empty.
        layout_file: PathBuf = "layout.json", Bounds::NONE;
        "Not usually."
        /// 32 bytes that authenticate context tokens, the same on all nodes. With two files the first one seals, both open.
        secret_file: Vec<PathBuf> = "secret", Bounds::between(1, 2);
        "To rotate the secret: list old and new, then new and old, then new alone, each on all nodes in turn."
        /// Ids of nodes that are not let in, although they have certificates of this cluster.
        banned: Vec<NodeId> = "", Bounds::between(0, MAX_BANNED);
        "When a node's disk or key is lost to somebody else. List it on all nodes and restart them in turn."
    }

    /// What a request that does not say otherwise gets.
    defaults: Defaults {
        /// Replicas a read waits for.
        r: Quorum = "quorum", Bounds::between(1, MAX_REPLICAS as u64);
        "one: fastest, may miss the latest write. r + w must exceed replicas to read one's own writes."
        /// Durable copies a write waits for.
        w: Quorum = "quorum", Bounds::between(1, MAX_REPLICAS as u64);
        "one: survives no lost disk. all: every replica must be up."
        /// May other nodes stand in for replicas that cannot be reached?
        sloppy: Sloppiness = "true", Bounds::NONE;
        "false: prefers an error to a write that only stand-ins hold."
        /// How long a request may take.
        timeout: Duration = "2s", Bounds::between(1, MAX_TIMEOUT_MS);
        "When clients are far away or values large."
    }

    /// The log on disk.
    storage: Storage {
        /// When a write counts as kept: after fdatasync, or once the operating system has it.
        durability: Durability = "fsync", Bounds::NONE;
        "os: only for data that may be lost in a power failure."
        /// Size of a segment of the log. A record that does not fit gets a longer segment.
        segment_bytes: Size = "64MiB", Bounds::between(1 << 20, 1 << 30);
        "Smaller on small disks: a segment is the unit of reclaiming space."
        /// How records are compressed, where that saves an eighth: lz4 costs little, zstd saves more. Of several prefixes that fit a key the longest counts.
        compression: CompressionRules = "none", Bounds::between(1, MAX_COMPRESSION_RULES);
        "When values are text and the disk is smaller than the processors are idle. What is there follows as compaction copies it."
        /// Key of encryption at rest: a file of 32 bytes, or of 64 hexadecimal digits, readable by the node alone. With two the first is in force, the second the one before. Empty: nothing is encrypted, unless DUNLIN_STORAGE_ENCRYPTION_KEY holds a key (or two) in digits.
        encryption_key_file: Vec<PathBuf> = "", Bounds::between(0, 2);
        "To encrypt: what is there follows as compaction copies it. To replace the key: see docs/operations.md. Without the key the directory is lost."
        /// Bytes that compaction copies in a second, at most; while clients come no more than it must. 0: superseded records are never taken away.
        compaction: Size = "32MiB", Bounds::between(0, 1 << 40);
        "Larger if space is not given back as fast as it is used; smaller on slow disks."
        /// Bytes that the scrub verifies in a second, at most. 0: damage is found only when it is read.
        scrub: Size = "8MiB", Bounds::between(0, 1 << 40);
        "Larger so that a round (all data once) takes less time: 8MiB verify 0.7 TB a day."
        /// Memory for records that are read often. 0: none; reads then cost a system call each, no disk access while the page cache has them.
        cache_bytes: Size = "64MiB", Bounds::between(0, 1 << 40);
        "Larger where few keys get most reads; see the hits in dunlin_cache_hits_total."
        /// Free space at which puts are refused (507); deletes, repair and compaction go on. Puts are taken again with an eighth more.
        reserve_bytes: Size = "256MiB", Bounds::between(0, 1 << 40);
        "At least two segments. Larger where other programs write to the same disk."
    }

    /// Who is alive.
    membership: Membership {
        /// Where membership is listened to (UDP). Empty: the peer address, one port up.
        address: Option<SocketAddr> = "", Bounds::NONE;
        "When that port is taken."
        /// Between two rounds of probes. Choose all other timings with it.
        probe_interval: Duration = "500ms", Bounds::between(10, 60_000);
        "Longer over slow lines: failures are found later, fewer healthy nodes are condemned."
        /// Members probed per interval.
        probes_per_round: u32 = "2", Bounds::between(1, 16);
        "More to find failures sooner in large clusters, for as many more packets."
        /// How long a ping may take, and after it the indirect ones: well above a round trip, below half of probe_interval.
        ping_timeout: Duration = "200ms", Bounds::between(1, 60_000);
        "When round trips take more than 50 ms."
        /// Other members asked to ping one that did not answer.
        indirect_probes: u32 = "3", Bounds::between(0, 16);
        "More where single links fail often."
        /// Probe intervals a suspect has to refute.
        suspicion_multiplier: u32 = "2", Bounds::between(1, 100);
        "Higher if slow nodes are condemned wrongly."
        /// How often the whole state is exchanged with one member.
        full_sync_interval: Duration = "10s", Bounds::between(100, 3_600_000);
        "Longer in clusters of hundreds of nodes."
        /// First pause before a member that is down, or a silent seed, is tried again; it doubles.
        retry_base: Duration = "500ms", Bounds::between(10, 600_000);
        "Not usually."
        /// Longest such pause: how late a healed partition may be noticed.
        retry_cap: Duration = "5s", Bounds::between(10, 3_600_000);
        "Longer if many nodes are away for long."
    }

    /// Making replicas equal again.
    repair: Repair {
        /// Between two comparisons with another replica.
        exchange_interval: Duration = "1s", Bounds::between(10, 3_600_000);
        "Longer to spare the network; replicas then stay different for longer after a failure."
        /// Between two looks at the held writes that can be handed over.
        hint_drain_interval: Duration = "250ms", Bounds::between(10, 3_600_000);
        "Longer to spare nodes that have just come back."
        /// Bytes that new, moved and damaged replicas take in a second while clients come; eight times as much without them.
        fill_rate: Size = "16MiB", Bounds::between(1 << 10, 1 << 40);
        "Larger to be done sooner when a change of the layout may be felt; smaller when it must not. A key counts 24 KiB besides its bytes."
        /// Bytes of writes held for other nodes. At the limit this node refuses to hold more, and another is asked.
        hint_bytes: Size = "256MiB", Bounds::between(0, 1 << 40);
        "Larger to bridge longer failures under heavy load; they are on disk and in memory by their keys."
    }

    /// What the node takes from clients.
    limits: Limits {
        /// Largest value of a key. Written, sent and cached whole.
        max_value_bytes: Size = "1MiB", Bounds::between(1 << 10, MAX_VALUE_BYTES as u64);
        "Larger only for few keys: large values delay small ones. The same on all nodes."
        /// Open connections of clients. Further ones are refused (503).
        max_connections: u32 = "10240", Bounds::between(1, 1_000_000);
        "With the limit of open files (ulimit -n), which must be higher."
        /// How long a client may take to send a request's head, and to idle before the next.
        header_timeout: Duration = "30s", Bounds::between(10, 3_600_000);
        "Shorter when idle connections use up max_connections."
        /// How long a client may take to send a request's body.
        body_timeout: Duration = "30s", Bounds::between(10, 3_600_000);
        "Longer for large values over slow lines."
        /// How long a client may leave an answer unread.
        write_timeout: Duration = "30s", Bounds::between(10, 3_600_000);
        "Longer for large values over slow lines."
    }

    /// Certificates between peers, and what may be done without.
    tls: Tls {
        /// The cluster's authority (PEM).
        ca: PathBuf = "ca.pem", Bounds::NONE;
        "Not usually."
        /// This node's certificate (PEM).
        certificate: PathBuf = "certificate.pem", Bounds::NONE;
        "Not usually: `dunlin certs issue` replaces it."
        /// The certificate's key (PEM). Readable by the node alone.
        key: PathBuf = "key.pem", Bounds::NONE;
        "To keep it on a file system of its own."
        /// The authority's key (PEM): with it this node lets in nodes that bring a ticket. Empty: it lets in none.
        authority_key: Option<PathBuf> = "", Bounds::NONE;
        "To have another node let nodes in, or none: whoever has this key can make nodes. `dunlin cluster init` sets it on one node."
        /// Serve HTTP, which is neither encrypted nor authenticated, on an address that is not loopback.
        allow_insecure_http: bool = "false", Bounds::NONE;
        "Only where everyone who can reach the address may read and write everything."
    }

    /// What the node tells about itself, on standard error.
    log: Log {
        /// The least severe event that is logged.
        level: LogLevel = "info", Bounds::NONE;
        "debug to look for a cause; trace costs speed."
        /// How a line looks: for people, or one JSON object.
        format: LogFormat = "text", Bounds::NONE;
        "json when a program reads it."
    }
}

impl Settings {
    /// Where membership listens. None if that would be port 65536; a checked setting never is.
    pub fn membership_address(&self) -> Option<SocketAddr> {
        let after = |mut address: SocketAddr| {
            let port = if address.port() == 0 { Some(0) } else { address.port().checked_add(1) };
            address.set_port(port?);
            Some(address)
        };
        self.membership.address.or_else(|| after(self.node.peer_address))
    }

    /// Where peers are told to reach this node's data endpoint, `host:port`.
    pub fn advertised_address(&self) -> String {
        self.node.advertise_address.as_ref().map_or_else(|| self.node.peer_address.to_string(), HostPort::to_string)
    }

    /// Where peers are told to reach this node's membership endpoint: the advertised host, with the port
    /// membership listens on.
    pub fn advertised_membership_address(&self) -> Option<String> {
        let listens = self.membership_address()?;
        match &self.node.advertise_address {
            Some(advertised) => advertised.with_port(listens.port()).map(|address| address.to_string()),
            None => Some(listens.to_string()),
        }
    }
}
