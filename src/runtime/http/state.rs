//! What every request shares.

use super::body::BodyBudget;
use super::core::CoreHandle;
use crate::base::WallTime;
use crate::base::limits::DEFAULT_MAX_VALUE_BYTES;
use crate::causal::TokenSecret;
use crate::replication::Options;
use crate::runtime::metrics::Metrics;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Semaphore;

/// Longest a client may take for a request's head, and a connection may idle between two. A stalled
/// head costs a connection; half a minute is what clients' pools expect of an idle one.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest a client may take for a body. A value of 1 MiB at 35 KB/s still comes through.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest a client may leave an answer unread before the connection is dropped: it pins the bytes.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Most client connections. Each costs about 20 KiB and a descriptor; further ones are told 503.
pub const MAX_CONNECTIONS: usize = 10_240;

/// Longest head of a request. A key of 1024 bytes is 3 KiB percent-encoded; four tokens are 4 KiB.
pub const MAX_HEADER_BYTES: usize = 32 << 10;

/// Most header fields of a request.
pub const MAX_HEADERS: usize = 100;

/// Most bytes of bodies held at once: 256 values of the default limit; further ones are told 503.
pub const MAX_BODY_BYTES_HELD: usize = 256 << 20;

/// What the API needs of its node.
#[derive(Debug)]
pub struct HttpState {
    /// The way to the core.
    pub core: CoreHandle,
    /// Seal and open tokens.
    pub secrets: TokenSecrets,
    /// Where operators change the layout; none in a process that has none.
    pub layouts: Option<crate::runtime::layout_desk::LayoutDesk>,
    /// What a request gets that does not say otherwise.
    pub defaults: Options,
    /// Bytes of bodies held at once; [`MAX_BODY_BYTES_HELD`], or more if one value may be larger.
    pub bodies: BodyBudget,
    /// Listings at once: [`super::MAX_LISTINGS`].
    pub listings: Arc<Semaphore>,
    /// Sizes and times.
    pub limits: HttpLimits,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The wall clock; chaos hands in a wrong one.
    pub wall_clock: fn() -> WallTime,
}

/// The cluster's secrets for tokens.
#[derive(Debug, Clone)]
pub struct TokenSecrets {
    sealing: TokenSecret,
    accepted: Vec<TokenSecret>,
}

/// What clients may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Largest value, in bytes.
    pub max_value_bytes: usize,
    /// Most connections at once.
    pub max_connections: usize,
    /// Head of a request, or idling before it.
    pub header_timeout: Duration,
    /// Body of a request.
    pub body_timeout: Duration,
    /// An answer that nobody reads.
    pub write_timeout: Duration,
}

impl TokenSecrets {
    /// `sealing` makes tokens; `previous` is still accepted, during a rotation.
    pub fn new(sealing: TokenSecret, previous: Option<TokenSecret>) -> TokenSecrets {
        let accepted = std::iter::once(sealing.clone()).chain(previous).collect();
        TokenSecrets { sealing, accepted }
    }

    /// The secret for new tokens.
    pub fn sealing(&self) -> &TokenSecret {
        &self.sealing
    }

    /// The secrets whose tokens are believed.
    pub fn accepted(&self) -> &[TokenSecret] {
        &self.accepted
    }
}

impl Default for HttpLimits {
    fn default() -> Self {
        HttpLimits {
            max_value_bytes: DEFAULT_MAX_VALUE_BYTES,
            max_connections: MAX_CONNECTIONS,
            header_timeout: HEADER_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
        }
    }
}

/// The machine's wall clock; the epoch itself if it is set before that.
pub fn system_wall_clock() -> WallTime {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
