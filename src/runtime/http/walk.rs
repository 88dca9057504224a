//! Walking through the keys: pages from the core, and an ordinary read of each key.

use super::core::CoreHandle;
use super::list_parameters::{ListParameters, Wanted, behind};
use super::problem::{Code, Problem};
use super::shown::View;
use super::siblings::{self, Values};
use super::timestamp;
use crate::base::{Key, WallTime};
use crate::causal::TokenSecret;
use crate::replication::{Command, ListCommand, MAX_PAGE_KEYS, Operation, Outcome};
use crate::store::{KeyPage, KeyQuery, Reach};
use serde_json::{Map, Value};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Reads of one listing under way at once: enough to keep a page from waiting, few enough that clients of single
/// keys come through between. Bounds the values held besides those of the answer.
const READS_AT_ONCE: usize = 32;

/// A page with values ends once it has so many bytes of them: it is built in memory.
const MAX_PAGE_BYTES: usize = 8 << 20;

/// A listing under way.
pub(super) struct Walk {
    pub(super) core: CoreHandle,
    /// Seals the tokens.
    pub(super) secret: TokenSecret,
    /// This node's clock: it hides what has expired.
    pub(super) wall_clock: fn() -> WallTime,
    /// What is listed; `from` moves on with each page.
    pub(super) parameters: ListParameters,
}

/// What one step of a walk has found.
pub(super) struct Found {
    /// In the order of keys.
    pub(super) items: Vec<Map<String, Value>>,
    /// The last key that is dealt with; none at the end.
    pub(super) through: Option<Key>,
}

impl Walk {
    /// Up to `limit` items more. Fewer if time or space runs out, perhaps none: then the walk goes on all the same.
    /// An error only if nothing was found before it.
    pub(super) async fn next(&mut self, limit: usize) -> Result<Found, Problem> {
        let begun = Instant::now();
        let patience = Duration::from_millis(self.parameters.options.timeout_ms);
        let mut found = Found { items: Vec::new(), through: None };
        let mut bytes = 0;
        loop {
            let page = match self.page(limit - found.items.len()).await {
                Ok(page) => page,
                Err(_) if found.through.is_some() => return Ok(found),
                Err(problem) => return Err(problem),
            };
            for keys in page.keys.chunks(READS_AT_ONCE) {
                match self.read(keys).await {
                    Ok(items) => found.items.extend(items),
                    Err(_) if found.through.is_some() => return Ok(found),
                    Err(problem) => return Err(problem),
                }
                bytes = found.items.iter().map(value_bytes).sum::<usize>().max(bytes);
                found.through = keys.last().cloned();
                self.go_on(found.through.as_ref());
                if bytes >= MAX_PAGE_BYTES {
                    return Ok(found);
                }
            }
            match page.reach {
                Reach::End => return Ok(Found { through: None, ..found }),
                Reach::Through(last) => found.through = Some(last),
            }
            self.go_on(found.through.as_ref());
            if found.items.len() >= limit || begun.elapsed() >= patience {
                return Ok(found);
            }
        }
    }

    fn go_on(&mut self, through: Option<&Key>) {
        self.parameters.from = through.map(behind).unwrap_or_default();
    }

    /// The next keys, as far as the replicas know.
    async fn page(&self, limit: usize) -> Result<KeyPage, Problem> {
        let ListParameters { prefix, from, options, .. } = &self.parameters;
        let query = KeyQuery { prefix: prefix.clone(), from: from.clone(), limit: limit.min(MAX_PAGE_KEYS) };
        match self.core.list(ListCommand { query, options: *options }).await {
            Outcome::Listed(page) => Ok(page),
            other => Err(self.unsuccessful(other)),
        }
    }

    /// Reads these keys, all at once; an item for each that is there.
    async fn read(&self, keys: &[Key]) -> Result<Vec<Map<String, Value>>, Problem> {
        let mut reads = JoinSet::new();
        for (number, key) in keys.iter().cloned().enumerate() {
            let (core, options) = (self.core.clone(), self.parameters.options);
            reads.spawn(async move {
                let outcome = core.ask(Command { key: key.clone(), operation: Operation::Get, options }).await;
                (number, key, outcome)
            });
        }
        let mut items = Vec::with_capacity(keys.len());
        while let Some(read) = reads.join_next().await {
            let (number, key, outcome) = read.map_err(|_| Problem::new(Code::NotReady, "the node is ending"))?;
            let Outcome::Read(result) = outcome else { return Err(self.unsuccessful(outcome)) };
            items.extend(self.item(&key, &View::of(result.state, (self.wall_clock)())).map(|item| (number, item)));
        }
        items.sort_by_key(|(number, _)| *number);
        Ok(items.into_iter().map(|(_, item)| item).collect())
    }

    /// What is shown of a key; none if it has no value. Of several the newest stands for all.
    fn item(&self, key: &Key, view: &View) -> Option<Map<String, Value>> {
        let newest = &view.values.first()?.content;
        let mut item = siblings::key_members(key);
        item.insert("size".into(), newest.value.len().into());
        item.insert("content_type".into(), newest.content_type.clone().into());
        item.insert("modified".into(), timestamp::rfc3339(newest.written_at.wall()).into());
        item.insert("siblings".into(), view.values.len().into());
        if self.parameters.wanted == Wanted::Values {
            item.insert("context".into(), view.token(&self.secret, key, view.values.iter()).into());
            self.add_values(&mut item, view);
        }
        Some(item)
    }

    fn add_values(&self, item: &mut Map<String, Value>, view: &View) {
        let actors = self.core.status().actors.clone();
        let mut versions: Vec<Value> =
            view.values.iter().map(|shown| siblings::sibling(shown, Some(Values::Readable), &actors)).collect();
        if versions.len() > 1 {
            item.insert("versions".into(), versions.into());
        } else if let Some(Value::Object(only)) = versions.pop() {
            let more = ["value", "value_b64", "expires_at", "metadata"];
            let more = only.into_iter().filter(|(name, value)| more.contains(&name.as_str()) && !value.is_null());
            item.extend(more);
        }
    }

    fn unsuccessful(&self, outcome: Outcome) -> Problem {
        match outcome {
            Outcome::Failed(failure) => Problem::of(failure, &self.core.status()),
            _ => Problem::new(Code::OutcomeUnknown, "the node answered another question").with("in_doubt", false),
        }
    }
}

/// About how many bytes of values an item carries.
fn value_bytes(item: &Map<String, Value>) -> usize {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map_or(0, str::len);
    let own = text(item.get("value")) + text(item.get("value_b64"));
    let versions = item.get("versions").and_then(Value::as_array).into_iter().flatten();
    own + versions.map(|version| text(version.get("value")) + text(version.get("value_b64"))).sum::<usize>()
}
