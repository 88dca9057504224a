//! Reading request bodies, within limits of size and time.

use super::problem::{Code, Problem};
use crate::replication::Failure;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Most bytes read and thrown away behind an early answer. A connection closed with bytes unread is
/// reset, and a reset may destroy the answer before the client has read it.
const DRAIN_BYTES: usize = 4 << 20;

/// How long such bytes are waited for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// What may be read, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    /// Longest body taken.
    pub(super) max_bytes: usize,
    /// From the head to the last byte.
    pub(super) timeout: Duration,
}

/// Bytes of bodies held at once, over all connections: counted as they come, so that a client has to
/// send what it wants to occupy.
#[derive(Debug)]
pub struct BodyBudget(Semaphore);

/// A body, and its share of the budget until it is dropped.
#[derive(Debug)]
pub(super) struct Received<'a> {
    /// The bytes.
    pub(super) value: Bytes,
    _held: SemaphorePermit<'a>,
}

impl BodyBudget {
    /// A budget of this many bytes.
    pub fn new(bytes: usize) -> BodyBudget {
        BodyBudget(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)))
    }

    fn take(&self, bytes: usize) -> Result<SemaphorePermit<'_>, Problem> {
        let permit = u32::try_from(bytes).ok().and_then(|bytes| self.0.try_acquire_many(bytes).ok());
        permit.ok_or_else(|| Problem::from(Failure::Overloaded))
    }
}

/// The whole body of a request that must have one.
pub(super) async fn read<'a>(
    headers: &HeaderMap,
    body: &mut Incoming,
    limits: BodyLimits,
    budget: &'a BodyBudget,
) -> Result<Received<'a>, Problem> {
    if !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING) {
        let detail = "send Content-Length (0 for an empty value) or Transfer-Encoding: chunked";
        return Err(Problem::new(Code::LengthRequired, detail));
    }
    if usize::try_from(body.size_hint().lower()).is_ok_and(|declared| declared > limits.max_bytes) {
        return Err(too_large(limits.max_bytes));
    }
    let collected = tokio::time::timeout(limits.timeout, collect(body, limits.max_bytes, budget)).await;
    collected.unwrap_or_else(|_| {
        let detail = format!("the body did not come within {} s", limits.timeout.as_secs_f32());
        Err(Problem::new(Code::RequestTimeout, detail).with("in_doubt", false).with("retryable", true))
    })
}

async fn collect<'a>(body: &mut Incoming, max_bytes: usize, budget: &'a BodyBudget) -> Result<Received<'a>, Problem> {
    let mut collected = BytesMut::new();
    let mut held = budget.take(0)?;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| Problem::new(Code::RequestMalformed, "the body breaks off or is badly chunked"))?;
        let Ok(data) = frame.into_data() else { continue };
        if collected.len() + data.len() > max_bytes {
            return Err(too_large(max_bytes));
        }
        held.merge(budget.take(data.len())?);
        if collected.is_empty() && body.is_end_stream() {
            return Ok(Received { value: data, _held: held });
        }
        collected.extend_from_slice(&data);
    }
    Ok(Received { value: collected.freeze(), _held: held })
}

/// Takes the rest of a body that nobody wanted, so that the answer arrives. A client that waits for
/// `100 Continue` has not sent it and will not.
pub(super) async fn drain(headers: &HeaderMap, body: &mut Incoming) {
    if body.is_end_stream() || headers.contains_key(EXPECT) {
        return;
    }
    let rest = async {
        let mut left = DRAIN_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let taken = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(taken) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Whether the rest came or not, the answer goes out now.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, rest).await;
}

fn too_large(max_bytes: usize) -> Problem {
    Problem::new(Code::ValueTooLarge, format!("a value has at most {max_bytes} bytes")).with("limit", max_bytes)
}
