//! The HTTP API against a core of a few lines: every status, header and code, over real sockets.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use dunlin::base::{HybridTime, Key, NodeId, WallTime};
use dunlin::causal::{Actor, Content, Dot, DotSet, Filled, TokenSecret};
use dunlin::client::{Answer, Client, Method, Request};
use dunlin::replication::{
    Command, Condition, Failure, ListCommand, NewContent, Operation, Options, Outcome, Quorum, ReadResult, Sloppiness,
    WriteResult,
};
use dunlin::runtime::http::{
    Asked, BodyBudget, CoreHandle, CoreRequest, HttpLimits, HttpState, MAX_CONFLICT_BYTES, MAX_LISTINGS, TokenSecrets,
    serve, system_wall_clock,
};
use dunlin::runtime::metrics::Metrics;
use dunlin::runtime::status::{
    ClusterStatus, HintStatus, Holding, MemberAddresses, MemberState, MemberStatus, NodeStatus, PartitionRow,
    TransferStatus,
};
use dunlin::store::{KeyPage, KeyQuery, Reach};
use hyper::header::HeaderName;
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

const VALUE_LIMIT: usize = 3 << 20;
const ENVELOPE: &str = "application/vnd.dunlin.siblings+json";

/// Answers commands from a map; outcomes put into `forced` come first.
#[derive(Default)]
struct FakeCore {
    objects: BTreeMap<Key, Filled>,
    counter: u64,
    forced: VecDeque<Outcome>,
    asked: Vec<Command>,
}

impl FakeCore {
    fn answer(&mut self, command: Command) -> Outcome {
        self.asked.push(command.clone());
        if let Some(outcome) = self.forced.pop_front() {
            return outcome;
        }
        let state = self.objects.entry(command.key).or_default();
        match command.operation {
            Operation::Get => Outcome::Read(ReadResult { state: state.clone(), answers: 2, replicas: 3, hinted: 0 }),
            Operation::Write { content, seen, condition } => {
                let holds = match condition {
                    Condition::Always => true,
                    Condition::LiveHashIn(hashes) => hashes.contains(&state.live_hash()),
                    Condition::Exists => !state.versions.is_empty(),
                    Condition::Absent => state.versions.is_empty(),
                };
                if !holds {
                    return Outcome::PreconditionFailed { live_hash: state.live_hash() };
                }
                self.counter += 1;
                write(state, content, seen, self.counter)
            }
        }
    }
}

impl FakeCore {
    /// Every key it knows, deleted ones, too: which of them are there is for reads to say.
    fn list(&mut self, command: &ListCommand) -> Outcome {
        if let Some(outcome) = self.forced.pop_front() {
            return outcome;
        }
        let KeyQuery { prefix, from, limit } = &command.query;
        let asked_for = |key: &&Key| key.as_bytes().starts_with(prefix) && key.as_bytes() >= from.as_ref();
        let keys: Vec<Key> = self.objects.keys().filter(asked_for).take(*limit).cloned().collect();
        let reach = match keys.last() {
            Some(last) if keys.len() == *limit => Reach::Through(last.clone()),
            _ => Reach::End,
        };
        Outcome::Listed(KeyPage { keys, reach })
    }
}

fn write(state: &mut Filled, content: Option<NewContent>, seen: Option<DotSet>, counter: u64) -> Outcome {
    let dot = Dot { actor: Actor(1), counter };
    let created = state.versions.is_empty();
    let mut context = seen.unwrap_or_else(|| state.context.clone());
    let written_at = HybridTime::from_wall(WallTime(1_000_000_000_000 + counter * 1000));
    let expires_at = content.as_ref().and_then(|c| c.ttl_ms).map(|ttl| WallTime(system_wall_clock().0 + ttl));
    let live = if content.is_some() { DotSet::from(dot) } else { DotSet::EMPTY };
    let content = content.map(|NewContent { value, content_type, metadata, .. }| Content {
        value,
        content_type,
        metadata,
        written_at,
        expires_at,
    });
    *state = state.clone().update(&context, dot, content);
    context.insert(dot);
    Outcome::Written(WriteResult { created, context, live, acks: 2, replicas: 3, hinted: 1, written_at, expires_at })
}

/// A served API.
struct Api {
    client: Client,
    address: std::net::SocketAddr,
    core: Arc<Mutex<FakeCore>>,
    status: watch::Sender<Arc<ClusterStatus>>,
    metrics: Arc<Metrics>,
}

impl Api {
    async fn ask(&self, request: Request) -> Answer {
        self.client.send(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Request::raw(Method::GET, path)).await
    }

    async fn put(&self, path: &str, value: &str) -> Answer {
        self.ask(Request::raw(Method::PUT, path).body(value.to_owned())).await
    }

    /// Two writers who have not seen each other.
    async fn make_siblings(&self, path: &str, values: &[&str]) {
        let context = self.get(path).await.context().unwrap().to_owned();
        for value in values {
            let request = Request::raw(Method::PUT, path).body((*value).to_owned()).context(&context);
            assert!(self.ask(request).await.status.is_success());
        }
    }

    fn force(&self, outcome: Outcome) {
        self.core.lock().unwrap().forced.push_back(outcome);
    }

    fn last_command(&self) -> Command {
        self.core.lock().unwrap().asked.last().cloned().unwrap()
    }

    fn commands(&self) -> usize {
        self.core.lock().unwrap().asked.len()
    }

    /// Sends bytes as they are and reads until the node closes.
    async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_ref()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn status() -> ClusterStatus {
    let member = |id: u64, state| MemberStatus {
        name: format!("n{id}"),
        id: NodeId(id),
        state,
        incarnation: 3,
        addresses: MemberAddresses { peer: "a:1".into(), membership: "a:2".into(), http: "a:3".into() },
        zone: "z".into(),
        capacity: 1,
        version: "0.1.0".into(),
    };
    let rows = (0..4u64).map(|first| {
        let order: Vec<NodeId> = (0..4).map(|i| NodeId((first + i) % 4 + 1)).collect();
        PartitionRow { primaries: order[..3].to_vec(), fallbacks: order[3..].to_vec() }
    });
    ClusterStatus {
        node: NodeStatus { id: NodeId(1), name: "n1".into() },
        members: vec![
            member(1, MemberState::Alive),
            member(2, MemberState::Suspect),
            member(3, MemberState::Down),
            member(4, MemberState::Alive),
        ],
        layout_version: 7,
        partitions: 4,
        replicas: 3,
        hints: vec![HintStatus { target: NodeId(3), count: 5, bytes: 500 }],
        partitions_filling: vec![2],
        transfers: vec![TransferStatus { owner: "n2".into(), copies: 3, bytes: 70, ..TransferStatus::default() }],
        transfer_idle_seconds: 4,
        ready: true,
        reasons: Vec::new(),
        rows: Arc::new(rows.collect()),
        holdings: Arc::new(vec![Holding { partition: 3, clock: 0x0a, complete: true, keys: 9, ..Holding::default() }]),
        actors: Arc::new(BTreeMap::from([(Actor(1), "n1".to_owned())])),
    }
}

fn secret(byte: u8) -> TokenSecret {
    TokenSecret::new([byte; 32])
}

async fn start(
    limits: HttpLimits,
    bodies: usize,
    answering: bool,
) -> (Api, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let (commands, mut requests) = mpsc::channel::<CoreRequest>(1);
    let (status, watched) = watch::channel(Arc::new(status()));
    let core = Arc::new(Mutex::new(FakeCore::default()));
    let (answering_core, metrics) = (core.clone(), Arc::new(Metrics::new()));
    tokio::spawn(async move {
        if !answering {
            // Takes nothing, and keeps the queue open.
            std::future::pending::<()>().await;
        }
        while let Some((asked, answer)) = requests.recv().await {
            let outcome = match asked {
                Asked::Command(command) => answering_core.lock().unwrap().answer(command),
                Asked::List(command) => answering_core.lock().unwrap().list(&command),
            };
            let _ = answer.send(outcome);
        }
    });
    let state = Arc::new(HttpState {
        core: CoreHandle::new(commands, watched),
        secrets: TokenSecrets::new(secret(1), Some(secret(2))),
        defaults: Options::default(),
        bodies: BodyBudget::new(bodies),
        listings: Arc::new(Semaphore::new(MAX_LISTINGS)),
        limits,
        metrics: metrics.clone(),
        wall_clock: system_wall_clock,
        layouts: None,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(serve(listener, state, async { drop(stopped.await) }));
    let client = Client::new([format!("http://{address}")]).unwrap();
    (Api { client, address, core, status, metrics }, stop, served)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn with_limits(limits: HttpLimits, bodies: usize, test: impl AsyncFnOnce(Api)) {
    runtime().block_on(async {
        let (api, stop, served) = start(limits, bodies, true).await;
        test(api).await;
        drop(stop);
        served.await.unwrap();
    });
}

fn with_api(test: impl AsyncFnOnce(Api)) {
    with_limits(HttpLimits { max_value_bytes: VALUE_LIMIT, ..HttpLimits::default() }, VALUE_LIMIT, test);
}

fn header(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

fn told(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.code().unwrap_or_default())
}

fn problem(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn a_value_is_written_read_replaced_and_deleted() {
    with_api(async |api| {
        let put = api.put("/kv/a", "one").await;
        assert_eq!(put.status, 201);
        assert_eq!((put.header("dunlin-acks"), put.header("dunlin-hinted")), (Some("2/3"), Some("1")));
        assert_eq!(put.header("dunlin-node"), Some("n1"));
        assert_eq!(put.header("etag").unwrap(), format!("\"{}\"", put.context().unwrap()));
        assert_eq!(api.put("/kv/a", "two").await.status, 204);
        let get = api.get("/kv/a").await;
        assert_eq!((get.status.as_u16(), &get.body[..]), (200, &b"two"[..]));
        assert_eq!(get.header("content-type"), Some("application/octet-stream"));
        assert_eq!(get.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(get.header("content-security-policy"), Some("sandbox; default-src 'none'"));
        assert_eq!((get.header("dunlin-acks"), get.header("dunlin-hinted")), (Some("2/3"), None));
        assert_eq!(get.header("last-modified"), Some("Sun, 09 Sep 2001 01:46:42 GMT"));
        assert_eq!(get.header("dunlin-condition"), None);
        let head = api.ask(Request::head(b"a")).await;
        assert_eq!((head.status.as_u16(), head.header("content-length"), head.body.len()), (200, Some("3"), 0));
        assert_eq!(head.context(), get.context());
        assert_eq!(api.ask(Request::delete(b"a")).await.status, 204);
        assert_eq!(api.ask(Request::delete(b"a")).await.status, 204);
        let gone = api.get("/kv/a").await;
        assert_eq!(told(&gone), problem(404, "not_found"));
        assert!(gone.context().is_some() && gone.header("etag").is_some());
        assert_eq!(gone.header("content-type"), Some("application/problem+json"));
    });
}

#[test]
fn posting_chooses_a_key() {
    with_api(async |api| {
        let posted = api.ask(Request::raw(Method::POST, "/kv").body("v")).await;
        assert_eq!(posted.status, 201);
        let location = posted.header("location").unwrap();
        assert_eq!(location.len(), "/kv/".len() + 22);
        assert_eq!(&api.get(location).await.body[..], b"v");
    });
}

#[test]
fn every_byte_of_a_key_and_a_value_survives() {
    with_api(async |api| {
        for byte in 0..=255u8 {
            let (key, value) = ([byte, b'x', byte], vec![byte; 3]);
            assert_eq!(api.client.put(&key, value.clone()).await.unwrap().status, 201, "{byte}");
            assert_eq!(api.client.get(&key).await.unwrap().body, value);
        }
        let all: Vec<u8> = (0..=255).collect();
        api.client.put(&all, all.clone()).await.unwrap();
        assert_eq!(api.client.get(&all).await.unwrap().body, all);
        assert_eq!(api.last_command().key.as_bytes(), all);
    });
}

#[test]
fn paths_are_taken_as_they_stand() {
    with_api(async |api| {
        for (path, key) in [
            ("/kv/a+b", &b"a+b"[..]),
            ("/kv/a/../b//c/./", b"a/../b//c/./"),
            ("/kv//", b"/"),
            ("/kv/..", b".."),
            ("/kv/%2e%2E", b".."),
            ("/kv/%00", b"\0"),
            ("/kv/%2541", b"%41"),
            ("/kv/a;b=c:@!$&'()*,", b"a;b=c:@!$&'()*,"),
        ] {
            api.raw(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
            assert_eq!(api.last_command().key.as_bytes(), key, "{path}");
        }
        for (path, status, code) in [
            ("/kv/", "400", "key_empty"),
            ("/kv/%", "400", "key_encoding"),
            ("/kv/%4", "400", "key_encoding"),
            ("/kv/a%zz", "400", "key_encoding"),
        ] {
            let request = format!("PUT {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx");
            let answer = api.raw(request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(code), "{path}: {answer}");
        }
    });
}

#[test]
fn key_lengths_are_limited_at_both_ends() {
    with_api(async |api| {
        for length in [1, 1023, 1024] {
            assert_eq!(api.client.put(&vec![0xff; length], "v").await.unwrap().status, 201);
        }
        let long = api.client.put(&[0xff; 1025], "v").await.unwrap();
        assert_eq!((told(&long), &long.json().unwrap()["limit"]), (problem(414, "key_too_long"), &json!(1024)));
    });
}

#[test]
fn value_lengths_are_limited_however_they_are_sent() {
    with_api(async |api| {
        for (length, status) in [(0, 201), (VALUE_LIMIT - 1, 204), (VALUE_LIMIT, 204), (VALUE_LIMIT + 1, 413)] {
            assert_eq!(api.client.put(b"v", vec![7; length]).await.unwrap().status, status, "{length}");
            let mut chunked =
                b"PUT /kv/c HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for piece in vec![7u8; length].chunks(100_000) {
                chunked.extend(format!("{:x}\r\n", piece.len()).into_bytes());
                chunked.extend_from_slice(piece);
                chunked.extend_from_slice(b"\r\n");
            }
            chunked.extend_from_slice(b"0\r\n\r\n");
            let answer = api.raw(chunked).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{length}: {answer}");
        }
        let large = api.client.put(b"v", vec![7; VALUE_LIMIT + 1]).await.unwrap();
        assert_eq!(
            (told(&large), &large.json().unwrap()["limit"]),
            (problem(413, "value_too_large"), &json!(VALUE_LIMIT))
        );
    });
}

#[test]
fn a_body_needs_a_length_and_must_be_whole() {
    with_api(async |api| {
        let head = "PUT /kv/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        let answer = api.raw(format!("{head}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 411 ") && answer.contains("length_required"), "{answer}");
        let answer = api.raw(format!("{head}Content-Length: 0\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        let commands = api.commands();
        let answer = api.raw(format!("{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("request_malformed"), "{answer}");
        assert_eq!(api.commands(), commands);
    });
}

#[test]
fn a_client_that_asks_first_is_told_before_it_sends() {
    with_api(async |api| {
        let head = format!("Content-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n", VALUE_LIMIT + 1);
        let answer = api.raw(format!("PUT /kv/k HTTP/1.1\r\nHost: x\r\n{head}")).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    });
}

#[test]
fn slow_heads_and_bodies_are_cut_off() {
    let short = Duration::from_millis(50);
    let limits = HttpLimits { header_timeout: short, body_timeout: short, ..HttpLimits::default() };
    with_limits(limits, VALUE_LIMIT, async |api| {
        let answer = api.raw("PUT /kv/k HTTP/1.1\r\nHost: x\r\n").await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
        let answer =
            api.raw("PUT /kv/k HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nConnection: close\r\n\r\nabc").await;
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("request_timeout"), "{answer}");
        assert_eq!(api.commands(), 0);
    });
}

#[test]
fn heads_beyond_the_limit_are_431() {
    with_api(async |api| {
        let long = "x".repeat(40 << 10);
        let answer = api.raw(format!("GET /kv/k HTTP/1.1\r\nHost: x\r\nA: {long}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        let many = "A: b\r\n".repeat(101);
        let answer = api.raw(format!("GET /kv/k HTTP/1.1\r\n{many}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    });
}

#[test]
fn a_connection_too_many_is_told_503() {
    with_limits(HttpLimits { max_connections: 1, ..HttpLimits::default() }, VALUE_LIMIT, async |api| {
        assert_eq!(api.get("/livez").await.status, 200);
        let mut refused = TcpStream::connect(api.address).await.unwrap();
        let mut answer = String::new();
        refused.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"overloaded\""), "{answer}");
    });
}

#[test]
fn bodies_beyond_what_the_node_can_hold_are_shed_and_room_is_given_back() {
    with_limits(HttpLimits::default(), 1000, async |api| {
        for _ in 0..3 {
            assert!(api.client.put(b"k", vec![7; 1000]).await.unwrap().status.is_success());
        }
        let shed = api.client.put(b"k", vec![7; 1001]).await.unwrap();
        assert_eq!(told(&shed), problem(503, "overloaded"));
        assert!(api.client.put(b"k", vec![7; 1000]).await.unwrap().status.is_success());
    });
}

#[test]
fn an_unchanged_answer_covers_no_more_than_the_client_has_seen() {
    with_api(async |api| {
        api.make_siblings("/kv/k", &["one", "two"]).await;
        let refused = api.ask(Request::put(b"k", "v").header(header("if-none-match"), "*")).await;
        for tag in [refused.header("etag").unwrap(), "*"] {
            let unchanged = api.ask(Request::get(b"k").header(header("if-none-match"), tag)).await;
            assert_eq!(unchanged.status, 304);
            api.ask(Request::put(b"k", tag.to_owned()).context(unchanged.context().unwrap())).await;
        }
        assert_eq!(api.get("/kv/k").await.json().unwrap()["siblings"].as_array().unwrap().len(), 4);
        let all = api.get("/kv/k").await;
        let unchanged = api.ask(Request::get(b"k").header(header("if-none-match"), all.header("etag").unwrap())).await;
        api.ask(Request::put(b"k", "v").context(unchanged.context().unwrap())).await;
        assert_eq!(&api.get("/kv/k").await.body[..], b"v");
    });
}

#[test]
fn content_types_and_metadata_come_back() {
    with_api(async |api| {
        let request = Request::put(b"k", "v").header(header("content-type"), "text/plain; charset=utf-8");
        let request = request.header(header("dunlin-meta-colour"), "red").header(header("dunlin-meta-age"), "7");
        api.ask(request).await;
        let get = api.get("/kv/k").await;
        assert_eq!(get.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!((get.header("dunlin-meta-colour"), get.header("dunlin-meta-age")), (Some("red"), Some("7")));
        let form = "application/x-www-form-urlencoded";
        api.ask(Request::put(b"k", "v").header(header("content-type"), form)).await;
        assert_eq!(api.get("/kv/k").await.header("content-type"), Some("application/octet-stream"));
        let refused = api.ask(Request::get(b"k").header(header("accept"), "text/html")).await;
        assert_eq!(told(&refused), problem(406, "not_acceptable"));
    });
}

#[test]
fn siblings_are_a_conflict_with_all_that_resolves_it() {
    with_api(async |api| {
        api.make_siblings("/kv/k", &["one", "two"]).await;
        let conflict = api.get("/kv/k").await;
        assert_eq!(told(&conflict), problem(409, "siblings"));
        assert_eq!(conflict.header("x-content-type-options"), Some("nosniff"));
        let body = conflict.json().unwrap();
        assert_eq!((&body["key"], body["context"].as_str()), (&json!("k"), conflict.context()));
        assert_eq!(body["siblings"][0]["value_b64"], json!("dHdv"));
        assert_eq!(body["siblings"][1]["value_b64"], json!("b25l"));
        assert_eq!(body["siblings"][0]["id"], json!("0000000000000001-2"));
        assert_eq!(body["siblings"][0]["node"], json!("n1"));
        assert_eq!(body["siblings"][0]["modified"], json!("2001-09-09T01:46:42.000Z"));
        assert_eq!(body["siblings"][0]["expires_at"], json!(null));
        let head = api.ask(Request::head(b"k")).await;
        assert_eq!((head.status.as_u16(), head.context(), head.body.len()), (409, conflict.context(), 0));
        let resolved = Request::put(b"k", "both").context(conflict.context().unwrap());
        assert_eq!(api.ask(resolved).await.status, 204);
        assert_eq!(&api.get("/kv/k").await.body[..], b"both");
    });
}

#[test]
fn the_envelope_has_one_form_for_any_number_of_values() {
    with_api(async |api| {
        let envelope = |path: &str| Request::raw(Method::GET, path).header(header("accept"), ENVELOPE);
        let none = api.ask(envelope("/kv/k")).await;
        assert_eq!((none.status.as_u16(), none.header("content-type")), (200, Some(ENVELOPE)));
        assert_eq!(none.json().unwrap()["siblings"], json!([]));
        api.make_siblings("/kv/k", &["one", "two"]).await;
        let two = api.ask(envelope("/kv/k")).await;
        assert_eq!((two.status.as_u16(), &two.json().unwrap()["siblings"][1]["value"]), (200, &json!("one")));
        api.client.put(b"k", vec![0xff]).await.unwrap();
        let one = api.ask(envelope("/kv/k")).await.json().unwrap();
        assert_eq!((one["siblings"].as_array().unwrap().len(), &one["siblings"][0]["value_b64"]), (1, &json!("/w==")));
    });
}

#[test]
fn all_values_come_raw_as_multipart() {
    with_api(async |api| {
        api.make_siblings("/kv/k", &["one", "two"]).await;
        let answer = api.ask(Request::get(b"k").header(header("accept"), "multipart/mixed")).await;
        let boundary = answer.header("content-type").unwrap().split_once("boundary=").unwrap().1.to_owned();
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert_eq!((answer.status.as_u16(), text.matches(&format!("--{boundary}")).count()), (200, 3));
        assert!(text.contains("\r\n\r\none\r\n") && text.contains("Dunlin-Sibling: 0000000000000001-1\r\n"));
        let none = api.ask(Request::get(b"none").header(header("accept"), "multipart/mixed")).await;
        assert_eq!(told(&none), problem(404, "not_found"));
    });
}

#[test]
fn one_of_several_values_can_be_chosen_and_only_it_is_covered() {
    with_api(async |api| {
        api.make_siblings("/kv/k", &["one", "two"]).await;
        let one = api.get("/kv/k?sibling=0000000000000001-1").await;
        assert_eq!((one.status.as_u16(), &one.body[..]), (200, &b"one"[..]));
        assert_eq!(told(&api.get("/kv/k?sibling=0000000000000001-9").await), problem(404, "not_found"));
        let newest = api.get("/kv/k?resolve=newest").await;
        assert_eq!((&newest.body[..], newest.header("dunlin-siblings")), (&b"two"[..], Some("2")));
        api.ask(Request::put(b"k", "three").context(newest.context().unwrap())).await;
        let left = api.get("/kv/k").await.json().unwrap();
        let values: Vec<_> = left["siblings"].as_array().unwrap().iter().map(|s| s["value_b64"].clone()).collect();
        assert_eq!(values, [json!("dGhyZWU="), json!("b25l")]);
    });
}

#[test]
fn values_cut_from_a_conflict_are_said_to_be_and_not_covered() {
    with_api(async |api| {
        let (small, large) = ("s", "x".repeat(MAX_CONFLICT_BYTES));
        api.make_siblings("/kv/k", &[small, &large]).await;
        let conflict = api.get("/kv/k").await;
        let body = conflict.json().unwrap();
        assert_eq!((conflict.status.as_u16(), &body["truncated"]), (409, &json!(true)));
        assert_eq!(body["siblings"][1]["truncated"], json!(true));
        api.ask(Request::put(b"k", "new").context(conflict.context().unwrap())).await;
        let left = api.get("/kv/k").await.json().unwrap();
        assert_eq!(left["siblings"].as_array().unwrap().len(), 2);
        assert_eq!(left["siblings"][1]["value_b64"], json!("cw=="));
    });
}

#[test]
fn equal_siblings_are_one_value() {
    with_api(async |api| {
        api.make_siblings("/kv/k", &["same", "same"]).await;
        let one = api.get("/kv/k").await;
        assert_eq!((one.status.as_u16(), &one.body[..]), (200, &b"same"[..]));
        api.ask(Request::put(b"k", "new").context(one.context().unwrap())).await;
        assert_eq!(&api.get("/kv/k").await.body[..], b"new");
    });
}

#[test]
fn an_expired_version_is_hidden_and_a_living_one_says_when_it_ends() {
    with_api(async |api| {
        let put = api.put("/kv/k?ttl=10m", "v").await;
        assert!(put.header("dunlin-expires-at").unwrap().ends_with('Z'));
        assert_eq!(api.get("/kv/k").await.header("dunlin-expires-at"), put.header("dunlin-expires-at"));
        let content = Content {
            value: "old".into(),
            content_type: "text/plain".into(),
            metadata: Vec::new(),
            written_at: HybridTime::from_wall(WallTime(1)),
            expires_at: Some(WallTime(2)),
        };
        let dot = Dot { actor: Actor(9), counter: 1 };
        let state = Filled::default().update(&DotSet::EMPTY, dot, Some(content));
        api.core.lock().unwrap().objects.insert(Key::new("x").unwrap(), state);
        assert_eq!(told(&api.get("/kv/x").await), problem(404, "not_found"));
        api.ask(Request::put(b"k", "v").header(header("dunlin-ttl"), "60")).await;
        let Operation::Write { content, .. } = api.last_command().operation else { panic!() };
        assert_eq!(content.unwrap().ttl_ms, Some(60_000));
    });
}

#[test]
fn conditions_compare_states_and_say_how_strictly() {
    with_api(async |api| {
        let etag = api.put("/kv/k", "v").await.header("etag").unwrap().to_owned();
        let unchanged = api.ask(Request::get(b"k").header(header("if-none-match"), &etag)).await;
        assert_eq!((unchanged.status.as_u16(), unchanged.body.len()), (304, 0));
        assert!(unchanged.context().is_some() && unchanged.header("etag").is_some());
        let put = |name, value: &str| Request::put(b"k", "w").header(header(name), value);
        let taken = api.ask(put("if-none-match", "*")).await;
        assert_eq!(told(&taken), problem(412, "precondition_failed"));
        assert_eq!((taken.header("dunlin-context"), taken.header("dunlin-condition")), (None, Some("best-effort")));
        let there = taken.header("etag").unwrap().to_owned();
        let done = api.ask(put("if-match", &there)).await;
        assert_eq!((done.status.as_u16(), done.header("dunlin-condition")), (204, Some("best-effort")));
        // The tag of a 412 has no context: what it did not show, it does not supersede.
        assert_eq!(api.get("/kv/k").await.status, 409);
        assert_eq!(told(&api.ask(put("if-match", &etag)).await), problem(412, "precondition_failed"));
        assert_eq!(api.ask(put("if-match", "*")).await.status, 204);
        let delete = Request::delete(b"k").header(header("if-match"), &etag);
        assert_eq!(told(&api.ask(delete).await), problem(412, "precondition_failed"));
        let get = Request::get(b"k").header(header("if-match"), &etag);
        assert_eq!(told(&api.ask(get).await), problem(412, "precondition_failed"));
        assert_eq!(api.ask(Request::get(b"k").header(header("if-none-match"), &etag)).await.status, 200);
        assert_eq!(api.ask(Request::get(b"k").header(header("if-none-match"), "*")).await.status, 304);
        let absent = Request::put(b"new", "w").header(header("if-none-match"), "*");
        assert_eq!(api.ask(absent).await.status, 201);
        let exists = Request::put(b"newer", "w").header(header("if-match"), "*");
        assert_eq!(told(&api.ask(exists).await), problem(412, "precondition_failed"));
    });
}

#[test]
fn a_token_that_does_not_verify_is_never_ignored() {
    with_api(async |api| {
        let token = api.put("/kv/a", "v").await.context().unwrap().to_owned();
        let commands = api.commands();
        let mut requests = vec![Request::put(b"b", "v").context(&token), Request::delete(b"b").context(&token)];
        requests.push(Request::put(b"a", "v").context(&token[1..]));
        requests.push(Request::put(b"a", "v").header(header("if-match"), &format!("\"{}\"", &token[..9])));
        requests.push(Request::get(b"b").header(header("if-none-match"), &format!("\"{token}\"")));
        for request in requests {
            assert_eq!(told(&api.ask(request).await), problem(400, "token_invalid"));
        }
        assert_eq!(api.commands(), commands);
    });
}

#[test]
fn knobs_reach_the_core_and_bad_ones_do_not() {
    with_api(async |api| {
        api.get("/kv/k?r=one&w=2&sloppy=false&timeout=500ms").await;
        let (r, w) = (Quorum::Count(1), Quorum::Count(2));
        let expected = Options { r, w, sloppiness: Sloppiness::Strict, timeout_ms: 500 };
        assert_eq!(api.last_command().options, expected);
        api.get("/kv/k").await;
        assert_eq!(api.last_command().options, Options::default());
        let commands = api.commands();
        let unknown = api.get("/kv/k?rr=1").await;
        assert_eq!(told(&unknown), problem(400, "parameter_unknown"));
        assert!(unknown.json().unwrap()["allowed"].as_array().unwrap().contains(&json!("timeout")));
        for query in ["r=0", "r=x", "sloppy=1", "timeout=0", "timeout=2y", "resolve=x"] {
            let answer = api.get(&format!("/kv/k?{query}")).await;
            assert_eq!(told(&answer), problem(400, "parameter_invalid"), "{query}");
            assert!(answer.json().unwrap()["allowed"].is_array());
        }
        assert_eq!(told(&api.get("/cluster?x=1").await), problem(400, "parameter_unknown"));
        assert_eq!(api.commands(), commands);
    });
}

#[test]
fn failures_say_whether_anything_was_written() {
    with_api(async |api| {
        for (failure, status, code, in_doubt) in [
            (Failure::TooFewReplicas { required: 2, reachable: 1 }, 503, "too_few_replicas", json!(false)),
            (Failure::Overloaded, 503, "overloaded", json!(false)),
            (Failure::NotReady, 503, "not_ready", json!(false)),
            (Failure::OutcomeUnknown { required: 2, acks: 1, coordinator: None }, 504, "outcome_unknown", json!(true)),
            (Failure::DiskFull, 507, "disk_full", json!(false)),
            (Failure::TooManySiblings { limit: 64 }, 409, "siblings", json!(false)),
        ] {
            api.force(Outcome::Failed(failure));
            let answer = api.put("/kv/k", "v").await;
            assert_eq!(told(&answer), problem(status, code));
            assert_eq!(answer.json().unwrap()["in_doubt"], in_doubt);
            assert_eq!(answer.header("retry-after").is_some(), status == 503);
            assert_eq!(answer.header("dunlin-node"), Some("n1"));
        }
        let coordinator = Some(NodeId(3));
        api.force(Outcome::Failed(Failure::OutcomeUnknown { required: 2, acks: 0, coordinator }));
        let unheard = api.put("/kv/k", "v").await;
        assert_eq!((told(&unheard), unheard.header("dunlin-node")), (problem(504, "outcome_unknown"), Some("n1")));
        let unheard = unheard.json().unwrap();
        assert_eq!((&unheard["coordinator"], &unheard["in_doubt"]), (&json!("n3"), &json!(true)));
        assert!(unheard["detail"].as_str().unwrap().starts_with("n3 "), "{unheard}");
        api.force(Outcome::Failed(Failure::ReadTimeout { required: 2, answers: 1 }));
        let read = api.get("/kv/k").await;
        assert_eq!((told(&read), &read.json().unwrap()["acks"]), (problem(504, "outcome_unknown"), &json!(1)));
        api.force(Outcome::Failed(Failure::QuorumTooLarge { replicas: 3 }));
        let large = api.get("/kv/k?r=4").await;
        assert_eq!(told(&large), problem(400, "parameter_invalid"));
        assert_eq!(large.json().unwrap()["allowed"][0], json!("1..3"));
    });
}

#[test]
fn a_core_that_is_behind_sheds_what_does_not_fit_its_queue() {
    runtime().block_on(async {
        let (api, stop, served) = start(HttpLimits::default(), VALUE_LIMIT, false).await;
        let waiting = api.get("/kv/a?timeout=1ms");
        let shed = async {
            // The first request takes the queue's only place; whichever comes second is shed.
            let answer = api.get("/kv/b?timeout=1ms").await;
            (told(&answer), answer.header("retry-after").map(str::to_owned))
        };
        let (first, second) = tokio::join!(waiting, shed);
        let mut both = [told(&first), second.0];
        both.sort();
        assert_eq!(both, [problem(503, "overloaded"), problem(504, "outcome_unknown")]);
        drop(stop);
        served.await.unwrap();
    });
}

#[test]
fn methods_and_endpoints_that_are_not_there_say_so() {
    with_api(async |api| {
        for (method, path, allow) in [
            (Method::POST, "/kv/k", "GET, HEAD, PUT, DELETE"),
            (Method::PATCH, "/kv/k", "GET, HEAD, PUT, DELETE"),
            (Method::OPTIONS, "/kv/k", "GET, HEAD, PUT, DELETE"),
            (Method::PUT, "/kv", "GET, HEAD, POST"),
            (Method::POST, "/livez", "GET, HEAD"),
            (Method::DELETE, "/cluster", "GET, HEAD"),
            (Method::POST, "/admin/layout", "GET, HEAD"),
            (Method::GET, "/admin/layout/apply", "POST"),
            (Method::GET, "/admin/layout/pause", "POST"),
        ] {
            let answer = api.ask(Request::raw(method, path)).await;
            assert_eq!((told(&answer), answer.header("allow")), (problem(405, "method_not_allowed"), Some(allow)));
        }
        for (method, path) in [
            (Method::POST, "/batch"),
            (Method::GET, "/openapi.json"),
            (Method::GET, "/docs"),
            (Method::POST, "/admin/users"),
        ] {
            assert_eq!(told(&api.ask(Request::raw(method, path)).await), problem(501, "not_supported"), "{path}");
        }
        for path in ["/", "/nothing", "/KV/k", "/kvk"] {
            assert_eq!(told(&api.get(path).await), problem(404, "not_found"), "{path}");
        }
    });
}

#[test]
fn a_node_tells_of_itself_and_its_cluster() {
    with_api(async |api| {
        assert_eq!(api.get("/livez").await.status, 200);
        assert_eq!(api.get("/readyz").await.json().unwrap(), json!({"ready": true, "reasons": []}));
        let cluster = api.get("/cluster").await.json().unwrap();
        assert_eq!(cluster["node"], json!({"id": "0000000000000001", "name": "n1"}));
        assert_eq!(cluster["members"][1]["state"], json!("suspect"));
        assert_eq!(cluster["members"][1]["addresses"]["http"], json!("a:3"));
        assert_eq!((&cluster["layout_version"], &cluster["partitions_filling"]), (&json!(7), &json!([2])));
        assert_eq!(cluster["hints"], json!([{"target": "0000000000000003", "count": 5, "bytes": 500}]));
        let ring = api.get("/cluster/ring").await.json().unwrap();
        assert_eq!(ring["partitions"][1], json!({"partition": 1, "primaries": ["n2", "n3", "n4"]}));
        let held = api.get("/cluster/partitions").await.json().unwrap();
        assert_eq!(held["partitions"][0]["partition"], 3);
        assert_eq!(
            (&held["partitions"][0]["clock"], &held["partitions"][0]["keys"]),
            (&"000000000000000a".into(), &9.into())
        );
        let of_key = api.get("/cluster/ring/a%2Fb").await.json().unwrap();
        let partition = (Key::new("a/b").unwrap().hash64() >> 62) as usize;
        assert_eq!((&of_key["key"], &of_key["partition"]), (&json!("a/b"), &json!(partition)));
        let nodes: Vec<_> = ["primaries", "fallbacks"].iter().flat_map(|n| of_key[n].as_array().unwrap()).collect();
        assert_eq!(nodes.len(), 4);
        assert!(nodes.iter().all(|node| node["up"] == json!(node["name"] != "n3")), "{nodes:?}");
        assert_eq!(told(&api.get("/cluster/ring/").await), problem(400, "key_empty"));
    });
}

#[test]
fn a_node_that_is_not_ready_says_why() {
    with_api(async |api| {
        let reasons = vec!["no layout".to_owned()];
        api.status.send_replace(Arc::new(ClusterStatus { ready: false, reasons, ..ClusterStatus::default() }));
        let answer = api.get("/readyz").await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.json().unwrap(), json!({"ready": false, "reasons": ["no layout"]}));
        assert_eq!(told(&api.get("/cluster/ring/k").await), problem(503, "not_ready"));
    });
}

#[test]
fn requests_are_counted_by_operation_and_status() {
    with_api(async |api| {
        api.put("/kv/k", "v").await;
        api.get("/kv/none").await;
        api.metrics.count_notice(dunlin::node::Notice::ReadRepaired);
        let answer = api.get("/metrics").await;
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
        for line in [
            "dunlin_http_requests_total{operation=\"put\",status=\"201\"} 1",
            "dunlin_http_requests_total{operation=\"get\",status=\"404\"} 1",
            "dunlin_http_request_duration_seconds_count{operation=\"put\"} 1",
            "dunlin_notices_total{notice=\"read_repaired\"} 1",
            "dunlin_hints{target=\"n3\"} 5",
            "dunlin_partitions_filling 1",
            "dunlin_transfer_copies_total{owner=\"n2\"} 3",
            "dunlin_transfer_bytes_total{owner=\"n2\"} 70",
            "dunlin_transfer_idle_seconds 4",
            "dunlin_members{state=\"alive\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    });
}

#[test]
fn the_command_line_puts_gets_and_deletes() {
    use clap::{Args, Parser};
    use dunlin::cli::kv::{self, DeleteArgs, Exit, GetArgs, Output, PutArgs};
    #[derive(Parser)]
    struct Line<A: Args> {
        #[command(flatten)]
        args: A,
    }
    with_api(async |api| {
        let url = format!("http://{}", api.address);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let put = Line::<PutArgs>::parse_from(["put", "a b", "-", "--url", &url, "--w", "all"]).args;
        let output = Output { stdout: &mut stdout, stderr: &mut stderr };
        assert_eq!(kv::put(&put, &mut &b"bytes\xff"[..], output).await.unwrap(), Exit::Done);
        assert_eq!(api.last_command().options.w, Quorum::All);
        let get = Line::<GetArgs>::parse_from(["get", "a b", "--url", &url]).args;
        let output = Output { stdout: &mut stdout, stderr: &mut stderr };
        assert_eq!(kv::get(&get, output).await.unwrap(), Exit::Done);
        assert_eq!(stdout, b"bytes\xff");
        let delete = Line::<DeleteArgs>::parse_from(["delete", "a b", "--url", &url]).args;
        let output = Output { stdout: &mut stdout, stderr: &mut stderr };
        assert_eq!(kv::delete(&delete, output).await.unwrap(), Exit::Done);
        let output = Output { stdout: &mut stdout, stderr: &mut stderr };
        assert_eq!(kv::get(&get, output).await.unwrap(), Exit::NotFound);
        api.make_siblings("/kv/a%20b", &["one", "two"]).await;
        let output = Output { stdout: &mut stdout, stderr: &mut stderr };
        assert_eq!(kv::get(&get, output).await.unwrap(), Exit::Siblings);
        assert_eq!(stdout, b"bytes\xff");
        let nobody = format!("http://{}", TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap());
        let nobody = Line::<GetArgs>::parse_from(["get", "k", "--url", &nobody]).args;
        let output = Output { stdout: &mut stdout, stderr: &mut stderr };
        assert_eq!(kv::get(&nobody, output).await.unwrap(), Exit::Failed);
    });
}
