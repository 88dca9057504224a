//! `dunlin put`, `get` and `delete`.

use crate::client::{Answer, Client, ClientError, Request, StatusCode};
use clap::Args;
use hyper::header::CONTENT_TYPE;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;

/// Where the first node of `dunlin dev` listens.
const DEFAULT_URL: &str = "http://127.0.0.1:8101";

/// How a command ended, as scripts see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: the key has no value.
    NotFound,
    /// 2: the key has several values; nothing was printed to stdout.
    Siblings,
    /// 3: anything else.
    Failed,
}

/// What every command about a key takes.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// The key: its bytes as given, nothing is interpreted
    pub key: OsString,
    /// A node of the cluster
    #[arg(long, env = "DUNLIN_URL", default_value = DEFAULT_URL)]
    pub url: String,
    /// Replicas to ask: 1..N, one, quorum, all
    #[arg(long)]
    pub r: Option<String>,
    /// Durable copies to wait for: 1..N, one, quorum, all
    #[arg(long)]
    pub w: Option<String>,
    /// May other nodes stand in for replicas that cannot be reached: true, false
    #[arg(long)]
    pub sloppy: Option<String>,
    /// How long the cluster may take: 500ms, 2s
    #[arg(long)]
    pub timeout: Option<String>,
}

/// `dunlin put`
#[derive(Debug, Clone, Args)]
pub struct PutArgs {
    /// Key and knobs.
    #[command(flatten)]
    pub target: Target,
    /// The value; - or nothing: read it from standard input
    #[arg(allow_hyphen_values = true)]
    pub value: Option<OsString>,
    /// Supersede exactly what this context covers
    #[arg(long)]
    pub context: Option<String>,
    /// Content type stored with the value
    #[arg(long)]
    pub content_type: Option<String>,
    /// Time to live: 10m, 1h, 7d
    #[arg(long)]
    pub ttl: Option<String>,
}

/// `dunlin get`
#[derive(Debug, Clone, Args)]
pub struct GetArgs {
    /// Key and knobs.
    #[command(flatten)]
    pub target: Target,
    /// One of several values, by its id
    #[arg(long)]
    pub sibling: Option<String>,
    /// Which of several values to take: newest
    #[arg(long)]
    pub resolve: Option<String>,
}

/// `dunlin delete`
#[derive(Debug, Clone, Args)]
pub struct DeleteArgs {
    /// Key and knobs.
    #[command(flatten)]
    pub target: Target,
    /// Supersede exactly what this context covers
    #[arg(long)]
    pub context: Option<String>,
}

/// Where a command writes. Tests hand in buffers.
pub struct Output<'a> {
    /// What was asked for.
    pub stdout: &'a mut dyn Write,
    /// Everything else.
    pub stderr: &'a mut dyn Write,
}

impl Exit {
    /// The exit status of the process.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::NotFound => 1,
            Exit::Siblings => 2,
            Exit::Failed => 3,
        }
    }
}

/// Writes a value; `input` is read to its end if none is given. Fails only if output or input does.
pub async fn put(args: &PutArgs, input: &mut (dyn Read + Send), output: Output<'_>) -> io::Result<Exit> {
    let value = match args.value.as_deref() {
        Some(value) if value != "-" => value.as_bytes().to_vec(),
        _ => {
            let mut value = Vec::new();
            input.read_to_end(&mut value)?;
            value
        }
    };
    let request = args.target.knobs(Request::put(args.target.key.as_bytes(), value));
    let request = with_context(request, args.context.as_deref());
    let request = with(request, "ttl", args.ttl.as_deref());
    let request = match &args.content_type {
        Some(content_type) => request.header(CONTENT_TYPE, content_type),
        None => request,
    };
    finish(args.target.send(request).await, output)
}

/// Reads a value and writes its bytes, and nothing else, to stdout. Fails only if output does.
pub async fn get(args: &GetArgs, output: Output<'_>) -> io::Result<Exit> {
    let request = args.target.knobs(Request::get(args.target.key.as_bytes()));
    let request = with(request, "sibling", args.sibling.as_deref());
    let request = with(request, "resolve", args.resolve.as_deref());
    finish(args.target.send(request).await, output)
}

/// Deletes a key. Fails only if output does.
pub async fn delete(args: &DeleteArgs, output: Output<'_>) -> io::Result<Exit> {
    let request = args.target.knobs(Request::delete(args.target.key.as_bytes()));
    finish(args.target.send(with_context(request, args.context.as_deref())).await, output)
}

impl Target {
    fn knobs(&self, request: Request) -> Request {
        let knobs = [("r", &self.r), ("w", &self.w), ("sloppy", &self.sloppy), ("timeout", &self.timeout)];
        knobs.into_iter().fold(request, |request, (name, value)| with(request, name, value.as_deref()))
    }

    async fn send(&self, request: Request) -> Result<Answer, ClientError> {
        Client::new([self.url.as_str()])?.send(request).await
    }
}

fn with(request: Request, name: &str, value: Option<&str>) -> Request {
    match value {
        Some(value) => request.query(name, value),
        None => request,
    }
}

fn with_context(request: Request, context: Option<&str>) -> Request {
    match context {
        Some(context) => request.context(context),
        None => request,
    }
}

/// Prints an answer and says how the command ended.
fn finish(answer: Result<Answer, ClientError>, output: Output<'_>) -> io::Result<Exit> {
    let Output { stdout, stderr } = output;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            writeln!(stderr, "dunlin: {error}")?;
            return Ok(Exit::Failed);
        }
    };
    if answer.status.is_success() {
        stdout.write_all(&answer.body)?;
        stdout.flush()?;
        return Ok(Exit::Done);
    }
    let problem = answer.json().unwrap_or_default();
    let text = |name: &str| problem.get(name).and_then(|text| text.as_str()).unwrap_or_default().to_owned();
    let (title, detail) = (text("title"), text("detail"));
    writeln!(stderr, "dunlin: {}: {title}: {detail}", answer.status.as_u16())?;
    match answer.status {
        StatusCode::NOT_FOUND => Ok(Exit::NotFound),
        StatusCode::CONFLICT => {
            for sibling in problem.get("siblings").and_then(|list| list.as_array()).into_iter().flatten() {
                writeln!(stderr, "{}", summary(sibling))?;
            }
            writeln!(stderr, "context {}", answer.context().unwrap_or("unknown"))?;
            Ok(Exit::Siblings)
        }
        _ => Ok(Exit::Failed),
    }
}

/// One line about one of several values.
fn summary(sibling: &serde_json::Value) -> String {
    let text = |name: &str| sibling.get(name).and_then(|text| text.as_str()).unwrap_or("-").to_owned();
    let size = sibling.get("size").and_then(|size| size.as_u64()).unwrap_or_default();
    let (id, modified, node) = (text("id"), text("modified"), text("node"));
    format!("sibling {id} {modified} node {node} {size} bytes {}", text("content_type"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use clap::Parser;
    use hyper::HeaderMap;

    #[derive(Debug, Parser)]
    struct Line<A: Args> {
        #[command(flatten)]
        args: A,
    }

    fn ended(status: u16, body: &str) -> (Exit, String, String) {
        let mut headers = HeaderMap::new();
        headers.insert("dunlin-context", "abc".parse().unwrap());
        let status = StatusCode::from_u16(status).unwrap();
        let answer = Answer { status, headers, body: Bytes::copy_from_slice(body.as_bytes()) };
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let exit = finish(Ok(answer), Output { stdout: &mut stdout, stderr: &mut stderr }).unwrap();
        (exit, String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    #[test]
    fn exit_statuses_tell_scripts_what_happened() {
        assert_eq!(ended(200, "bytes"), (Exit::Done, "bytes".into(), String::new()));
        let (exit, stdout, stderr) = ended(404, r#"{"title":"Not found","detail":"no value"}"#);
        assert_eq!((exit.code(), stdout.as_str(), stderr.as_str()), (1, "", "dunlin: 404: Not found: no value\n"));
        assert_eq!(ended(503, "").0.code(), 3);
        assert_eq!(Exit::Done.code(), 0);
    }

    #[test]
    fn siblings_are_summed_up_on_stderr() {
        let body = r#"{"title":"t","detail":"d","siblings":[{"id":"a-1","size":3,"node":null}]}"#;
        let (exit, stdout, stderr) = ended(409, body);
        assert_eq!((exit.code(), stdout.as_str()), (2, ""));
        assert!(stderr.contains("sibling a-1 - node - 3 bytes -\ncontext abc\n"), "{stderr}");
    }

    #[test]
    fn a_value_may_begin_with_a_hyphen() {
        let line = Line::<PutArgs>::parse_from(["put", "k", "-1", "--w", "all"]);
        assert_eq!((line.args.value, line.args.target.w.as_deref()), (Some("-1".into()), Some("all")));
        assert!(Line::<GetArgs>::try_parse_from(["get"]).is_err());
        assert_eq!(Line::<DeleteArgs>::parse_from(["delete", "k", "--url", "http://a"]).args.target.url, "http://a");
    }
}
