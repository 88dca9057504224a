//! Clients: what they ask, what they remember, what they check in every answer.

use super::checkers::{
    Broken, Listed, Shown, check_available, check_honest, check_listed, check_quorum, check_resurrected,
    check_siblings, check_stale, check_torn,
};
use super::claims::{Claims, Learned};
use super::oracle::{Fate, Kind, Oracle, Seen, Write};
use super::pages::{AskedPage, Pages};
use super::swarm::Swarm;
use super::{WriteId, WriteSet, value_of};
use dunlin::base::{Key, Random, Time};
use dunlin::causal::DotSet;
use dunlin::replication::{
    Command, Condition, ListCommand, NewContent, Operation, Options, Outcome, Quorum, ReadResult, Sloppiness,
    WriteResult,
};
use std::collections::{BTreeMap, VecDeque};

/// How many recent contexts of a key clients pass around.
const SHARED_TOKENS: usize = 6;

/// Share of writes that carry a condition.
const CONDITIONAL: f64 = 0.05;

/// A context as a client keeps it: opaque to the client, with what the oracle knows of it.
#[derive(Debug, Clone)]
struct Token {
    context: DotSet,
    live_hash: u64,
    known: WriteSet,
}

/// A request that a client waits for.
#[derive(Debug, Clone)]
struct Asked {
    client: usize,
    key: usize,
    write: Option<WriteId>,
    copies: usize,
    reads: usize,
    /// W and R, as they were asked for.
    quorums: [Quorum; 2],
    strict: bool,
    begun: Time,
}

/// What a client wishes.
pub(super) enum Wish {
    /// Something about one key.
    Command(Command),
    /// A page of keys.
    List(ListCommand),
}

/// All clients of a run, and their history.
pub(super) struct Workload {
    random: Random,
    swarm: Swarm,
    /// Copies of every key: N, or the nodes if there are fewer.
    replicas: usize,
    keys: Vec<Key>,
    open: BTreeMap<u64, Asked>,
    /// Per client and key: the last token it was given.
    tokens: BTreeMap<(usize, usize), Token>,
    /// Per key: recent tokens of all clients.
    shared: BTreeMap<usize, VecDeque<Token>>,
    claims: Claims,
    pages: Pages,
    /// What clients were told.
    pub oracle: Oracle,
    /// Requests that clients have yet to send.
    pub remaining: usize,
    /// Acknowledged writes and successful reads.
    pub succeeded: u64,
}

impl Workload {
    /// Clients of this run.
    pub(super) fn new(swarm: &Swarm, replicas: usize, mut random: Random) -> Self {
        let keys = (0..swarm.keys).map(|number| key_named(number, random.u64())).collect();
        let pages = Pages::new(random.clone().fork());
        Self {
            random,
            swarm: swarm.clone(),
            replicas,
            keys,
            open: BTreeMap::new(),
            tokens: BTreeMap::new(),
            shared: BTreeMap::new(),
            pages,
            claims: Claims::default(),
            // Two quorums meet if together they are more than this.
            oracle: Oracle::new(swarm.keys, replicas.max(swarm.most_replicas)),
            remaining: swarm.operations,
            succeeded: 0,
        }
    }

    /// What a client asks next. A write is in the history before it is sent.
    pub(super) fn next(&mut self, client: usize, request: u64, now: Time) -> Wish {
        self.remaining = self.remaining.saturating_sub(1);
        if self.swarm.listings > 0.0 && self.random.chance(self.swarm.listings) {
            let options = self.draw_options();
            return Wish::List(self.pages.next(client, request, now, options));
        }
        let key = self.draw_key();
        let options = self.draw_options();
        let is_read = self.random.chance(self.swarm.reads);
        let mut asked = self.asked(client, key, &options, now);
        let operation = if is_read { Operation::Get } else { self.write(&mut asked) };
        self.open.insert(request, asked);
        Wish::Command(Command { key: self.keys[key].clone(), operation, options })
    }

    /// The write that an open request is for.
    pub(super) fn write_of(&self, request: u64) -> Option<WriteId> {
        self.open.get(&request)?.write
    }

    /// The key that an open request is about.
    pub(super) fn key_of(&self, request: u64) -> Option<&Key> {
        self.keys.get(self.open.get(&request)?.key)
    }

    /// A read of everything there is of a key, for the end of a run.
    pub(super) fn last_read(&mut self, key: usize, request: u64, now: Time) -> Command {
        let options =
            Options { r: Quorum::All, sloppiness: Sloppiness::Strict, timeout_ms: 5_000, ..Options::default() };
        let asked = self.asked(usize::MAX, key, &options, now);
        self.open.insert(request, asked);
        Command { key: self.keys[key].clone(), operation: Operation::Get, options }
    }

    fn asked(&self, client: usize, key: usize, options: &Options, begun: Time) -> Asked {
        let count = |quorum| self.count(quorum);
        let strict = options.sloppiness == Sloppiness::Strict;
        let (copies, reads, quorums) = (count(options.w), count(options.r), [options.w, options.r]);
        Asked { client, key, write: None, copies, reads, quorums, strict, begun }
    }

    /// How many replicas a quorum is. Where N changes, a majority of any N reaches each write of a majority, and so does
    /// "all"; of a number no more is known than that it is a majority of the largest N, or may be none.
    fn count(&self, quorum: Quorum) -> usize {
        let most = self.swarm.most_replicas;
        let count = quorum.of(most).unwrap_or(most);
        match quorum {
            Quorum::Count(_) if self.swarm.changes_replicas() && count <= most / 2 => 1,
            _ if self.swarm.changes_replicas() => most / 2 + 1,
            _ => quorum.of(self.replicas).unwrap_or(self.replicas),
        }
    }

    fn draw_key(&mut self) -> usize {
        let unit = self.random.unit().powf(1.0 + self.swarm.skew);
        ((unit * self.keys.len() as f64) as usize).min(self.keys.len() - 1)
    }

    fn draw_options(&mut self) -> Options {
        let sloppiness = if self.random.chance(self.swarm.strict) { Sloppiness::Strict } else { Sloppiness::Sloppy };
        let timeout_ms = [500, 2_000, 2_000, 5_000][self.random.below(4) as usize];
        Options { r: self.draw_quorum(), w: self.draw_quorum(), sloppiness, timeout_ms }
    }

    fn draw_quorum(&mut self) -> Quorum {
        if !self.random.chance(self.swarm.odd_quorums) {
            return Quorum::Majority;
        }
        match self.random.below(3) {
            0 => Quorum::All,
            _ => Quorum::Count(self.random.between(1, self.replicas as u64) as u8),
        }
    }

    fn write(&mut self, asked: &mut Asked) -> Operation {
        let kind = if self.random.chance(self.swarm.deletes) { Kind::Delete } else { Kind::Put };
        let token = if self.random.chance(self.swarm.plain) { None } else { Some(self.draw_token(asked)) };
        let write = Write {
            key: asked.key,
            kind,
            seen: token.as_ref().map_or(Seen::Unknown, |token| Seen::Exactly(token.known.clone())),
            invoked: asked.begun,
            ended: Time::NEVER,
            fate: Fate::Open,
            copies: asked.copies,
            reads: asked.reads,
            strict: asked.strict,
        };
        let id = self.oracle.begin(write);
        asked.write = Some(id);
        let content = (kind == Kind::Put).then(|| self.content(id));
        let condition = self.draw_condition(token.as_ref());
        Operation::Write { content, seen: token.map(|token| token.context), condition }
    }

    /// Mostly the client's own last token; now and then somebody else's, or an older one. A client that
    /// has none has seen nothing.
    fn draw_token(&mut self, asked: &Asked) -> Token {
        let shared: Vec<&Token> = self.shared.get(&asked.key).into_iter().flatten().collect();
        if !shared.is_empty() && self.random.chance(0.3) {
            return shared[self.random.below(shared.len() as u64) as usize].clone();
        }
        let own = self.tokens.get(&(asked.client, asked.key)).cloned();
        own.unwrap_or(Token { context: DotSet::default(), live_hash: 0, known: WriteSet::default() })
    }

    fn draw_condition(&mut self, token: Option<&Token>) -> Condition {
        if !self.random.chance(CONDITIONAL) {
            return Condition::Always;
        }
        match (self.random.below(3), token) {
            (0, _) => Condition::Exists,
            (1, Some(token)) => Condition::LiveHashIn(vec![token.live_hash]),
            _ => Condition::Absent,
        }
    }

    fn content(&mut self, id: WriteId) -> NewContent {
        let filler = self.random.below(self.swarm.filler as u64 + 1) as usize;
        NewContent {
            value: value_of(id, filler),
            content_type: "application/octet-stream".into(),
            metadata: Vec::new(),
            ttl_ms: None,
        }
    }

    /// Takes an answer; returns the client that goes on, and every promise it breaks.
    pub(super) fn answered(&mut self, request: u64, outcome: Outcome, now: Time) -> (Option<usize>, Vec<Broken>) {
        if let Some(asked) = self.pages.answered(request) {
            return (Some(asked.client), self.take_page(&asked, outcome, now));
        }
        let Some(asked) = self.open.remove(&request) else { return (None, Vec::new()) };
        let sloppiness = if asked.strict { Sloppiness::Strict } else { Sloppiness::Sloppy };
        let mut broken = check_quorum(&outcome, asked.quorums, sloppiness);
        if self.swarm.is_calm() {
            broken.extend(check_available(&outcome));
        }
        match outcome {
            Outcome::Read(result) => broken.extend(self.take_read(&asked, &result, now)),
            Outcome::Written(result) => broken.extend(self.take_written(&asked, result, now)),
            Outcome::Listed(_) => {
                broken.push(Broken { promise: "P11 honest errors", what: "a command is answered with a page".into() })
            }
            Outcome::PreconditionFailed { .. } => self.end(&asked, Fate::NotWritten, now),
            Outcome::Failed(failure) if failure.nothing_written() => self.end(&asked, Fate::NotWritten, now),
            Outcome::Failed(_) => self.end(&asked, Fate::InDoubt, now),
        }
        (Some(asked.client), broken)
    }

    /// The node of a request died: nobody will answer. Returns the client that goes on.
    pub(super) fn abandoned(&mut self, request: u64, now: Time) -> Option<usize> {
        if let Some(asked) = self.pages.answered(request) {
            return Some(asked.client);
        }
        let asked = self.open.remove(&request)?;
        self.end(&asked, Fate::InDoubt, now);
        Some(asked.client)
    }

    fn end(&mut self, asked: &Asked, fate: Fate, now: Time) {
        if let Some(write) = asked.write {
            self.oracle.end(write, fate, now);
        }
    }

    /// The values a read shows, as writes.
    pub(super) fn shown(&mut self, key: usize, result: &ReadResult) -> (WriteSet, Vec<Broken>) {
        let values = result.state.versions.iter().map(|version| version.content.value.as_ref());
        let (writes, mut broken) = check_torn(&self.oracle, key, values);
        for version in &result.state.versions {
            let Some(write) = super::write_of(&version.content.value) else { continue };
            if self.oracle.knows(write) {
                broken.extend(self.learn(key, write, version.dot));
            }
        }
        broken.extend(check_honest(&self.oracle, key, &writes));
        (writes, broken)
    }

    fn learn(&mut self, key: usize, write: WriteId, dot: dunlin::causal::Dot) -> Option<Broken> {
        match self.claims.learn(key, write, dot) {
            Learned::Nothing => None,
            Learned::SecondDot => Some(Broken {
                promise: "R18 never sent twice",
                what: format!("{write:?} of key {key} was minted twice, the second time as {dot:?}"),
            }),
            Learned::ClaimedBy(plain) => {
                plain.into_iter().for_each(|by| self.oracle.claim(by, write));
                None
            }
        }
    }

    fn take_read(&mut self, asked: &Asked, result: &ReadResult, now: Time) -> Vec<Broken> {
        self.succeeded += 1;
        let (writes, mut broken) = self.shown(asked.key, result);
        let known = self.oracle.knowledge(&writes);
        let Asked { key, reads, strict, begun, .. } = *asked;
        let shown = Shown { key, writes, reads, strict, begun, ended: now };
        broken.extend(check_resurrected(&self.oracle, &shown));
        broken.extend(check_stale(&self.oracle, &shown));
        if self.swarm.is_calm() {
            broken.extend(check_siblings(&self.oracle, &shown));
        }
        let (context, live_hash) = (result.state.context.clone(), result.state.live_hash());
        self.remember(asked, Token { context, live_hash, known });
        broken
    }

    /// A page shows what is absent: it is judged as a read of each such key.
    fn take_page(&mut self, asked: &AskedPage, outcome: Outcome, now: Time) -> Vec<Broken> {
        let page = match outcome {
            Outcome::Listed(page) => page,
            other if self.swarm.is_calm() => return check_available(&other).into_iter().collect(),
            _ => return Vec::new(),
        };
        self.succeeded += 1;
        let reads = self.count(asked.options.r);
        check_listed(
            &self.oracle,
            &self.keys,
            &Listed { query: &asked.query, page: &page, reads, begun: asked.begun, ended: now },
        )
    }

    fn take_written(&mut self, asked: &Asked, result: WriteResult, now: Time) -> Vec<Broken> {
        self.succeeded += 1;
        let Some(id) = asked.write else {
            return vec![Broken { promise: "P11 honest errors", what: "a read is answered \"written\"".into() }];
        };
        let plain = self.oracle.past(id).is_none();
        self.oracle.end(id, Fate::Acknowledged, now);
        let dot = result.live.dots().next();
        let broken = dot.and_then(|dot| self.learn(asked.key, id, dot));
        if plain {
            for victim in self.claims.claim(asked.key, id, result.context.clone()) {
                self.oracle.claim(id, victim);
            }
        }
        let known = self.oracle.knowledge(&[id].into_iter().collect());
        let live_hash = dunlin::causal::live_hash(result.live.dots());
        self.remember(asked, Token { context: result.context, live_hash, known });
        broken.into_iter().collect()
    }

    fn remember(&mut self, asked: &Asked, token: Token) {
        let shared = self.shared.entry(asked.key).or_default();
        shared.push_back(token.clone());
        if shared.len() > SHARED_TOKENS {
            shared.pop_front();
        }
        self.tokens.insert((asked.client, asked.key), token);
    }
}

/// Keys are spread by a salt, so that few keys still fall into all partitions over the seeds.
fn key_named(number: usize, salt: u64) -> Key {
    Key::new(format!("key-{number}-{salt:016x}")).expect("between 1 and 1,024 bytes")
}
