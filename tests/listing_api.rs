//! `GET /kv` against a core of a few lines: parameters, pages, lines, cursors and failures, over real sockets.
#![cfg(feature = "runtime")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

use dunlin::base::{HybridTime, Key, WallTime};
use dunlin::causal::{Actor, Content, Dot, Filled, Token, TokenSecret, Version};
use dunlin::client::{Answer, Client, Method, Request};
use dunlin::replication::{Command, Failure, ListCommand, Options, Outcome, ReadResult};
use dunlin::runtime::http::{
    Asked, BodyBudget, CoreHandle, CoreRequest, HttpLimits, HttpState, MAX_LISTINGS, TokenSecrets, serve,
    system_wall_clock,
};
use dunlin::runtime::metrics::Metrics;
use dunlin::runtime::status::ClusterStatus;
use dunlin::store::{KeyPage, KeyQuery, Reach};
use hyper::header::HeaderName;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

/// Keys with their values; those without one are listed by replicas and not there to readers.
#[derive(Default)]
struct FakeCore {
    objects: BTreeMap<Key, Vec<Version>>,
    /// Answers to the next listings, before all others.
    forced: VecDeque<Outcome>,
    listings: usize,
}

impl FakeCore {
    fn put(&mut self, key: &[u8], values: &[&[u8]]) {
        let version = |(counter, value): (u64, &&[u8])| Version {
            dot: Dot { actor: Actor(1), counter },
            content: Content {
                value: value.to_vec().into(),
                content_type: "text/plain".into(),
                metadata: vec![("colour".into(), "red".into())],
                written_at: HybridTime::from_wall(WallTime(counter * 1000)),
                expires_at: None,
            },
        };
        self.objects.insert(Key::new(key.to_vec()).unwrap(), (1..).zip(values).map(version).collect());
    }

    fn read(&self, command: &Command) -> Outcome {
        let versions = self.objects.get(&command.key).cloned().unwrap_or_default();
        let context = versions.iter().map(|version| version.dot).collect();
        Outcome::Read(ReadResult { state: Filled { versions, context }, answers: 2, replicas: 3, hinted: 0 })
    }

    fn list(&mut self, command: &ListCommand) -> Outcome {
        self.listings += 1;
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

struct Api {
    client: Client,
    core: Arc<Mutex<FakeCore>>,
}

impl Api {
    async fn get(&self, path: &str) -> Answer {
        self.client.send(Request::raw(Method::GET, path)).await.unwrap()
    }

    async fn lines(&self, path: &str) -> Answer {
        let accept = HeaderName::from_static("accept");
        self.client.send(Request::raw(Method::GET, path).header(accept, "application/x-ndjson")).await.unwrap()
    }
}

/// Serves a core in which `prepare` has put something.
fn with_api(prepare: impl FnOnce(&mut FakeCore), test: impl AsyncFnOnce(Api)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut core = FakeCore::default();
        prepare(&mut core);
        let core = Arc::new(Mutex::new(core));
        let (commands, mut requests) = mpsc::channel::<CoreRequest>(64);
        let answering = core.clone();
        tokio::spawn(async move {
            while let Some((asked, answer)) = requests.recv().await {
                let outcome = match asked {
                    Asked::Command(command) => answering.lock().unwrap().read(&command),
                    Asked::List(command) => answering.lock().unwrap().list(&command),
                };
                let _ = answer.send(outcome);
            }
        });
        let (_status, watched) = watch::channel(Arc::new(ClusterStatus { replicas: 3, ..ClusterStatus::default() }));
        let state = HttpState {
            core: CoreHandle::new(commands, watched),
            secrets: TokenSecrets::new(TokenSecret::new([1; 32]), None),
            defaults: Options::default(),
            bodies: BodyBudget::new(1 << 20),
            listings: Arc::new(Semaphore::new(MAX_LISTINGS)),
            limits: HttpLimits::default(),
            metrics: Arc::new(Metrics::new()),
            wall_clock: system_wall_clock,
            layouts: None,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new([format!("http://{}", listener.local_addr().unwrap())]).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(listener, Arc::new(state), async { drop(stopped.await) }));
        test(Api { client, core }).await;
        drop(stop);
        served.await.unwrap();
    });
}

fn numbered(core: &mut FakeCore, count: usize) {
    (0..count).for_each(|number| core.put(format!("k/{number:04}").as_bytes(), &[b"v"]));
}

fn keys(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|item| item["key"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_item_says_what_there_is_and_with_values_the_value_and_its_context() {
    let prepare = |core: &mut FakeCore| {
        core.put(b"one", &[b"text"]);
        core.put(b"two", &[b"a", b"\xff\x00"]);
        core.put(b"\xfe", &[b"x"]);
        core.put(b"gone", &[]);
    };
    with_api(prepare, async |api| {
        let one = json!({"key": "one", "size": 4, "content_type": "text/plain",
            "modified": "1970-01-01T00:00:01.000Z", "siblings": 1});
        let page = api.get("/kv").await.json().unwrap();
        assert_eq!(page["items"][0], one);
        assert_eq!(page["items"][1]["siblings"], json!(2));
        assert_eq!(page["items"][2]["key_b64"], json!("/g=="));
        assert_eq!((page["items"].as_array().unwrap().len(), page.get("next")), (3, None));
        let page = api.get("/kv?values=true").await.json().unwrap();
        let item = &page["items"][0];
        assert_eq!((&item["value"], &item["metadata"]), (&json!("text"), &json!({"colour": "red"})));
        let token = |item: &Value, key: &'static str| {
            let text = item["context"].as_str().unwrap();
            Token::open(&[TokenSecret::new([1; 32])], &Key::new(key).unwrap(), text).unwrap()
        };
        assert!(token(item, "one").context.contains(Dot { actor: Actor(1), counter: 1 }));
        let two = &page["items"][1];
        assert_eq!((two.get("value"), two["versions"].as_array().unwrap().len()), (None, 2));
        assert_eq!((&two["versions"][0]["value_b64"], &two["versions"][1]["value"]), (&json!("/wA="), &json!("a")));
        assert!(token(two, "two").context.contains(Dot { actor: Actor(1), counter: 2 }));
    });
}

#[test]
fn pages_follow_one_another_by_their_cursor_until_there_is_none() {
    with_api(
        |core| numbered(core, 250),
        async |api| {
            let (mut found, mut path) = (Vec::new(), "/kv?prefix=k/".to_owned());
            loop {
                let page = api.get(&path).await.json().unwrap();
                assert!(page["items"].as_array().unwrap().len() <= 100);
                found.extend(keys(&page));
                match page.get("next") {
                    Some(next) => path = format!("/kv?prefix=k/&cursor={}", next.as_str().unwrap()),
                    None => break,
                }
            }
            assert_eq!(found, (0..250).map(|number| format!("k/{number:04}")).collect::<Vec<_>>());
            let page = api.get("/kv?start=k/0007&limit=2").await.json().unwrap();
            assert_eq!(keys(&page), ["k/0007", "k/0008"]);
            assert_eq!(keys(&api.get("/kv?prefix=other").await.json().unwrap()), Vec::<String>::new());
        },
    );
}

#[test]
fn lines_go_on_to_the_end_unless_a_limit_is_given() {
    with_api(
        |core| numbered(core, 1_300),
        async |api| {
            let all = api.lines("/kv?prefix=k/").await;
            assert_eq!(all.header("content-type"), Some("application/x-ndjson"));
            assert_eq!(all.header("x-content-type-options"), Some("nosniff"));
            let lines: Vec<Value> =
                all.body.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
            assert_eq!(lines.len(), 1_300);
            assert!(lines.iter().zip(0..).all(|(line, number)| line["key"] == json!(format!("k/{number:04}"))));
            let some = api.lines("/kv?limit=3").await;
            assert_eq!(some.body.iter().filter(|byte| **byte == b'\n').count(), 3);
            let more = api.lines(&format!("/kv?limit=1&cursor={}", some.header("dunlin-next").unwrap())).await;
            assert!(more.body.starts_with(b"{\"key\":\"k/0003\"") || more.body.windows(8).any(|w| w == b"\"k/0003\""));
        },
    );
}

#[test]
fn a_page_may_be_empty_and_not_the_last() {
    let prepare = |core: &mut FakeCore| {
        core.put(b"z", &[b"v"]);
        let keys = vec![Key::new("gone").unwrap()];
        let reach = Reach::Through(Key::new("m").unwrap());
        core.forced.push_back(Outcome::Listed(KeyPage { keys, reach }));
        core.forced.push_back(Outcome::Failed(Failure::Overloaded));
    };
    with_api(prepare, async |api| {
        let page = api.get("/kv").await.json().unwrap();
        assert_eq!(keys(&page), Vec::<String>::new());
        let page = api.get(&format!("/kv?cursor={}", page["next"].as_str().unwrap())).await.json().unwrap();
        assert_eq!((keys(&page), page.get("next")), (vec!["z".to_owned()], None));
    });
}

#[test]
fn a_failure_before_the_first_item_is_the_answer() {
    let prepare = |core: &mut FakeCore| {
        numbered(core, 3);
        core.forced.push_back(Outcome::Failed(Failure::TooFewReplicas { required: 2, reachable: 1 }));
        core.forced.push_back(Outcome::Failed(Failure::ReadTimeout { required: 2, answers: 1 }));
    };
    with_api(prepare, async |api| {
        let refused = api.get("/kv").await;
        assert_eq!((refused.status.as_u16(), refused.code().as_deref()), (503, Some("too_few_replicas")));
        assert_eq!(refused.header("retry-after"), Some("1"));
        let late = api.lines("/kv").await;
        assert_eq!((late.status.as_u16(), late.code().as_deref()), (504, Some("outcome_unknown")));
    });
}

#[test]
fn bad_parameters_methods_and_types_are_refused_before_anything_is_listed() {
    with_api(
        |core| numbered(core, 3),
        async |api| {
            for (path, code) in [
                ("/kv?w=2", "parameter_unknown"),
                ("/kv?limit=0", "parameter_invalid"),
                ("/kv?limit=1001", "parameter_invalid"),
                ("/kv?values=maybe", "parameter_invalid"),
                ("/kv?cursor=AAAA", "parameter_invalid"),
                ("/kv?prefix=%zz", "parameter_invalid"),
            ] {
                let refused = api.get(path).await;
                assert_eq!((refused.status.as_u16(), refused.code().as_deref()), (400, Some(code)), "{path}");
                assert!(refused.json().unwrap()["allowed"].is_array());
            }
            let put = api.client.send(Request::raw(Method::PUT, "/kv")).await.unwrap();
            assert_eq!((put.status.as_u16(), put.header("allow")), (405, Some("GET, HEAD, POST")));
            let accept = HeaderName::from_static("accept");
            let html = Request::raw(Method::GET, "/kv").header(accept, "text/html");
            assert_eq!(api.client.send(html).await.unwrap().status, 406);
            assert_eq!(api.core.lock().unwrap().listings, 0);
            let head = api.client.send(Request::raw(Method::HEAD, "/kv")).await.unwrap();
            assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        },
    );
}
