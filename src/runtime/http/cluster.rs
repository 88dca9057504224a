//! What a node tells of itself and its cluster.

use super::answer::{self, Response};
use super::path;
use super::problem::{Code, Problem, RETRY_AFTER_SECONDS};
use super::siblings;
use crate::runtime::status::ClusterStatus;
use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use serde_json::{Value, json};

/// `/livez`: the process answers.
pub(super) fn live() -> Response {
    answer::json(StatusCode::OK, &json!({"live": true}))
}

/// `/readyz`: may clients be sent here, and if not, why.
pub(super) fn ready(status: &ClusterStatus) -> Response {
    let code = if status.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = answer::json(code, &json!({"ready": status.ready, "reasons": status.reasons}));
    if !status.ready {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    }
    response
}

/// `/cluster`
pub(super) fn cluster(status: &ClusterStatus) -> Response {
    answer::json(StatusCode::OK, status)
}

/// `/cluster/ring`: every partition with its primaries, by name.
pub(super) fn ring(status: &ClusterStatus) -> Response {
    let rows = status.rows.iter().enumerate().map(|(partition, row)| {
        let names = row.primaries.iter().map(|id| status.name_of(*id));
        json!({"partition": partition, "primaries": names.collect::<Vec<_>>()})
    });
    let ring = json!({
        "layout_version": status.layout_version,
        "replicas": status.replicas,
        "partitions": rows.collect::<Vec<Value>>(),
    });
    answer::json(StatusCode::OK, &ring)
}

/// `/cluster/partitions`: what this node holds of the partitions it is a primary of. Two replicas with equal
/// `clock` and `data` hold the same.
pub(super) fn partitions(status: &ClusterStatus) -> Response {
    answer::json(StatusCode::OK, &json!({"partitions": status.holdings.as_ref()}))
}

/// `/cluster/ring/<key>`: who is asked about a key, in order, and who of them is up.
pub(super) fn ring_of_key(status: &ClusterStatus, raw_key: &str) -> Result<Response, Problem> {
    let key = path::decode_key(raw_key)?;
    let place = status.partition_of(&key);
    let Some((partition, row)) = place.and_then(|partition| status.rows.get(partition).map(|row| (partition, row)))
    else {
        return Err(Problem::new(Code::NotReady, "this node has no layout yet").with("retryable", true));
    };
    let mut members = siblings::key_members(&key);
    members.insert("partition".into(), partition.into());
    members.insert("layout_version".into(), status.layout_version.into());
    members.insert("primaries".into(), json!(status.preferred(&row.primaries)));
    members.insert("fallbacks".into(), json!(status.preferred(&row.fallbacks)));
    Ok(answer::json(StatusCode::OK, &Value::Object(members)))
}
