//! `dunlin import`: the lines of an export, written into a cluster.

use super::export::key_bytes;
use super::kv::{Exit, Output};
use super::pages::{ClusterArgs, patient, told};
use crate::client::{Client, Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use hyper::header::{CONTENT_TYPE, HeaderName};
use serde_json::Value;
use std::ffi::OsString;
use std::io::{self, BufRead};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::task::{JoinError, JoinSet};

/// Lines written at once: enough that one group commit takes several, few enough to leave the cluster to others.
const LINES_AT_ONCE: usize = 32;

/// Failures that are told one by one; further ones are counted.
const MAX_TOLD: usize = 20;

/// `dunlin import`: write the lines of an export; values of a key that is there are superseded
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// The file; - for standard input
    pub file: OsString,
    /// Cluster and knobs.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// One value of a line.
struct Sibling {
    value: Vec<u8>,
    content_type: Option<String>,
    metadata: Vec<(String, String)>,
    ttl_ms: Option<u64>,
}

/// What became of the lines.
#[derive(Default)]
struct Summary {
    written: usize,
    expired: usize,
    failed: usize,
}

/// The number of a line, and what became of it.
type Line = (usize, Result<Written, String>);

/// What became of one line.
enum Written {
    Whole,
    /// Nothing of it is left to be written.
    Expired,
}

/// Writes every line of `input`. Fails only if output or input does.
pub async fn import(args: &ImportArgs, input: &mut (dyn BufRead + Send), output: Output<'_>) -> io::Result<Exit> {
    let client = match args.cluster.client() {
        Ok(client) => Arc::new(client),
        Err(error) => {
            writeln!(output.stderr, "dunlin: {error}")?;
            return Ok(Exit::Failed);
        }
    };
    let (mut summary, mut writes) = (Summary::default(), JoinSet::new());
    for (number, line) in (1..).zip(input.lines()) {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        if writes.len() >= LINES_AT_ONCE {
            summary.take(writes.join_next().await, output.stderr)?;
        }
        let (client, cluster) = (Arc::clone(&client), args.cluster.clone());
        writes.spawn(async move { (number, write(&client, &cluster, &line).await) });
    }
    while !writes.is_empty() {
        summary.take(writes.join_next().await, output.stderr)?;
    }
    let Summary { written, expired, failed } = summary;
    writeln!(output.stderr, "{written} keys written, {expired} expired, {failed} failed")?;
    Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
}

impl Summary {
    fn take(&mut self, done: Option<Result<Line, JoinError>>, stderr: &mut dyn io::Write) -> io::Result<()> {
        match done {
            Some(Ok((_, Ok(Written::Whole)))) => self.written += 1,
            Some(Ok((_, Ok(Written::Expired)))) => self.expired += 1,
            Some(Ok((number, Err(error)))) => {
                self.failed += 1;
                if self.failed <= MAX_TOLD {
                    writeln!(stderr, "dunlin: line {number}: {error}")?;
                }
            }
            Some(Err(_)) => self.failed += 1,
            None => {}
        }
        Ok(())
    }
}

/// Writes one line. Siblings are written with one context, so that none supersedes another.
async fn write(client: &Client, cluster: &ClusterArgs, line: &str) -> Result<Written, String> {
    let line: Value = serde_json::from_str(line).map_err(|error| format!("no JSON: {error}"))?;
    let key = key_bytes(&line).ok_or("no key")?;
    let siblings = line.get("siblings").and_then(Value::as_array).ok_or("no siblings")?;
    let siblings: Result<Vec<Option<Sibling>>, String> = siblings.iter().map(Sibling::of).collect();
    let siblings: Vec<Sibling> = siblings?.into_iter().flatten().collect();
    let context = match siblings.len() {
        0 => return Ok(Written::Expired),
        1 => None,
        _ => Some(context_of(client, cluster, &key).await?),
    };
    // Equal ones join: the newest is written last.
    for sibling in siblings.into_iter().rev() {
        let request = cluster.knobs(sibling.into_request(&key));
        let request = match &context {
            Some(context) => request.context(context),
            None => request,
        };
        patient(client, request).await?;
    }
    Ok(Written::Whole)
}

/// What covers all that is there of a key now.
async fn context_of(client: &Client, cluster: &ClusterArgs, key: &[u8]) -> Result<String, String> {
    let answer = client.send(cluster.knobs(Request::get(key))).await.map_err(|error| error.to_string())?;
    let known = [StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::CONFLICT].contains(&answer.status);
    let context = answer.context().filter(|_| known);
    context.map(str::to_owned).ok_or_else(|| told(&answer))
}

impl Sibling {
    /// A value of a line; none if its time is over.
    fn of(version: &Value) -> Result<Option<Sibling>, String> {
        let text = |name: &str| version.get(name).and_then(Value::as_str);
        let value =
            text("value_b64").and_then(|value| STANDARD.decode(value).ok()).ok_or("a sibling has no value_b64")?;
        let ttl_ms = match text("expires_at") {
            Some(time) => match remaining_ms(time).ok_or("expires_at is no time")? {
                0 => return Ok(None),
                left => Some(left),
            },
            None => None,
        };
        let metadata = version.get("metadata").and_then(Value::as_object).into_iter().flatten();
        let metadata = metadata.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        let content_type = text("content_type").map(str::to_owned);
        Ok(Some(Sibling { value, content_type, metadata: metadata.collect(), ttl_ms }))
    }

    fn into_request(self, key: &[u8]) -> Request {
        let mut request = Request::put(key, self.value);
        if let Some(content_type) = self.content_type.filter(|stored| !stored.is_empty()) {
            request = request.header(CONTENT_TYPE, &content_type);
        }
        for (name, value) in self.metadata {
            if let Ok(name) = HeaderName::try_from(format!("dunlin-meta-{name}")) {
                request = request.header(name, &value);
            }
        }
        match self.ttl_ms {
            Some(ttl_ms) => request.query("ttl", &format!("{ttl_ms}ms")),
            None => request,
        }
    }
}

/// How long until a time as the API writes it, `1994-11-06T08:49:37.123Z`; 0 if it is over, none if it is no such time.
fn remaining_ms(time: &str) -> Option<u64> {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let (whole, fraction) = time.strip_suffix('Z')?.split_once('.').unwrap_or((time.strip_suffix('Z')?, "0"));
    // HTTP's form names the day of the week, and its parser checks that, too.
    let date = as_http_date(whole)?;
    let seconds = DAYS.iter().find_map(|day| httpdate::parse_http_date(&format!("{day}, {date}")).ok())?;
    let millis: u64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let at = seconds + std::time::Duration::from_millis(millis);
    let left = at.duration_since(SystemTime::now()).unwrap_or_default();
    u64::try_from(left.as_millis()).ok()
}

/// `1994-11-06T08:49:37` in the form of HTTP, without the day of the week.
fn as_http_date(time: &str) -> Option<String> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (date, clock) = time.split_once('T')?;
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?.parse::<usize>().ok()?, parts.next()?);
    Some(format!("{day} {} {year} {clock} GMT", MONTHS.get(month.checked_sub(1)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_has_expired_is_not_written_and_what_has_not_keeps_its_end() {
        let sibling = |expires_at: &str| Sibling::of(&json!({"value_b64": "eA==", "expires_at": expires_at}));
        assert!(sibling("2001-02-03T04:05:06.789Z").unwrap().is_none());
        let ttl_ms = sibling("2096-02-29T00:00:00.500Z").unwrap().unwrap().ttl_ms.unwrap();
        let end = SystemTime::now() + std::time::Duration::from_millis(ttl_ms);
        let since = end.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert!((3_981_312_000..=3_981_312_001).contains(&since), "{since}");
        assert!(sibling("tomorrow").is_err() && sibling("2026-13-01T00:00:00Z").is_err());
    }

    #[test]
    fn a_line_without_what_it_needs_says_so() {
        assert!(Sibling::of(&json!({"value": "x"})).is_err());
        assert!(Sibling::of(&json!({"value_b64": "?"})).is_err());
    }
}
