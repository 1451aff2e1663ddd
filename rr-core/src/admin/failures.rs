//! The last failures.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rr_spi::observe::{End, Kind};
use rr_spi::{AttemptRecord, Error, Reason, RetryDecision, Timeline, excerpt};
use serde::Serialize;
use tokio::time::Instant;

use super::{TARGET_CHARS_MAX, kind_name, target_name};
use crate::observe::fault::Fault;
use crate::observe::shown::{account, millis, own_message, peer, request_id, retries};

/// Number of failures that are kept by default.
pub(super) const KEPT: usize = 100;

/// Longest text of an error, in characters; rr's own are shorter.
const TEXT_CHARS_MAX: usize = 512;

/// Largest number of attempts that are kept of one call: more than a retry layer makes.
const ATTEMPTS_MAX: usize = 12;

/// Failure of an operation.
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    pub(super) kind: &'static str,
    pub(super) target: String,
    pub(super) route: Option<String>,
    pub(super) code: &'static str,
    pub(super) reason: Option<String>,
    pub(super) delivery: &'static str,
    pub(super) message: Option<String>,
    pub(super) account: Option<String>,
    pub(super) elapsed_ms: f64,
    pub(super) retries: u32,
    pub(super) request_id: Option<String>,
    pub(super) peer: Option<String>,
    pub(super) request_bytes: usize,
    pub(super) attempts: Vec<Ledger>,
    /// Who is at fault: the colour of the code on the page.
    #[serde(skip)]
    pub(super) fault: Fault,
    #[serde(skip)]
    pub(super) at: Instant,
}

/// Outcome of one attempt, and where its time went.
#[derive(Debug, Serialize)]
pub(super) struct Ledger {
    /// The number of the attempt. An immediate resend keeps the number.
    pub(super) attempt: u32,
    pub(super) code: &'static str,
    pub(super) reason: Option<String>,
    pub(super) delivery: &'static str,
    pub(super) elapsed_ms: f64,
    pub(super) endpoint: Option<String>,
    pub(super) decision: Option<String>,
    pub(super) note: Option<String>,
    pub(super) stages: Vec<StageTime>,
}

/// Time that an attempt or a request spent in one stage.
#[derive(Debug, Serialize)]
pub(super) struct StageTime {
    pub(super) stage: &'static str,
    pub(super) ms: f64,
    /// The number of the stage among all stages.
    #[serde(skip)]
    pub(super) number: usize,
}

impl Failure {
    fn of(end: &End<'_>, error: &Error) -> Self {
        let (start, elapsed) = (&end.start, end.elapsed());
        let target = target_name(start.target);
        let route = start.route.filter(|route| *route != target);
        Self {
            kind: kind_name(start.kind),
            route: route.map(|route| excerpt(route, TARGET_CHARS_MAX)),
            target,
            code: error.code().as_str(),
            reason: reason(error.reason()),
            delivery: error.delivery().as_str(),
            message: own_message(end).map(|text| excerpt(text, TEXT_CHARS_MAX)),
            account: account(end),
            elapsed_ms: millis(elapsed),
            retries: retries(start.kind, start.context),
            request_id: request_id(start.context),
            peer: peer(start),
            request_bytes: end.request_bytes,
            attempts: ledgers(end, error, elapsed),
            fault: Fault::of(error.code(), Some(error)),
            at: end.began + elapsed,
        }
    }
}

fn reason(reason: Option<&Reason>) -> Option<String> {
    reason.map(|reason| excerpt(reason.as_str(), TARGET_CHARS_MAX))
}

fn ledgers(end: &End<'_>, error: &Error, elapsed: Duration) -> Vec<Ledger> {
    if end.start.kind == Kind::ServerRequest {
        return vec![Ledger::of_request(end, error, elapsed)];
    }
    let attempts = error.attempts();
    if attempts.is_empty() {
        let record = AttemptRecord::of(error, elapsed);
        return error.timeline().map(|_| Ledger::of_attempt(1, &record)).into_iter().collect();
    }
    let resent = [RetryDecision::Resend, RetryDecision::Moved].map(Some);
    let numbered = attempts.iter().scan(1, |next, record| {
        let number = *next;
        *next += u32::from(!resent.contains(&record.decision));
        Some((number, record))
    });
    // The last attempts are the interesting ones.
    let skipped = attempts.len().saturating_sub(ATTEMPTS_MAX);
    numbered.skip(skipped).map(|(number, record)| Ledger::of_attempt(number, record)).collect()
}

impl Ledger {
    fn of_attempt(attempt: u32, record: &AttemptRecord) -> Self {
        let timeline = record.timeline.as_ref();
        Self {
            attempt,
            code: record.code.as_str(),
            reason: reason(record.reason.as_ref()),
            delivery: record.delivery.as_str(),
            elapsed_ms: millis(record.elapsed),
            endpoint: record.endpoint.as_deref().map(|name| excerpt(name, TARGET_CHARS_MAX)),
            decision: record.decision.as_ref().map(RetryDecision::to_string),
            note: timeline.and_then(Timeline::note).map(|note| excerpt(note, TEXT_CHARS_MAX)),
            stages: timeline.into_iter().flat_map(Timeline::stages).map(StageTime::of).collect(),
        }
    }

    fn of_request(end: &End<'_>, error: &Error, elapsed: Duration) -> Self {
        let queued = end.entered.map_or(elapsed, |entered| entered - end.began);
        let handler = end.entered.map(|_| elapsed.saturating_sub(queued));
        let mut stages = vec![StageTime::new("before the handler", 1, queued)];
        stages.extend(handler.map(|time| StageTime::new("in the handler", 6, time)));
        Self {
            attempt: 1,
            code: error.code().as_str(),
            reason: reason(error.reason()),
            delivery: error.delivery().as_str(),
            elapsed_ms: millis(elapsed),
            endpoint: None,
            decision: None,
            note: None,
            stages,
        }
    }
}

impl StageTime {
    fn of((stage, time): (rr_spi::Stage, Duration)) -> Self {
        Self::new(stage.describe(), stage as usize, time)
    }

    fn new(stage: &'static str, number: usize, time: Duration) -> Self {
        Self { stage, ms: millis(time), number }
    }
}

/// The last failures, and the number of all.
pub(super) struct Failures(Mutex<Ring>);

struct Ring {
    kept_max: usize,
    total: u64,
    kept: VecDeque<Arc<Failure>>,
}

impl Failures {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Ring { kept_max: KEPT, total: 0, kept: VecDeque::new() }))
    }

    /// Keeps so many failures from now on.
    pub(super) fn keep(&self, kept_max: usize) {
        let mut ring = self.lock();
        ring.kept_max = kept_max;
        ring.trim();
    }

    /// Adds the failure of an operation, if it failed.
    pub(super) fn add(&self, end: &End<'_>) {
        let Some(error) = end.outcome.error() else { return };
        let failure = Arc::new(Failure::of(end, error));
        let mut ring = self.lock();
        ring.total += 1;
        ring.kept.push_back(failure);
        ring.trim();
    }

    /// Returns the number of all failures, and the last ones, newest first.
    pub(super) fn last(&self) -> (u64, Vec<Arc<Failure>>) {
        let ring = self.lock();
        (ring.total, ring.kept.iter().rev().cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn trim(&mut self) {
        while self.kept.len() > self.kept_max {
            self.kept.pop_front();
        }
    }
}
