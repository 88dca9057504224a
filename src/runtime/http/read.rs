//! GET and HEAD of a key: from what the core found to an answer.

use super::accept::{Accept, Form, MULTIPART, SIBLINGS_JSON};
use super::answer::{self, META_PREFIX, OCTET_STREAM, Response, SIBLINGS};
use super::conditions::ReadConditions;
use super::parameters::Choice;
use super::problem::{Code, Problem};
use super::shown::{Shown, View};
use super::siblings::{self, MAX_CONFLICT_BYTES, MAX_ENVELOPE_BYTES, Values};
use crate::base::{Key, WallTime};
use crate::causal::{Actor, TokenSecret};
use crate::replication::ReadResult;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderName, VARY};
use serde_json::json;
use std::collections::BTreeMap;

/// What shapes the answer to a read, besides what was found.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    /// The key.
    pub(super) key: &'a Key,
    /// Seals the token.
    pub(super) secret: &'a TokenSecret,
    /// This node's clock: it hides what has expired.
    pub(super) now: WallTime,
    /// Names of nodes, by actor.
    pub(super) actors: &'a BTreeMap<Actor, String>,
    /// `Accept`.
    pub(super) accept: Accept,
    /// `If-Match`, `If-None-Match`.
    pub(super) conditions: ReadConditions,
    /// `sibling=`, `resolve=`.
    pub(super) choice: Choice<'a>,
}

impl Reader<'_> {
    /// The answer to a read that succeeded.
    pub(super) fn answer(&self, result: ReadResult) -> Response {
        let ReadResult { state, answers, replicas, hinted } = result;
        let view = View::of(state, self.now);
        let mut response = self.conditional(&view).unwrap_or_else(|| self.representation(&view));
        answer::set_acks(&mut response, answers, replicas, hinted);
        answer::set_untrusted(&mut response);
        answer::set(&mut response, VARY, "accept");
        // Without this a cache may guess a lifetime from Last-Modified; with the ETag it can ask instead.
        answer::set(&mut response, CACHE_CONTROL, "no-cache");
        response
    }

    /// 412 or 304, if a condition says so.
    fn conditional(&self, view: &View) -> Option<Response> {
        let ReadConditions { matches, none_match } = &self.conditions;
        if matches.as_ref().is_some_and(|tags| !tags.name(view.visible_hash())) {
            let problem = Problem::new(Code::PreconditionFailed, "If-Match names no version of the key as it is");
            let mut response = problem.answer();
            let token = view.token(self.secret, self.key, std::iter::empty());
            answer::set(&mut response, hyper::header::ETAG, &format!("\"{token}\""));
            return Some(response);
        }
        // Expiry changes what is shown without a new dot, so an old tag proves nothing then.
        let tags = none_match.as_ref().filter(|tags| tags.name(view.visible_hash()) && !view.hides_expired)?;
        let mut response = answer::empty(StatusCode::NOT_MODIFIED);
        // Nothing is shown here: the token covers what the client has shown that it saw, and no more.
        let seen = view.values.iter().filter(|shown| shown.dots.iter().all(|dot| tags.cover(*dot)));
        self.set_token(&mut response, view, seen);
        Some(response)
    }

    fn representation(&self, view: &View) -> Response {
        match (self.choice, self.accept.form()) {
            (Choice::All, Form::Envelope) => self.envelope(view, &view.values),
            (Choice::All, Form::Multipart) if !view.values.is_empty() => self.multipart(view, &view.values),
            (Choice::All, _) => match view.values.as_slice() {
                [] => self.not_found(view, "the key has no value"),
                [one] => self.one(view, one),
                many => self.conflict(view, many),
            },
            (Choice::One(id), form) => match view.values.iter().find(|shown| shown.is(id)) {
                Some(shown) => self.chosen(view, shown, form),
                None => self.not_found(view, "the key has no such sibling any more"),
            },
            (Choice::Newest, form) => match view.values.first() {
                Some(shown) => {
                    let mut response = self.chosen(view, shown, form);
                    answer::set(&mut response, SIBLINGS, &view.values.len().to_string());
                    response
                }
                None => self.not_found(view, "the key has no value"),
            },
        }
    }

    fn chosen(&self, view: &View, shown: &Shown, form: Form) -> Response {
        match form {
            Form::Raw => self.one(view, shown),
            Form::Envelope => self.envelope(view, std::slice::from_ref(shown)),
            Form::Multipart => self.multipart(view, std::slice::from_ref(shown)),
        }
    }

    fn one(&self, view: &View, shown: &Shown) -> Response {
        let content = &shown.content;
        let stored_type =
            Some(content.content_type.as_str()).filter(|stored| !stored.is_empty()).unwrap_or(OCTET_STREAM);
        if !self.accept.takes(stored_type) {
            let allowed = [stored_type, SIBLINGS_JSON, MULTIPART];
            return Problem::new(Code::NotAcceptable, format!("the value is {stored_type}"))
                .with("allowed", json!(allowed))
                .answer();
        }
        let mut response = answer::with_body(StatusCode::OK, stored_type, content.value.clone());
        for (name, value) in &content.metadata {
            if let Ok(name) = HeaderName::try_from(format!("{META_PREFIX}{name}")) {
                answer::set(&mut response, name, value);
            }
        }
        answer::set_times(&mut response, content.written_at.wall(), content.expires_at);
        self.set_token(&mut response, view, std::iter::once(shown));
        response
    }

    fn conflict(&self, view: &View, values: &[Shown]) -> Response {
        let carried = siblings::fitting(values, MAX_CONFLICT_BYTES);
        let token = view.token(self.secret, self.key, carried.iter().copied());
        let cut = carried.len() < values.len();
        let detail = format!(
            "{} clients wrote without having seen one another; write the value that holds with this context{}",
            values.len(),
            if cut { ", which covers only the values shown here: read the others with ?sibling=<id>" } else { "" },
        );
        let members = siblings::envelope(self.key, &token, values, &carried, Values::Base64, self.actors);
        let problem = Problem::new(Code::Siblings, detail).with("retryable", false);
        let problem = members.into_iter().fold(problem, |problem, (name, value)| problem.with(&name, value));
        let mut response = problem.answer();
        self.set_last_modified(&mut response, values);
        answer::set_token(&mut response, &token);
        response
    }

    fn envelope(&self, view: &View, values: &[Shown]) -> Response {
        let carried = siblings::fitting(values, MAX_ENVELOPE_BYTES);
        let token = view.token(self.secret, self.key, carried.iter().copied());
        let members = siblings::envelope(self.key, &token, values, &carried, Values::Readable, self.actors);
        let body = serde_json::Value::Object(members).to_string();
        let mut response = answer::with_body(StatusCode::OK, SIBLINGS_JSON, body);
        self.set_last_modified(&mut response, values);
        answer::set_token(&mut response, &token);
        response
    }

    fn multipart(&self, view: &View, values: &[Shown]) -> Response {
        let carried = siblings::fitting(values, MAX_ENVELOPE_BYTES);
        let (content_type, body) = siblings::multipart(&carried, view.live_hash);
        let mut response = answer::with_body(StatusCode::OK, &content_type, body);
        answer::set(&mut response, SIBLINGS, &values.len().to_string());
        self.set_last_modified(&mut response, values);
        self.set_token(&mut response, view, carried.into_iter());
        response
    }

    fn not_found(&self, view: &View, why: &str) -> Response {
        let mut response = Problem::new(Code::NotFound, why).answer();
        self.set_token(&mut response, view, std::iter::empty());
        response
    }

    fn set_token<'a>(&self, response: &mut Response, view: &View, values: impl Iterator<Item = &'a Shown>) {
        answer::set_token(response, &view.token(self.secret, self.key, values));
    }

    fn set_last_modified(&self, response: &mut Response, values: &[Shown]) {
        if let Some(newest) = values.first() {
            answer::set_times(response, newest.content.written_at.wall(), None);
        }
    }
}

impl Shown {
    /// Is this the id of this value, or of one that it stands for?
    fn is(&self, id: &str) -> bool {
        self.dots.iter().any(|dot| dot.to_string() == id)
    }
}
