//! A call that was read from a recording, and its likeness to another.

use std::time::Duration;

use bytes::Bytes;
use rr_spi::{Error, Response, Target};

use super::body::{Content, excerpt_from};
use super::failure::{Failure, Missing, dedup};
use super::headers::read_headers;
use super::json_hash::JsonHash;
use super::line::{Line, Message, read_idempotency};

/// A recorded call.
pub(super) struct Recorded {
    /// The number of its line.
    pub(super) line: usize,
    /// The number of the call in the order of starts.
    pub(super) n: u64,
    pub(super) target: Target,
    pub(super) elapsed: Duration,
    pub(super) outcome: RecordedOutcome,
    idempotency: &'static str,
    body: Content,
    /// Of a body that was not cut.
    json: Option<JsonHash>,
}

/// Outcome of a recorded call.
#[derive(Clone)]
pub(super) enum RecordedOutcome {
    /// The outcome as it was.
    Whole(Result<Response, Error>),
    /// A part of the outcome was cut or removed.
    Partial(&'static str),
    /// The call was dropped.
    Dropped,
}

/// A call that is made, as far as recorded calls are compared with it.
pub(super) struct Called<'a> {
    idempotency: &'static str,
    body: &'a Bytes,
    json: Option<JsonHash>,
}

impl<'a> Called<'a> {
    /// Parses the body, once for all comparisons.
    pub(super) fn new(idempotency: &'static str, body: &'a Bytes) -> Self {
        Self { idempotency, body, json: JsonHash::of(body) }
    }
}

/// Likeness of two calls to one target; the greater, the more alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Likeness {
    pub(super) has_equal_idempotency: bool,
    pub(super) bodies: Bodies,
}

/// Likeness of two bodies, from the least to the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bodies {
    Different,
    /// The same JSON value in other bytes.
    EqualJson,
    Equal,
}

impl Likeness {
    /// Returns whether a strict replay takes the calls for the same.
    pub(super) fn is_same(self) -> bool {
        self.has_equal_idempotency && self.bodies != Bodies::Different
    }
}

impl Recorded {
    /// Reads a line.
    ///
    /// # Errors
    ///
    /// The name of a malformed member.
    pub(super) fn new(number: usize, line: &Line) -> Result<Self, &'static str> {
        read_headers(&line.request.headers).ok_or("request.headers")?;
        let body = line.request.body.content().ok_or("request.body")?;
        Ok(Self {
            line: number,
            n: line.n,
            target: Target::parse(&line.target).map_err(|_| "target")?,
            elapsed: Duration::from_micros(line.elapsed_us),
            outcome: outcome(line)?,
            idempotency: read_idempotency(&line.idempotency).ok_or("idempotency")?,
            json: body.whole().and_then(|body| JsonHash::of(body)),
            body,
        })
    }

    /// Returns how alike a call is.
    pub(super) fn likeness(&self, call: &Called<'_>) -> Likeness {
        let bodies = match () {
            () if self.body.is_of(call.body) => Bodies::Equal,
            () if self.json.is_some() && self.json == call.json => Bodies::EqualJson,
            () => Bodies::Different,
        };
        Likeness { has_equal_idempotency: self.idempotency == call.idempotency, bodies }
    }

    /// Describes how a call differs; empty if it does not.
    pub(super) fn difference(&self, call: &Called<'_>) -> String {
        let likeness = self.likeness(call);
        let mut parts = Vec::new();
        if !likeness.has_equal_idempotency {
            let (recorded, called) = (self.idempotency, call.idempotency);
            parts.push(format!("idempotency: recorded {recorded}, called {called}"));
        }
        if likeness.bodies == Bodies::Different {
            parts.push(self.bodies_difference(call.body));
        }
        parts.join("; ")
    }

    fn bodies_difference(&self, called: &Bytes) -> String {
        let equal = self.body.part.iter().zip(called).take_while(|(own, other)| own == other);
        let from = equal.count();
        // Some of what is equal shows where the difference is.
        let shown_from = from.saturating_sub(16);
        let recorded = self.body.excerpt_from(shown_from);
        let called = excerpt_from(called, shown_from);
        format!("body from byte {from}: recorded ..`{recorded}`, called ..`{called}`")
    }

    /// Describes the call in a line.
    pub(super) fn describe(&self) -> String {
        let Self { line, target, idempotency, .. } = self;
        format!("line {line}: {target} ({idempotency}) `{}`", self.body.excerpt_from(0))
    }
}

fn outcome(line: &Line) -> Result<RecordedOutcome, &'static str> {
    match (&line.reply, &line.error, line.dropped) {
        (Some(reply), None, false) => response(reply),
        (None, Some(error), false) => failure(error),
        (None, None, true) => Ok(RecordedOutcome::Dropped),
        _ => Err("reply, error or dropped"),
    }
}

fn response(reply: &Message) -> Result<RecordedOutcome, &'static str> {
    let headers = read_headers(&reply.headers).ok_or("reply.headers")?;
    let dedup = dedup(reply.dedup.as_deref()).ok_or("reply.dedup")?;
    let content = reply.body.content().ok_or("reply.body")?;
    let Some(body) = content.whole() else {
        return Ok(RecordedOutcome::Partial("body of the reply"));
    };
    let response = Response::new(body.clone()).with_headers(headers).with_dedup(dedup);
    Ok(RecordedOutcome::Whole(Ok(response)))
}

fn failure(error: &Failure) -> Result<RecordedOutcome, &'static str> {
    match error.error() {
        Ok(error) => Ok(RecordedOutcome::Whole(Err(error.into_failure()))),
        Err(Missing::Detail) => Ok(RecordedOutcome::Partial("details of the error")),
        Err(Missing::Malformed(member)) => Err(member),
    }
}
